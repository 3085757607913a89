"""Statistics of coded rows that the dictionary updates need."""

import numpy as np

from .jit import kernel, natural, part


@kernel
def _by_atom(indices, values, m):
    """Sort the nonzeros of some codes by atom, those of an atom by row.

    Returns
    -------
    ends : (m,) int64 array
        Where the nonzeros of each atom end.
    users : (n k,) int64 array
        Their rows.
    weights : (n k,) float array
        Their coefficients.
    """
    n, k = indices.shape
    ends = np.zeros(m + 1, np.int64)
    users = np.empty(n * k, np.int64)
    weights = np.empty(n * k, values.dtype)
    for row in range(n):
        for a in range(k):
            i = indices[row, a]
            if i < 0:
                break
            ends[natural(i) + 1] += 1
    for i in range(m):
        ends[i + 1] += ends[i]
    for row in range(n):
        for a in range(k):
            i = indices[row, a]
            if i < 0:
                break
            place = natural(ends[natural(i)])  # an atom begins where the one before ends
            users[place] = row
            weights[place] = values[row, a]
            ends[natural(i)] += 1
    return ends[:m], users, weights


@kernel
def _add_rows(rows, ends, users, weights, first, last, XY, uses):
    """Add ``X'Y`` and the use counts, atom by atom from ``first`` on, two samples of each at a time."""
    d = rows.shape[1]
    place = natural(ends[first - 1] if first else 0)
    for i in range(first, last):
        to = part(XY, i)
        uses[i] += ends[i] - place
        if (ends[i] - place) % 2:
            x, y = weights[place], part(rows, users[place])
            for f in range(d):
                to[f] += x * y[f]
            place += 1
        while place < ends[i]:
            x, y = weights[natural(place)], part(rows, users[natural(place)])
            w, z = weights[natural(place + 1)], part(rows, users[natural(place + 1)])
            for f in range(d):
                to[f] += x * y[f] + w * z[f]
            place += 2


@kernel
def _add_gram(indices, values, ends, users, weights, XX):
    """Add ``X'X``, atom by atom: its rows lie far apart, and each is fetched once."""
    k = indices.shape[1]
    place = 0
    for i in range(len(XX)):
        line = part(XX, i)
        while place < ends[i]:
            x, row = weights[natural(place)], natural(users[natural(place)])
            for b in range(k):
                j = indices[row, b]
                if j < 0:
                    break
                line[natural(j)] += x * values[row, b]
            place += 1


@kernel
def add_moments(rows, indices, values, XX, XY, uses):
    """Add ``X'X``, ``X'Y`` and the use counts of a block to running sums.

    Parameters
    ----------
    rows : (n, d) float array
    indices, values : (n, k) arrays
        Fixed-width codes; -1 ends a support.
    XX : (m, m) float array
    XY : (m, d) float array
    uses : (m,) int64 array
    """
    ends, users, weights = _by_atom(indices, values, len(XY))
    _add_rows(rows, ends, users, weights, 0, len(XY), XY, uses)
    _add_gram(indices, values, ends, users, weights, XX)


@kernel
def add_residual_moments(residuals, indices, values, power, XR, uses):
    """Add the diagonal of ``X'X``, ``X'R`` and the use counts of a block to running sums.

    Parameters
    ----------
    residuals : (n, d) float array
        ``R = Y - X D``.
    indices, values : (n, k) arrays
        Fixed-width codes; -1 ends a support.
    power : (m,) float array
    XR : (m, d) float array
    uses : (m,) int64 array
    """
    ends, users, weights = _by_atom(indices, values, len(XR))
    _add_rows(residuals, ends, users, weights, 0, len(XR), XR, uses)
    _add_power(indices, values, power)


@kernel
def _add_power(indices, values, power):
    for row in range(len(indices)):
        for a in range(indices.shape[1]):
            i = indices[row, a]
            if i < 0:
                break
            power[i] += values[row, a] * values[row, a]


@kernel
def add_prefix_moments(residuals, dictionary, indices, values, stages, power, XR, uses):
    """`add_residual_moments` with the residuals of all prefixes that an atom belongs to, summed.

    Parameters
    ----------
    residuals : (n, d) float array
        ``R = Y - X D``; overwritten.
    dictionary : (m, d) float array
    stages : (s,) int64 array
        Ends of prefixes, the last one m. What a prefix leaves of a row is the row less its atoms, with the
        coefficients of the whole code.
    """
    ends, users, weights = _by_atom(indices, values, len(XR))
    _add_power(indices, values, power)
    n, k = indices.shape
    d = residuals.shape[1]
    total = residuals.copy()
    for stage in range(len(stages) - 1, -1, -1):
        first, last = stages[stage - 1] if stage else 0, stages[stage]
        _add_rows(total, ends, users, weights, first, last, XR, uses)
        if not stage:
            break
        for row in range(n):
            left, line = part(residuals, row), part(total, row)
            for a in range(k):
                i = indices[row, a]
                if i < 0:
                    break
                if i >= first and i < last:
                    x, atom = values[row, a], part(dictionary, i)
                    for f in range(d):
                        left[f] += x * atom[f]
            for f in range(d):
                line[f] += left[f]


@kernel
def subtract_reconstruction(rows, dictionary, indices, values):
    """Turn a block of rows into its residuals ``Y - X D``, in place."""
    n, d = rows.shape
    k = indices.shape[1]
    for row in range(n):
        y = rows[row]
        for a in range(k):
            i = indices[row, a]
            if i < 0:
                break
            x = values[row, a]
            atom = dictionary[i]
            for f in range(d):
                y[f] -= x * atom[f]


@kernel
def accumulate(array, sums):
    """Add a flat array to float64 ``sums``."""
    for i in range(array.shape[0]):
        sums[i] += array[i]
