"""One pass before learning: is the data sound, what are its moments, a sample."""

from typing import NamedTuple

import numpy as np

from ..execution import Blueprint, given
from ..kernels.jit import read_only
from ..kernels.rows import survey as survey_kernel
from .blocks import MaskedRows, masked_rows, masked_text
from .checksums import with_checksums
from .transform import copy_rows

_BLOCK = 4096
"""Rows looked at together, so that a huge chunk is not copied whole."""

_FLOATS = ("float32", "float64")
"""Types that are looked at as they are; the byte order is the machine's."""


class Survey(NamedTuple):
    """Tree-reduced facts of the rows.

    Attributes
    ----------
    count : int
        Rows.
    n_bad, first_bad : int
        Rows with NaN or infinite values, and the number of the first (-1 if none).
    n_masked, first_masked : int
        Rows with masked values, and the number of the first (-1 if none).
    n_zero : int
        Rows that are all zero.
    largest : float
        Largest absolute value.
    mean : (d,) float64 array
    scatter : (d,) or (d, d) float64 array
        Sums of squares about the mean, or of products where whitening needs them.
    sample_index : (s,) int64 array
    sample : (s, d) array
        The rows asked for, in their own dtype.
    """

    count: int  # type: ignore[assignment]
    n_bad: int
    first_bad: int
    n_masked: int
    first_masked: int
    n_zero: int
    largest: float
    mean: np.ndarray
    scatter: np.ndarray
    sample_index: np.ndarray
    sample: np.ndarray

    def check_finite(self):
        """Raise `ValueError` if any row has masked, NaN or infinite values."""
        if self.n_masked:
            raise MaskedRows(masked_text(self.n_masked, self.first_masked))
        if self.n_bad:
            raise ValueError(
                f"array has {self.n_bad} row{'s' if self.n_bad > 1 else ''} with NaN or infinite "
                f"values, the first is row {self.first_bad}; all values must be finite"
            )

    @property
    def covariance(self):
        return self.scatter / self.count

    @property
    def variance(self):
        scatter = self.scatter if self.scatter.ndim == 1 else np.diagonal(self.scatter)
        return scatter / self.count


def run_survey(reader, jobs, sample_index, with_covariance, checked=False):
    """Survey all rows of ``jobs``.

    Parameters
    ----------
    reader : Reader
    jobs : list of Job
    sample_index : (s,) int64 array
        Sorted numbers of the rows to bring back.
    with_covariance : bool
        Whether products of features are summed too.
    checked : bool
        Whether to take a checksum of every piece as well.

    Returns
    -------
    Survey
        With ``checked``, and the checksums.
    """
    blueprint = Blueprint(_survey_job, _combine)
    if checked:
        blueprint = with_checksums(blueprint)
    return reader.reduce(blueprint, jobs, given(_Request(sample_index, with_covariance)))


class _Request(NamedTuple):
    sample_index: np.ndarray
    with_covariance: bool


def _survey_job(job, inputs, request):
    parts = []
    for piece, rows in job.read(inputs, masked=True):
        for start in range(0, len(rows), _BLOCK):
            block = rows[start : start + _BLOCK]
            parts.append(_survey_block(block, piece.offset + start, request))
        if len(parts) > 1:
            parts = [_combine(parts)]
    return _combine(parts)


def _survey_block(rows, offset, request):
    n = len(rows)
    wanted = request.sample_index
    wanted = wanted[np.searchsorted(wanted, offset) : np.searchsorted(wanted, offset + n)]
    n_masked, first_masked = 0, -1
    if np.ma.isMaskedArray(rows):
        masked = masked_rows(rows)
        if masked.any():
            n_masked, first_masked = int(masked.sum()), offset + int(np.argmax(masked))
        rows = rows.filled(0)
    # float32 holds float16 exactly; integers need float64
    if rows.dtype == np.float16:
        values = copy_rows(rows, np.empty(rows.shape, np.float32))
    else:
        values = np.ascontiguousarray(rows, rows.dtype if rows.dtype.name in _FLOATS else np.float64)
    values = read_only(values)
    bad = np.empty(n, bool)
    mean, scatter = np.empty(rows.shape[1]), np.empty(rows.shape[1])
    n_zero, largest = survey_kernel(values, np.finfo(values.dtype).max, bad, mean, scatter)
    largest = float(np.array(largest, f"i{values.itemsize}").view(values.dtype))
    if request.with_covariance:
        dtype = np.float32 if rows.dtype.itemsize <= 2 else np.float64
        centred = np.where(bad[:, None], 0, values) - mean
        # what was subtracted is rounded in single precision; ``rest`` makes up for it
        centred = centred.astype(dtype)
        rest = centred.mean(axis=0, dtype=np.float64)
        scatter = (centred.T @ centred).astype(np.float64) - n * np.outer(rest, rest)
    first_bad = offset + int(np.argmax(bad)) if bad.any() else -1
    return Survey(
        n,
        int(bad.sum()),
        first_bad,
        n_masked,
        first_masked,
        n_zero,
        largest,
        mean,
        scatter,
        wanted,
        rows[wanted - offset],
    )


def _combine(parts):
    """Pairwise update of means and scatters (Chan, Golub, LeVeque 1983)."""
    total = parts[0]
    count, mean, scatter = total.count, total.mean, total.scatter
    for part in parts[1:]:
        both = count + part.count
        shift = part.mean - mean
        spread = shift * shift if scatter.ndim == 1 else np.outer(shift, shift)
        scatter = scatter + part.scatter + spread * (count * part.count / both)
        mean = mean + shift * (part.count / both)
        count = both
    order = np.argsort(np.concatenate([part.sample_index for part in parts]), kind="stable")
    return Survey(
        count,
        sum(part.n_bad for part in parts),
        min((part.first_bad for part in parts if part.first_bad >= 0), default=-1),
        sum(part.n_masked for part in parts),
        min((part.first_masked for part in parts if part.first_masked >= 0), default=-1),
        sum(part.n_zero for part in parts),
        max(part.largest for part in parts),
        mean,
        scatter,
        np.concatenate([part.sample_index for part in parts])[order],
        np.concatenate([part.sample for part in parts])[order],
    )
