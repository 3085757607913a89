"""Codes of any kind as tables of their nonzeros, a range of rows at a time."""

import math
import os

import numpy as np
import pandas as pd
import scipy.sparse as sp

COUNT_ROWS = 2**16
"""Rows of one task that joins words with codes. Its counts are words x atoms, so smaller tasks
would spend their time on making and adding those."""


class CodeRows:
    """Codes, n x m, cut into ranges of rows along their chunks.

    Attributes
    ----------
    n, m : int
    edges : list of int
        Bounds of the ranges, from 0 to n.
    """

    def __init__(self, blocks, starts, m, size):
        self.n, self.m = starts[-1], m
        self._blocks, self._starts = blocks, starts
        self.edges = cut_edges(starts, size)

    def delayed(self, low, high):
        """Nonzeros of rows [low, high), a frame as `nonzeros` makes it, as a delayed value."""
        import dask

        first = int(np.searchsorted(self._starts, low, side="right")) - 1
        last = int(np.searchsorted(self._starts, high, side="left"))
        blocks, starts = self._blocks[first:last], self._starts[first:last]
        if not hasattr(blocks[0], "dask"):  # a matrix in memory: send the rows of the range only
            blocks, starts = [blocks[0][low:high]], [low]
        return dask.delayed(nonzeros, pure=False)(blocks, starts, low, high, self.m)


def open_code_rows(codes, *, size=None):
    """Codes from wherever they are.

    Parameters
    ----------
    codes : path, dask.array.Array, sparse.COO, SciPy sparse or dense array
        n x m, one row a sample; a path names what `Result.write_codes` wrote.
    size : int, optional
        Rows of a range, about.

    Returns
    -------
    CodeRows

    Raises
    ------
    FileNotFoundError, TypeError, ValueError
        If there are no codes, or they are no real matrix.
    """
    import dask.array as da

    size = size or COUNT_ROWS
    if isinstance(codes, (str, os.PathLike)):
        from .store import open_codes

        codes = open_codes(codes)
    shape = getattr(codes, "shape", None)
    if shape is None or len(shape) != 2 or not hasattr(codes, "dtype"):
        raise TypeError(
            f"codes is a {type(codes).__name__}{'' if shape is None else f' of shape {shape}'}; it must be a "
            "path, or a Dask, sparse or NumPy array, n x m"
        )
    if any(math.isnan(length) for length in shape):
        raise ValueError(
            f"codes has unknown chunk sizes (shape {shape}); call codes.compute_chunk_sizes() first"
        )
    if 0 in shape:
        raise ValueError(f"codes is empty: shape {tuple(shape)}; it must have a sample and an atom at least")
    if np.dtype(codes.dtype).kind not in "fiub":
        raise TypeError(f"codes has dtype {codes.dtype}; it must be real")
    n, m = (int(length) for length in shape)
    if isinstance(codes, da.Array):
        if codes.numblocks[1] > 1:
            codes = codes.rechunk({1: -1})
        starts = [0, *np.cumsum(codes.chunks[0]).tolist()]
        return CodeRows(list(codes.to_delayed().ravel()), starts, m, size)
    return CodeRows([as_csr(codes)], [0, n], m, size)


def cut_edges(starts, size):
    """Bounds of ranges of about ``size`` rows, where chunks start if those are smaller."""
    edges = [0]
    for start in starts[1:]:
        while start - edges[-1] >= 2 * size:
            edges.append(edges[-1] + size)
        if start - edges[-1] >= size:
            edges.append(start)
    return edges if edges[-1] == starts[-1] else [*edges, starts[-1]]


def as_csr(codes):
    """Codes in memory as a CSR matrix without stored zeros."""
    if hasattr(codes, "fill_value") and codes.fill_value != 0:
        raise ValueError(f"codes has fill value {codes.fill_value}; it must be 0")
    if codes.dtype == np.float16:  # which SciPy does not have
        codes = codes.astype(np.float32)
    if hasattr(codes, "tocsr"):
        matrix = sp.csr_matrix(codes.tocsr(), copy=True)
    elif hasattr(codes, "tocoo"):
        matrix = sp.csr_matrix(codes.tocoo().tocsr())
    else:
        matrix = sp.csr_matrix(np.asarray(codes))
    if not np.isfinite(matrix.data).all():
        raise ValueError("codes has NaN or infinite values; all must be finite")
    matrix.sum_duplicates()
    matrix.eliminate_zeros()
    return matrix


def nonzeros(blocks, starts, low, high, m):
    """Nonzeros of some rows.

    Parameters
    ----------
    blocks : list of (n_b, m) sparse or dense array
        Consecutive rows that cover [low, high).
    starts : list of int
        Number of the first row of each.
    low, high, m : int

    Returns
    -------
    pandas.DataFrame
        Indexed by row, ascending; ``side`` is the atom, or m + the atom where
        the coefficient is negative, and ``weight`` its absolute value.
    """
    rows, sides, weights = [], [], []
    for block, start in zip(blocks, starts, strict=True):
        matrix = as_csr(block)[max(0, low - start) : max(0, high - start)]
        lengths = np.diff(matrix.indptr)
        rows.append(np.repeat(max(low, start) + np.arange(len(lengths)), lengths))
        sides.append(matrix.indices.astype(np.int64) + np.where(matrix.data < 0, m, 0))
        weights.append(np.abs(matrix.data.astype(np.float64)))
    columns = {"side": np.concatenate(sides), "weight": np.concatenate(weights)}
    return pd.DataFrame(columns, index=pd.Index(np.concatenate(rows), name="row"))
