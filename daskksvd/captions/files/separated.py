"""Tables of separated values, as people and programs write them: no line lost to a broken one."""

import collections
import csv
import itertools
import operator
import re
from typing import NamedTuple

from .columns import distinct, is_known, is_url, listing
from .names import has_image_suffix
from .text import ending_of, read_lines

_PEEK = 50
"""Lines that are looked at to tell the separator, the header and the columns."""

_BLOCK = 1024
"""Lines that are parsed at a time."""

_DECLARED = re.compile(r'"?sep=(.)"?', re.IGNORECASE)
_NAMED_FIRST = re.compile(r'\s*"?[^"\t|;,]+?(?:#\d+)?"?\s*([\t|;,])')
_QUOTED = re.compile(r'"(?:[^"]|"")*"')
_DIGITS = re.compile(r"\s*\d+\s*")

_SPAN = 50
"""Lines that a quoted field may have in a file with tabs."""


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
        for places, values, _ in self.blocks(names, captions):
            yield from zip(places, values, strict=False)

    def blocks(self, names, captions=()):
        """The same rows, many at a time.

        Yields
        ------
        places : iterable of str
            It may go on after the last row.
        values : iterable of tuple of str, or Broken
        sound : bool
            Whether none is broken.
        """
        n = len(self.columns)
        picked = [self.columns.index(name) for name in names]
        whole = tuple(captions) == (self.columns[-1],)
        pick = operator.itemgetter(*picked) if len(picked) > 1 else lambda fields: (fields[picked[0]],)
        empty = self._separator * (n - 1)
        lines = itertools.islice(read_lines(self._path, self._where, quiet=self._told), self._skip, None)
        header = self.has_header
        for first, records, raw in self._records(lines, self._skip):
            if header:
                written = [any(map(str.strip, fields)) for fields in records]
                if True not in written:
                    continue
                start, header = written.index(True) + 1, False
                first, records, raw = first + start, records[start:], raw[start:]
            if empty not in raw and set(map(len, records)) == {n} and isinstance(records[0], list):
                yield map("line {}".format, itertools.count(first)), map(pick, records), True
                continue
            places, values = [], []
            for number, fields, line in zip(itertools.count(first), records, raw, strict=False):
                if any(map(str.strip, fields)):
                    places.append(f"line {number}")
                    values.append(self._values(fields, line, pick, picked, whole))
            yield places, values, not any(isinstance(one, Broken) for one in values)
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
            fields = [*fields[: n - 1], _tail(line, self._separator, n - 1, self._spaced)]
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
        """Records, many at a time: the number of the first, their fields or what is wrong, and as written."""
        if self._separator == "\t":
            return _split_tabs(lines, number)
        return _split(lines, self._separator, number, self._spaced)


def _separator(lines, path):
    first = next((line for line in lines if line.strip()), "")
    if ending_of(path) in (".tsv", ".tab") and any("\t" in line for line in lines):
        return "\t"
    start = _NAMED_FIRST.match(first)
    if start and has_image_suffix(_without_number(first[: start.start(1)].strip().strip('"').strip())):
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
    kinds = [_kind(field) for field in first]
    at = next((number for number, kind in enumerate(kinds) if kind), None)
    if at is not None:
        below = [_kind(fields[at]) for fields in others if len(fields) > at]
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
    if n == 3 and all(_kind(field) for field in columns[0]) and numbered and _is_prose(columns[2]):
        return ["image", names[1], "caption"]
    return names


def _pair(columns):
    """Names of two columns, if what they hold tells which is which."""
    named = [next((kind for field in column if (kind := _kind(field))), None) for column in columns]
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


def _kind(field):
    if is_url(field):
        return "url"
    return "image" if has_image_suffix(_without_number(field)) else None


def _without_number(name):
    """Flickr8k numbers the captions of an image: name.jpg#0."""
    return re.sub(r"#\d+$", "", name)


def _is_prose(fields):
    return any(any(map(str.isalpha, field)) for field in fields)


def _tail(line, separator, n, spaced):
    """What follows ``n`` fields of a line, as it is written."""
    if separator == "\t":
        return line.split("\t", n)[n]
    place = 0
    for _ in range(n):
        while spaced and line[place : place + 1] == " ":
            place += 1
        if line[place : place + 1] == '"':
            place += 1
            while (place := line.find('"', place)) >= 0 and line[place + 1 : place + 2] == '"':
                place += 2
        place = line.find(separator, max(place, 0)) + 1
    return line[place:]


def _split(lines, separator, number, spaced):
    """Records of a file with quotes.

    Lines are parsed many at a time, as long as each is a record.
    """
    form = {"delimiter": separator, "skipinitialspace": spaced}
    lines = _Lines(lines)
    while block := lines.take(_BLOCK):
        try:
            records = list(csv.reader(block, strict=True, **form))
        except csv.Error:
            records = ()
        if len(records) == len(block):
            yield number + 1, records, block
            number += len(block)
        else:
            lines.put_back(block)
            number = yield from _split_one(lines, number, number + len(block), form)


