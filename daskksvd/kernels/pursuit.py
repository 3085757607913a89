"""Matching pursuits of one block of rows, in the Gram domain.

A block brings its correlations ``P = Y D'`` (one matrix product) and the
squared norms of its rows; the residual itself is never formed. All arrays are
of one float type.
"""

import numpy as np

from .jit import as_number, from_magnitude, kernel, magnitude, prefetch, reordering_kernel, zero_magnitude

_NEAR_BYTES = 2**19
"""A Gram matrix of this size stays in the second-level cache."""


@kernel
def _largest(p):
    """Magnitude of the largest absolute value in ``p``."""
    best = magnitude(p[0])
    for i in range(p.shape[0]):
        best = max(best, magnitude(p[i]))
    return best


@kernel
def _find(p, best):
    """First index at which ``|p|`` has the magnitude ``best``; without a branch."""
    last = np.int32(p.shape[0])
    found = last
    for i in range(last):
        found = min(found, np.int32(i) if magnitude(p[i]) == best else last)
    return found


@kernel
def _less1(p, q, g0, x0):
    """Set ``q`` to ``p`` less one atom's correlations; returns the largest magnitude."""
    best = zero_magnitude(x0)
    for i in range(p.shape[0]):
        value = p[i] - x0 * as_number(g0[i], x0)
        q[i] = value
        best = max(best, magnitude(value))
    return best


@kernel
def _less2(p, q, g0, g1, x0, x1):
    best = zero_magnitude(x0)
    for i in range(p.shape[0]):
        value = p[i] - x0 * as_number(g0[i], x0) - x1 * as_number(g1[i], x1)
        q[i] = value
        best = max(best, magnitude(value))
    return best


@kernel
def _less3(p, q, g0, g1, g2, x0, x1, x2):
    best = zero_magnitude(x0)
    for i in range(p.shape[0]):
        value = p[i] - x0 * as_number(g0[i], x0) - x1 * as_number(g1[i], x1) - x2 * as_number(g2[i], x2)
        q[i] = value
        best = max(best, magnitude(value))
    return best


@kernel
def _less4(p, q, g0, g1, g2, g3, x0, x1, x2, x3):
    best = zero_magnitude(x0)
    for i in range(p.shape[0]):
        value = (
            p[i]
            - x0 * as_number(g0[i], x0)
            - x1 * as_number(g1[i], x1)
            - x2 * as_number(g2[i], x2)
            - x3 * as_number(g3[i], x3)
        )
        q[i] = value
        best = max(best, magnitude(value))
    return best


@kernel
def _less1_more(q, g0, x0):
    """The same in place. With one array for both, LLVM need not fear overlaps."""
    best = zero_magnitude(x0)
    for i in range(q.shape[0]):
        value = q[i] - x0 * as_number(g0[i], x0)
        q[i] = value
        best = max(best, magnitude(value))
    return best


@kernel
def _less4_more(q, g0, g1, g2, g3, x0, x1, x2, x3):
    best = zero_magnitude(x0)
    for i in range(q.shape[0]):
        value = (
            q[i]
            - x0 * as_number(g0[i], x0)
            - x1 * as_number(g1[i], x1)
            - x2 * as_number(g2[i], x2)
            - x3 * as_number(g3[i], x3)
        )
        q[i] = value
        best = max(best, magnitude(value))
    return best


@kernel
def _correlate(p, q, gram, support, x, size):
    """Correlations of a residual, ``q = p - x gram[support]``.

    Four atoms at a time, which is what the registers and the loads of a core
    bear. Returns the largest magnitude in ``q``.
    """
    g = gram[support[0]]
    s = (size - 1) % 4 + 1
    if s == 1:
        best = _less1(p, q, g, x[0])
    elif s == 2:
        best = _less2(p, q, g, gram[support[1]], x[0], x[1])
    elif s == 3:
        best = _less3(p, q, g, gram[support[1]], gram[support[2]], x[0], x[1], x[2])
    else:
        g1, g2, g3 = gram[support[1]], gram[support[2]], gram[support[3]]
        best = _less4(p, q, g, g1, g2, g3, x[0], x[1], x[2], x[3])
    while s < size:
        g, g1 = gram[support[s]], gram[support[s + 1]]
        g2, g3 = gram[support[s + 2]], gram[support[s + 3]]
        best = _less4_more(q, g, g1, g2, g3, x[s], x[s + 1], x[s + 2], x[s + 3])
        s += 4
    return best


