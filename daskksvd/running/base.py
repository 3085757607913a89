"""What a runner offers, and the reduction tree that all of them share."""

import abc
import itertools
import os
import threading
from collections.abc import Callable
from typing import Any, NamedTuple

from ..constants import ATTEMPTS, TREE_FAN_IN
from .blas import single_threaded_blas
from .lending import lender


class Blueprint(NamedTuple):
    """A reduction over rows, as data.

    Attributes
    ----------
    chunk : callable
        ``chunk(job, inputs, *shared) -> partial``: what one task returns.
    combine : callable
        ``combine(partials) -> partial``: adds a list of them, one or more.
    """

    chunk: Callable[..., Any]
    combine: Callable[[list], Any]


class Once(NamedTuple):
    """A call made once, whose result all tasks of a round share.

    Attributes
    ----------
    function : callable
    arguments : tuple
    everywhere : bool
        Make it once in every process instead: the result is larger than the
        arguments, and made sooner than sent. The function then takes
        ``n_threads``, of how many it may make use meanwhile.
    """

    function: Callable[..., Any]
    arguments: tuple
    everywhere: bool = False


def given(value):
    """A value that all tasks share, as it is."""
    return Once(same, (value,))


def same(value):
    """The value itself."""
    return value


class WorkersLost(RuntimeError):
    """A round failed because workers, or data they held, went away."""


class Runner(abc.ABC):
    """Runs functions on jobs. A job is a `rows.Job`: it knows how to read its rows.

    Results never depend on how many threads or workers there are: a tree's
    grouping is by position in the list of jobs.
    """

    @abc.abstractmethod
    def share(self, function, arguments, everywhere=False):
        """Call a function once for all tasks, see `Once`; returns a handle for `submit`."""

    @abc.abstractmethod
    def submit(self, function, *arguments, place=None):
        """Start a call, handles and lists of handles among its arguments.

        ``place`` is where it should run, if that can be.
        """

    def places(self, count):
        """Where to run ``count`` tasks of equal work, so that all end together."""
        return [None] * count

    @abc.abstractmethod
    def gather(self, handles):
        """Wait for a list of handles and bring back their values."""

    @abc.abstractmethod
    def cancel(self):
        """Drop all that is queued; what runs may finish unseen."""

    @abc.abstractmethod
    def hold(self, graph, keys):
        """Compute ``keys`` of a Dask graph once; returns their handles."""

    moves_arrays: bool
    """Whether arrays of this process are to be moved to workers, by `place`."""

    runs_here = False
    """Whether a task may as well run in the thread that asks for it."""

    @abc.abstractmethod
    def place(self, values):
        """Put arrays of this process where tasks run; returns handles."""

    @abc.abstractmethod
    def check_path(self, path, name):
        """Raise where a process that runs tasks cannot see a local path."""

    @abc.abstractmethod
    def check_future(self, future):
        """Return the future if tasks of this runner can use it; else raise."""

    @abc.abstractmethod
    def recover(self):
        """Wait until there are workers again."""

    @abc.abstractmethod
    def memory(self):
        """``(name, threads, bytes)`` of every process; 0 bytes if unlimited."""

    @abc.abstractmethod
    def close(self):
        """Let go of threads and shared values; the runner is done."""

    def reduce(self, blueprint, rows, jobs, *shared):
        """Run a blueprint over jobs on ``rows`` and return the combined result.

        ``shared`` are `Once` calls; tasks get their results.
        """

        def round_():
            handles = [self.share(*once) for once in shared]
            if self.runs_here and len(jobs) == 1:
                # to wake a thread for one small task, and to be woken, takes half as long as the task
                part = run_job(blueprint.chunk, jobs[0], self.gather(rows.inputs(jobs[0])), *handles)
                return blueprint.combine([part])
            places = self.places(len(jobs))
            root = self.tree(
                blueprint.combine,
                (
                    self.submit(run_job, blueprint.chunk, job, rows.inputs(job), *handles, place=place)
                    for job, place in zip(jobs, places, strict=True)
                ),
                len(jobs),
            )
            return self.gather([root])[0]

        return self.retrying(round_, rows)

    def retrying(self, round_, rows):
        """Call ``round_()``; call it again if workers were lost under it.

        The scheduler recomputes what tasks made. What the driver itself sent
        to workers that died is sent again here.
        """
        for attempt in range(ATTEMPTS):
            try:
                return round_()
            except WorkersLost:
                if attempt == ATTEMPTS - 1:
                    raise
                self.recover()
                rows.place()

    def tree(self, combine, handles, count):
        """Reduce an iterable of ``count`` handles in a tree, each half of them for itself.

        Workers that run neighbouring leaves so have sums of all of theirs, and
        pass on only those. Inner nodes are submitted as soon as their leaves
        are, so that first come, first served keeps few partial results alive.
        """
        handles = iter(handles)

        def node(count):
            if count <= TREE_FAN_IN:
                return self.submit(combine, list(itertools.islice(handles, count)))
            return self.submit(combine, [node(count // 2), node(count - count // 2)])

        return node(count)


def run_job(function, job, inputs, *shared):
    """What a worker runs for one job."""
    with single_threaded_blas():
        return function(job, inputs, *[made_here(value) for value in shared])


_TO_MAKE = "daskksvd.to_make"
_made: dict = {}
_making = threading.Lock()


def _after_fork():
    global _making
    _making = threading.Lock()  # a thread that held the other stayed behind


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_after_fork)


def to_make(token, function, arguments):
    """What `made_here` turns into ``function(*arguments)``, once in a process."""
    return (_TO_MAKE, token, function, arguments)


def let_go():
    """Forget what is kept for later tasks: they make it again."""
    _made.clear()
    lender.forget()


def made_here(value):
    """A shared value; what is to be made once in every process is made, or was."""
    if not (type(value) is tuple and value[:1] == (_TO_MAKE,)):
        return value
    from distributed import get_worker

    _, token, function, arguments = value
    with _making:  # others that need it wait
        if (made := _made.get(token)) is None:  # not there, or let go of this moment
            _made.clear()  # those of earlier rounds
            # what else the worker has to do waits for it
            made = _made[token] = function(*arguments, n_threads=get_worker().state.nthreads)
        return made
