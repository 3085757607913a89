"""Which atoms images and texts share: of one dictionary of both, or of two."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Literal, TypeAlias, get_args

import numpy as np

from ..arguments import choice, integer, number, seed
from ..execution import WORKER_TIMEOUT, make_executor
from ..fitting.result import Result
from ..naming.association import benjamini_hochberg
from ..rows import split_holdout
from ..tracking.parts import shows_parts
from .aligning import aligned_cosines
from .pairs import as_pairs
from .result import JointResult
from .use import correlation, count_uses, shuffles_a_pass

if TYPE_CHECKING:
    import numpy.typing as npt
    import xarray as xr
    from distributed import Client

    from ..rows.source import ArrayLike, MissingChunks

Matching: TypeAlias = Literal["use", "cca", "procrustes"]

MATCHINGS = get_args(Matching)

LEAST_SHARE = 0.1
"""An atom that has less than this share of its energy in one kind is not shared."""

HOLDS_Z = 3.0
"""Standard errors by which the use of two atoms on the same pairs kept back must beat chance."""

MEANINGS = {
    "image_norm": "norm of the half of images; its square and that of texts add up to one",
    "text_norm": "norm of the half of texts",
    "image_use": "share of pairs whose image, coded alone, uses the atom",
    "text_use": "share of pairs whose text, coded alone, uses the atom",
    "image_energy": "share of the squared coefficients of images that are the atom's",
    "text_energy": "share of the squared coefficients of texts that are the atom's",
    "image_share": "image_energy over the sum of both",
    "together": "share of pairs whose image and text both use the atom, with the same sign",
    "chance": "the same if uses in images and texts were independent",
    "phi": "correlation of use in images and in texts, the greater of the two signs",
    "q_value": "one-sided exact hypergeometric test of together, adjusted by Benjamini and Hochberg",
    "shared": "q_value under alpha, and at least a tenth of the energy in either kind",
}

MATCHED = {
    "first": "atom of images",
    "second": "atom of texts",
    "first_sign": "sign of the coefficients of the atom of images that go with those of texts",
    "second_sign": "sign of the coefficients of the atom of texts",
    "score": "phi of use on the pairs matched on, or cosine in the aligned space",
    "held_phi": "phi of use on the pairs kept back",
    "held_z": "held_phi times the root of their number",
    "significant": "score beats the family-wise null of shuffled texts; for aligned spaces, held_z is over 3",
    "holds": "held_z is over 3",
}


@shows_parts("shared atoms")
def shared_atoms(
    result: JointResult | Result | tuple[Result, Result],
    images: ArrayLike,
    texts: ArrayLike,
    *,
    paired: npt.ArrayLike | None = None,
    alpha: float = 0.05,
    match_by: Matching = "use",
    n_shuffles: int = 20,
    random_state: int | np.random.Generator | np.random.RandomState | None = 0,
    client: Client | None = None,
    n_threads: int | None = None,
    worker_timeout: float | None = WORKER_TIMEOUT,
    missing_chunks: MissingChunks = "error",
    progress: bool = False,
) -> xr.Dataset:
    """Which atoms stand for the same in images and in texts, on pairs of both, each coded alone.

    Parameters
    ----------
    result : JointResult, daskksvd.Result, or a tuple of two
        One dictionary of both, or of rows of either in one space, see `align`; or one of images and one of
        texts, whose atoms are matched.
    images, texts : as for `fit_joint`
        Pairs, best those not learned from.
    paired : (n,) bool array, optional
        Which rows have both.
    alpha : float
        Level of significance.
    match_by : {"use", "cca", "procrustes"}
        For two dictionaries: match atoms by how often they are used on the same pairs, or by their cosine
        after canonical correlation analysis, or after an orthogonal Procrustes rotation of principal
        components, of the pairs.
    n_shuffles : int
        Times that texts are shuffled for the family-wise null of ``"use"``.
    random_state : int, numpy.random.Generator or RandomState, optional
        Of the shuffles.
    client, n_threads, worker_timeout, missing_chunks
        As for `daskksvd.fit`.
    progress : bool
        Whether to show a bar of the parts of each pass that are done.

    Returns
    -------
    xarray.Dataset
        Of one dictionary by ``atom``: ``shared`` and what it follows from, see `MEANINGS`. Attributes:
        ``share_shared``; ``pairs_with_common_atom``, the share of pairs that use an atom in both, and
        ``chance_with_common_atom``. Of two dictionaries by ``pair``, see `MATCHED`: atoms are matched one to
        one on the first half of the rows of every chunk and looked at on the other. Attributes:
        ``threshold``, the least phi told from chance, ``share_significant`` and ``share_holding``, of those
        that are.

    Raises
    ------
    TypeError, ValueError
        If arguments do not fit together.
    """
    one_of_both = isinstance(result, (JointResult, Result))
    two = isinstance(result, tuple) and len(result) == 2 and all(isinstance(one, Result) for one in result)
    if not one_of_both and not two:
        raise TypeError(
            f"result is a {type(result).__name__}; it must be a JointResult, a Result of rows of "
            "either kind, or a tuple of a Result of images and one of texts"
        )
    alpha = number("alpha", alpha, 0, 1, "a level above 0 and below 1", open_ends=True)
    choice("match_by", match_by, MATCHINGS)
    n_shuffles = integer("n_shuffles", n_shuffles, 1)
    start = seed("random_state", random_state)
    pairs = as_pairs(images, texts, paired, missing_chunks=missing_chunks)
    pairs = pairs.where(pairs.both)
    dictionaries: Any = (
        result if two else (getattr(result, "images", result), getattr(result, "texts", result))
    )
    for name, one, width in zip(("images", "texts"), dictionaries, (pairs.d, pairs.e), strict=True):
        if one.dictionary.shape[1] != width:
            raise ValueError(
                f"{name} has {width} features; the dictionary was learned on {one.dictionary.shape[1]}"
            )
    executor = make_executor(client, n_threads, worker_timeout)
    try:
        if one_of_both:
            return _of_one(dictionaries, getattr(result, "norms", None), pairs, executor, alpha)
        return _of_two(dictionaries, pairs, executor, alpha, match_by, n_shuffles, start or 0)
    finally:
        executor.close()


def _of_one(dictionaries, norms, pairs, executor, alpha):
    """Atoms of a dictionary of both, and norms of their halves if they have any."""
    import xarray as xr
    from scipy.stats import hypergeom

    uses = count_uses(pairs, *(result.coder for result in dictionaries), executor)
    m, n = len(dictionaries[0].dictionary), uses.count
    sides = np.arange(2 * m)
    same = uses.together[sides, sides]
    phi = uses.phi[sides, sides].reshape(2, m)
    p_values = hypergeom.sf(same - 1, n, uses.images, uses.texts).reshape(2, m)
    q_values = benjamini_hochberg(np.minimum(2 * p_values.min(axis=0), 1))
    images, texts = (counts.reshape(2, m) / n for counts in (uses.images, uses.texts))
    energies = [_shares(energy) for energy in (uses.image_energy, uses.text_energy)]
    share = np.divide(energies[0], sum(energies), out=np.full(m, np.nan), where=sum(energies) > 0)
    values = {} if norms is None else {"image_norm": norms[:, 0], "text_norm": norms[:, 1]}
    values |= {
        "image_use": images.sum(axis=0),
        "text_use": texts.sum(axis=0),
        "image_energy": energies[0],
        "text_energy": energies[1],
        "image_share": share,
        "together": same.reshape(2, m).sum(axis=0) / n,
        "chance": (images * texts).sum(axis=0),
        "phi": phi.max(axis=0),
        "q_value": q_values,
        "shared": (q_values < alpha) & (np.minimum(share, 1 - share) >= LEAST_SHARE),
    }
    table = {name: ("atom", value, {"long_name": MEANINGS[name]}) for name, value in values.items()}
    # were uses independent, a pair would have none in common with this chance, but for the number of nonzeros
    apart = float(np.prod(1 - images * texts))
    attrs = {
        "n_pairs": n,
        "alpha": alpha,
        "share_shared": float(values["shared"].mean()),
        "pairs_with_common_atom": uses.common / n,
        "chance_with_common_atom": 1 - apart,
    }
    return xr.Dataset(table, {"atom": np.arange(m)}, attrs)


def _shares(energy):
    total = energy.sum()
    return energy / total if total > 0 else energy


def _of_two(dictionaries, pairs, executor, alpha, match_by, n_shuffles, start):
    """Matched atoms of two dictionaries."""
    import xarray as xr
    from scipy.optimize import linear_sum_assignment

    coders = [result.coder for result in dictionaries]
    half = split_holdout(pairs.chunk_rows, 0.5)
    if sum(half) == pairs.n:
        raise ValueError("images has one row; two pairs are needed at least, one to look at matches on")
    found = count_uses(pairs, *coders, executor, end=half)
    held = count_uses(pairs, *coders, executor, begin=half)
    threshold = np.nan
    phi, signs = _by_atom(found.phi)
    if match_by == "use":
        scores = phi
        threshold = _null(pairs, coders, executor, half, n_shuffles, start, alpha)
    else:
        scores = aligned_cosines(dictionaries, pairs, executor, half, match_by)
        signs = np.where(scores < 0, 1, 0)  # of opposite signs
        scores = np.abs(scores)
    first, second = linear_sum_assignment(scores, maximize=True)
    m, other = len(coders[0].dictionary), len(coders[1].dictionary)
    sign = signs[first, second]
    if match_by == "use":
        first_negative, second_negative = sign // 2, sign % 2
    else:  # the side of the atom of images that is used more
        first_negative = (found.images[first] < found.images[first + m]).astype(int)
        second_negative = first_negative ^ sign
    held_phi = held.phi[first + m * first_negative, second + other * second_negative]
    held_z = held_phi * np.sqrt(held.count)
    holds = held_z > HOLDS_Z
    chosen = scores[first, second]
    significant = chosen > threshold if match_by == "use" else holds
    values = {
        "first": first,
        "second": second,
        "first_sign": 1 - 2 * first_negative,
        "second_sign": 1 - 2 * second_negative,
        "score": chosen,
        "held_phi": held_phi,
        "held_z": held_z,
        "significant": significant,
        "holds": holds,
    }
    table = {name: ("pair", value, {"long_name": MATCHED[name]}) for name, value in values.items()}
    attrs: dict[str, Any] = {
        "n_matched_on": found.count,
        "n_held": held.count,
        "match_by": match_by,
        "alpha": alpha,
        "threshold": threshold,
        "share_significant": float(significant.mean()),
        "share_holding": float(holds[significant].mean()) if significant.any() else np.nan,
    }
    return xr.Dataset(table, attrs=attrs)


def _by_atom(phi):
    """The greatest correlation of any sides of two atoms, and which.

    Sides are numbered 2 if that of the first atom is negative, and 1 more if that of the second is.
    """
    m, other = phi.shape[0] // 2, phi.shape[1] // 2
    sides = phi.reshape(2, m, 2, other).transpose(0, 2, 1, 3).reshape(4, m, other)
    return sides.max(axis=0), sides.argmax(axis=0)


def _null(pairs, coders, executor, half, n_shuffles, start, alpha):
    """The quantile of the greatest correlation of all pairs of atoms, over shuffles of the texts."""
    together = shuffles_a_pass(*coders)
    greatest = []
    for first in range(0, n_shuffles, together):
        shuffles = range(first, min(first + together, n_shuffles))
        uses = count_uses(pairs, *coders, executor, end=half, shuffles=shuffles, seed=start)
        greatest += [correlation(uses.count, uses.images, uses.texts, one).max() for one in uses.shuffled]
    return float(np.quantile(greatest, 1 - alpha))