@reordering_kernel
def _dot(a, b):
    total = 0.0
    for i in range(a.shape[0]):
        total += np.float64(a[i]) * np.float64(b[i])
    return total


@reordering_kernel
def _product(a, b):
    total = a[0] * 0
    for i in range(a.shape[0]):
        total += a[i] * b[i]
    return total


@kernel
def _find_true(p, q, best, doubt, y, dictionary, gram, ahead):
    """The atom of the largest correlation where ``p``, and with it ``q``, is rounded.

    Atoms whose ``|q|`` is at most ``doubt`` under the largest are looked at
    once more in full precision; of a row of which 1 % or less is left, only
    those of at least half the largest, or it would be all atoms.

    Returns
    -------
    atom : int
    correlation : float
        Of the atom and the row ``y``, in full precision.
    """
    top = from_magnitude(best, doubt)
    bound = magnitude(top - min(doubt, top * q.dtype.type(0.5)))
    first = np.int64(_find(q, best))
    prefetch(dictionary[first])
    if ahead:
        prefetch(gram[first])
    value = q[first]
    q[first] = 0
    second = _largest(q)
    q[first] = value
    chosen = first
    correlation = _product(y, dictionary[first])
    if second >= bound:
        most = np.abs(value + (correlation - p[first]))
        for i in range(q.shape[0]):
            if i != first and magnitude(q[i]) >= bound:
                product = _product(y, dictionary[i])
                true = np.abs(q[i] + (product - p[i]))
                if true > most:
                    most = true
                    chosen = i
                    correlation = product
    return chosen, correlation


@kernel
def _back_substitute(factor, z, size, x):
    """Solve ``factor' x = z``; a factor's diagonal holds its reciprocals."""
    for a in range(size - 1, -1, -1):
        value = z[a]
        for b in range(a + 1, size):
            value -= factor[b, a] * x[b]
        x[a] = value * factor[a, a]


@kernel
def _store(row, support, x, size, indices, values):
    for a in range(size):
        indices[row, a] = support[a]
        values[row, a] = x[a]
    for a in range(size, indices.shape[1]):
        indices[row, a] = -1
        values[row, a] = 0


