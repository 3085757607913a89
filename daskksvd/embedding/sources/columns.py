"""Which columns of a table hold images, addresses and captions."""

import re
from typing import NamedTuple

IMAGE_NAMES = (
    "image",
    "images",
    "img",
    "jpg",
    "jpeg",
    "png",
    "webp",
    "picture",
    "photo",
    "image_bytes",
    "bytes",
)
FILE_NAMES = (
    "file_name", "filename", "file", "image", "image_file", "image_name", "image_path", "path",
    "file_path", "filepath", "img", "name", "image_id", "id",
)  # fmt: skip
URL_NAMES = (
    "image_url", "url", "img_url", "image_link", "link", "photo_image_url", "flickr_url", "coco_url",
    "image", "img", "src",
)  # fmt: skip
CAPTION_NAMES = (
    "caption", "captions", "sentence", "sentences", "text", "texts", "alt_text", "alt", "raw",
    "description", "descriptions", "comment", "comments", "title",
)  # fmt: skip
"""Names in order of preference; case, spaces and hyphens make no difference."""

_NUMBERED = re.compile(r"(caption|sentence|text|comment|raw)s?_?\d+")


class Columns(NamedTuple):
    """Names of the columns that are read.

    Attributes
    ----------
    image : str or None
    is_url : bool
        Whether that column has addresses.
    captions : tuple of str
    """

    image: str | None
    is_url: bool
    captions: tuple


def is_url(value):
    """Whether a string is meant as an address on the web."""
    return value[:8].lower().startswith(("http://", "https://"))


def find(columns, names):
    """The first of ``names`` among ``columns``, or None."""
    known = {}
    for column in columns:
        known.setdefault(_plain(column), column)
    return next((known[name] for name in names if name in known), None)


def find_captions(columns):
    """The caption column, or the numbered ones (``caption_0``, ``caption_1``, ...)."""
    column = find(columns, CAPTION_NAMES)
    if column is not None:
        return (column,)
    return tuple(column for column in columns if _NUMBERED.fullmatch(_plain(column)))


def named(columns, name, argument, where):
    """``name``, which must be among the columns."""
    if name not in columns:
        raise ValueError(f"{argument}={name!r}; {where} has the columns {listing(columns)}")
    return name


def named_captions(columns, names, where):
    """The caption columns that were asked for, one name or several."""
    names = (names,) if isinstance(names, str) else tuple(names)
    if not names:
        raise ValueError("caption_columns is empty; it must be a name or several, or None")
    return tuple(named(columns, name, "caption_columns", where) for name in names)


def listing(columns):
    """Names of columns for a message."""
    return ", ".join(map(str, columns)) or "(none)"


def choose(columns, row, images, texts, *, image_column, url_column, caption_columns, where):
    """The columns of a table of images.

    Parameters
    ----------
    columns : list of str
    row : dict
        One row, to tell addresses from other text.
    images, texts : list of str
        Columns that are known to hold images; columns that can hold captions.
    image_column, url_column : str or None
        Named by the caller, one at most.
    caption_columns : str, sequence of str or None
    where : str
        What messages call the table.

    Returns
    -------
    Columns
        ``captions`` may be empty.

    Raises
    ------
    ValueError
        If a column is not there, or none can hold the image.
    """
    if image_column is not None and url_column is not None:
        raise ValueError(
            f"image_column={image_column!r} and url_column={url_column!r}; only one of them can be given"
        )
    if image_column is not None:
        image, by_url = named(columns, image_column, "image_column", where), False
    elif url_column is not None:
        image, by_url = named(columns, url_column, "url_column", where), True
    elif images:
        image, by_url = find(images, IMAGE_NAMES) or images[0], False
    else:
        image, by_url = _detect_image(columns, row)
    if image is None:
        raise ValueError(
            f"{where} has no column that looks like an image or the URL of one; "
            f"name it with image_column or url_column: the columns are {listing(columns)}"
        )
    others = [column for column in texts if column != image]
    if caption_columns is not None:
        captions = named_captions(columns, caption_columns, where)
    else:
        captions = find_captions(others)
    return Columns(image, by_url, captions)


def _detect_image(columns, row):
    for column in columns:  # a struct with bytes, as `datasets` stores images
        value = row.get(column)
        if isinstance(value, dict) and {"bytes", "path"} <= set(value):
            return column, False
    address = [column for column in columns if isinstance(row.get(column), str) and is_url(row[column])]
    column = find([column for column in columns if column not in address], IMAGE_NAMES)
    if column is not None and not isinstance(row.get(column), (int, float)):
        return column, False
    column = find(address, URL_NAMES) or (address[0] if len(address) == 1 else None)
    return (column, True) if column is not None else (None, False)


def _plain(name):
    return re.sub(r"[\s\-]+", "_", str(name).strip().lower())
