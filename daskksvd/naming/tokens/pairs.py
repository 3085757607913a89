"""Products of all pairs of sides, centred: a dense matrix, or a sparse one that is never written out."""

from __future__ import annotations

from typing import TYPE_CHECKING, TypeAlias

import numpy as np

if TYPE_CHECKING:
    import scipy.sparse as sp

DENSE_SIDES = 2**13
"""Sides of atoms up to which products of all pairs are a dense matrix: 512 MB in double precision."""


class CentredPairs:
    """``Z'Z - n mean mean'`` of a sparse ``Z'Z``.

    Parameters
    ----------
    pairs : (s, s) scipy.sparse.csr_matrix
        ``Z'Z``, symmetric.
    n : int
    mean : (s,) float64 array
    """

    def __init__(self, pairs: sp.csr_matrix, n: int, mean: np.ndarray) -> None:
        self.pairs, self.n, self.mean = pairs, n, mean

    def __len__(self) -> int:
        return len(self.mean)

    def __matmul__(self, vectors: np.ndarray) -> np.ndarray:
        return self.pairs @ vectors - np.outer(self.n * self.mean, self.mean @ vectors)

    def diagonal(self) -> np.ndarray:
        """Squares of the sides, centred, (s,)."""
        return self.pairs.diagonal() - self.n * self.mean**2

    def toarray(self) -> np.ndarray:
        """The matrix itself, (s, s)."""
        found = self.pairs.toarray()
        for row, mean in zip(found, self.n * self.mean, strict=True):  # no second matrix of that size
            row -= mean * self.mean
        return found

    def take(self, sides: np.ndarray) -> CentredPairs | np.ndarray:
        """Those of some sides; as an array where these are no more than `DENSE_SIDES`."""
        found = CentredPairs(self.pairs[sides][:, sides], self.n, self.mean[sides])
        return found.toarray() if len(sides) <= DENSE_SIDES else found


Pairs: TypeAlias = "np.ndarray | CentredPairs"


def take_pairs(pairs: Pairs, sides: np.ndarray) -> Pairs:
    """Those of some sides."""
    return pairs[np.ix_(sides, sides)] if isinstance(pairs, np.ndarray) else pairs.take(sides)


class Rest:
    """``Z'C - scale Z'Z V``, kept up to date as single rows of ``V`` change.

    Of sparse pairs a change touches only sides that are used with the side; what it takes off the mean is
    added up, and applied where a row is asked for.

    Parameters
    ----------
    joint : (s, e) float64 array
        ``Z'C``.
    pairs : (s, s) array or CentredPairs
    vectors : (s, e) float64 array
        ``V``.
    scale : float
    """

    def __init__(self, joint: np.ndarray, pairs: Pairs, vectors: np.ndarray, scale: float) -> None:
        self.values, self.pairs = joint - scale * (pairs @ vectors), pairs
        self.shift = np.zeros(joint.shape[1])

    def of(self, side: int) -> np.ndarray:
        """Row of a side, (e,)."""
        if isinstance(self.pairs, np.ndarray):
            return self.values[side]
        return self.values[side] + self.pairs.n * self.pairs.mean[side] * self.shift

    def change(self, side: int, scaled: np.ndarray) -> None:
        """Add (e,) to a row of ``scale V``."""
        if isinstance(self.pairs, np.ndarray):
            self.values -= np.outer(self.pairs[side], scaled)
            return
        matrix = self.pairs.pairs
        found = slice(*matrix.indptr[side : side + 2])
        self.values[matrix.indices[found]] -= np.outer(matrix.data[found], scaled)
        self.shift += self.pairs.mean[side] * scaled
