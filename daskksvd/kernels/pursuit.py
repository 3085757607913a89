"""Matching pursuits of one block of rows, in the Gram domain.

A block brings its correlations ``P = Y D'`` (one matrix product) and the
squared norms of its rows; the residual itself is never formed. All arrays are
of one float type.
"""

import numpy as np

from .jit import kernel, magnitude, part, prefetch, reordering_kernel, uncounted, zero_magnitude
from .precise import dot, left_energy
from .residual import largest, next_close, subtract_atom, subtract_direction

_NEAR_BYTES = 2**19
"""A Gram matrix of this size stays in the second-level cache."""

_SLACK = 128
"""Units of ``rounding`` by which the captured energy may be wrong, in parts of the row's."""


@reordering_kernel
def _product(a, b):
    total = a.dtype.type(0)
    for i in range(a.shape[0]):
        total += a[i] * b[i]
    return total


@kernel
def _left_of(product, atom, z, basis, scale, size):
    """Correlation of an atom with the residual, from that with the row."""
    for s in range(size):
        product -= z[s] * scale * basis[s, atom]
    return product


@kernel
def _left_of_near(product, atom, inner_products, support, x, size):
    """The same where the directions in ``basis`` are of rounded inner products."""
    for s in range(size):
        product -= x[s] * inner_products[atom, support[s]]
    return product


@kernel
def _find_true(
    q, first, second, doubt, y, dictionary, inner_products, support, factor, z, x, basis, scale, size
):
    """The atom of the largest correlation where ``q`` is rounded.

    Atoms whose ``|q|`` is at most ``doubt`` under that of ``first``, the
    largest, are looked at once more in full precision; of a row of which 1 %
    or less is left, only those of at least half the largest, or it would be
    all atoms.

    Returns
    -------
    atom : int
    product : float
        Of the atom and the row ``y``, in full precision.
    """
    top = np.abs(q[first])
    bound = magnitude(top - min(doubt, top * q.dtype.type(0.5)))
    chosen, product = first, _product(y, part(dictionary, first))
    if second >= bound:
        near = inner_products.shape[0] > 0
        if near:
            _back_substitute(factor, z, size, x)
        most = zero_magnitude(q[0])
        i = next_close(q, 0, bound)
        while i < q.shape[0]:
            candidate = _product(y, part(dictionary, i))
            if near:
                true = magnitude(_left_of_near(candidate, i, inner_products, support, x, size))
            else:
                true = magnitude(_left_of(candidate, i, z, basis, scale, size))
            if true > most:
                most = true
                chosen, product = i, candidate
            i = next_close(q, i + 1, bound)
    return chosen, product


@kernel
def _extend(factor, atom, support, size, inner_products, dictionary, inner):
    """Add a row to the Cholesky factor of a support's Gram matrix, but for its diagonal.

    Parameters
    ----------
    factor : (k, k) float array
        Its diagonal holds reciprocals.
    atom : int
        The new atom.
    support : (k,) int64 array
        The ``size`` others.
    size : int
    inner_products : (m, m) float array
        Of atoms; they are taken from the ``dictionary`` where it is empty.
    dictionary : (m, d) float array
        Unit atoms.
    inner : (k,) float array
        Work space.

    Returns
    -------
    float
        Squared distance of the new atom from the span of the others.
    """
    pivot = factor.dtype.type(1)
    if inner_products.shape[0] > 0:
        pivot = inner_products[atom, atom]
        for s in range(size):
            inner[s] = inner_products[atom, support[s]]
    else:
        for s in range(size):
            inner[s] = dot(part(dictionary, atom), part(dictionary, support[s]))
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
def _nothing(rounding, energy, P):
    """Magnitude under which a correlation in ``P`` may be rounding alone."""
    return magnitude(P.dtype.type(rounding * np.sqrt(energy)))


