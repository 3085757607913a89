"""What one pass over codes and caption encodings leaves: all that words are chosen by."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
import scipy.sparse as sp

from ...captions.partitions import compute
from ...execution import WORKER_TIMEOUT
from ..counting import tree
from .pairs import DENSE_SIDES, CentredPairs, Pairs

if TYPE_CHECKING:
    import dask.array as da
    import pandas as pd
    from distributed import Client

    from ...coding.nonzeros import CodeRows


class Sums(NamedTuple):
    """Sums over samples of features of the sides of atoms and of caption encodings.

    Columns 0 to m - 1 are sides with positive coefficients, m to 2m - 1 those with negative ones.

    Attributes
    ----------
    n : int
        Samples with captions.
    features : (2m,) float64 array
        Sum of the features.
    encoding : (e,) float64 array
        Sum of the encodings.
    energy : float
        Sum of their squared norms.
    uses : (2m,) int64 array
        Samples that have the feature.
    pairs : (2m, 2m) float64 array or scipy.sparse.csr_matrix
        ``Z'Z``.
    joint : (2m, e) float64 array
        ``Z'C``.
    """

    n: int
    features: np.ndarray
    encoding: np.ndarray
    energy: float
    uses: np.ndarray
    pairs: np.ndarray | sp.csr_matrix
    joint: np.ndarray

    def centred(self) -> Centred:
        """The same of what differs from the means."""
        mean, encoding = self.features / self.n, self.encoding / self.n
        pairs: Pairs
        if isinstance(self.pairs, np.ndarray):
            pairs = self.pairs - self.n * np.outer(mean, mean)
        else:
            pairs = CentredPairs(self.pairs, self.n, mean)
        return Centred(
            self.n,
            mean,
            encoding,
            self.energy - self.n * float(encoding @ encoding),
            pairs,
            self.joint - self.n * np.outer(mean, encoding),
        )


class Centred(NamedTuple):
    """`Sums` of features and encodings from which their means were subtracted.

    Attributes
    ----------
    n : int
    mean : (2m,) float64 array
        Of the features.
    encoding : (e,) float64 array
        Mean encoding.
    energy : float
    pairs : (2m, 2m) float64 array or CentredPairs
    joint : (2m, e) float64 array
    """

    n: int
    mean: np.ndarray
    encoding: np.ndarray
    energy: float
    pairs: Pairs
    joint: np.ndarray


class Prediction(NamedTuple):
    """Encodings as codes predict them: ``offset + Z T`` with all magnitudes ``Z``.

    Attributes
    ----------
    offset : (e,) float64 array
    vectors : (2m, e) float64 array
        ``T``.
    """

    offset: np.ndarray
    vectors: np.ndarray


def sum_up(
    codes: CodeRows,
    encodings: da.Array | np.ndarray,
    *,
    n_slots: int | None = None,
    rows: np.ndarray | None = None,
    weights: np.ndarray | None = None,
    prediction: Prediction | None = None,
    client: Client | None = None,
    worker_timeout: float | None = WORKER_TIMEOUT,
) -> Sums:
    """`Sums` over samples, range by range of rows, added in a tree.

    Parameters
    ----------
    codes : coding.nonzeros.CodeRows
    encodings : (n, e) dask.array.Array or array
        Mean encoding of the captions of every sample; zeros where it has none, which leaves it out.
    n_slots : int, optional
        Features are one for the so many strongest sides of a sample, as a prompt lists their words.
        By default all magnitudes.
    rows : (n,) boolean array, optional
        Samples that count.
    weights : (2m,) float array, optional
        A side is as strong as its magnitude times this; with ``n_slots``.
    prediction : Prediction, optional
        Take its encodings, of the samples that have captions, in place of those of the captions.
    client : distributed.Client, optional
    worker_timeout : float, optional
    """
    masks = [np.ones(codes.n, bool) if rows is None else rows]
    how = {"client": client, "worker_timeout": worker_timeout}
    [found] = _one_pass(codes, encodings, masks, (n_slots, weights, prediction), **how)
    return found


def sum_up_parts(
    codes: CodeRows,
    encodings: da.Array | np.ndarray,
    parts: Sequence[np.ndarray],
    *,
    client: Client | None = None,
    worker_timeout: float | None = WORKER_TIMEOUT,
) -> list[Sums]:
    """`Sums` of all magnitudes over several sets of samples, from one pass.

    Parameters
    ----------
    codes, encodings, client, worker_timeout
        As for `sum_up`.
    parts : sequence of (n,) boolean arrays
    """
    how = {"client": client, "worker_timeout": worker_timeout}
    return _one_pass(codes, encodings, parts, (None, None, None), **how)


def _one_pass(codes, encodings, masks, features, *, client, worker_timeout):
    import dask

    add = dask.delayed(_sum_parts, pure=False)
    features = dask.delayed(features, pure=False, traverse=False)
    found = [
        add(
            codes.delayed(low, high),
            rows_of_encodings(encodings, low, high),
            (low, high, codes.m),
            [mask[low:high] for mask in masks],
            features,
        )
        for low, high in pairwise(codes.edges)
    ]
    return compute(tree(_add_parts, found), client, worker_timeout)


def rows_of_encodings(encodings, low, high):
    """Some rows, as a list of delayed blocks, or of the rows themselves."""
    part = encodings[low:high]
    return list(part.rechunk({1: -1}).to_delayed().ravel()) if hasattr(part, "to_delayed") else [part]


def side_matrix(nonzeros: pd.DataFrame, low: int, high: int, m: int) -> sp.csr_matrix:
    """Magnitudes of the coefficients of some rows, (high - low, 2m), positive sides first."""
    place = (nonzeros.index.to_numpy() - low, nonzeros["side"].to_numpy())
    return sp.csr_matrix((nonzeros["weight"].to_numpy(), place), shape=(high - low, 2 * m))


def weighed(sides: sp.csr_matrix, weights: np.ndarray | None) -> sp.csr_matrix:
    """Magnitudes times the weights of their sides; as they are without weights."""
    return sides if weights is None else (sides @ sp.diags(weights)).tocsr()


def largest(matrix: sp.csr_matrix, most: int) -> np.ndarray:
    """Columns of the largest positive entries of every row, (n, most) int64.

    The largest first, of equals the first; -1 after the last.
    """
    lengths = np.diff(matrix.indptr)
    rows = np.repeat(np.arange(matrix.shape[0]), lengths)
    order = np.lexsort((matrix.indices, -matrix.data, rows))
    place = np.arange(len(rows)) - np.repeat(matrix.indptr[:-1], lengths)
    kept = (place < most) & (matrix.data[order] > 0)
    found = np.full((matrix.shape[0], most), -1, np.int64)
    found[rows[kept], place[kept]] = matrix.indices[order][kept]
    return found


def strongest(sides: sp.csr_matrix, n_slots: int) -> sp.csr_matrix:
    """Ones for the ``n_slots`` largest entries of every row, the first of equals."""
    found = largest(sides, n_slots)
    rows, slots = np.nonzero(found >= 0)
    return sp.csr_matrix((np.ones(len(rows)), (rows, found[rows, slots])), shape=sides.shape)


def _sum_parts(nonzeros, blocks, shape, masks, features):
    low, high, m = shape
    encodings = np.concatenate([np.asarray(block, np.float64) for block in blocks])
    check_finite(encodings, range(low, high))
    sides, captioned = side_matrix(nonzeros, low, high, m), encodings.any(axis=1)
    return [_sum_rows(sides, encodings, captioned & mask, features) for mask in masks]


def check_finite(encodings: np.ndarray, rows: Sequence[int] | np.ndarray) -> None:
    """Refuse encodings, of so many of ``rows``, that are not all finite."""
    wrong = np.flatnonzero(~np.isfinite(encodings).all(axis=1))
    if len(wrong):
        raise ValueError(
            f"encodings has NaN or infinite values (row {int(rows[wrong[0]])}); all must be finite"
        )


def _sum_rows(sides, encodings, counted, features):
    n_slots, weights, prediction = features
    if not counted.all():
        encodings, sides = encodings[counted], sides[np.flatnonzero(counted)]
    if prediction is not None:
        encodings = prediction.offset + sides @ prediction.vectors
    if n_slots is not None:
        sides = strongest(weighed(sides, weights), n_slots)
    pairs = sides.T @ sides
    return Sums(
        len(encodings),
        np.asarray(sides.sum(axis=0)).ravel(),
        encodings.sum(axis=0),
        float(np.einsum("ij,ij->", encodings, encodings)),
        np.bincount(sides.indices, minlength=sides.shape[1]),
        pairs.toarray() if sides.shape[1] <= DENSE_SIDES else pairs.tocsr(),
        sides.T @ encodings,
    )


def _add_parts(found: list[list[Sums]]) -> list[Sums]:
    return [add_sums(list(part)) for part in zip(*found, strict=True)]


def add_sums(parts: list[Sums]) -> Sums:
    """Sums over disjoint samples together."""
    total: list[Any] = list(parts[0])
    for part in parts[1:]:
        total = [one + other for one, other in zip(total, part, strict=True)]
    return Sums(*total)
