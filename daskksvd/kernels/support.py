"""The support of one row's code: its Gram matrix factored, its coefficients, and when it is complete."""

import numpy as np

from .jit import inlined_kernel, kernel, magnitude, natural, part
from .precise import dot


@kernel
def extend(factor, atom, support, size, inner_products, dictionary, inner):
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


@inlined_kernel
def back_substitute(factor, z, size, x):
    """Solve ``factor' x = z``; a factor's diagonal holds its reciprocals."""
    for after in range(size):
        a = natural(size - 1 - after)
        value = z[a]
        for b in range(a + 1, size):
            value -= factor[natural(b), a] * x[natural(b)]
        x[a] = value * factor[a, a]


@inlined_kernel
def store(row, support, x, size, indices, values):
    """Write a code into a row of fixed width."""
    for a in range(size):
        indices[row, a] = support[a]
        values[row, a] = x[a]
    for a in range(size, indices.shape[1]):
        indices[row, a] = -1
        values[row, a] = 0


@kernel
def nothing_under(rounding, energy, P):
    """Magnitude under which a correlation in ``P`` may be rounding alone."""
    return magnitude(P.dtype.type(rounding * np.sqrt(energy)))


@kernel
def not_taken(threshold, P):
    """The largest strength of a correlation in ``P`` that is below ``threshold``."""
    return magnitude(P.dtype.type(threshold)) - 1
