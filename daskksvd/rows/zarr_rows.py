"""A Zarr array whose rows are read into memory that is used again."""

import asyncio
import functools
import pickle

import zarr
from dask.base import normalize_token
from zarr.buffer.cpu import NDBuffer
from zarr.storage import LocalStore, WrapperStore

from ..running.lending import lender


class _LentStore(WrapperStore):
    """A local store whose files are read into lent memory."""

    async def get(self, key, prototype, byte_range=None):
        if byte_range is not None:
            return await super().get(key, prototype, byte_range)
        try:
            content = await asyncio.to_thread(_read_file, self._store.root / key)
        except (FileNotFoundError, IsADirectoryError, NotADirectoryError):
            return None
        return prototype.buffer.from_array_like(content)


def _read_file(path):
    with open(path, "rb") as file:
        content = lender.array((path.stat().st_size,), "B")
        return content[: file.readinto(content)]  # what a file lacks must not be found in lent memory


class ZarrRows:
    """A Zarr array to read from; what it returns is not to be written to.

    Parameters
    ----------
    array : zarr.Array
        Two-dimensional.
    pickled : bytes, optional
        The array pickled, where it came so.
    """

    def __init__(self, array, pickled=None):
        if isinstance(array.store, LocalStore):
            store = _LentStore(LocalStore(array.store.root, read_only=True))
            array = zarr.open_array(store, path=array.path, mode="r")
        self._array = array
        self._pickled = pickled
        self.shape = array.shape
        self.ndim = array.ndim
        self.dtype = array.dtype

    def __getitem__(self, index):
        shape = tuple(len(range(*part.indices(n))) for part, n in zip(index, self.shape, strict=True))
        rows = lender.array(shape, self.dtype)
        self._array.get_basic_selection(index, out=NDBuffer.from_numpy_array(rows))
        return rows

    def __reduce__(self):
        # every task brings one along: what it holds is pickled once, and unpickled once where it arrives
        if self._pickled is None:
            self._pickled = pickle.dumps(self._array)
        return _unpickled, (self._pickled,)

    def __dask_tokenize__(self):
        return normalize_token(self._array)


@functools.lru_cache(maxsize=8)
def _unpickled(pickled):
    return ZarrRows(pickle.loads(pickled), pickled)
