"""Tasks on a Dask cluster, through the user's client."""

import os
import uuid
import weakref

import dask
from dask.sizeof import sizeof

from .base import Runner, WorkersLost, let_go, run_job, same, to_make

RETRIES = 3
"""Times the scheduler gives a task to another worker when one dies under it."""

WAIT_SECONDS = 60
"""How long to wait for a worker to come back when all are gone."""


_INLINE_BYTES = 50_000
"""Values up to this size travel inside the tasks."""


def leave_thread():
    """Where this is called by a task of a worker, let other tasks have its thread; returns whether so.

    A task that waits for others on the same worker would keep them waiting.
    """
    from distributed import secede
    from distributed.threadpoolexecutor import thread_state as pool
    from distributed.utils import thread_state as task

    inside = hasattr(task, "start_time") and getattr(pool, "proceed", False)
    if inside:
        secede()
    return inside


class ClusterRunner(Runner):
    """Submits tasks to a `distributed.Client` that the user brings."""

    def __init__(self, client):
        from distributed import Client

        if not isinstance(client, Client):
            raise TypeError(
                f"client is a {type(client).__name__}; it must be a distributed.Client, "
                "for example Client() or Client('tcp://host:8786')"
            )
        if client.asynchronous:
            raise ValueError("client is asynchronous; fit needs a Client(asynchronous=False)")
        if client.status != "running":
            raise ValueError(f"client is {client.status}; it must be connected to a scheduler")
        self.client = client
        self._left_thread = leave_thread()
        self._token = uuid.uuid4().hex[:8]
        self._count = 0
        # only those that somebody waits for: workers keep what a handle refers to
        self._pending = weakref.WeakSet()
        self.recover()

    def memory(self):
        workers = self.client.scheduler_info(n_workers=-1)["workers"]
        return [
            (f"worker {address}", worker["nthreads"], worker["memory_limit"] or 0)
            for address, worker in workers.items()
        ]

    def share(self, function, arguments, everywhere=False):
        # A task, not a scatter: the scheduler can make it again when the
        # worker that holds it dies, and scattering to all workers waits for
        # ever when one of them dies meanwhile. One worker calls the
        # function, the others copy its result from each other.
        if function is same and sizeof(arguments) <= _INLINE_BYTES:
            return arguments[0]
        with dask.config.set({"distributed.admin.large-graph-warning-threshold": "1GiB"}):
            if everywhere:
                sent = [self.submit(same, argument) for argument in arguments]
                return to_make(sent[0].key, function, sent)
            return self.submit(function, *arguments)

    def submit(self, function, *arguments, place=None):
        self._count += 1
        # what comes before the token names a kind of task: the scheduler learns how
        # long those take, and so whether an idle worker should take one over
        called = arguments[0] if function is run_job else function
        kind = getattr(called, "__name__", "call").strip("_").replace("_", "-")
        handle = self.client.submit(
            function,
            *arguments,
            key=f"daskksvd-{kind}-{self._token}-{self._count}",
            pure=False,
            retries=RETRIES,
            workers=place,
            allow_other_workers=place is not None,
        )
        self._pending.add(handle)
        return handle

    def places(self, count):
        # The scheduler puts tasks where the dictionary is, and so too many of
        # the few tasks of a wave on one worker. Neighbours go to the same one:
        # what they return is added up there.
        slots = sorted(worker for worker, number in self.client.nthreads().items() for _ in range(number))
        return [slots[i * len(slots) // count] if slots else None for i in range(count)]

    def gather(self, handles):
        with self._lost_workers_named():
            values = self.client.gather(handles)
        self._pending.clear()
        return values

    def cancel(self):
        self.client.cancel(list(self._pending), force=True)
        self._pending.clear()

    def hold(self, graph, keys):
        return self.client.get(graph, keys, sync=False)

    moves_arrays = True

    def place(self, values):
        if not values:
            return []
        with self._lost_workers_named():
            return self.client.scatter(values, hash=False)

    def recover(self):
        try:
            self.client.wait_for_workers(1, timeout=WAIT_SECONDS)
        except TimeoutError as error:
            raise WorkersLost(f"client has no workers, and none came within {WAIT_SECONDS} s") from error

    def forget(self):
        """Drop the handles of a round that failed."""
        self._pending.clear()

    def check_path(self, path, name):
        # Zarr reads what it does not find as zeros, so look before.
        for worker, found in self.client.run(os.path.exists, path).items():
            if not found:
                raise FileNotFoundError(
                    f"{name} is at {path!r}, which worker {worker} cannot see; all workers need the "
                    "same file system, or use a store that all can reach, such as an s3:// URL"
                )

    def check_future(self, future):
        return future

    def close(self):
        self.forget()
        if self.client.status == "running":
            self.client.run(let_go, on_error="ignore")
        if self._left_thread:
            from distributed import rejoin

            rejoin()
            self._left_thread = False

    def _lost_workers_named(self):
        return _LostWorkersNamed(self)


class _LostWorkersNamed:
    """Raises `WorkersLost` in place of what distributed raises for it."""

    def __init__(self, runner):
        self.runner = runner

    def __enter__(self):
        return self

    def __exit__(self, kind, error, traceback):
        if kind is None:
            return False
        from distributed.client import FutureCancelledError
        from distributed.comm import CommClosedError
        from distributed.scheduler import KilledWorker

        lost = (FutureCancelledError, KilledWorker, CommClosedError, TimeoutError)
        if issubclass(kind, lost) and self.runner.client.status == "running":
            self.runner.forget()
            raise WorkersLost(
                f"workers were lost, or the data they held ({kind.__name__}: {error}). "
                "If a worker was killed for memory, use smaller chunks or fewer threads a worker"
            ) from error
        return False
