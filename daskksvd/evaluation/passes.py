"""Passes over codes, embeddings and labels of the same samples, a range of rows at a time."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from itertools import pairwise
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
import scipy.sparse as sp

from ..captions.partitions import compute
from ..coding.nonzeros import CodeRows, cut_edges, open_code_rows
from ..naming.counting import tree
from ..naming.tokens.sums import rows_of_encodings, side_matrix
from ..rows import as_source

if TYPE_CHECKING:
    import dask.array as da
    import numpy.typing as npt
    from distributed import Client

    from ..coding.inputs import CodesLike
    from ..fitting.result import Result
    from ..rows.source import ArrayLike

PASS_ROWS = 2**14
"""Rows of one task: 100 MB of 768 features in double precision."""

EMBEDDINGS = "embeddings"
COMPONENTS = "principal components"
PROJECTIONS = "projections on atoms"
RANDOM = "random directions"
ATOMS = "atoms"
ANY_SAMPLES = "any samples"
FREQUENT_CLASS = "most frequent class"
TAKEN = (ATOMS, EMBEDDINGS, COMPONENTS, PROJECTIONS, ANY_SAMPLES, FREQUENT_CLASS)
"""Names of features, and of what they are compared with, that no other codes may have. Those of random
directions are taken only where they are made."""


class Features(NamedTuple):
    """Features of samples, as tasks read them.

    Attributes
    ----------
    rows : CodeRows or dask.array.Array
    n, width : int
    m : int or None
        Atoms; None for dense rows. The features of codes are the magnitudes of the two sides of every
        atom, positive coefficients in columns 0 to m - 1 and negative ones in m to 2m - 1.
    turn : pair of arrays or None
        Mean (d,) and basis (d, c): features are ``(y - mean) @ basis``.
    """

    rows: Any
    n: int
    width: int
    m: int | None = None
    turn: tuple[np.ndarray, np.ndarray] | None = None

    def delayed(self, low: int, high: int) -> Any:
        """Rows [low, high), delayed."""
        return self.rows.delayed(low, high) if self.m else rows_of_encodings(self.rows, low, high)

    @property
    def how(self) -> Features:
        """The same without rows, for tasks."""
        return self._replace(rows=None)

    def read(self, part: Any, low: int, high: int) -> sp.csr_matrix | np.ndarray:
        """Features (high - low, width) of what was delayed."""
        if self.m:
            return side_matrix(part, low, high, self.m)
        dense = np.concatenate([np.asarray(block, np.float64) for block in part])
        if not np.isfinite(dense).all():
            row = low + int(np.argmin(np.isfinite(dense).all(axis=1)))
            raise ValueError(f"embeddings has NaN or infinite values (row {row}); all must be finite")
        return dense if self.turn is None else (dense - self.turn[0]) @ self.turn[1]


class Material(NamedTuple):
    """Features of the same samples by name, their labels, and the ranges of rows that tasks read.

    Attributes
    ----------
    features : dict of str to Features
    labels : scipy.sparse.csr_matrix or dask.array.Array or None
        n x L, not zero where a sample has a label.
    names : list of str
        Of the labels.
    edges : list of int
    """

    features: dict[str, Features]
    labels: Any
    names: list[str]
    edges: list[int]

    @property
    def n(self) -> int:
        return self.edges[-1]

    def run(
        self,
        names: Sequence[str],
        chunk: Callable,
        combine: Callable,
        shared: Any,
        rows: np.ndarray | None,
        client: Client | None,
        worker_timeout: float | None,
    ) -> Any:
        """``combine`` of what ``chunk`` returns for every range, in a tree.

        ``chunk(features, labels, numbers, shared)`` gets a list of matrices, the labels (CSR), and the
        numbers of their rows: those that ``rows``, a mask, holds.
        """
        import dask

        hows = [self.features[name].how for name in names]
        read = dask.delayed(_read_range, pure=False)
        shared = dask.delayed(shared, pure=False)
        parts = []
        for low, high in pairwise(self.edges):
            mask = None if rows is None else rows[low:high]
            if mask is None or mask.any():
                given = [self.features[name].delayed(low, high) for name in names]
                parts.append(read(chunk, hows, given, self._labels(low, high), mask, (low, high), shared))
        return compute(tree(combine, parts), client, worker_timeout)

    def _labels(self, low, high):
        if self.labels is None or sp.issparse(self.labels):
            return None if self.labels is None else self.labels[low:high]
        return rows_of_encodings(self.labels, low, high)


def _read_range(chunk, hows, parts, labels, mask, bounds, shared):
    low, high = bounds
    if isinstance(labels, list):
        labels = np.concatenate([_shown(np.asarray(block)) for block in labels])
    labels = None if labels is None else sp.csr_matrix(labels, dtype=np.float64)
    found = [how.read(part, low, high) for how, part in zip(hows, parts, strict=True)]
    numbers = np.arange(low, high)
    if mask is not None:
        kept = np.flatnonzero(mask)
        found, numbers = [one[kept] for one in found], numbers[kept]
        labels = None if labels is None else labels[kept]
    return chunk(found, labels, numbers, shared)


def open_material(
    codes: CodesLike,
    labels: Any = None,
    *,
    names: Sequence[str] | None = None,
    embeddings: ArrayLike | None = None,
    result: Result | None = None,
    others: Mapping[str, CodesLike] | None = None,
    seed: int = 0,
) -> Material:
    """What there is, checked: codes, embeddings, codes of random directions, labels.

    Raises
    ------
    TypeError, ValueError, FileNotFoundError
        If something is none of these, or they are not of the same samples.
    """
    rows = open_code_rows(codes, size=PASS_ROWS)
    features = {ATOMS: of_codes(rows)}
    edges = rows.edges
    if embeddings is not None:
        source = as_source(embeddings, "embeddings")
        _same("embeddings", source.n, rows.n)
        array = source.array
        features[EMBEDDINGS] = Features(array, source.n, source.d)
        if len(edges) == 2:  # codes in one piece say nothing of chunks
            edges = cut_edges([0, *np.cumsum(array.chunks[0]).tolist()], PASS_ROWS)
        if result is not None:
            features[RANDOM] = of_codes(open_code_rows(random_codes(result, array, seed), size=PASS_ROWS))
    if others is not None and not isinstance(others, Mapping):
        raise TypeError(f"others is a {type(others).__name__}; it must be a dict from names to codes")
    for name, value in (others or {}).items():
        if str(name) in features or str(name) in TAKEN:
            raise ValueError(f"others has the name {str(name)!r}, which is taken; give these codes another")
        found = open_code_rows(value, size=PASS_ROWS)
        _same(f"others[{name!r}]", found.n, rows.n)
        features[str(name)] = of_codes(found)
    given = None if labels is None else check_labels(labels, rows.n)
    width = 0 if given is None else given.shape[1]
    said = [str(number) for number in range(width)] if names is None else list(map(str, names))
    if len(said) != width:
        raise ValueError(f"names has {len(said)} names; labels has {width} columns")
    return Material(features, given, said, edges)


def of_codes(rows: CodeRows) -> Features:
    """The sides of the atoms of codes."""
    return Features(rows, rows.n, 2 * rows.m, rows.m)


def random_codes(result: Result, array: da.Array, seed: int) -> da.Array:
    """Lazy codes by random directions in place of the atoms, as many, by the same pursuit."""
    atoms = np.random.default_rng(seed).standard_normal(result.coder.dictionary.shape)
    atoms /= np.linalg.norm(atoms, axis=1, keepdims=True)
    return result.coder.with_dictionary(np.ascontiguousarray(atoms, result.coder.dictionary.dtype)).encode(
        array
    )


def check_labels(labels: Any, n: int) -> Any:
    """Labels (n, L) as a CSR matrix of ones, or as they are if lazy."""
    shape = getattr(labels, "shape", np.shape(labels))
    if len(shape) != 2 or shape[0] != n or not shape[1]:
        raise ValueError(
            f"labels has shape {tuple(shape)}; it must be {n:,} x L, a row a sample, a column a label"
        )
    if hasattr(labels, "dask"):
        return labels
    labels = sp.csr_matrix(labels, dtype=np.float64, copy=True)
    labels.sum_duplicates()
    labels.eliminate_zeros()
    labels.data = _shown(labels.data).astype(np.float64)
    return labels


def _shown(labels):
    """Where labels are not zero; an error where they are no numbers."""
    if labels.dtype.kind in "fc" and not np.isfinite(labels).all():
        raise ValueError("labels has NaN or infinite values; it must be zero where a sample has no label")
    return labels != 0


def gather_rows(parts: list[list]) -> list:
    """Combines lists of matrices of consecutive rows."""
    stacked: list[Any] = []
    for several in zip(*parts, strict=True):
        first = several[0]
        if first is None:
            stacked.append(None)
        else:
            stacked.append(
                sp.vstack(several, format="csr") if sp.issparse(first) else np.concatenate(several)
            )
    return stacked


def projection_turn(result: Result) -> tuple[np.ndarray, np.ndarray]:
    """Mean (d,) and basis (d, m) with which rows become their correlations with the atoms of a result."""
    mean, basis, scale = result.coder.transform
    d = result.dictionary.shape[1]
    turn = np.eye(d) if basis is None else basis
    turn = turn if scale is None else turn / scale
    atoms = result.coder.dictionary.astype(np.float64)
    return np.zeros(d) if mean is None else mean, np.ascontiguousarray(turn @ atoms.T)


def _same(name: str, found: int, n: int) -> None:
    if found != n:
        raise ValueError(f"{name} has {found:,} rows; codes has {n:,}; they must be of the same samples")


def component_turn(
    n: int, total: npt.NDArray, products: npt.NDArray, most: int
) -> tuple[np.ndarray, np.ndarray]:
    """Mean and principal components (d, c) of sums of rows and of their products."""
    mean = total / n
    _, vectors = np.linalg.eigh(products / n - np.outer(mean, mean))
    return mean, np.ascontiguousarray(vectors[:, ::-1][:, :most])
