"""Matching pursuits of one block of rows, in the Gram domain.

A block brings its correlations ``P = Y D'`` (one matrix product) and the
squared norms of its rows; the residual itself is never formed. All arrays are
of one float type.
"""

import numpy as np

from .jit import kernel, magnitude, part, prefetch, reordering_kernel, uncounted
from .residual import find, largest, subtract_atoms, take_out

_NEAR_BYTES = 2**19
"""A Gram matrix of this size stays in the second-level cache."""


@reordering_kernel
def _dot(a, b):
    total = 0.0
    for i in range(a.shape[0]):
        total += np.float64(a[i]) * np.float64(b[i])
    return total


@reordering_kernel
def _product(a, b):
    total = a.dtype.type(0)
    for i in range(a.shape[0]):
        total += a[i] * b[i]
    return total


@kernel
def _left_of(correlation, atom, inner_products, support, x, size):
    """Correlation of an atom with the residual, from that with the row."""
    for s in range(size):
        correlation -= x[s] * inner_products[atom, support[s]]
    return correlation


@kernel
def _find_true(p, q, tops, first, doubt, y, dictionary, inner_products, support, x, size):
    """The atom of the largest correlation where ``p``, and with it ``q``, is rounded.

    Atoms whose ``|q|`` is at most ``doubt`` under that of ``first``, the
    largest, are looked at once more in full precision; of a row of which 1 %
    or less is left, only those of at least half the largest, or it would be
    all atoms.

    Returns
    -------
    atom : int
    correlation : float
        Of the atom and the row ``y``, in full precision.
    """
    value = q[first]
    top = np.abs(value)
    bound = magnitude(top - min(doubt, top * q.dtype.type(0.5)))
    take_out(q, tops, first)
    second = largest(tops)
    q[first] = value
    chosen = first
    correlation = _product(y, part(dictionary, first))
    if second >= bound:
        near = inner_products.shape[0] > 0
        most = np.abs(value + (correlation - p[first]))
        if near:
            most = np.abs(_left_of(correlation, first, inner_products, support, x, size))
        for i in range(q.shape[0]):
            if i != first and magnitude(q[i]) >= bound:
                product = _product(y, part(dictionary, i))
                true = np.abs(q[i] + (product - p[i]))
                if near:
                    true = np.abs(_left_of(product, i, inner_products, support, x, size))
                if true > most:
                    most = true
                    chosen = i
                    correlation = product
    return chosen, correlation


@kernel
def _extend(factor, inner, size, pivot):
    """Add a row to the Cholesky factor of a support's Gram matrix, but for its diagonal.

    Parameters
    ----------
    factor : (k, k) float array
        Its diagonal holds reciprocals.
    inner : (k,) float array
        Inner products of the new atom with the ``size`` others.
    size : int
    pivot : float
        Squared norm of the new atom.

    Returns
    -------
    float
        Squared distance of the new atom from the span of the others.
    """
    for s in range(size):
        c = inner[s]
        for e in range(s):
            c -= factor[size, e] * factor[s, e]
        c *= factor[s, s]
        factor[size, s] = c
        pivot -= c * c
    return pivot


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
def _nothing(rounding, energy, q):
    """Magnitude under which a correlation may be rounding alone."""
    return magnitude(q.dtype.type(rounding * np.sqrt(energy)))


