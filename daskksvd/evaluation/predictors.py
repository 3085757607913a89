"""The ways in which words are read off, and how each ranks them."""

import numpy as np
import scipy.sparse as sp

from ..naming.choosing import count
from ..naming.inputs import indicator, inner_split, one_side, orient
from .features import Sparse
from .ranking import rank_scores, top_words
from .readout import Linear, added, choose_adding, evidence, fit_pairs, fit_ridge, prior_log_odds

REFITTED_ATOMS = 512
"""Atoms a word up to which the weights of given pairs are fitted together: each word solves a
system of that size, and a mapping with more is no list of names."""

FREQUENT = "most frequent words"
SHUFFLED = "shuffled labels"
UNION = "union of words"
LABELS = "labels and prior"
REFITTED = "labels, weights fitted"
BAYES = "naive Bayes on codes"
RIDGE = "ridge on codes"
DECODED = "ridge on codes, drawn to the decoder"
CEILING = "ridge on embeddings"
HUMAN = "one caption against the others"
METHODS = (FREQUENT, SHUFFLED, UNION, LABELS, REFITTED, BAYES, RIDGE, DECODED, CEILING, HUMAN)


class Problem:
    """Active atoms, words, and counts of both on parts of the training samples."""

    def __init__(self, codes, words, training, rng, orientation=None):
        self.codes, self.words, self.training = codes, words, training
        self.fit, self.check = inner_split(training, rng)
        rows = np.flatnonzero(training)
        self.side = one_side(codes, orient(codes[rows]) if orientation is None else orientation)
        self.activity = self._scaled(rows)
        self.counts = self._counts(training)
        self.fitted = self._counts(self.fit)

    def _scaled(self, rows):
        """Coefficients in units of their atom's root mean square."""
        some = self.side[rows]
        uses = np.bincount(some.indices, minlength=some.shape[1])
        power = np.bincount(some.indices, some.data**2, minlength=some.shape[1])
        scale = np.sqrt(np.where(uses > 0, power / np.maximum(uses, 1), 1.0))
        activity = self.side.copy()
        activity.data = activity.data / scale[activity.indices]
        return activity

    def mean_activity(self, part):
        """Mean over some samples, (m,)."""
        return np.asarray(self.activity[np.flatnonzero(part)].mean(axis=0)).ravel()

    def _counts(self, part):
        return count(self.words, self.side, np.flatnonzero(part))


def make_models(problem, mapping, dense, decoder, rng):
    """The models that rank words, and the features that each of them reads."""
    activity, codes = Sparse(problem.activity), Sparse(problem.codes)
    words, check = problem.words, problem.check
    counts, fitted = problem.counts, problem.fitted
    prior, fitted_prior = (prior_log_odds(c.word.ravel(), c.n) for c in (counts, fitted))
    whole, partial = (evidence(c.joint, c.word.ravel(), c.atom, c.n).T for c in (counts, fitted))
    mean, fitted_mean = (problem.mean_activity(part) for part in (problem.training, problem.fit))
    models = {FREQUENT: Linear(sp.csr_matrix(mapping.weights.shape), prior, np.nan)}
    pairs = partial_pairs = mapping.weights
    if mapping.learned:
        pairs, partial_pairs = pairs.multiply(whole).tocsr(), pairs.multiply(partial).tocsr()
    shuffle = rng.permutation(pairs.shape[0])
    for method, now, then in (
        (LABELS, pairs, partial_pairs),
        (SHUFFLED, pairs[shuffle], partial_pairs[shuffle]),
        (BAYES, whole, partial),
    ):
        adding = choose_adding(then, fitted_prior, fitted_mean, activity, words, check)
        models[method] = added(now, prior, mean, adding)
    features = dict.fromkeys(models, activity)
    if mapping.weights.nnz and np.diff(mapping.weights.tocsc().indptr).max() <= REFITTED_ATOMS:
        models[REFITTED] = fit_pairs(mapping.weights, activity, words, problem.fit, check)
        features[REFITTED] = activity
    models[RIDGE] = fit_ridge(codes, words, problem.fit, check).model
    features[RIDGE] = codes
    if dense is not None:
        ceiling = fit_ridge(dense, words, problem.fit, check)
        models[CEILING], features[CEILING] = ceiling.model, dense
        if decoder is not None:
            drawn = [np.asarray(decoder, np.float64) @ model.weights for model in ceiling]
            models[DECODED] = fit_ridge(codes, words, problem.fit, check, drawn).model
            features[DECODED] = codes
    return models, features


def score_model(model, features, words, rows, ks):
    """Measures of a model on the given samples, (3, len(ks), samples)."""
    chosen = np.flatnonzero(rows)
    truth, parts = words[chosen], []
    for start, block in features.take(chosen).blocks():
        ranked = top_words(model.scores(block), max(ks))
        parts.append(rank_scores(ranked, truth[start : start + block.shape[0]], ks))
    return np.concatenate(parts, axis=2)


def score_union(mapping, problem, rows, ks):
    """Words of active atoms without a prior, those of more atoms first."""
    pairs = indicator(mapping.weights)
    chosen = np.flatnonzero(rows)
    truth, parts = problem.words[chosen], []
    for start, block in Sparse(indicator(problem.side[chosen])).blocks():
        votes = (block @ pairs).toarray()
        ranked = top_words(votes, max(ks))
        ranked = np.where(np.take_along_axis(votes, ranked, axis=1) > 0, ranked, -1)
        parts.append(rank_scores(ranked, truth[start : start + block.shape[0]], ks))
    return np.concatenate(parts, axis=2)


def score_human(lines, kept, rows, ks, rng):
    """One random caption of every sample against its others; None without such."""
    words = lines.words[:, kept]
    order = rng.permutation(len(lines.sample))
    order = order[np.argsort(lines.sample[order], kind="stable")]
    sample = lines.sample[order]
    first = np.concatenate([[True], np.diff(sample) > 0])
    if first.all():
        return None
    n = len(rows)
    owner = sp.csr_matrix((np.ones((~first).sum()), (sample[~first], order[~first])), shape=(n, len(order)))
    chosen = np.flatnonzero(rows)
    truth = indicator((owner @ words)[chosen])
    spoken = words[order[first]][chosen]
    spoken.sort_indices()  # the vocabulary stands in the order of frequency
    lengths = np.diff(spoken.indptr)
    ranked = np.full((len(chosen), max(ks)), -1)
    place = np.arange(spoken.nnz) - np.repeat(spoken.indptr[:-1], lengths)
    shown = place < max(ks)
    ranked[np.repeat(np.arange(len(chosen)), lengths)[shown], place[shown]] = spoken.indices[shown]
    return rank_scores(ranked, truth, ks)
