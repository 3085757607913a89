"""Tasks that run side by side in one process read a chunk once between them."""

import os
import threading
import weakref

import numpy as np

from .blocks import plain

_lock = threading.Lock()
_reading: dict = {}
_held: weakref.WeakValueDictionary = weakref.WeakValueDictionary()


def _after_fork():
    global _lock
    _lock = threading.Lock()  # threads that held locks stayed behind
    _reading.clear()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_after_fork)


def read_shared(chunk, inputs, masked=False):
    """The rows of a `Chunk`; not to be written to.

    Only what some task still holds is shared, so memory is for the chunks in
    use and nothing is kept.

    Parameters
    ----------
    chunk : Chunk
    inputs : dict
        Values of its needs.
    masked : bool
        Whether the rows may be a masked array.
    """
    if chunk.lies_in_memory:
        return chunk.read(inputs, masked)
    with _lock:
        reading = _reading.setdefault(chunk.key, threading.Lock())
    with reading:
        rows = _held.get(chunk.key)
        if rows is None:
            rows = _held[chunk.key] = chunk.read(inputs, masked=True)
    with _lock:
        if not reading.locked():
            _reading.pop(chunk.key, None)
    return rows if masked and np.ma.isMaskedArray(rows) else plain(rows, chunk.first)
