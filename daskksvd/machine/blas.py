"""One BLAS thread per task: parallelism comes from running tasks side by side."""

import contextlib
import functools
import os
import threading

import numpy as np
import threadpoolctl

THREADED_PRODUCT = 2**28
"""Multiplications of a product of atoms with atoms from which on more threads are
worth waking. At less, 3 ms, they gain little; on a busy machine waking BLAS's for each
made a fit of 10,000 rows to 256 atoms eight times slower."""


PRODUCT_ROWS = 32
"""Rows by which matrix products are cut. Of a multiple of these each row has the same bits
wherever it lies and however many there are, with OpenBLAS's kernels for AVX-512 and for AVX,
and with that for AVX2 in double precision: in 78 shapes of 2 to 384 features and 64 to 1,024
columns. Others, a single row first, go through other kernels. That for AVX2 in single precision
sums in another order by the place of a row among twelve."""


class _Limit:
    """How many tasks are inside, and who holds the limit for them."""

    def __init__(self):
        self.lock = threading.Lock()
        self.inside = 0
        self.holder = None


_limit = _Limit()


@functools.cache
def _controller():
    return threadpoolctl.ThreadpoolController().select(user_api="blas")


@contextlib.contextmanager
def single_threaded_blas():
    """Hold this process's BLAS at one thread while any task is inside.

    The limit is the process's, not the thread's, so the first task in sets
    it and the last one out lifts it. Between tasks the driver has all cores.
    """
    limit = _limit
    with limit.lock:
        if limit.inside == 0:
            limit.holder = _Holder()
        limit.inside += 1
    try:
        yield
    finally:
        if limit is _limit:  # else this process was forked meanwhile, without its threads
            with limit.lock:
                limit.inside -= 1
                if limit.inside == 0:
                    limit.holder.release()
                    limit.holder = None


def _after_fork():
    """A forked process has no threads but one: whoever held the lock or the limit is not there."""
    global _limit
    _limit = _Limit()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_after_fork)


class _Holder(threading.Thread):
    """Sets the limit, and lifts it when released.

    threadpoolctl lets only the thread that set OpenBLAS's limit change it again,
    and passes over others without a word: so the first task in and the last one
    out, mostly of different threads, cannot do it themselves.
    """

    def __init__(self):
        super().__init__(name="daskksvd-blas", daemon=True)
        self._held, self._done = threading.Event(), threading.Event()
        self.start()
        self._held.wait()

    def run(self):
        try:
            limits = _controller().limit(limits=1)
        finally:
            self._held.set()
        with limits:
            self._done.wait()

    def release(self):
        self._done.set()
        self.join()


def blas_for(m, d):
    """Hold BLAS at one thread while the driver works with a small dictionary (m, d)."""
    return single_threaded_blas() if m * m * d < THREADED_PRODUCT else contextlib.nullcontext()


def product_by_rows(rows, other, out=None):
    """``rows @ other``, of which a row has the same bits whatever rows are with it.

    Blocks are filled up to a multiple of `PRODUCT_ROWS` rows.

    Parameters
    ----------
    rows : (n, d) float array
    other : (d, m) float array
    out : (n, m) float array, optional

    Returns
    -------
    (n, m) float array
    """
    n, whole = len(rows), len(rows) // PRODUCT_ROWS * PRODUCT_ROWS
    out = np.empty((n, other.shape[1]), np.result_type(rows, other)) if out is None else out
    np.matmul(rows[:whole], other, out=out[:whole])
    if whole < n:
        filled = np.zeros((PRODUCT_ROWS, rows.shape[1]), rows.dtype)
        filled[: n - whole] = rows[whole:]
        out[whole:] = (filled @ other)[: n - whole]
    return out
