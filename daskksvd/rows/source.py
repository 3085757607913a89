"""NumPy, Dask, xarray and Zarr arrays, or a path, as `Source`."""

from __future__ import annotations

import dataclasses
import math
import os
import uuid
from typing import TYPE_CHECKING, Any, TypeAlias, get_args

import dask.array as da
import numpy as np

from ..execution import WORKER_TIMEOUT
from .blocks import ALLOWED, MaskedRows, checked, is_real, masked_rows, masked_text
from .inputs.frames import frame_as_dask, frame_names, frame_values, is_dask_frame, is_frame
from .inputs.listing import MissingChunks, check_chunks, list_files
from .inputs.npy import NpyFile
from .inputs.opening import array_of_group, open_path, zarr_dims, zarr_names
from .inputs.stored import StoredRows, is_stored
from .inputs.underlying import clients, in_order, rows_read, zarr_arrays
from .names import check_names

if TYPE_CHECKING:
    import numpy.typing as npt
    import pandas as pd
    import xarray as xr
    import zarr

MEMORY_CHUNK_BYTES = 16 * 2**20

ArrayLike: TypeAlias = (
    "npt.ArrayLike | pd.DataFrame | da.Array | xr.DataArray | zarr.Array | zarr.Group "
    "| os.PathLike[str] | Any"
)
"""What `as_source` takes; Any is for frames of other libraries, and data sets of h5py and the like."""


@dataclasses.dataclass(frozen=True, eq=False)
class Source:
    """A two-dimensional array as rows (samples) in chunks; a `Reader` reads them.

    Attributes
    ----------
    array : dask.array.Array
        One chunk column.
    feature_names : list or None
        Labels of the features, where the input brought any.
    in_memory : bool
        Whether the input was an array of this process.
    local_path : str or None
        Where a Zarr array, a .npy or an HDF5 file lies in the file system.
    dims : tuple of two str, or None
        Names of the dimensions, where the input brought any.
    stored : StoredRows or None
        What reads the rows, where another library does.
    rows_per_image : int or None
        Rows that are tokens of one image and follow one another, where the input says so.
    """

    array: da.Array
    feature_names: list | None = None
    in_memory: bool = False
    local_path: str | None = None
    dims: tuple | None = None
    stored: StoredRows | None = None
    rows_per_image: int | None = None

    @property
    def n(self):
        return self.array.shape[0]

    @property
    def d(self):
        return self.array.shape[1]

    @property
    def dtype(self):
        return self.array.dtype

    @property
    def chunk_rows(self):
        """Rows of every chunk."""
        return self.array.chunks[0]

    def check_sent(self):
        """Raise `TypeError` if the rows cannot be read by other processes."""
        if self.stored is not None:
            self.stored.__reduce__()


