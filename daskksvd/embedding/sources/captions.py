"""Files that name images and give them captions: CSV, TSV, JSON lines, Parquet."""

import os
from typing import NamedTuple

from ..errors import one_line
from .base import clean_captions
from .columns import FILE_NAMES, find, find_captions, listing, named, named_captions
from .tables import read_json, read_text

STEMS = ("captions", "metadata")
ENDINGS = (".csv", ".tsv", ".txt", ".jsonl", ".parquet")
"""Together the names by which a captions file is found in a folder, the first first."""


class Captions(NamedTuple):
    """What a captions file says.

    Attributes
    ----------
    path : str
    by_name : dict of str to tuple of str
        Captions of every file it names, those of several lines together.
    broken : list of (str, str)
        Where a line cannot be used, and why.
    """

    path: str
    by_name: dict
    broken: list


def find_files(folder):
    """The captions files in a folder and its subfolders, one each at most."""
    found = []
    for where, folders, files in os.walk(folder):
        folders.sort()
        names = (stem + ending for stem in STEMS for ending in ENDINGS)
        name = next((name for name in names if name in files), None)
        if name is not None:
            found.append(os.path.join(where, name))
    return found


def read_captions(path, *, image_column=None, caption_columns=None):
    """Read a captions file.

    Parameters
    ----------
    path : str
        Of a .csv, .tsv, .txt (see `tables.read_text`), .jsonl or .parquet file.
    image_column, caption_columns : str, or several for captions
        Detected where they are not named.

    Returns
    -------
    Captions

    Raises
    ------
    FileNotFoundError, ValueError
        If it cannot be read at all or lacks a column.
    """
    where = f"captions={path!r}"
    if not os.path.isfile(path):
        raise FileNotFoundError(f"{where}; there is no such file")
    ending = os.path.splitext(path)[1].lower()
    readers = dict(zip(ENDINGS, (read_text,) * 3 + (read_json, _read_parquet), strict=True))
    if ending not in readers:
        raise ValueError(f"{where}; its name must end in {', '.join(readers)}")
    try:
        columns, rows = readers[ending](path)
    except Exception as error:  # pyarrow, too, says in many ways that a file is none of its own
        raise ValueError(f"{where} cannot be read ({one_line(error)})") from error
    image_column = _image_column(columns, image_column, where)
    caption_columns = _caption_columns(columns, image_column, caption_columns, where)
    by_name, broken = {}, []
    for place, row in rows:
        if isinstance(row, str):
            broken.append((place, row))
            continue
        name = row.get(image_column)
        name = str(name).strip() if isinstance(name, (str, int)) else ""
        if not name:
            broken.append((place, f"names no image in the column {image_column}"))
            continue
        new = tuple(caption for column in caption_columns for caption in clean_captions(row.get(column)))
        by_name[name] = by_name.get(name, ()) + new
    return Captions(path, by_name, broken)


def _image_column(columns, name, where):
    if name is not None:
        return named(columns, name, "image_column", where)
    found = find(columns, FILE_NAMES)
    if found is None:
        raise ValueError(
            f"{where} has no column that looks like the name of an image file; name it with "
            f"image_column: the columns are {listing(columns)}"
        )
    return found


def _caption_columns(columns, image_column, names, where):
    if names is not None:
        return named_captions(columns, names, where)
    found = find_captions([column for column in columns if column != image_column])
    if not found:
        raise ValueError(
            f"{where} has no column that looks like captions; name it with caption_columns: "
            f"the columns are {listing(columns)}"
        )
    return found


def _read_parquet(path):
    import pyarrow.parquet

    table = pyarrow.parquet.read_table(path)
    return table.column_names, [(f"row {number}", row) for number, row in enumerate(table.to_pylist())]
