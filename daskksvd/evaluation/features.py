"""Codes or embeddings of samples, read in blocks of rows."""

import numpy as np
import scipy.sparse as sp

from ..rows.blocks import plain
from ..tracking.parts import counted_by

READ_ROWS = 4096
"""Samples whose words are scored at once: 50 MB with 1,500 words."""

SUM_ROWS = 2**18
"""Samples of sparse features whose products are added up at once: the product of fewer is as
large, words x atoms, and would be added more often."""


class Sparse:
    """Sparse rows in memory.

    Parameters
    ----------
    matrix : (n, f) scipy.sparse.csr_matrix
    """

    def __init__(self, matrix):
        self.matrix = sp.csr_matrix(matrix)

    @property
    def shape(self):
        return self.matrix.shape

    def take(self, rows):
        """Some rows only."""
        return Sparse(self.matrix[rows])

    def blocks(self, size=READ_ROWS):
        """Yield the number of the first row and the rows of every block."""
        blocks = ((start, self.matrix[start : start + size]) for start in range(0, self.shape[0], size))
        return counted_by(blocks, self.shape[0], _height)

    def large_blocks(self):
        """The same for sums over rows, which sparse matrices make fastest of many at once."""
        return self.blocks(SUM_ROWS)


class Dense:
    """Rows of any array that `daskksvd.fit` takes, read chunk by chunk.

    Parameters
    ----------
    array : array-like, dask.array.Array, zarr.Array or path
        n x f.
    name : str
        What messages call it.
    """

    def __init__(self, array, name="embeddings"):
        from ..rows import as_source

        self.array = as_source(array, name).array
        self.name = name
        self.rows = np.arange(self.array.shape[0])

    @property
    def shape(self):
        return len(self.rows), self.array.shape[1]

    def take(self, rows):
        """Some rows only, given in rising order."""
        taken = Dense(self.array, self.name)
        taken.rows = self.rows[rows]
        return taken

    def blocks(self):
        """Yield the number of the first row and the rows, in float64, of every block."""
        return counted_by(self._blocks(), len(self.rows), _height)

    def _blocks(self):
        first, place = 0, 0
        for number, length in enumerate(self.array.chunks[0]):
            inside = self.rows[place : place + np.searchsorted(self.rows[place:], first + length)] - first
            if len(inside):
                chunk = plain(self.array.blocks[number].compute(), first, self.name)
                for start in range(0, len(inside), READ_ROWS):
                    chosen = inside[start : start + READ_ROWS]
                    block = chunk[chosen].astype(np.float64)
                    if not np.isfinite(block).all():
                        row = first + chosen[int(np.argmax(~np.isfinite(block).all(axis=1)))]
                        raise ValueError(
                            f"{self.name} has NaN or infinite values (row {row}); all must be finite"
                        )
                    yield place + start, block
            first, place = first + length, place + len(inside)

    large_blocks = blocks


def _height(numbered):
    """Rows of a block that comes with the number of its first one."""
    return numbered[1].shape[0]
