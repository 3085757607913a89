"""The image of an item, wherever it is, decoded."""

from .errors import Rejected
from .fetch import fetch
from .images import IMAGE_PIXELS, IMAGE_SIDE, decode
from .sources.base import Failure, Url


def load(
    item,
    *,
    allow_private=False,
    timeout=10.0,
    max_pixels=IMAGE_PIXELS,
    min_side=IMAGE_SIDE,
    target=None,
):
    """Fetch and decode the image of an item.

    Parameters
    ----------
    item : sources.Item
    allow_private : bool
        Whether URLs may lead to private addresses; see `fetch.fetch`.
    timeout : float
        Seconds; see `fetch.fetch`.
    max_pixels, min_side, target : int
        See `images.decode`.

    Returns
    -------
    PIL.Image.Image
        RGB.

    Raises
    ------
    Rejected
        With the reason in one line: the item is a failure already, its URL gives
        nothing (`FetchError`) or it is no image that can be used (`ImageError`).
    """
    image = item.image
    if isinstance(image, Failure):
        raise Rejected(image.reason)
    if isinstance(image, Url):
        image = fetch(image, allow_private=allow_private, timeout=timeout)
    return decode(image, max_pixels=max_pixels, min_side=min_side, target=target)
