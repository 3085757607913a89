"""The hidden folder beside a path in which it is written, and how what is whole takes its place.

The folder's name follows from the path's, and a lock in it says that its owner lives: the next
process that writes there finds what a killed one left, goes on with it or removes it.
"""

import contextlib
import ctypes
import errno
import hashlib
import os
import shutil
import time

try:
    import fcntl
except ImportError:  # no such locks on Windows
    fcntl = None  # type: ignore[assignment]

WAIT = 60.0
"""Seconds to wait for another writer of the same path."""

_LONGEST = 200
"""Bytes of a name that are kept in that of its folder; file systems allow 255."""

_LOCK, _INNER, _OLD = "lock", "new", "old"
_AT_CWD, _EXCHANGE = -100, 2


class Place:
    """The folder beside ``path``, held by this process alone while it is entered.

    Parameters
    ----------
    path : str
        Absolute; what is to be written.
    wait : float
        Seconds to wait for another owner to end.

    Attributes
    ----------
    folder : str
    inner : str
        Where in it to write.
    keep : bool
        Whether what is there stays when this process lets go of it.

    Raises
    ------
    FileExistsError
        If another process holds it.
    """

    def __init__(self, path, wait=WAIT):
        self.path, self.wait = path, wait
        self.folder = folder_of(path)
        self.inner = os.path.join(self.folder, _INNER)
        self.keep = False
        self._lock = None

    def __enter__(self):
        try:
            os.makedirs(os.path.dirname(self.path), exist_ok=True)
            self._lock = _hold(self.folder, self.wait)
        except OSError as error:
            if error.errno not in (errno.EACCES, errno.EPERM, errno.EROFS):
                raise
            told = PermissionError(f"path={self.path!r} cannot be written to: {error.strerror}")
            told.errno = error.errno
            raise told from error
        if self._lock is None:
            raise FileExistsError(
                f"path={self.path!r} is being written by another process; let it end, or name another path"
            )
        try:
            _finish_move(self.path)
        except BaseException:
            _let_go(self._lock)
            raise
        return self

    def __exit__(self, *error):
        try:
            if not self.keep:
                self.clear()
                _remove(self.folder)
        finally:
            _let_go(self._lock)

    def clear(self):
        """Remove what is in the folder, but the lock."""
        for name in os.listdir(self.folder):
            if name != _LOCK:
                _delete(os.path.join(self.folder, name))

    def move(self):
        """Put what is at ``inner`` at the path; what was there goes when the folder does.

        At no time is neither of them at the path where the system can exchange two
        names; elsewhere `recover` ends a move that was cut off.
        """
        if not os.path.lexists(self.path):
            os.rename(self.inner, self.path)
        elif not _exchange(self.inner, self.path):
            old = os.path.join(self.folder, _OLD)
            try:
                os.rename(self.path, old)
                os.rename(self.inner, self.path)
            except BaseException:
                if os.path.lexists(old) and not os.path.lexists(self.path):
                    os.rename(old, self.path)
                raise


def folder_of(path):
    """The hidden folder that belongs to a path."""
    parent, name = os.path.split(path)
    if len(os.fsencode(name)) > _LONGEST:
        name = hashlib.sha256(os.fsencode(name)).hexdigest()
    return os.path.join(parent, f".daskksvd-{name}.partial")


def recover(path):
    """Put back what a process that was killed had moved out of the way of a new store."""
    folder = folder_of(path)
    if os.path.lexists(path) or not os.path.lexists(os.path.join(folder, _OLD)):
        return
    lock = None
    with contextlib.suppress(OSError):
        lock = _hold(folder, WAIT)
    if lock is not None:
        try:
            with contextlib.suppress(OSError):  # a folder that cannot be written to
                _finish_move(path)
        finally:
            _let_go(lock)


def _finish_move(path):
    """End a move that was cut off between its two renames: the new store was whole by then."""
    folder = folder_of(path)
    old, new = os.path.join(folder, _OLD), os.path.join(folder, _INNER)
    if os.path.lexists(old) and not os.path.lexists(path):
        os.rename(new if os.path.lexists(new) else old, path)


def _hold(folder, wait):
    """Make the folder and lock it; the lock's handle, or None if another process has it all the time."""
    deadline = time.monotonic() + wait
    while True:
        os.makedirs(folder, exist_ok=True)
        try:
            handle = os.open(os.path.join(folder, _LOCK), os.O_RDWR | os.O_CREAT, 0o644)
        except FileNotFoundError:  # removed this moment by who held it
            continue
        try:
            if fcntl is not None:
                fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
            if _is_at(handle, os.path.join(folder, _LOCK)):
                return handle
            os.close(handle)
        except BlockingIOError:
            os.close(handle)
            if time.monotonic() >= deadline:
                return None
            time.sleep(0.02)
        except OSError:  # a file system without locks
            return handle


def _is_at(handle, path):
    """Whether an open file is the one at a path, not one that was removed."""
    try:
        return os.path.samestat(os.fstat(handle), os.stat(path))
    except FileNotFoundError:
        return False


def _let_go(handle):
    os.close(handle)


def _remove(folder):
    """Remove a folder that holds a lock only, or leave it to who took it meanwhile."""
    with contextlib.suppress(OSError):
        os.remove(os.path.join(folder, _LOCK))
        os.rmdir(folder)


def _delete(path):
    if os.path.isdir(path) and not os.path.islink(path):
        shutil.rmtree(path, ignore_errors=True)
    else:
        with contextlib.suppress(OSError):
            os.remove(path)


def _exchange(one, other):
    """Let two paths change their places at once; whether the system could."""
    try:
        rename = ctypes.CDLL(None, use_errno=True).renameat2
    except (OSError, AttributeError, TypeError):  # Linux only
        return False
    return rename(_AT_CWD, os.fsencode(one), _AT_CWD, os.fsencode(other), _EXCHANGE) == 0
