"""The image of a row: from a sequence, a folder or thumbnails; drawn grey where there is none."""

import functools
import io
import os

from .once import once

try:
    from PIL import Image, ImageDraw
except ImportError as error:
    raise ImportError('images need Pillow; install it: pip install "daskksvd[view]"') from error

VIEW_IMAGE_SIDE = 256
"""Pixels of the longer side of an image that is shown, at most."""


def open_images(images, embeddings, sample_ids, *, fetch=False, names=None):
    """Where images of rows come from, as `Images`; None if there is no such place.

    Parameters
    ----------
    images, embeddings, fetch
        As for `open_view`.
    sample_ids : (n,) int array or None
        Place of each row in the source.
    names : list of str or dict of int to str, optional
        Names of the files by row, where there are no embeddings.
    """
    if isinstance(images, (str, os.PathLike)):
        if not os.path.isdir(images):
            raise FileNotFoundError(f"images={os.fspath(images)!r}: there is no such folder")
        if embeddings is None and names is None:
            raise ValueError(
                f"images={os.fspath(images)!r} is a folder, and neither embeddings nor a table of captions "
                "say which file in it is of which row; give captions, in one table, a column file with names "
                "that are in the folder, or pass as images a list of paths, one a row"
            )
    elif images is not None and not (hasattr(images, "__getitem__") and hasattr(images, "__len__")):
        raise TypeError(
            f"images is a {type(images).__name__}; it must be a folder, or a sequence of images or paths"
        )
    if images is None and embeddings is None:
        return None
    return Images(images, embeddings, sample_ids, fetch, names)


class Images:
    """Images by row, each found when it is asked for; see `open_view`."""

    def __init__(self, images, embeddings, sample_ids, fetch, names=None):
        self._folder = os.fspath(images) if isinstance(images, (str, os.PathLike)) else None
        self._sequence = images if self._folder is None else None
        self._embeddings = embeddings
        self._ids = sample_ids
        self._fetch = fetch
        self._names = names

    @property
    @once
    def sources(self):
        """Where every row came from, (n,) of str, or a dict by row, or None."""
        return self._names if self._embeddings is None else self._embeddings.source

    def get(self, row, side=VIEW_IMAGE_SIDE):
        """The image of a row, RGB, at most ``side`` pixels a side.

        Returns
        -------
        image : PIL.Image.Image
            A grey one with a cross if there is none.
        found : bool
        """
        return self._shown(lambda: self._read(int(row), side), side)

    def of(self, rows):
        """Images of several rows, each as `get` gives it; thumbnails that lie together are read together."""
        rows = [int(row) for row in rows]
        stored = self._sequence is None and self._folder is None and len(rows) > 1
        files = getattr(self._embeddings, "thumbnail_files", None) if stored else None
        files = files(rows) if files is not None else None
        if files is None:
            return [self.get(row) for row in rows]
        return [self._shown(functools.partial(Image.open, io.BytesIO(file))) for file in files]

    @staticmethod
    def _shown(read, side=VIEW_IMAGE_SIDE):
        """What `get` gives of an image that a function reads, which may not be there."""
        from ...embedding.errors import Rejected

        try:
            image = read()
        except (Rejected, OSError):  # a picture that is broken is a picture that is missing
            image = None
        if image is None:
            return placeholder(), False
        if max(image.size) > side:
            image = image.copy()
            image.thumbnail((side, side))
        return image.convert("RGB"), True

    def _read(self, row, side):
        from ...embedding.images import decode

        if self._sequence is not None:
            place = row if self._ids is None else int(self._ids[row])
            if not 0 <= place < len(self._sequence):
                return None
            image = self._sequence[place]
            image = getattr(image, "image", image)  # a captioned scene
            if isinstance(image, str) and "://" in image:
                return self._fetched(image, side)
            return decode(image, min_side=1)
        if self._folder is not None:
            return self._from_folder(self._source(row), side)
        image = self._embeddings.thumbnail(row)
        if image is not None:
            return image
        return self._fetched(str(self.sources[row]), side) if self._fetch else None

    def _source(self, row):
        sources = self.sources
        if isinstance(sources, dict):
            return sources.get(row, "")
        return str(sources[row]) if 0 <= row < len(sources) else ""

    def _from_folder(self, name, side):
        """A file of the folder, and no other: names come from data."""
        from ...embedding.images import decode
        from ...embedding.sources.listing import is_inside

        if "://" in name:
            return self._fetched(name, side)
        root = os.path.realpath(self._folder)
        path = os.path.normpath(os.path.join(root, name))
        if "\0" in name or not is_inside(path, root) or not os.path.isfile(path):
            return None
        return decode(path, min_side=1, target=side)

    def _fetched(self, url, side):
        from ...embedding.fetch import fetch
        from ...embedding.images import decode

        if not self._fetch or not url.startswith(("http://", "https://")):
            return None
        return decode(fetch(url), min_side=1, target=side)


def placeholder(side=64):
    """A grey square with a cross, for an image that is not there."""
    image = Image.new("RGB", (side, side), "#e6e6e6")
    draw = ImageDraw.Draw(image)
    low, high = side * 3 // 8, side * 5 // 8
    for line in ((low, low, high, high), (low, high, high, low)):
        draw.line(line, fill="#9a9a9a", width=max(1, side // 32))
    return image
