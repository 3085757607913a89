"""Paths of stores and files: the same in every process, and replaced only by what is whole."""

import contextlib
import os
import secrets
import shutil
import tempfile


def absolute(path):
    """A path that means the same in every process; URLs as they are."""
    path = os.fspath(path)
    return path if "://" in path else os.path.abspath(path)


def exists(path):
    """Whether something is at a local path, or a Zarr node at a URL."""
    if "://" not in path:
        return os.path.exists(path)
    import zarr

    try:
        zarr.open(path, mode="r")
    except FileNotFoundError:
        return False
    return True


@contextlib.contextmanager
def written_whole(path):
    """Yield a path to write a store at; it moves to ``path`` once that went well.

    What was at ``path`` stays until then. At a URL, which cannot be moved,
    the store is written in place.
    """
    if "://" in path:
        yield path
        return
    parent = os.path.dirname(path)
    os.makedirs(parent, exist_ok=True)
    temporary = tempfile.mkdtemp(dir=parent, prefix=".daskksvd-")
    try:
        inner = os.path.join(temporary, "store")
        yield inner
        if os.path.exists(path):
            os.rename(path, os.path.join(temporary, "old"))
        os.rename(inner, path)
    finally:
        shutil.rmtree(temporary, ignore_errors=True)


@contextlib.contextmanager
def replaced(path, temporary=None):
    """Yield a path to write a file at; it takes the place of ``path`` once that went well.

    A name that nobody else has keeps writers apart. Where there is only one
    writer, ``temporary`` names the file: what a killed process leaves there
    is written over by the next.
    """
    if temporary is None:
        temporary = os.path.join(os.path.dirname(path), f".daskksvd-{secrets.token_hex(8)}")
    try:
        yield temporary
        os.replace(temporary, path)
    except BaseException:
        with contextlib.suppress(FileNotFoundError):
            os.remove(temporary)
        raise
