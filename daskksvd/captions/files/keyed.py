"""Captions by row or sample: read as such, or found by the names of their images."""

import itertools
import os
import re
import warnings
from typing import NamedTuple

import numpy as np
import pandas as pd

from ...rows.inputs.opening import EMBEDDINGS
from ...stores import open_store, read_part
from .cleaning import are_plain, said
from .columns import FILE_NAMES, URL_NAMES, bare, distinct, find, find_captions, find_key, listing, natural
from .names import Names
from .reading import Captions, columns_of, name_of, read_names
from .separated import Broken, Separated
from .tables import ask_header, open_table, unreadable

_INTEGER = re.compile(r"\s*[+-]?\d+\s*")
_IDS = ("name", "image_id", "id", "key")
_IMAGES = (*(name for name in FILE_NAMES if name not in _IDS), *URL_NAMES, *_IDS)
"""Columns that name images: a file, an address, or what may also be a number of something else."""

_TRIED = 200
"""Rows by which it is told which of several columns names the images."""

_BLOCK = 1024
"""Lines that are read at a time."""

_TOLD = 3
"""Broken lines that a warning quotes."""


class Keyed(NamedTuple):
    """Captions by row or sample, and how these were found.

    Attributes
    ----------
    frame : pandas.DataFrame
        Columns ``row`` or ``sample``, and ``caption``: text, None or a list of text. Captions of an
        image that there is no row of have the row -1.
    by : str
        ``"row"``, ``"sample"``, ``"name"`` of the image, or ``"order"`` of images or lines.
    names : list of str or None
        Names of images by row, where captions are in their order.
    n : int or None
        Rows that they are in the order of.
    """

    frame: pd.DataFrame
    by: str
    names: list | None = None
    n: int | None = None


class Frame:
    """A DataFrame as a table; see `tables.open_table`."""

    has_header = True

    def __init__(self, frame):
        self.columns = distinct(frame.columns)
        self._frame = frame.set_axis(self.columns, axis=1)

    def rows(self, names, captions=()):
        """The rows, from the first."""
        columns = [self._frame[name].to_numpy(dtype=object) for name in names]
        for number, values in enumerate(zip(*columns, strict=True)):
            yield (
                f"row {number}",
                tuple(value.tolist() if isinstance(value, np.ndarray) else value for value in values),
            )


def is_keyed(columns, key=None):
    """Whether a table says to which row or sample its captions belong."""
    return find_key(columns, key)[0] is not None


def frame_of(key, keys, cells):
    """Captions by row or sample as a DataFrame; see `Keyed`."""
    column = np.empty(len(cells), object)
    column[:] = cells
    return pd.DataFrame({key: np.asarray(keys, np.int64), "caption": pd.Series(column, dtype=object)})


def said_in(frame, columns):
    """What columns of a DataFrame say, a line each; see `cleaning.said`.

    Raises
    ------
    TypeError
        If one has something that is no text.
    """
    cells = [frame[column].to_numpy(dtype=object) for column in columns]
    blocks = range(0, len(frame), _BLOCK)
    if len(cells) == 1 and all(are_plain(cells[0][start : start + _BLOCK]) for start in blocks):
        return cells[0]
    found = np.empty(len(frame), object)
    for number, values in enumerate(zip(*cells, strict=True)):
        found[number], wrong = said(values)
        if wrong is not None:
            raise TypeError(f"captions have a caption that is a {wrong}; it must be text")
    return found


def names_images(columns):
    """Whether a table names the images that its captions belong to."""
    return (
        find([column for column in columns if isinstance(column, str)], (*FILE_NAMES, *URL_NAMES)) is not None
    )


class Facts(NamedTuple):
    """What a table of captions has.

    Attributes
    ----------
    columns : list of str
    key : str or None
        The column with rows or samples.
    image : str or None
        Without one, the column that names images.
    captions : tuple of str
        Columns with captions.
    n_lines, n_images : int or None
        Lines, and different images that they name.
    n_captions : int
        Captions that are not blank.
    """

    columns: list
    key: str | None
    image: str | None
    captions: tuple
    n_lines: int
    n_images: int | None
    n_captions: int


