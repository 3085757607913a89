"""NumPy, Dask, xarray and Zarr arrays, or a path, as `Rows`."""

import math
import os
import uuid

import dask.array as da
import numpy as np

from ..files import absolute
from .graph import take_apart
from .jobs import Job
from .npy import NpyFile, open_npy

EMBEDDINGS = "embeddings.zarr"
"""What `daskksvd.embed` calls its group; the folder around it can be named, too."""

MEMORY_CHUNK_BYTES = 16 * 2**20


class Rows:
    """A two-dimensional array as rows (samples) in chunks that tasks can read.

    Attributes
    ----------
    array : dask.array.Array
        One chunk column.
    feature_names : list or None
        Labels of the features, where the input brought any.
    in_memory : bool
        Whether the input was an array of this process.
    local_path : str or None
        Where a Zarr array or a .npy file lies in the file system.
    """

    def __init__(self, array, feature_names=None, in_memory=False, local_path=None):
        self.array = array
        self.feature_names = feature_names
        self.in_memory = in_memory
        self.local_path = local_path
        self._layout = None
        self._handles = {}
        self._runner = None

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

    def prepare(self, runner):
        """Make the chunks readable by tasks of ``runner``."""
        if self.local_path is not None:
            runner.check_path(self.local_path, "array")
        self._runner = runner
        self._layout = take_apart(self.array, move_arrays=runner.moves_arrays)
        self.place()
        return self

    def place(self):
        """Put, or put again, what tasks need from outside where they run."""
        layout = self._layout
        handles = {}
        arrays = {}
        for key, value in layout.placed.items():
            if isinstance(value, np.ndarray):
                arrays[key] = value
            else:
                handles[key] = self._runner.check_future(value)
        handles.update(zip(arrays, self._runner.place(list(arrays.values())), strict=True))
        if layout.common_keys:
            held = self._runner.hold(layout.common, layout.common_keys)
            handles.update(zip(layout.common_keys, held, strict=True))
        self._handles = handles

    def job(self, pieces):
        """A job that reads ``pieces``."""
        chunks = tuple(self._layout.chunks[piece.index] for piece in pieces)
        needs = tuple(sorted({key for chunk in chunks for key in chunk.needs}, key=str))
        return Job(tuple(pieces), chunks, needs)

    def inputs(self, job):
        """Handles of what a job needs from outside."""
        return [self._handles[key] for key in job.needs]


def as_rows(array, name="array"):
    """Any supported array as `Rows`, checked as far as its shape and type go.

    Parameters
    ----------
    array : array-like, dask.array.Array, xarray.DataArray, zarr.Array, str or path
        n x d, real numbers. A path names a Zarr array, a Zarr group that holds
        exactly one two-dimensional array or one called ``embeddings``, a folder
        that `daskksvd.embed` made, or a .npy file.
    name : str
        What messages call it.

    Raises
    ------
    TypeError, ValueError, FileNotFoundError
        If it is not such an array; the message says what was found.
    """
    feature_names = None
    in_memory = False
    local_path = None
    if isinstance(array, Rows):
        return array
    if isinstance(array, (str, os.PathLike)):
        array = open_path(array, name)
    if _is(array, "xarray", "Dataset"):
        raise TypeError(
            f"{name} is an xarray.Dataset; pass one of its variables: {', '.join(map(str, array))}"
        )
    if _is(array, "xarray", "DataArray"):
        if array.ndim == 2 and array.dims[1] in array.coords:
            feature_names = array.coords[array.dims[1]].values.tolist()
        array = array.data
    if hasattr(getattr(array, "_meta", array), "todense"):  # SciPy's, or sparse.COO, alone or in Dask
        raise TypeError(f"{name} is sparse; it must be dense (call todense(), or map_blocks with it)")
    if _is(array, "zarr", "Array"):
        from .zarr_rows import ZarrRows

        _check(array, name)
        array, local_path = _with_absolute_path(array)
        array = da.from_array(ZarrRows(array), chunks=_zarr_chunks(array), inline_array=True)
    elif isinstance(array, NpyFile):
        _check(array, name)
        local_path = array.path
        array = da.from_array(array, chunks=(_memory_rows(array), array.shape[1]), inline_array=True)
    elif not isinstance(array, da.Array):
        if _is(array, "pandas", "DataFrame"):
            feature_names = [str(column) for column in array.columns]
        if np.ma.isMaskedArray(array) and np.ma.is_masked(array):
            raise TypeError(f"{name} is a masked array with masked values; fill them or leave their rows out")
        try:
            array = np.asarray(array)
        except ValueError as error:
            raise ValueError(f"{name} is no array ({error}); it must be n x d, one row a sample") from error
        in_memory = True
        _check(array, name)
        array = as_dask(array, _memory_rows(array))
    _check(array, name)
    if array.numblocks[1] > 1:
        array = array.rechunk({1: -1})
    if any(rows == 0 for rows in array.chunks[0]):
        array = array.rechunk({0: tuple(rows for rows in array.chunks[0] if rows)})
    return Rows(array, feature_names, in_memory, local_path)


