"""What an executor offers, and the reduction tree that all of them share."""

import abc
import itertools
import os
import threading
from collections.abc import Callable
from typing import Any, NamedTuple

from ..machine.blas import single_threaded_blas
from ..machine.buffers import lender
from ..tracking.parts import parts_counted
from .counting import keys_of

TREE_FAN_IN = 8
"""Partial results added by one task of the reduction tree."""

ATTEMPTS = 4
"""Times a round is tried when workers die under it. Data sent to workers
cannot be recomputed by the scheduler, so the driver sends it again."""

_MOST_LOST = 20
"""Times that a round is begun again, but for those in which workers died of it."""


class Blueprint(NamedTuple):
    """A reduction over tasks, as data.

    Attributes
    ----------
    chunk : callable
        ``chunk(*task, *shared) -> partial``: what one task returns.
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
    """Workers, the scheduler or data on them went away and did not come back in time.

    Attributes
    ----------
    result : daskksvd.Result or None
        What a fit had learned by then; None before the first update, and for all but fits.
    """

    def __init__(self, message: str, result: Any = None) -> None:
        super().__init__(message)
        self.result = result


class RoundLost(WorkersLost):
    """A round failed because workers, or data they held, went away; it can be tried again.

    ``killed`` says whether workers died of it.
    """

    def __init__(self, message, killed=False):
        super().__init__(message)
        self.killed = killed


class Executor(abc.ABC):
    """Runs functions as tasks.

    Results never depend on how many threads or workers there are: a tree's
    grouping is by position in the list of tasks.
    """

    _farewells = ()

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

    @abc.abstractmethod
    def persist(self, array):
        """The Dask array, computed once and kept where tasks run, until the executor is closed."""

    moves_arrays: bool
    """Whether arrays of this process are to be moved to workers, by `place`."""

    runs_here = False
    """Whether a task may as well run in the thread that asks for it."""

    @abc.abstractmethod
    def place(self, values):
        """Put arrays of this process where tasks run; returns handles."""

    @abc.abstractmethod
    def everywhere(self, function, *arguments):
        """What a function returns in every process that runs tasks, by the name of the process."""

    @abc.abstractmethod
    def check_path(self, path, name):
        """Raise where a process that runs tasks cannot see a local path."""

    @abc.abstractmethod
    def check_future(self, future):
        """Return the future if tasks of this executor can use it; else raise."""

    @abc.abstractmethod
    def recover(self):
        """Let go of a round that failed, and wait until there are workers again."""

    @abc.abstractmethod
    def listen(self, tell):
        """Call ``tell(event)`` while workers are waited for, and when they are back."""

    @abc.abstractmethod
    def memory(self):
        """``(name, threads, bytes)`` of every process; 0 bytes if unlimited."""

    @abc.abstractmethod
    def close(self):
        """Let go of threads and shared values; the executor is done."""

    def at_close(self, function, *arguments):
        """Have a function called in every process that runs tasks, when the executor is closed."""
        self._farewells += ((function, arguments),)

    def reduce(self, blueprint, tasks, *shared, again=None):
        """Run a blueprint over tasks and return the combined result.

        Parameters
        ----------
        blueprint : Blueprint
        tasks : callable
            ``tasks()`` yields the arguments of every task, handles and lists of handles among them.
        *shared : Once
            Tasks get the results of these calls after their arguments.
        again : callable, optional
            As for `retrying`.
        """

        def round_():
            handles = [self.share(*once) for once in shared]
            calls = list(tasks())
            if self.runs_here and len(calls) == 1:
                # to wake a thread for one small task, and to be woken, takes half as long as the task
                return blueprint.combine([run_task(blueprint.chunk, *self.gather(calls[0]), *handles)])
            places = self.places(len(calls))
            with parts_counted(len(calls)) as tick:
                leaves = (
                    self.submit(run_task, blueprint.chunk, *call, *handles, place=place)
                    for call, place in zip(calls, places, strict=True)
                )
                if tick is not None:
                    leaves = self.counted(leaves, tick)
                root = self.tree(blueprint.combine, leaves, len(calls))
                return self.gather([root])[0]

        return self.retrying(round_, again)

    def compute(self, value):
        """The value of something delayed."""

        def round_():
            with parts_counted(lambda: len(keys_of(value))) as tick:
                return self.gather(self.begin(value, tick))[0]

        return self.retrying(round_)

    @abc.abstractmethod
    def begin(self, value, tick=None):
        """Start to compute something delayed; returns its handle, in a list.

        ``tick(number)`` is called with the number of tasks that were done since, if it is given.
        """

    @abc.abstractmethod
    def counted(self, handles, tick):
        """The handles of an iterable; ``tick(number)`` is called with the number that were done since.

        Until `gather` returns, and from any thread.
        """

    def retrying(self, round_, again=None):
        """Call ``round_()``; call it again if workers were lost under it.

        The scheduler recomputes what tasks made. What the driver itself sent
        to workers that died is sent again by ``again()``, before each other try.
        """
        lost = killed = 0
        while True:
            try:
                if lost:
                    self.recover()
                    if again is not None:
                        again()
                return round_()
            except RoundLost as error:
                lost, killed = lost + 1, killed + error.killed
                if killed == ATTEMPTS or lost == _MOST_LOST:
                    raise WorkersLost(str(error)) from error

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


def run_task(function, *arguments):
    """What a thread or worker runs for one task of a reduction."""
    with _tasks, single_threaded_blas():
        return function(*[made_here(value) for value in arguments])


_TO_MAKE = "daskksvd.to_make"
_MOST_OWNERS = 4
"""Fits for which a process keeps what they share; one that was killed does not say goodbye."""


_MOST_GONE = 1000


class _Made:
    """What one fit shares in this process: the newest only."""

    def __init__(self):
        self.lock = threading.Lock()
        self.token = self.value = None


_made: dict = {}
"""`_Made` by fit, those used last at the end."""
_gone: dict = {}
"""Fits that are over, the last of them: a task of theirs that still runs must not leave anything."""
_making = threading.Lock()


def _after_fork():
    global _making
    _making = threading.Lock()  # a thread that held the other stayed behind
    _tasks.count, _tasks.forget = 0, False
    _made.clear()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_after_fork)


class _Tasks:
    """Counts the tasks that run: memory that they are lent comes back after the fit was let go of."""

    def __init__(self):
        self.count, self.forget = 0, False

    def __enter__(self):
        with _making:
            self.count += 1

    def __exit__(self, *error):
        with _making:
            self.count -= 1
            forget = self.forget and not self.count and not _made
            self.forget &= not forget
        if forget:
            lender.forget()


_tasks = _Tasks()


def to_make(owner, token, function, arguments):
    """What `made_here` turns into ``function(*arguments)``, once in a process for each owner."""
    return (_TO_MAKE, owner, token, function, arguments)


def let_go(owner):
    """Forget what is kept for later tasks of a fit."""
    with _making:
        _gone[owner] = None
        if len(_gone) > _MOST_GONE:
            del _gone[next(iter(_gone))]
        _made.pop(owner, None)
        others = bool(_made)
        _tasks.forget = _tasks.count > 0
    if not others:
        lender.forget()


def say_farewell(owner, farewells):
    """What every process does when an executor is closed: `let_go`, and what `at_close` was given."""
    let_go(owner)
    for function, arguments in farewells:
        function(*arguments)


def made_here(value):
    """A shared value; what is to be made once in every process is made, or was."""
    if not (type(value) is tuple and value[:1] == (_TO_MAKE,)):
        return value
    from distributed import get_worker

    _, owner, token, function, arguments = value
    with _making:
        kept = _made.pop(owner, None) or _Made()
        if owner not in _gone:
            _made[owner] = kept
            if len(_made) > _MOST_OWNERS:
                del _made[next(iter(_made))]
    with kept.lock:  # others of this fit that need it wait
        if kept.token != token:  # not there, or of an earlier round
            kept.token = kept.value = None
            # what else the worker has to do waits for it
            kept.value = function(*arguments, n_threads=get_worker().state.nthreads)
            kept.token = token
        return kept.value
