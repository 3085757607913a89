"""Atoms that are not worth their place make room for badly represented rows.

K-SVD gets stuck where one atom mixes two true ones while two others are near
copies of each other. The copies can be told from statistics alone, and rows
that no atom represents are what is missing.
"""

import numpy as np

from ..constants import REPLACED_SHARE, TWIN_COSINE


def find_twins(dictionary, power):
    """Atoms that a near-copy makes useless, least useful first.

    Parameters
    ----------
    dictionary : (m, d) float array
    power : (m,) float64 array
        Sums of squared coefficients, the diagonal of ``X'X``.

    Returns
    -------
    list of int
        The one of two twins that is kept is never in the list.

    Notes
    -----
    The use of atom l is ``power_l (1 - max_j <d_l, d_j>^2)``: what would be
    lost if its nearest neighbour took over.
    """
    cosines = np.abs(dictionary @ dictionary.T)
    np.fill_diagonal(cosines, 0)
    nearest = cosines.max(axis=1)
    use = power * (1 - np.minimum(nearest.astype(np.float64), 1) ** 2)
    keep = np.zeros(len(power), bool)
    gone = np.zeros(len(power), bool)
    for atom in np.argsort(use, kind="stable"):
        if nearest[atom] <= TWIN_COSINE or keep[atom]:
            continue
        twins = np.flatnonzero((cosines[atom] > TWIN_COSINE) & ~gone)
        if len(twins):
            gone[atom] = True
            keep[twins[np.argmax(cosines[atom, twins])]] = True
    order = np.argsort(use, kind="stable")
    return [int(atom) for atom in order if gone[atom]]


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
