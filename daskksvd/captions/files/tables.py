"""Open any file of captions as a table: its columns, and its rows one by one."""

import itertools
import os

from .columns import distinct
from .json_rows import JsonRows
from .separated import Separated
from .text import PACKED, ending_of, read_lines

TEXT_ENDINGS = (".csv", ".tsv", ".tab", ".txt", ".token")
LINES_ENDINGS = (".jsonl", ".ndjson")
ENDINGS = (".csv", ".tsv", ".txt", ".jsonl", ".parquet", ".json", ".ndjson", ".tab", ".token")
"""Endings of names of files that are read; `text.PACKED` may follow those of text."""


def open_table(path, where, wanted=()):
    """A table of captions.

    Parameters
    ----------
    path : str
        A file whose name ends in one of `ENDINGS`.
    where : str
        What messages call it.
    wanted : sequence of str
        Columns that were asked for.

    Returns
    -------
    Separated, JsonRows, Parquet or Paired
        With ``columns``, ``has_header`` and ``rows(names, captions)``, which gives
        ``(place, values)`` with `Broken` in place of the values of a line that
        is not used.

    Raises
    ------
    FileNotFoundError, ValueError
        If there is no such file or it is no table.
    """
    if not os.path.isfile(path):
        raise FileNotFoundError(f"{where}; there is no such file")
    ending = ending_of(path)
    if ending not in ENDINGS:
        raise ValueError(
            f"{where}; its name must end in {', '.join(ENDINGS)}, perhaps with {', '.join(PACKED)} after it"
        )
    try:
        if ending == ".parquet":
            return Parquet(path, where)
        if ending in TEXT_ENDINGS:
            pair = _pair(path)
            return Paired(*pair, where) if pair else Separated(path, where, wanted)
        return JsonRows(path, where, ending in LINES_ENDINGS)
    except ImportError:
        raise
    except Exception as error:  # pyarrow, too, says in many ways that a file is none of its own
        raise unreadable(where, error) from error


def unreadable(where, error):
    """What to raise where a file cannot be read."""
    reason = " ".join(str(error).split())
    return ValueError(reason if reason.startswith(where) else f"{where} cannot be read ({reason})")


def ask_header(table, where):
    """What to do with a table whose columns are not known, because they have no names; or an empty text."""
    if table.has_header or not table.columns:
        return ""
    return (
        f"{where} has no header line and {len(table.columns)} columns; give it a first line with names, "
        'such as image,caption, or name them by number from 0, as in image_column="0", caption_columns="1"'
    )


def numbered(table, names):
    """Names of columns, where a table without a header may be asked for the number of one."""
    if names is None or table.has_header:
        return names
    if isinstance(names, (str, int)):
        text = str(names).removeprefix("column_")
        known = names not in table.columns and text.isdecimal() and int(text) < len(table.columns)
        return table.columns[int(text)] if known else names
    return tuple(numbered(table, name) for name in names)


class Parquet:
    """A parquet file as a table; see `open_table`."""

    has_header = True

    def __init__(self, path, where):
        import pyarrow.parquet as pq

        self._path = path
        with pq.ParquetFile(path) as file:
            self._names = file.schema_arrow.names
        self.columns = distinct(self._names)

    def rows(self, names, captions=()):
        """The rows, from the first; numbers count from 0."""
        import pyarrow.parquet as pq

        numbers = itertools.count()
        stored = dict(zip(self.columns, self._names, strict=True))
        with pq.ParquetFile(self._path) as file:
            for batch in file.iter_batches(columns=list(dict.fromkeys(stored[name] for name in names))):
                found = distinct(batch.schema.names)
                columns = {name: batch.column(found.index(name)).to_pylist() for name in set(names)}
                for row in zip(*[columns[name] for name in names], strict=True):
                    yield f"row {next(numbers)}", row


class Paired:
    """SBU's two files, addresses in one and captions in the other, as a table; see `open_table`."""

    has_header = True

    def __init__(self, urls, captions, where):
        self.columns = ["url", "caption"]
        self._urls, self._captions, self._where = urls, captions, where
        counts = [sum(1 for _ in read_lines(path, where, quiet=True)) for path in (urls, captions)]
        if counts[0] != counts[1]:
            raise ValueError(
                f"{os.path.basename(urls)} has {counts[0]:,} lines and {os.path.basename(captions)} "
                f"{counts[1]:,}; they must have as many"
            )

    def rows(self, names, captions=()):
        """The rows, from the first."""
        pairs = zip(
            read_lines(self._urls, self._where, quiet=True),
            read_lines(self._captions, self._where),
            strict=True,
        )
        for number, pair in enumerate(pairs, 1):
            found = dict(zip(self.columns, pair, strict=True))
            if any(map(str.strip, pair)):
                yield f"line {number}", tuple(found[name] for name in names)


def _pair(path):
    """The files of addresses and of captions, if a path is that of one and the other is beside it."""
    name = os.path.basename(path)
    for mine, its in (("urls", "captions"), ("captions", "urls")):
        stem = f"_{mine}.txt"
        if name.lower().endswith(stem):
            other = os.path.join(os.path.dirname(path), f"{name[: -len(stem)]}_{its}.txt")
            if os.path.isfile(other):
                return (path, other) if mine == "urls" else (other, path)
    return None
