"""What every source of captioned images gives: numbered items, none left out."""

import abc
import os
import warnings
from typing import NamedTuple

from ..errors import one_line
from .columns import is_url

STATE_EVERY = 256
"""Elements of a source between two places from which it can go on at once."""

REPEATS_SEEN = 100_000
"""Images whose names are remembered, to tell of those that come again."""


class Url(str):
    """An address to fetch an image from."""

    __slots__ = ()


class Failure(NamedTuple):
    """Stands for an image that could not be read; ``reason`` is one line."""

    reason: str


class Item(NamedTuple):
    """One element of a source.

    Attributes
    ----------
    position : int
        Its number in the source, from 0. Every element has one, broken ones too,
        and it stays the same from run to run: it is the sample's id.
    source : str
        Where it comes from: a path relative to the folder, a URL,
        ``shard.tar::key``, ``name[split]#123`` or ``#123``.
    image : bytes, str, pathlib.Path, Url, PIL.Image.Image, ndarray or Failure
        Not decoded yet. A plain string is the path of a local file.
    captions : tuple of str
        Cleaned; ``()`` where there are none.
    state : dict or None
        What `Source.items` can go on from after this item, fit for JSON.
    lost : int
        Captions besides those that are blank, or cannot be read.
    missing : str or None
        Why there are no captions where some were meant to be.
    """

    position: int
    source: str
    image: object
    captions: tuple = ()
    state: dict | None = None
    lost: int = 0
    missing: str | None = None


class Source(abc.ABC):
    """Captioned images, one after the other.

    Attributes
    ----------
    has_captions : bool
        Whether there is anything to read captions from.
    captions_hint : str
        What to do where there is not; empty otherwise.
    n : int or None
        Number of elements, where it is known without reading them.
    """

    has_captions = True
    captions_hint = ""

    def __init__(self, n_samples=None):
        if n_samples is not None and (
            isinstance(n_samples, bool) or not hasattr(n_samples, "__index__") or n_samples < 1
        ):
            raise ValueError(f"n_samples={n_samples!r}; it must be a whole number of at least 1, or None")
        self.n_samples = n_samples

    @property
    def n(self):
        n = self._length()
        if n is None:
            return None
        return n if self.n_samples is None else min(n, self.n_samples)

    def items(self, start=0, state=None):
        """Iterate over the items from position ``start``.

        Parameters
        ----------
        start : int
            Position of the first.
        state : (int, dict), optional
            Position and ``state`` of an item that an earlier run got from the same
            source: a short cut to go on from, never needed.

        Yields
        ------
        Item
            With positions ``start``, ``start + 1`` and so on, without a gap.
        """
        if start < 0:
            raise ValueError(f"start={start}; it must be at least 0")
        stop = self.n_samples
        if stop is not None and start >= stop:
            return
        if state is not None:
            state = (int(state[0]), dict(state[1])) if state[0] < start else None
        expected = start
        repeats = _Repeats()
        for item in self._read(start, state):
            if item.position != expected:
                raise RuntimeError(
                    f"the source left out or repeated one: {item.position} came where {expected} was due"
                )
            repeats.look(item)
            yield item
            expected += 1
            if expected == stop:
                return

    @abc.abstractmethod
    def _read(self, start, state):
        """Yield the items from ``start``, all of them; ``state[0] < start`` if not None."""

    @abc.abstractmethod
    def identity(self):
        """A dict, fit for JSON, that differs where another source was named.

        It has what was named, the columns and, where cheap, a fingerprint of the
        listing. The number of samples wanted is no part of it.
        """

    def _length(self):
        return None


class _Repeats:
    """Says once that a source has an image several times: each of them is a sample."""

    def __init__(self):
        self._seen, self._first, self._told = {}, None, False

    def look(self, item):
        """Compare an item with those before it: by name with many, by content with the one before."""
        if self._told:
            return
        image, first = item.image, None
        if isinstance(image, bytes):
            if self._first is not None and image == self._first.image:
                first = self._first.position
            self._first = item
        elif isinstance(image, (str, os.PathLike)):
            name = str(image)
            if len(self._seen) < REPEATS_SEEN:
                first = self._seen.setdefault(name, item.position)
            else:
                first = self._seen.get(name)
        if first is not None and first != item.position:
            self._told, self._seen = True, {}
            warnings.warn(
                f"elements {first} and {item.position} of the source are the same image "
                f"({valid_text(item.source)}); each is a sample of its own, and parts of a split may share "
                "it: give an image once, with a list of its captions",
                stacklevel=3,
            )


def as_image(value):
    """What an element holds as its image, in one of the forms of `Item.image`."""
    if value is None:
        return Failure("there is no image")
    if isinstance(value, (Url, Failure, os.PathLike)):
        return value
    if isinstance(value, (bytes, bytearray, memoryview)):
        return bytes(value)
    if isinstance(value, str):
        if not value:
            return Failure("there is no image")
        return Url(value) if is_url(value) else value
    if isinstance(value, dict) and ("bytes" in value or "path" in value):
        return as_image(value.get("bytes") or value.get("path"))
    if hasattr(value, "convert") and hasattr(value, "getbands"):
        return value
    if hasattr(value, "__array__") or isinstance(value, (list, tuple)):
        return _as_array(value)
    return Failure(
        f"the image is a {type(value).__name__}; it must be bytes, a path, a URL, a PIL image or an array"
    )


def _as_array(value):
    import numpy as np

    try:
        array = np.asarray(value)
    except Exception as error:  # lists of rows of other lengths, arrays on devices
        return Failure(f"the image is no array ({one_line(error)})")
    if array.dtype.kind in "iu" and array.dtype != np.uint8 and array.size:
        if array.min() < 0 or array.max() > 255:
            return Failure("the image is an integer array with values beyond 0 to 255")
        array = array.astype(np.uint8)
    return array


def valid_text(text):
    """Text that can be stored: what is no valid Unicode in file names becomes "?"."""
    return str(text).encode("utf-8", "replace").decode("utf-8")
