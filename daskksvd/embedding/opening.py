"""How a store of embeddings is opened: what is there is compared with its schema and its record."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from ..machine.files import absolute
from ..rows.inputs.opening import EMBEDDINGS as GROUP
from ..stores.damage import damaged
from ..stores.record import digest_of_file
from .layout import read_layout
from .store import ATTRIBUTES, EMBEDDINGS, LATER, PROGRESS, Embeddings

if TYPE_CHECKING:
    from .layout import Layout

_READ_BYTES = 2**28
"""Captions and rejects of so many bytes are compared with their digests when a store is opened."""


def open_embeddings(path: str | os.PathLike[str]) -> Embeddings:
    """Open what `daskksvd.embed` wrote.

    Parameters
    ----------
    path : str or path
        The folder.

    Returns
    -------
    Embeddings

    Raises
    ------
    FileNotFoundError, ValueError
        If there is none, or if it is not as the schema says.
    DamagedStore
        If a file is missing or is not what was written, now or when values are read.
    """
    path = absolute(path)
    where = os.path.join(path, GROUP)
    if not os.path.isdir(where):
        what = (
            "has no finished rows yet"
            if os.path.exists(os.path.join(path, PROGRESS))
            else "holds no embeddings"
        )
        raise FileNotFoundError(f"path={path!r} {what}: there is no {GROUP} in it")
    opened = EMBEDDINGS.open(where)
    opened.arrays()
    check_group(opened.group, where)
    opened.verify()
    check_files(opened)
    return Embeddings(path, opened.group)


def layout_in(folder: str | os.PathLike[str]) -> tuple[Layout | None, int | None]:
    """Layout and number of images of what `daskksvd.embed` wrote into a folder, read cheaply.

    Both are None where it wrote nothing there; the first where a row is an image.
    """
    where = os.path.join(absolute(folder), GROUP)
    if not os.path.isdir(where) or not EMBEDDINGS.is_at(where):  # others' arrays may be called so, too
        return None, None
    attributes = EMBEDDINGS.open(where).attrs
    return layout_at(attributes, where), attributes.get("n_samples")


def check_files(opened):
    """Compare the files of captions and rejects with the record.

    They are read where they are not large; else only those that are missing are noticed.
    """
    if opened.record is None:
        return
    folder = os.path.dirname(opened.path)
    files = {os.path.join(folder, name): digest for name, digest in opened.record.files.items()}
    for file in files:
        if not os.path.isfile(file):
            raise damaged(file, "missing")
    if sum(map(os.path.getsize, files)) <= _READ_BYTES:
        for file, digest in files.items():
            if digest_of_file(file) != digest:
                raise damaged(file, "changed, or cut off")


def layout_at(attributes, where):
    """The layout that attributes tell of, None where a row is an image."""
    try:
        return read_layout(attributes.get("tokens"))
    except (KeyError, TypeError, ValueError) as error:
        raise ValueError(
            f"path={where!r} has an attribute 'tokens' that makes no sense ({error!r})"
        ) from error


def check_group(group, where):
    """Compare a group with what `EMBEDDINGS` says."""
    attributes = dict(group.attrs)
    missing = [name for name in ATTRIBUTES if name not in attributes and name not in LATER]
    if missing:
        raise ValueError(f"path={where!r} lacks the attribute {missing[0]!r}")
    n, layout = attributes["n_samples"], layout_at(attributes, where)
    if layout is not None and "position" not in group:
        raise ValueError(f"path={where!r} lacks the array 'position', and its rows are tokens")
    for name, (dims, dtypes, _, optional, _) in EMBEDDINGS.variables.items():
        if name not in group:
            if optional:
                continue
            raise ValueError(f"path={where!r} lacks the array {name!r}")
        array = group[name]
        kind = "string" if array.dtype.kind in "TUO" else str(array.dtype)
        if kind not in dtypes:
            raise ValueError(f"path={where!r}: {name} is {kind}; it must be {' or '.join(dtypes)}")
        rows = n * (layout.rows_per_image if layout is not None and name == "embeddings" else 1)
        if array.ndim != len(dims) or array.shape[0] != rows:
            raise ValueError(
                f"path={where!r}: {name} has shape {array.shape}; "
                f"it must have {rows} rows and {len(dims)} dimensions"
            )
