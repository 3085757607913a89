"""Rows of CSV, TSV and JSON lines files, one by one, none lost to a broken one."""

import collections
import csv
import itertools
import json

from ..errors import one_line
from .columns import is_url
from .listing import has_image_suffix

_PEEK = 100
"""JSON lines that are looked at for their keys."""


def read_text(path):
    """Read separated values.

    Parameters
    ----------
    path : str
        Separated by tabs if it ends in .tsv or the first line has one, else by the most
        frequent of ``,``, ``|`` and ``;`` there. The first line is a header,
        unless it begins with the name of an image or has a URL in it.

    Returns
    -------
    columns : list of str
    rows : iterator of (str, dict or str)
        Which line, and the row or what is wrong with it. A last column with
        separators that are not in quotes is taken as a whole.

    Raises
    ------
    ValueError
        If there is no header.
    """
    lines = _lines(path)
    first = next(lines, "")
    separator = _separator(first, path)
    lines = itertools.chain([first], lines)
    records = _split_tabs(lines) if separator == "\t" else _split(lines, separator)
    records = (record for record in records if isinstance(record[1], str) or any(record[1]))
    number, fields = next(records, (0, ""))
    if isinstance(fields, str):
        raise ValueError("there is no header line")
    columns = _names(fields)
    if columns is None:
        columns = [name.strip() for name in fields]
    else:
        records = itertools.chain([(number, fields)], records)
    return columns, ((f"line {number}", _as_row(columns, fields, separator)) for number, fields in records)


def read_json(path):
    """Read JSON lines, with the same answer as `read_text`.

    The columns are the keys of the first rows.
    """
    rows = _objects(path)
    first = list(itertools.islice(rows, _PEEK))
    columns = dict.fromkeys(key for _, row in first if isinstance(row, dict) for key in row)
    return list(columns), itertools.chain(first, rows)


def _lines(path):
    """Lines without their ends; only a line feed, perhaps after a carriage return, is one."""
    with open(path, encoding="utf-8-sig", errors="replace", newline="\n") as file:
        for line in file:
            yield line.rstrip("\r\n").replace("\0", " ")


def _separator(line, path):
    if path.lower().endswith(".tsv") or "\t" in line:
        return "\t"
    return max(",|;", key=line.count)


def _names(fields):
    """Names of the columns of a file without a header, or None if it has one."""
    if len(fields) == 2 and has_image_suffix(fields[0].split("#")[0]):  # Flickr8k's name.jpg#0
        return ["image", "caption"]
    address = [is_url(field) for field in fields]
    if not any(address):
        return None
    names = [f"column_{number}" for number in range(len(fields))]
    names[address.index(True)] = "url"
    if not all(address):  # as Conceptual Captions, caption and URL
        names[address.index(False)] = "caption"
    return names


def _as_row(columns, fields, separator):
    if isinstance(fields, str):
        return fields
    head, tail = fields[: len(columns) - 1], fields[len(columns) - 1 :]
    return dict(zip(columns, [*head, separator.join(tail)] if tail else head, strict=False))


def _split(lines, separator):
    """Number and fields of each record, or what is wrong with it.

    A quote that is never closed would swallow lines up to the next one. So a
    line at which quotes do not match is taken by itself.
    """
    held = collections.deque()
    done = 0
    while True:
        reader = csv.reader(_feed(held, lines), delimiter=separator, strict=True)
        try:
            fields = next(reader)
            used = reader.line_num
        except StopIteration:
            return
        except csv.Error:
            used = 1
            try:
                fields = next(csv.reader([held[0]], delimiter=separator), [])
            except csv.Error as error:
                fields = f"cannot be read ({one_line(error)})"
        yield done + 1, fields
        for _ in range(used):
            held.popleft()
        done += used


def _feed(held, lines):
    """The lines that are held, then others, which are held from then on."""
    for number in itertools.count():
        if number == len(held):
            line = next(lines, None)
            if line is None:
                return
            held.append(line)
        yield held[number] + "\n"


def _split_tabs(lines):
    """The same for tabs: a quote is a letter, unless one is around a whole field."""
    for number, line in enumerate(lines, 1):
        fields = line.split("\t") if line else []
        yield (
            number,
            [
                field[1:-1].replace('""', '"') if len(field) > 1 and field[0] == field[-1] == '"' else field
                for field in fields
            ],
        )


def _objects(path):
    for number, line in enumerate(_lines(path), 1):
        if not line.strip():
            continue
        try:
            row = json.loads(line)
            if not isinstance(row, dict):
                row = f"is a {type(row).__name__}; it must be an object"
        except (ValueError, RecursionError) as error:
            row = f"is no JSON ({one_line(error)})"
        yield f"line {number}", row
