"""Arrays of HDF5, netCDF and other files as rows that are read block by block."""

import contextlib
import os
import pickle
import threading
import uuid

import numpy as np

from ..blocks import native
from .packed import packing

_netcdf_lock = threading.Lock()
"""netCDF's library must not be called by two threads."""


def is_stored(value):
    """Whether a value is an array that lies elsewhere: with a shape, a dtype, chunks and slices."""
    module = type(value).__module__.split(".")[0]
    if module in ("h5py", "netCDF4", "tensorstore"):
        return hasattr(value, "shape") and hasattr(value, "dtype")
    return all(hasattr(value, part) for part in ("shape", "dtype", "chunks", "__getitem__"))


class StoredRows:
    """An array to read from; it travels to other processes as the name of its file, or as it can.

    Parameters
    ----------
    array : h5py.Dataset, netCDF4.Variable, tensorstore.TensorStore or alike
        Two-dimensional.
    """

    def __init__(self, array):
        self._array = array
        self._module = type(array).__module__.split(".")[0]
        self._token = uuid.uuid4().hex  # what it holds may change
        self.shape = tuple(int(size) for size in array.shape)
        self.ndim = len(self.shape)
        stored = getattr(array.dtype, "numpy_dtype", array.dtype)
        self._packing = None
        if self._module == "netCDF4" and self.ndim == 2 and min(self.shape):
            stored = self._read((slice(0, 1), slice(None))).dtype  # it unpacks numbers itself
        elif self._module == "h5py" and self.ndim == 2 and stored.kind in "iuf":
            self._packing = packing(dict(array.attrs), stored)
        self.dtype = native(stored) if self._packing is None else self._packing.dtype

    @property
    def local_path(self):
        """The file that an HDF5 data set is in, None for others."""
        if self._module != "h5py":
            return None
        path = self._array.file.filename
        path = os.fsdecode(path) if isinstance(path, bytes) else path
        return os.path.abspath(path) if os.path.exists(path) else None

    @property
    def chunk_rows(self):
        """Rows of a stored chunk, None where there are no chunks."""
        chunks = getattr(self._array, "chunks", None)
        if self._module == "netCDF4":
            chunks = self._array.chunking()
        elif self._module == "tensorstore":
            chunks = self._array.chunk_layout.read_chunk.shape
        if not isinstance(chunks, (tuple, list)) or not chunks:
            return None
        first = chunks[0]
        return int(max(first) if isinstance(first, (tuple, list)) else first) or None

    def __getitem__(self, index):
        block = self._read(index)
        return block if self._packing is None else self._packing.decode(block)

    def _read(self, index):
        with _netcdf_lock if self._module == "netCDF4" else contextlib.nullcontext():
            block = self._array[index]
        return block if np.ma.isMaskedArray(block) else np.asarray(block)

    def __reduce__(self):
        if self._module == "h5py":
            if self.local_path is None:
                raise self._stays("its file has no name on this machine")
            return _reopened, (self.local_path, self._array.name)
        try:
            pickle.dumps(self._array)
        except Exception as error:
            raise self._stays(f"{type(error).__name__}: {error}") from error
        return StoredRows, (self._array,)

    def _stays(self, why):
        kind = f"{self._module}.{type(self._array).__name__}"
        return TypeError(
            f"array is a {kind}, which cannot be sent to the workers of a cluster ({why}); open it in chunks "
            "with xarray (xarray.open_dataset(path, chunks={})), or store it as Zarr"
        )

    def __dask_tokenize__(self):
        return type(self).__name__, self._token


def _reopened(path, name):
    import h5py

    try:
        return StoredRows(h5py.File(path, "r")[name])
    except OSError as error:
        raise OSError(
            f"array is {name!r} in {path!r}, which a worker cannot open ({error}); "
            "if it is open for writing here, close it and open it with mode 'r'"
        ) from error
