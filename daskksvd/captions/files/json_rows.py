"""Captions in JSON: lines, arrays, and the forms of the field's data sets."""

import itertools
import json

from .cleaning import said
from .columns import FILE_NAMES, URL_NAMES, find, find_captions, is_known
from .names import has_image_suffix
from .separated import Broken
from .text import read_lines, read_whole

_PEEK = 100
"""Objects that are looked at for their keys."""


class JsonRows:
    """A table in a JSON file: one object a line, or one value in all.

    Parameters
    ----------
    path, where : str
        The file, and what messages call it.
    lines : bool
        Whether it is meant to have an object a line; either is read whatever the name says.

    Attributes
    ----------
    columns : list of str
        Keys of the first objects.

    Notes
    -----
    One value may be: an array of objects, alone or as the only one in an
    object (``annotations`` of RedCaps); COCO's ``images`` and ``annotations``;
    Karpathy's ``images`` with ``sentences``; lists or objects by column (SBU's
    ``image_urls`` and ``captions``, and as pandas writes tables); or captions by
    the name of the image.
    """

    has_header = True

    def __init__(self, path, where, lines):
        self._path, self._where, self._told = path, where, False
        self._rows = None
        if not lines or _is_array(path, where):
            self._rows = _whole(path, where)
        first = list(itertools.islice(self._all(quiet=True), _PEEK))
        if not any(isinstance(row, dict) for _, row in first):
            raise ValueError(" ".join(first[0]) if first else "it is empty")
        self.columns = list(dict.fromkeys(key for _, row in first if isinstance(row, dict) for key in row))

    def rows(self, names, captions=()):
        """The rows, from the first: where it is, and its values of some columns or `Broken`."""
        nothing, known = (None,) * len(names), frozenset(self.columns)
        others = [column for column in self.columns if column in captions or column not in names]
        detected = bool(captions) and find_captions(others) == tuple(captions)
        for place, row in self._all(quiet=self._told):
            if isinstance(row, str):
                yield place, Broken(row, nothing)
                continue
            values = [row.get(name) for name in names]
            if detected and not row.keys() <= known:
                more = find_captions([*captions, *(key for key in row if key not in known)])
                if more[: len(captions)] == tuple(captions):
                    last = list(names).index(captions[-1])
                    values[last] = [values[last], *(row.get(key) for key in more[len(captions) :])]
            yield place, tuple(values)
        self._told = True

    def _all(self, quiet):
        return _objects(self._path, self._where, quiet) if self._rows is None else iter(self._rows)


def _is_array(path, where):
    """Whether a file of lines is one array that was not written a line an object."""
    for line in read_lines(path, where, quiet=True):
        if line.strip():
            if not line.lstrip().startswith("["):
                return False
            try:
                return all(isinstance(row, dict) for row in json.loads(line))
            except (ValueError, RecursionError):
                return True
    return False


def _objects(path, where, quiet):
    for number, line in enumerate(read_lines(path, where, quiet=quiet), 1):
        if line and not line.isspace():
            yield f"line {number}", _object(line)


def _object(line):
    """The object of a line, or why it is none."""
    try:
        row = json.loads(line)
    except (ValueError, RecursionError) as error:
        return f"is no JSON ({error})"
    return row if isinstance(row, dict) else f"is a {type(row).__name__}; it must be an object"


def _whole(path, where):
    """Rows of a file that is one value; None if it has an object a line."""
    text = read_whole(path, where)
    try:
        value = json.loads(text)
    except json.JSONDecodeError as error:
        if error.msg == "Extra data":
            return None
        raise ValueError(f"it is no JSON: {error}") from error
    except RecursionError as error:
        raise ValueError("it is no JSON that can be read: too many brackets") from error
    return list(_rows(value))


def _rows(value):
    if isinstance(value, list):
        return _elements(value, "element")
    if not isinstance(value, dict):
        raise ValueError(f"it is a {type(value).__name__}; it must be an array or an object")
    images, notes = value.get("images"), value.get("annotations")
    if _are_objects(images):
        if _are_objects(notes):
            return _coco(images, notes)
        if any("sentences" in image for image in images):
            return _karpathy(images)
    if not value:
        raise ValueError("it is empty")
    if all(map(has_image_suffix, value)):
        return [(f"element {key}", {"image": key, "caption": one}) for key, one in value.items()]
    by_column = _by_column(value)
    if by_column is not None:
        return by_column
    if find_captions(list(value)) and any(map(is_known, value)) and not _are_objects(notes):
        return [("the object", value)]
    arrays = {key: rows for key, rows in value.items() if _are_objects(rows)}
    if len(arrays) > 1 and "annotations" in arrays:
        arrays = {"annotations": notes}
    if len(arrays) == len(value) > 1 and all(map(_are_captioned, arrays.values())):  # by split
        return itertools.chain.from_iterable(_elements(rows, key) for key, rows in arrays.items())
    if len(arrays) == 1:
        ((key, rows),) = arrays.items()
        return _elements(rows, key.removesuffix("s"))
    if value and all(isinstance(one, dict) for one in value.values()):
        return [(f"element {key}", {"id": key, **row}) for key, row in value.items()]
    if value and all(isinstance(one, (str, list, type(None))) for one in value.values()):
        return [(f"element {key}", {"image": key, "caption": one}) for key, one in value.items()]
    raise ValueError(f"it has the keys {', '.join(list(value)[:8])}, and none has a list of objects")