def as_source(
    array: Any,
    name: str = "array",
    missing_chunks: MissingChunks = "error",
    worker_timeout: float | None = WORKER_TIMEOUT,
) -> Source:
    """Any supported array as `Source`, checked as far as can be told without reading rows.

    Parameters
    ----------
    array : array-like, DataFrame, dask.array.Array, xarray.DataArray, zarr.Array or Group, str or path
        n x d, real numbers. A path names a Zarr array, a Zarr group that holds
        exactly one two-dimensional array or one called ``embeddings``, a folder
        that `daskksvd.embed` made, or a .npy file. Frames are those of pandas,
        Polars, Arrow and Dask; a data set of h5py, or what is like one, is read
        block by block; of `Embeddings` and the like it is their ``array``.
    name : str
        What messages call it.
    missing_chunks : {"error", "fill"}
        Whether chunks that a Zarr array lacks are refused, or read as its fill value.
    worker_timeout : float, optional
        Seconds to wait for workers, where a cluster holds the array and they are gone; None for ever.

    Raises
    ------
    TypeError, ValueError, FileNotFoundError
        If it is not such an array; the message says what was found.
    WorkersLost
        If the workers did not come back in time.
    """
    if missing_chunks not in get_args(MissingChunks):
        raise ValueError(f"missing_chunks={missing_chunks!r}; it must be one of 'error', 'fill'")
    names = dims = local_path = stored = each = None
    here = False
    if isinstance(array, Source):
        return array
    if hasattr(array, "layout") and isinstance(getattr(array, "array", None), da.Array):
        each = None if array.layout is None else array.layout.rows_per_image
        array = array.array
    if isinstance(array, (str, os.PathLike)):
        array = open_path(array, name)
    if _is(array, "xarray", "Dataset"):
        raise TypeError(
            f"{name} is an xarray.Dataset; pass one of its variables: {', '.join(map(str, array))}"
        )
    if _is(array, "xarray", "DataArray"):
        array, names, dims = _from_xarray(array)
    if _is(array, "zarr", "Group"):
        array = array_of_group(array, f"{name} is {array.store_path}")
    if hasattr(getattr(array, "_meta", array), "todense"):  # SciPy's, or sparse.COO, alone or in Dask
        raise TypeError(f"{name} is sparse; it must be dense (call todense(), or map_blocks with it)")
    if _is(array, "zarr", "Array"):
        each = _rows_per_image(array)
        array, names, dims, local_path = _from_zarr(array, name, missing_chunks)
    elif isinstance(array, NpyFile):
        _check(array, name)
        local_path = array.path
        array = da.from_array(array, chunks=(_memory_rows(array), array.shape[1]), inline_array=True)
    elif is_dask_frame(array):
        names = _column_names(array) if array.ndim == 2 else None
        array = frame_as_dask(array, name)
    elif isinstance(array, da.Array):
        _check(array, name)
        below = [stored for stored in zarr_arrays(array) if stored.shape[0] == array.shape[0]]
        whole = len(below) == 1 and in_order(array, below[0])
        each = each or (_rows_per_image(below[0]) if whole else None)
        array = _from_dask(array, name, missing_chunks, worker_timeout)
    elif not is_frame(array) and is_stored(array):
        array = stored = StoredRows(array)
        _check(array, name)
        local_path = array.local_path
        chunks = _whole_chunks(array, array.chunk_rows or _memory_rows(array))
        array = checked(da.from_array(array, chunks=chunks, inline_array=True, asarray=False), name)
    else:
        if is_frame(array):
            names = _column_names(array)
        array = _in_memory(array, name)
        here = True
        array = _native(as_dask(array, _memory_rows(array)), name)
    _check(array, name)
    if array.numblocks[1] > 1:
        array = array.rechunk({1: -1})
    if any(rows == 0 for rows in array.chunks[0]):
        array = array.rechunk({0: tuple(rows for rows in array.chunks[0] if rows)})
    if names is not None:
        names = check_names(names, name)
        names = list(names) if names.dtype.kind in "Mm" else names.tolist()
    return Source(array, names, here, local_path, dims, stored, each)


def _rows_per_image(array):
    """Rows of an image that a Zarr array of tokens says it has; None for others."""
    each = array.attrs.get("rows_per_image")
    return each if isinstance(each, int) and each > 0 and array.shape[0] % each == 0 else None


def in_memory(array, name="array"):
    """What lies in memory as scikit-learn takes it, and labels of its features, None without any.

    Frames of any kind become pandas frames of one of NumPy's types.
    """
    _refuse_masked(array, name)
    if not is_frame(array):
        return array, None
    import pandas as pd

    names = _column_names(array)
    simple = isinstance(array, pd.DataFrame) and len({str(dtype) for dtype in array.dtypes}) == 1
    if not simple or not isinstance(array.dtypes.iloc[0], np.dtype):
        array = pd.DataFrame(frame_values(array, name), columns=list(frame_names(array)))
    names = names or []
    compared = all(isinstance(label, str) for label in names) or all(type(label) is int for label in names)
    return array, names if names and compared else None


def _column_names(frame):
    """Names of the columns; None where pandas has numbered them."""
    names = list(frame_names(frame))
    return None if names == list(range(len(names))) else names


def _refuse_masked(array, name):
    if np.ma.isMaskedArray(array) and np.ma.is_masked(array):
        _check(array, name)
        rows = masked_rows(array)
        raise MaskedRows(masked_text(rows.sum(), int(np.argmax(rows)), name))


def _in_memory(array, name):
    """A NumPy array of what lies in memory, n x d."""
    _refuse_masked(array, name)
    try:
        array = frame_values(array, name) if is_frame(array) else np.asarray(array)
    except (ValueError, RuntimeError, TypeError) as error:
        if is_frame(array):
            raise
        raise ValueError(f"{name} is no array ({error}); it must be n x d, one row a sample") from error
    _check(array, name)
    return array


def _native(array, name):
    """The same array; if its numbers are in another byte order, one that turns them block by block."""
    return array if array.dtype.isnative else checked(array, name)


def _from_xarray(array):
    """Data, labels of features and dimensions of a DataArray; what is not in memory stays where it is."""
    names = array.coords[array.dims[1]].values if array.ndim == 2 and array.dims[1] in array.coords else None
    dims = tuple(map(str, array.dims)) if array.ndim == 2 else None
    if array.chunks is None and not _loaded(array):
        array = array.chunk({array.dims[0]: _whole_chunks(array, _stored_rows(array))[0], array.dims[1]: -1})
    return array.data, names, dims


