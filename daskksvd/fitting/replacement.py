"""Atoms that are not worth their place make room for badly represented rows.

K-SVD gets stuck where one atom mixes two true ones while others are near
copies of each other, or mixtures of atoms that are there already. Both kinds
of surplus can be told from the dictionary alone, and rows that no atom
represents are what is missing.
"""

import numpy as np

from ..coding.products import FLOAT_GRAM_ATOMS
from ..coding.rules import PIVOT_MIN
from ..kernels.update import nearest_atoms, second_atoms

REDUNDANT = 0.19
"""An atom of which others, one or two, leave less than this share of its squared
norm is redundant: a copy (|cos| > 0.9) or a mixture of two. With copies alone,
planted dictionaries used by a power law were recovered to 61-78 %, with
mixtures to 98-100 %; taking all atoms with |cos| > 0.6 instead does the same
there, but raises the error on Flickr8k features by 2 %."""

IDLE = 0.05
"""An atom with less than this share of the median atom's use is redundant too:
atoms stuck on one or two odd rows are never quite dead."""

CHECKS_PER_PASS = 8
"""Looks for redundant atoms a pass."""

LARGE_CHECKS_PER_PASS = 2
"""The same with more than `FLOAT_GRAM_ATOMS`, where one takes seconds."""

MIXTURE_ROWS = 4
"""Badly represented rows that must agree before an atom counts as a mixture of
two true ones. Splitting such atoms took a planted 1,536-atom dictionary from
98.1 % of the atoms and error .097 to 99.7 % and .059 in four passes, and small
ones (64 atoms of 32 features) from 9 of 12 recovered whole to 12 of 12."""

MIXTURE_SHARE = 0.5
"""How far the share of their residual energy that lies along one direction must
be on the way from what chance gives to all of it."""

REPLACED_SHARE = 0.1
"""At most this share of the atoms is replaced at one look."""

REPRESENTED = 1e-3
"""Rows of which less than this share of the norm is left need no new atom."""

WORST_ROWS = 64
"""Worst-represented rows that one task returns as candidates."""

_BLOCK = 2048
"""Atoms whose inner products with all others are in memory together."""