@kernel
def omp(
    P, gram, scale, inner_products, dictionary, rows, doubts, energy, floor, rounding, pivot_min, bases,
    indices, values, hard, explained,
):  # fmt: skip
    """Orthogonal matching pursuit with orthogonalised rows of the Gram matrix.

    Each step takes the atom that correlates most with the residual, and makes
    it orthogonal to those before. What all atoms have in common with that
    direction is kept: it is what the residual's correlations lose by the step,
    and entries of it are the next row of the Cholesky factor of the support's
    Gram matrix, which gives the coefficients in the end. Supports and
    coefficients are those of Batch-OMP (Rubinstein, Zibulevsky, Elad 2008,
    algorithm 1); the recursion is that of Gharavi-Alkhansari and Huang (1998).
    The captured energy is the sum of the squared steps.

    A row stops where single steps cannot tell what comes next, and is marked
    for `precise.pursue`, if anything to be coded is left of it.

    Parameters
    ----------
    P : (n, m) float array
        Correlations of rows with atoms, overwritten. Rounded ones only choose atoms.
    gram : (m, m) float or int16 array
        Inner products of the atoms, divided by ``scale``.
    scale : float
        1, or the unit of rounded inner products. Those only choose atoms.
    inner_products : (m, m) float array
        The same in full precision where they are rounded; empty where there are too many.
    dictionary : (m, d) float array
        Atoms, from which the inner products within a support are taken where
        ``inner_products`` are empty, and those with the rows where ``P`` is rounded.
    rows : (n, d) float array
        Rows; where nothing is rounded, looked at only to measure what is left of one.
    doubts : (n,) float array
        How far two rounded correlations of each row may be wrong towards one
        another; empty where ``P`` is not rounded.
    energy : (n,) float64 array
        Squared norms of the rows.
    floor : float
        A row is finished when its residual energy is at most ``floor`` times
        its energy; 0 means that the number of coefficients alone decides. Where
        rounding could decide, what is left is measured.
    rounding : float
        A row is finished, too, when no atom correlates with its residual by
        more than ``rounding`` times its norm.
    pivot_min : float
        Least squared distance of a new atom from the span of the support that
        inner products tell well enough.
    bases : (2, k, m) array
        Work space of the type of ``gram``: inner products of all atoms with the
        directions of two rows' supports.
    indices, values : (n, k) integer and float arrays
        Filled with supports (-1 where unused) and coefficients.
    hard : (n,) bool array
        Filled with whether a row is to be gone on with.
    explained : (n,) float64 array
        Filled with the energy that each row's code captures.
    """
    n, k = indices.shape
    one = scale / scale  # of the float type
    inner_products, dictionary, gram = uncounted(inner_products), uncounted(dictionary), uncounted(gram)
    near = inner_products.shape[0] > 0
    exact, rounded = scale == one, doubts.shape[0] > 0
    far = gram.size * gram.itemsize > _NEAR_BYTES
    inner = np.empty(k, P.dtype)
    x = np.empty(k, P.dtype)
    weights = np.empty(k, P.dtype)
    left = np.empty(rows.shape[1])
    factors = np.empty((2, k, k), P.dtype)
    zs = np.empty((2, k), P.dtype)
    supports = np.empty((2, k), np.int64)
    # Two rows in turn: while the residual of one is made, the other's next atom is fetched.
    current = np.full(2, -1)
    sizes = np.zeros(2, np.int64)
    firsts = np.full(2, -1)
    seconds = np.full(2, zero_magnitude(one))
    captured = np.zeros(2)
    following = 0
    turn = 0
    while following < n or current[0] >= 0 or current[1] >= 0:
        turn = 1 - turn
        row, size, j = current[turn], sizes[turn], firsts[turn]
        factor, support, z = part(factors, turn), part(supports, turn), part(zs, turn)
        basis = part(bases, turn)
        next_atom = next_row = -1
        if far and current[1 - turn] >= 0:
            i = firsts[1 - turn]
            if sizes[1 - turn] + 1 < k:
                next_row = i
            if not exact:
                next_atom = i
            if near and not exact:
                for s in range(sizes[1 - turn]):
                    prefetch(inner_products, i, supports[1 - turn, s])
        target, nothing = (1.0 - floor) * energy[row], _nothing(rounding, energy[row], P)
        stopped = row < 0 or not target > 0 or magnitude(P[row, j]) <= nothing
        doubtful = False
        if not stopped:
            q = part(P, row)
            correlation = q[j]
            if rounded:
                j, correlation = _find_true(
                    q, j, seconds[turn], doubts[row], part(rows, row), dictionary, inner_products, support,
                    factor, z, x, basis, scale, size,
                )  # fmt: skip
            elif not exact:
                correlation = _product(part(rows, row), part(dictionary, j))
            if exact:
                pivot = one * gram[j, j]  # a float even where this is not reached
                for s in range(size):
                    factor[size, s] = basis[s, j]
                    pivot -= basis[s, j] * basis[s, j]
            else:
                pivot = _extend(factor, j, support, size, inner_products, dictionary, inner)
                for s in range(size):
                    correlation -= z[s] * factor[size, s]
            stopped = doubtful = magnitude(correlation) <= nothing or pivot < pivot_min
            if not stopped:
                factor[size, size] = one / np.sqrt(pivot)
                z[size] = correlation * factor[size, size]
                support[size] = j
                captured[turn] += np.float64(z[size]) * np.float64(z[size])
                stopped = size + 1 == k
                if floor > 0 and not stopped:
                    above = captured[turn] - target
                    stopped = above >= 0
                    if abs(above) < _SLACK * rounding * energy[row]:
                        _back_substitute(factor, z, size + 1, x)
                        rest = left_energy(part(rows, row), dictionary, support, x, size + 1, left)
                        stopped = rest <= floor * energy[row]
                if not stopped:
                    for s in range(size):
                        weights[s] = factor[size, size] * factor[size, s]
                    firsts[turn], seconds[turn] = subtract_direction(
                        q, gram, j, factor[size, size], basis, weights, size, scale * z[size], dictionary,
                        next_atom, next_row,
                    )  # fmt: skip
                size += 1
        if stopped:
            if row >= 0:
                _back_substitute(factor, z, size, x)
                _store(row, support, x, size, indices, values)
                explained[row] = captured[turn]
                hard[row] = doubtful
                if doubtful:  # what is no longer than that correlates with nothing by more
                    rest = left_energy(part(rows, row), dictionary, support, x, size, left)
                    hard[row] = rest > rounding * rounding * energy[row]
            row, size = -1, 0
            captured[turn] = 0
            if following < n:
                row = following
                following += 1
                firsts[turn], seconds[turn] = largest(part(P, row))
        current[turn], sizes[turn] = row, size