def _loaded(array):
    """Whether the data of a DataArray is in memory, or could only be brought there whole."""
    return array.ndim != 2 or not array.size or getattr(array.variable, "_in_memory", True)


def _stored_rows(array):
    """Rows of a chunk in the file that a DataArray is read from."""
    chunks = array.encoding.get("preferred_chunks", {})
    return chunks.get(array.dims[0]) or _memory_rows(array)


def _from_zarr(array, name, missing_chunks):
    """A lazy array, labels of features, dimensions and the local path of a Zarr array."""
    from .inputs.packed import zarr_packing
    from .inputs.zarr_rows import ZarrRows

    _check(array, name)
    array, local_path = _with_absolute_path(array)
    listing = list_files(array)
    if missing_chunks == "error":
        check_chunks(array, listing, name)
    rows = ZarrRows(array, zarr_packing(array), listing.token)
    dims = zarr_dims(array)
    chunks = _whole_chunks(rows, (array.shards or array.chunks)[0])
    lazy = da.from_array(rows, chunks=chunks, inline_array=True)
    return lazy, zarr_names(array, dims), dims, local_path


def _from_dask(array, name, missing_chunks, worker_timeout):
    """A Dask array whose blocks are checked when they are read, and the Zarr arrays below it now."""
    for client in clients(array):
        from .inputs.masks import keep_masks

        keep_masks(client, worker_timeout)
    tokens = []
    for stored in zarr_arrays(array):
        listing = list_files(stored)
        tokens.append(listing.token)
        if missing_chunks == "error":
            check_chunks(stored, listing, name, rows_read(array, stored))
    return checked(array, name, tokens)


def as_dask(array, chunk_rows):
    """A NumPy array (n, d) in chunks of so many rows; `dask.array.from_array` would copy it."""
    name = f"rows-{uuid.uuid4().hex}"
    starts = range(0, len(array), chunk_rows)
    graph = {(name, i, 0): array[start : start + chunk_rows] for i, start in enumerate(starts)}
    sizes = tuple(len(chunk) for chunk in graph.values())
    return da.Array(graph, name, (sizes, array.shape[1:]), dtype=array.dtype)


def _check(array, name):
    """Shape and type; reads no data."""
    if array.ndim != 2:
        raise ValueError(
            f"{name} has {array.ndim} dimension{'s' if array.ndim != 1 else ''} and shape "
            f"{tuple(array.shape)}; it must be n x d, one row a sample"
            + ("; reshape it with array.reshape(1, -1) if it is one sample" if array.ndim == 1 else "")
        )
    if any(math.isnan(size) for size in array.shape):
        raise ValueError(
            f"{name} has unknown chunk sizes (shape {array.shape}); call array.compute_chunk_sizes() first"
        )
    kind = np.dtype(array.dtype).kind
    if kind == "c":
        raise TypeError(f"{name} is complex ({array.dtype}); complex data is not supported, it must be real")
    if not is_real(array.dtype):
        raise TypeError(f"{name} has dtype {array.dtype}; it must be {ALLOWED}")
    if array.shape[0] == 0 or array.shape[1] == 0:
        raise ValueError(
            f"{name} is empty: shape {tuple(array.shape)}; it must have at least one sample and one feature"
        )


def _is(value, module, name):
    kind = type(value)
    return kind.__name__ == name and kind.__module__.split(".")[0] == module


def _with_absolute_path(array):
    """The same Zarr array with its path made absolute, and that path if it has one."""
    import zarr
    from zarr.storage import LocalStore

    if not isinstance(array.store, LocalStore):
        return array, None
    root = os.path.abspath(array.store.root)
    path = os.path.join(root, array.path)
    if os.path.isabs(array.store.root):
        return array, path
    return zarr.open_array(LocalStore(root, read_only=True), path=array.path, mode="r"), path


def _whole_chunks(array, rows):
    """Stored chunks of so many rows, several together where they are tiny."""
    row_bytes = array.shape[1] * np.dtype(array.dtype).itemsize
    rows *= max(1, MEMORY_CHUNK_BYTES // 4 // (rows * row_bytes))
    return (min(rows, array.shape[0]), array.shape[1])


def _memory_rows(array):
    row_bytes = array.shape[1] * array.dtype.itemsize
    return max(1, min(array.shape[0], MEMORY_CHUNK_BYTES // row_bytes))
