"""One BLAS thread per task: parallelism comes from running tasks side by side."""

import contextlib
import functools
import threading

import threadpoolctl

from ..constants import THREADED_PRODUCT

_lock = threading.Lock()
_inside = 0
_limiter = None


@functools.cache
def _controller():
    return threadpoolctl.ThreadpoolController().select(user_api="blas")


@contextlib.contextmanager
def single_threaded_blas():
    """Hold this process's BLAS at one thread while any task is inside.

    The limit is the process's, not the thread's, so the first task in sets
    it and the last one out lifts it. Between tasks the driver has all cores.
    """
    global _inside, _limiter
    with _lock:
        if _inside == 0:
            _limiter = _controller().limit(limits=1)
        _inside += 1
    try:
        yield
    finally:
        with _lock:
            _inside -= 1
            if _inside == 0:
                _limiter.restore_original_limits()
                _limiter = None


def blas_for(m, d):
    """Hold BLAS at one thread while the driver works with a small dictionary (m, d)."""
    return single_threaded_blas() if m * m * d < THREADED_PRODUCT else contextlib.nullcontext()