def table_facts(path, where):
    """Look at all lines of a file of captions, without keeping them.

    Parameters
    ----------
    path : str
        See `tables.open_table`.
    where : str
        What messages call it.

    Returns
    -------
    Facts

    Raises
    ------
    FileNotFoundError, ValueError
        If it cannot be read, or has no column of captions.
    """
    table = open_table(path, where)
    key, _ = find_key(table.columns)
    image = None
    if key is None and names_images(table.columns):
        image = image_columns(table)[0]
    texts = find_captions([column for column in table.columns if column not in (key, image)])
    if not texts:
        _refuse_columns(table, where)
    lines = captions = 0
    images = set()
    for _, values in table.rows((*([image] if image else []), *texts), texts):
        lines += 1
        if isinstance(values, Broken):
            continue
        if image is not None:
            images.add(name_of(values[0]))
        cell, _ = said(values[image is not None :])
        captions += sum(bool(text) for text in (cell if isinstance(cell, list) else [cell]))
    n_images = None if image is None else len(images - {""})
    return Facts(list(table.columns), key, image, texts, lines, n_images, captions)


def read_keyed(tables, key=None, embeddings=None, n=None):
    """Captions in files or frames by row or sample, together.

    Parameters
    ----------
    tables : list of (object, str)
        Tables, see `tables.open_table`, or paths of them; and what messages call each.
    key : str, optional
        Which of the columns ``row`` and ``sample`` to use.
    embeddings : Embeddings, path or sequence of str, optional
        The names of the images by row, for captions that name these.
    n : int, optional
        Rows there are. Without ``embeddings``, captions that name n images, or are n lines, are then
        taken to be in the order of the rows.

    Returns
    -------
    Keyed

    Raises
    ------
    FileNotFoundError, ValueError
        If a file cannot be read, has no such columns, or no line that can be used.
    """
    frames, broken, names, rows, order, by = [], [], None, None, None, "name"
    for table, where in tables:
        if isinstance(table, (str, os.PathLike)):
            table = open_table(table, where)
        try:
            if is_keyed(table.columns, key):
                frame, problems = _read_keys(table, where, key)
                by = frame.columns[0]
            elif embeddings is None and n is not None:
                order = {} if order is None else order
                frame, problems = _read_in_order(table, where, order)
            else:
                if names is None:
                    rows = _rows_by_name(_wanted(embeddings, table, where))
                    names = Names(rows)
                frame, problems = _read_images(table, where, names, rows)
        except OSError as error:
            raise unreadable(where, error) from error
        frames.append(frame)
        broken += [(where, place, reason) for place, reason in problems]
    frame = frames[0] if len(frames) == 1 else pd.concat(frames, ignore_index=True)
    listed = None
    if order is not None:
        by, listed = "order", _names_in_order(order, n, tables[0][1], broken)
    if broken:
        told = [f"{where}: {place} {reason}" for where, place, reason in broken[:_TOLD]]
        if not len(frame):
            raise ValueError(f"captions have no line that can be used; {told[0]}")
        more = f"; and {len(broken) - _TOLD:,} more" if len(broken) > _TOLD else ""
        n = len(broken)
        warnings.warn(
            f"{n:,} line{'s' * (n > 1)} of captions cannot be used and {'are' if n > 1 else 'is'} left out: "
            f"{'; '.join(told)}{more}",
            stacklevel=2,
        )
    return Keyed(frame, by, listed, None if order is None else n)


def _read_keys(table, where, key):
    column, key = find_key(table.columns, key)
    texts = find_captions([other for other in table.columns if other != column])
    if not texts:
        raise ValueError(
            ask_header(table, where)
            or f"{where} has no column that looks like captions; there must be one called caption: the "
            f"columns are {listing(table.columns)}"
        )
    keys, cells, broken = [], [], []
    for places, columns, rows in _blocks(table, (column, *texts), texts):
        plain = _plain_block(*columns) if columns is not None and len(texts) == 1 else None
        if plain is not None:
            keys += plain[0]
            cells += plain[1]
            continue
        for place, row in zip(places, zip(*columns, strict=True) if rows is None else rows, strict=False):
            number, cell, reason = _line(row, column, texts)
            if reason is not None:
                broken.append((place, reason))
            else:
                keys.append(number)
                cells.append(cell)
    return frame_of(key, keys, cells), broken


