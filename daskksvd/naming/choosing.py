"""The word that names an atom, chosen on some samples and tried on others."""

from typing import NamedTuple

import numpy as np

from ..captions.words.vocabulary import WORD_SAMPLES
from ..kernels.pairs import add_pairs
from ..kernels.tails import hypergeometric_tails
from . import association
from .inputs import indicator
from .thresholds import ATOM_USES, JOINT_LEAST


def count(words, active, rows=None, weights=None, word_rows=None):
    """Counts of some samples.

    Parameters
    ----------
    words : (n, V) scipy.sparse.csr_matrix
        An entry where a word occurs.
    active : (n, m) scipy.sparse.csr_matrix
        An entry where an atom is used.
    rows : (r,) int array, optional
        Samples to count; all by default.
    weights : (r,) array, optional
        How often each counts; once by default.
    word_rows : (r,) int array, optional
        Samples whose words stand in for those of ``rows``, as after a shuffle.

    Returns
    -------
    Tables
    """
    rows = np.arange(words.shape[0]) if rows is None else np.asarray(rows, np.int64)
    word_rows = rows if word_rows is None else np.asarray(word_rows, np.int64)
    weights = np.ones(len(rows)) if weights is None else np.asarray(weights, np.float64)
    joint = np.zeros((words.shape[1], active.shape[1]))
    add_pairs(words.indptr, words.indices, word_rows, active.indptr, active.indices, rows, weights, joint)
    totals = (_weighted(matrix, given, weights) for matrix, given in ((words, word_rows), (active, rows)))
    word, atom = totals
    return association.Tables(joint, word[:, None], atom, float(weights.sum()))


def _weighted(matrix, rows, weights):
    """Weights of the rows that have an entry in each column, added up."""
    of_row = np.bincount(rows, weights, minlength=matrix.shape[0])
    return np.bincount(matrix.indices, np.repeat(of_row, np.diff(matrix.indptr)), minlength=matrix.shape[1])


def rank(counts, rank_by="g"):
    """Score of every pair that can name an atom, -inf for all others; (V, m).

    Words must occur, and meet the atom, often enough (`WORD_SAMPLES`,
    `ATOM_USES`, `JOINT_LEAST`), and more often than chance brings about.
    """
    least, share = WORD_SAMPLES
    fit = (counts.word >= max(least, share * counts.n)) & (counts.atom >= ATOM_USES)
    fit = fit & (counts.joint >= JOINT_LEAST) & (counts.joint * counts.n > counts.word * counts.atom)
    with np.errstate(divide="ignore", invalid="ignore"):
        scores = association.MEASURES[rank_by](counts.joint, counts.word, counts.atom, counts.n)
    return np.where(fit, scores, -np.inf)


def best_words(scores, top=1):
    """The ``top`` best words of every atom, best first; (m, top) int, -1 where there are fewer.

    What scores -inf or NaN is no word of the atom. Of equals the first is chosen.
    """
    best = np.full((top, scores.shape[1]), -1)
    order = np.argsort(-scores, axis=0, kind="stable")[:top]
    best[: len(order)] = np.where(np.take_along_axis(scores, order, axis=0) > -np.inf, order, -1)
    return best.T


