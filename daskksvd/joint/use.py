"""How often atoms of two codes are used on the same rows, and how often on shuffled ones: one pass."""

from typing import NamedTuple

import numpy as np
import scipy.sparse as sp

from ..coding.products import code_rows
from ..execution import Blueprint, given
from ..machine.blas import single_threaded_blas
from .pairs import pair_jobs

MOST_BYTES = 2**28
"""Of the counts of several shuffles, gathered in one pass; more take further passes."""

LEAST_USES = 20
"""Pairs that must use a side for it to be matched: of fewer, chance correlations are large."""


class Uses(NamedTuple):
    """Counts over pairs; a side is an atom, or m + the atom where its coefficient is negative.

    Attributes
    ----------
    count : int
        Pairs.
    images, texts : (2 m,) int64 arrays
        Pairs whose code of the image alone, and of the text alone, uses each side.
    image_energy, text_energy : (m,) float64 arrays
        Sums of squared coefficients.
    together : (2 m, 2 m') int64 array
        Pairs that use a side in the image, and another in the text.
    shuffled : (s, 2 m, 2 m') int32 array
        The same with texts shuffled within their pieces of a chunk.
    common : int
        Pairs that have any atom, with its sign, in both; meant for one dictionary of both.
    """

    count: int  # type: ignore[assignment]
    images: np.ndarray
    texts: np.ndarray
    image_energy: np.ndarray
    text_energy: np.ndarray
    together: np.ndarray
    shuffled: np.ndarray
    common: int

    @property
    def phi(self):
        """Correlation of the uses of all sides, (2 m, 2 m'); 0 where a side has fewer than `LEAST_USES`."""
        return correlation(self.count, self.images, self.texts, self.together)


def correlation(count, first, second, together):
    """Pearson's correlation of uses; 0 where there are hardly any."""
    first, second = (np.where(uses < LEAST_USES, 0, uses) for uses in (first, second))
    spread = np.sqrt(np.outer(first * (count - first), second * (count - second)).astype(np.float64))
    covariance = count * together.astype(np.float64) - np.outer(first, second).astype(np.float64)
    return np.divide(covariance, spread, out=np.zeros(together.shape), where=spread > 0)


def count_uses(pairs, image_coder, text_coder, executor, begin=None, end=None, shuffles=(), seed=0):
    """Code images and texts of pairs apart, and count.

    Parameters
    ----------
    pairs : Pairs
    image_coder, text_coder : SparseCoder
    executor : execution.Executor
    begin, end : list of int, optional
        Rows of every chunk, as for `rows.cut_pieces`.
    shuffles : sequence of int
        Numbers of the shuffles to count as well.
    seed : int

    Returns
    -------
    Uses
    """
    reader, jobs = pair_jobs(pairs, executor, begin, end)
    about = given((pairs.d, tuple(shuffles), seed))
    return reader.reduce(USES, jobs, image_coder.shared(), text_coder.shared(), about)


def shuffles_a_pass(image_coder, text_coder):
    """How many shuffles' counts are gathered together."""
    return max(1, MOST_BYTES // (16 * len(image_coder.dictionary) * len(text_coder.dictionary)))


def _job_uses(job, inputs, image_products, text_products, about):
    d, shuffles, seed = about
    parts = []
    with single_threaded_blas():
        for piece, rows in job.read(inputs):
            images, image_energy = _sides(rows[:, :d], image_products, piece.offset)
            texts, text_energy = _sides(rows[:, d:-2], text_products, piece.offset)
            shuffled = np.empty((len(shuffles), images.shape[1], texts.shape[1]), np.int32)
            for number, shuffle in enumerate(shuffles):
                order = np.random.default_rng([seed, shuffle, piece.offset]).permutation(len(rows))
                shuffled[number] = (images.T @ texts[order]).toarray()
            same = images.multiply(texts).sum(axis=1) if images.shape == texts.shape else np.zeros(1)
            counts = [np.asarray(sides.sum(axis=0), np.int64).ravel() for sides in (images, texts)]
            together = (images.T @ texts).toarray().astype(np.int64)
            common = int((np.asarray(same) > 0).sum())
            parts.append(Uses(len(rows), *counts, image_energy, text_energy, together, shuffled, common))
            if len(parts) > 1:
                parts = [_add(parts)]
    return parts[0]


def _sides(rows, products, offset):
    """Which sides rows use, (n, 2 m) CSR of ones, and the sums of squares of their coefficients."""
    codes = code_rows(np.ascontiguousarray(rows), products, offset)
    m, used = products.n_components, (codes.indices >= 0) & (codes.values != 0)
    values = codes.values[used].astype(np.float64)
    columns = codes.indices[used].astype(np.int64)
    row = np.repeat(np.arange(len(rows)), used.sum(axis=1))
    sides = columns + np.where(values < 0, m, 0)
    matrix = sp.csr_array((np.ones(len(row), np.int32), (row, sides)), shape=(len(rows), 2 * m))
    return matrix, np.bincount(columns, values**2, m)


def _add(parts):
    return Uses(*(sum(values) for values in zip(*parts, strict=True)))


USES = Blueprint(_job_uses, _add)
