"""What single steps in the Gram domain cannot tell, in double precision and from the rows themselves."""

import numpy as np

from .jit import kernel, part, reordering_kernel


@reordering_kernel
def dot(a, b):
    """Inner product of two vectors, summed in double precision."""
    total = 0.0
    for i in range(a.shape[0]):
        total += np.float64(a[i]) * np.float64(b[i])
    return total


@reordering_kernel
def _take_out(left, factor, line):
    for f in range(left.shape[0]):
        left[f] -= factor * np.float64(line[f])


@kernel
def left_energy(y, dictionary, support, values, size, left):
    """Squared norm of what a code leaves of a row.

    Parameters
    ----------
    y : (d,) float array
    dictionary : (m, d) float array
    support, values : (k,) arrays
        The code; its first ``size`` entries count.
    size : int
    left : (d,) float64 array
        Filled with what is left.
    """
    for f in range(left.shape[0]):
        left[f] = y[f]
    for a in range(size):
        _take_out(left, np.float64(values[a]), part(dictionary, support[a]))
    return dot(left, left)


@kernel
def support_size(support):
    """Atoms of a code of fixed width."""
    size = 0
    while size < support.shape[0] and support[size] >= 0:
        size += 1
    return size


@kernel
def correct_explained(rows, dictionary, indices, values, energy, limit, explained):
    """Measure what is left of rows of which that is little.

    Both energies of a row are rounded; where they are nearly the same, their
    difference is rounding.

    Parameters
    ----------
    rows : (n, d) float array
    dictionary : (m, d) float array
    indices, values : (n, k) arrays
        Fixed-width codes; -1 ends a support.
    energy : (n,) float64 array
        Squared norms of the rows.
    limit : float
        Rows of which less than this part of the energy is left are measured.
    explained : (n,) float64 array
        The energy that each code captures, corrected for those rows.
    """
    left = np.empty(rows.shape[1])
    for row in range(len(rows)):
        if energy[row] - explained[row] < limit * energy[row]:
            support, x = part(indices, row), part(values, row)
            rest = left_energy(part(rows, row), dictionary, support, x, support_size(support), left)
            explained[row] = energy[row] - rest


@kernel
def weighted_left_energy(rows, dictionary, indices, values, weights):
    """Sum over rows and features of ``(weights (Y - X D))^2``."""
    d = rows.shape[1]
    left = np.empty(d)
    total = 0.0
    for row in range(len(rows)):
        support = part(indices, row)
        left_energy(part(rows, row), dictionary, support, part(values, row), support_size(support), left)
        for f in range(d):
            left[f] *= weights[f]
        total += dot(left, left)
    return total


@kernel
def add_atom(dictionary, atom, size, basis, triangle, z, left, least):
    """Make an atom orthogonal to those before, by Gram and Schmidt twice, and take it out of the residual.

    Returns
    -------
    bool
        Whether that was done: not where ``least`` or less of its squared norm is left.
    """
    direction = part(basis, size)
    for f in range(direction.shape[0]):
        direction[f] = dictionary[atom, f]
    triangle[:, size] = 0
    for _ in range(2):
        for s in range(size):
            c = dot(part(basis, s), direction)
            triangle[s, size] += c
            _take_out(direction, c, part(basis, s))
    norm = dot(direction, direction)
    if not norm > least:
        return False
    norm = np.sqrt(norm)
    for f in range(direction.shape[0]):
        direction[f] /= norm
    triangle[size, size] = norm
    z[size] = dot(direction, left)
    _take_out(left, z[size], direction)
    return True


@kernel
def refit(y, dictionary, support, size, basis, triangle, z, left, least):
    """Take atoms out of a row, from its beginning; returns how many could be, the first of ``support``."""
    for f in range(left.shape[0]):
        left[f] = y[f]
    kept = 0
    for a in range(size):
        if add_atom(dictionary, support[a], kept, basis, triangle, z, left, least):
            support[kept] = support[a]
            kept += 1
    return kept


@kernel
def solve(triangle, z, size, x):
    """Solve ``triangle x = z`` for the coefficients of the atoms that `add_atom` added."""
    for a in range(size - 1, -1, -1):
        x[a] = z[a]
        for b in range(a + 1, size):
            x[a] -= triangle[a, b] * x[b]
        x[a] /= triangle[a, a]


@kernel
def atoms_at(ends, rooms, stage, size, n_atoms):
    """Atoms to choose from: of ``n_atoms``, or of a prefix as long as it has room for one."""
    if ends is None:
        return n_atoms
    if stage + 1 == len(ends):
        return n_atoms
    return ends[stage] if size < rooms[stage] else 0


@kernel
def is_last(ends, stage):
    """Whether there is no prefix after this one."""
    if ends is None:
        return True
    return stage + 1 == len(ends)


@kernel
def pursue(
    rows, dictionary, n_atoms, energy, floor, threshold, rounding, least, hard, more, ends, rooms, indices,
    values, explained,
):  # fmt: skip
    """Orthogonal matching pursuit that goes on where atoms are nearly alike.

    The residual is formed, and atoms are made orthogonal themselves, not
    their inner products: the distance of an atom from the span of others is as
    precise as the atom, not its square.

    Parameters
    ----------
    rows : (n, d) float array
    dictionary : (m, d) float array
    n_atoms : int
        Atoms that may be chosen, the first ones.
    energy, floor, threshold, rounding
        As for `omp`.
    least : float
        Least squared distance of a new atom from the span of the support.
    hard : (n,) bool array
        Rows to look at.
    more : bool
        Whether atoms are added to the supports that are there, or only coefficients found for those.
    ends, rooms
        As for `omp`.
    indices, values : (n, k) integer and float arrays
        Fixed-width codes; coefficients are not looked at, but filled.
    explained : (n,) float64 array
        Filled with the energy that each code captures.
    """
    k, d = indices.shape[1], rows.shape[1]
    basis, triangle = np.empty((k, d)), np.zeros((k, k))
    z, x, left, support = np.empty(k), np.empty(k), np.empty(d), np.empty(k, np.int64)
    for row in range(len(rows)):
        if not hard[row]:
            continue
        y = part(rows, row)
        given = support_size(part(indices, row))
        for a in range(given):
            support[a] = indices[row, a]
        size = refit(y, dictionary, support, given, basis, triangle, z, left, least)
        stage = 0
        while more and size < k and dot(left, left) > floor * energy[row]:
            best, atom = rounding * np.sqrt(energy[row]), -1
            for i in range(atoms_at(ends, rooms, stage, size, n_atoms)):
                product = abs(dot(left, part(dictionary, i)))
                if product > best and product >= threshold:
                    known = False
                    for a in range(size):
                        known |= support[a] == i
                    if not known:
                        best, atom = product, i
            if atom < 0 or not add_atom(dictionary, atom, size, basis, triangle, z, left, least):
                stage += 1
                if is_last(ends, stage - 1):
                    break
                continue
            support[size] = atom
            size += 1
        solve(triangle, z, size, x)
        for a in range(k):
            indices[row, a] = support[a] if a < size else -1
            values[row, a] = x[a] if a < size else 0
        rest = left_energy(y, dictionary, part(indices, row), part(values, row), size, left)
        explained[row] = energy[row] - rest