@kernel
def omp(
    P, gram, scale, dictionary, rows, doubts, energy, floor, rounding, pivot_min, residual, indices, values,
    explained,
):  # fmt: skip
    """Orthogonal matching pursuit with a growing Cholesky factor (Batch-OMP).

    Each step takes the atom that correlates most with the residual, adds a
    row to the Cholesky factor of the support's Gram matrix, and takes all
    atoms so far out of the row's correlations again (Rubinstein, Zibulevsky,
    Elad 2008, algorithm 1). The captured energy is the sum of the squared
    steps along the directions that the factor stands for.

    Parameters
    ----------
    P : (n, m) float array
        Correlations of rows with atoms. Rounded ones only choose atoms.
    gram : (m, m) float or int16 array
        Inner products of the atoms, divided by ``scale``.
    scale : float
        1, or the unit of rounded inner products. Those only choose atoms.
    dictionary : (m, d) float array
        Atoms, from which the inner products within a support are taken where
        ``scale`` is not 1, and those with the rows where ``P`` is rounded.
    rows : (n, d) float array
        Rows; not looked at where ``P`` is not rounded.
    doubts : (n,) float array
        How far two rounded correlations of each row may be wrong towards one
        another; empty where ``P`` is not rounded.
    energy : (n,) float64 array
        Squared norms of the rows.
    floor : float
        A row is finished when its residual energy is at most ``floor`` times
        its energy; 0 means that the number of coefficients alone decides.
    rounding : float
        A row is finished, too, when no atom correlates with its residual by
        more than ``rounding`` times its norm.
    pivot_min : float
        Least squared distance of a new atom from the span of the support.
    residual : (m,) float array
        Work space: correlations of the residual.
    indices, values : (n, k) integer and float arrays
        Filled with supports (-1 where unused) and coefficients.
    explained : (n,) float64 array
        Filled with the energy that each row's code captures.
    """
    n, k = indices.shape
    one = scale / scale  # of the float type
    exact = scale == one
    rounded = doubts.shape[0] > 0
    far = gram.size * gram.itemsize > _NEAR_BYTES
    inner = np.empty(k, P.dtype)
    scaled = np.empty(k, P.dtype)
    z = np.empty(k, P.dtype)
    x = np.empty(k, P.dtype)
    factor = np.empty((k, k), P.dtype)
    support = np.empty(k, np.int64)
    for row in range(n):
        p = P[row]
        q = p
        best = _largest(p)
        captured = 0.0
        enough = (1.0 - floor) * energy[row]
        size = 0
        z[0] = rounding * np.sqrt(energy[row])
        nothing = magnitude(z[0])
        while size < k and best > nothing and captured < enough:
            if rounded:
                j, whole = _find_true(
                    p, q, best, doubts[row], rows[row], dictionary, gram, far and size + 1 < k
                )
            else:
                j = np.int64(_find(q, best))
                whole = p[j]
            g = gram[j]
            if size + 1 < k and far and not rounded:
                prefetch(g)
            correlation = q[j] + (whole - p[j])
            pivot = one
            if exact:
                pivot = as_number(g[j], one)
                for s in range(size):
                    inner[s] = as_number(g[support[s]], one)
            else:
                correlation = whole
                for s in range(size):
                    inner[s] = _dot(dictionary[j], dictionary[support[s]])
                    correlation -= x[s] * inner[s]
            if rounded and magnitude(correlation) <= nothing:
                break
            for s in range(size):
                c = inner[s]
                for e in range(s):
                    c -= factor[size, e] * factor[s, e]
                c *= factor[s, s]
                factor[size, s] = c
                pivot -= c * c
            if pivot < pivot_min:
                break
            factor[size, size] = one / np.sqrt(pivot)
            z[size] = correlation * factor[size, size]
            support[size] = j
            captured += np.float64(z[size]) * np.float64(z[size])
            size += 1
            _back_substitute(factor, z, size, x)
            if size < k:
                q = residual
                weights = x
                if not exact:
                    weights = scaled
                    for s in range(size):
                        scaled[s] = scale * x[s]
                best = _correlate(p, q, gram, support, weights, size)
        _store(row, support, x, size, indices, values)
        explained[row] = captured


@kernel
def mp(P, gram, energy, floor, rounding, pivot_min, steps, indices, values, explained):
    """Matching pursuit with the coefficients refitted on the support.

    Plain matching pursuit (Mallat, Zhang 1993) picks atoms until it has k
    distinct ones or has made ``steps`` steps; then the coefficients are
    fitted to the row by least squares. Other arguments as for `omp`, but
    ``P`` is overwritten.
    """
    n, k = indices.shape
    z = np.empty(k, P.dtype)
    x = np.empty(k, P.dtype)
    first = np.empty(k, P.dtype)
    factor = np.empty((k, k), P.dtype)
    support = np.empty(k, np.int64)
    for row in range(n):
        p = P[row]
        best = _largest(p)
        left = energy[row]
        target = floor * energy[row]
        size = 0
        z[0] = rounding * np.sqrt(energy[row])
        nothing = magnitude(z[0])
        for _ in range(steps):
            if best <= nothing or left <= target:
                break
            j = _find(p, best)
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
            best = _less1_more(p, gram[j], step)
        # least squares on the support; atoms that depend on others drop out
        kept = 0
        captured = 0.0
        for a in range(size):
            j = support[a]
            pivot = gram[j, j]
            value = first[a]
            for b in range(kept):
                c = gram[support[b], j]
                for e in range(b):
                    c -= factor[kept, e] * factor[b, e]
                c *= factor[b, b]
                factor[kept, b] = c
                pivot -= c * c
                value -= c * z[b]
            if pivot < pivot_min:
                continue
            factor[kept, kept] = 1 / np.sqrt(pivot)
            z[kept] = value * factor[kept, kept]
            captured += np.float64(z[kept]) * np.float64(z[kept])
            support[kept] = j
            kept += 1
        _back_substitute(factor, z, kept, x)
        _store(row, support, x, kept, indices, values)
        explained[row] = captured
