"""Matching pursuits of one block of rows, in the Gram domain.

A block brings its correlations ``P = Y D'`` (one matrix product) and the
squared norms of its rows; the residual itself is never formed. All arrays are
of one float type; ``mask`` is `jit.sign_mask` of that type.
"""

import numpy as np

from .jit import float_bits, kernel


@kernel
def _largest(p, mask):
    """Bits of the largest absolute value in ``p``."""
    best = mask & float_bits(p[0])
    for i in range(p.shape[0]):
        best = max(best, float_bits(p[i]) & mask)
    return best


@kernel
def _find(p, best, mask):
    """First index at which ``|p|`` has the bits ``best``.

    ``p`` has a length that is a multiple of 64; whole stretches are compared
    without a branch.
    """
    for start in range(0, p.shape[0], 64):
        hit = False
        for i in range(start, start + 64):
            hit |= (float_bits(p[i]) & mask) == best
        if hit:
            for i in range(start, start + 64):
                if (float_bits(p[i]) & mask) == best:
                    return i
    return -1


@kernel
def _back_substitute(factor, z, size):
    """Solve ``factor' x = z`` in place for a lower-triangular ``factor``."""
    for a in range(size - 1, -1, -1):
        value = z[a]
        for b in range(a + 1, size):
            value -= factor[b, a] * z[b]
        z[a] = value / factor[a, a]


@kernel
def _store(row, support, z, size, indices, values):
    for a in range(size):
        indices[row, a] = support[a]
        values[row, a] = z[a]
    for a in range(size, indices.shape[1]):
        indices[row, a] = -1
        values[row, a] = 0


@kernel
def omp(P, gram, energy, floor, rounding, pivot_min, mask, W, indices, values, explained):
    """Orthogonal matching pursuit by QR of the chosen atoms.

    Each step takes the atom that correlates most with the residual, makes it
    orthogonal to those chosen and subtracts its share. Row ``s`` of ``W``
    holds the correlations of the s-th orthonormal direction with every atom,
    which makes column j of ``W`` the new row of the Cholesky factor: no
    triangular solve a step. The captured energy is the sum of the squared
    steps (Rubinstein, Zibulevsky, Elad 2008, with QR in place of Cholesky).

    Parameters
    ----------
    P : (n, m) float array
        Correlations of rows with atoms; overwritten.
    gram : (m, m) float array
        Inner products of the atoms.
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
    mask : integer
        `jit.sign_mask` of the float type.
    W : (k, m) float array
        Work space.
    indices, values : (n, k) integer and float arrays
        Filled with supports (-1 where unused) and coefficients.
    explained : (n,) float64 array
        Filled with the energy that each row's code captures.
    """
    n, m = P.shape
    k = W.shape[0]
    z = np.empty(k, P.dtype)
    factor = np.empty((k, k), P.dtype)
    support = np.empty(k, np.int64)
    for row in range(n):
        p = P[row]
        best = _largest(p, mask)
        captured = 0.0
        enough = (1.0 - floor) * energy[row]
        size = 0
        z[0] = rounding * np.sqrt(energy[row])
        nothing = float_bits(z[0])
        while size < k and best > nothing and captured < enough:
            j = _find(p, best, mask)
            pivot = gram[j, j]
            for s in range(size):
                c = W[s, j]
                factor[size, s] = c
                pivot -= c * c
            if pivot < pivot_min:
                break
            root = np.sqrt(pivot)
            step = p[j] / root
            factor[size, size] = root
            z[size] = step
            support[size] = j
            captured += np.float64(step) * np.float64(step)
            size += 1
            if size == k:
                break
            w = W[size - 1]
            g = gram[j]
            for i in range(m):
                w[i] = g[i]
            s = 0
            while s + 4 <= size - 1:  # four at a time: fewer loads of w
                c0 = factor[size - 1, s]
                c1 = factor[size - 1, s + 1]
                c2 = factor[size - 1, s + 2]
                c3 = factor[size - 1, s + 3]
                w0 = W[s]
                w1 = W[s + 1]
                w2 = W[s + 2]
                w3 = W[s + 3]
                for i in range(m):
                    w[i] = w[i] - c0 * w0[i] - c1 * w1[i] - c2 * w2[i] - c3 * w3[i]
                s += 4
            while s < size - 1:
                c0 = factor[size - 1, s]
                w0 = W[s]
                for i in range(m):
                    w[i] -= c0 * w0[i]
                s += 1
            best = mask & 0
            for i in range(m):
                wi = w[i] / root
                w[i] = wi
                q = p[i] - step * wi
                p[i] = q
                best = max(best, float_bits(q) & mask)
        _back_substitute(factor, z, size)
        _store(row, support, z, size, indices, values)
        explained[row] = captured


@kernel
def mp(P, gram, energy, floor, rounding, pivot_min, mask, W, indices, values, explained):
    """Matching pursuit with the coefficients refitted on the support.

    Plain matching pursuit (Mallat, Zhang 1993) picks atoms until it has k
    distinct ones (or has made ``W.shape[1]`` steps); then the coefficients
    are fitted to the row by least squares. Arguments as for `omp`, but
    ``W`` is (1, steps) and only carries the most steps allowed.
    """
    n, m = P.shape
    k = indices.shape[1]
    steps = W.shape[1]
    z = np.empty(k, P.dtype)
    first = np.empty(k, P.dtype)
    factor = np.empty((k, k), P.dtype)
    support = np.empty(k, np.int64)
    for row in range(n):
        p = P[row]
        best = _largest(p, mask)
        left = energy[row]
        target = floor * energy[row]
        size = 0
        z[0] = rounding * np.sqrt(energy[row])
        nothing = float_bits(z[0])
        for _ in range(steps):
            if best <= nothing or left <= target:
                break
            j = _find(p, best, mask)
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
            g = gram[j]
            best = mask & 0
            for i in range(m):
                q = p[i] - step * g[i]
                p[i] = q
                best = max(best, float_bits(q) & mask)
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
                c /= factor[b, b]
                factor[kept, b] = c
                pivot -= c * c
                value -= c * z[b]
            if pivot < pivot_min:
                continue
            factor[kept, kept] = np.sqrt(pivot)
            z[kept] = value / factor[kept, kept]
            captured += np.float64(z[kept]) * np.float64(z[kept])
            support[kept] = j
            kept += 1
        _back_substitute(factor, z, kept)
        _store(row, support, z, kept, indices, values)
        explained[row] = captured
