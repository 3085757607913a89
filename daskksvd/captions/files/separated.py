"""Tables of separated values, as people and programs write them: no line lost to a broken one."""

import collections
import itertools
import operator
import re
from typing import NamedTuple

from .columns import distinct, is_known, listing
from .names import has_image_suffix, kind_of, without_number
from .records import split, tail
from .text import ending_of, read_lines

_PEEK = 50
"""Lines that are looked at to tell the separator, the header and the columns."""

_DECLARED = re.compile(r'"?sep=(.)"?', re.IGNORECASE)
_NAMED_FIRST = re.compile(r'\s*"?[^"\t|;,]+?(?:#\d+)?"?\s*([\t|;,])')
_DIGITS = re.compile(r"\s*\d+\s*")


class Broken(NamedTuple):
    """A line that is not used.

    Attributes
    ----------
    reason : str
    values : tuple
        What it has in the columns that were asked for, None where that is not known.
    """

    reason: str
    values: tuple


class Separated:
    """A table of values separated by commas, semicolons, pipes or tabs.

    Parameters
    ----------
    path, where : str
        The file, and what messages call it.
    wanted : sequence of str
        Names of columns that were asked for: a line that has one is a header.

    Attributes
    ----------
    columns : list of str
        Without a header ``column_0`` and so on, or what the columns of such files are known to be.
    has_header : bool

    Notes
    -----
    The separator is what Excel's first line ``sep=;`` says, else what follows
    the first field where that is the name of an image, else a tab, else the
    most frequent of ``,``, ``|`` and ``;`` in the first line.
    """

    def __init__(self, path, where, wanted=()):
        self._path, self._where, self._told, self._spare = path, where, False, 0
        lines = list(itertools.islice(read_lines(path, where, quiet=True), _PEEK))
        declared = _DECLARED.fullmatch(lines[0].strip(" ")) if lines else None
        self._skip = 1 if declared else 0
        lines = lines[self._skip :]
        self._separator = declared[1] if declared else _separator(lines, path)
        first = next((line for line in lines if line.strip()), "")
        self._spaced = f"{self._separator} " in first
        records = [fields for _, block, _ in self._records(iter(lines), 0) for fields in block]
        records = [[field.strip() for field in fields] for fields in records if isinstance(fields, list)]
        records = [fields for fields in records if any(fields)]
        if not records:
            raise ValueError("there is no header line")
        columns = _names(records, wanted)
        self.has_header = columns is None
        if columns is None:
            columns = records[0]
            while len(columns) > 1 and not columns[-1]:  # separators that end every line
                columns = columns[:-1]
            n, others = len(columns), records[1:]
            self._spare = len(records[0]) - n
            if others and all(len(fields) == n + 1 and not fields[n] for fields in others):
                self._spare = max(1, self._spare)  # or every line but the first
        self.columns = distinct(columns)

    def rows(self, names, captions=()):
        """The rows, from the first; may be called again.

        Parameters
        ----------
        names : sequence of str
            Columns to give.
        captions : sequence of str
            Those of them that hold captions. If the only one is the last column of
            the table, separators in it need no quotes.

        Yields
        ------
        place : str
            Which line.
        values : tuple of str, or Broken
        """
        for places, columns, rows in self.blocks(names, captions):
            yield from zip(places, zip(*columns, strict=True) if rows is None else rows, strict=False)

    def blocks(self, names, captions=()):
        """The same rows, many at a time.

        Yields
        ------
        places : iterable of str
            It may go on after the last row.
        columns : list of tuple of str, or None
            What all rows have in each column, where none is broken and none blank.
        rows : list of tuple of str, or Broken; or None
            Otherwise.
        """
        n = len(self.columns)
        picked = [self.columns.index(name) for name in names]
        whole = tuple(captions) == (self.columns[-1],)
        pick = operator.itemgetter(*picked) if len(picked) > 1 else lambda fields: (fields[picked[0]],)
        lines = itertools.islice(read_lines(self._path, self._where, quiet=self._told), self._skip, None)
        header = self.has_header
        for first, records, raw in self._records(lines, self._skip):
            if header:
                written = [any(map(str.strip, fields)) for fields in records]
                if True not in written:
                    continue
                start, header = written.index(True) + 1, False
                first, records, raw = first + start, records[start:], raw[start:]
            if set(map(len, records)) == {n} and isinstance(records[0], list):
                columns = list(zip(*records, strict=True))
                if all(map(str.strip, columns[0])):  # else a line may be blank
                    yield map("line {}".format, itertools.count(first)), [columns[at] for at in picked], None
                    continue
            places, rows = [], []
            for number, fields, line in zip(itertools.count(first), records, raw, strict=False):
                if any(map(str.strip, fields)):
                    places.append(f"line {number}")
                    rows.append(self._values(fields, line, pick, picked, whole))
            yield places, None, rows
        self._told = True

    def _values(self, fields, line, pick, picked, whole):
        """What a line has in the columns that are picked, or `Broken`."""
        n = len(self.columns)
        if isinstance(fields, str):
            return Broken(fields, (None,) * len(picked))
        if n < len(fields) <= n + self._spare and not any(map(str.strip, fields[n:])):
            fields = fields[:n]
        elif len(fields) > n and (whole or any(map(str.strip, fields[n:]))):
            if not whole or "\n" in line:
                return self._broken(fields, picked, n)
            fields = [*fields[: n - 1], tail(line, self._separator, n - 1, self._spaced)]
        elif len(fields) < n:
            return self._broken(fields, picked, n)
        return pick(fields)

    def _broken(self, fields, picked, n):
        columns = listing(self.columns)
        found = f"has {len(fields)} field{'s' * (len(fields) > 1)}"
        if len(fields) < n:
            known = len(fields)
            reason = f"{found}, and the table has {n} columns ({columns})"
        else:
            known = 1
            reason = (
                f"{found}, and the table has {n} columns ({columns}); a field with {self._separator!r} in it "
                "must be in quotes"
            )
        return Broken(reason, tuple(fields[one] if one < known else None for one in picked))

    def _records(self, lines, number):
        return split(lines, self._separator, number, self._spaced)


