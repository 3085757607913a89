"""What a pass returns about the rows it coded: one blueprint for all updates."""

from typing import NamedTuple

import numpy as np

from ..coding import Products, code_blocks, join_codes
from ..execution import Blueprint
from ..kernels.jit import read_only
from ..kernels.moments import (
    accumulate,
    add_moments,
    add_prefix_moments,
    add_residual_moments,
    subtract_reconstruction,
)
from ..kernels.precise import weighted_left_energy
from ..machine.buffers import aligned


class Moments(NamedTuple):
    """Sums over coded rows, the statistics in the computation's dtype.

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
    XX : (m, m) or (m,) array, or None
        ``X'X``, or only its diagonal.
    XY : (m, d') array or None
        ``X'Y``; with the diagonal alone ``x_j' E_j`` of every atom j, where
        ``E_j`` is what the other atoms leave of the rows.
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

    count: int  # type: ignore[assignment]
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


_ADDED = 2**16
"""Numbers of each array that are added before the next: their sums stay near."""

COUPLED, SEPARATE = "coupled", "separate"
"""Statistics for updates in which atoms see each other's change, or do not."""


class Wanted(NamedTuple):
    """What a task should bring back.

    Attributes
    ----------
    statistics : {"coupled", "separate", None}
        ``X'X`` and ``X'Y``, or their reduced form without the m x m matrix.
    n_worst : int
        Worst-represented rows.
    prefixes : bool
        Whether separate statistics are sums over what each prefix of the dictionary leaves.
    """

    statistics: str | None
    n_worst: int
    prefixes: bool = False


def job_moments(job, inputs, products, wanted, codes=None):
    """Read, prepare and code the rows of a job.

    Parameters
    ----------
    job : rows.Job
    inputs : list
    products : coding.Products
    wanted : Wanted
    codes : list, optional
        To which the codes of every piece are added.

    Returns
    -------
    Moments
    """
    if not isinstance(products, Products):
        return _device_moments(job, inputs, products, wanted, codes)
    dtype = products.dictionary.dtype
    m, d = products.n_components, products.dictionary.shape[1]
    uses = np.zeros(m, np.int64)
    XX = XY = None
    if wanted.statistics is not None:
        XX = aligned((m, m) if wanted.statistics == COUPLED else (m,), dtype)
        XY = aligned((m, d), dtype)
        XX.fill(0)
        XY.fill(0)
    total = Totals(wanted.n_worst, products)
    stages, _ = products.target.stages(products.prefixes, m, m) if wanted.prefixes else (None, None)
    for _, raw in job.read(inputs):
        parts = []
        for block in code_blocks(raw, products):
            indices, values = block.codes
            if codes is not None:
                parts.append(block.codes)
            total.add(block)
            if wanted.statistics == COUPLED:
                add_moments(block.rows, indices, values, XX, XY, uses)
            elif wanted.statistics is None:
                uses += np.bincount(indices[indices >= 0], minlength=m)
            if wanted.statistics == SEPARATE:
                subtract_reconstruction(block.rows, products.dictionary, indices, values)
                if stages is None:
                    add_residual_moments(block.rows, indices, values, XX, XY, uses)
                else:
                    add_prefix_moments(block.rows, products.dictionary, indices, values, stages, XX, XY, uses)
        total.end_piece(raw)
        if codes is not None:
            codes.append(join_codes(parts))
    if wanted.statistics == SEPARATE:
        own = XX if stages is None else XX * memberships(stages, m).astype(dtype)
        XY += own[:, None] * products.dictionary[:m]
    return total.moments(uses, XX, XY)


def memberships(stages, m):
    """Prefixes that each of m atoms belongs to, (m,) int; ``stages`` are their ends."""
    return len(stages) - np.searchsorted(stages, np.arange(m), side="right")


def _device_moments(job, inputs, products, wanted, codes):
    """`job_moments` on a device."""
    from ..coding.device import DeviceSums  # which imports PyTorch

    coupled = None if wanted.statistics is None else wanted.statistics == COUPLED
    sums = DeviceSums(products, coupled, wanted.n_worst)
    parts = {}
    for number, block in products.code(raw for _, raw in job.read(inputs)):
        sums.add(block)
        if codes is not None:
            parts.setdefault(number, []).append(block.here().codes)
    if codes is not None:
        codes.extend(join_codes(parts[number]) for number in sorted(parts))
    return Moments(*sums.totals(), *sums.statistics(), *sums.worst(), wanted.n_worst)


