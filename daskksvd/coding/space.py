"""Memory for kernels, kept from one task to the next."""

import contextlib
import math
import threading

import numpy as np

from ..machine.buffers import aligned

_thread = threading.local()


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
