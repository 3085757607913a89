"""Counts of words and atoms to measures, tests and names."""

from typing import NamedTuple

import numpy as np

from ..captions.words.vocabulary import least_samples
from . import association
from .association import MEASURES, SMALL_EXPECTED
from .choosing import best_words
from .store import LABELS

NO_WORD = "no significant word"

MAJORITY = (*MEASURES, "weighted_correlation", "joint", "p_value")
MINORITY = ("joint", "phi", "g", "p_value")
"""Measures of each side that are kept, or tested by."""


class Side(NamedTuple):
    """Counts of one side of every atom.

    Attributes
    ----------
    joint, weight : (V, m) arrays
    share : (V, m) array or None
    uses, weights, squares : (m,) arrays
        As in `counting.Counts`.
    """

    joint: np.ndarray
    weight: np.ndarray
    share: np.ndarray | None
    uses: np.ndarray
    weights: np.ndarray
    squares: np.ndarray


def name_atoms(counts, vocabulary, *, rank_by, top, test, alpha, min_uses, min_joint, min_df=None):
    """Labels from counts.

    Parameters
    ----------
    counts : Counts
    vocabulary : list of str
    rank_by, top, test, alpha, min_uses, min_joint, min_df
        As for `label`.

    Returns
    -------
    xarray.Dataset
    """
    import xarray as xr

    orientation = np.where(counts.uses[0] >= counts.uses[1], 1, -1)
    testable = counts.words >= least_samples(min_df, counts.n)
    words = np.array([*vocabulary, ""], object)  # -1 is no word
    values = {}
    for prefix, signs in (("", orientation), ("minority_", -orientation)):
        side = pick_side(counts, signs)
        wanted = dict.fromkeys((*MINORITY, rank_by) if prefix else MAJORITY)
        found = measures(side, counts, wanted, test)
        tested = np.where(np.outer(testable, side.uses >= min_uses), found["p_value"], np.nan)
        found["q_value"] = association.benjamini_hochberg(tested)
        atom_q_value = association.benjamini_hochberg(association.simes(tested))
        with np.errstate(invalid="ignore"):
            able = (found["q_value"] <= alpha) & (atom_q_value <= alpha) & (side.joint >= min_joint)
        able &= found["g"] > 0
        best = best_words(np.where(able, found[rank_by], -np.inf), top)
        if prefix:
            values.update({prefix + name: found[name] for name in ("joint", "phi", "g", "q_value")})
            values.update(minority_count=side.uses, minority_word=words[best])
            continue
        values.update(found)
        able[best[:, 0], np.arange(len(signs))] = False  # the specific name is another one
        specific = best_words(np.where(able, found["shrunk_lift"], -np.inf))[:, 0]
        values.update(
            atom_count=side.uses,
            atom_q_value=atom_q_value,
            significant=best[:, 0] >= 0,
            top_word=words[best],
            specific_word=words[specific],
            tested=int((~np.isnan(tested)).sum()),
        )
    n_tested = values.pop("tested")
    values.update(
        correlation=use_correlation(counts),
        word_count=counts.words,
        use_count=counts.uses.sum(axis=0),
        orientation=orientation,
    )
    m = len(orientation)
    coords = {"word": words[:-1], "atom": np.arange(m), "rank": np.arange(1, top + 1)}
    variables = {
        name: (variable.dims, values[name], {"long_name": variable.meaning})
        for name, variable in LABELS.variables.items()
    }
    attrs = {
        **LABELS.marks,
        "n": counts.n,
        "n_components": m,
        "n_words": len(vocabulary),
        "mean_nonzeros": float(counts.uses.sum() / counts.n),
        "test": told(test, n_tested),
        "alpha": alpha,
        "rank_by": rank_by,
        "min_word_samples": float(least_samples(min_df, counts.n)),
        "min_uses": min_uses,
        "min_joint": min_joint,
    }
    return xr.Dataset(variables, coords, attrs)


def pick_side(counts, signs):
    """The positive side of atoms where ``signs`` is 1, the negative one where it is -1."""

    def pick(pair):
        return None if pair is None else np.where(signs > 0, pair[0], pair[1])

    return Side(*(pick(getattr(counts, name)) for name in Side._fields))


def measures(side, counts, names, test):
    """Measures of association of the words with one side of the atoms, (V, m) each, by name."""
    table = side.joint, counts.words, side.uses, counts.n
    found = {}
    for name in names:
        if name == "joint":
            found[name] = side.joint
        elif name == "phi" and side.share is not None:
            found[name] = share_correlation(side.share, side.uses, counts)
        elif name == "weighted_correlation":
            sums = counts.words, counts.words, side.weights, side.squares
            found[name] = association.pearson(counts.n, side.weight, *sums)
        elif name == "p_value":
            found[name] = association.p_values(*table, test=test)
        else:
            found[name] = MEASURES[name](*table)
    return found


def use_correlation(counts):
    """Correlation of words with the use of atoms, whatever the sign, (V, m)."""
    uses = counts.uses.sum(axis=0)
    if counts.share is None:
        return association.phi(counts.joint.sum(axis=0), counts.words, uses, counts.n)
    return share_correlation(counts.share.sum(axis=0), uses, counts)


def share_correlation(products, uses, counts):
    """The same of shares of captions."""
    return association.pearson(counts.n, products, counts.share_sums, counts.share_squares, uses, uses)


def told(test, n_tested):
    """The tests in words."""
    kind = {
        "exact": "exact hypergeometric test",
        "chi2": "chi-square test",
        "auto": f"hypergeometric test, exact where a cell expects fewer than {SMALL_EXPECTED} samples, "
        "chi-square else",
    }[test]
    return (
        f"one-sided {kind}; Benjamini-Hochberg over {n_tested} pairs of a word and an atom; atoms by Simes "
        "and Benjamini-Hochberg"
    )
