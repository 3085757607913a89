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
    n_worst: int

    def without_statistics(self):
        """Only what the history needs."""
        nothing = {"worst": self.worst[:0], "worst_residual": np.empty(0), "n_worst": 0}
        return self._replace(XX=None, XY=None, **nothing)


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
    total = Totals(wanted.n_worst, d, dtype)
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

    def __init__(self, n_worst, d, dtype):
        self.count = self.nonzeros = 0
        self.sums = np.zeros(4)
        self.n_worst = n_worst
        self.worst = np.empty((0, d), dtype)
        self.worst_residual = np.empty(0)

    def add(self, rows, codes, energy, residual, coder, preprocessing):
        """Add one block. ``rows`` may be overwritten."""
        self.count += len(rows)
        self.nonzeros += int((codes.indices >= 0).sum())
        if self.n_worst:
            self._keep_worst(rows, residual)
        energy, residual = energy.sum(), residual.sum()
        original = (energy, residual)
        if not preprocessing.keeps_metric:
            before = _weighted_energy(rows, preprocessing.scale)
            subtract_reconstruction(rows, coder.dictionary, codes.indices, codes.values)
            original = (before, _weighted_energy(rows, preprocessing.scale))
        self.sums += (energy, residual, *original)

    def _keep_worst(self, rows, residual):
        most = min(self.n_worst, len(rows))
        top = np.argsort(-residual, kind="stable")[:most]
        self.worst, self.worst_residual = merge_worst(
            [self.worst, rows[top]], [self.worst_residual, residual[top]], self.n_worst
        )

    def moments(self, uses, XX, XY):
        return Moments(
            self.count,
            self.nonzeros,
            *(float(value) for value in self.sums),
            uses,
            XX,
            XY,
            self.worst,
            self.worst_residual,
            self.n_worst,
        )


def _weighted_energy(rows, weights):
    weighted = rows * weights
    return np.einsum("ij,ij->", weighted, weighted, dtype=np.float64)


def merge_worst(rows, residuals, most):
    """The worst of several lists of worst rows."""
    rows, residuals = np.concatenate(rows), np.concatenate(residuals)
    top = np.argsort(-residuals, kind="stable")[:most]
    return rows[top], residuals[top]


def add_all(parts):
    """Add a list of `Moments`, statistics in float64."""
    worst = [part.worst for part in parts]
    residuals = [part.worst_residual for part in parts]
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
        *merge_worst(worst, residuals, n_worst),
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
