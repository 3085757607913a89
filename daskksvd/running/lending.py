"""Memory for large arrays: lent, given back, and lent again."""

import collections
import math
import os
import weakref

import numpy as np

_MOST_BYTES = 2**26
"""More than this is not kept."""

_LINE = 64
"""Bytes of a cache line, and of the widest vector register."""

_PAGE = 2**21
"""Bytes of a large page of memory."""

_KEPT = 48
"""Arrays kept at least: what eight tasks return, their sums and what codes the rows of the next."""


def aligned(shape, dtype):
    """An uninitialised array that begins with a cache line, or with a large page if it fills one.

    NumPy's large arrays begin 16 bytes after a line, so that every vector load of
    64 bytes takes two: pursuit of 1,536 atoms took a fifth longer. NumPy asks for
    large pages where they fit in, which was in half of an inner product matrix:
    pursuit took 7 % longer than with all of it in them.
    """
    size = math.prod(shape) * np.dtype(dtype).itemsize
    if size >= _PAGE:
        return lender.array(shape, dtype)
    return _new(size).view(dtype).reshape(shape)


def _new(size):
    """So many bytes that were not lent before."""
    whole = _LINE if size < _PAGE else _PAGE
    memory = np.empty(-(-size // whole) * whole + whole, np.uint8)
    start = -memory.ctypes.data % whole
    return memory[start : start + size]


class Lender:
    """Arrays whose memory comes back when nothing refers to them any more.

    The system gives out new memory page by page, each cleared first, and Dask's
    workers give it back as soon as it is free: to read a chunk of 12 MB took 15
    to 18 ms on them, and takes 6 ms with this; to add two sums of 14 MB took 45,
    and takes 8.
    """

    def __init__(self):
        self._free = collections.deque()
        self.forget()

    def array(self, shape, dtype):
        """An array of any content, `aligned`."""
        size = math.prod(shape) * np.dtype(dtype).itemsize
        memory = self._take(size)
        # On a memoryview: a view of an array on an array would refer to the latter
        # only, and the memory would come back while the view is in use.
        lent = np.frombuffer(memory.data, np.uint8)
        if size <= _MOST_BYTES:
            weakref.finalize(lent, self._give_back, memory, self._free).atexit = False
        return lent.view(dtype).reshape(shape)

    def forget(self):
        """Let go of what is not lent now, and of what is when it comes back."""
        # no lock: memory may come back in the midst of anything, by the garbage collector
        before, self._free = self._free, collections.deque(maxlen=_KEPT + 4 * os.cpu_count())
        before.clear()

    def _give_back(self, memory, free):
        if free is self._free:  # not forgotten since
            free.append(memory)

    def _take(self, size):
        free = self._free
        for _ in range(len(free)):
            try:
                memory = free.popleft()
            except IndexError:  # others were faster
                break
            if memory.nbytes == size:
                return memory
            free.append(memory)
        return _new(size)


lender = Lender()
"""Of this process."""
