"""Read the captions of images from a file that names them."""

from typing import NamedTuple

from .cleaning import spoken
from .columns import FILE_NAMES, find, find_captions, listing, named, named_captions
from .separated import Broken
from .tables import ask_header, numbered, open_table, unreadable


class Captions(NamedTuple):
    """What a captions file says.

    Attributes
    ----------
    path : str
    by_name : dict of str to tuple of str
        Captions of every image it names, those of several lines together.
    broken : list of (str, str)
        Where a line cannot be used, and why.
    """

    path: str
    by_name: dict
    broken: list


def read_captions(path, *, image_column=None, caption_columns=None, where=None, names=FILE_NAMES):
    """Read a captions file.

    Parameters
    ----------
    path : str
        See `tables.open_table`.
    image_column, caption_columns : str, or several for captions
        Detected where they are not named.
    where : str, optional
        What messages call the file.
    names : sequence of str
        What a column that names images may be called, the best first.

    Returns
    -------
    Captions

    Raises
    ------
    FileNotFoundError, ValueError
        If it cannot be read at all or lacks a column.
    """
    where = where or f"captions={path!r}"
    table = open_table(path, where, _names(image_column, caption_columns))
    image, captions = columns_of(table, image_column, caption_columns, where, names)
    try:
        return read_names(table, image, captions)._replace(path=path)
    except ImportError:
        raise
    except Exception as error:
        raise unreadable(where, error) from error


def read_names(table, image, columns):
    """Captions by what the column ``image`` of a table names, of one column or several."""
    by_name, broken = {}, []
    for place, values in table.rows((image, *columns), columns):
        if isinstance(values, Broken):
            broken.append((place, values.reason))
            continue
        name = name_of(values[0])
        if not name:
            broken.append((place, f"names no image in the column {image}"))
            continue
        found, reason = spoken(values[1:], columns)
        if reason is not None:
            broken.append((place, f"{reason} (of {name})"))
        by_name[name] = by_name[name] + found if name in by_name else found
    return Captions("", by_name, broken)


def name_of(value):
    """The name of an image in a cell, or an empty text."""
    if isinstance(value, dict):  # as `datasets` stores images
        value = value.get("path") or value.get("file_name")
    if isinstance(value, bytes):
        value = value.decode("utf-8", "replace")
    if isinstance(value, str):
        return value.strip()
    if isinstance(value, float) and value.is_integer():
        value = int(value)
    return str(value) if isinstance(value, int) and not isinstance(value, bool) else ""


def columns_of(table, image_column, caption_columns, where, names=FILE_NAMES):
    """The columns of a table that name images and that hold their captions."""
    columns = table.columns
    image_column, caption_columns = numbered(table, image_column), numbered(table, caption_columns)
    if image_column is not None:
        image = named(columns, image_column, "image_column", where)
    else:
        image = find(columns, names)
        if image is None:
            raise ValueError(
                ask_header(table, where)
                or f"{where} has no column that looks like the name of an image file; name it with "
                f"image_column: the columns are {listing(columns)}"
            )
    if caption_columns is not None:
        return image, named_captions(columns, caption_columns, where)
    captions = find_captions([column for column in columns if column != image])
    if not captions:
        raise ValueError(
            ask_header(table, where)
            or f"{where} has no column that looks like captions; name it with caption_columns: "
            f"the columns are {listing(columns)}"
        )
    return image, captions


def _names(image_column, caption_columns):
    """Names of columns that were asked for."""
    several = (caption_columns,) if isinstance(caption_columns, (str, int)) else caption_columns or ()
    return tuple(name for name in (image_column, *several) if isinstance(name, str))
