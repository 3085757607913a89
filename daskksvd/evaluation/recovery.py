"""True concepts against atoms: does each have an atom of its own?"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

import numpy as np
import scipy.sparse as sp

from ..naming.association import phi
from ..naming.choosing import auroc, column_sums, count, mid_ranks
from ..naming.inputs import codes_matrix, indicator, one_side, orient, split_samples
from ..naming.thresholds import ATOM_USES
from .scores import RESAMPLES, SCORED_USES

if TYPE_CHECKING:
    import numpy.typing as npt
    import pandas as pd
    import xarray as xr

    from ..coding.inputs import CodesLike

MEANINGS = {
    "f1": "F1 of the side of an atom that tells the concept best, on held-out samples",
    "precision": "share of the held-out samples using that side that show the concept",
    "recall": "share of the held-out samples with the concept that use that side",
    "auroc": "area under the ROC curve of the concept as told by the best side's magnitude",
}
PURITY = "share of the samples using the side of an atom that show its concept, mean over sides"
CORRECTED = "purity from 0, the concept's share of all samples, to 1; mean over sides"


def concept_recovery(
    codes_by_method: dict[str, CodesLike],
    truth: npt.ArrayLike | sp.spmatrix | sp.sparray,
    *,
    concepts: Sequence[str] | None = None,
    train: float | npt.ArrayLike | None = None,
    n_resamples: int = RESAMPLES,
    random_state: int | np.random.Generator | None = None,
) -> xr.Dataset:
    """How well atoms tell true concepts, for several sets of codes.

    An atom has two sides, its positive and its negative coefficients. Each
    concept is given the side that tells it best, and each side the concept
    it is purest of, on one part of the samples; both are scored on the rest.

    Parameters
    ----------
    codes_by_method : dict of str to codes
        n x m each: Dask array, path of stored codes, sparse.COO, SciPy sparse
        or dense array. `baseline_codes` makes codes of equal budget.
    truth : (n, C) boolean array or SciPy sparse matrix
        Concepts that every sample shows, as `datasets.Scenes.truth` gives it.
    concepts : sequence of str, optional
        Their names.
    train : float, boolean array or array of int, optional
        Samples to choose on: a share, a mask, or rows. A random half by
        default.
    n_resamples : int
        Bootstrap resamples of the concepts behind the intervals.
    random_state : int or numpy.random.Generator, optional

    Returns
    -------
    xarray.Dataset
        By (dictionary, concept): ``f1``, ``precision``, ``recall`` of the side
        with the best F1, ``auroc`` of the side with the best AUROC, and the
        ``atom`` and its ``side``. By dictionary: their means ``mean_*`` over
        concepts with 95 % bootstrap limits for F1 and AUROC, ``purity``, its
        chance-corrected value, and the budget (``m``, ``k``, ``n_sides``).

    Raises
    ------
    TypeError, ValueError
        If the matrices do not fit together.

    Notes
    -----
    Concepts that all training or all held-out samples show, or none, are
    left out. Sides with fewer than `ATOM_USES` training or `SCORED_USES`
    held-out uses tell nothing, and have no purity.
    """
    import xarray as xr

    if not isinstance(codes_by_method, dict) or not codes_by_method:
        raise TypeError(
            "codes_by_method must be a dict of at least one set of codes, such as {'K-SVD': codes}"
        )
    truth = sp.csr_matrix(truth, dtype=np.float64)
    truth.eliminate_zeros()
    truth = indicator(truth)
    n, c = truth.shape
    names = np.arange(c).astype(str) if concepts is None else np.array(list(map(str, concepts)))
    if len(names) != c:
        raise ValueError(f"concepts has {len(names)} names; truth has {c} columns")
    codes = {
        name: codes_matrix(value, f"codes_by_method[{name!r}]") for name, value in codes_by_method.items()
    }
    for name, value in codes.items():
        if value.shape[0] != n:
            raise ValueError(f"codes of {name!r} has {value.shape[0]} rows; truth has {n}")
    rng = np.random.default_rng(random_state)
    training = split_samples(train, np.arange(n), rng)
    halves = [truth[np.flatnonzero(part)] for part in (training, ~training)]
    shown = np.logical_and.reduce([(h.sum(axis=0) > 0).A1 & (h.sum(axis=0) < h.shape[0]).A1 for h in halves])
    if not shown.any():
        raise ValueError("truth has no concept that some, but not all, samples of both halves show")
    halves, names = [half[:, np.flatnonzero(shown)] for half in halves], names[shown]
    found = {name: _recover(value, halves, training) for name, value in codes.items()}

    table = xr.Dataset(
        coords={"dictionary": np.array(list(found), object), "concept": names.astype(object)},
        attrs={
            "n_train": int(training.sum()),
            "n_test": int((~training).sum()),
            "n_concepts": len(names),
            "n_resamples": n_resamples,
        },
    )
    for name, meaning in MEANINGS.items():
        values = np.array([one[name] for one in found.values()])
        table[name] = (("dictionary", "concept"), values, {"long_name": meaning})
        table[f"mean_{name}"] = ("dictionary", values.mean(axis=1))
        if name in ("f1", "auroc"):
            drawn = rng.integers(len(names), size=(n_resamples, len(names)))
            means = values[:, drawn].mean(axis=2)
            limits = (
                np.percentile(means, [2.5, 97.5], axis=1) if n_resamples else np.full((2, len(found)), np.nan)
            )
            table[f"mean_{name}_low"], table[f"mean_{name}_high"] = (
                ("dictionary", limit) for limit in limits
            )
    for name in ("atom", "side"):
        table[name] = (("dictionary", "concept"), np.array([one[name] for one in found.values()]))
    for name, meaning in (("purity", PURITY), ("corrected_purity", CORRECTED), ("n_sides", "sides scored")):
        table[name] = ("dictionary", np.array([one[name] for one in found.values()]), {"long_name": meaning})
    table["m"] = ("dictionary", np.array([value.shape[1] for value in codes.values()]))
    table["k"] = ("dictionary", np.array([value.nnz / n for value in codes.values()]))
    return table


def recovery_table(recovery: xr.Dataset) -> pd.DataFrame:
    """One row a method: means over concepts and atoms; `pandas.DataFrame`."""
    columns = [name for name in recovery if recovery[name].dims == ("dictionary",)]
    return recovery[columns].to_dataframe()


def names_right(
    codes: CodesLike,
    names: Sequence[str],
    truth: npt.ArrayLike | sp.spmatrix | sp.sparray,
    concepts: Sequence[str],
    words: Mapping[str, Sequence[str]],
) -> pd.DataFrame:
    """Which names of atoms are words for the concept that the atom really shows.

    Parameters
    ----------
    codes : (n, m) codes
    names : sequence of str
        One an atom, for its more frequent sign; empty for none.
    truth : (n, C) boolean array or SciPy sparse matrix
    concepts : sequence of str
        Names of the columns of ``truth``.
    words : dict of str to sequence of str
        Words that stand for each concept, as `datasets.Scenes.words`.

    Returns
    -------
    pandas.DataFrame
        By atom: ``name``, ``concept`` (the one its use correlates with most),
        ``correlation`` with it, ``right`` (whether the name is a word for it),
        and ``rank`` of the best concept that the name is a word for, from 1 for
        the one the atom shows most; NaN where it is a word for none.

    Raises
    ------
    ValueError
        If there is not one name an atom, or one concept a column.
    """
    import pandas as pd

    codes = codes_matrix(codes)
    truth = indicator(sp.csr_matrix(truth, dtype=np.float64))
    if len(names) != codes.shape[1] or len(concepts) != truth.shape[1] or codes.shape[0] != truth.shape[0]:
        raise ValueError(
            f"codes is {codes.shape} with {len(names)} names, truth {truth.shape} with {len(concepts)} "
            "concepts; there must be a name an atom, a concept a column, and the same samples"
        )
    side = indicator(one_side(codes, orient(codes)))
    counts = count(truth, side)
    correlations = np.nan_to_num(phi(counts.joint, counts.word, counts.atom, counts.n), nan=-1.0)
    order = np.argsort(-correlations, axis=0, kind="stable")
    rows = []
    for atom, name in enumerate(names):
        meant = [place for place, row in enumerate(order[:, atom], 1) if name in words[concepts[row]]]
        best = order[0, atom]
        rows.append(
            (name, concepts[best], correlations[best, atom], meant[:1] == [1], *(meant[:1] or (np.nan,)))
        )
    table = pd.DataFrame(rows, columns=["name", "concept", "correlation", "right", "rank"])
    return table.rename_axis("atom")


class _Sides:
    """Both sides of all atoms on some samples, counted against concepts; matrices are (C, 2m)."""

    def __init__(self, sides, truth):
        self.n = truth.shape[0]
        self.joint = (truth.T @ indicator(sides)).toarray()
        self.uses, self.shows = column_sums(sides > 0), column_sums(truth)[:, None]
        self.ranks = (truth.T @ mid_ranks(sides)).toarray()

    def f1(self):
        return 2 * self.joint / (self.shows + self.uses)

    def auroc(self):
        return auroc(self.ranks, self.joint, self.shows, self.uses, self.n)

    def purity(self):
        return self.joint / np.maximum(self.uses, 1)

    def corrected(self):
        share = self.shows / self.n
        return (self.purity() - share) / (1 - share)


def _recover(codes, halves, training):
    """Sides chosen on the training samples and scored on the others."""
    m = codes.shape[1]
    ones = np.ones(m, int)
    sides = sp.hstack([one_side(codes, ones), one_side(codes, -ones)], format="csr")
    first, second = (
        _Sides(sides[np.flatnonzero(part)], half)
        for part, half in zip((training, ~training), halves, strict=True)
    )
    usable = first.uses >= ATOM_USES
    if not usable.any():
        usable[:] = True
    concept = np.arange(len(first.shows))
    best = np.where(usable, first.f1(), -np.inf).argmax(axis=1)
    ranked = np.where(usable, first.auroc(), -np.inf).argmax(axis=1)
    scored = np.flatnonzero(usable & (second.uses >= SCORED_USES))
    own = first.corrected()[:, scored].argmax(axis=0)
    return {
        "f1": second.f1()[concept, best],
        "precision": second.purity()[concept, best],
        "recall": (second.joint / second.shows)[concept, best],
        "auroc": second.auroc()[concept, ranked],
        "atom": best % m,
        "side": np.where(best < m, 1, -1),
        "purity": float(second.purity()[own, scored].mean()) if len(scored) else np.nan,
        "corrected_purity": float(second.corrected()[own, scored].mean()) if len(scored) else np.nan,
        "n_sides": len(scored),
    }
