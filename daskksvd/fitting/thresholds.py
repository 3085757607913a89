"""Thresholds on correlations that rules find: nonzeros on average, or where noise begins.

Rules look at some of the rows, from evenly spaced places, with the dictionary
that was learned. They count, and what they count does not depend on where
rows are coded.
"""

import dataclasses
import warnings
from typing import NamedTuple

import numpy as np

from ..coding import SparsityTarget, code_blocks
from ..coding.how import settled
from ..coding.products import check_finite
from ..execution import Blueprint, given
from ..kernels.chosen import least_so_far
from ..kernels.moments import subtract_reconstruction
from ..machine.blas import single_threaded_blas
from ..rows import cut_jobs, cut_pieces
from .stopping import mean_width

NOISE_SHARE = 0.005
"""Most of the atoms chosen that may be noise, as the mirror rule estimates them."""

UNIVERSAL = 1.2
"""Thresholds while learning under ``"noise"``, in parts of the universal one of Donoho and Johnstone
(1994), ``sigma sqrt(2 ln m)``, under which the largest of m correlations with noise lies."""

MEAN_ROWS, NOISE_ROWS = 2**14, 2**13
"""Rows that the rules look at. Of ten nonzeros their mean is then right to .03, and of half a
per cent of wrong ones their number to 5 %."""

PLACES = 128
"""Places that they come from."""

_CHOICE = 16
"""Times as many places to choose from."""

MEAN_TOLERANCE = 2e-3
"""How far, relatively, the mean may be off where it must be tried out, and"""

MEAN_TRIES = 8
"""how often that is done."""

NOISE_STEP, NOISE_FINEST = 1.25, 1.02
"""Ratio of two thresholds in the search for where noise begins, and the least."""

NOISE_TRIES = 24

NOISE_MOST = 2
"""Most of a threshold, in parts of that of learning: what is left and larger is no noise. On planted
rows thresholds that were found were .9 to 1.1 of it."""


class Found(NamedTuple):
    """What a rule found.

    Attributes
    ----------
    target : coding.SparsityTarget
    false_discovery_rate : float or None
        Share of the atoms chosen that are noise, as estimated; None where that was not asked for.
    """

    target: SparsityTarget
    false_discovery_rate: float | None


def while_learning(settings, target, state):
    """The target of codes that are learned from.

    Those of ``"mean"`` have the number of nonzeros itself; those of ``"noise"``, after the first round,
    a threshold by what the last one left.
    """
    if settings.threshold != "noise":
        return target
    return target._replace(threshold=_universal(state.deviation, len(state.atoms)))


def _universal(deviation, m):
    return float(UNIVERSAL * deviation * np.sqrt(2 * np.log(max(m, 2))))


def find_target(rule, reader, coder, kept=None):
    """The target of finished codes by a rule.

    Parameters
    ----------
    rule : {"mean", "noise"}
    reader : rows.Reader
    coder : coding.SparseCoder
        With the target while learning.
    kept : list of int, optional
        Rows of every chunk that were learned from. If there are others, those are looked at: rows that were
        learned from are represented better than new ones, and need fewer atoms.

    Returns
    -------
    Found
    """
    coder = settled(coder, reader.executor)
    coder = dataclasses.replace(coder, how=coder.how._replace(device=None))  # of so few rows
    with single_threaded_blas():
        return (_mean if rule == "mean" else _noise)(_Rows(reader, coder, kept))