def as_dask(array, chunk_rows):
    """A NumPy array (n, d) in chunks of so many rows; `dask.array.from_array` would copy it."""
    name = f"rows-{uuid.uuid4().hex}"
    starts = range(0, len(array), chunk_rows)
    graph = {(name, i, 0): array[start : start + chunk_rows] for i, start in enumerate(starts)}
    sizes = tuple(len(chunk) for chunk in graph.values())
    return da.Array(graph, name, (sizes, array.shape[1:]), dtype=array.dtype)


def open_path(path, name="array"):
    """The `NpyFile` or the two-dimensional Zarr array at a path."""
    path = absolute(path)
    if path.endswith(".npy") and os.path.isfile(path):
        return open_npy(path, name)
    return open_zarr(path, name)


def open_zarr(path, name="array"):
    """The two-dimensional array in a Zarr store."""
    import zarr
    from zarr.errors import BaseZarrError

    path = absolute(path)
    if os.path.isdir(os.path.join(path, EMBEDDINGS)):
        path = os.path.join(path, EMBEDDINGS)
    if "://" not in path and not os.path.exists(path):
        raise FileNotFoundError(f"{name} is {path!r}, and there is no such path")
    try:
        found = zarr.open(path, mode="r")
    except (BaseZarrError, FileNotFoundError, KeyError, ValueError, OSError) as error:
        hint = "; save its array by itself, with numpy.save" if path.endswith(".npz") else ""
        raise ValueError(
            f"{name} is {path!r}, which is no Zarr store and no .npy file "
            f"({type(error).__name__}: {error}){hint}"
        ) from error
    if isinstance(found, zarr.Array):
        return found
    arrays = {key: value for key, value in found.arrays() if value.ndim == 2}
    if "embeddings" in arrays:
        return arrays["embeddings"]
    if len(arrays) == 1:
        return next(iter(arrays.values()))
    raise ValueError(
        f"{name} is {path!r}, a Zarr group with {len(arrays)} two-dimensional arrays"
        f"{' (' + ', '.join(sorted(arrays)) + ')' if arrays else ''}; "
        "name one: pass the path of the array itself"
    )


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
    if kind not in "fiub" or np.dtype(array.dtype).itemsize > 8:
        raise TypeError(
            f"{name} has dtype {array.dtype}; it must be float16, float32, float64, integer or bool"
        )
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


def _zarr_chunks(array):
    """Whole chunks, several together where they are tiny."""
    rows = (array.shards or array.chunks)[0]
    row_bytes = array.shape[1] * np.dtype(array.dtype).itemsize
    rows *= max(1, MEMORY_CHUNK_BYTES // 4 // (rows * row_bytes))
    return (min(rows, array.shape[0]), array.shape[1])


def _memory_rows(array):
    row_bytes = array.shape[1] * array.dtype.itemsize
    return max(1, min(array.shape[0], MEMORY_CHUNK_BYTES // row_bytes))
