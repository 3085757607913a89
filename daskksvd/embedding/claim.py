"""The folder of a store of embeddings: whose it is, kept from other processes, and emptied."""

import contextlib
import errno
import json
import os
import re
import shutil

from ..rows.inputs.opening import EMBEDDINGS as GROUP
from ..stores import RECORD
from .store import CAPTIONS, EMBEDDINGS, JOURNAL, LOCK, PROGRESS, REJECTS

try:
    import fcntl
except ImportError:  # no such locks on Windows
    fcntl = None  # type: ignore[assignment]

BATCH_NAME = re.compile(r"(\d{12})-(\d{12})\.arrow")
_ROWS_NAME = re.compile(r"rows-\d{12}\.parquet(\.part)?")
_FOLDERS = {
    CAPTIONS: _ROWS_NAME,
    REJECTS: _ROWS_NAME,
    JOURNAL: re.compile(BATCH_NAME.pattern + r"(\.part)?"),
    GROUP: re.compile("|".join((*EMBEDDINGS.variables, RECORD, r"zarr\.json(\..*)?"))),
}
"""Folders of a store, and how what is in them is called."""

_FILES = {LOCK, PROGRESS, f"{PROGRESS}.part"}


def check_free(path, overwrite):
    """Refuse a folder with anything in it that `embed` did not write.

    Nothing is deleted, or made, before this is known.

    Parameters
    ----------
    path : str
    overwrite : bool
        Whether what is there will go; else it may be gone on with.

    Raises
    ------
    FileExistsError
    """
    if not os.path.isdir(path):
        return
    strange = _strange(path)
    if overwrite:
        if strange is not None:
            raise FileExistsError(
                f"out={path!r} is not empty ({strange}), and overwrite=True replaces only what embed "
                "has written; name another folder"
            )
    elif not os.path.exists(os.path.join(path, PROGRESS)):
        found = strange or _begun(path)
        if found is not None:
            also = ", or pass overwrite=True" if strange is None else ""
            raise FileExistsError(
                f"out={path!r} is not empty ({found}) and no earlier run of embed; name another folder{also}"
            )


def _strange(path):
    """The name of something in a folder that is of no run of `embed`, or None."""
    names = sorted(set(os.listdir(path)) - {LOCK})
    for name in names:
        inner = os.path.join(path, name)
        if name in _FILES and os.path.isfile(inner) and not os.path.islink(inner):
            continue
        if name not in _FOLDERS or os.path.islink(inner) or not os.path.isdir(inner):
            return name
        for one in sorted(os.listdir(inner)):
            if not _FOLDERS[name].fullmatch(one):
                return f"{name}/{one}"
    group, progress = _group_format(path), _progress_format(path)
    for name, found in ((GROUP, group), (PROGRESS, progress)):
        if found not in (EMBEDDINGS.format, None):
            return name
    if EMBEDDINGS.format in (group, progress):
        return None
    if PROGRESS in names:  # it cannot be read; a run has made the journal before
        return None if JOURNAL in names else PROGRESS
    return _begun(path)


def _begun(path):
    """The name of something that a run does not leave that ended before it had written down its progress."""
    names = set(os.listdir(path)) - {LOCK, f"{PROGRESS}.part"}
    if JOURNAL in names and not os.listdir(os.path.join(path, JOURNAL)):
        names.remove(JOURNAL)
    return min(names, default=None)


def _progress_format(path):
    """The format that the record of progress names; None where it cannot be read."""
    try:
        with open(os.path.join(path, PROGRESS)) as file:
            found = json.load(file)
    except (OSError, ValueError):
        return None
    return found.get("format", "") if isinstance(found, dict) else ""


def _group_format(path):
    """The format that the group names; None where it has no attributes yet, or cannot be read."""
    try:
        with open(os.path.join(path, GROUP, "zarr.json")) as file:
            found = json.load(file)
    except (OSError, ValueError):
        return None
    if not isinstance(found, dict) or found.get("node_type") != "group":
        return ""
    attributes = found.get("attributes") or {}
    return attributes.get("format", "") if attributes else None


def lock(path):
    """Make the folder, and keep other processes from writing into it; returns a handle to close."""
    try:
        os.makedirs(path, exist_ok=True)
        handle = os.open(os.path.join(path, LOCK), os.O_RDWR | os.O_CREAT, 0o644)
    except OSError as error:
        kind = PermissionError if error.errno in (errno.EACCES, errno.EPERM, errno.EROFS) else type(error)
        raise kind(f"out={path!r} cannot be written to: {error.strerror}") from error
    if fcntl is None:
        return handle
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError as error:
        os.close(handle)
        raise FileExistsError(f"out={path!r} is being written by another process") from error
    except OSError:  # a file system without locks
        pass
    return handle


def empty(path):
    """Remove an earlier store, which `check_free` has seen to be one.

    The record of progress goes last: what is cut off can be begun anew again.
    """
    for name in (GROUP, CAPTIONS, REJECTS, JOURNAL):
        with contextlib.suppress(FileNotFoundError):
            shutil.rmtree(os.path.join(path, name))
    with contextlib.suppress(FileNotFoundError):
        os.remove(os.path.join(path, PROGRESS))
