"""Any iterable of captioned images as a source."""

import inspect
import os
from collections.abc import Iterator, Mapping

from ...captions.files.cleaning import captions_of
from ...captions.files.columns import URL_NAMES, find, find_captions, listing
from ..errors import one_line
from .base import Failure, Item, Source, Url, as_image
from .columns import IMAGE_NAMES

SOURCE_FAILURES = 100
"""After as many elements in a row that cannot be read, an iterator is given up."""


class IterableSource(Source):
    """Pairs, objects or dicts of an image and its captions.

    Parameters
    ----------
    elements : iterable
        Of ``(image, caption)``, ``(image, [captions])``, objects with ``image`` and
        ``captions`` (or ``caption``), or dicts with these. What has a length and
        can be indexed is read by index, so that a start further on costs nothing
        and one element that raises loses no other.
    n_samples : int, optional
    """

    def __init__(self, elements, n_samples=None):
        super().__init__(n_samples)
        self._indexed = hasattr(elements, "__len__") and hasattr(elements, "__getitem__")
        if isinstance(elements, Mapping):
            raise TypeError("source is a dict; it must be an iterable of (image, caption), as its values()")
        if not self._indexed and not hasattr(elements, "__iter__"):
            raise TypeError(
                f"source is a {type(elements).__name__}; it must be an iterable of (image, caption), "
                "or name a folder, shards or a data set"
            )
        self._elements = elements
        self._started = False

    def _length(self):
        return len(self._elements) if hasattr(self._elements, "__len__") else None

    def identity(self):
        return {"kind": "iterable", "type": type(self._elements).__name__, "n": self._length()}

    def _read(self, start, state):
        values = self._by_index(start) if self._indexed else self._by_iteration(start)
        for position, value in values:
            name = f"#{position}"
            if isinstance(value, Failure):
                yield Item(position, name, value)
                continue
            try:
                image, captions = _take_apart(value)
                captions, lost = captions_of((captions,))
                item = Item(position, name, _anywhere(as_image(image)), captions, lost=lost)
            except Exception as error:  # an object's own attributes may raise
                item = Item(position, name, Failure(f"the element cannot be read ({one_line(error)})"))
            yield item

    def _by_index(self, start):
        for position in range(start, len(self._elements)):
            try:
                value = self._elements[position]
            except Exception as error:  # one broken element is not the end of the others
                value = Failure(f"the element cannot be read ({one_line(error)})")
            yield position, value

    def _by_iteration(self, start):
        if isinstance(self._elements, Iterator) and self._started:
            raise ValueError(
                "source is an iterator that was read before; pass a new one, or a list or other "
                "object that can be iterated over again"
            )
        self._started = True
        iterator = iter(self._elements)
        position = failures = 0
        while failures < SOURCE_FAILURES:
            try:
                value = next(iterator)
                failures = 0
            except StopIteration:
                return
            except Exception as error:  # a generator ends with this, another iterator may go on
                failures += 1
                value = Failure(f"the iterable raised {one_line(error)}; {_rest(iterator, failures)}")
            if position >= start:
                yield position, value
            position += 1


def _anywhere(image):
    """A path that means the same in other processes; anything else as it is."""
    if isinstance(image, (str, os.PathLike)) and not isinstance(image, Url):
        return os.path.abspath(image)
    return image


def _rest(iterator, failures):
    """What becomes of the elements after one that was not there."""
    if failures == SOURCE_FAILURES:
        return f"given up after {failures} failures in a row, the rest is lost"
    if inspect.isgenerator(iterator):
        return "a generator ends with that, the rest is lost"
    return "what comes after it is read"


def _take_apart(element):
    """Image and captions of an element."""
    if isinstance(element, Mapping):
        column = find(element, (*IMAGE_NAMES, *URL_NAMES))
        if column is None:
            return Failure(f"the element is a dict without an image; it has {listing(element)}"), ()
        captions = find_captions([name for name in element if name != column])
        return element[column], [element[name] for name in captions]
    if hasattr(element, "image"):
        captions = getattr(element, "captions", None)
        return element.image, getattr(element, "caption", None) if captions is None else captions
    if isinstance(element, (tuple, list)) and len(element) == 2:
        return element
    if hasattr(element, "getbands") or isinstance(element, (bytes, str)):
        return element, ()
    found = type(element).__name__
    if isinstance(element, (tuple, list)):
        found += f" of {len(element)}"
    return Failure(f"the element is a {found}; it must be (image, caption)"), ()
