"""How strongly words and atoms go together, from the counts of two-by-two tables.

Of ``n`` samples ``n_w`` have a word, ``n_a`` use an atom and ``n_wa`` do both.
Functions take (V, m), (V,) and (m,) arrays of these, and give (V, m) float64.
"""

from typing import Literal, NamedTuple, TypeAlias, get_args

import numpy as np

from ..kernels.tails import hypergeometric_tails

SMALL_EXPECTED = 1000
"""Tables with a cell that chance would fill with fewer samples than this get exact p-values. The
usual 5 is for tails of a few percent: at 25 expected, five deviations out, chi-square is 60
times too small, at 1000 twice. On Flickr8k chi-square found 22 false pairs a permutation."""

SHRINKAGE = 10
"""Joint samples expected by chance that are added to both counts of a shrunk lift: a word and an
atom must meet a few times more often than that for their lift to count."""


class Tables(NamedTuple):
    """How often words and atoms occur, and meet.

    Attributes
    ----------
    joint : (V, m) float array
    word : (V, 1) float array
    atom : (m,) float array
    n : float
    """

    joint: np.ndarray
    word: np.ndarray
    atom: np.ndarray
    n: float


Ranking: TypeAlias = Literal["g", "phi", "weighted_correlation", "lift", "shrunk_lift", "pmi", "f1"]
"""Measures that words can be ranked by."""

Test: TypeAlias = Literal["auto", "exact", "chi2"]

RANKINGS, TESTS = get_args(Ranking), get_args(Test)


def phi(n_wa, n_w, n_a, n):
    """Pearson correlation of two indicators; NaN where one of them is constant.

    ``(n n_wa - n_w n_a) / sqrt(n_w (n - n_w) n_a (n - n_a))``.
    """
    n_w, n_a, n = _columns(n_w, n_a, n)
    spread = np.sqrt(n_w * (n - n_w)) * np.sqrt(n_a * (n - n_a))
    with np.errstate(divide="ignore", invalid="ignore"):
        return np.clip((n * n_wa - n_w * n_a) / spread, -1, 1)


def pearson(n, products, sums, squares, other_sums, other_squares):
    """Correlation of (V,) with (m,) variables from sums over samples.

    Parameters
    ----------
    n : int
    products : (V, m) array
        Sums of products.
    sums, squares : (V,) arrays
    other_sums, other_squares : (m,) arrays
    """
    one = np.maximum(n * np.asarray(squares, float) - np.square(sums, dtype=float), 0)
    other = np.maximum(n * np.asarray(other_squares, float) - np.square(other_sums, dtype=float), 0)
    top = n * np.asarray(products, float) - np.multiply.outer(sums, np.asarray(other_sums, float))
    with np.errstate(divide="ignore", invalid="ignore"):
        return np.clip(top / (np.sqrt(one)[:, None] * np.sqrt(other)), -1, 1)


def expected(n_w, n_a, n):
    """Joint samples that chance would give."""
    n_w, n_a, n = _columns(n_w, n_a, n)
    return n_w * n_a / n


def lift(n_wa, n_w, n_a, n):
    """How many times more often than by chance; NaN where chance gives none."""
    with np.errstate(divide="ignore", invalid="ignore"):
        return n_wa / expected(n_w, n_a, n)


def shrunk_lift(n_wa, n_w, n_a, n, *, shrinkage=SHRINKAGE):
    """Lift with ``shrinkage`` samples added to what was found and what was expected.

    Rare words and atoms then need more than one chance meeting.
    """
    return (n_wa + shrinkage) / (expected(n_w, n_a, n) + shrinkage)


def pmi(n_wa, n_w, n_a, n):
    """Pointwise mutual information in bits, log2 of the lift; -inf where they never meet."""
    with np.errstate(divide="ignore", invalid="ignore"):
        return np.log2(lift(n_wa, n_w, n_a, n))


def f1(n_wa, n_w, n_a, n):
    """Harmonic mean of precision and recall of the word as told by the atom."""
    n_w, n_a, _ = _columns(n_w, n_a, n)
    with np.errstate(invalid="ignore"):
        return 2 * n_wa / (n_w + n_a)


