"""Ranked words against true words: precision, recall and NDCG at k."""

import numpy as np

MEASURES = ("precision", "recall", "ndcg")


def top_words(scores, k):
    """Positions of the k highest scores of every row, best first.

    Ties go to the earlier word; vocabularies start with their most frequent one.

    Parameters
    ----------
    scores : (n, V) float array
    k : int

    Returns
    -------
    (n, k) int array
    """
    n, v = scores.shape
    if k < v:
        # the k-th highest score of a row; all above it are in, and of its equals the first
        limit = np.partition(scores, v - k, axis=1)[:, v - k, None]
        above, equal = scores > limit, scores == limit
        room = k - above.sum(axis=1, keepdims=True)
        chosen = above | (equal & (np.cumsum(equal, axis=1) <= room))
        columns = np.nonzero(chosen)[1].reshape(n, k)
    else:
        columns = np.broadcast_to(np.arange(v), (n, v))
    values = np.take_along_axis(scores, columns, axis=1)
    return np.take_along_axis(columns, np.argsort(-values, axis=1, kind="stable"), axis=1)


def rank_scores(ranked, truth, ks):
    """Precision, recall and NDCG at each k for every sample.

    A word's gain is its entry in ``truth``: 1 where a caption has it, or the
    share of the captions that have it.

    Parameters
    ----------
    ranked : (n, K) int array
        Words, best first; -1 where there are fewer.
    truth : (n, V) scipy.sparse.csr_matrix
        Nonzero where a word is true.
    ks : sequence of int
        At most K.

    Returns
    -------
    (3, len(ks), n) float array
        In the order of `MEASURES`; NaN for samples without true words. Where
        fewer than k words are ranked the missing ones count as wrong.

    Notes
    -----
    NDCG follows Järvelin and Kekäläinen (2002): gains divided by
    ``log2(rank + 1)``, over the same sum for the best order there can be.
    """
    n, most = ranked.shape
    gains = np.where(ranked >= 0, _entries(truth, np.maximum(ranked, 0)), 0.0)
    hits = np.cumsum(gains > 0, axis=1)
    discount = 1 / np.log2(np.arange(2, most + 2))
    gained = np.cumsum(gains * discount, axis=1)
    best = np.cumsum(_best_gains(truth, most) * discount, axis=1)
    true = np.diff(truth.indptr).astype(float)
    true[true == 0] = np.nan
    out = np.empty((len(MEASURES), len(ks), n))
    for position, k in enumerate(ks):
        out[0, position] = np.where(np.isnan(true), np.nan, hits[:, k - 1] / k)
        out[1, position] = hits[:, k - 1] / true
        with np.errstate(invalid="ignore"):
            out[2, position] = np.where(np.isnan(true), np.nan, gained[:, k - 1] / best[:, k - 1])
    return out


def _entries(matrix, columns):
    """Entries of a CSR matrix at the given columns of every row."""
    n, k = columns.shape
    rows = np.repeat(np.arange(n), k)
    return np.asarray(matrix[rows, columns.ravel()], float).reshape(n, k)


def _best_gains(truth, most):
    """The ``most`` highest gains of every row, in falling order."""
    best = np.zeros((truth.shape[0], most))
    lengths = np.diff(truth.indptr)
    rows = np.repeat(np.arange(truth.shape[0]), lengths)
    order = np.lexsort((-truth.data, rows))
    place = np.arange(len(rows)) - np.repeat(truth.indptr[:-1], lengths)
    kept = place < most
    best[rows[kept], place[kept]] = truth.data[order][kept]
    return best


def group_sums(values, most):
    """Sums and counts of per-sample values in at most ``most`` groups.

    Bootstrapping groups of samples costs no more for a million samples than
    for ten thousand, and gives the same interval.

    Parameters
    ----------
    values : (..., n) float array
        NaN where a sample does not count.
    most : int

    Returns
    -------
    sums, counts : (..., g) float arrays
    """
    n = values.shape[-1]
    known = ~np.isnan(values)
    filled = np.where(known, values, 0)
    if n <= most:
        return filled, known.astype(float)
    starts = np.linspace(0, n, most + 1).astype(int)[:-1]
    return np.add.reduceat(filled, starts, axis=-1), np.add.reduceat(known.astype(float), starts, axis=-1)
