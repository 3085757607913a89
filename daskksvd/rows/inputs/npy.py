"""A .npy file as an array whose rows are read where and when they are needed."""

import os

import numpy as np
from numpy.lib.format import open_memmap

from ..blocks import native


class NpyFile:
    """A .npy file that travels to workers as a path, unlike a memory-mapped array.

    Parameters
    ----------
    path : str
        Absolute.

    Raises
    ------
    ValueError
        If the file is damaged, or has Python objects in it.
    """

    def __init__(self, path):
        mapped = open_memmap(path, mode="r")
        self.path = path
        self.shape = mapped.shape
        self.ndim = mapped.ndim
        self.dtype = native(mapped.dtype)
        self.nbytes = mapped.nbytes

    def __getitem__(self, index):
        return np.array(open_memmap(self.path, mode="r")[index], self.dtype, order="C")

    def __dask_tokenize__(self):
        found = os.stat(self.path)
        return (type(self).__name__, self.path, found.st_size, found.st_mtime_ns, found.st_ino)


def open_npy(path, name="array"):
    """The array in a .npy file; ``name`` is what messages call it."""
    try:
        return NpyFile(path)
    except ValueError as error:
        raise ValueError(f"{name} is {path!r}, which is no .npy file of plain numbers ({error})") from error
