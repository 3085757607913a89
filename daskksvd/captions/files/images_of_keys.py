"""Names of the images that lines are of which say their row or sample, too."""

import os
from collections.abc import Iterable
from typing import Any

import pandas as pd

from .columns import find_key
from .keyed import Frame, image_columns, whole
from .reading import name_of
from .separated import Broken
from .tables import open_table


def images_of_keys(captions: Any) -> dict[int, str] | None:
    """Names of images by row or sample, as a table of captions has them.

    Parameters
    ----------
    captions : path or DataFrame
        See `tables.open_table`.

    Returns
    -------
    dict of int to str, or None
        None for all else, and for tables without rows and samples, or without a column that names images.
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
    return _named(table.rows((key, columns[0])))


def _named(rows: Iterable[tuple[str, Any]]) -> dict[int, str]:
    found: dict[int, str] = {}
    for _, values in rows:
        number = None if isinstance(values, Broken) else whole(values[0])
        name = "" if number is None else name_of(values[1])
        if name:
            found[int(number)] = name  # type: ignore[arg-type]
    return found
