"""What a pass returns about the rows it coded: one blueprint for all updates."""

from typing import NamedTuple

import numpy as np

from ..coding import code_block, iterate_blocks
from ..kernels.moments import add_moments, subtract_reconstruction
from ..running import Blueprint


class Moments(NamedTuple):
    """Sums over coded rows. Partials are in the computation's dtype, totals in float64.

    Attributes
    ----------
    count, nonzeros : int
        Rows, and nonzero coefficients.
    energy, residual : float
        Sums of squared norms of the rows and of their residuals, in the
        coding space.
    energy_original, residual_original : float
        The same in the metric of the data (after centring, if asked for).
    uses : (m,) int64 array
        Rows that use each atom.
    XX : (m, m) array or None
        ``X'X``.
    XY : (m, d') array or None
        ``X'Y``.
    worst : (w, d') array
        Prepared rows with the largest residuals, worst first.
    worst_residual : (w,) float64 array
    worst_left : (w, d') array
        The residuals of those rows.
    worst_used : (w, width) int32 array
        The atoms that they use, -1 where unused.
    n_worst : int
        Most rows kept in ``worst``.
    """

    count: int
    nonzeros: int
    energy: float
    residual: float
    energy_original: float
    residual_original: float
    uses: np.ndarray
    XX: np.ndarray | None
    XY: np.ndarray | None
    worst: np.ndarray
    worst_residual: np.ndarray
    worst_left: np.ndarray
    worst_used: np.ndarray
    n_worst: int

    def without_statistics(self):
        """Only what the history needs."""
        nothing = {name: getattr(self, name)[:0] for name in WORST}
        return self._replace(XX=None, XY=None, n_worst=0, **nothing)


WORST = ("worst", "worst_residual", "worst_left", "worst_used")
"""Fields of `Moments` with an entry for each worst row, the row itself first."""


class Wanted(NamedTuple):
    """What a task should bring back.

    Attributes
    ----------
    statistics : bool
        ``X'X`` and ``X'Y``.
    n_worst : int
        Worst-represented rows.
    """

    statistics: bool
    n_worst: int


def job_moments(job, inputs, coder, preprocessing, wanted):
    """Read, prepare and code the rows of a job; returns their `Moments`."""
    dtype = coder.dictionary.dtype
    m, d = coder.n_components, coder.dictionary.shape[1]
    uses = np.zeros(m, np.int64)
    XX = np.zeros((m, m), dtype) if wanted.statistics else np.zeros((0, 0), dtype)
    XY = np.zeros((m, d), dtype) if wanted.statistics else np.zeros((0, 0), dtype)
    total = Totals(wanted.n_worst, coder)
    for _, raw in job.read(inputs):
        for block in iterate_blocks(len(raw), coder):
            rows = preprocessing.apply(raw[block], dtype)
            codes, energy, explained = code_block(rows, coder)
            if wanted.statistics:
                add_moments(rows, codes.indices, codes.values, XX, XY, uses)
            else:
                used = codes.indices[codes.indices >= 0]
                uses += np.bincount(used, minlength=m)
            total.add(rows, codes, energy, np.maximum(energy - explained, 0), coder, preprocessing)
    return total.moments(uses, XX if wanted.statistics else None, XY if wanted.statistics else None)


class Totals:
    """Running sums of one task, but for the statistics of the update."""

    def __init__(self, n_worst, coder):
        d, dtype = coder.dictionary.shape[1], coder.dictionary.dtype
        self.count = self.nonzeros = 0
        self.sums = np.zeros(4)
        self.n_worst = n_worst
        nothing = np.empty((0, d), dtype)
        self.worst = (nothing, np.empty(0), nothing, np.empty((0, coder.stopping.width), np.int32))

    def add(self, rows, codes, energy, residual, coder, preprocessing):
        """Add one block. ``rows`` may be overwritten."""
        self.count += len(rows)
        self.nonzeros += int((codes.indices >= 0).sum())
        if self.n_worst:
            self._keep_worst(rows, codes, residual, coder)
        energy, residual = energy.sum(), residual.sum()
        original = (energy, residual)
        if not preprocessing.keeps_metric:
            before = _weighted_energy(rows, preprocessing.scale)
            subtract_reconstruction(rows, coder.dictionary, codes.indices, codes.values)
            original = (before, _weighted_energy(rows, preprocessing.scale))
        self.sums += (energy, residual, *original)

    def _keep_worst(self, rows, codes, residual, coder):
        most = min(self.n_worst, len(rows))
        top = np.argsort(-residual, kind="stable")[:most]
        left, used = rows[top], codes.indices[top]
        found = (left.copy(), residual[top], left, used)
        subtract_reconstruction(left, coder.dictionary, used, codes.values[top])
        self.worst = merge_worst([self.worst, found], self.n_worst)

    def moments(self, uses, XX, XY):
        return Moments(
            self.count,
            self.nonzeros,
            *(float(value) for value in self.sums),
            uses,
            XX,
            XY,
            *self.worst,
            self.n_worst,
        )


def _weighted_energy(rows, weights):
    weighted = rows * weights
    return np.einsum("ij,ij->", weighted, weighted, dtype=np.float64)


def merge_worst(parts, most):
    """The worst of several lists of worst rows, each the fields `WORST`."""
    merged = [np.concatenate(arrays) for arrays in zip(*parts, strict=True)]
    top = np.argsort(-merged[1], kind="stable")[:most]
    return tuple(array[top] for array in merged)


def add_all(parts):
    """Add a list of `Moments`, statistics in float64."""
    worst = [tuple(getattr(part, name) for name in WORST) for part in parts]
    n_worst = max(part.n_worst for part in parts)
    return Moments(
        sum(part.count for part in parts),
        sum(part.nonzeros for part in parts),
        sum(part.energy for part in parts),
        sum(part.residual for part in parts),
        sum(part.energy_original for part in parts),
        sum(part.residual_original for part in parts),
        sum(part.uses for part in parts),
        _add_arrays([part.XX for part in parts]),
        _add_arrays([part.XY for part in parts]),
        *merge_worst(worst, n_worst),
        n_worst,
    )


def _add_arrays(arrays):
    if arrays[0] is None:
        return None
    total = arrays[0].astype(np.float64)
    for array in arrays[1:]:
        total += array
    return total


MOMENTS = Blueprint(job_moments, add_all)
