"""Labels on disk: a plain Zarr group that xarray reads."""

import contextlib

from ..fitting.result import FORMAT as RESULT
from ..machine.files import absolute, exists, written_whole
from ..stores import DamagedStore, open_store, seal, write_dataset
from .measures import FORMAT, SCHEMA, VERSION
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
        check_replaceable(path)
    sizes = {**labels.sizes, "atom": min(labels.sizes["atom"], _CHUNK_ATOMS)}
    chunks = {name: tuple(sizes[dim] for dim in labels[name].dims) for name in SCHEMA}
    with written_whole(path, labels.nbytes) as place:
        write_dataset(labels, place, chunks)
        seal(place)
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
    DamagedStore
        If a file is missing or is not what was written, now or when values are read.
    """
    path = absolute(path)
    if exists(path) and open_store(path).attrs.get("format") == RESULT:
        beside = labels_path(path)
        if not exists(beside):
            raise FileNotFoundError(f"path={path!r} is a result without labels: there is no {beside!r}")
        path = beside
    opened = _open(path)
    if opened.attrs.get("version", 0) > VERSION:
        raise ValueError(
            f"path={opened.path!r} was written by a newer daskksvd (version {opened.attrs['version']} of the "
            f"format; this one reads {VERSION})"
        )
    opened.verify()
    return opened.dataset(lazy=True)


def check_replaceable(path):
    """Refuse to replace what are no labels; damaged ones may go."""
    with contextlib.suppress(DamagedStore):
        _open(path)


def _open(path):
    """The store of labels at exactly this path, its format looked at."""
    opened = open_store(path)
    if opened.attrs.get("format") != FORMAT:
        opened.refuse("not labels of daskksvd")
    return opened


def check_labels(labels):
    """Refuse what `label` did not make."""
    missing = [name for name in SCHEMA if name not in getattr(labels, "data_vars", ())]
    if missing:
        raise TypeError(
            f"labels is a {type(labels).__name__} without {', '.join(missing[:3])}; it must be what "
            "daskksvd.label returned"
        )
