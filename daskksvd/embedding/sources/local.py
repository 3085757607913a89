"""The one rule for files that a data set, a table or a list names: they lie in its folder."""

import os
import pathlib

from .base import Failure
from .listing import is_inside


def local_file(folder, name, what):
    """The file that a name stands for, or why it must not be read.

    Parameters
    ----------
    folder : str
        Where relative names begin, and which no name may leave: not by ``..``, by
        an absolute path or by a link.
    name : str
    what : str
        What reasons call that which names it.

    Returns
    -------
    pathlib.Path or Failure
    """
    if "\0" in name:
        return Failure(f"{what} has no name of a file")
    root = os.path.realpath(folder)
    # with backslashes it means the same on another system
    for path in {name, name.replace("\\", "/")}:
        if not is_inside(os.path.join(root, path), root):
            return Failure(f"{what} names a file outside its folder")
    return pathlib.Path(root, name)