def _blocks(table, names, captions):
    """Rows of a table many at a time, as `Separated.blocks` gives them."""
    if isinstance(table, Separated):
        yield from table.blocks(names, captions)
        return
    numbered = table.rows(names, captions)
    while block := list(itertools.islice(numbered, _BLOCK)):
        places, rows = zip(*block, strict=True)
        if any(isinstance(row, Broken) for row in rows):
            yield places, None, rows
        else:
            yield places, list(zip(*rows, strict=True)), None


def _plain_block(numbers, texts):
    """Keys and texts of lines that are all as they should be, which takes a tenth of the time; or None."""
    kinds = set(map(type, numbers))
    if kinds not in ({str}, {int}) or (kinds == {str} and "_" in "".join(numbers)):
        return None
    if set(map(type, texts)) != {str} or not are_plain(texts):
        return None
    try:
        numbers = [*map(int, numbers)]
    except ValueError:
        return None
    if min(numbers) < -(2**63) or max(numbers) >= 2**63:
        return None
    return numbers, [text or None for text in texts] if "" in texts else texts


def _line(values, column, texts):
    """Key and captions of a line, or why it cannot be used."""
    if isinstance(values, Broken):
        return None, None, values.reason
    number = whole(values[0])
    if number is None:
        return None, None, f"has {values[0]!r} in the column {column}; it must be a whole number"
    cell, wrong = said(values[1:])
    reason = None if wrong is None else f"has a {wrong} in the column {listing(texts)}; it must be text"
    return number, cell, reason


def _read_images(table, where, names, rows):
    image = _image_column(table, names)
    image, columns = columns_of(table, image, None, where)
    found: Captions = read_names(table, image, columns)
    keys, cells, broken, n_known = [], [], list(found.broken), 0
    for listed, captions in found.by_name.items():
        name, several = names.find(listed)
        n_known += name is not None
        if several:
            broken.append((listed, f"may be any of {len(several)} images ({', '.join(several[:3])})"))
            continue
        for row in rows[name] if name is not None else (-1,):
            keys += [row] * len(captions)
            cells += captions
    if found.by_name and not n_known:
        raise ValueError(
            f"{where}: none of its {len(found.by_name):,} names is that of an image of the embeddings: it "
            f"has {next(iter(found.by_name))!r} in the column {image}, the embeddings {names.example()!r}"
        )
    return frame_of("row", keys, cells), broken


def _read_in_order(table, where, order):
    """Captions of the images that a table names, or of its lines, by the place of each in ``order``."""
    keys, cells, broken = [], [], []
    if names_images(table.columns):
        image, columns = columns_of(table, image_columns(table)[0], None, where)
        found: Captions = read_names(table, image, columns)
        for name, captions in found.by_name.items():
            keys += [order.setdefault(name, len(order))] * len(captions)
            cells += captions
        return frame_of("row", keys, cells), list(found.broken)
    texts = find_captions(table.columns)
    if not texts:
        _refuse_columns(table, where)
    others = [column for column in table.columns if column not in texts]
    seen = [[] for _ in others]
    for place, values in table.rows((*others, *texts), texts):
        if not isinstance(values, Broken):
            for column, value in zip(seen, values, strict=False):
                column.append(value)
            values = values[len(others) :]
        number = order.setdefault(len(order), len(order))
        cell, wrong = (None, values.reason) if isinstance(values, Broken) else said(values)
        if wrong is not None:
            broken.append((place, wrong if isinstance(values, Broken) else f"has a {wrong}; it must be text"))
        keys.append(number)
        cells.append(cell)
    for column, values in zip(others, seen, strict=True):
        if out_of_order(values):
            _refuse_order(where, column)
    return frame_of("row", keys, cells), broken


