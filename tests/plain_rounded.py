"""Products of rounded numbers, as the processor's instruction makes them, in plain loops."""

import numpy as np
from numba import njit


def round_rows(rows, out):
    """As `kernels.rounded.round_rows`: to the nearest bfloat16, of two as near to the even one."""
    bits = np.ascontiguousarray(rows, np.float32).view(np.uint32)
    rounded = (bits + (np.uint32(0x7FFF) + ((bits >> np.uint32(16)) & np.uint32(1)))) >> np.uint32(16)
    out[:, : rows.shape[1]] = rounded
    out[:, rows.shape[1] :] = 0


@njit
def _add_up(rows, atoms, products):
    """Sums in single precision over pairs of features, the second of each pair first."""
    products[:] = 0
    for row in range(rows.shape[0]):
        total = products[row]
        for pair in range(0, rows.shape[1], 2):
            for feature in (pair + 1, pair):
                factor, line = rows[row, feature], atoms[feature]
                for atom in range(total.shape[0]):
                    total[atom] += factor * line[atom]


def correlate(pairs, packed, products):
    """As `kernels.rounded.correlate`."""
    atoms = np.ascontiguousarray(packed.transpose(0, 2, 1)).reshape(-1, packed.shape[1])
    _add_up(_single(pairs), np.ascontiguousarray(_single(atoms).T), products)


def _single(pairs):
    """The numbers of pairs of bfloat16, in single precision."""
    halves = np.ascontiguousarray(pairs).view(np.uint16)
    return (halves.astype(np.uint32) << np.uint32(16)).view(np.float32)
