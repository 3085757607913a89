"""The law of SynthSAEBench: rows whose features are known, and what a dictionary found of them.

Rows are those of "SynthSAEBench: Evaluating Sparse Autoencoders on Scalable Realistic Synthetic Data"
(Chanin, Garriga-Alonso 2026), in version 2 of its model, where children are scaled by their parents. The
package draws a number for every feature of every row; here only features that can be active are looked at,
children where their parent is, which is the same law ten times as fast.
"""

import math
from typing import NamedTuple

import numba
import numpy as np
import scipy.optimize
import scipy.sparse
import scipy.special

RANK, SCALE = 25, 0.1
"""Of the factor that makes features fire together."""

BRANCHING, DEPTH = 4, 3
EXPONENT, MOST, LEAST = 0.5, 0.4, 5e-4
"""Probability of the r-th feature: a power of r, from the most to the least."""

MEANS, SPREAD, BIAS = (5.0, 4.0), (0.5, 0.5), 0.5
"""Mean magnitudes of the first and the last feature; mean and deviation of their deviations; norm."""

STEPS, RATE = 100, 3e-4
"""Of Adam, to make features more orthogonal."""

BLOCK = 2048
"""Rows drawn with one seed."""

_BINS, _FAR = 16, 8.0
"""Bins of a table of normal tails, each unit, and how far from zero it goes."""


class World(NamedTuple):
    """True features and how they fire.

    Attributes
    ----------
    features : (F, d) float32 array
        Unit vectors; the first are roots of trees, then come their children, level by level, then others.
    bias : (d,) float32 array
    probabilities : (F,) float64 array
        Marginal ones before parents and siblings have their say.
    means, deviations : (F,) float64 arrays
        Of magnitudes.
    factor : (F, r) float64 array
        ``factor @ factor.T`` and a diagonal are the correlations of the Gaussian copula.
    roots, first_child : int, (F,) int64 array
        Number of roots; the first of `BRANCHING` children that follow each other, -1 where there are none.
    """

    features: np.ndarray
    bias: np.ndarray
    probabilities: np.ndarray
    means: np.ndarray
    deviations: np.ndarray
    factor: np.ndarray
    roots: int
    first_child: np.ndarray

    def sample(self, n, seed):
        """``n`` rows, (n, d) float32, and the magnitudes of their features, an (n, F) CSR array."""
        rows = np.empty((n, self.features.shape[1]), np.float32)
        thresholds = -scipy.special.ndtri(self.probabilities)
        noise = np.sqrt(1 - (self.factor**2).sum(axis=1))
        low = np.arange(-_FAR, _FAR, 1 / _BINS)
        tails = scipy.special.ndtr(-low)
        looked = np.concatenate([np.arange(self.roots), np.arange(self._end_of_trees, len(self.features))])
        near = np.ascontiguousarray(self.factor[looked].T)
        parts = []
        for number, start in enumerate(range(0, n, BLOCK)):
            block = rows[start : start + BLOCK]
            parts.append(
                _draw(
                    np.random.default_rng([seed, number]), looked, near, self.factor, thresholds, noise,
                    tails, self.means, self.deviations, self.first_child, self.features, self.bias, block,
                )
            )  # fmt: skip
        counts, active, values = map(np.concatenate, zip(*parts, strict=True))
        ends = np.concatenate([[0], np.cumsum(counts)])
        return rows, scipy.sparse.csr_array((values, active, ends), shape=(n, len(self.features)))

    @property
    def _end_of_trees(self):
        return self.roots * sum(BRANCHING**level for level in range(DEPTH + 1))


def make_world(n_features, d, roots, seed):
    """A world of ``n_features`` in ``d`` dimensions with so many roots of trees.

    The published one has 16,384 features, 768 dimensions, 128 roots and seed 42, of other generators.
    """
    rng = np.random.default_rng(seed)
    features = rng.standard_normal((n_features, d))
    features = _orthogonalised(features / np.linalg.norm(features, axis=1, keepdims=True))
    bias = rng.standard_normal(d)
    factor = SCALE * rng.standard_normal((n_features, RANK))
    size = np.sqrt((factor**2).sum(axis=1, keepdims=True))
    factor *= np.minimum(1, np.sqrt(0.99) / size)
    first_child = np.full(n_features, -1)
    inner = roots * sum(BRANCHING**level for level in range(DEPTH))
    if inner * BRANCHING + roots > n_features:
        raise ValueError(f"{roots} roots have more than {n_features} features in their trees")
    first_child[:inner] = roots + BRANCHING * np.arange(inner)
    power = np.arange(1, n_features + 1) ** -EXPONENT
    base = LEAST + (MOST - LEAST) * (power - power[-1]) / (power[0] - power[-1])
    return World(
        features.astype(np.float32),
        (BIAS * bias / np.linalg.norm(bias)).astype(np.float32),
        _compensated(base, first_child[:inner]),
        np.linspace(*MEANS, n_features),
        np.abs(SPREAD[0] + SPREAD[1] * rng.standard_normal(n_features)),
        factor,
        roots,
        first_child,
    )


def _compensated(base, first_child):
    """Probabilities at which children fire if their parent does, so that all in all they do as ``base``."""
    probabilities = base.copy()
    for parent, first in enumerate(first_child):
        children = slice(first, first + BRANCHING)
        others = np.maximum(base[children].sum() - base[children], 0)
        probabilities[children] = base[children] / base[parent] * (1 + others / base[parent])
    # a threshold of minus infinity has no use here
    return np.minimum(probabilities, 1 - 1e-9)