class Totals:
    """Running sums of one task, but for the statistics of the update."""

    def __init__(self, n_worst, products):
        d, dtype, scale = products.dictionary.shape[1], products.dictionary.dtype, products.transform.scale
        self.products = products
        self.weights = None if scale is None else scale.astype(np.float64)
        self.count = self.nonzeros = 0
        self.energy = self.residual = self.energy_original = self.residual_original = 0.0
        self.n_worst = n_worst
        nothing = np.empty((0, d), dtype)
        self.worst = (nothing, np.empty(0), nothing, np.empty((0, products.target.n_nonzero_coefs), np.int32))
        self._parts = []

    def add(self, block):
        """Add one block, a `coding.Coded` whose rows are as they were coded."""
        residual = np.maximum(block.energy - block.explained, 0)
        self.count += len(block.rows)
        self.nonzeros += int((block.codes.indices >= 0).sum())
        self.energy += float(block.energy.sum())
        self.residual += float(residual.sum())
        if self.n_worst:
            self._parts.append((residual, *block.codes))
        if self.weights is not None:
            self.energy_original += _weighted_energy(block.rows, self.weights)
            self.residual_original += weighted_left_energy(
                block.rows, self.products.dictionary, *block.codes, self.weights
            )

    def end_piece(self, raw):
        """Keep the worst of the rows added since the last piece, given as they are stored."""
        if not self._parts:
            return
        residual, indices, values = map(np.concatenate, zip(*self._parts, strict=True))
        self._parts = []
        top = np.argsort(-residual, kind="stable")[: self.n_worst]
        if len(self.worst[1]) == self.n_worst:  # only what is worse than the best of those
            top = top[residual[top] > self.worst[1][-1]]
        rows = self.products.transform.apply(raw[top], self.products.dictionary.dtype)
        left = rows.copy()
        subtract_reconstruction(left, self.products.dictionary, indices[top], values[top])
        self.worst = merge_worst([self.worst, (rows, residual[top], left, indices[top])], self.n_worst)

    def moments(self, uses, XX, XY):
        original = (self.energy_original, self.residual_original)
        if self.weights is None:
            original = (self.energy, self.residual)
        return Moments(
            self.count,
            self.nonzeros,
            self.energy,
            self.residual,
            *original,
            uses,
            XX,
            XY,
            *self.worst,
            self.n_worst,
        )


def _weighted_energy(rows, weights):
    weighted = rows * weights
    return float(np.einsum("ij,ij->", weighted, weighted, dtype=np.float64))


def merge_worst(parts, most):
    """The worst of several lists of worst rows, each the fields `WORST`."""
    merged = [np.concatenate(arrays) for arrays in zip(*parts, strict=True)]
    top = np.argsort(-merged[1], kind="stable")[:most]
    return tuple(array[top] for array in merged)


def add_all(parts):
    """Add a list of `Moments`; statistics in double precision, and rounded once."""
    if len(parts) == 1:
        return parts[0]
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
    total = aligned(arrays[0].shape, arrays[0].dtype)
    flat, arrays = total.reshape(-1), [array.reshape(-1) for array in arrays]
    sums = np.empty(min(_ADDED, len(flat)))
    for start in range(0, len(flat), _ADDED):
        block = slice(start, start + _ADDED)
        here = sums[: len(flat[block])]
        here[:] = arrays[0][block]
        for array in arrays[1:]:
            accumulate(read_only(array[block]), here)
        flat[block] = here
    return total


def residual_deviation(moments, d):
    """Root mean square of the numbers of what is left of rows of d numbers."""
    return float(np.sqrt(moments.residual / max(moments.count * d, 1)))


def relative_norm(residual, energy):
    """Relative norm from squared norms; 0 where there is nothing to represent."""
    return float(np.sqrt(residual / energy)) if energy > 0 else 0.0


MOMENTS = Blueprint(job_moments, add_all)
