"""Matching pursuits of one block of rows, in the Gram domain.

A block brings its correlations ``P = Y D'`` (one matrix product) and the
squared norms of its rows; the residual itself is never formed. All arrays are
of one float type.
"""

import numpy as np

from .jit import (
    is_float,
    kernel,
    magnitude,
    natural,
    part,
    prefetch,
    reordering_kernel,
    strength,
    uncounted,
    zero_magnitude,
)
from .nested import leading, stage_of
from .nonnegative import STEPS_PER_COEF, drop, leaving
from .precise import left_energy
from .residual import next_close, subtract_direction
from .support import back_substitute, extend, not_taken, nothing_under, store

_NEAR_BYTES = 2**19
"""A Gram matrix of this size stays in the second-level cache."""

SLACK = 128
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
    q, first, second, doubt, y, dictionary, inner_products, support, factor, z, x, basis, scale, size,
    positive, end,
):  # fmt: skip
    """The atom of the largest correlation, of the first ``end``, where ``q`` is rounded.

    Atoms whose strength is at most ``doubt`` under that of ``first``, the
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
            back_substitute(factor, z, size, x)
        most = zero_magnitude(q[0])
        i = next_close(q, 0, bound, positive)
        while i < end:
            candidate = _product(y, part(dictionary, i))
            if near:
                true = strength(_left_of_near(candidate, i, inner_products, support, x, size), positive)
            else:
                true = strength(_left_of(candidate, i, z, basis, scale, size), positive)
            if true > most:
                most = true
                chosen, product = i, candidate
            i = next_close(q, i + 1, bound, positive)
    return chosen, product


@kernel
def _without(
    place, size, q, y, gram, scale, inner_products, dictionary, factor, support, z, basis, weights, inner,
    positive,
):  # fmt: skip
    """Take an atom out of a support of which all are taken out of the residual.

    Those after it are put back, and taken out anew without it.
    """
    one = scale / scale
    for s in range(place, size):
        step, direction = scale * z[s], part(basis, s)
        for i in range(q.shape[0]):
            q[i] += step * direction[i]
    drop(support, place, size)
    for t in range(place, size - 1):
        j = support[t]
        if scale == one:
            correlation = q[j]
            pivot = one * gram[j, j]
            for s in range(t):
                factor[t, s] = basis[s, j]
                pivot -= basis[s, j] * basis[s, j]
        else:
            correlation = _product(y, part(dictionary, j))
            pivot = extend(factor, j, support, t, inner_products, dictionary, inner)
            for s in range(t):
                correlation -= z[s] * factor[t, s]
        factor[t, t] = one / np.sqrt(pivot)
        z[t] = correlation * factor[t, t]
        for s in range(t):
            weights[s] = factor[t, t] * factor[t, s]
        subtract_direction(
            q, gram, j, factor[t, t], basis, weights, t, scale * z[t], dictionary, -1, -1, positive
        )


@kernel
def omp(
    P, gram, scale, inner_products, dictionary, rows, doubts, energy, floor, threshold, rounding, pivot_min,
    bases, positive, ends, rooms, indices, values, hard, explained,
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

    Of ``positive`` coefficients alone, steps are those of `nonnegative`: an atom
    whose coefficient would turn negative leaves the support, and directions
    after its own are made anew.

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
    threshold : float
        A row is finished, too, when no atom correlates with its residual by as much, in units of the rows.
    rounding : float
        A row is finished, too, when no atom correlates with its residual by
        more than ``rounding`` times its norm.
    pivot_min : float
        Least squared distance of a new atom from the span of the support that
        inner products tell well enough.
    bases : (2, k, m) array
        Work space of the type of ``gram``: inner products of all atoms with the
        directions of two rows' supports.
    positive : None or True
        Whether coefficients must be positive; see `jit.strength`.
    ends, rooms : None or (s,) int64 arrays
        Prefixes of the dictionary to choose atoms from, one after the other, and most atoms up to the end of
        each; see `nested`.
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
    exact = is_float(gram)  # known when this is compiled, which leaves out what only rounded numbers need
    rounded = not exact and doubts.shape[0] > 0
    far = gram.size * gram.itemsize > _NEAR_BYTES
    inner = np.empty(k, P.dtype)
    x = np.empty(k, P.dtype)
    weights = np.empty(k, P.dtype)
    left = np.empty(rows.shape[1])
    factors = np.empty((2, k, k), P.dtype)
    zs = np.empty((2, k), P.dtype)
    supports = np.empty((2, k), np.int64)
    # Two rows in turn: while the residual of one is made, the other's next atom is fetched.
    olds = np.empty((2, k), P.dtype)
    steps = np.zeros(2, np.int64)
    current = np.full(2, -1)
    sizes = np.zeros(2, np.int64)
    firsts = np.zeros(2, np.int64)
    seconds = np.full(2, zero_magnitude(one))
    captured = np.zeros(2)
    stages = np.zeros(2, np.int64)
    following = 0
    turn = 0
    while following < n or current[0] >= 0 or current[1] >= 0:
        turn = natural(1 - turn)
        row, size, j = current[turn], natural(sizes[turn]), natural(firsts[turn])
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
        target, nothing = (1.0 - floor) * energy[row], nothing_under(rounding, energy[row], P)
        loose = 0.0  # how far a rounded correlation may be under a true one
        if threshold > 0:
            if rounded:
                loose += doubts[row]
            if not exact:
                loose += scale * size * np.sqrt(energy[row])
        least = max(nothing, not_taken(max(threshold - loose, 0.0), P))
        if ends is not None and row >= 0:
            stages[turn], j, seconds[turn] = stage_of(
                part(P, row), ends, rooms, stages[turn], size, least, j, seconds[turn], positive
            )
        stopped = row < 0 or not target > 0 or strength(P[row, j], positive) <= least
        doubtful = False
        if positive is not None and stopped and row >= 0 and target > 0 and (rounded or not exact):
            # none of the rounded correlations is positive enough, but a true one may be
            doubtful = threshold <= loose
        if not stopped:
            row = natural(row)
            q = part(P, row)
            correlation = q[j]
            if rounded:
                j, correlation = _find_true(
                    q, j, seconds[turn], doubts[row], part(rows, row), dictionary, inner_products, support,
                    factor, z, x, basis, scale, size, positive,
                    q.shape[0] if ends is None else ends[stages[turn]],
                )  # fmt: skip
            elif not exact:
                correlation = _product(part(rows, row), part(dictionary, j))
            if exact:
                pivot = one * gram[j, j]  # a float even where this is not reached
                for s in range(size):
                    factor[size, s] = basis[s, j]
                    pivot -= basis[s, j] * basis[s, j]
            else:
                pivot = extend(factor, j, support, size, inner_products, dictionary, inner)
                for s in range(size):
                    correlation -= z[s] * factor[size, s]
            # the true one; of a threshold near what rounding may do, atoms were not all compared
            stopped = threshold > 2 * loose and strength(correlation, positive) <= not_taken(threshold, P)
            under = False  # nothing more of this prefix, but maybe of the next
            if ends is not None and stopped and stages[turn] + 1 < len(ends):
                stages[turn] += 1
                firsts[turn], seconds[turn] = leading(q, ends, stages[turn], positive)
                stopped, under = False, True
            if not stopped and not under:
                stopped = doubtful = (
                    strength(correlation, positive) <= max(nothing, not_taken(threshold, P))
                    or pivot < pivot_min
                )
            if not stopped and not under:
                factor[size, size] = one / np.sqrt(pivot)
                z[size] = correlation * factor[size, size]
                support[size] = j
                captured[turn] += np.float64(z[size]) * np.float64(z[size])
                for s in range(size):
                    weights[s] = factor[size, size] * factor[size, s]
                size += 1
                taken_out = False
                if positive is not None:
                    old = part(olds, turn)
                    old[size - 1] = 0
                    back_substitute(factor, z, size, x)
                    place = leaving(old, x, size)
                    steps[turn] += 1
                    if place >= 0:
                        subtract_direction(
                            q, gram, j, factor[size - 1, size - 1], basis, weights, size - 1,
                            scale * z[size - 1], dictionary, -1, -1, positive,
                        )  # fmt: skip
                        while place >= 0:
                            _without(
                                place, size, q, part(rows, row), gram, scale, inner_products, dictionary,
                                factor, support, z, basis, weights, inner, positive,
                            )  # fmt: skip
                            drop(old, place, size)
                            size -= 1
                            back_substitute(factor, z, size, x)
                            place = leaving(old, x, size)
                        captured[turn] = 0
                        for s in range(size):
                            captured[turn] += np.float64(z[s]) * np.float64(z[s])
                        firsts[turn], seconds[turn] = leading(q, ends, stages[turn], positive)
                        taken_out = True
                    stopped = steps[turn] == STEPS_PER_COEF * k
                stopped |= size == k
                if floor > 0 and not stopped:
                    above = captured[turn] - target
                    stopped = above >= 0
                    if abs(above) < SLACK * rounding * energy[row]:
                        back_substitute(factor, z, size, x)
                        rest = left_energy(part(rows, row), dictionary, support, x, size, left)
                        stopped = rest <= floor * energy[row]
                if not stopped and not taken_out:
                    firsts[turn], second = subtract_direction(
                        q, gram, j, factor[size - 1, size - 1], basis, weights, size - 1,
                        scale * z[size - 1], dictionary, next_atom, next_row, positive,
                    )  # fmt: skip
                    if not exact:
                        seconds[turn] = second
                    if ends is not None and stages[turn] + 1 < len(ends):
                        firsts[turn], seconds[turn] = leading(q, ends, stages[turn], positive)
        if stopped:
            if row >= 0:
                row = natural(row)
                if positive is None:
                    back_substitute(factor, z, size, x)
                else:  # where the last step led
                    for s in range(size):
                        x[s] = olds[turn, s]
                store(row, support, x, size, indices, values)
                explained[row] = captured[turn]
                hard[row] = doubtful
                if doubtful:  # what is no longer than that correlates with nothing by more
                    rest = left_energy(part(rows, row), dictionary, support, x, size, left)
                    hard[row] = rest > rounding * rounding * energy[row]
            row, size = -1, 0
            captured[turn] = 0
            steps[turn] = 0
            stages[turn] = 0
            if following < n:
                row = following
                following += 1
                firsts[turn], second = leading(part(P, row), ends, 0, positive)
                if not exact:
                    seconds[turn] = second
        current[turn], sizes[turn] = row, size
