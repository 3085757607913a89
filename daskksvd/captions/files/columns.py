"""Which columns of a table name images and hold captions."""

import collections
import re

FILE_NAMES = (
    "file_name", "filename", "file", "image", "image_file", "image_name", "image_path", "path",
    "file_path", "filepath", "img", "name", "image_id", "id", "key",
)  # fmt: skip
URL_NAMES = (
    "image_url", "url", "img_url", "image_link", "link", "photo_image_url", "flickr_url", "coco_url",
    "image", "img", "src", "image_urls", "urls",
)  # fmt: skip
CAPTION_NAMES = (
    "caption", "captions", "sentence", "sentences", "text", "texts", "alt_text", "alt", "raw",
    "description", "descriptions", "comment", "comments", "title", "caption_str",
)  # fmt: skip
"""Names in order of preference; case, spaces, hyphens and underscores make no difference."""

KEYS = ("row", "sample")
"""Columns that say which row of the codes a caption belongs to, best first."""

_NUMBERED = re.compile(r"(.*[^\W\d_])[\W_]*\d+[\W_]*")
"""``caption_0``, ``caption1``, ``Caption (2)``, or as `tables` and pandas number a name that comes again."""


def is_url(value):
    """Whether a string is meant as an address on the web."""
    return value[:8].lower().startswith(("http://", "https://"))


def find(columns, names):
    """The first of ``names`` among ``columns``, or None."""
    known = {}
    for column in columns:
        known.setdefault(bare(column), column)
    return next((known[name] for name in map(bare, names) if name in known), None)


def find_captions(columns):
    """The caption column and those of the same name with a number, or these alone (``caption_0``, ...)."""
    column = find(columns, CAPTION_NAMES)
    families = {}
    for other in columns:
        families.setdefault(_base(other), []).append(other)
    for name in map(bare, CAPTION_NAMES):
        if column is not None and bare(column) == name:
            return (column, *families.get(name, ()))
        if name in families:
            return tuple(families[name])
    return ()


def find_key(columns, key=None):
    """The column that says to which row or sample captions belong, and which of `KEYS` it is; or None twice.

    Only ``key``, if that is given.
    """
    column = find(columns, (key,) if key else KEYS)
    return column, None if column is None else next(one for one in KEYS if bare(one) == bare(column))


def is_known(column):
    """Whether a name is one that columns of captions and images have."""
    return bare(column) in _KNOWN or _base(column) in _CAPTIONS


def named(columns, name, argument, where):
    """``name``, which must be among the columns."""
    if name not in columns:
        raise ValueError(f"{argument}={name!r}; {where} has the columns {listing(columns)}")
    return name


def named_captions(columns, names, where):
    """The caption columns that were asked for, one name or several."""
    names = (names,) if isinstance(names, (str, int)) else tuple(names)
    if not names:
        raise ValueError("caption_columns is empty; it must be a name or several, or None")
    return tuple(named(columns, name, "caption_columns", where) for name in names)


def listing(columns):
    """Names of columns for a message."""
    return ", ".join(map(str, columns)) or "(none)"


def plain(name):
    """A name without the differences that make none; a first line may begin with "#"."""
    return re.sub(r"[\s\-]+", "_", str(name).strip().removeprefix("#").strip().lower())


def bare(name):
    """A name to compare with another: without underscores, too, as in ``imageId`` and ``image_id``."""
    return plain(name).replace("_", "")


def natural(name):
    """A key to sort names by in which numbers count as such: ``part.2`` before ``part.10``."""
    parts = re.split(r"(\d+)", str(name))
    return [(1, int(part), "") if part.isdecimal() else (0, 0, part) for part in parts]


def distinct(names):
    """Names of columns, those that come again with a number."""
    names, seen, found = list(names), collections.Counter(), []
    for name in names:
        again = name
        while again in found or (again != name and again in names):
            seen[name] += 1
            again = f"{name}.{seen[name]}"
        found.append(again)
    return found


def _base(name):
    """What a name with a number at its end has before that, to compare; or None."""
    match = _NUMBERED.fullmatch(plain(name))
    return match and bare(match[1])


_CAPTIONS = frozenset(map(bare, CAPTION_NAMES))
_KNOWN = frozenset(map(bare, (*FILE_NAMES, *URL_NAMES, *CAPTION_NAMES, *KEYS)))