def _orthogonalised(E):
    """Unit rows after some steps of Adam on the squares of their inner products."""
    n = len(E)
    first, second = np.zeros_like(E), np.zeros_like(E)
    for step in range(1, STEPS + 1):
        own = (E**2).sum(axis=1, keepdims=True)
        gradient = 4 * (E @ (E.T @ E) - own * E) + 4 * n * (own - 1) * E
        first += 0.1 * (gradient - first)
        second += 0.001 * (gradient**2 - second)
        scale = np.sqrt(second / (1 - 0.999**step)) + 1e-8
        E = E - RATE * first / (1 - 0.9**step) / scale
    return E / np.linalg.norm(E, axis=1, keepdims=True)


@numba.njit(nogil=True, cache=True)
def _fires(rng, threshold, shift, noise, tails):
    """Whether a normal number of deviation ``noise`` about ``shift`` is above a threshold."""
    t = (threshold - shift) / noise
    u = rng.random()
    k = int((t + _FAR) * _BINS)
    if k >= 0 and u > tails[min(k, len(tails) - 1)]:
        return False
    return u < 0.5 * math.erfc(t / np.sqrt(2.0))


@numba.njit(nogil=True, cache=True)
def _draw(
    rng, looked, near, factor, thresholds, noise, tails, means, deviations, first_child, features, bias, rows,
):  # fmt: skip
    """Fill rows; returns the number of active features of each, those features and their magnitudes."""
    n, d = rows.shape
    r = factor.shape[1]
    counts = np.zeros(n, np.int64)
    active, values = [0 for _ in range(0)], [0.0 for _ in range(0)]
    shifts = np.empty(len(looked))
    eps = np.empty(r)
    for row in range(n):
        shifts[:] = 0
        for q in range(r):
            eps[q] = rng.standard_normal()
            line = near[q]
            for c in range(len(looked)):
                shifts[c] += eps[q] * line[c]
        begin = len(active)
        for c in range(len(looked)):
            i = looked[c]
            if _fires(rng, thresholds[i], shifts[c], noise[i], tails):
                value = means[i] + deviations[i] * rng.standard_normal()
                if value > 0:
                    active.append(i)
                    values.append(value)
        place = begin
        while place < len(active):  # those appended on the way as well
            i = active[place]
            first = first_child[i]
            scale = values[place] / means[i]
            place += 1
            if first < 0:
                continue
            found, chosen, magnitude = 0, -1, 0.0
            for child in range(first, first + BRANCHING):
                shift = 0.0
                for q in range(r):
                    shift += factor[child, q] * eps[q]
                if _fires(rng, thresholds[child], shift, noise[child], tails):
                    value = means[child] + deviations[child] * rng.standard_normal()
                    if value > 0:
                        found += 1
                        if rng.random() * found < 1:  # one of them, each as likely
                            chosen, magnitude = child, value * scale
            if chosen >= 0:
                active.append(chosen)
                values.append(magnitude)
        counts[row] = len(active) - begin
        y = rows[row]
        y[:] = bias
        for place in range(begin, len(active)):
            x, feature = values[place], features[active[place]]
            for f in range(d):
                y[f] += x * feature[f]
    return counts, np.array(active), np.array(values)


class Scores(NamedTuple):
    """What SynthSAEBench measures.

    Attributes
    ----------
    f1, precision, recall : float
        Of atoms as tellers of the features that they are nearest to, on average.
    mcc : float
        Mean |cos| of the best one-to-one match of atoms and features.
    uniqueness : float
        Features that are nearest to some atom, for each atom.
    explained_variance : float
    l0 : float
        Atoms a row.
    dead : int
        Atoms that no row uses.
    """

    f1: float
    precision: float
    recall: float
    mcc: float
    uniqueness: float
    explained_variance: float
    l0: float
    dead: int


def scores(world, dictionary, rows, truth, codes, decoded):
    """Scores of a dictionary (m, d) whose codes of rows are an (n, m) sparse array."""
    cosines = np.abs(dictionary @ world.features.T)
    nearest = cosines.argmax(axis=1)
    matched = scipy.optimize.linear_sum_assignment(-cosines)
    used = scipy.sparse.csr_array(codes).astype(bool).astype(np.float64)
    true = truth.astype(bool).astype(np.float64)[:, nearest]
    both = np.asarray(used.multiply(true).sum(axis=0)).ravel()
    n_used, n_true = (np.asarray(part.sum(axis=0)).ravel() for part in (used, true))
    precision, recall = both / np.maximum(n_used, 1), both / np.maximum(n_true, 1)
    f1 = 2 * precision * recall / np.maximum(precision + recall, 1e-300)
    left = ((rows - decoded).astype(np.float64) ** 2).sum()
    return Scores(
        float(f1.mean()),
        float(precision.mean()),
        float(recall.mean()),
        float(cosines[matched].mean()),
        len(np.unique(nearest)) / len(dictionary),
        float(1 - left / ((rows - rows.mean(axis=0)).astype(np.float64) ** 2).sum()),
        float(n_used.sum() / len(rows)),
        int((n_used == 0).sum()),
    )
