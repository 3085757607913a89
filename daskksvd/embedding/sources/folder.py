"""A folder of image files, with files of captions."""

import itertools
import os
import pathlib
import re
import warnings

from ...captions.files.columns import is_url
from ...captions.files.names import Names
from ...captions.files.reading import read_captions
from .base import Failure, Item, Source, valid_text
from .captions import Beside, find_files
from .listing import fingerprint, is_inside, list_images

_GONE = "the captions file names it, and there is no such file"


class FolderSource(Source):
    """The images in a folder and its subfolders, sorted by their paths.

    Parameters
    ----------
    folder : str
    captions : str, optional
        Captions file. Without it those in the folder and its subfolders that are
        called ``captions`` or ``metadata`` and end as `captions.tables.ENDINGS` say, if
        there are any; else the text and JSON files beside the images.
    image_column, caption_columns : str, or several for captions
        Its columns, detected if not named.
    n_samples : int, optional

    Notes
    -----
    Elements are the images in the folder and whatever else a captions file
    names, so that a name without a file is an element too, and so is a line that
    cannot be used. A name is looked up beside the captions file, in the folder
    and then anywhere in it, at last written in another way: see `Names`.
    """

    def __init__(self, folder, captions=None, image_column=None, caption_columns=None, n_samples=None):
        super().__init__(n_samples)
        self._named = os.path.abspath(folder)
        self._root = os.path.realpath(folder)
        self._files = find_files(self._root) if captions is None else [os.path.abspath(captions)]
        if not self._files and (caption_columns is not None or image_column is not None):
            raise ValueError(
                f"source={self._named!r} is a folder without a captions file, so there are no columns; "
                "name the file with captions"
            )
        found = [
            read_captions(path, image_column=image_column, caption_columns=caption_columns)
            for path in self._files
        ]
        # what is known of each element: its size in bytes, or why there is no image, and its captions
        self._elements = {
            entry.name: (Failure(entry.failure) if entry.failure else entry.size, ())
            for entry in list_images(self._root, self._files)
        }
        self._known = Names(self._elements)
        self._beside = Beside(self._root, [] if self._files else self._elements)
        self.has_captions = bool(self._files or self._beside.files)
        if not self.has_captions:
            self.captions_hint = (
                "name a captions file (csv, tsv, txt, jsonl, json or parquet) with captions, or put a text "
                "file beside each image"
            )
        self._lines = set()
        for captions in found:
            self._add(captions)
        self._names = sorted(self._elements)
        if not self._names:
            raise ValueError(f"source={self._named!r} is a folder without images")

    def _length(self):
        return len(self._names)

    def identity(self):
        elements = [(name, *self._elements[name]) for name in self._names]
        lines = [(name, "\0".join((*captions, *self._beside.sizes(name)))) for name, _, captions in elements]
        return {
            "kind": "folder",
            "path": self._named,
            "n": len(self._names),
            "files": fingerprint((name, size) for name, size, _ in elements if isinstance(size, int)),
            "captions": self._files,
            "lines": fingerprint(lines),
        }

    def _read(self, start, state):
        for position in range(start, len(self._names)):
            name = self._names[position]
            known, captions = self._elements[name]
            image = known if isinstance(known, Failure) else pathlib.Path(self._root, name)
            problems = ()
            if not captions:
                captions, problems = self._beside.read(name)
            missing = None if captions else valid_text("; ".join(problems)) or None
            lost = int(name in self._lines) + len(problems)
            yield Item(position, valid_text(name), image, captions, lost=lost, missing=missing)
        self._beside.tell()

    def _add(self, found):
        """Give the elements their captions, and add what only the captions file has."""
        file = os.path.relpath(found.path, self._root) if is_inside(found.path, self._root) else found.path
        gone = 0
        for listed, captions in found.by_name.items():
            name, failure = self._look_up(listed, os.path.dirname(found.path))
            gone += failure is not None and failure.reason == _GONE
            known, before = self._elements.get(name, (failure, ()))
            if known is None:  # a file that was not taken for an image
                known = os.path.getsize(os.path.join(self._root, name))
            self._elements[name] = (known, before + captions)
        for place, reason in found.broken:
            self._elements[f"{file}: {place}"] = (Failure(reason), ())
            self._lines.add(f"{file}: {place}")
        if gone and gone == len(found.by_name) and self._known.example() is not None:
            self._none_is_there(file, found)

    def _none_is_there(self, file, found):
        """Say that a captions file is of other images, before each of its names is rejected."""
        what = (
            f"none of the {len(found.by_name):,} names in {file} is that of an image in the folder: the file "
            f"has {next(iter(found.by_name))!r}, the folder {self._known.example()!r}"
        )
        warnings.warn(f"source={self._named!r}: {what}", stacklevel=2)
        if len(self._files) == 1:
            self.has_captions = False
            self.captions_hint = (
                f"{what}; name its column of names with image_column, or another file with captions"
            )

    def _look_up(self, listed, beside):
        """The name of the element that a captions file means, and why there is no image."""
        if is_url(listed):
            return listed, Failure("the captions file has a URL here; it must name a file of the folder")
        if "\0" in listed:
            return listed, Failure("is no name of a file")
        near = (
            os.path.relpath(beside, self._root).replace(os.sep, "/") if is_inside(beside, self._root) else "."
        )
        near = "" if near == "." else f"{near}/"
        # Flickr8k numbers the captions of an image: name.jpg#0
        names = dict.fromkeys((listed, re.sub(r"#\d+$", "", listed)))
        for name in names:
            if near + name in self._elements:
                return near + name, None
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
            elif os.path.isfile(path):
                real = os.path.relpath(os.path.realpath(path), self._root)
                return real.replace(os.sep, "/"), None
        if left:
            return listed, Failure("the captions file names a file outside the folder")
        for name in (near + listed, listed):
            there, several = self._known.find(name)
            if there is not None:
                return there, None
            if several:
                which = ", ".join(several[:3])
                return listed, Failure(
                    f"{len(several)} files have the name that the captions file gives ({which})"
                )
        return listed, Failure(_GONE)
