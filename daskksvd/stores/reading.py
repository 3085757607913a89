"""A stored array to read from lazily, which says which of its files is damaged."""

import itertools

import numpy as np

from .damage import DamagedStore, damaged
from .keys import joined, place_of


class StoredArray:
    """A Zarr array of a store of ours, as Dask reads it.

    Parameters
    ----------
    array : zarr.Array
        From `Opened.arrays`.

    Raises
    ------
    DamagedStore
        Where a part is read that is damaged; the message names the file.
    """

    def __init__(self, array):
        self.array = array
        self.shape, self.dtype, self.ndim = array.shape, array.dtype, array.ndim
        self.chunks = array.chunks

    def __getitem__(self, index):
        return read_part(self.array, index)

    def __dask_tokenize__(self):
        store = self.array.store
        # a store that is written anew has another digest
        return type(self).__name__, str(store), getattr(store, "digest", None), self.array.path


def read_part(array, index, read=None):
    """``array[index]``, or the error that names the damaged file.

    ``read(index)`` reads it, where that is done in a way of one's own.
    """
    try:
        return array[index] if read is None else read(index)
    except (DamagedStore, MemoryError, KeyboardInterrupt, IndexError):
        raise
    except Exception as error:
        file = _first_unreadable(array, index)
        if file is None:  # it is not the file
            raise
        raise damaged(file, f"not readable ({type(error).__name__}: {error})") from error


def _first_unreadable(array, index):
    """The first chunk in a selection that cannot be read by itself, as a file."""
    index = index if isinstance(index, tuple) else (index,)
    sizes = array.shards or array.chunks
    ranges = []
    for axis, (n, size) in enumerate(zip(array.shape, sizes, strict=True)):
        part = index[axis] if axis < len(index) else slice(None)
        if isinstance(part, slice):
            low, high, _ = part.indices(n)
        elif isinstance(part, (int, np.integer)):
            low, high = int(part) % n, int(part) % n + 1
        else:
            low, high = 0, n
        ranges.append(range(low // size, -(-high // size)))
    for place in itertools.product(*ranges):
        try:
            array[tuple(slice(at * size, (at + 1) * size) for at, size in zip(place, sizes, strict=True))]
        except Exception:
            return place_of(array.store, joined(array.path, array.metadata.encode_chunk_key(place)))
    return None
