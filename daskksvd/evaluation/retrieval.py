"""Samples found by the code of another: do they have its labels?"""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
import scipy.sparse as sp

from ..arguments import integer, row_numbers
from ..execution import WORKER_TIMEOUT
from ..tracking.parts import shows_parts
from .passes import ANY_SAMPLES, ATOMS, EMBEDDINGS, gather_rows, open_material

if TYPE_CHECKING:
    import numpy.typing as npt
    import scipy.sparse
    from distributed import Client

    from ..coding.inputs import CodesLike
    from ..fitting.result import Result
    from ..rows.source import ArrayLike


@dataclasses.dataclass(frozen=True, eq=False)
class Retrieval:
    """What `retrieval` found.

    Attributes
    ----------
    table : pandas.DataFrame
        By what samples were compared by: ``jaccard``, the mean over queries and their nearest samples of
        the share of labels of either that both have, with a 95 % bootstrap interval over queries;
        ``precision``, the share of nearest samples with a label of the query, mean over its labels.
    nearest : dict of str to (q, k) int array
        Rows found for every query, nearest first.
    queries : (q,) int array
    attrs : dict
    """

    table: pd.DataFrame
    nearest: dict[str, np.ndarray]
    queries: np.ndarray
    attrs: dict[str, Any]

    def __repr__(self) -> str:
        told = [
            f"{name} {row.jaccard:.3f} ({row.jaccard_low:.3f} to {row.jaccard_high:.3f})"
            for name, row in self.table.iterrows()
        ]
        a = self.attrs
        some = f"{a['n_queries']} queries, {a['top']} of {a['n']:,} samples"
        return f"<Retrieval: {some}; Jaccard {', '.join(told)}>"


@shows_parts("retrieval")
def retrieval(
    codes: CodesLike,
    labels: npt.ArrayLike | scipy.sparse.spmatrix | Any,
    *,
    embeddings: ArrayLike | None = None,
    result: Result | None = None,
    others: Mapping[str, CodesLike] | None = None,
    top: int = 10,
    n_queries: int = 200,
    rows: npt.ArrayLike | None = None,
    n_resamples: int = 200,
    random_state: int | np.random.Generator | None = None,
    client: Client | None = None,
    worker_timeout: float | None = WORKER_TIMEOUT,
    progress: bool = False,
) -> Retrieval:
    """Find the nearest samples of some by cosine, of codes and of embeddings, and compare their labels.

    Retrieval by single atoms is what `sparse_probes` measures with k = 1, as average precision.

    Parameters
    ----------
    codes, labels, embeddings, result, others : as for `sparse_probes`
        Embeddings are compared less their mean.
    top : int
        Nearest samples of a query.
    n_queries : int
        Samples at random that are looked for.
    rows : array of int or boolean array, optional
        Samples among which queries are, and nearest ones; all by default. Better not those learned from.
    n_resamples : int
        Of the bootstrap over queries.
    random_state, client, worker_timeout, progress : as for `sparse_probes`

    Returns
    -------
    Retrieval

    Raises
    ------
    TypeError, ValueError, FileNotFoundError
        If arguments do not fit together.
    """
    top, n_queries = integer("top", top, 1), integer("n_queries", n_queries, 1)
    n_resamples = integer("n_resamples", n_resamples, 0)
    rng = np.random.default_rng(random_state)
    material = open_material(
        codes, labels, embeddings=embeddings, result=result, others=others, seed=int(rng.integers(2**31))
    )
    among = np.ones(material.n, bool)
    if rows is not None:
        among[:] = False
        among[row_numbers("rows", rows, material.n)] = True
    if among.sum() <= top:
        raise ValueError(f"rows has {among.sum()} samples; it must have more than top={top}")
    how = (client, worker_timeout)
    if EMBEDDINGS in material.features:
        mean = material.run([EMBEDDINGS], _mean, sum, None, among, *how) / among.sum()
        dense = material.features[EMBEDDINGS]
        material.features[EMBEDDINGS] = dense._replace(turn=(mean, np.eye(dense.width)))
    kinds = list(material.features)
    queries = np.sort(rng.choice(np.flatnonzero(among), min(n_queries, int(among.sum())), replace=False))
    asked = np.zeros(material.n, bool)
    asked[queries] = True
    *given, truth = material.run(kinds, _gather, gather_rows, None, asked, *how)
    merge = functools.partial(_merge, top=top)
    found = material.run(kinds, _nearest, merge, ([_unit(one) for one in given], queries, top), among, *how)
    nearest = {kind: one[1] for kind, one in zip(kinds, found, strict=True)}
    nearest[ANY_SAMPLES] = _any_others(np.flatnonzero(among), queries, top, rng)
    table = {}
    for kind, one in nearest.items():
        wanted = np.unique(one)
        asked[:] = False
        asked[wanted] = True
        *_, theirs = material.run([ATOMS], _gather, gather_rows, None, asked, *how)
        jaccard, precision = _compare(truth, theirs, np.searchsorted(wanted, one))
        drawn = jaccard[rng.integers(len(jaccard), size=(n_resamples, len(jaccard)))].mean(axis=1)
        low, high = np.percentile(drawn, [2.5, 97.5]) if n_resamples else (np.nan, np.nan)
        table[kind] = {"jaccard": jaccard.mean(), "jaccard_low": low, "jaccard_high": high}
        table[kind]["precision"] = np.nanmean(precision)
    attrs = {"n": int(among.sum()), "n_queries": len(queries), "top": top, "n_resamples": n_resamples}
    return Retrieval(pd.DataFrame(table).T.rename_axis("compared by"), nearest, queries, attrs)