def _elements(rows, what):
    for number, row in enumerate(rows):
        if not isinstance(row, dict):
            row = f"is a {type(row).__name__}; it must be an object"
        yield f"{what} {number}", row


def _are_objects(rows):
    return isinstance(rows, list) and any(isinstance(row, dict) for row in rows)


def _are_captioned(rows):
    first = next(row for row in rows if isinstance(row, dict))
    return bool(find_captions(list(first))) and find(list(first), (*FILE_NAMES, *URL_NAMES)) is not None


def _coco(images, notes):
    """COCO's captions: one row an image, and the annotations that belong to none."""
    captions, broken = {}, []
    known = {_id(image.get("id")) for image in images if isinstance(image, dict)}
    for number, note in enumerate(notes):
        place = f"annotation {number}"
        if not isinstance(note, dict):
            broken.append((place, f"is a {type(note).__name__}; it must be an object"))
            continue
        columns = find_captions(list(note))
        if _id(note.get("image_id")) not in known:
            broken.append((place, f"is of the image {note.get('image_id')!r}, which is not among the images"))
            continue
        cell, wrong = said([note[column] for column in columns]) if columns else (None, None)
        texts = cell if isinstance(cell, list) else [cell] if cell and not cell.isspace() else []
        captions.setdefault(_id(note["image_id"]), []).extend(texts)
        if not texts:
            broken.append(
                (place, f"has a {wrong} as caption; it must be text" if wrong else "has no caption")
            )
    for number, image in enumerate(images):
        place = f"image {number}"
        if isinstance(image, dict):
            yield place, {**image, "caption": captions.get(_id(image.get("id")), [])}
        else:
            yield place, f"is a {type(image).__name__}; it must be an object"
    yield from broken


def _id(value):
    """The number of an image as text, written as text or number."""
    return str(int(value) if isinstance(value, float) and value.is_integer() else value)


def _karpathy(images):
    """Karpathy's splits: images with sentences."""
    for place, image in _elements(images, "image"):
        if isinstance(image, dict):
            name = image.get("filename")
            if isinstance(name, str) and isinstance(image.get("filepath"), str):
                name = f"{image['filepath']}/{name}"
            image = {"file_name": name, "caption": _sentences(image.get("sentences"))} | {
                key: image[key] for key in image if key not in ("filename", "filepath", "sentences")
            }
        yield place, image


def _sentences(values):
    """Sentences, of which some data sets give the tokens alone."""
    if not isinstance(values, list):
        return values
    return [
        " ".join(one["tokens"]) if isinstance(one, dict) and "raw" not in one and _are_tokens(one) else one
        for one in values
    ]


def _are_tokens(sentence):
    tokens = sentence.get("tokens")
    return isinstance(tokens, list) and all(isinstance(token, str) for token in tokens)


def _by_column(value):
    """Rows of a table that is stored by column, or None if it is not."""
    if (
        not find_captions(list(value))
        or find(list(value), (*URL_NAMES, *FILE_NAMES, "row", "sample")) is None
    ):
        return None
    columns = {key: column for key, column in value.items() if is_known(key)}
    if all(isinstance(column, dict) for column in columns.values()):  # as pandas writes them
        columns = {key: column for key, column in value.items() if isinstance(column, dict)}
        labels = dict.fromkeys(label for column in columns.values() for label in column)
        return [
            (f"element {label}", {key: column.get(label) for key, column in columns.items()})
            for label in labels
        ]
    if not all(isinstance(column, list) for column in columns.values()):
        return None
    columns = {key: column for key, column in value.items() if isinstance(column, list)}
    lengths = {key: len(column) for key, column in columns.items()}
    if len(set(lengths.values())) > 1:
        told = ", ".join(f"{n:,} {key}" for key, n in lengths.items())
        raise ValueError(f"it has lists of other lengths: {told}; all must have one entry an image")
    rows = zip(*columns.values(), strict=True)
    return [(f"element {number}", dict(zip(columns, row, strict=True))) for number, row in enumerate(rows)]
