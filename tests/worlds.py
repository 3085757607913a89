"""Small worlds in which it is known which atom stands for which word, or was drawn for which row."""

from typing import NamedTuple

import numpy as np
import scipy.sparse as sp


def named_world(n=1200, m=12, v=20, k=3, *, noise=0.05, seed=0, independent=False):
    """Codes whose atom j is used where word j occurs, and words.

    Samples have ``k`` of the first ``m`` words and some noise words; atoms of
    odd number are used with negative coefficients.

    Returns
    -------
    codes : (n, m) csr_matrix
    words : (n, v) csr_matrix of 0 and 1
    """
    rng = np.random.default_rng(seed)
    true = np.zeros((n, v), bool)
    for row in true:
        row[rng.choice(m, k, replace=False)] = True
    words = (true & (rng.random((n, v)) > noise)) | (rng.random((n, v)) < noise)
    used = (true[:, :m] & (rng.random((n, m)) > noise)) | (rng.random((n, m)) < noise / 4)
    signs = np.where(np.arange(m) % 2, -1.0, 1.0)
    codes = used * signs * rng.uniform(1, 2, (n, m))
    if independent:
        words = words[rng.permutation(n)]
    return sp.csr_matrix(codes), sp.csr_matrix(words.astype(float))


def as_captions(words, names):
    """Text for a matrix of words: one caption a sample, in a list."""
    return [" ".join(names[column] for column in words[row].indices) for row in range(words.shape[0])]


class PositiveWorld(NamedTuple):
    """Rows of positive sums of known atoms, and noise.

    Attributes
    ----------
    rows : (n, d) float32 array
    codes : (n, m) float array
    atoms : (m, d) float array
    """

    rows: np.ndarray
    codes: np.ndarray
    atoms: np.ndarray

    def score(self, result):
        """F1 of which atoms rows have, and the share of wrong ones among those found."""
        cosines = result.dictionary.values @ self.atoms.T
        found = result.encode(self.rows).compute().tocsr().toarray()[:, cosines.argmax(axis=0)] > 0
        true = self.codes > 0
        return 2 * (found & true).sum() / (found.sum() + true.sum()), 1 - (found & true).sum() / found.sum()


def nonnegative_world(n, m, d, active, *, noise, seed):
    """A `PositiveWorld` in which rows have ``active`` atoms on average, some atoms more often than others."""
    rng = np.random.default_rng(seed)
    atoms = rng.standard_normal((m, d))
    atoms /= np.linalg.norm(atoms, axis=1, keepdims=True)
    often = active * np.linspace(0.5, 1.5, m) / m
    codes = (rng.random((n, m)) < often) * rng.uniform(1, 2, (n, m))
    return PositiveWorld(
        (codes @ atoms + noise * rng.standard_normal((n, d))).astype(np.float32), codes, atoms
    )