class Pairs(NamedTuple):
    """One word an atom, counted on some samples; arrays (m,), NaN without a word.

    Attributes
    ----------
    joint, word, atom : float arrays
    n : float
    """

    joint: np.ndarray
    word: np.ndarray
    atom: np.ndarray
    n: float

    @property
    def correlation(self):
        """Phi: the Pearson correlation of the two indicators."""
        return self._measure(association.phi)

    @property
    def precision(self):
        """Share of the atom's samples that have the word."""
        return self._share(self.joint, self.atom)

    @property
    def recall(self):
        """Share of the word's samples that use the atom."""
        return self._share(self.joint, self.word)

    @property
    def f1(self):
        return self._measure(association.f1)

    @property
    def lift(self):
        return self._measure(association.lift)

    @property
    def g(self):
        """Signed root of the likelihood ratio."""
        return self._measure(association.log_likelihood_ratio)

    @property
    def p_value(self):
        """One-sided exact hypergeometric test: as many joint samples or more by chance."""
        known = ~np.isnan(self.joint)
        counts = (part[known].astype(np.int64) for part in (self.joint, self.word, self.atom))
        values, tails = np.full(len(self.joint), np.nan), np.empty(int(known.sum()))
        hypergeometric_tails(*counts, int(self.n), tails)
        values[known] = tails
        return values

    def _measure(self, function):
        # one row of words by atoms, each atom with a word of its own
        return function(self.joint[None], self.word[None], self.atom[None], self.n)[0]

    @staticmethod
    def _share(part, whole):
        with np.errstate(divide="ignore", invalid="ignore"):
            return np.where(whole > 0, part / whole, np.nan)


def joint_samples(choice, words, active):
    """1 where a sample both uses an atom and has its word; (n, m) CSR, and the words' samples."""
    named = words.tocsc()[:, np.maximum(choice, 0)].tocsr()  # names may be shared
    return named.multiply(active).tocsr(), named


def count_pairs(choice, words, active):
    """Counts of the chosen words on some samples.

    Parameters
    ----------
    choice : (m,) int array
        Word of each atom, -1 for none.
    words, active : CSR matrices
        As for `count`.

    Returns
    -------
    Pairs
    """
    joint, _ = joint_samples(choice, words, active)
    without = choice < 0
    parts = [column_sums(joint), column_sums(words)[choice], column_sums(active)]
    for part in parts[:2]:
        part[without] = np.nan
    parts[2] = np.where(without, np.nan, parts[2])
    return Pairs(*parts, float(words.shape[0]))


def mid_ranks(magnitudes):
    """Rank of every stored magnitude among all samples of its column, ties at their mean.

    Samples without an entry have magnitude 0, all tied, and come first.

    Parameters
    ----------
    magnitudes : (n, m) scipy.sparse.csr_matrix
        Positive entries only.

    Returns
    -------
    (n, m) scipy.sparse.csr_matrix
    """
    from scipy.stats import rankdata

    ranks = magnitudes.tocsc(copy=True)
    n = ranks.shape[0]
    for column in range(ranks.shape[1]):
        users = slice(*ranks.indptr[column : column + 2])
        length = users.stop - users.start
        if length:
            ranks.data[users] = n - length + rankdata(ranks.data[users])
    return ranks.tocsr()


def auroc(rank_sums, joint, n_true, n_users, n):
    """Area under the ROC curve of words as told by magnitudes of atoms; ties count half.

    The Mann-Whitney statistic over the number of pairs of samples with and
    without the word (Hanley, McNeil 1982).

    Parameters
    ----------
    rank_sums : array
        Sums of `mid_ranks` over samples that have the word and use the atom.
    joint : array
        How many those are.
    n_true, n_users : arrays
        Samples that have the word, and that use the atom.
    n : int

    Returns
    -------
    array
        NaN where all samples or none have the word.
    """
    idle = (n - n_users + 1) / 2  # rank of all samples that do not use the atom
    pairs = n_true * (n - n_true)
    with np.errstate(divide="ignore", invalid="ignore"):
        area = (rank_sums + (n_true - joint) * idle - n_true * (n_true + 1) / 2) / pairs
    return np.where(pairs > 0, area, np.nan)


def name_auroc(choice, words, magnitudes):
    """`auroc` of each atom's word, (m,); NaN where ``choice`` is -1."""
    joint, named = joint_samples(choice, words, indicator(magnitudes))
    sums = column_sums(named.multiply(mid_ranks(magnitudes)))
    users = column_sums(indicator(magnitudes))
    area = auroc(sums, column_sums(joint), column_sums(named), users, words.shape[0])
    return np.where(choice >= 0, area, np.nan)


def column_sums(matrix):
    return np.asarray(matrix.sum(axis=0), float).ravel()
