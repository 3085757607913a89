"""Dictionary update on statistics alone: block-coordinate descent over atoms."""

import numpy as np

from ...kernels.jit import read_only
from ...kernels.update import multiply, normalise, sweep_block

_OUTER = 128
"""Atoms between two products with the whole dictionary, and"""

_BLOCK = 64
"""between two with those gone over since; inside, changes pass from atom to atom."""


def sweep(dictionary, XX, XY, n_sweeps):
    """Improve a dictionary at fixed codes.

    Minimises ``||Y - X D||^2`` over one unit atom after the other, given
    ``A = X'X`` and ``B = X'Y`` (Mairal, Bach, Ponce, Sapiro 2010, algorithm
    2): ``d_j`` becomes the direction of ``B_j - sum_{l != j} A_jl d_l``. Each
    step can only lower the error. Atoms without any use stay as they are.

    With the diagonal of ``A`` alone, ``XY`` holds that direction already: it
    is ``x_j' E_j``, one step of the power method towards the singular vector
    that K-SVD gives an atom (Rubinstein, Zibulevsky, Elad 2008, section 4), of
    all atoms at once. Then there is nothing to go over again.

    Parameters
    ----------
    dictionary : (m, d) float array
        Unit atoms.
    XX : (m, m) or (m,) float64 array
    XY : (m, d) float64 array
    n_sweeps : int
        Times to go over all atoms.

    Returns
    -------
    (m, d) float array
        A new dictionary of the same dtype.
    """
    dtype = dictionary.dtype
    power = power_of(XX)
    largest = power.max(initial=0.0)
    if largest <= 0:
        return dictionary.copy()
    usable = power > np.finfo(dtype).eps ** 2 * largest
    if XX.ndim == 1:
        new = np.empty_like(dictionary)
        normalise(read_only(XY), usable, read_only(dictionary), new)
        return new
    dictionary = dictionary.copy()
    A, B = (_times(1 / max(largest, np.finfo(float).tiny), sums, dtype) for sums in (XX, XY))
    for _ in range(n_sweeps):
        for first in range(0, len(dictionary), _OUTER):
            _sweep_atoms(dictionary, A, B, usable, slice(first, min(first + _OUTER, len(dictionary))))
    return dictionary


def _sweep_atoms(dictionary, A, B, usable, atoms):
    """Go over some atoms that follow each other; the dictionary is changed in place."""
    before = dictionary[atoms].copy()
    left = B[atoms] - A[atoms] @ dictionary
    for start in range(0, len(before), _BLOCK):
        block = slice(start, min(start + _BLOCK, len(before)))
        here = slice(atoms.start + block.start, atoms.start + block.stop)
        done = slice(atoms.start, here.start)
        if start:
            left[block] -= A[here, done] @ (dictionary[done] - before[:start])
        sweep_block(left[block], np.ascontiguousarray(A[here, here]), dictionary[here], usable[here])


def _times(factor, array, dtype):
    product = np.empty(array.shape, dtype)
    multiply(read_only(array.reshape(-1)), factor, product.reshape(-1))
    return product


def power_of(XX):
    """Sums of squared coefficients, from ``X'X`` or its diagonal."""
    return XX if XX.ndim == 1 else XX.diagonal()


def error_at_fixed_codes(dictionary, XX, XY, energy):
    """``||Y - X D||^2`` from the statistics: ``sum|y|^2 - 2 <B, D> + <A D, D>``."""
    D = dictionary.astype(np.float64)
    return energy - 2 * np.vdot(XY, D) + np.vdot(XX @ D, D)
