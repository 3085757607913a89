"""Checkpoints: one file, written beside its place and then moved there."""

import json
import os
import zipfile

import numpy as np

from ..machine.files import DiskFull, absolute, replaced, telling_disk_full

FORMAT = 1


class Checkpointer:
    """Writes the state of a fit at most every ``interval`` seconds of a pass.

    Parameters
    ----------
    path : path
        The checkpoint file.
    """

    def __init__(self, path):
        self.path = local_path(path)
        parent = os.path.dirname(self.path)
        if os.path.isdir(self.path):
            raise ValueError(f"checkpoint={self.path!r} is a directory; it must be the path of a file")
        os.makedirs(parent, exist_ok=True)
        if not os.access(parent, os.W_OK):
            raise PermissionError(f"checkpoint={self.path!r}: cannot write in {parent!r}")

    def write(self, header, arrays):
        """Replace the checkpoint; whoever reads sees the old one or the new one.

        Parameters
        ----------
        header : dict
            Plain values.
        arrays : dict of str to array

        Raises
        ------
        OSError
            If it cannot be written: the message names the path. What was there stays.
        """
        text = json.dumps({"format": FORMAT, **header})
        need = len(text) + sum(array.nbytes for array in arrays.values())
        try:
            with (
                telling_disk_full(self.path, need),
                replaced(self.path) as temporary,
                open(temporary, "xb", opener=_for_its_owner) as file,
            ):
                np.savez(file, header=np.frombuffer(text.encode(), np.uint8), **arrays)
                file.flush()
                os.fsync(file.fileno())
        except DiskFull:
            raise
        except OSError as error:
            why = error.strerror or error
            raise OSError(error.errno, f"checkpoint={self.path!r} cannot be written ({why})") from error


def _for_its_owner(path, flags):
    """Open a file that only who makes it can read."""
    return os.open(path, flags, 0o600)


def local_path(path):
    """The absolute path of a checkpoint; ``~`` and ``file://`` are made out."""
    path = absolute(path)
    if "://" in path:
        raise ValueError(f"checkpoint={path!r} is a URL; it must be the path of a local file")
    return path


def load_checkpoint(path):
    """Header and arrays of a checkpoint, or None where there is no file yet.

    Raises
    ------
    ValueError
        If the file is not a checkpoint of daskksvd.
    """
    path = local_path(path)
    if not os.path.exists(path):
        return None
    try:
        with np.load(path, allow_pickle=False) as file:
            arrays = {name: file[name] for name in file.files}
        header = json.loads(arrays.pop("header").tobytes())
    except (ValueError, KeyError, TypeError, OSError, EOFError, zipfile.BadZipFile) as error:
        raise ValueError(
            f"checkpoint={path!r} is not a checkpoint of daskksvd ({type(error).__name__}); "
            "name another path, or remove the file to start anew"
        ) from error
    if header.get("format") != FORMAT:
        raise ValueError(
            f"checkpoint={path!r} has format {header.get('format')}; this version reads {FORMAT}"
        )
    return header, arrays
