"""Atoms that are not worth their place make room for badly represented rows.

K-SVD gets stuck where one atom mixes two true ones while others are near
copies of each other, or mixtures of atoms that are there already. Both kinds
of surplus can be told from the dictionary alone, and rows that no atom
represents are what is missing.
"""

import numpy as np

from ..constants import IDLE, REDUNDANT, REPLACED_SHARE
from ..kernels.update import pursue_atoms


def find_redundant(dictionary, power, count_idle=True):
    """Atoms that one or two others make superfluous, least useful first.

    Parameters
    ----------
    dictionary : (m, d) float array
        Unit atoms.
    power : (m,) float64 array
        Sums of squared coefficients, the diagonal of ``X'X``.
    count_idle : bool
        Whether atoms of next to no use count, too.

    Returns
    -------
    list of int
        No atom in the list is needed to represent another one in it.

    Notes
    -----
    Each atom is itself coded by matching pursuit with two of the others. An
    atom of which hardly anything is left is a copy of its neighbour or a
    mixture of two; its use is its power times what is left. Atoms of next to
    no use, beside the median atom, are superfluous as well.
    """
    gram = dictionary @ dictionary.T
    remainder = np.empty((len(gram), 2), gram.dtype)
    support = np.empty((len(gram), 2), np.int64)
    pursue_atoms(gram, remainder, support)
    remainder = np.maximum(remainder, 0)
    needs = np.where(remainder[:, 0] <= REDUNDANT, 1, 2)
    needed = np.zeros(len(gram), bool)
    gone = np.zeros(len(gram), bool)
    found = []
    use = power * remainder[:, 1]
    idle = count_idle & (use < IDLE * np.median(use))
    for atom in np.argsort(use, kind="stable"):
        helpers = support[atom, : needs[atom]]
        if needed[atom]:
            continue
        if not idle[atom]:
            if remainder[atom, 1] > REDUNDANT or gone[helpers].any():
                continue
            needed[helpers] = True
        gone[atom] = True
        found.append(int(atom))
    return found


def most_replaced(n_components):
    """Atoms that may be replaced at one look."""
    return max(1, int(REPLACED_SHARE * n_components))


def replace(dictionary, XX, XY, atoms, candidates):
    """Put candidate rows in the place of atoms.

    The share of an old atom is first taken out of ``X'Y`` for the others, and
    its own statistics are cleared.

    Parameters
    ----------
    dictionary, XX, XY : arrays
        (m, d), (m, m), (m, d). ``XX`` and ``XY`` may be None.
    atoms : list of int
    candidates : (c, d) array
        Prepared rows, best candidate first; zero rows are passed over.

    Returns
    -------
    dictionary, XX, XY : arrays
        New ones.
    replaced : list of int
        Atoms that were replaced.
    """
    norms = np.linalg.norm(candidates, axis=1)
    candidates = candidates[norms > 0] / norms[norms > 0, None]
    replaced = [int(atom) for atom in atoms[: len(candidates)]]
    if not replaced:
        return dictionary, XX, XY, replaced
    old = dictionary
    dictionary = dictionary.copy()
    dictionary[replaced] = candidates[: len(replaced)]
    if XX is not None:
        XX, XY = XX.copy(), XY.copy()
        XY -= XX[:, replaced] @ old[replaced].astype(np.float64)
        XX[replaced, :] = 0
        XX[:, replaced] = 0
        XY[replaced] = 0
    return dictionary, XX, XY, replaced
