"""Tasks on threads of this process."""

import os
from concurrent.futures import Future, ThreadPoolExecutor

import dask.threaded

from .base import Runner
from .memory import available_bytes


class ThreadRunner(Runner):
    """A pool of threads; the kernels and BLAS release the lock."""

    def __init__(self, n_threads=None):
        self._n_threads = n_threads or usable_cores()
        self._pool = ThreadPoolExecutor(self._n_threads, "daskksvd")

    def share(self, function, arguments, everywhere=False):
        return function(*arguments)

    def submit(self, function, *arguments, place=None):
        # A call may wait here for its arguments. That cannot lock up: the
        # queue is first in, first out, so they are done or running by then.
        return self._pool.submit(_call, function, arguments)

    def gather(self, handles):
        return [_value(handle) for handle in handles]

    def cancel(self):
        self._pool.shutdown(wait=False, cancel_futures=True)
        self._pool = ThreadPoolExecutor(self._n_threads, "daskksvd")

    def hold(self, graph, keys):
        return list(dask.threaded.get(graph, keys, num_workers=self._n_threads))

    moves_arrays = False

    def place(self, values):
        return values

    def check_future(self, future):
        raise ValueError(
            "array lives on a Dask cluster (it was persisted there), but no client was given; "
            "pass client=, the Client that persisted it"
        )

    def check_path(self, path, name):
        """Nothing to check: tasks see what this process sees."""

    def recover(self):
        """Nothing to wait for: threads are not lost."""

    def memory(self):
        return [("this process", self._n_threads, available_bytes())]

    def close(self):
        self._pool.shutdown(wait=False, cancel_futures=True)


def usable_cores():
    """Cores that this process may run on."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count()


def _call(function, arguments):
    return function(*[_value(argument) for argument in arguments])


def _value(handle):
    if isinstance(handle, Future):
        return handle.result()
    if isinstance(handle, list):
        return [_value(item) for item in handle]
    return handle