def _split_one(lines, number, stop, form):
    """Records one by one, up to one line at least; the number of the last.

    A quote that is never closed would swallow lines up to the next one. So a
    line at which quotes do not match is taken by itself.
    """
    held = []
    while number < stop:
        reader = csv.reader(_feed(lines, held), strict=True, **form)
        try:
            for fields in reader:
                if len(held) > 1 and _swallowed(held, form["delimiter"], len(fields)):
                    break
                yield number + 1, [fields], ["\n".join(held)]
                number += len(held)
                held.clear()
                if number >= stop:
                    return number
        except csv.Error:
            pass
        if not held:
            break
        try:
            fields = _escaped(held[0], form) or next(csv.reader(held[:1], **form), [])
            several = [fields]
        except csv.Error as error:
            several = _by_returns(held[0], lambda part: next(csv.reader([part], **form), []))
            several = several or [f"cannot be read ({error})"]
        for fields in several:  # of one line, which has one number
            yield number + 1, [fields], held[:1]
        number += 1
        lines.put_back(held[1:])
        held.clear()
    return number


def _by_returns(line, fields_of):
    """Records of a line that has carriage returns in it: one, or several that all have as many fields."""
    records = [fields_of(part) for part in line.split("\r") if part.strip()] if "\r" in line else []
    counts = list(map(len, records))
    if len(counts) < 2 or counts[0] == 1:
        return []
    if set(counts[1:]) == {1}:  # in the last field
        return [[*records[0][:-1], " ".join([records[0][-1], *(one for (one,) in records[1:])])]]
    return records if len(set(counts)) == 1 else []


def _escaped(line, form):
    """Fields of a line with quotes that are escaped by backslashes, as MySQL and Spark write them."""
    if '\\"' not in line:
        return None
    try:
        return next(csv.reader([line], strict=True, escapechar="\\", **form), None)
    except csv.Error:
        return None


class _Lines:
    """Lines, of which some can be put back."""

    def __init__(self, lines):
        self._lines, self._again = iter(lines), collections.deque()

    def __iter__(self):
        return self

    def __next__(self):
        return self._again.popleft() if self._again else next(self._lines)

    def take(self, n):
        """A list of so many, or all that there are."""
        held = [self._again.popleft() for _ in range(min(n, len(self._again)))]
        return held + list(itertools.islice(self._lines, n - len(held)))

    def put_back(self, lines):
        self._again.extendleft(reversed(lines))


def _feed(lines, held):
    """Lines with their ends; they are put into ``held``, too."""
    for line in lines:
        held.append(line)
        yield line + "\n"


def _swallowed(lines, separator, n):
    """Whether a later line of a record begins as records do, so that a quote was never closed."""
    for line in lines[1:]:
        name, found, _ = line.partition(separator)
        name = name.strip().strip('"')
        if found and (_kind(name) or (name.isdigit() and line.count(separator) == n - 1)):
            return True
    return False


def _split_tabs(lines, number):
    """Records of a file with tabs: a quote is a letter, unless one is around a whole field."""
    lines = _Lines(lines)
    while block := lines.take(_BLOCK):
        start = 0
        for at, line in enumerate(block):
            if at < start or not ("\r" in line or ('"' in line and _is_open(line))):
                continue
            if start < at:
                yield number + start + 1, [_fields(one) for one in block[start:at]], block[start:at]
            fields, held, n = _spanned(itertools.chain(itertools.islice(block, at, None), lines))
            for record in _by_returns(line, _fields) or [fields]:
                yield number + at + 1, [record], ["\n".join(held[:n])]
            start = at + n
            lines.put_back(held[max(n, len(block) - at) :])
        if start < len(block):
            yield number + start + 1, [_fields(one) for one in block[start:]], block[start:]
        number += max(start, len(block))


def _is_open(line):
    """Whether a field begins with a quote that is not closed before the next tab."""
    return any(field[:1] == '"' and field.count('"') % 2 for field in line.split("\t"))


def _spanned(lines):
    """Fields of a record with a quoted field that has a tab or line ends in it, lines, and how many are its.

    A quote that only begins a caption is never closed, or far below: a record of several lines
    must have no more tabs than it needs, or the first line is taken by itself.
    """
    held = []
    feed = itertools.islice(_feed(lines, held), _SPAN)
    try:
        fields = next(csv.reader(feed, delimiter="\t", strict=True), [])
    except csv.Error:
        fields = []
    if not fields or (len(held) > 1 and sum(line.count("\t") for line in held) >= len(fields)):
        return _fields(held[0]), held, 1
    return fields, held, len(held)


def _fields(line):
    fields = line.split("\t")
    if '"' not in line:
        return fields
    return [field[1:-1].replace('""', '"') if _QUOTED.fullmatch(field) else field for field in fields]