@kernel
def mp(P, gram, energy, floor, rounding, pivot_min, steps, indices, values, hard, explained):
    """Matching pursuit with the coefficients refitted on the support.

    Plain matching pursuit (Mallat, Zhang 1993) picks atoms until it has k
    distinct ones or has made ``steps`` steps; then the coefficients are
    fitted to the row by least squares. Rows are marked ``hard`` where inner
    products do not tell those. Other arguments as for `omp`.
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
        j, _ = largest(p)
        left = energy[row]
        target = floor * energy[row]
        size = 0
        z[0] = rounding * np.sqrt(energy[row])
        nothing = magnitude(z[0])
        for _ in range(steps):
            if magnitude(p[j]) <= nothing or left <= target:
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
            j, _ = subtract_atom(p, gram, j, step)
        # least squares on the support
        captured = 0.0
        hard[row] = False
        for a in range(size):
            value = first[a]
            pivot = _extend(factor, support[a], support, a, gram, gram, inner)
            if pivot < pivot_min:
                hard[row] = True
                break
            for b in range(a):
                value -= factor[a, b] * z[b]
            factor[a, a] = 1 / np.sqrt(pivot)
            z[a] = value * factor[a, a]
            captured += np.float64(z[a]) * np.float64(z[a])
        if not hard[row]:
            _back_substitute(factor, z, size, x)
        _store(row, support, x, size, indices, values)
        explained[row] = captured
