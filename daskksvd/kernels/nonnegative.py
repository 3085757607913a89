"""Codes without negative coefficients: which atom leaves a support, and pursuit in double precision.

Non-negative matching pursuit (Bruckstein, Elad, Zibulevsky 2008) takes the
atom of the largest positive correlation with the residual, and the
coefficients are the non-negative least squares of the row on its support. That
is the active-set method of Lawson and Hanson (1974, chapter 23), stopped at k
atoms: a coefficient that would turn negative is moved to zero, together with
the others on their way to their least squares, and its atom leaves the
support; another takes its place. Least squares on a support of positive
coefficients alone is non-negative least squares.
"""

import numpy as np

from .jit import kernel, part
from .precise import add_atom, atoms_at, dot, is_last, left_energy, refit, solve, support_size
from .support import store

STEPS_PER_COEF = 4
"""Atoms come and go, and each step leaves less of the row; after this many steps
per coefficient a row keeps what it has."""


@kernel
def leaving(x, wanted, size):
    """Move coefficients towards wanted ones, as far as none turns negative.

    Parameters
    ----------
    x : (k,) float array
        Coefficients, none negative; moved in place.
    wanted : (k,) float array
        Least squares on the support.
    size : int

    Returns
    -------
    int
        Place of the atom whose coefficient is zero before the others get where they should; -1 if
        all get there.
    """
    share, place = x.dtype.type(1), -1
    fits = True
    for s in range(size):
        fits &= wanted[s] > 0
    if fits:
        for s in range(size):
            x[s] = wanted[s]
        return place
    for s in range(size):
        if not wanted[s] > 0:
            way = x[s] - wanted[s]
            here = x[s] / way if x[s] > 0 and way > 0 else way * 0
            if place < 0 or here < share:
                share, place = here, s
    for s in range(size):
        x[s] += share * (wanted[s] - x[s])
    x[place] = 0
    return place


@kernel
def drop(values, place, size):
    """Move what comes after a place in an array one place up."""
    for s in range(place, size - 1):
        values[s] = values[s + 1]


@kernel
def pursue_nonnegative(
    rows, dictionary, n_atoms, energy, floor, threshold, rounding, least, hard, more, ends, rooms, indices,
    values, explained,
):  # fmt: skip
    """Non-negative matching pursuit of rows that single steps cannot tell, from the beginning.

    Parameters are those of `precise.pursue`. Without ``more`` atoms come from the supports that are
    there alone: coefficients are non-negative least squares on those.
    """
    k, d = indices.shape[1], rows.shape[1]
    basis, triangle = np.empty((k, d)), np.zeros((k, k))
    z, left = np.empty(k), np.empty(d)
    x, wanted = np.empty(k), np.empty(k)
    support, given = np.empty(k, np.int64), np.empty(k, np.int64)
    for row in range(len(rows)):
        if not hard[row]:
            continue
        y = part(rows, row)
        for f in range(d):
            left[f] = y[f]
        n_given = support_size(part(indices, row))
        for a in range(n_given):
            given[a] = indices[row, a]
        size = stage = 0
        for _ in range(STEPS_PER_COEF * k):
            if size == k or (more and not dot(left, left) > floor * energy[row]):
                break
            best, atom = rounding * np.sqrt(energy[row]), -1
            for c in range(atoms_at(ends, rooms, stage, size, n_atoms) if more else n_given):
                i = c if more else given[c]
                product = dot(left, part(dictionary, i))
                if product > best and (product >= threshold or not more):
                    known = False
                    for a in range(size):
                        known |= support[a] == i
                    if not known:
                        best, atom = product, i
            if atom < 0 or not add_atom(dictionary, atom, size, basis, triangle, z, left, least):
                stage += 1
                if not more or is_last(ends, stage - 1):
                    break
                continue
            support[size], x[size] = atom, 0
            size += 1
            solve(triangle, z, size, wanted)
            place = leaving(x, wanted, size)
            while place >= 0:
                drop(support, place, size)
                drop(x, place, size)
                size = refit(y, dictionary, support, size - 1, basis, triangle, z, left, least)
                solve(triangle, z, size, wanted)
                place = leaving(x, wanted, size)
        store(row, support, x, size, indices, values)
        rest = left_energy(y, dictionary, part(indices, row), part(values, row), size, left)
        explained[row] = energy[row] - rest