def find_redundant(dictionary, power, count_idle=True, positive=None):
    """Atoms that one or two others make superfluous, least useful first.

    Parameters
    ----------
    dictionary : (m, d) float array
        Unit atoms.
    power : (m,) float64 array
        Sums of squared coefficients, the diagonal of ``X'X``.
    count_idle : bool
        Whether atoms of next to no use count, too.
    positive : None or True
        Whether atoms represent others with positive coefficients only, so that an atom and its opposite
        are none.

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
    remainder, support = pursue_atoms(dictionary, positive)
    needs = np.where(remainder[:, 0] <= REDUNDANT, 1, 2)
    needed = np.zeros(len(dictionary), bool)
    gone = np.zeros(len(dictionary), bool)
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


def pursue_atoms(dictionary, positive=None):
    """Represent every atom by at most two others, by orthogonal matching pursuit.

    Parameters
    ----------
    dictionary : (m, d) float array
        Unit atoms.
    positive : None or True
        Whether with positive coefficients only.

    Returns
    -------
    remainder : (m, 2) float array
        Squared residual norm after one and after two atoms.
    support : (m, 2) int64 array
        Those atoms; -1 where there is no other.
    """
    m, dtype = len(dictionary), dictionary.dtype
    taken = np.zeros((m, 2), dtype)
    support = np.full((m, 2), -1)
    for first in range(0, m, _BLOCK):
        block = slice(first, min(first + _BLOCK, m))
        gram = dictionary[block] @ dictionary.T
        steps, captured = np.empty((2, len(gram)), dtype)
        nearest, second = np.empty((2, len(gram)), np.int64)
        nearest_atoms(gram, first, positive, steps, nearest)
        others = gram[nearest] if len(gram) == m else dictionary[nearest] @ dictionary.T
        second_atoms(gram, others, first, steps, nearest, PIVOT_MIN, positive, captured, second)
        taken[block] = np.stack([steps**2, captured], axis=1)
        support[block] = np.stack([nearest, second], axis=1)
    return np.maximum(1 - np.cumsum(taken, axis=1), 0), support


def checks_per_pass(n_components):
    """Looks for redundant atoms in a pass of waves."""
    return CHECKS_PER_PASS if n_components <= FLOAT_GRAM_ATOMS else LARGE_CHECKS_PER_PASS


def most_replaced(n_components):
    """Atoms that may be replaced at one look."""
    return max(1, int(REPLACED_SHARE * n_components))


def find_mixtures(dictionary, left, used):
    """Atoms that each stand for two, and what would take their place.

    Where one atom is the sum of two true ones, the residuals of the rows that
    use it all point along their difference. Of n residuals of d random
    numbers about ``(n^-1/2 + d^-1/2)^2`` would lie along one direction by
    chance (the edge of the Marchenko-Pastur law).

    Parameters
    ----------
    dictionary : (m, d) float array
    left : (w, d) array
        Residuals of badly represented rows.
    used : (w, width) integer array
        Atoms that they use; -1 where unused.

    Returns
    -------
    list of (int, (2, d) array)
        An atom and the two unit vectors to replace it, worst first.
    """
    found = []
    row, _ = np.nonzero(used >= 0)
    atom = used[used >= 0]
    for j in np.flatnonzero(np.bincount(atom, minlength=1) >= MIXTURE_ROWS):
        E = left[row[atom == j]].astype(np.float64)
        _, sizes, directions = np.linalg.svd(E, full_matrices=False)
        chance = min(1.0, (len(E) ** -0.5 + len(E[0]) ** -0.5) ** 2)
        if sizes[0] ** 2 <= (chance + MIXTURE_SHARE * (1 - chance)) * (sizes**2).sum():
            continue
        d = dictionary[j].astype(np.float64)
        v = directions[0] - (directions[0] @ d) * d
        norm = np.linalg.norm(v)
        if norm < 0.5:  # residuals are orthogonal to the atom, or nothing but rounding
            continue
        v /= norm
        found.append((sizes[0], int(j), np.stack([d + v, d - v]) / np.sqrt(2)))
    found.sort(key=lambda item: -item[0])
    return [(j, pair) for _, j, pair in found]


def replace(dictionary, XX, XY, atoms, moments):
    """Give atoms that are not worth their place to others.

    The place goes to one half of an atom that stands for two, while there
    are such, then to the rows that are represented worst. The share of an old
    atom is first taken out of ``X'Y`` for the others, and its own statistics
    are cleared.

    Parameters
    ----------
    dictionary, XX, XY : arrays
        (m, d), (m, m) or (m,), (m, d). ``XX`` and ``XY`` may be None.
    atoms : list of int
        Least useful first.
    moments : Moments
        With the worst rows; those that lack next to nothing are passed over.

    Returns
    -------
    dictionary, XX, XY : arrays
        New ones.
    replaced : list of int
        Atoms that were replaced, mixtures included.
    """
    if not atoms:
        return dictionary, XX, XY, []
    left = np.linalg.norm(moments.worst_left, axis=1)
    bad = left > REPRESENTED * np.linalg.norm(moments.worst, axis=1)
    rows = (row / np.linalg.norm(row) for row in moments.worst[bad])
    found = find_mixtures(dictionary, moments.worst_left[bad], moments.worst_used[bad])
    mixtures = [(j, halves) for j, halves in found if j not in set(atoms)]
    new = {}
    for atom in atoms:
        if mixtures:
            j, (new[atom], kept) = mixtures.pop(0)
            new[j] = kept
        elif (row := next(rows, None)) is not None:
            new[atom] = row
    replaced = list(new)
    if not replaced:
        return dictionary, XX, XY, replaced
    if XX is not None:
        XX, XY = cleared(XX, XY, dictionary, replaced)
    dictionary = dictionary.copy()
    dictionary[replaced] = np.stack(list(new.values()))
    return dictionary, XX, XY, replaced


def cleared(XX, XY, dictionary, atoms):
    """Statistics without those of some atoms, whose share of ``X'Y`` is taken out for the others."""
    XX, XY = XX.copy(), XY.copy()
    if XX.ndim == 2:
        XY -= XX[:, atoms] @ dictionary[atoms].astype(np.float64)
        XX[:, atoms] = 0
    XX[atoms] = 0
    XY[atoms] = 0
    return XX, XY
