"""Rows of many files behind one another, read where they are asked for."""

from __future__ import annotations

import os
from typing import NamedTuple

import numpy as np

PIECE_BYTES = 32 * 2**20
"""Bytes as stored that are read at once where some tokens of images are left out: two chunks, so that one
of all patches but the class token is read in one piece."""

BATCH_BYTES = 2**20
"""Bytes of vectors that are decoded at once of a row group, about."""


class Part(NamedTuple):
    """Rows in one file of numbers.

    Attributes
    ----------
    path : str
    n : int
        Rows, each a token or an image.
    dtype : str
        As stored; ``"bfloat16"`` becomes float32.
    offset : int
        Byte at which the numbers begin.
    shape : (int, int, int, int)
        Examples, layers, tokens and features of the array in the file.
    layer : int
        Which of the layers rows are of.
    """

    path: str
    n: int
    dtype: str
    offset: int
    shape: tuple[int, int, int, int]
    layer: int = 0

    def read(self, first: int, last: int) -> np.ndarray:
        """Rows [first, last), (rows, d)."""
        tokens, d = self.shape[2:]
        stored = "<u2" if self.dtype == "bfloat16" else self.dtype
        mapped = np.memmap(self.path, stored, "r", self.offset, self.shape)
        start, stop = first // tokens, -(-last // tokens)
        found = np.array(mapped[start:stop, self.layer]).reshape(-1, d)
        found = found[first - start * tokens : last - start * tokens]
        if self.dtype == "bfloat16":
            return (found.astype(np.uint32) << 16).view(np.float32)
        return found


class TableRows(NamedTuple):
    """Vectors in one row group of a Parquet file.

    Attributes
    ----------
    path : str
    n : int
    group : int
    column : str
    d : int
    """

    path: str
    n: int
    group: int
    column: str
    d: int

    def read(self, first: int, last: int) -> np.ndarray:
        """Rows [first, last), (rows, d) float32 or float64."""
        import pyarrow.parquet as pq

        found, start = [], 0
        with pq.ParquetFile(self.path, buffer_size=BATCH_BYTES) as file:
            for batch in file.iter_batches(
                max(1, BATCH_BYTES // (8 * self.d)), row_groups=[self.group], columns=[self.column]
            ):
                column = batch.column(0)[max(0, first - start) : max(0, last - start)]
                if len(column):
                    found.append(vectors_of(column, self.path, self.column, self.d))
                start += batch.num_rows
                if start >= last:
                    break
        return np.concatenate(found)


def vectors_of(column, path, name, d=None):
    """A column of lists of numbers as an array."""
    import pyarrow as pa

    if column.null_count:
        raise ValueError(f"{path!r}: column {name!r} has {column.null_count} rows without a vector")
    values = column.flatten()
    if values.null_count:
        raise ValueError(f"{path!r}: column {name!r} has vectors with missing numbers")
    lengths = (
        {column.type.list_size}
        if pa.types.is_fixed_size_list(column.type)
        else set(np.unique(np.asarray(column.value_lengths())).tolist())
    )
    if len(column) and lengths != {d or next(iter(lengths))}:
        raise ValueError(
            f"{path!r}: column {name!r} has vectors of {', '.join(map(str, sorted(lengths)[:3]))} numbers; "
            f"all must have {d or 'the same'}"
        )
    numbers = values.to_numpy(zero_copy_only=False)
    return numbers.reshape(len(column), -1)


class Rows:
    """Rows of several parts as one array, of some tokens of each image.

    Parameters
    ----------
    parts : list of Part or TableRows
    d : int
    dtype : numpy.dtype
    tokens : int
        Rows of an image as stored.
    kept : (int, int)
        First and last + 1 of the tokens that are rows here.
    """

    ndim = 2

    def __init__(self, parts, d, dtype, tokens=1, kept=(0, 1)):
        self._parts, self._tokens, self._kept = parts, tokens, kept
        self._starts = np.cumsum([0, *(part.n for part in parts)])
        self.dtype = np.dtype(dtype)
        self.shape = (int(self._starts[-1]) // tokens * (kept[1] - kept[0]), d)

    def __getitem__(self, index):
        rows, columns = index
        start, stop, step = rows.indices(self.shape[0])
        if step != 1:
            return self[start:stop, columns][::step] if step > 0 else self[:, columns][rows]
        low, high = self._kept
        each = high - low
        first, last = start // each, max(-(-stop // each), start // each)
        if each == self._tokens:
            found = self._stored(first * each, last * each)
        else:
            found = np.empty((last - first, each, self.shape[1]), self.dtype)
            size = max(1, PIECE_BYTES // (self._tokens * self.shape[1] * self.dtype.itemsize))
            for image in range(first, last, size):
                until = min(image + size, last)
                found[image - first : until - first] = self._stored(
                    image * self._tokens, until * self._tokens
                ).reshape(-1, self._tokens, self.shape[1])[:, low:high]
            found = found.reshape(-1, self.shape[1])
        return np.ascontiguousarray(found[start - first * each : stop - first * each, columns])

    def _stored(self, first, last):
        """Rows as stored."""
        found = []
        for part, start in zip(self._parts, self._starts[:-1].tolist(), strict=True):
            low, high = max(first - start, 0), min(last - start, part.n)
            if low < high:
                found.append(part.read(low, high).astype(self.dtype, copy=False))
        if len(found) == 1:
            return found[0]
        return np.concatenate([np.empty((0, self.shape[1]), self.dtype), *found])

    def __dask_tokenize__(self):
        facts = [(part, os.stat(part.path).st_size, os.stat(part.path).st_mtime_ns) for part in self._parts]
        return type(self).__name__, facts, self.shape, self._tokens, self._kept
