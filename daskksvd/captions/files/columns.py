"""Which columns of a table name images and hold captions."""

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

_NUMBERED = re.compile(r"(caption|sentence|text|comment|raw)s?[_.]?\d+")


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
    """The caption column, or the numbered ones (``caption_0``, ``caption_1``, ...)."""
    column = find(columns, CAPTION_NAMES)
    numbered = tuple(column for column in columns if _NUMBERED.fullmatch(plain(column)))
    if column is None:
        return numbered
    # caption, caption_2; or a header that has a name several times, as `tables` and pandas number them
    same = re.compile(rf"{re.escape(plain(column))}[._]?\d+")
    return (column, *(other for other in numbered if same.fullmatch(plain(other))))


def is_known(column):
    """Whether a name is one that columns of captions and images have."""
    return bare(column) in _KNOWN or _NUMBERED.fullmatch(plain(column)) is not None


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


_KNOWN = frozenset(map(bare, (*FILE_NAMES, *URL_NAMES, *CAPTION_NAMES, *KEYS)))
