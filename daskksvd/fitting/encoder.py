"""A linear encoder fitted to the codes of pursuit, in two passes of sums."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from ..coding import OneShot, SparseCoder, check_finite, code_blocks, iterate_blocks
from ..coding.oneshot import choose, score
from ..execution import Blueprint, given
from ..kernels.moments import add_moments, add_residual_moments
from ..rows import Reader, cut_jobs, cut_pieces, split_holdout
from .ridge import Products, ridge
from .schedule import COUPLED_ATOMS, MOST_TASKS, TASK_ROWS

KEPT_BACK = 0.1
"""Share of the rows that choose the penalty, before they are learned from, too."""

EVENED = 0.5
"""Power of magnitudes that the map is fitted to, and of a score's deviation by which it is divided.

Held out, the 10 largest scores refitted, fraction of variance unexplained: 512 atoms of ViT rows .310, 1,024
atoms of caption encodings .145. Signs alone .317 and .145, coefficients themselves .317 and .149, and over
whole deviations .332 of ViT rows. Steps of gradients after it gained nothing: .334 after one, .385 after ten.
"""

GAIN_RIDGE = 1e-3
"""Added to the mean squares of what gains multiply, a part of each."""

_HALF_BITS = 16
"""Bits that are cut off a float32 in counting how many scores are above a threshold: it is right to .8 %."""


class _Sums(NamedTuple):
    """Sums over rows ``y`` and their evened codes ``t``."""

    count: int  # type: ignore[assignment]
    nonzeros: int
    y: np.ndarray
    yy: np.ndarray
    t: np.ndarray
    yt: np.ndarray
    tt: float


class _Gains(NamedTuple):
    """Sums over scores taken ``z`` and what they make, ``z D``.

    ``zz`` and ``zy`` are None where there are too many atoms.
    """

    numbers: np.ndarray
    zz: np.ndarray | None
    zy: np.ndarray | None
    yr: float
    rr: float


def fit_encoder(source, coder: SparseCoder, executor) -> OneShot:
    """Scores that choose the atoms that pursuit chooses, as far as one linear map can.

    Ridge regression of ``sign(x) |x|^.5`` on rows, from sums of rows and codes, its penalty chosen by rows
    kept back. A second pass finds the threshold and, jointly by least squares, the gain of every atom.

    Parameters
    ----------
    source : rows.Source
    coder : SparseCoder
        That codes by pursuit.
    executor : execution.Executor

    Returns
    -------
    OneShot
        In the dtype of the dictionary.

    Raises
    ------
    ValueError
        If rows are not finite, or none has a coefficient.
    """
    reader = Reader(source, executor)
    kept = split_holdout(source.chunk_rows, KEPT_BACK)
    parts = []
    for begin, end in ((None, kept), (kept, None)):
        jobs = _jobs(reader, begin, end)
        if jobs:
            parts.append(reader.reduce(Blueprint(_job_sums, _add_sums), jobs, coder.shared()))
    total = _add_sums(parts)
    if not total.nonzeros:
        raise ValueError(
            "array has no row whose code has a coefficient, as rows of zeros have none; give rows that have"
        )
    weights, bias = _regression(parts, total)
    encoder = OneShot(weights, bias, np.ones(len(weights)), 0.0)
    shared = coder.with_encoder(encoder).shared()
    joint = len(weights) <= COUPLED_ATOMS["full"]
    blueprint = Blueprint(_job_gains, _add_gains)
    found = reader.reduce(blueprint, _jobs(reader, None, None), shared, given(joint))
    dictionary = coder.dictionary.astype(np.float64)
    encoder = encoder._replace(
        gains=_gains(found, dictionary),
        threshold=_threshold(found.numbers, total.nonzeros),
        mean_nonzeros=total.nonzeros / total.count,
    )
    return encoder.cast(coder.dictionary.dtype)


def _jobs(reader, begin, end):
    chunk_rows = reader.source.chunk_rows
    most = max(TASK_ROWS[1], max(chunk_rows), sum(chunk_rows) // (4 * MOST_TASKS))
    pieces = cut_pieces(chunk_rows, max(chunk_rows), begin, end)
    return [reader.job(some) for some in cut_jobs(pieces, most, split=False)] if pieces else []


def _regression(parts, total):
    """Weights (m, d') and bias of evened scores, float64."""
    n = total.count
    y, t = total.y / n, total.t / n
    found = ridge([_centred(part, y, t) for part in parts])
    weights = np.ascontiguousarray(found.coefficients.T)
    covariance = total.yy / n - np.outer(y, y)
    variance = np.maximum(np.einsum("mi,mi->m", weights @ covariance, weights), 0)
    even = np.where(variance > 0, variance, 1) ** (EVENED / 2)
    return weights / even[:, None], (t - weights @ y) / even


def _centred(part, y, t):
    n = part.count
    mean_y, mean_t = part.y / n, part.t / n
    aa = part.yy / n - np.outer(mean_y, y) - np.outer(y, mean_y) + np.outer(y, y)
    ac = part.yt / n - np.outer(mean_y, t) - np.outer(y, mean_t) + np.outer(y, t)
    return Products(n, aa, ac, part.tt / n - 2 * mean_t @ t + t @ t)


def _job_sums(job, inputs, products):
    m, d, dtype = products.n_components, products.dictionary.shape[1], products.dictionary.dtype
    y, yy, t, ty = np.zeros(d), np.zeros((d, d)), np.zeros(m), np.zeros((m, d))
    uses, power, count = np.zeros(m, np.int64), np.zeros(m, dtype), 0
    for piece, raw in job.read(inputs):
        for block in code_blocks(raw, products):
            check_finite(block, piece.offset)
            indices, rows = block.codes.indices, block.rows
            values = np.sign(block.codes.values) * np.abs(block.codes.values) ** dtype.type(EVENED)
            sums = np.zeros((m, d), dtype)  # of single precision, as is the product: those of a block alone
            add_residual_moments(rows, indices, values, power, sums, uses)
            used = indices >= 0
            y += rows.sum(axis=0, dtype=np.float64)
            yy += rows.T @ rows
            t += np.bincount(indices[used], values[used], m)
            ty += sums
            count += len(rows)
    return _Sums(count, int(uses.sum()), y, yy, t, ty.T, float(power.sum()))


def _add_sums(parts):
    return _Sums(*(sum(values) for values in zip(*parts, strict=True)))


def _job_gains(job, inputs, products, joint):
    m, d = products.n_components, products.dictionary.shape[1]
    numbers = np.zeros(2**_HALF_BITS, np.int64)
    zz, zy = (np.zeros((m, m)), np.zeros((m, d))) if joint else (None, None)
    uses, yr, rr = np.zeros(m, np.int64), 0.0, 0.0
    dictionary = products.dictionary[:m].astype(np.float64)
    for _, raw in job.read(inputs):
        for at in iterate_blocks(len(raw), products):
            rows = products.transform.apply(raw[at], products.dictionary.dtype)
            scores = score(rows, products.encoder)
            strength = np.maximum(scores, 0) if products.target.nonnegative else np.abs(scores)
            numbers += np.bincount(
                strength.astype(np.float32).view(np.uint32).ravel() >> _HALF_BITS, minlength=2**_HALF_BITS
            )
            indices, counts = choose(scores, products.encoder, products.target)
            indices = indices[:, : products.target.n_nonzero_coefs]
            used = np.arange(indices.shape[1]) < counts[:, None]
            indices = np.where(used, indices, np.int32(-1))
            values = np.where(used, np.take_along_axis(scores, indices, 1), 0).astype(np.float64)
            rows = rows.astype(np.float64)
            if joint:
                add_moments(rows, indices, values, zz, zy, uses)
                continue
            made = np.zeros_like(rows)
            for slot in range(indices.shape[1]):
                made += values[:, slot, None] * dictionary[indices[:, slot]]
            yr += float(np.einsum("ij,ij->", rows, made))
            rr += float(np.einsum("ij,ij->", made, made))
    return _Gains(numbers, zz, zy, yr, rr)


def _add_gains(parts):
    return _Gains(*(None if values[0] is None else sum(values) for values in zip(*parts, strict=True)))


def _gains(found, dictionary):
    """Minimises ``|Y - Z diag(g) D|^2`` over the gains g; over one for all where there are too many atoms."""
    m = len(dictionary)
    if found.zz is None:
        return np.full(m, found.yr / found.rr if found.rr > 0 else 0.0)
    matrix = found.zz * (dictionary @ dictionary.T)
    unused = np.diagonal(matrix) <= 0
    matrix[np.diag_indices(m)] += np.where(unused, 1, GAIN_RIDGE * np.diagonal(matrix))
    return np.linalg.solve(matrix, np.einsum("mi,mi->m", found.zy, dictionary))


def _threshold(numbers, wanted):
    """The least score of so many largest, from counts of scores by their leading bits."""
    above = np.cumsum(numbers[::-1])[::-1]
    place = int(np.searchsorted(-above, -wanted, side="right")) - 1  # the last with so many from there on
    return float(np.array([max(place, 0) << _HALF_BITS], np.uint32).view(np.float32)[0])
