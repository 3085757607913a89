"""Codes without pursuit: one product gives every atom a score, the best are taken, and refitted."""

from typing import NamedTuple

import numpy as np

from ..machine.blas import product_by_rows

GATHERED_ROWS = 128
"""Rows whose atoms are gathered together: a few megabytes."""

REFIT_RIDGE = 1e-6
"""Added to the squared norms of the atoms of a support, where twins may be."""


class OneShot(NamedTuple):
    """A linear map from transformed rows to scores of atoms, and what is made of scores.

    Attributes
    ----------
    weights : (m, d') float array
        ``scores = rows @ weights.T + bias``; a sign is that of the coefficient.
    bias : (m,) float array
    gains : (m,) float array
        Times a score of those taken they are its coefficient, where there is no refit.
    threshold : float
        Scores above it are on average as many as coefficients that pursuit takes.
    """

    weights: np.ndarray
    bias: np.ndarray
    gains: np.ndarray
    threshold: float

    def cast(self, dtype):
        """The same in the dtype of the computation."""
        return OneShot(*(part.astype(dtype) for part in self[:3]), self.threshold)


def score(rows, encoder):
    """Scores of all atoms, (n, m), of rows (n, d')."""
    scores = product_by_rows(rows, encoder.weights.T)
    scores += encoder.bias
    return scores


def choose(scores, encoder, target):
    """The atoms of the largest scores of every row.

    As many as ``target`` has nonzeros; where it may end a row sooner (``rtol``, ``threshold``), only those
    whose scores are above the encoder's threshold; of non-negative codes only those of positive scores.

    Parameters
    ----------
    scores : (n, m) float array
    encoder : OneShot
    target : SparsityTarget

    Returns
    -------
    indices : (n, width) int32 array
        Largest first, all of them filled.
    used : (n, width) bool array
        Which of them count.
    """
    width = min(target.n_nonzero_coefs, scores.shape[1])
    strength = scores if target.nonnegative else np.abs(scores)
    place = scores.shape[1] - width
    indices = np.argpartition(strength, place, axis=1)[:, place:] if place else _all(scores.shape)
    taken = np.take_along_axis(strength, indices, 1)
    order = np.argsort(-taken, axis=1, kind="stable")
    indices, taken = (np.take_along_axis(values, order, 1) for values in (indices, taken))
    early = target.rtol > 0 or target.threshold > 0
    used = taken > (encoder.threshold if early else 0)
    return indices.astype(np.int32), used


def _all(shape):
    return np.tile(np.arange(shape[1]), (shape[0], 1))


def refit(rows, dictionary, inner, indices, used, positive):
    """Least squares of rows on the atoms chosen.

    Non-negative codes leave out atoms of negative coefficients until there are none.

    Parameters
    ----------
    rows : (n, d') float array
    dictionary : (p, d') float array
    inner : (p, p) float array
        Inner products of the atoms; empty where there are too many.
    indices : (n, width) int32 array
    used : (n, width) bool array
        Which of the indices count.
    positive : bool

    Returns
    -------
    values : (n, width) float64 array
        0 where unused.
    explained : (n,) float64 array
        The part of the rows' squared norms that the codes capture.
    """
    values, explained = np.zeros(indices.shape), np.zeros(len(rows))
    for start in range(0, len(rows), GATHERED_ROWS):
        at = slice(start, start + GATHERED_ROWS)
        own = indices[at]
        atoms = dictionary[own]
        right = np.matmul(atoms, rows[at, :, None])[..., 0].astype(np.float64)
        products = inner[own[:, :, None], own[:, None, :]] if inner.size else atoms @ atoms.swapaxes(1, 2)
        gram = products.astype(np.float64)
        values[at] = x = _solve(gram, right, used[at], positive)
        explained[at] = 2 * (right * x).sum(axis=1) - np.einsum("ni,nij,nj->n", x, gram, x)
    return values, explained


def _solve(gram, right, used, positive):
    """Solutions of small systems, one a row, zero for what is not used."""
    diagonal = np.eye(gram.shape[1])
    while True:
        both = used[:, :, None] & used[:, None, :]
        matrix = np.where(both, gram, 0) + diagonal * np.where(used, REFIT_RIDGE, 1.0)[:, :, None]
        x = np.linalg.solve(matrix, np.where(used, right, 0.0)[..., None])[..., 0]
        if not positive or (x >= 0).all():
            return x
        used = used & (x > 0)


def unused_last(indices, values):
    """Codes of fixed width (n, k) as they are stored: -1 where a coefficient is zero, those last."""
    order = np.argsort(values == 0, axis=1, kind="stable")
    indices, values = (np.take_along_axis(part, order, 1) for part in (indices, values))
    return np.where(values == 0, np.int32(-1), indices), values
