"""A CSV, TSV or JSON lines file of captions with URLs or names of image files."""

import itertools
import os
import pathlib

from ..errors import one_line
from .base import Failure, Item, Source, Url, clean_captions, valid_text
from .columns import FILE_NAMES, choose, find, is_url
from .listing import fingerprint, is_inside
from .tables import read_json, read_text

READERS = {".csv": read_text, ".tsv": read_text, ".jsonl": read_json}


class TableSource(Source):
    """The rows of a table, one element each.

    Parameters
    ----------
    path : str
        Of a file with one of the endings in `READERS`; see `tables.read_text`.
    image_column, url_column, caption_columns : str, or several for captions
        Detected if not named. Names of files start from the folder of the table, and must stay in it.
    n_samples : int, optional
    """

    def __init__(self, path, image_column=None, url_column=None, caption_columns=None, n_samples=None):
        super().__init__(n_samples)
        self._path = os.path.abspath(path)
        self._folder = os.path.realpath(os.path.dirname(self._path))
        columns, rows = self._open()
        row = next((row for _, row in rows if isinstance(row, dict)), None)
        if row is None:
            raise ValueError(f"source={path!r} has no rows that can be read")
        if image_column is None and url_column is None and not any(map(_has_url, row.values())):
            image_column = find(columns, FILE_NAMES)
        self._columns = choose(
            columns,
            row,
            [],
            columns,
            image_column=image_column,
            url_column=url_column,
            caption_columns=caption_columns,
            where=f"source={path!r}",
        )
        self.has_captions = bool(self._columns.captions)
        if not self.has_captions:
            self.captions_hint = (
                f"name the caption column with caption_columns: there are {', '.join(columns)}"
            )

    def identity(self):
        return {
            "kind": "table",
            "path": self._path,
            "columns": [self._columns.image, *self._columns.captions],
            "files": fingerprint([(os.path.basename(self._path), os.path.getsize(self._path))]),
        }

    def _open(self):
        try:
            return READERS[os.path.splitext(self._path)[1].lower()](self._path)
        except (OSError, ValueError) as error:
            raise ValueError(f"source={self._path!r} cannot be read ({one_line(error)})") from error

    def _read(self, start, state):
        file = valid_text(os.path.basename(self._path))
        _, rows = self._open()
        for position, (place, row) in enumerate(itertools.islice(rows, start, None), start):
            if isinstance(row, str):
                yield Item(position, f"{file}: {place}", Failure(row))
                continue
            captions = tuple(
                caption for column in self._columns.captions for caption in clean_captions(row.get(column))
            )
            name, image = self._image(row.get(self._columns.image))
            yield Item(position, name or f"{file}: {place}", image, captions)

    def _image(self, value):
        """What the item is called, and its image."""
        value = value.strip() if isinstance(value, str) else ""
        if is_url(value):
            return value, Url(value)
        if not value or self._columns.is_url:
            wanted = "an http or https URL" if self._columns.is_url else "the name of an image"
            return None, Failure(f"the column {self._columns.image} has not {wanted}")
        if "\0" in value:
            return None, Failure(f"the column {self._columns.image} has no name of a file")
        if not is_inside(os.path.join(self._folder, value), self._folder):
            return valid_text(value), Failure("the table names a file outside its folder")
        return valid_text(value), pathlib.Path(self._folder, value)


def _has_url(value):
    return isinstance(value, str) and is_url(value)