class _Rows:
    """Rows to try thresholds on."""

    def __init__(self, reader, coder, kept):
        self.reader, self.coder, self.kept = reader, coder, kept

    def jobs(self, most):
        """Jobs of evenly spaced pieces of at most so many rows together, about."""
        chunk_rows = self.reader.source.chunk_rows
        held = self.kept is not None and sum(self.kept) < sum(chunk_rows)
        size = most // PLACES
        # of a huge array only as many pieces as there is a choice between
        cut = max(size, sum(chunk_rows) // (_CHOICE * PLACES))
        pieces = cut_pieces(chunk_rows, cut, begin=self.kept if held else None)
        if sum(piece.n_rows for piece in pieces) > most:
            pieces = [piece._replace(stop=min(piece.stop, piece.start + size)) for piece in pieces]
            share = min(1.0, most / sum(piece.n_rows for piece in pieces))
            number = max(1, round(len(pieces) * share))
            pieces = [pieces[(2 * i + 1) * len(pieces) // (2 * number)] for i in range(number)]
        return [self.reader.job(part) for part in cut_jobs(pieces, most // 16)]

    def count(self, jobs, **changes):
        """`_Counts` of rows coded by a target with some changes."""
        coder = self.coder.with_target(self.coder.target._replace(**changes))
        return self.reader.reduce(_COUNTS, jobs, coder.shared(), given(None))

    def strengths(self, jobs, **changes):
        """Correlations down to which each atom is chosen, of all rows, in one array; and the rows."""
        coder = self.coder.with_target(self.coder.target._replace(**changes))
        return self.reader.reduce(_STRENGTHS, jobs, coder.shared(), given(None))


class _Counts(NamedTuple):
    """Rows coded, atoms chosen, those that correlate with what is left by less than minus the threshold, and
    the squared norms of that.
    """

    rows: int
    chosen: int
    mirrored: int
    left: float


def _count_job(job, inputs, products, _):
    rows = chosen = mirrored = 0
    left = 0.0
    atoms = products.dictionary[: products.n_components]
    threshold = products.target.threshold
    for piece, raw in job.read(inputs):
        for block in code_blocks(raw, products):
            check_finite(block, piece.offset)
            rows += len(block.rows)
            chosen += int((block.codes.indices >= 0).sum())
            left += float(np.maximum(block.energy - block.explained, 0).sum())
            if products.target.nonnegative:
                subtract_reconstruction(block.rows, products.dictionary, *block.codes)
                mirrored += int((block.rows @ atoms.T < -threshold).sum())
    return _Counts(rows, chosen, mirrored, left)


def _add_counts(parts):
    return _Counts(*map(sum, zip(*parts, strict=True)))


def _strengths_job(job, inputs, products, _):
    found, rows = [], 0
    for piece, raw in job.read(inputs):
        for block in code_blocks(raw, products):
            check_finite(block, piece.offset)
            rows += len(block.rows)
            strengths = np.empty(block.codes.values.shape, block.codes.values.dtype)
            least_so_far(
                block.rows, products.dictionary, products.inner, block.codes.indices,
                products.target.positive, strengths,
            )  # fmt: skip
            found.append(strengths[block.codes.indices >= 0])
    return np.concatenate(found), rows


def _join(parts):
    arrays, rows = zip(*parts, strict=True)
    return np.concatenate(arrays), sum(rows)


_COUNTS = Blueprint(_count_job, _add_counts)
_STRENGTHS = Blueprint(_strengths_job, _join)


def _mean(rows):
    """The threshold down to which ``n_nonzero_coefs`` atoms a row are chosen on average.

    Pursuit with a threshold takes the same atoms as without, up to the first that correlates by less. So
    one pass with room for twice as many, without a threshold, tells the number of nonzeros for any:
    it is a quantile of what atoms correlate with the residual by. Where atoms leave supports again, or
    steps are those of plain matching pursuit, it is nearly that, and is tried out.
    """
    target = rows.coder.target
    k, (m, d) = target.n_nonzero_coefs, rows.coder.dictionary.shape
    width = mean_width(k, m, d)
    jobs = rows.jobs(MEAN_ROWS)
    strengths, n = rows.strengths(jobs, n_nonzero_coefs=width, threshold=0.0)
    wanted = k * n
    if wanted >= len(strengths):  # rows are finished before
        return Found(target._replace(n_nonzero_coefs=width, threshold=0.0), None)
    threshold = max(float(-np.partition(-strengths, wanted - 1)[wanted - 1]), 0.0)
    if target.pursuit == "mp" or target.nonnegative:
        low, high = 0.0, np.inf  # more nonzeros than wanted at the low one
        for _ in range(MEAN_TRIES):
            counts = rows.count(jobs, n_nonzero_coefs=width, threshold=threshold)
            share = counts.chosen / wanted
            if abs(share - 1) <= MEAN_TOLERANCE or threshold == 0:
                break
            low, high = (threshold, high) if share > 1 else (low, threshold)
            guess = _shifted(strengths, wanted, share, threshold)
            inside = low < guess < high
            threshold = guess if inside else (low + high) / 2 if np.isfinite(high) else 1.1 * low
    return Found(target._replace(n_nonzero_coefs=width, threshold=threshold), None)


def _shifted(strengths, wanted, share, threshold):
    """The threshold at which as much fewer (or more) atoms would be chosen as there were too many."""
    here = int((strengths >= threshold).sum())
    place = min(max(here + round(wanted * (1 - share)), 1), len(strengths))
    return float(-np.partition(-strengths, place - 1)[place - 1])


def _noise(rows):
    """The least threshold at which at most `NOISE_SHARE` of the atoms chosen are noise.

    Noise is symmetric: as many atoms as correlate with it above a threshold correlate with it below
    minus that, and of non-negative codes those are never chosen. (As decoys in Barber and Candes 2015,
    "Controlling the false discovery rate via knockoffs"; as in their knockoff+, one more is counted,
    or a handful of atoms chosen, of which none is noise by chance, would be proof.)
    """
    target, jobs = rows.coder.target, rows.jobs(NOISE_ROWS)
    tried = {}

    def counted(threshold):
        if threshold not in tried:
            tried[threshold] = rows.count(jobs, threshold=threshold)
        return tried[threshold]

    def share(counts):
        return counts.mirrored / max(counts.chosen, 1)

    def rate(threshold):
        return (1 + counted(threshold).mirrored) / max(counted(threshold).chosen, 1)

    start = target.threshold
    if not start > 0:
        counts, (m, d) = rows.count(jobs), rows.coder.dictionary.shape
        start = _universal(np.sqrt(counts.left / max(counts.rows * d, 1)), m)
    if not start > 0:  # nothing is left of any row
        return Found(target, 0.0)
    here = start
    few = rate(here) <= NOISE_SHARE
    step = 1 / NOISE_STEP if few else NOISE_STEP
    while len(tried) < NOISE_TRIES and (rate(here) <= NOISE_SHARE) == few and here <= NOISE_MOST * start:
        before, here = here, here * step
    low, high = (here, before) if few else (before, here)
    while len(tried) < NOISE_TRIES and high > NOISE_FINEST * low:
        middle = float(np.sqrt(low * high))
        low, high = (low, middle) if rate(middle) <= NOISE_SHARE else (middle, high)
    if rate(high) > NOISE_SHARE:
        chosen, least = counted(start).chosen, round(1 / NOISE_SHARE)
        why = (
            f"for {share(counted(start)):.1%} of the atoms chosen another correlates as strongly, but "
            "negatively, with what is left, and a larger threshold does not help; rows may be of both signs, "
            "or atoms too much alike"
            if chosen >= least
            else f"{chosen} atoms were chosen, of which none need be noise to prove it of {least} or more"
        )
        warnings.warn(
            f"threshold='noise' found none: {why}. Codes have the threshold {start:.4g} of learning",
            RuntimeWarning,
            stacklevel=2,
        )
        high = start
    return Found(target._replace(threshold=high), share(counted(high)))
