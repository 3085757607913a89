"""Rows that tasks can read, wherever an executor runs them."""

import numpy as np

from .graph import take_apart
from .jobs import Job


class Reader:
    """A `Source` opened on an executor.

    Parameters
    ----------
    source : Source
    executor : execution.Executor
    keep : bool
        Whether to read all chunks once and keep them in memory where tasks run.
    """

    def __init__(self, source, executor, keep=False):
        if executor.moves_arrays:
            source.check_sent()
        if source.local_path is not None:
            executor.check_path(source.local_path, "array")
        self.source = source
        self.executor = executor
        self._keep = keep and not source.in_memory
        self._layout = None
        self._handles = {}
        executor.retrying(self.place)

    def place(self):
        """Put, or put again, what tasks need from outside where they run."""
        executor = self.executor
        if self._layout is None or self._keep:
            # what is kept has the same keys when it is read again
            array = executor.persist(self.source.array) if self._keep else self.source.array
            self._layout = take_apart(array, move_arrays=executor.moves_arrays)
        layout = self._layout
        handles = {}
        arrays = {}
        for key, value in layout.placed.items():
            if isinstance(value, np.ndarray):
                arrays[key] = value
            else:
                handles[key] = executor.check_future(value)
        handles.update(zip(arrays, executor.place(list(arrays.values())), strict=True))
        if layout.common_keys:
            held = executor.hold(layout.common, layout.common_keys)
            handles.update(zip(layout.common_keys, held, strict=True))
        self._handles = handles

    def job(self, pieces):
        """A job that reads ``pieces``."""
        chunks = tuple(self._layout.chunks[piece.index] for piece in pieces)
        needs = tuple(sorted({key for chunk in chunks for key in chunk.needs}, key=str))
        return Job(tuple(pieces), chunks, needs)

    def inputs(self, job):
        """Handles of what a job needs from outside."""
        return [self._handles[key] for key in job.needs]

    def reduce(self, blueprint, jobs, *shared):
        """`Executor.reduce` over jobs, whose tasks get ``(job, inputs, *shared)``."""
        return self.executor.reduce(
            blueprint, lambda: ((job, self.inputs(job)) for job in jobs), *shared, again=self.place
        )
