"""A folder of image files, with files of captions."""

import itertools
import os
import pathlib
import re

from .base import Failure, Item, Source, valid_text
from .captions import find_files, read_captions
from .columns import is_url
from .listing import fingerprint, is_inside, list_images


class FolderSource(Source):
    """The images in a folder and its subfolders, sorted by their paths.

    Parameters
    ----------
    folder : str
    captions : str, optional
        Captions file. Without it those in the folder and its subfolders that are
        called ``captions`` or ``metadata`` and end in .csv, .tsv, .txt, .jsonl or
        .parquet, if there are any.
    image_column, caption_columns : str, or several for captions
        Its columns, detected if not named.
    n_samples : int, optional

    Notes
    -----
    Elements are the images in the folder and whatever else a captions file
    names, so that a name without a file is an element too, and so is a line that
    cannot be used. A name is looked up beside the captions file, in the folder
    and then anywhere in it.
    """

    def __init__(self, folder, captions=None, image_column=None, caption_columns=None, n_samples=None):
        super().__init__(n_samples)
        self._named = os.path.abspath(folder)
        self._root = os.path.realpath(folder)
        self._files = find_files(self._root) if captions is None else [os.path.abspath(captions)]
        self.has_captions = bool(self._files)
        if not self.has_captions:
            if caption_columns is not None or image_column is not None:
                raise ValueError(
                    f"source={self._named!r} is a folder without a captions file, so there are no columns; "
                    "name the file with captions"
                )
            self.captions_hint = "name a captions file (csv, tsv, jsonl or parquet) with captions"
        found = [
            read_captions(path, image_column=image_column, caption_columns=caption_columns)
            for path in self._files
        ]
        # what is known of each element: its size in bytes, or why there is no image, and its captions
        self._elements = {
            entry.name: (Failure(entry.failure) if entry.failure else entry.size, ())
            for entry in list_images(self._root, self._files)
        }
        by_end = _by_end(self._elements)
        for captions in found:
            self._add(captions, by_end)
        self._names = sorted(self._elements)
        if not self._names:
            raise ValueError(f"source={self._named!r} is a folder without images")

    def _length(self):
        return len(self._names)

    def identity(self):
        elements = [(name, *self._elements[name]) for name in self._names]
        return {
            "kind": "folder",
            "path": self._named,
            "n": len(self._names),
            "files": fingerprint((name, size) for name, size, _ in elements if isinstance(size, int)),
            "captions": self._files,
            "lines": fingerprint((name, "\0".join(captions)) for name, _, captions in elements),
        }

    def _read(self, start, state):
        for position in range(start, len(self._names)):
            name = self._names[position]
            known, captions = self._elements[name]
            image = known if isinstance(known, Failure) else pathlib.Path(self._root, name)
            yield Item(position, valid_text(name), image, captions)

    def _add(self, found, by_end):
        """Give the elements their captions, and add what only the captions file has."""
        file = os.path.relpath(found.path, self._root) if is_inside(found.path, self._root) else found.path
        for listed, captions in found.by_name.items():
            name, failure = self._look_up(listed, os.path.dirname(found.path), by_end)
            known, before = self._elements.get(name, (failure, ()))
            if known is None:  # a file that was not taken for an image
                known = os.path.getsize(os.path.join(self._root, name))
            self._elements[name] = (known, before + captions)
        for place, reason in found.broken:
            self._elements[f"{file}: {place}"] = (Failure(reason), ())

    def _look_up(self, listed, beside, by_end):
        """The name of the element that a captions file means, and why there is no image."""
        if is_url(listed):
            return listed, Failure("the captions file has a URL here; it must name a file of the folder")
        if "\0" in listed:
            return listed, Failure("is no name of a file")
        # Flickr8k numbers the captions of an image: name.jpg#0
        names = dict.fromkeys((listed, re.sub(r"#\d+$", "", listed)))
        left = os.path.isabs(listed)
        for name, folder in itertools.product(names, dict.fromkeys((beside, self._root))):
            path = os.path.normpath(os.path.join(folder, name))
            within = path.startswith(self._root.rstrip(os.sep) + os.sep)
            short = os.path.relpath(path, self._root).replace(os.sep, "/") if within else None
            if short in self._elements:
                return short, None
            if not os.path.lexists(path):
                left = left or (not within and ".." in name.split("/"))
            elif not is_inside(path, self._root):
                left = True
            elif os.path.exists(path):
                real = os.path.relpath(os.path.realpath(path), self._root)
                return real.replace(os.sep, "/"), None
        if left:
            return listed, Failure("the captions file names a file outside the folder")
        for name in names:
            there = by_end.get(name, ())
            if len(there) == 1:
                return there[0], None
            if there:
                return listed, Failure(f"{len(there)} files have the name that the captions file gives")
        return listed, Failure("the captions file names it, and there is no such file")


def _by_end(names):
    """Names of files in folders by what they may be called: with and without the ending."""
    found = {}
    for name in names:
        base = name.rsplit("/", 1)[-1]
        for key in {base, base.rsplit(".", 1)[0]}:
            found.setdefault(key, []).append(name)
    return found
