"""Paths and Zarr groups to arrays, and the names of features that a store has beside its array."""

import os

from ...machine.files import absolute
from .npy import open_npy

EMBEDDINGS = "embeddings.zarr"
"""What `daskksvd.embed` calls its group; the folder around it can be named, too."""

TABLES = (".csv", ".tsv", ".txt", ".parquet", ".feather", ".json", ".jsonl")
IMAGES = (".jpg", ".jpeg", ".png", ".webp")
"""Endings of names of files that people take for arrays."""


def open_path(path, name="array"):
    """The `NpyFile` or the two-dimensional Zarr array at a path."""
    path = absolute(path)
    if path.endswith(".npy"):
        if "://" in path:
            raise ValueError(
                f"{name} is {path!r}, an address; .npy files are read from a local or mounted file system: "
                "copy it there, or write a Zarr store to the address"
            )
        if os.path.isfile(path):
            return open_npy(path, name)
    return open_zarr(path, name)


def open_zarr(path, name="array"):
    """The two-dimensional array in a Zarr store."""
    import zarr

    path = absolute(path)
    if os.path.isdir(os.path.join(path, EMBEDDINGS)):
        path = os.path.join(path, EMBEDDINGS)
    if "://" not in path and not os.path.exists(path):
        raise FileNotFoundError(f"{name} is {path!r}, and there is no such path")
    try:
        found = zarr.open(path, mode="r")
    except Exception as error:  # what Zarr says of damaged metadata is of any kind
        from ...stores.opening import refuse_damaged

        refuse_damaged(path, error)
        kind = "no Zarr store" if "://" in path else "no Zarr store and no .npy file"
        plain = isinstance(error, FileNotFoundError) and "://" not in path
        why = "" if plain else f" ({type(error).__name__}: {error})"
        raise ValueError(f"{name} is {path!r}, which is {kind}{why}{_instead(path)}") from error
    return found if isinstance(found, zarr.Array) else array_of_group(found, f"{name} is {path!r}")


def _instead(path):
    """What to do with a path that is no array, by what it looks like."""
    if path.endswith(".npz"):
        return "; save its array by itself, with numpy.save"
    if path.endswith(TABLES):
        return "; of a table of vectors save the array, with numpy.save"
    if os.path.isdir(path) and any(name.lower().endswith(IMAGES) for name in os.listdir(path)[:100]):
        return "; vectors of the images in it are made by daskksvd.embed (the command: daskksvd embed)"
    return ""


def array_of_group(group, what):
    """The two-dimensional array of a Zarr group that samples are in; ``what`` begins the message."""
    from ...stores.opening import recorded_arrays

    arrays = {key: value for key, value in recorded_arrays(group).items() if value.ndim == 2}
    if "embeddings" in arrays:
        return arrays["embeddings"]
    if len(arrays) == 1:
        return next(iter(arrays.values()))
    raise ValueError(
        f"{what}, a Zarr group with {len(arrays)} two-dimensional arrays"
        f"{' (' + ', '.join(sorted(arrays)) + ')' if arrays else ''}; "
        "name one: pass the path of the array itself"
    )


def zarr_dims(array):
    """Names of the two dimensions of a Zarr array as xarray writes them, or None."""
    if array.metadata.zarr_format == 2:
        dims = array.attrs.get("_ARRAY_DIMENSIONS")
    else:
        dims = array.metadata.dimension_names
    return tuple(dims) if dims and len(dims) == 2 and all(isinstance(dim, str) for dim in dims) else None


def zarr_names(array, dims):
    """Labels along the second dimension, from the array of its name in the same group, or None."""
    import xarray as xr

    coordinate = _neighbour(array, dims[1]) if dims is not None else None
    if coordinate is None or coordinate.shape != array.shape[1:]:
        return None
    attributes = {key: value for key, value in coordinate.attrs.items() if key != "_ARRAY_DIMENSIONS"}
    stored = xr.Dataset({dims[1]: ((dims[1],), coordinate[:], attributes)})
    return xr.decode_cf(stored)[dims[1]].values


def _neighbour(array, key):
    """The array of this name in the group that an array is in, if there is one."""
    import zarr
    from zarr.storage import LocalStore

    store, path = array.store, array.path
    if not path:  # the store begins with the array
        if not isinstance(store, LocalStore):
            return None
        store, path = LocalStore(os.path.dirname(os.path.abspath(store.root)), read_only=True), "array"
    parent = path.rpartition("/")[0]
    try:
        found = zarr.open_group(store, path=parent, mode="r").get(key)
    except (FileNotFoundError, ValueError, KeyError, TypeError):
        return None
    return found if isinstance(found, zarr.Array) else None
