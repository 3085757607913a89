"""Labels on disk: a plain Zarr group that xarray reads."""

from ..files import absolute, exists, written_whole
from ..result import FORMAT as RESULT
from .naming import FORMAT, SCHEMA, VERSION
from .resuming import discard

_CHUNK_ATOMS = 512
"""Atoms in one stored chunk: looking one up reads a few megabytes."""


def labels_path(result):
    """Where labels of a result lie: beside it, ``fit.zarr`` and ``fit-labels.zarr``."""
    path = absolute(result).rstrip("/")
    return path.removesuffix(".zarr") + "-labels.zarr"


def save_labels(labels, path, *, overwrite=False):
    """Save labels as a Zarr group that `xarray.open_zarr` reads too; removes their checkpoint.

    Parameters
    ----------
    labels : xarray.Dataset
        From `label`.
    path : str or path
    overwrite : bool
        Whether labels that are there may be replaced.

    Raises
    ------
    FileExistsError, TypeError, ValueError
        If something is there that may not be replaced, or ``labels`` are none.
    """
    check_labels(labels)
    path = absolute(path)
    if exists(path):
        if not overwrite:
            raise FileExistsError(f"path={path!r} exists; pass overwrite=True to replace it")
        open_store(path)  # only labels may be replaced
    sizes = {**labels.sizes, "atom": min(labels.sizes["atom"], _CHUNK_ATOMS)}
    encoding = {name: {"chunks": tuple(sizes[dim] for dim in labels[name].dims)} for name in SCHEMA}
    with written_whole(path) as place:
        labels.to_zarr(place, mode="w", zarr_format=3, consolidated=False, encoding=encoding)
    if "checkpoint" in labels.encoding:  # which is of no more use
        discard(labels.encoding.pop("checkpoint"))


def open_labels(path):
    """Open labels that `save_labels` saved; values are read when needed.

    Parameters
    ----------
    path : str or path
        Of the labels, or of the result beside which they lie.

    Returns
    -------
    xarray.Dataset

    Raises
    ------
    FileNotFoundError, ValueError
        If there are no labels.
    """
    path = absolute(path)
    if exists(path) and _format_at(path) == RESULT:
        beside = labels_path(path)
        if not exists(beside):
            raise FileNotFoundError(f"path={path!r} is a result without labels: there is no {beside!r}")
        path = beside
    return open_store(path)


def open_store(path):
    """Open labels at exactly this path."""
    import xarray as xr

    if not exists(path):
        raise FileNotFoundError(f"path={path!r}: there is no such path")
    if _format_at(path) != FORMAT:
        raise ValueError(f"path={path!r} is a Zarr group, but not labels of daskksvd")
    labels = xr.open_zarr(path, consolidated=False, chunks=None)
    if labels.attrs["version"] > VERSION:
        raise ValueError(
            f"path={path!r} was written by a newer daskksvd (version {labels.attrs['version']} of the "
            f"format; this one reads {VERSION})"
        )
    return labels


def _format_at(path):
    """What the Zarr group at a path says that it is."""
    import zarr

    try:
        return zarr.open_group(path, mode="r").attrs.get("format")
    except Exception as error:
        raise ValueError(f"path={path!r} is no Zarr group ({type(error).__name__}: {error})") from error


def check_labels(labels):
    """Refuse what `label` did not make."""
    missing = [name for name in SCHEMA if name not in getattr(labels, "data_vars", ())]
    if missing:
        raise TypeError(
            f"labels is a {type(labels).__name__} without {', '.join(missing[:3])}; it must be what "
            "daskksvd.label returned"
        )
