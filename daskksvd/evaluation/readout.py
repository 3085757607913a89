"""Words read off from features: ridge regression and additive evidence."""

from typing import NamedTuple

import numpy as np
import scipy.sparse as sp

from .ranking import rank_scores, top_words

RIDGES = tuple(10.0 ** (power / 4) for power in range(-16, 9))
"""Penalties tried, in units of the mean squared norm of a feature: steps of 1.8 are finer
than what an inner split can tell apart."""

DAMPINGS = tuple(step / 20 for step in range(31))
"""Factors tried for added evidence. Zero is among them: evidence of no use is not used."""

CENTRINGS = (0.0, 0.5, 1.0)
"""Shares of the mean evidence tried to be taken off. On Flickr8k names gain .003-.009 in precision
at 5 with all of it; naive Bayes, which has evidence against words too, loses .007-.012."""

EVIDENCE_SMOOTHING = 5
"""Uses of an atom, at its overall rate, added to those with and to those without a word.
1, 5 and 20 ranked words equally well (Flickr8k, precision at 5 within .004)."""

EVIDENCE_Z2 = 4
"""Squared standard score at which evidence counts half: two standard errors. From 0 to 4
naive Bayes gained .004-.011 in precision at 5 on Flickr8k, at 8 nothing more."""


class Linear(NamedTuple):
    """Scores ``intercept + features @ weights``.

    Attributes
    ----------
    weights : (f, V) array or scipy.sparse.csr_matrix
    intercept : (V,) array
    strength : float
        What was chosen on the inner split: the ridge, or the damping.
    """

    weights: np.ndarray
    intercept: np.ndarray
    strength: float

    def scores(self, features):
        """Scores (r, V) of some rows (r, f), sparse or dense."""
        product = features @ self.weights
        return (product.toarray() if sp.issparse(product) else np.asarray(product)) + self.intercept


class Moments(NamedTuple):
    """Sums from which a ridge regression follows.

    Attributes
    ----------
    n : int
    origin : (f,) array
        What is subtracted from features first: sums of squares of what is far from zero
        keep no digit of what varies. Zero for sparse features, and the same for all that are added.
    x : (f,) array
        Sum of the features.
    y : (V,) array
        Sum of the words.
    xx : (f, f) array
    xy : (f, V) array
    """

    n: int
    origin: np.ndarray
    x: np.ndarray
    y: np.ndarray
    xx: np.ndarray
    xy: np.ndarray

    def centred(self):
        """Means of features and words, and products of what differs from them."""
        x, y = self.x / self.n, self.y / self.n
        return x + self.origin, y, self.xx - self.n * np.outer(x, x), self.xy - self.n * np.outer(x, y)


def ridge_moments(features, words, parts):
    """Sums of features and words over the rows of several disjoint parts.

    Parameters
    ----------
    features : features.Sparse or features.Dense
    words : (n, V) scipy.sparse.csr_matrix
    parts : sequence of (n,) boolean arrays

    Returns
    -------
    list of Moments
    """
    f, v = features.shape[1], words.shape[1]
    found = [[0, np.zeros(f), np.zeros(v), np.zeros((f, f)), np.zeros((f, v))] for _ in parts]
    origin = None
    for start, block in features.large_blocks():
        stop = start + block.shape[0]
        if origin is None:
            origin = np.zeros(f) if sp.issparse(block) else np.asarray(block, np.float64).mean(axis=0)
        for part, sums in zip(parts, found, strict=True):
            chosen = np.flatnonzero(part[start:stop])
            x = block[chosen].astype(np.float64)
            if not sp.issparse(x):
                x = x - origin
            y = words[start:stop][chosen].astype(np.float64)
            xx, xy = x.T @ x, (y.T @ x).T
            sums[0] += len(chosen)
            sums[1] += np.asarray(x.sum(axis=0)).ravel()
            sums[2] += np.asarray(y.sum(axis=0)).ravel()
            sums[3] += xx.toarray() if sp.issparse(xx) else xx
            sums[4] += xy.toarray() if sp.issparse(xy) else xy
    return [Moments(n, origin, *sums) for n, *sums in found]