def out_of_order(values):
    """Whether values number something from 0 or 1 on, and not in ascending order."""
    numbers = [whole(value) for value in values]
    if None in numbers or not numbers or sorted(numbers) == numbers:
        return False
    return len(set(numbers)) == len(numbers) == max(numbers) - min(numbers) + 1 and min(numbers) in (0, 1)


def _refuse_order(where, column):
    raise ValueError(
        f"{where} has no rows or samples, and its column {column} numbers its lines in another order "
        "than theirs; call it row where it is that of the samples, from 0"
    )


def _names_in_order(order, n, where, broken):
    """Names of images by row, or None where captions are by line; there must be one of each row."""
    names = [name for name in order if isinstance(name, str)]
    if out_of_order(names):
        _refuse_order(where, "of images")
    if len(order) != n:
        first = f"; {broken[0][0]}: {broken[0][1]} {broken[0][2]}" if broken else ""
        said = f"names {len(names):,} images" if names else f"has {len(order):,} lines"
        raise ValueError(
            f"{where} {said} and no rows, and there are {n:,} rows, so it cannot be in their order; give "
            "embeddings, what daskksvd.embed made of these images or their names by row, or a column row "
            f"or sample (integers){first}"
        )
    keys = [natural(name) for name in names]
    if names != sorted(names) and any(one > other for one, other in itertools.pairwise(keys)):
        warnings.warn(
            f"{where} has no rows, and names images in another order than that of their names: the first "
            "image is taken to be that of row 0, and so on. If rows have another order, give embeddings "
            "(what daskksvd.embed made, or names by row), or a column row",
            stacklevel=3,
        )
    return names or None


def image_columns(table):
    """Columns that may name images, the likeliest first."""
    order = {bare(name): number for number, name in enumerate(_IMAGES)}
    columns = [column for column in table.columns if bare(column) in order]
    return sorted(columns, key=lambda column: order[bare(column)])


def _image_column(table, names):
    """Of the columns that may name images, the one of which most are among the names."""
    columns = image_columns(table)
    if len(columns) < 2:
        return columns[0] if columns else None
    counts = np.zeros(len(columns), int)
    for _, values in itertools.islice(table.rows(columns), _TRIED):
        if not isinstance(values, Broken):
            counts += [names.find(name_of(value))[0] is not None for value in values]
    return columns[int(counts.argmax())]


def whole(value):
    """A whole number in a cell, or None."""
    if isinstance(value, str):
        if "_" in value:  # which Python takes for part of a number
            return None
        try:
            value = int(value) if _INTEGER.fullmatch(value) else float(value)
        except ValueError:
            return None
    if isinstance(value, (float, np.floating)) and value.is_integer():
        value = int(value)
    whole = isinstance(value, (int, np.integer)) and not isinstance(value, bool)
    return int(value) if whole and -(2**63) <= value < 2**63 else None


def _wanted(embeddings, table, where):
    """Names of the images by row."""
    columns = listing(table.columns)
    if not names_images(table.columns):
        _refuse_columns(table, where)
    if embeddings is None:
        raise ValueError(
            f"{where} names images and no rows (its columns are {columns}); give embeddings, what "
            "daskksvd.embed made of these images, to find them by name, or a column row"
        )
    if isinstance(embeddings, (str, os.PathLike)):
        opened = open_store(os.path.join(embeddings, EMBEDDINGS), required=("source",))
        return [str(name) for name in read_part(opened.group["source"], slice(None))]
    return [str(name) for name in getattr(embeddings, "source", embeddings)]


def _refuse_columns(table, where):
    raise ValueError(
        ask_header(table, where)
        or f"{where} has the columns {listing(table.columns)}; it must have a column row or sample "
        "(integers), or one that names images, and caption (text)"
    )


def _rows_by_name(names):
    rows = {}
    for row, name in enumerate(names):
        rows.setdefault(name, []).append(row)
    return rows
