"""What atoms of finished codes correlated with the residual by when they were chosen."""

import numpy as np

from .jit import kernel, part
from .precise import dot, support_size
from .support import extend


@kernel
def least_so_far(rows, dictionary, inner_products, indices, positive, out):
    """The least of what each atom, and those before it, correlated with the residual by.

    A threshold up to that keeps the atom, a larger one does not.

    Parameters
    ----------
    rows : (n, d) float array
    dictionary : (m, d) float array
    inner_products : (m, m) float array
        Of atoms; empty where they are to be taken from the dictionary.
    indices : (n, k) int array
        Atoms in the order chosen; -1 ends a support.
    positive : None or True
        Whether correlations count with their sign.
    out : (n, k) float array
        Filled, where there are atoms.
    """
    n, k = indices.shape
    factor, inner = np.empty((k, k), rows.dtype), np.empty(k, rows.dtype)
    z, support = np.empty(k, rows.dtype), np.empty(k, np.int64)
    for row in range(n):
        y = part(rows, row)
        least = np.inf
        size = support_size(part(indices, row))
        for a in range(size):
            atom = indices[row, a]
            support[a] = atom
            pivot = extend(factor, atom, support, a, inner_products, dictionary, inner)
            correlation = dot(y, part(dictionary, atom))
            for b in range(a):
                correlation -= z[b] * factor[a, b]
            # of atoms nearly in the span of others neither tells much: they are kept as those before
            factor[a, a] = 1 / np.sqrt(pivot) if pivot > 0 else 0
            z[a] = correlation * factor[a, a]
            if pivot > 0:
                least = min(least, correlation if positive is not None else abs(correlation))
            out[row, a] = least
