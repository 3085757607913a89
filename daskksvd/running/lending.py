"""Memory for rows that are read: lent, given back, and lent again."""

import collections
import math
import os
import weakref

import numpy as np

_MOST_BYTES = 2**26
"""More than this is not kept."""


class Lender:
    """Arrays whose memory comes back when nothing refers to them any more.

    The system gives out new memory page by page, each cleared first, and Dask's
    workers give it back as soon as it is free: to read a chunk of 12 MB took 15
    to 18 ms on them, and takes 6 ms with this. As much is kept as the threads
    that read need at a time: a file and the rows in it for each.
    """

    def __init__(self):
        self.forget()

    def array(self, shape, dtype):
        """An array of any content."""
        size = math.prod(shape) * np.dtype(dtype).itemsize
        memory = self._take(size)
        # On a memoryview: a view of an array on an array would refer to the latter
        # only, and the memory would come back while the view is in use.
        lent = np.frombuffer(memory.data, np.uint8)
        if size <= _MOST_BYTES:
            weakref.finalize(lent, self._free.append, memory).atexit = False
        return lent.view(dtype).reshape(shape)

    def forget(self):
        """Let go of what is not lent now, and of what is when it comes back."""
        # no lock: memory may come back in the midst of anything, by the garbage collector
        self._free = collections.deque(maxlen=2 * os.cpu_count())

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
        return np.empty(size, np.uint8)


lender = Lender()
"""Of this process."""
