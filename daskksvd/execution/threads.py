"""Tasks on threads of this process."""

import contextlib
import importlib
import os
import threading
from concurrent.futures import Future, ThreadPoolExecutor

import dask.threaded

from ..machine.limits import cpu_quota
from ..machine.memory import available_bytes
from .counting import computed_here
from .executor import Executor, say_farewell


def _forget_threads():
    """Let Dask start new threads in a forked process: it would wait for ever for those that stayed behind."""
    tokenising = importlib.import_module("dask.tokenize")  # ``dask.tokenize`` may be the function
    if hasattr(tokenising, "tokenize_lock"):
        tokenising.tokenize_lock = type(tokenising.tokenize_lock)()
    dask.threaded.default_pool = None
    dask.threaded.pools.clear()
    dask.threaded.pools_lock = threading.Lock()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_forget_threads)


class ThreadExecutor(Executor):
    """A pool of threads; the kernels and BLAS release the lock."""

    def __init__(self, n_threads=None):
        self._n_threads = n_threads or usable_cores()
        self._pool = ThreadPoolExecutor(self._n_threads, "daskksvd")

    def share(self, function, arguments, everywhere=False):
        return function(*arguments, n_threads=self._n_threads) if everywhere else function(*arguments)

    def submit(self, function, *arguments, place=None):
        waiting = [handle for handle in _futures(arguments) if not handle.done()]
        if not waiting:
            return self._pool.submit(_call, function, arguments)
        return _Continuation(function, arguments, waiting)

    def gather(self, handles):
        return [_value(handle) for handle in handles]

    def cancel(self):
        self._pool.shutdown(wait=False, cancel_futures=True)
        self._pool = ThreadPoolExecutor(self._n_threads, "daskksvd")

    def hold(self, graph, keys):
        return list(dask.threaded.get(graph, keys, num_workers=self._n_threads))

    def begin(self, value, tick=None):
        return [computed_here(value, tick, num_workers=self._n_threads)]

    def counted(self, handles, tick):
        for handle in handles:
            handle.add_done_callback(lambda done: tick(1))
            yield handle

    def persist(self, array):
        return array.persist(scheduler="threads", num_workers=self._n_threads)

    moves_arrays = False
    runs_here = True

    def place(self, values):
        return values

    def check_future(self, future):
        raise ValueError(
            "array lives on a Dask cluster (it was persisted there), but no client was given; "
            "pass client=, the Client that persisted it"
        )

    def everywhere(self, function, *arguments):
        return {"this process": function(*arguments)}

    def check_path(self, path, name):
        """Nothing to check: tasks see what this process sees."""

    def listen(self, tell):
        """Nothing to tell."""

    def recover(self):
        """Nothing to wait for: threads are not lost."""

    def memory(self):
        return [("this process", self._n_threads, available_bytes())]

    def close(self):
        self._pool.shutdown(wait=False, cancel_futures=True)
        say_farewell(None, self._farewells)


@contextlib.contextmanager
def spread_over(n_threads):
    """A `map` over the threads of a pool; the plain one for a single thread."""
    if n_threads == 1:
        yield map
    else:
        with ThreadPoolExecutor(n_threads, "daskksvd") as pool:
            yield pool.map


def usable_cores():
    """Cores that this process may run on: those there are, its affinity mask and its control groups allow."""
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    return min(cores, cpu_quota() or cores)


class _Continuation(Future):
    """A call made by the thread that ends the last of its arguments, right after that.

    No thread stands idle for it, and what it adds up is let go of before the
    next task begins.
    """

    def __init__(self, function, arguments, waiting):
        super().__init__()
        self._todo = function, arguments
        self._left = len(waiting)
        self._counting = threading.Lock()
        for future in waiting:
            future.add_done_callback(self._count)

    def _count(self, future):
        with self._counting:
            self._left -= 1
            if self._left:
                return
        (function, arguments), self._todo = self._todo, None
        try:
            value = _call(function, arguments)
        except BaseException as error:  # of the call, or of an argument; gather raises it
            self.set_exception(error)
        else:
            del arguments
            self.set_result(value)


def _futures(values):
    """Futures in a nested list of arguments."""
    for value in values:
        if isinstance(value, Future):
            yield value
        elif isinstance(value, list):
            yield from _futures(value)


def _call(function, arguments):
    return function(*[_value(argument) for argument in arguments])


def _value(handle):
    if isinstance(handle, Future):
        return handle.result()
    if isinstance(handle, list):
        return [_value(item) for item in handle]
    return handle
