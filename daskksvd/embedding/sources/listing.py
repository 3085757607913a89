"""Files of a folder, in a fixed order, with what must not be read told apart."""

import hashlib
import os
import stat
from typing import NamedTuple

from ...captions.files.names import has_image_suffix
from ..errors import one_line
from ..images import looks_like_image


class Entry(NamedTuple):
    """One thing in a folder; ``failure`` says why it is not to be read, if so."""

    name: str  # relative to the folder, with slashes
    size: int
    failure: str | None


def list_images(root, ignore=()):
    """All images in a folder and its subfolders, sorted by name.

    An image is what is named like one or, where the name has no ending that is
    known, what begins like one; links, directories and pipes of such a name are
    listed too. Linked directories are not entered.

    Parameters
    ----------
    root : str
    ignore : iterable of str
        Paths of files that are no images, as that with the captions.

    Returns
    -------
    list of Entry
    """
    root = os.path.realpath(root)
    ignore = {os.path.realpath(path) for path in ignore}
    found = []

    def unreadable(error):
        name = os.path.relpath(error.filename or root, root)
        found.append(
            Entry(_slashes(name), 0, f"the folder cannot be read ({error.strerror or one_line(error)})")
        )

    for folder, folders, files in os.walk(root, onerror=unreadable):
        folders.sort()
        for name in folders:
            path = os.path.join(folder, name)
            if os.path.islink(path) and not is_inside(path, root):
                found.append(Entry(_name(path, root), 0, "is a link that leaves the folder"))
            elif has_image_suffix(name):
                found.append(Entry(_name(path, root), 0, "is a directory"))
        for name in files:
            path = os.path.join(folder, name)
            if path not in ignore and (has_image_suffix(name) or _begins_like_image(path)):
                found.append(Entry(_name(path, root), *_facts(path, root)))
    return sorted(found)


def is_inside(path, root):
    """Whether a path, its links followed, stays in ``root`` (itself resolved)."""
    real = os.path.realpath(path)
    return real == root or real.startswith(root.rstrip(os.sep) + os.sep)


def fingerprint(pairs):
    """Hash of (name, size) pairs."""
    digest = hashlib.sha256()
    for name, size in pairs:
        digest.update(f"{name}\0{size}\n".encode("utf-8", "surrogateescape"))
    return digest.hexdigest()[:32]


def _facts(path, root):
    """Size of a file, and why not to read it if so."""
    try:
        found = os.lstat(path)
        if stat.S_ISLNK(found.st_mode):
            if not is_inside(path, root):
                return 0, "is a link that leaves the folder"
            found = os.stat(path)
    except OSError as error:
        return 0, f"cannot be read ({error.strerror or one_line(error)})"
    return found.st_size, None


def _begins_like_image(path):
    """Whether a file without a known ending begins like an image."""
    try:
        if not stat.S_ISREG(os.lstat(path).st_mode):
            return False
        with open(path, "rb") as file:
            return looks_like_image(file.read(16))
    except (OSError, ValueError):
        return False


def _name(path, root):
    return _slashes(os.path.relpath(path, root))


def _slashes(name):
    return name.replace(os.sep, "/")