def add_moments(first, second):
    """Moments of both sets of rows together."""
    sums = (a + b for a, b in zip(first[2:], second[2:], strict=True))
    return Moments(first.n + second.n, first.origin, *sums)


def ridge_path(moments, ridges, prior=None):
    """Ridge regressions, one for each penalty, with an intercept.

    Minimises ``||Y - 1 b' - X W||^2 + penalty ||W - P||^2`` with the penalty
    ``ridge`` times the mean squared norm of a centred feature.

    Parameters
    ----------
    moments : Moments
    ridges : sequence of float
    prior : (f, V) array, optional
        P: weights that the penalty draws to. Zero by default.

    Yields
    ------
    Linear
    """
    mean_x, mean_y, xx, xy = moments.centred()
    if prior is not None:
        xy = xy - xx @ prior
    values, vectors = np.linalg.eigh(xx)
    values = np.maximum(values, 0)
    turned = vectors.T @ xy
    unit = values.mean() or 1.0
    for ridge in ridges:
        weights = vectors @ (turned / (values + ridge * unit)[:, None])
        if prior is not None:
            weights = weights + prior
        yield Linear(weights, mean_y - mean_x @ weights, float(ridge))


class Fitted(NamedTuple):
    """A model on all training samples, and the one it was chosen by, on part of them."""

    model: Linear
    inner: Linear


def fit_ridge(features, words, fit, check, priors=None):
    """Ridge regression from features to words, its penalty chosen on an inner split.

    Parameters
    ----------
    features : features.Sparse or features.Dense
    words : (n, V) scipy.sparse.csr_matrix
    fit, check : (n,) boolean arrays
        The inner split of the training samples: penalties are tried on
        ``fit`` and compared on ``check``; the best is used on both together.
    priors : pair of (f, V) arrays, optional
        See `ridge_path`: one made from all training samples, one from ``fit``.

    Returns
    -------
    Fitted
    """
    fitted, checked = ridge_moments(features, words, (fit, check))
    whole, part = (None, None) if priors is None else priors
    candidates = list(ridge_path(fitted, RIDGES, part))
    inner = _best(candidates, features, words, check)
    return Fitted(next(ridge_path(add_moments(fitted, checked), [inner.strength], whole)), inner)


def fit_pairs(pairs, features, words, fit, check):
    """Ridge regression that gives a weight to given pairs of a feature and a word only.

    Parameters
    ----------
    pairs : (f, V) scipy.sparse matrix
        Nonzero where there may be a weight.
    features, words, fit, check
        As for `fit_ridge`.

    Returns
    -------
    Linear
    """
    fitted, checked = ridge_moments(features, words, (fit, check))
    candidates = [_solve_pairs(pairs, fitted, ridge) for ridge in RIDGES[::2]]
    best = _best(candidates, features, words, check)
    return _solve_pairs(pairs, add_moments(fitted, checked), best.strength)


def _solve_pairs(pairs, moments, ridge):
    """Each word regressed on its own few features."""
    columns = pairs.tocsc()
    mean_x, mean_y, xx, xy = moments.centred()
    unit = ridge * (np.trace(xx) / len(xx) or 1.0)
    weights = columns.astype(np.float64)
    for word in range(columns.shape[1]):
        chosen = slice(*columns.indptr[word : word + 2])
        few = columns.indices[chosen]
        if len(few):
            matrix = xx[np.ix_(few, few)] + unit * np.eye(len(few))
            weights.data[chosen] = np.linalg.solve(matrix, xy[few, word])
    return Linear(weights.tocsr(), mean_y - weights.T @ mean_x, float(ridge))


