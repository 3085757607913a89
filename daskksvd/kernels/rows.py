"""Rows as they come: half precision widened, squared norms taken."""

import numpy as np
from llvmlite import ir
from numba import types
from numba.extending import intrinsic

from .jit import kernel, magnitude, reordering_kernel, zero_magnitude

_ROWS = 64
"""Rows over which a mean is taken before it is merged with others."""


@intrinsic
def _single(typing_context, bits):
    """The number whose single-precision bits these are."""

    def generate(context, builder, signature, arguments):
        return builder.bitcast(arguments[0], ir.FloatType())

    return types.float32(types.uint32), generate


_SCALE = np.float32(2.0**112)
"""Half precision has exponents of 5 bits and single of 8: bits moved into place are this much too small."""


@kernel
def widen(bits, rows):
    """Turn half-precision numbers into single precision, exactly.

    NumPy converts them one by one (1.4 us a row of 768); this is as fast as the
    instruction that some processors have (0.2 us), for which LLVM calls a
    function elsewhere that is not there.

    Parameters
    ----------
    bits : (n, d) uint16 array
        A float16 array, viewed.
    rows : (n, d) float32 array
        Filled.
    """
    n, d = bits.shape
    for row in range(n):
        source = bits[row]
        target = rows[row]
        for f in range(d):
            half = np.uint32(source[f])
            sign, rest = (
                np.uint32((half & np.uint32(0x8000)) << 16),
                np.uint32((half & np.uint32(0x7FFF)) << 13),
            )
            if rest >= np.uint32(0x7C00 << 13):  # infinite, or no number
                value = _single(np.uint32(rest | np.uint32(0x7F800000)))
            else:
                value = _single(rest) * _SCALE
            target[f] = -value if sign else value


@kernel
def survey(rows, limit, bad, mean, scatter):
    """Check rows, and take the mean and the sum of squares about it of every feature.

    Means are taken over a few rows at a time and merged pairwise (Chan,
    Golub, LeVeque 1983), so that each row is read from memory once.

    Parameters
    ----------
    rows : (n, d) float array
    limit : float
        Largest finite number, of the dtype of ``rows``.
    bad : (n,) bool array
        Set where a row has NaN or infinite values; such rows count as zeros.
    mean, scatter : (d,) float64 arrays
        Filled.

    Returns
    -------
    n_zero : int
        Rows that are all zero, bad ones apart.
    largest : int
        Largest absolute value, as `magnitude` has it.
    """
    n, d = rows.shape
    n_zero = 0
    largest = zero_magnitude(limit)
    total = np.empty(d)
    squares = np.empty(d)
    rest = np.empty(d)  # of the rounded mean, what it lacks
    origin = np.zeros(d)  # near the rows, where numbers are finer than far from zero
    for f in range(d):
        if magnitude(rows[0, f]) <= magnitude(limit):
            origin[f] = rows[0, f]
    mean[:] = 0
    scatter[:] = 0
    for start in range(0, n, _ROWS):
        stop = min(n, start + _ROWS)
        total[:] = 0
        squares[:] = 0
        rest[:] = 0
        for row in range(start, stop):
            y = rows[row]
            top = zero_magnitude(limit)
            for f in range(d):
                top = max(top, magnitude(y[f]))
            bad[row] = top > magnitude(limit)
            if bad[row]:
                for f in range(d):
                    total[f] -= origin[f]
                continue
            n_zero += top == 0
            largest = max(largest, top)
            for f in range(d):
                total[f] += y[f] - origin[f]
        count = stop - start
        for f in range(d):
            total[f] /= count
        for row in range(start, stop):
            y = rows[row]
            if bad[row]:
                for f in range(d):
                    difference = -origin[f] - total[f]
                    rest[f] += difference
                    squares[f] += difference * difference
            else:
                for f in range(d):
                    difference = (y[f] - origin[f]) - total[f]
                    rest[f] += difference
                    squares[f] += difference * difference
        for f in range(d):
            shift = (total[f] - mean[f]) + rest[f] / count
            mean[f] += shift * (count / stop)
            scatter[f] += squares[f] - rest[f] * rest[f] / count
            scatter[f] += shift * shift * (start * count / stop)
    for f in range(d):
        mean[f] += origin[f]
    return n_zero, largest


@reordering_kernel
def squared_norms(rows, energy):
    """Squared norms in double precision; NaN and infinity show.

    Parameters
    ----------
    rows : (n, d) float array
    energy : (n,) float64 array
        Filled.
    """
    n, d = rows.shape
    for row in range(n):
        y = rows[row]
        total = 0.0
        for f in range(d):
            total += np.float64(y[f]) * np.float64(y[f])
        energy[row] = total


@reordering_kernel
def weighted_norms(rows, weights, norms):
    """Roots of weighted sums of squares, taken in double precision.

    Parameters
    ----------
    rows : (n, d) float array
    weights : (d,) float array
    norms : (n,) float array
        Filled.
    """
    n, d = rows.shape
    for row in range(n):
        y = rows[row]
        total = 0.0
        for f in range(d):
            total += np.float64(weights[f]) * np.float64(y[f]) * np.float64(y[f])
        norms[row] = np.sqrt(total)