def _mean(features, labels, numbers, shared):
    return features[0].sum(axis=0)


def _gather(features, labels, numbers, shared):
    return [*features, labels]


def _nearest(features, labels, numbers, shared):
    """Similarities (q, k) and numbers of the nearest rows of this range, for every kind."""
    asked, queries, top = shared
    found = []
    for rows, of in zip(features, asked, strict=True):
        near = of @ _unit(rows).T
        near = near.toarray() if sp.issparse(near) else np.asarray(near)
        near[queries[:, None] == numbers] = -np.inf  # itself
        found.append(_best(near, np.broadcast_to(numbers, near.shape), top))
    return found


def _merge(parts, top):
    merged = []
    for several in zip(*parts, strict=True):
        near, numbers = (np.concatenate(one, axis=1) for one in zip(*several, strict=True))
        merged.append(_best(near, numbers, top))
    return merged


def _any_others(rows, queries, top, rng):
    """Different rows at random for every query, (q, top), itself not among them."""
    own = np.searchsorted(rows, queries)[:, None]
    drawn = np.stack([rng.choice(len(rows) - 1, top, replace=False) for _ in queries])
    return rows[drawn + (drawn >= own)]


def _best(near, numbers, top):
    order = np.argsort(-near, axis=1, kind="stable")[:, :top]
    return np.take_along_axis(near, order, axis=1), np.take_along_axis(numbers, order, axis=1)


def _unit(rows):
    if sp.issparse(rows):
        norms = np.sqrt(np.asarray(rows.multiply(rows).sum(axis=1)).ravel())
        return sp.csr_matrix(sp.diags(1 / np.where(norms > 0, norms, 1)) @ rows)
    norms = np.linalg.norm(rows, axis=1, keepdims=True)
    return rows / np.where(norms > 0, norms, 1)


def _compare(truth, theirs, places):
    """Mean Jaccard index, and mean share of a query's labels among the nearest, of every query."""
    truth, theirs = truth.toarray() != 0, theirs.toarray() != 0
    both = (truth[:, None] & theirs[places]).sum(axis=2)
    either = (truth[:, None] | theirs[places]).sum(axis=2)
    own = truth.sum(axis=1)
    with np.errstate(divide="ignore", invalid="ignore"):
        precision = np.where(own > 0, both.mean(axis=1) / own, np.nan)
    return (both / np.maximum(either, 1)).mean(axis=1), precision