def rank_candidates(models, features, words, rows):
    """Sums of NDCG at 10 of several models over the same samples.

    Parameters
    ----------
    models : callable
        Gives the scores (r, V) of each model for some rows of features.
    features, words : as for `fit_ridge`
    rows : (n,) boolean array
    """
    k = min(10, words.shape[1])
    chosen = np.flatnonzero(rows)
    truth, total = words[chosen], 0
    for start, block in features.take(chosen).blocks():
        true = truth[start : start + block.shape[0]]
        ranked = (top_words(scores, k) for scores in models(block))
        total += np.array([np.nansum(rank_scores(best, true, [k])[2]) for best in ranked])
    return total


def _best(candidates, features, words, rows):
    """The one of some `Linear` models that ranks words best."""
    sums = rank_candidates(lambda block: (model.scores(block) for model in candidates), features, words, rows)
    return candidates[int(np.argmax(sums))]


# --------------------------------------------------------- additive evidence


def evidence(joint, word_count, atom_count, n):
    """Log-odds that an active atom adds to a word, shrunk where data is scarce.

    The logarithm of P(atom | word) / P(atom | no word), the weight of naive
    Bayes. ``EVIDENCE_SMOOTHING`` uses of the atom at its overall rate are
    added to either side, and the result is multiplied by ``z^2 / (z^2 + c)``
    with its standard score z: what chance explains fades out.

    Parameters
    ----------
    joint : (V, m) array
        Samples with both the word and the atom.
    word_count : (V,) array
    atom_count : (m,) array
    n : int

    Returns
    -------
    (V, m) float array
    """
    word_count = np.asarray(word_count, float)[:, None]
    rate = (np.asarray(atom_count, float) + 0.5) / (n + 1)
    with_word = (joint + EVIDENCE_SMOOTHING * rate) / (word_count + EVIDENCE_SMOOTHING)
    without = (atom_count - joint + EVIDENCE_SMOOTHING * rate) / (n - word_count + EVIDENCE_SMOOTHING)
    ratio = np.log(with_word / np.maximum(without, np.finfo(float).tiny))
    share = word_count / n
    spread = np.sqrt(n * share * (1 - share) * rate * (1 - rate))
    with np.errstate(divide="ignore", invalid="ignore"):
        z2 = np.where(spread > 0, ((joint - n * share * rate) / spread) ** 2, 0.0)
    return ratio * z2 / (z2 + EVIDENCE_Z2)


def prior_log_odds(word_count, n):
    """Log-odds of every word before an atom is seen, (V,)."""
    share = (np.asarray(word_count, float) + 0.5) / (n + 1)
    return np.log(share / (1 - share))


class Adding(NamedTuple):
    """How evidence is added to the prior.

    Attributes
    ----------
    damping : float
        Atoms that look at the same thing repeat each other's evidence, so that
        the sum is too sure of itself: a factor under one makes up for it.
    centring : float
        Share of the mean evidence that is taken off. Else words that many
        atoms speak for rank too high even where none of these is active.
    """

    damping: float
    centring: float


def added(weights, prior, mean, adding):
    """``prior + damping * (evidence - centring * its mean)`` as a model.

    Parameters
    ----------
    weights : (f, V) array or scipy.sparse.csr_matrix
        Evidence is ``features @ weights``.
    prior : (V,) array
        Log-odds.
    mean : (f,) array
        Mean features.
    adding : Adding

    Returns
    -------
    Linear
    """
    weights = weights * adding.damping
    return Linear(weights, prior - adding.centring * (weights.T @ mean), adding.damping)


def choose_adding(weights, prior, mean, features, words, rows):
    """The `Adding` that ranks the words of some samples best.

    Parameters
    ----------
    weights, prior, mean
        As for `added`, not made from ``rows``.
    features : features.Sparse
    words : (n, V) scipy.sparse.csr_matrix
    rows : (n,) boolean array

    Returns
    -------
    Adding
    """
    choices = [Adding(damping, centring) for damping in DAMPINGS for centring in CENTRINGS]
    average = weights.T @ mean

    def models(block):
        product = block @ weights
        product = product.toarray() if sp.issparse(product) else np.asarray(product)
        return (prior + c.damping * (product - c.centring * average) for c in choices)

    return choices[int(np.argmax(rank_candidates(models, features, words, rows)))]