@kernel
def omp(
    P, gram, scale, inner_products, dictionary, rows, doubts, energy, floor, rounding, pivot_min, residual,
    tops, indices, values, explained,
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
    inner_products : (m, m) float array
        The same in full precision; empty where there are too many.
    dictionary : (m, d) float array
        Atoms, from which the inner products within a support are taken where
        ``inner_products`` are empty, and those with the rows where ``P`` is rounded.
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
    residual : (2, m) float array
        Work space: correlations of two residuals.
    tops : (2, m / 4) integer array
        Work space of `subtract_atoms`.
    indices, values : (n, k) integer and float arrays
        Filled with supports (-1 where unused) and coefficients.
    explained : (n,) float64 array
        Filled with the energy that each row's code captures.
    """
    n, k = indices.shape
    one = scale / scale  # of the float type
    inner_products, dictionary = uncounted(inner_products), uncounted(dictionary)
    near = inner_products.shape[0] > 0
    rounded = doubts.shape[0] > 0
    far = gram.size * gram.itemsize > _NEAR_BYTES
    inner = np.empty(k, P.dtype)
    factors = np.empty((2, k, k), P.dtype)
    zs = np.empty((2, k), P.dtype)
    xs = np.empty((2, k), P.dtype)
    weights = np.empty((2, k), P.dtype)
    supports = np.empty((2, k), np.int64)
    # Two rows in turn: while the residual of one is made, the other's next atom is fetched.
    current = np.full(2, -1)
    sizes = np.zeros(2, np.int64)
    firsts = np.full(2, -1)
    captured = np.zeros(2)
    following = 0
    turn = 0
    while following < n or current[0] >= 0 or current[1] >= 0:
        turn = 1 - turn
        row, size = current[turn], sizes[turn]
        factor, support = part(factors, turn), part(supports, turn)
        z, x, weight = part(zs, turn), part(xs, turn), part(weights, turn)
        q, top = part(residual, turn), part(tops, turn)
        stopped = True
        if row >= 0:
            p = part(P, row)
            j = firsts[turn]
            whole = p[j]
            if rounded:
                j, whole = _find_true(
                    p, q, top, j, doubts[row], part(rows, row), dictionary, inner_products, support, x, size
                )
            pivot = one
            if near:
                pivot = inner_products[j, j]
                for s in range(size):
                    inner[s] = inner_products[j, support[s]]
            else:
                for s in range(size):
                    inner[s] = _dot(part(dictionary, j), part(dictionary, support[s]))
            correlation = q[j] + (whole - p[j])
            if scale != one:
                correlation = whole
                for s in range(size):
                    correlation -= x[s] * inner[s]
            pivot = _extend(factor, inner, size, pivot)
            stopped = magnitude(correlation) <= _nothing(rounding, energy[row], q) or pivot < pivot_min
            if not stopped:
                factor[size, size] = one / np.sqrt(pivot)
                z[size] = correlation * factor[size, size]
                support[size] = j
                captured[turn] += np.float64(z[size]) * np.float64(z[size])
                size += 1
                _back_substitute(factor, z, size, x)
                for s in range(size):
                    weight[s] = scale * x[s]
                stopped = size == k
        next_atom = next_row = -1
        if far and current[1 - turn] >= 0:
            j = firsts[1 - turn]
            if rounded or not near:
                next_atom = j
            if sizes[1 - turn] + 1 < k:
                next_row = j
            if near:
                for s in range(sizes[1 - turn]):
                    prefetch(inner_products, j, supports[1 - turn, s])
        while True:
            if stopped:
                if row >= 0:
                    _store(row, support, x, size, indices, values)
                    explained[row] = captured[turn]
                if following == n:
                    row = -1
                    break
                row, size = following, 0
                captured[turn] = 0
                following += 1
            subtract_atoms(part(P, row), q, gram, support, weight, size, top, dictionary, next_atom, next_row)
            best = largest(top)
            stopped = best <= _nothing(rounding, energy[row], q)
            stopped |= not captured[turn] < (1.0 - floor) * energy[row]
            if not stopped:
                firsts[turn] = find(q, top, best)
                break
        current[turn], sizes[turn] = row, size


@kernel
def mp(P, gram, energy, floor, rounding, pivot_min, steps, tops, indices, values, explained):
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
    last = np.empty(1, np.int64)
    step = np.empty(1, P.dtype)
    factor = np.empty((k, k), P.dtype)
    support = np.empty(k, np.int64)
    for row in range(n):
        p = P[row]
        subtract_atoms(p, p, gram, last, step, 0, tops, gram, -1, -1)
        best = largest(tops)
        left = energy[row]
        target = floor * energy[row]
        size = 0
        z[0] = rounding * np.sqrt(energy[row])
        nothing = magnitude(z[0])
        for _ in range(steps):
            if best <= nothing or left <= target:
                break
            j = find(p, tops, best)
            last[0], step[0] = j, p[j] / gram[j, j]
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
                    z[a] += step[0]
            left -= np.float64(step[0]) * np.float64(p[j])
            subtract_atoms(p, p, gram, last, step, 1, tops, gram, -1, -1)
            best = largest(tops)
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
