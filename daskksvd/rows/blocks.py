"""Blocks of arrays that others made, checked whenever one is read: type, shape, byte order, masks."""

import sys
from typing import NamedTuple

import dask.array as da
import numpy as np
from dask._task_spec import Task, TaskRef  # noqa: PLC2701  nodes of graphs have no public name
from dask.base import tokenize
from dask.highlevelgraph import HighLevelGraph

ALLOWED = "float16, float32, float64, integer or bool"
"""Types that samples may have."""


class MaskedRows(ValueError):
    """Rows with masked values were read."""


class Declared(NamedTuple):
    """What an array says about one of its blocks.

    Attributes
    ----------
    number : str
        Which block, for messages.
    first : int
        Its first row.
    shape : tuple of int
    dtype : numpy.dtype
        In the byte order of the machine.
    name : str
        What messages call the array.
    """

    number: str
    first: int
    shape: tuple
    dtype: np.dtype
    name: str

    def __str__(self):
        return f"{self.name} has a block (number {self.number}, {rows_text(self.first, self.shape[0])})"


def rows_text(first, count):
    """Some rows in words."""
    return f"row {first}" if count == 1 else f"rows {first} to {first + count - 1}"


def native(dtype):
    """A dtype in the byte order of the machine."""
    return np.dtype(dtype).newbyteorder("=")


def is_real(dtype):
    """Whether samples may be of a dtype, in any byte order."""
    dtype = np.dtype(dtype)
    return dtype.kind in "fiub" and dtype.itemsize <= 8


def checked(array, name="array", tokens=()):
    """A Dask array whose blocks are checked, and turned into the machine's byte order, as they are read.

    What a block is shows only then: the graph may hold anything. No block of
    another shape than declared is used, which would lose rows, and masks are
    not dropped.

    Parameters
    ----------
    array : dask.array.Array
        Two-dimensional, of known chunks.
    name : str
        What messages call it.
    tokens : sequence
        What beside the name of the array its content depends on.

    Returns
    -------
    dask.array.Array
        Blocks are plain arrays, or masked ones where some values are masked.
    """
    dtype = native(array.dtype)
    label = f"checked-{tokenize(array.name, name, *tokens)}"
    graph = {}
    first = 0
    for i, height in enumerate(array.chunks[0]):
        for j, width in enumerate(array.chunks[1]):
            number = str(i) if array.numblocks[1] == 1 else f"({i}, {j})"
            declared = Declared(number, first, (height, width), dtype, name)
            key = (label, i, j)
            graph[key] = Task(key, check_block, TaskRef((array.name, i, j)), declared)
        first += height
    graph = HighLevelGraph.from_collections(label, graph, dependencies=[array])
    return da.Array(graph, label, array.chunks, meta=np.empty((0, 0), dtype))


def check_block(block, declared):
    """One block as an array of the shape declared.

    Raises
    ------
    TypeError, ValueError
        If it is sparse, not of real numbers, or of another shape.
    """
    if hasattr(block, "todense") and not isinstance(block, np.ndarray):
        raise TypeError(
            f"{declared} that is sparse ({type(block).__name__}); it must be dense: "
            "let map_blocks call todense()"
        )
    if not isinstance(block, np.ndarray):
        try:
            block = np.asarray(block)
        except Exception as error:
            raise TypeError(f"{declared} that is no array ({type(error).__name__}: {error})") from error
    if not is_real(block.dtype):
        raise TypeError(
            f"{declared} of dtype {block.dtype}, where {declared.dtype} was declared; it must be {ALLOWED}"
        )
    if block.shape != declared.shape:
        raise ValueError(
            f"{declared} of shape {block.shape}, where {declared.shape} was declared; "
            "say the true chunks, for example map_blocks(..., chunks=)"
        )
    dtype = native(block.dtype)
    if np.can_cast(dtype, declared.dtype, "safe"):
        dtype = declared.dtype
    block = block.astype(dtype, copy=False)
    if not np.ma.is_masked(block):
        return np.asarray(block)
    if "distributed" in sys.modules:
        from .inputs import masks  # noqa: F401  which are kept from here on
    return block


def plain(block, first=0, name="array"):
    """A block that must have no masked values, as a NumPy array; ``first`` is the number of its first row."""
    if np.ma.isMaskedArray(block):
        rows = masked_rows(block)
        if rows.any():
            inside = rows_text(first, len(rows))
            raise MaskedRows(masked_text(rows.sum(), first + int(np.argmax(rows)), name, f" in {inside}"))
    return np.asarray(block)


def masked_rows(block):
    """Which rows of a masked array have masked values."""
    return np.ma.getmaskarray(block).any(axis=1)


def masked_text(count, first, name="array", where=""):
    """Why rows with masked values are refused."""
    return (
        f"{name} has {count} row{'s' if count > 1 else ''} with masked values{where}, the first is row "
        f"{first}; there is nothing to code where values are missing: leave these rows out, or fill them"
    )
