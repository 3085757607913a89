"""Memory for kernels: aligned, and kept from one task to the next."""

import contextlib
import math
import threading

import numpy as np

_LINE = 64
"""Bytes of a cache line, and of the widest vector register."""

_PAGE = 2**21
"""Bytes of a large page of memory."""

_thread = threading.local()


def aligned(shape, dtype):
    """An uninitialised array that begins with a cache line, or with a large page if it fills one.

    NumPy's large arrays begin 16 bytes after a line, so that every vector load of
    64 bytes takes two: pursuit of 1,536 atoms took a fifth longer. NumPy asks for
    large pages where they fit in, which was in half of an inner product matrix:
    pursuit took 7 % longer than with all of it in them.
    """
    size = math.prod(shape) * np.dtype(dtype).itemsize
    whole = _LINE if size < _PAGE else _PAGE
    memory = np.empty(-(-size // whole) * whole + whole, np.uint8)
    start = -memory.ctypes.data % whole
    return memory[start : start + size].view(dtype).reshape(shape)


class Space:
    """Arrays by name, to be overwritten; each is made anew only when it is too small."""

    def __init__(self):
        self._memory = {}

    def array(self, name, shape, dtype):
        """An aligned array of any content, the last one of this name."""
        size = math.prod(shape) * np.dtype(dtype).itemsize
        memory = self._memory.get(name)
        if memory is None or memory.nbytes < size:
            memory = self._memory[name] = aligned((size,), np.uint8)
        return memory[:size].view(dtype).reshape(shape)


@contextlib.contextmanager
def kept_space():
    """A `Space` of this thread's own, the same for one task after the other.

    Dask's workers give memory back to the system as soon as it is freed, and
    to get it again, page by page, took a quarter of a task's time.
    """
    space = _thread.__dict__.pop("space", None) or Space()
    try:
        yield space
    finally:
        _thread.space = space
