"""Which columns of a table hold images, addresses and captions."""

from typing import NamedTuple

from ...captions.files.columns import URL_NAMES, find, find_captions, is_url, listing, named, named_captions

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
"""Names in order of preference; case, spaces and hyphens make no difference."""


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
