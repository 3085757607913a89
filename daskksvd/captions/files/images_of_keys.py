"""Names of the images that lines are of which say their row or sample, too."""

import itertools
import os
import warnings
from collections.abc import Iterator
from typing import Any

import numpy as np
import pandas as pd

from .columns import find_key
from .keyed import Frame, image_columns, whole
from .reading import name_of
from .separated import Broken
from .tables import open_table

_TRIED = 200
"""Lines by which it is told which of several columns names images of the folder."""


def images_of_keys(captions: Any, folder: str, n: int | None = None) -> dict[int, str] | None:
    """Names of images by row or sample, as a table of captions has them.

    Parameters
    ----------
    captions : path or DataFrame
        See `tables.open_table`.
    folder : str
        Where the images are: of columns that may name them it is the one of which most are there, or are
        addresses.
    n : int, optional
        Rows, where they are known; others are left out.

    Returns
    -------
    dict of int to str, or None
        None for all else than one table, for tables without rows and samples, and for those of which no
        column names images of the folder.

    Warns
    -----
    UserWarning
        If lines name different images for one row; the first counts.
    """
    table: Any
    if isinstance(captions, pd.DataFrame):
        table = Frame(captions)
    elif isinstance(captions, (str, os.PathLike)) and os.path.isfile(captions):
        table = open_table(os.fspath(captions), f"captions={os.fspath(captions)!r}")
    else:
        return None
    key, _ = find_key(table.columns)
    columns = [column for column in image_columns(table) if column != key]
    if key is None or not columns:
        return None
    there = np.zeros(len(columns), int)
    for _, names in itertools.islice(_lines(table, key, columns), _TRIED):
        there += [_is_there(name, folder) for name in names]
    if not there.any():
        return None
    found: dict[int, str] = {}
    others = set()
    for row, [name] in _lines(table, key, [columns[int(there.argmax())]]):
        if name and row >= 0 and (n is None or row < n) and found.setdefault(row, name) != name:
            others.add(row)
    if others:
        warnings.warn(
            f"captions name several images for {len(others):,} rows, such as {min(others)}; the first counts",
            stacklevel=2,
        )
    return found


def _lines(table: Any, key: str, columns: list[str]) -> Iterator[tuple[int, list[str]]]:
    """Row and names of every line that says its row."""
    for _, values in table.rows((key, *columns)):
        number = None if isinstance(values, Broken) else whole(values[0])
        if number is not None:
            yield int(number), [name_of(value) for value in values[1:]]


def _is_there(name: str, folder: str) -> bool:
    return "://" in name or ("\0" not in name and os.path.isfile(os.path.join(folder, name)))
