"""Lines of separated values as records: quotes, records of several lines, and lines at which quotes fail."""

import collections
import csv
import itertools
import re

from .names import kind_of

_BLOCK = 300
"""Lines that are parsed at a time. Python looks for garbage at every 700 new lists, which took a third
of the time of 200,000 lines in blocks of 1,024."""

_QUOTED = re.compile(r'"(?:[^"]|"")*"')

_SPAN = 50
"""Lines that a quoted field may have in a file with tabs."""


def split(lines, separator, number, spaced):
    """Records of a file, many at a time.

    Parameters
    ----------
    lines : iterable of str
    separator : str
    number : int
        Lines before the first.
    spaced : bool
        Whether spaces follow separators.

    Yields
    ------
    first : int
        Number of the line of the first record.
    records : list
        Fields of each, or what is wrong with it.
    lines : list of str
        The same as they are written.
    """
    if separator == "\t":
        return _split_tabs(lines, number)
    return _split(lines, separator, number, spaced)


def tail(line, separator, n, spaced):
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
        if found and (kind_of(name) or (name.isdigit() and line.count(separator) == n - 1)):
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
