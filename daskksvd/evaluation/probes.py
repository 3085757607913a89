"""Labels told by a few atoms: k-sparse probes, against the same on embeddings and principal components."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
import pandas as pd
import scipy.sparse as sp

from ..arguments import integer, seed
from ..execution import WORKER_TIMEOUT
from ..naming.inputs import split_samples
from ..tracking.parts import shows_parts
from .passes import (
    ATOMS,
    COMPONENTS,
    EMBEDDINGS,
    PROJECTIONS,
    component_turn,
    gather_rows,
    open_material,
    projection_turn,
)
from .probing import PROBE_BINS, fit_probes, measures

if TYPE_CHECKING:
    import numpy.typing as npt
    import scipy.sparse
    from distributed import Client

    from ..coding.inputs import CodesLike
    from ..fitting.result import Result
    from ..rows.source import ArrayLike

PROBE_ROWS = 10_000
"""Training samples that the weights of a probe are fitted on at most: it has k + 1 of them."""

LEAST_POSITIVE = 10
"""Samples with a label, and without it, among those fitted on and those held out, for it to be probed."""

MEASURES = ("auroc", "f1", "average_precision")


class Sums(NamedTuple):
    """Sums over training samples, a tuple for every kind of features."""

    n: int
    x: tuple[np.ndarray, ...]
    xx: tuple[np.ndarray, ...]
    xy: tuple[np.ndarray, ...]
    y: np.ndarray
    products: np.ndarray | int


@dataclasses.dataclass(frozen=True, eq=False)
class Probes:
    """What `sparse_probes` found.

    Attributes
    ----------
    table : pandas.DataFrame
        By (features, k, label): ``positive`` (held-out samples with it), ``auroc`` with its 95 % interval
        by Hanley and McNeil (``auroc_low``, ``auroc_high``), ``f1`` at the threshold that was best on the
        training samples, and ``average_precision``.
    chosen : pandas.DataFrame
        By (features, k, label, place): the ``feature`` chosen and its ``weight`` for features in standard
        deviations; for codes also the ``atom`` and the ``side``.
    attrs : dict
        Numbers of samples and labels.
    """

    table: pd.DataFrame
    chosen: pd.DataFrame
    attrs: dict[str, Any]

    @property
    def means(self) -> pd.DataFrame:
        """Means over labels by (features, k), with 95 % intervals from a bootstrap of the labels."""
        rng, rows = np.random.default_rng(0), {}
        for key, part in self.table.groupby(level=["features", "k"], sort=False):
            values = part[list(MEASURES)].to_numpy()
            drawn = rng.integers(len(values), size=(self.attrs["n_resamples"], len(values)))
            row = {}
            for column, name in enumerate(MEASURES):
                row[name] = values[:, column].mean()
                means = values[:, column][drawn].mean(axis=1)
                row[f"{name}_low"], row[f"{name}_high"] = (
                    np.percentile(means, [2.5, 97.5]) if len(means) else (np.nan, np.nan)
                )
            rows[key] = row
        return pd.DataFrame(rows).T.rename_axis(["features", "k"])

    def __repr__(self) -> str:
        a, told = self.attrs, []
        for features, part in self.means.groupby(level="features", sort=False):
            values = ", ".join(f"{value:.3f}" for value in part.auroc)
            told.append(f"{features} {values}")
        ks = ", ".join(map(str, a["ks"]))
        return (
            f"<Probes: {a['n_labels']} labels, {a['n_test']:,} held-out samples; mean AUROC of k = {ks}: "
            f"{'; '.join(told)}>"
        )


@shows_parts("probes")
def sparse_probes(
    codes: CodesLike,
    labels: npt.ArrayLike | scipy.sparse.spmatrix | Any,
    *,
    names: Sequence[str] | None = None,
    embeddings: ArrayLike | None = None,
    result: Result | None = None,
    others: Mapping[str, CodesLike] | None = None,
    ks: Sequence[int] = (1, 2, 5, 10),
    train: float | npt.ArrayLike | None = None,
    n_components: int | None = None,
    n_resamples: int = 200,
    random_state: int | np.random.Generator | None = None,
    client: Client | None = None,
    worker_timeout: float | None = WORKER_TIMEOUT,
    progress: bool = False,
) -> Probes:
    """Tell each label from its k best atoms, and as well from k other features.

    Features are ranked by their correlation with the label; a logistic regression on the first k is judged
    on samples that had no part in it. Sides of atoms are features of their own.

    Parameters
    ----------
    codes : dask.array.Array, path, sparse.COO, SciPy sparse or dense array
        n x m.
    labels : (n, L) array, SciPy sparse matrix or dask.array.Array
        Not zero where a sample has a label.
    names : sequence of str, optional
        Of the labels.
    embeddings : array-like, dask.array.Array, zarr.Array or path, optional
        The rows coded, n x d: single features of theirs, and principal components, are probed as well.
    result : daskksvd.Result, optional
        What coded them: with embeddings, also codes by random directions are probed, and how the rows
        correlate with atoms, which are all not zero.
    others : dict of str to codes, optional
        Further codes of the same samples, under names that no other features here have.
    ks : sequence of int
    train : float, boolean array or array of int, optional
        Samples to choose and fit on: a share, a mask, or rows. A random half by default.
    n_components : int, optional
        Principal components; all by default.
    n_resamples : int
        Of the bootstrap over labels.
    random_state : int or numpy.random.Generator, optional
    client, worker_timeout : as for `daskksvd.fit`
    progress : bool
        Whether to show a bar of the parts of each pass that are done.

    Returns
    -------
    Probes

    Raises
    ------
    TypeError, ValueError, FileNotFoundError
        If arguments do not fit together, or no label has samples enough.

    Notes
    -----
    k-sparse probing is of Gurnee et al. (2023), "Finding neurons in a haystack". Three passes are made:
    sums by label to choose; the chosen features of `PROBE_ROWS` training samples, to fit; and counts of the
    scores of all other samples, so that memory does not grow with n but for labels that are not lazy.
    Intervals of single labels are of Hanley and McNeil (1982).
    """
    ks = sorted({integer("ks", k, 1) for k in ks})
    if not ks:
        raise ValueError("ks is empty; it must have one number at least")
    number = seed("random_state", random_state)
    material = open_material(
        codes,
        labels,
        names=names,
        embeddings=embeddings,
        result=result,
        others=others,
        seed=number or 0,
    )
    rng = np.random.default_rng(number)
    training = split_samples(train, np.arange(material.n), rng)
    how = (client, worker_timeout)
    kinds = list(material.features)
    dense = EMBEDDINGS in kinds
    sums = material.run(kinds, _sum, _add, (kinds.index(EMBEDDINGS) if dense else None,), training, *how)
    chosen = {kind: _choose(sums, place, max(ks)) for place, kind in enumerate(kinds)}
    if dense:
        place, width = kinds.index(EMBEDDINGS), material.features[EMBEDDINGS].width
        most = width if n_components is None else min(width, integer("n_components", n_components, 1))
        turns = {COMPONENTS: component_turn(sums.n, sums.x[place], sums.products, most)}
        if result is not None:
            turns[PROJECTIONS] = projection_turn(result)
        for kind, turn in turns.items():
            turned = material.features[EMBEDDINGS]._replace(turn=turn, width=turn[1].shape[1])
            material.features[kind] = turned
            chosen[kind] = _choose_turned(sums, place, turn, max(ks))
        rest = [kind for kind in kinds if kind not in (ATOMS, EMBEDDINGS)]
        kinds = [ATOMS, *sorted(turns, reverse=True), EMBEDDINGS, *rest]
    fitting = some_rows(training, PROBE_ROWS, rng)
    columns = {kind: np.unique(chosen[kind][0]) for kind in kinds}
    *gathered, truth = material.run(
        kinds, _gather, gather_rows, [columns[kind] for kind in kinds], fitting, *how
    )
    truth = truth.toarray() != 0
    probed = _probed(truth)
    fitted = {
        kind: fit_probes(rows, truth[:, probed], _places(columns[kind], chosen[kind][0][probed]), ks)
        for kind, rows in zip(kinds, gathered, strict=True)
    }
    shared = [(columns[kind], probed, fitted[kind]) for kind in kinds]
    counts = material.run(kinds, _count, _add_counts, shared, ~training, *how)
    positive = counts[0][:, :, 1].sum(axis=1)[: len(probed)]
    kept = (positive >= LEAST_POSITIVE) & (
        counts[0][: len(probed)].sum(axis=(1, 2)) - positive >= LEAST_POSITIVE
    )
    if not kept.any():
        raise ValueError(f"labels has none that {LEAST_POSITIVE} held-out samples have, and as many have not")
    tables, picks = [], []
    told = [material.names[label] for label in probed[kept]]
    for kind, found in zip(kinds, counts, strict=True):
        probes = fitted[kind]
        for at, k in enumerate(ks):
            some = slice(at * len(probed), (at + 1) * len(probed))
            table = measures(found[some][kept], probes.threshold[some][kept]).set_axis(told)
            tables.append(pd.concat({(kind, k): table}, names=["features", "k", "label"]))
            picks.append(
                _picks((kind, k), told, chosen[kind][0][probed][kept], probes.scaled[some][kept], material)
            )
    attrs = {
        "n_labels": int(kept.sum()),
        "n_train": int(training.sum()),
        "n_fitted": int(fitting.sum()),
        "n_test": int((~training).sum()),
        "ks": ks,
        "n_resamples": integer("n_resamples", n_resamples, 0),
    }
    return Probes(pd.concat(tables), pd.concat(picks), attrs)


# ------------------------------------------------------------------ the passes


def _sum(features, labels, numbers, shared):
    (dense,) = shared
    square = [x.multiply(x) if sp.issparse(x) else x * x for x in features]
    return Sums(
        len(numbers),
        tuple(np.asarray(x.sum(axis=0)).ravel() for x in features),
        tuple(np.asarray(x.sum(axis=0)).ravel() for x in square),
        tuple(_dense(labels.T @ x) for x in features),
        np.asarray(labels.sum(axis=0)).ravel(),
        0 if dense is None else features[dense].T @ features[dense],
    )


def _add(parts):
    total = parts[0]
    for part in parts[1:]:
        several = [
            tuple(a + b for a, b in zip(one, other, strict=True))
            for one, other in zip(total[1:4], part[1:4], strict=True)
        ]
        total = Sums(total.n + part.n, *several, total.y + part.y, total.products + part.products)
    return total


def _gather(features, labels, numbers, columns):
    return [x[:, some].astype(np.float32) for x, some in zip(features, columns, strict=True)] + [labels]


def _count(features, labels, numbers, shared):
    truth = labels.toarray() != 0
    found = []
    for x, (columns, probed, fitted) in zip(features, shared, strict=True):
        scores = _dense(x[:, columns] @ fitted.weights)
        counts = np.zeros((scores.shape[1], PROBE_BINS, 2), np.int64)
        for probe in range(scores.shape[1]):
            bins = np.searchsorted(fitted.edges[probe], scores[:, probe], side="right")
            true = truth[:, probed[probe % len(probed)]]
            counts[probe] = np.bincount(2 * bins + true, minlength=2 * PROBE_BINS).reshape(PROBE_BINS, 2)
        found.append(counts)
    return found


def _add_counts(parts):
    return [sum(several) for several in zip(*parts, strict=True)]


# ------------------------------------------------------------------ choosing


def _choose(sums, place, most):
    """Columns of the largest correlations with each label, (L, K), and those correlations."""
    return _largest(*_correlations(sums.n, sums.x[place], sums.xx[place], sums.xy[place], sums.y), most)


def _choose_turned(sums, place, turn, most):
    """The same for `Features` that are turned rows, whose sums follow from those of the rows."""
    mean, basis = turn
    n, x = sums.n, sums.x[place]
    away = x - n * mean
    products = sums.products - np.outer(x, mean) - np.outer(mean, x) + n * np.outer(mean, mean)
    square = np.einsum("dc,dc->c", basis, products @ basis)
    xy = (sums.xy[place] - np.outer(sums.y, mean)) @ basis
    return _largest(*_correlations(n, away @ basis, square, xy, sums.y), most)


def _correlations(n, x, xx, xy, y):
    spread = np.sqrt(np.maximum(xx - x**2 / n, 0) * 1.0)
    share = np.sqrt(np.maximum(y - y**2 / n, 0))
    with np.errstate(divide="ignore", invalid="ignore"):
        found = (xy - np.outer(y, x) / n) / np.outer(share, spread)
    return (np.nan_to_num(found),)


def _largest(correlations, most):
    order = np.argsort(-np.abs(correlations), axis=1, kind="stable")[:, :most]
    return order, np.take_along_axis(correlations, order, axis=1)


def some_rows(mask: np.ndarray, most: int, rng: np.random.Generator) -> np.ndarray:
    """At most so many of the rows of a mask, as a mask."""
    rows = np.flatnonzero(mask)
    kept = np.zeros(len(mask), bool)
    kept[rows if len(rows) <= most else rng.choice(rows, most, replace=False)] = True
    return kept


def _probed(truth):
    """Labels that enough of the samples fitted on have, and have not."""
    positive = truth.sum(axis=0)
    probed = np.flatnonzero((positive >= LEAST_POSITIVE) & (len(truth) - positive >= LEAST_POSITIVE))
    if not len(probed):
        raise ValueError(
            f"labels has none that {LEAST_POSITIVE} of the {len(truth)} samples fitted on have, and as many "
            "have not"
        )
    return probed


def _places(columns, chosen):
    return np.searchsorted(columns, chosen)


def _picks(key, labels, chosen, scaled, material):
    """What probes are made of, a row a feature."""
    kind, k = key
    k_here = min(k, chosen.shape[1])
    table = pd.DataFrame({"feature": chosen[:, :k_here].ravel(), "weight": scaled[:, :k_here].ravel()})
    m = material.features[kind].m
    if m:
        table["atom"], table["side"] = table.feature % m, np.where(table.feature < m, 1, -1)
    table.index = pd.MultiIndex.from_product(
        [[kind], [k], labels, range(1, k_here + 1)], names=["features", "k", "label", "place"]
    )
    return table


def _dense(matrix):
    return matrix.toarray() if sp.issparse(matrix) else np.asarray(matrix)