def log_likelihood_ratio(n_wa, n_w, n_a, n):
    """Signed root of G^2, the likelihood ratio against independence.

    ``G^2 = 2 sum O ln(O / E)`` over the four cells (Dunning 1993). The root,
    negative where word and atom avoid each other, is about standard normal
    under independence.
    """
    n_w, n_a, n = _columns(n_w, n_a, n)
    n_wa = np.asarray(n_wa, float)
    total = np.zeros(np.broadcast_shapes(n_wa.shape, n_w.shape, n_a.shape))
    cells = (
        (n_wa, n_w * n_a),
        (n_w - n_wa, n_w * (n - n_a)),
        (n_a - n_wa, (n - n_w) * n_a),
        (n - n_w - n_a + n_wa, (n - n_w) * (n - n_a)),
    )
    for observed, products in cells:
        with np.errstate(divide="ignore", invalid="ignore"):
            total += np.where(observed > 0, observed * np.log(observed * n / products), 0)
    return np.sign(n * n_wa - n_w * n_a) * np.sqrt(2 * np.maximum(total, 0))


MEASURES = {
    "g": log_likelihood_ratio,
    "phi": phi,
    "lift": lift,
    "shrunk_lift": shrunk_lift,
    "pmi": pmi,
    "f1": f1,
}
"""Functions of the counts of both, word, atom and samples."""


def p_values(n_wa, n_w, n_a, n, *, test="auto", small=SMALL_EXPECTED):
    """Chance of so many joint samples or more, if word and atom were independent.

    Parameters
    ----------
    n_wa, n_w, n_a, n : integer counts
    test : str
        ``"exact"`` is the hypergeometric tail (Fisher's exact test),
        ``"chi2"`` half the tail of Pearson's chi-square without correction,
        ``"auto"`` exact where a cell of the table has fewer than ``small``
        samples by chance, and chi-square else. All are one-sided.
    small : float

    Returns
    -------
    (V, m) float array
        1 where the word or the atom is never used, or always.
    """
    if test not in TESTS:
        raise ValueError(f"test={test!r}; it must be one of {', '.join(map(repr, TESTS))}")
    from scipy.special import ndtr

    counts = np.broadcast_arrays(
        np.asarray(n_wa, np.int64), np.asarray(n_w, np.int64)[:, None], np.asarray(n_a, np.int64)[None, :]
    )
    root = np.nan_to_num(phi(n_wa, n_w, n_a, n), nan=-np.inf) * np.sqrt(float(n))
    p = ndtr(-root)
    if test == "chi2":
        return p
    rare_w = np.minimum(counts[1][:, 0], n - counts[1][:, 0])
    rare_a = np.minimum(counts[2][0], n - counts[2][0])
    exact = np.multiply.outer(rare_w, rare_a.astype(float)) < (np.inf if test == "exact" else small) * n
    joint, ones, twos = (np.ascontiguousarray(count[exact]) for count in counts)
    tails = np.empty(len(joint))
    hypergeometric_tails(joint, ones, twos, n, tails)
    p[exact] = tails
    return p


def benjamini_hochberg(p):
    """False discovery rates (q-values) of p-values, over all of an array.

    The least rate at which each would be found (Benjamini, Hochberg 1995).
    NaN stands for what was not tested, and stays. The same bits as SciPy's
    `false_discovery_control`, whose import alone takes longer than to name a small dictionary.
    """
    p = np.asarray(p, float)
    q = np.full(p.shape, np.nan)
    tested = ~np.isnan(p)
    values = p[tested]
    order = np.argsort(values)
    rates = values[order] * (len(values) / np.arange(1, len(values) + 1))
    rates = np.minimum(np.minimum.accumulate(rates[::-1])[::-1], 1)
    back = np.empty_like(rates)
    back[order] = rates
    q[tested] = back
    return q


def simes(p):
    """One p-value an atom that no word goes with it (Simes 1986).

    ``min V p_(i) / i`` over the sorted p-values of a column of (V, m); NaN, for
    words that were not tested, do not count, and a column of them gives NaN.
    """
    p = np.sort(np.asarray(p, float), axis=0)  # NaN last
    tested = (~np.isnan(p)).sum(axis=0)
    places = np.arange(1, len(p) + 1)[:, None]
    scaled = np.where(np.isnan(p), np.inf, p * tested / places)
    found = scaled.min(axis=0, initial=np.inf)
    return np.where(tested > 0, np.minimum(found, 1), np.nan)


def _columns(n_w, n_a, n):
    """Margins as floats, shaped so that they spread over (V, m); what has two dimensions stays."""
    n_w, n_a = np.asarray(n_w, float), np.asarray(n_a, float)
    return n_w[:, None] if n_w.ndim == 1 else n_w, n_a[None, :] if n_a.ndim == 1 else n_a, float(n)
