"""Codes of other dictionaries at the same budget: what any atoms would score."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np
import scipy.sparse as sp

from ..arguments import row_numbers
from ..rows import Transform
from .features import Dense

if TYPE_CHECKING:
    import numpy.typing as npt

    from ..fitting.result import Result
    from ..rows.source import ArrayLike

BASELINE_ROWS = 50_000
"""Rows that the atoms of baselines are learned from at most, in memory."""

METHODS = ("random directions", "samples", "PCA", "FastICA", "k-means", "k-means, one-hot")


def baseline_codes(
    result: Result,
    embeddings: ArrayLike,
    *,
    methods: str | Sequence[str] = METHODS,
    train: npt.ArrayLike | None = None,
    random_state: int | np.random.Generator | None = None,
) -> dict[str, sp.csr_matrix]:
    """Code samples with other atoms, as many and with as many nonzeros as a result has.

    All work on the rows as the result prepares them (centred, whitened, ...).

    Parameters
    ----------
    result : daskksvd.Result
    embeddings : array-like, dask.array.Array, zarr.Array or path
        n x d.
    methods : sequence of str
        Among ``"random directions"`` (normal), ``"samples"`` (training
        samples), ``"k-means"`` (centroids), all set to unit norm and coded by
        the pursuit of the result; ``"PCA"`` and ``"FastICA"``, at most as
        many components as features, of which each sample keeps its largest, as
        many as codes may have, or with a threshold have on average;
        ``"k-means, one-hot"``, one cluster a sample.
    train : boolean array or array of int, optional
        Rows that atoms may be learned from; all by default, and at most
        `BASELINE_ROWS` of them, at random.
    random_state : int or numpy.random.Generator, optional

    Returns
    -------
    dict of str to scipy.sparse.csr_matrix
        n x m codes, or fewer columns where there are fewer components.
    """
    if isinstance(methods, str):
        methods = [methods]
    for method in methods:
        if method not in METHODS:
            raise ValueError(f"methods has {method!r}; they must be among {', '.join(map(repr, METHODS))}")
    dense = Dense(embeddings)
    m, d = result.dictionary.shape
    if dense.shape[1] != d:
        raise ValueError(f"embeddings has {dense.shape[1]} features; the dictionary was learned on {d}")
    rng = np.random.default_rng(random_state)
    rows = _training_rows(dense.shape[0], train, rng)
    if len(rows) < m:
        raise ValueError(f"train has {len(rows)} rows; there must be one for each of the {m} atoms at least")
    coder = result.coder
    some = np.concatenate([coder.transformed(block) for _, block in dense.take(rows).blocks()])
    makers = {method: _encoder(method, some, coder, rng) for method in methods}
    coded: dict[str, list] = {method: [] for method in methods}
    for _, block in dense.blocks():
        for method, encode in makers.items():
            coded[method].append(encode(block))
    return {method: sp.vstack(parts, format="csr") for method, parts in coded.items()}


def _training_rows(n, train, rng):
    rows = np.arange(n)
    if train is not None:
        rows = row_numbers("train", train, n)
    if len(rows) > BASELINE_ROWS:
        rows = np.sort(rng.choice(rows, BASELINE_ROWS, replace=False))
    return rows


def _encoder(method, some, coder, rng):
    """A function from raw rows to CSR codes."""
    m = len(coder.dictionary)
    seed = int(rng.integers(2**31))
    if method in ("PCA", "FastICA"):
        transform = _components(method, some, min(m, *some.shape), seed)
        k = _nonzeros(some, coder)
        return lambda raw: _largest(transform(coder.transformed(raw)), k)
    if method == "random directions":
        atoms = rng.standard_normal((m, some.shape[1]))
    elif method == "samples":
        order = rng.permutation(len(some))
        norms = np.linalg.norm(some[order], axis=1)
        atoms = some[order[np.argsort(norms == 0, kind="stable")[:m]]]
    else:
        means = _means(some, m, seed)
        if method == "k-means, one-hot":
            return lambda raw: _one_hot(means.predict(coder.transformed(raw)), m)
        atoms = means.cluster_centers_
    norms = np.linalg.norm(atoms, axis=1, keepdims=True)
    atoms = np.ascontiguousarray(atoms / np.where(norms > 0, norms, 1), coder.dictionary.dtype)
    coder = coder.with_dictionary(atoms)
    return lambda raw: coder.encode(raw).tocsr()


def _nonzeros(some, coder):
    """Nonzeros that codes of transformed rows have: on average, where each row has its own number."""
    target = coder.target
    if not target.threshold:
        return target.n_nonzero_coefs
    plain = dataclasses.replace(coder, transform=Transform())
    return max(1, round(plain.encode(some).nnz / len(some)))


def _components(method, some, number, seed):
    """The transform of scikit-learn's PCA or FastICA."""
    decomposition = _import_sklearn("decomposition")
    if method == "PCA":
        return decomposition.PCA(number, random_state=seed).fit(some).transform
    model = decomposition.FastICA(number, whiten="unit-variance", max_iter=500, tol=1e-3, random_state=seed)
    return model.fit(some).transform


def _means(some, m, seed):
    cluster = _import_sklearn("cluster")
    return cluster.KMeans(m, n_init=1, random_state=seed).fit(some)


def _largest(scores, k):
    """The k entries of largest magnitude of every row."""
    k = min(k, scores.shape[1])
    columns = np.argpartition(-np.abs(scores), k - 1, axis=1)[:, :k]
    rows = np.repeat(np.arange(len(scores)), k)
    values = np.take_along_axis(scores, columns, axis=1).ravel()
    return sp.csr_matrix((values, (rows, columns.ravel())), shape=scores.shape)


def _one_hot(cluster, m):
    n = len(cluster)
    return sp.csr_matrix((np.ones(n), (np.arange(n), cluster)), shape=(n, m))


def _import_sklearn(name):
    import importlib

    try:
        return importlib.import_module(f"sklearn.{name}")
    except ImportError as error:
        raise ImportError(
            'this baseline needs scikit-learn; install it with: pip install "daskksvd[sklearn]"'
        ) from error