def _separator(lines, path):
    first = next((line for line in lines if line.strip()), "")
    if ending_of(path) in (".tsv", ".tab") and any("\t" in line for line in lines):
        return "\t"
    start = _NAMED_FIRST.match(first)
    if start and has_image_suffix(without_number(first[: start.start(1)].strip().strip('"').strip())):
        return start[1]
    if "\t" in first:
        return "\t"
    return max(",|;", key=first.count)


def _names(records, wanted):
    """Names of the columns of a file without a header, or None if it has one."""
    first, others = records[0], records[1:]
    found = [name in first for name in wanted]
    if any(found) and (all(found) or any(name in first and not name.isdigit() for name in wanted)):
        return None
    kinds = [kind_of(field) for field in first]
    at = next((number for number, kind in enumerate(kinds) if kind), None)
    if at is not None:
        below = [kind_of(fields[at]) for fields in others if len(fields) > at]
        headed = below and not any(below) and any(map(is_known, first))
    else:
        numbers = [field.isdigit() for field in first]
        counted = all(numbers) and [int(field) for field in first] == list(range(len(first)))
        sentence = any(len(field.split()) > 3 for field in first)
        headed = any(map(is_known, first)) or counted or not (any(numbers) or sentence)
    if headed:
        return None
    n = _width(records)
    names = [f"column_{number}" for number in range(n)]
    columns = [[fields[number] for fields in records if len(fields) == n] for number in range(n)]
    if n == 1:
        return ["url"] if kinds[0] == "url" else names
    if n == 2:
        return _pair(columns) or names
    # Flickr30k: name, number of the caption, caption
    numbered = all(_DIGITS.fullmatch(field) for field in columns[1])
    if n == 3 and all(kind_of(field) for field in columns[0]) and numbered and _is_prose(columns[2]):
        return ["image", names[1], "caption"]
    return names


def _pair(columns):
    """Names of two columns, if what they hold tells which is which."""
    named = [next((kind for field in column if (kind := kind_of(field))), None) for column in columns]
    if not any(named):
        prose = [sum(" " in field.strip() for field in column) for column in columns]
        whole = [sum(bool(_DIGITS.fullmatch(field)) for field in column) for column in columns]
        if prose[0] == prose[1]:
            prose = [-count for count in whole]
        if prose[0] == prose[1]:
            return None
        return ["id", "caption"] if prose[0] < prose[1] else ["caption", "id"]
    if all(named) and named[0] != named[1]:  # the file beside the address that it is from
        return None
    names = ["caption", "caption"]
    at = 0 if named[0] else 1
    names[at] = "url" if named[at] == "url" else "image"
    if all(named):
        names[1] = "column_1"
    return names


def _width(records):
    """Fields of a record: as most have, or the fewest where captions have separators."""
    counts = collections.Counter(len(fields) for fields in records if len(fields) > 1)
    if not counts:
        return 1
    width, times = counts.most_common(1)[0]
    return width if times >= 0.6 * sum(counts.values()) else min(counts)


def _is_prose(fields):
    return any(any(map(str.isalpha, field)) for field in fields)
