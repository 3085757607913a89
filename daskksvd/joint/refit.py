"""What atoms of one kind say in the other, from its codes alone: one pass of sums, then ridge."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from ..coding.products import code_rows
from ..execution import Blueprint, given
from ..fitting.ridge import Products, ridge
from ..kernels.moments import add_moments
from ..machine.blas import single_threaded_blas
from ..rows import split_holdout
from .halves import KEPT_BACK
from .pairs import TEXT, pair_jobs

BLOCK_ROWS = 4096
"""Rows coded together."""


class Sums(NamedTuple):
    """Sums over coded rows.

    Attributes
    ----------
    count : int
    x : (m,) array
        Of coefficients.
    xx : (m, m) array
    t : (e,) array
        Of targets, less the mean of all.
    xt : (m, e) array
        Of coefficients times those.
    tt : float
        Of their squares.
    uses : (2 m,) int64 array
        Rows that use each atom with a positive, and with a negative coefficient.
    """

    count: int  # type: ignore[assignment]
    x: np.ndarray
    xx: np.ndarray
    t: np.ndarray
    xt: np.ndarray
    tt: float
    uses: np.ndarray


class ReadOut(NamedTuple):
    """``target ~ codes @ vectors + offset``.

    Attributes
    ----------
    vectors : (m, e) float64 array
    offset : (e,) float64 array
    uses : (2 m,) int64 array
        Pairs that use each atom with a positive, and with a negative coefficient.
    explained : float
        Share of the variance of targets that was explained on pairs kept back from the regression, before
        those were learned from, too. Where the dictionary has seen them it flatters.
    """

    vectors: np.ndarray
    offset: np.ndarray
    uses: np.ndarray
    explained: float


def read_out(pairs, coder, mean, executor, target=TEXT):
    """Regress texts on codes of images alone, or images on those of texts.

    Codes that were learned from pairs saw both; those of one kind alone have not, and need other vectors.

    Parameters
    ----------
    pairs : Pairs
        Rows with both.
    coder : SparseCoder
        Of the kind that is coded.
    mean : (e,) float64 array
        Of the targets.
    executor : execution.Executor
    target : {TEXT, IMAGE}
    """
    columns = (slice(0, pairs.d), slice(pairs.d, -2))
    about = (columns[1 - target], columns[target], mean)
    kept = split_holdout(pairs.chunk_rows, KEPT_BACK)
    parts = []
    for begin, end in ((None, kept), (kept, None)):
        reader, jobs = pair_jobs(pairs, executor, begin, end)
        if jobs:
            parts.append(reader.reduce(SUMS, jobs, coder.shared(), given(about)))
    count = sum(part.count for part in parts)
    x_mean = sum(part.x for part in parts) / count
    t_mean = sum(part.t for part in parts) / count
    found = ridge([_centred(part, x_mean, t_mean) for part in parts])
    vectors = found.coefficients
    uses = sum(part.uses for part in parts)
    return ReadOut(vectors, mean + t_mean - x_mean @ vectors, uses, found.explained)


def _centred(part, x_mean, t_mean):
    n = part.count
    xx = part.xx / n - np.outer(part.x / n, x_mean) - np.outer(x_mean, part.x / n) + np.outer(x_mean, x_mean)
    xt = part.xt / n - np.outer(part.x / n, t_mean) - np.outer(x_mean, part.t / n) + np.outer(x_mean, t_mean)
    return Products(n, xx, xt, part.tt / n - 2 * part.t @ t_mean / n + t_mean @ t_mean)


def _job_sums(job, inputs, products, about):
    coded, wanted, mean = about
    m, e = products.n_components, len(mean)
    xx, xt = np.zeros((m, m)), np.zeros((m, e))
    uses, either = np.zeros(2 * m, np.int64), np.zeros(m, np.int64)
    x, t, tt, count = np.zeros(m), np.zeros(e), 0.0, 0
    with single_threaded_blas():
        for piece, rows in job.read(inputs):
            for start in range(0, len(rows), BLOCK_ROWS):
                block = rows[start : start + BLOCK_ROWS]
                codes = code_rows(np.ascontiguousarray(block[:, coded]), products, piece.offset + start)
                targets = block[:, wanted] - mean
                values = codes.values.astype(np.float64)
                add_moments(np.ascontiguousarray(targets), codes.indices, values, xx, xt, either)
                used = codes.indices >= 0
                uses += np.bincount(codes.indices[used] + m * (values[used] < 0), minlength=2 * m)
                x += np.bincount(codes.indices[used], values[used], m)
                t += targets.sum(axis=0)
                tt += float(np.einsum("ij,ij->", targets, targets))
                count += len(block)
    return Sums(count, x, xx, t, xt, tt, uses)


def _add(parts):
    return Sums(*(sum(values) for values in zip(*parts, strict=True)))


SUMS = Blueprint(_job_sums, _add)
