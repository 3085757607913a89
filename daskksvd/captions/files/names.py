"""Names of images, and which of them a table means."""

import posixpath
import re
import unicodedata
import urllib.parse

from .columns import is_url

SUFFIXES = (
    *(".jpg", ".jpeg", ".jpe", ".jfif", ".mpo", ".png", ".apng", ".webp", ".gif", ".bmp", ".dib"),
    *(".tif", ".tiff", ".ppm", ".pgm", ".pbm", ".pnm", ".jp2", ".j2k", ".avif"),
)
"""Endings of names of files in formats that are read; see `embedding.images`."""

OTHER_SUFFIXES = (
    *(".svg", ".svgz", ".eps", ".ico", ".icns", ".heic", ".heif", ".jxl", ".psd", ".tga"),
    *(".dng", ".cr2", ".nef", ".raw"),
)
"""Endings of other images: listed, so that they are rejected and not overlooked."""


def has_image_suffix(name):
    """Whether a file is named like an image."""
    return name.lower().endswith((*SUFFIXES, *OTHER_SUFFIXES))


def kind_of(field):
    """Whether a cell names an image: ``"url"``, ``"image"``, or None."""
    if is_url(field):
        return "url"
    return "image" if has_image_suffix(without_number(field)) else None


def without_number(name):
    """Flickr8k numbers the captions of an image: name.jpg#0."""
    return re.sub(r"#\d+$", "", name)


class Names:
    """Finds the image that is meant by a name that may be written in another way.

    Parameters
    ----------
    names : iterable of str
        Of the images that there are: paths with slashes, URLs, or ``shard::key``.

    Notes
    -----
    A name as it is written comes first. Then, one after the other: slashes for
    backslashes, no ``./`` and no number as in ``name.jpg#0``; composed letters
    (NFC); ``%20`` and the like decoded; small letters. Each time the whole path is
    looked for, then one of which the other is the end, then one with and one
    without the ending of images. At last numbers are compared as such: 12, 12.0
    and 000000000012.jpg.
    """

    def __init__(self, names):
        self._names = list(names)
        self._exact = dict(zip(self._names, self._names, strict=True))
        self._forms, self._made = None, []  # an index a step, as far as they were needed

    def find(self, listed):
        """The name that is meant, or None, and all that could be if they are several."""
        if listed in self._exact:
            return listed, ()
        form = listed
        for number, step in enumerate(_STEPS):
            if number == len(self._made):
                self._made.append(self._index(step))
            form, indices = step(form), self._made[number]
            for key_of, index in zip(_KEYS, indices, strict=True):
                there = [one for one in index.get(key_of(form), ()) if _agree(form, one[1])]
                if len(there) == 1:
                    return there[0][0], ()
                if there:
                    return None, tuple(name for name, _ in there)
        return None, ()

    def example(self):
        """One of the names."""
        return self._names[0] if self._names else None

    def _index(self, step):
        forms = self._forms or [name.rpartition("::")[2] for name in self._names]
        self._forms = [step(form) for form in forms]
        indices = [{} for _ in _KEYS]
        for name, form in zip(self._names, self._forms, strict=True):
            for key_of, index in zip(_KEYS, indices, strict=True):
                index.setdefault(key_of(form), []).append((name, form))
        return indices


def _slashes(name):
    name = re.sub(r"#\d+$", "", name.strip()).replace("\\", "/")
    if "./" in name or "//" in name:
        name = posixpath.normpath(name)
    return name.lstrip("/")


def _composed(name):
    return name if name.isascii() else unicodedata.normalize("NFC", name)


def _decoded(name):
    return urllib.parse.unquote(name) if "%" in name else name


def _small(name):
    name = name.casefold()
    return name.removesuffix(".jpeg") + ".jpg" if name.endswith(".jpeg") else name


def _number(name):
    folders, slash, base = name.rpartition("/")
    stem = _stem(base)
    match = _NUMBER.fullmatch(stem)
    return f"{folders}{slash}{match[1]}{base[len(stem) :]}" if match else name


def _base(name):
    return name.rpartition("/")[2]


def _stem(name):
    base = _base(name)
    return base.rpartition(".")[0] if has_image_suffix(base) else base


def _agree(one, other):
    """Whether the folders of two names agree as far as both have some, and their endings if both have one."""
    one_folders, other_folders = (name.split("/")[-2::-1] for name in (one, other))
    if any(a != b for a, b in zip(one_folders, other_folders, strict=False)):
        return False
    if has_image_suffix(one) and has_image_suffix(other):
        return _base(one).rpartition(".")[2] == _base(other).rpartition(".")[2]
    return True


_NUMBER = re.compile(r"(?:coco_\w+?_)?0*(\d+)(?:\.0+)?")
_STEPS = (_slashes, _composed, _decoded, _small, _number)
_KEYS = (str, _base, _stem)
