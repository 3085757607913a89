"""A Zarr array whose rows are read into memory that is used again."""

import asyncio
import functools
import pickle

from zarr.buffer.cpu import NDBuffer
from zarr.storage import LocalStore, WrapperStore

from ...machine.buffers import lender
from ...stores.checked import checked_array
from ...stores.reading import read_part
from ..blocks import native


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
    packing : Packing, optional
        What stored numbers stand for.
    token : str
        Of the files as they are now, see `listing.list_files`.
    pickled : bytes, optional
        Array and packing pickled, where they came so.
    """

    def __init__(self, array, packing=None, token="", pickled=None):
        if isinstance(array.store, LocalStore):
            store, path = LocalStore(array.store.root, read_only=True), array.path
            if not path:  # what is recorded of it lies in the group around it
                store, path = LocalStore(store.root.parent, read_only=True), store.root.name
            array = checked_array(_LentStore(store), path)
        self._array = array
        self._packing = packing
        self._token = token
        self._pickled = pickled
        self.shape = array.shape
        self.ndim = array.ndim
        self.dtype = native(array.dtype) if packing is None else packing.dtype

    def __getitem__(self, index):
        shape = tuple(len(range(*part.indices(n))) for part, n in zip(index, self.shape, strict=True))
        stored = lender.array(shape, self._array.dtype)
        out = NDBuffer.from_numpy_array(stored)
        read_part(self._array, index, lambda part: self._array.get_basic_selection(part, out=out))
        if self._packing is not None:
            return self._packing.decode(stored)
        return stored.astype(self.dtype, copy=False)

    def __reduce__(self):
        # every task brings one along: what it holds is pickled once, and unpickled once where it arrives
        if self._pickled is None:
            self._pickled = pickle.dumps((self._array, self._packing))
        return _unpickled, (self._pickled,)

    def __dask_tokenize__(self):
        return type(self).__name__, self._array.path, self._token


@functools.lru_cache(maxsize=8)
def _unpickled(pickled):
    return ZarrRows(*pickle.loads(pickled), pickled=pickled)
