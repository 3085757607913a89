"""Inner loops of the dictionary updates."""

import numpy as np

from .jit import kernel, part, reordering_kernel


@kernel
def add_faded(old, fade, new, total):
    """Set ``total`` to ``fade old + new``; flat arrays."""
    for i in range(old.shape[0]):
        total[i] = fade * old[i] + new[i]


@kernel
def multiply(array, factor, product):
    """Set ``product`` to ``factor array``; flat arrays, maybe of different types."""
    for i in range(array.shape[0]):
        product[i] = factor * array[i]


@reordering_kernel
def normalise(directions, usable, atoms, out):
    """Fill ``out`` with unit atoms of given directions.

    Parameters
    ----------
    directions : (m, d) float array
    usable : (m,) bool array
        Atoms to replace; those of no direction stay as well.
    atoms, out : (m, d) float arrays
        Before and after.
    """
    m, d = directions.shape
    for j in range(m):
        direction, atom, target = part(directions, j), part(atoms, j), part(out, j)
        energy = 0.0
        for f in range(d):
            energy += np.float64(direction[f]) * np.float64(direction[f])
        if usable[j] and energy > 0:
            factor = 1 / np.sqrt(energy)
            for f in range(d):
                target[f] = factor * direction[f]
        else:
            for f in range(d):
                target[f] = atom[f]


@kernel
def replace_coefficients(residuals, indices, values, slots, before, after, positive):
    """Give the samples of some atoms the coefficients of their new atoms.

    With atom j replaced by v_j, K-SVD's new coefficient of a sample is
    ``e . v_j`` with ``e = r + x_j d_j`` (Aharon, Elad, Bruckstein 2006,
    step "codebook update"). All atoms of the block see the same residual r,
    which is brought up to date in place.

    Parameters
    ----------
    residuals : (n, d) float array
    indices, values : (n, k) arrays
        Codes; ``values`` is overwritten.
    slots : (m,) int64 array
        Position of an atom in this block, or -1.
    before, after : (b, d) float arrays
        The block's atoms, old and new.
    positive : None or True
        Whether a coefficient that would be negative becomes zero, which is the best of those that may be.
    """
    n, d = residuals.shape
    k = indices.shape[1]
    fresh = np.empty(k, values.dtype)
    for row in range(n):
        r = residuals[row]
        touched = False
        for a in range(k):
            i = indices[row, a]
            if i < 0:
                break
            slot = slots[i]
            if slot < 0:
                continue
            touched = True
            old = before[slot]
            new = after[slot]
            inner = values[row, a] * 0
            across = values[row, a] * 0
            for f in range(d):
                inner += r[f] * new[f]
                across += old[f] * new[f]
            fresh[a] = inner + values[row, a] * across
            if positive is not None:
                fresh[a] = max(fresh[a], fresh[a] * 0)
        if not touched:
            continue
        for a in range(k):
            i = indices[row, a]
            if i < 0:
                break
            slot = slots[i]
            if slot < 0:
                continue
            x = values[row, a]
            y = fresh[a]
            old = before[slot]
            new = after[slot]
            for f in range(d):
                r[f] += x * old[f] - y * new[f]
            values[row, a] = y


@reordering_kernel
def sweep_block(S, A, atoms, usable):
    """Gauss-Seidel over one block of atoms, at fixed codes.

    The best unit atom, all others fixed, is the direction of
    ``B_j - sum_{l != j} A_jl d_l``.

    Parameters
    ----------
    S : (b, d) float array
        ``B - A D`` for the block's rows, overwritten; rows to come are kept up to date.
    A : (b, b) float array
        The block's part of ``X'X``.
    atoms : (b, d) float array
        The block's atoms, replaced in place.
    usable : (b,) bool array
        Atoms that have enough energy to be moved.
    """
    b, d = S.shape
    change = np.empty(d, S.dtype)
    inverse = np.empty(1, S.dtype)  # keeps the loops below in one float type
    for j in range(b):
        if not usable[j]:
            continue
        norm = 0.0
        for f in range(d):
            value = S[j, f] + A[j, j] * atoms[j, f]
            change[f] = value
            norm += np.float64(value) * np.float64(value)
        if norm <= 0.0:
            continue
        inverse[0] = 1.0 / np.sqrt(norm)
        factor = inverse[0]
        for f in range(d):
            value = change[f] * factor
            change[f] = value - atoms[j, f]
            atoms[j, f] = value
        for i in range(j + 1, b):
            c = A[i, j]
            if c != 0:
                for f in range(d):
                    S[i, f] -= c * change[f]


@kernel
def nearest_atoms(gram, first, positive, steps, nearest):
    """The atom that correlates most with each of some others.

    Parameters
    ----------
    gram : (b, m) float array
        Inner products of atoms ``first`` to ``first + b`` with all.
    first : int
    positive : None or True
        Whether negative correlations do not count.
    steps : (b,) float array
        Filled with the inner product.
    nearest : (b,) int64 array
        Filled with the atom; -1 where there is no other.
    """
    b, m = gram.shape
    for row in range(b):
        g = gram[row]
        best = 0.0
        nearest[row] = -1
        steps[row] = 0
        for i in range(m):
            size = g[i] if positive is not None else abs(g[i])
            if i != first + row and size > best:
                best = size
                nearest[row] = i
        if nearest[row] >= 0:
            steps[row] = g[nearest[row]]


@kernel
def second_atoms(gram, others, first, steps, nearest, pivot_min, positive, captured, second):
    """The second step of orthogonal matching pursuit of atoms with other atoms.

    Parameters
    ----------
    gram, others : (b, m) float arrays
        Inner products with all atoms: of atoms ``first`` to ``first + b``, and
        of the nearest one of each.
    first : int
    steps, nearest : (b,) arrays
        From `nearest_atoms`.
    pivot_min : float
        Least squared distance of the second atom from the first.
    positive : None or True
        Whether both coefficients must be positive.
    captured : (b,) float array
        Filled with the share of the squared norm that the second atom takes.
    second : (b,) int64 array
        Filled with the atom; -1 where there is no other.
    """
    b, m = gram.shape
    for row in range(b):
        second[row] = -1
        captured[row] = 0
        if nearest[row] < 0:
            continue
        g, h = gram[row], others[row]
        best = 0.0
        for i in range(m):
            correlation = g[i] - steps[row] * h[i]
            size = correlation if positive is not None else abs(correlation)
            if i != first + row and i != nearest[row] and size > best:
                pivot = 1 - h[i] * h[i]
                fits = pivot > pivot_min
                if positive is not None:
                    fits &= steps[row] * pivot > correlation * h[i]
                if fits:
                    best = size
                    second[row] = i
                    captured[row] = correlation * correlation / pivot
