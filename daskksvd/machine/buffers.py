"""Memory for large arrays: lent, given back, and lent again."""

import collections
import contextlib
import itertools
import math
import weakref

import numpy as np

_MOST_BYTES = 2**26
"""More than this is not kept."""

_LINE = 64
"""Bytes of a cache line, and of the widest vector register."""

_PAGE = 2**21
"""Bytes of a large page of memory."""


def aligned(shape, dtype):
    """An uninitialised array that begins with a cache line, or with a large page if it fills one.

    NumPy's large arrays begin 16 bytes after a line, so that every vector load of
    64 bytes takes two: pursuit of 1,536 atoms took a fifth longer. NumPy asks for
    large pages where they fit in, which was in half of an inner product matrix:
    pursuit took 7 % longer than with all of it in them.
    """
    size = int(math.prod(shape)) * np.dtype(dtype).itemsize
    if size >= _PAGE:
        return lender.array(shape, dtype)
    return _new(size).view(dtype).reshape(shape)


def _rounded(size):
    """Bytes to take for an array, so that files of about the same size take the same."""
    step = 1 if size < _PAGE else 2 ** (size.bit_length() - 3)
    return -(-size // step) * step


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
    and takes 8. A fit of 60,000 x 768 in one thread took 12.0 s of CPU with what Dask
    sets for its workers, and 13.1 without this; where memory is not given back
    (``MALLOC_TRIM_THRESHOLD_`` and ``MALLOC_MMAP_THRESHOLD_`` at 1 GiB) 8.8 s with
    and without, for a fourth more memory. No more is kept than was lent at one time:
    before new memory is taken, what came back longest ago goes.
    """

    def __init__(self):
        self._free = collections.deque()
        self._lent = {}  # bytes of each loan
        self._most = 0  # at one time
        self._numbers = itertools.count()

    def array(self, shape, dtype):
        """An array of any content, `aligned`."""
        size = int(math.prod(shape)) * np.dtype(dtype).itemsize
        memory = self._take(_rounded(size))
        # On a memoryview: a view of an array on an array would refer to the latter
        # only, and the memory would come back while the view is in use.
        lent = np.frombuffer(memory.data, np.uint8, size)
        if size <= _MOST_BYTES:
            number = next(self._numbers)
            self._lent[number] = memory.nbytes
            weakref.finalize(lent, self._give_back, number, memory, self._free).atexit = False
        return lent.view(dtype).reshape(shape)

    def forget(self):
        """Let go of what is not lent now, and of what is when it comes back."""
        # no lock: memory may come back in the midst of anything, by the garbage collector
        before, self._free = self._free, collections.deque()
        before.clear()
        self._most = 0

    def _give_back(self, number, memory, free):
        del self._lent[number]
        if free is self._free:  # not forgotten since
            free.append(memory)

    def _take(self, size):
        free = self._free
        with contextlib.suppress(IndexError):  # others were faster
            for _ in range(len(free)):
                memory = free.popleft()
                if memory.nbytes == size:
                    return memory
                free.append(memory)
            self._most = max(self._most, size + sum(list(self._lent.values())))
            kept = sum(memory.nbytes for memory in list(free))
            while kept > self._most:
                kept -= free.popleft().nbytes
        return _new(size)


lender = Lender()
"""Of this process."""
