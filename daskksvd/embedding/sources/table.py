"""A table of captions with URLs or names of image files."""

import array
import itertools
import os
import re
import warnings

import numpy as np

from ...captions.files.cleaning import captions_of, spoken
from ...captions.files.columns import FILE_NAMES, find, is_url
from ...captions.files.names import Names
from ...captions.files.reading import name_of
from ...captions.files.separated import Broken
from ...captions.files.tables import ask_header, numbered, open_table, unreadable
from .base import Failure, Item, Source, Url, valid_text
from .columns import choose
from .listing import fingerprint, list_images
from .local import local_file


class TableSource(Source):
    """The images that a table names, one element each.

    Lines that name the same image are one element, where the first of them is, with the captions of all.
    A line that cannot be used is an element, too.

    Parameters
    ----------
    path : str
        See `captions.tables.open_table`.
    image_column, url_column, caption_columns : str, or several for captions
        Detected if not named. Names of files start from the folder of the table, and must stay in it.
    n_samples : int, optional
    """

    def __init__(self, path, image_column=None, url_column=None, caption_columns=None, n_samples=None):
        super().__init__(n_samples)
        self._path = os.path.abspath(path)
        self._folder = os.path.realpath(os.path.dirname(self._path))
        self._where = f"source={path!r}"
        several = (caption_columns,) if isinstance(caption_columns, (str, int)) else caption_columns or ()
        wanted = [name for name in (image_column, url_column, *several) if isinstance(name, str)]
        self._table = table = open_table(self._path, self._where, wanted)
        columns = table.columns
        row = first = None
        for place, row in self._rows(columns, columns[-1:]):
            if not isinstance(row, Broken):
                break
            first = first or f"{place} {row.reason}"
        if row is None or isinstance(row, Broken):
            why = f"; the first: {first}" if first else ""
            raise ValueError(f"{self._where} has no rows that can be read{why}")
        row = dict(zip(columns, row, strict=True))
        image_column, url_column = numbered(table, image_column), numbered(table, url_column)
        caption_columns = numbered(table, caption_columns)
        if image_column is None and url_column is None and not any(map(_has_url, row.values())):
            image_column = find(columns, FILE_NAMES)
        if (
            not table.has_header
            and len(columns) > 2
            and (caption_columns is None and find(columns, ("caption",)) is None)
        ):
            raise ValueError(ask_header(table, self._where))
        self._columns = choose(
            columns,
            row,
            [],
            columns,
            image_column=image_column,
            url_column=url_column,
            caption_columns=caption_columns,
            where=self._where,
        )
        self.has_captions = bool(self._columns.captions)
        if not self.has_captions:
            self.captions_hint = (
                f"name the caption column with caption_columns: there are {', '.join(columns)}"
            )
        self._files = None
        self._n, self._first = self._group()
        self._more = None

    def _length(self):
        return self._n

    def identity(self):
        grouped = {} if self._first is None else {"images": self._n}
        return {
            **grouped,
            "kind": "table",
            "path": self._path,
            "columns": [self._columns.image, *self._columns.captions],
            "files": fingerprint([(os.path.basename(self._path), os.path.getsize(self._path))]),
        }

    def _rows(self, names, captions=()):
        try:
            yield from self._table.rows(names, captions)
        except (OSError, ValueError) as error:
            raise unreadable(self._where, error) from error

    def _group(self):
        """Number of elements, and for every line the first that names its image; None if all differ."""
        nameless = 0
        lines = array.array("q")  # hashes take a tenth of the memory of names
        for number, (_, values) in enumerate(self._rows((self._columns.image,), self._columns.captions)):
            name = "" if isinstance(values, Broken) else _without_number(name_of(values[0]))
            nameless += not name
            lines.append(hash(name) if name else hash((number,)))
        _, first, inverse = np.unique(np.array(lines, np.int64), return_index=True, return_inverse=True)
        if len(first) == len(lines):
            return len(lines), None
        n, n_lines = len(first) - nameless, len(lines) - nameless
        warnings.warn(
            f"{self._where} names {n:,} images on {n_lines:,} lines; the lines of an image are taken "
            "together, as one sample with several captions",
            stacklevel=4,
        )
        return len(first), first[inverse]

    def _captions(self):
        """What later lines say of the images: captions and how many are lost, by the first line."""
        if self._more is None:
            self._more = {}
            columns = self._columns
            rows = self._rows((columns.image, *columns.captions), columns.captions)
            for number, (_, values) in enumerate(rows):
                first = int(self._first[number])
                if first < number:
                    captions, lost = captions_of(values[1:])
                    before, lost_before = self._more.get(first, ((), 0))
                    self._more[first] = before + captions, lost_before + lost
        return self._more

    def _elements(self):
        """The lines that are elements, and what others say of their images."""
        columns = self._columns
        rows = self._rows((columns.image, *columns.captions), columns.captions)
        if self._first is None:
            return ((place, values, ((), 0)) for place, values in rows)
        more = self._captions()
        return (
            (place, values, more.get(number, ((), 0)))
            for number, (place, values) in enumerate(rows)
            if self._first[number] == number
        )

    def _read(self, start, state):
        file = valid_text(os.path.basename(self._path))
        elements = itertools.islice(self._elements(), start, None)
        for position, (place, values, (more, lost_more)) in enumerate(elements, start):
            broken = isinstance(values, Broken)
            name, image = self._image(values.values[0] if broken else values[0])
            captions, lost = captions_of((values.values if broken else values)[1:])
            captions, lost = captions + more, lost + lost_more
            if broken:
                known = values.values[0] is not None and not isinstance(image, Failure)
                image = Failure(values.reason if known else f"{values.reason}; {image.reason}")
                name, lost = None, lost or int(not captions)
            missing = (
                None
                if broken or captions or not any(values[1:])
                else spoken(values[1:], self._columns.captions)[1]
            )
            yield Item(position, name or f"{file}: {place}", image, captions, lost=lost, missing=missing)

    def _image(self, value):
        """What the item is called, and its image."""
        if isinstance(value, dict):  # as `datasets` writes images
            value = value.get("path")
        value = name_of(value)
        if is_url(value):
            return value, Url(value)
        if not value or self._columns.is_url:
            wanted = "an http or https URL" if self._columns.is_url else "the name of an image"
            return None, Failure(f"the column {self._columns.image} has not {wanted}")
        image = local_file(self._folder, value, "the table")
        if isinstance(image, Failure) or os.path.lexists(image):
            return None if "\0" in value else valid_text(value), image
        if self._files is None:
            self._files = Names(entry.name for entry in list_images(self._folder, [self._path]))
        there, several = self._files.find(value)
        if there is not None:
            return valid_text(there), local_file(self._folder, there, "the table")
        if several:
            image = Failure(
                f"{len(several)} files have the name that the table gives ({', '.join(several[:3])})"
            )
        return valid_text(value), image


def _without_number(name):
    """Flickr8k numbers the captions of an image: name.jpg#0."""
    return name if is_url(name) else re.sub(r"#\d+$", "", name)


def _has_url(value):
    return isinstance(value, str) and is_url(value)
