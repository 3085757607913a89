"""Paths of stores and files: the same in every process, and replaced only by what is whole."""

import contextlib
import errno
import os
import re
import shutil
import urllib.parse

from .placing import Place, recover

_LOCAL = re.compile(r"(?:file|local)://(?:localhost(?=/))?|file:(?=/)")
"""How the URL of a local path begins."""

_FULL = (errno.ENOSPC, errno.EDQUOT)
_FULL_TEXTS = re.compile(r"no space left|quota exceeded|\b\d+ requested and \d+ written", re.IGNORECASE)
"""What libraries say where they lose the number of the error, the last of them NumPy."""


def absolute(path: str | os.PathLike[str]) -> str:
    """A path that means the same in every process, ``~`` and ``file://`` made out; other URLs as they are."""
    path = os.fsdecode(path)
    if local := _LOCAL.match(path):
        path = path[local.end() :]
        if not os.path.lexists(path):  # "%20" is a space, unless there is a file of that name
            path = urllib.parse.unquote(path)
    elif "://" in path:
        return path
    return os.path.abspath(os.path.expanduser(path))


class DiskFull(OSError):
    """A file could not be written as the disk, or a quota, is full."""


@contextlib.contextmanager
def telling_disk_full(path, need=None):
    """Say which path has no room, how much is free and how much is needed, where a write fails for that.

    Parameters
    ----------
    path : str
        What is written.
    need : int, optional
        Bytes it takes, about.

    Raises
    ------
    DiskFull
        In place of whatever error says so.
    """
    try:
        yield
    except DiskFull:
        raise
    except Exception as error:
        full = disk_full(error, path, need)
        if full is None:
            raise
        for note in getattr(error, "__notes__", ()):
            full.add_note(note)
        raise full from error


def disk_full(error, path, need=None):
    """The `DiskFull` that an error stands for, or None if it is about something else."""
    seen = set()
    cause = error
    while cause is not None and id(cause) not in seen:
        seen.add(id(cause))
        number = getattr(cause, "errno", None)
        if number in _FULL or (isinstance(cause, OSError) and _FULL_TEXTS.search(str(cause))):
            break
        cause = cause.__cause__ or cause.__context__
    else:
        return None
    if isinstance(cause, DiskFull):
        return cause
    quota = number == errno.EDQUOT or "quota" in str(cause).lower()
    why = "your quota of disk space is used up" if quota else "the disk is full"
    told = DiskFull(
        f"{path!r} could not be written: {why} ({_room(path, need)}); "
        "free some space, or name a path on another disk"
    )
    told.errno = number or errno.ENOSPC
    return told


def _room(path, need):
    """Bytes that are free where a path lies, and those needed, as text."""
    from dask.utils import format_bytes

    parent = path
    while not os.path.isdir(parent) and os.path.dirname(parent) != parent:
        parent = os.path.dirname(parent)
    parts = []
    with contextlib.suppress(OSError):
        parts.append(f"{format_bytes(shutil.disk_usage(parent).free)} free")
    if need is not None:
        parts.append(f"about {format_bytes(int(need))} needed")
    return ", ".join(parts) or "how much is free is not known"


def exists(path):
    """Whether something is at a local path, or a Zarr node at a URL."""
    path = absolute(path)
    if "://" not in path:
        recover(path)
        return os.path.exists(path)
    import zarr

    try:
        zarr.open(path, mode="r")
    except FileNotFoundError:
        return False
    return True


@contextlib.contextmanager
def written_whole(path, need=None):
    """Yield a path to write a store at; it moves to ``path`` once that went well.

    What was at ``path`` stays until then, and what a killed process left beside it goes.
    At a URL, which cannot be moved, the store is written in place.

    Parameters
    ----------
    path : str
        Absolute.
    need : int, optional
        Bytes of the store, about, for the message where the disk is full.

    Raises
    ------
    FileExistsError
        If another process goes on writing at ``path``.
    DiskFull
    """
    with telling_disk_full(path, need):
        if "://" in path:
            yield path
            return
        with Place(path) as place:
            place.clear()
            yield place.inner
            place.move()


@contextlib.contextmanager
def replaced(path, temporary=None):
    """Yield a path to write a file at; it takes the place of ``path`` once that went well.

    Writers of one path wait for each other, and what a killed one left beside
    it goes. Where there is only one writer, ``temporary`` names the file: what a
    killed process leaves there is written over by the next.
    """
    if temporary is None:
        path = os.path.abspath(path)
        with Place(path) as place:
            place.clear()
            with replaced(path, place.inner):
                yield place.inner
        return
    try:
        yield temporary
        os.replace(temporary, path)
    except BaseException:
        with contextlib.suppress(FileNotFoundError):
            os.remove(temporary)
        raise
