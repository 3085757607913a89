"""Plain matching pursuit of one block of rows, in the Gram domain; see `pursuit`."""

import numpy as np

from .jit import kernel, part, strength
from .residual import largest, subtract_atom
from .support import back_substitute, extend, not_taken, nothing_under, store


@kernel
def mp(
    P, gram, energy, floor, threshold, rounding, pivot_min, steps, positive, indices, values, hard, explained,
):  # fmt: skip
    """Matching pursuit with the coefficients refitted on the support.

    Plain matching pursuit (Mallat, Zhang 1993) picks atoms until it has k
    distinct ones or has made ``steps`` steps; then the coefficients are
    fitted to the row by least squares. Rows are marked ``hard`` where inner
    products do not tell those, and, where only ``positive`` coefficients
    count, where least squares has others: `nonnegative.pursue_nonnegative`
    finds those. Other arguments as for `omp`.
    """
    n, k = indices.shape
    z = np.empty(k, P.dtype)
    x = np.empty(k, P.dtype)
    first = np.empty(k, P.dtype)
    inner = np.empty(k, P.dtype)
    factor = np.empty((k, k), P.dtype)
    support = np.empty(k, np.int64)
    for row in range(n):
        p = part(P, row)
        j, _ = largest(p, positive)
        left = energy[row]
        target = floor * energy[row]
        size = 0
        nothing = max(nothing_under(rounding, energy[row], P), not_taken(threshold, P))
        for _ in range(steps):
            if strength(p[j], positive) <= nothing or left <= target:
                break
            step = p[j] / gram[j, j]
            known = False
            for a in range(size):
                known |= support[a] == j
            if not known:
                if size == k:
                    break
                # the correlation of y itself: p[j] plus what was taken out
                value = p[j]
                for a in range(size):
                    value += z[a] * gram[support[a], j]
                first[size] = value
                z[size] = 0
                support[size] = j
                size += 1
            for a in range(size):
                if support[a] == j:
                    z[a] += step
            left -= np.float64(step) * np.float64(p[j])
            j, _ = subtract_atom(p, gram, j, step, positive)
        # least squares on the support
        captured = 0.0
        hard[row] = False
        for a in range(size):
            value = first[a]
            pivot = extend(factor, support[a], support, a, gram, gram, inner)
            if pivot < pivot_min:
                hard[row] = True
                break
            for b in range(a):
                value -= factor[a, b] * z[b]
            factor[a, a] = 1 / np.sqrt(pivot)
            z[a] = value * factor[a, a]
            captured += np.float64(z[a]) * np.float64(z[a])
        if not hard[row]:
            back_substitute(factor, z, size, x)
            if positive is not None:
                for a in range(size):
                    hard[row] |= not x[a] > 0
        store(row, support, x, size, indices, values)
        explained[row] = captured
