"""Where a dictionary is to be more than the least error: grown, without twins, its atoms far from each other.

Twins are two atoms for one feature; with codes of positive coefficients and a threshold they would share its
rows. New atoms are directions that what is left of rows agrees on, not single rows.
"""

import dataclasses
import math

import numpy as np

from .replacement import cleared, most_replaced
from .statistics import memberships

RARE = 0.06
"""With twins replaced, atoms with less than this share of the mean use are, too."""

REPLACING = 0.85
"""Share of the waves in which atoms are replaced: new ones take a while to find their rows."""

GROWING = 0.25
"""Share of the waves in which a dictionary grows."""

LOOKS = 16
"""Looks for twins in a pass of waves: one takes the inner products of all atoms."""

MEMORY = 0.9
"""Uses are remembered by this share from one wave to the next."""

CREDIT = 2.0
"""Uses of a new atom that count at first, in parts of those under which it is rare."""

POOL = 1024
"""Rows of which what is left is looked at for new atoms, at least."""

ALIKE = 12
"""Rows that a new atom is the mean of."""

HALF = 0.5
"""Rows with so much of a new atom, in parts of what those it came from have, need no other like it."""

APART = 0.15
"""Inner products of atoms up to this size are left as they are by `apart`: those of features in
superposition."""

STABLE = 1 / 3
"""Steps of `apart` times the largest eigenvalue of what they go down, at most: at 1 they diverge."""


def pool_rows(m):
    """Rows of which what is left should come back from a wave, where atoms come from it."""
    return max(POOL, m // 2)


class Shape:
    """What is done to the dictionary of a fit after waves, beside the update.

    Parameters
    ----------
    problem : Problem
    """

    def __init__(self, problem):
        self.settings, self.seed = problem.settings, problem.seed
        self.positive = problem.coder.target.positive
        self.n_waves = problem.schedule.n_waves
        self.most_waves = problem.schedule.phases.first_limit * self.n_waves
        self.stages, _ = problem.coder.target.stages(
            self.settings.groups or (), self.settings.n_components, self.settings.n_components
        )

    @property
    def places_atoms(self):
        """Whether new atoms come from what is left of rows, and not from the worst ones."""
        return self.settings.twins is not None or self.settings.growth is not None

    def progress(self, state, more=0):
        """Share of the waves that are done, or will be after some more."""
        return (state.n_updates + more) / self.most_waves

    def will_place(self, state):
        """Whether atoms may be placed after the next wave."""
        return self._grows(state, 1) or self._looks(state, 1)

    def sums_prefixes(self, state):
        """Whether the next update is to lower the sum of the errors of all prefixes."""
        return self.stages is not None and self.progress(state) < self.settings.prefix_sums

    def memberships(self, state):
        """Prefixes that each atom belongs to, where `sums_prefixes`; otherwise None."""
        return memberships(self.stages, self.settings.n_components) if self.sums_prefixes(state) else None

    def after_wave(self, state, moments):
        """The state after what is beside the update, and the atoms placed anew."""
        settings, placed_ = self.settings, []
        rng = np.random.default_rng([self.seed, state.n_updates, 2])
        if self.places_atoms:
            state = counted(state, moments)
        if settings.incoherence and self.progress(state) > settings.prefix_sums:
            n = state.grown or len(state.dictionary)
            uses = moments.uses if state.recent is None else state.recent
            moved = state.dictionary.copy()
            moved[:n] = apart(moved[:n], uses[:n], settings.incoherence)
            state = dataclasses.replace(state, dictionary=moved)
        if self._looks(state, 0):
            state, placed_ = without_twins(state, moments, settings.twins, self.positive, rng)
        if self._grows(state, 0):
            state = grown(state, moments, grown_to(settings, self.progress(state)), rng)
        return state, placed_

    def waits(self, state):
        """Whether waves go on although they gain little."""
        return self.places_atoms and (bool(state.grown) or self.progress(state) < self._until)

    @property
    def _until(self):
        return REPLACING if self.settings.twins is not None else GROWING

    def _grows(self, state, more):
        return bool(state.grown) and grown_to(self.settings, self.progress(state, more)) > state.grown

    def _looks(self, state, more):
        return (
            self.settings.twins is not None
            and self.progress(state, more) < REPLACING
            and (state.n_updates + more) % max(1, self.n_waves // LOOKS) == 0
        )


def grown_to(settings, progress):
    """Atoms of a growing dictionary after a share of the waves."""
    first, m = settings.growth, settings.n_components
    doublings = math.ceil(math.log2(m / first))
    done = math.floor(progress / GROWING * doublings + 1e-9)
    return min(m, first * 2**done)


def padded(moments, m):
    """Moments of the first atoms as those of all ``m``, the others unused."""

    def more(array, axes=1):
        if array is None:
            return None
        return np.pad(array, [(0, m - len(array))] * axes + [(0, 0)] * (array.ndim - axes))

    XX = moments.XX
    return moments._replace(
        uses=more(moments.uses), XX=more(XX, 1 if XX is None else XX.ndim), XY=more(moments.XY)
    )


def twins(dictionary, uses, least, positive):
    """Atoms to which a more used one is closer than ``least``, the rarest first.

    Parameters
    ----------
    dictionary : (m, d) float array
        Unit atoms.
    uses : (m,) float array
    least : float
        Of |cos|, or of cos with ``positive``.
    positive : None or True

    Returns
    -------
    list of int
        Each is a twin of an atom that is not in the list.
    """
    cosines = dictionary @ dictionary.T
    close = (cosines if positive else np.abs(cosines)) > least
    np.fill_diagonal(close, False)
    gone = np.zeros(len(dictionary), bool)
    kept = np.zeros(len(dictionary), bool)
    found = []
    near = np.flatnonzero(close.any(axis=1))
    for atom in near[np.argsort(-uses[near], kind="stable")]:
        gone[atom] = (close[atom] & kept).any()
        kept[atom] = not gone[atom]
        if gone[atom]:
            found.append(int(atom))
    return found[::-1]


def rare(uses):
    """Atoms with next to no use, the rarest first."""
    few = np.flatnonzero(uses < RARE * uses.mean())
    return few[np.argsort(uses[few], kind="stable")].tolist()


def directions(left, number, rng):
    """Directions that what is left of rows agrees on.

    Each begins with a row drawn by its energy, and becomes the mean of the rows that it correlates
    with most, twice. It is then taken out of the rows that have half as much of it, for the next.

    Parameters
    ----------
    left : (w, d) float array
        What is left of rows.
    number : int
    rng : numpy.random.Generator

    Returns
    -------
    (a, d) float array
        Unit vectors, at most ``number``.
    """
    left = left.copy()
    energy = np.einsum("ij,ij->i", left, left, dtype=np.float64)
    nothing = np.finfo(left.dtype).eps * energy.max(initial=0)
    alike = min(ALIKE, len(left))
    found = []
    for _ in range(min(number, len(left))):
        total = energy.sum()
        if not total > nothing:
            break
        row = min(int(np.searchsorted(np.cumsum(energy), rng.random() * total)), len(left) - 1)
        direction = left[row] / np.linalg.norm(left[row])
        for _ in range(2):
            product = left @ direction
            best = np.argpartition(-product, alike - 1)[:alike]
            direction = left[np.sort(best)].mean(axis=0)
            direction /= np.linalg.norm(direction)
        found.append(direction)
        product = left @ direction
        having = product > HALF * product[best].mean()
        left[having] -= np.outer(product[having], direction)
        energy[having] = np.einsum("ij,ij->i", left[having], left[having], dtype=np.float64)
    return np.array(found, left.dtype).reshape(-1, left.shape[1])


def counted(state, moments):
    """The state with uses of atoms remembered, those of a wave included."""
    uses = np.zeros(len(state.dictionary)) if state.recent is None else MEMORY * state.recent
    return dataclasses.replace(state, recent=uses + moments.uses)


def without_twins(state, moments, least, positive, rng):
    """The state with twins and rare atoms replaced by what is left of rows.

    Returns
    -------
    state : State
    replaced : list of int
    """
    m = state.grown or len(state.dictionary)
    uses, dictionary = state.recent[:m], state.dictionary[:m]
    few = set(rare(uses))
    atoms = [*few, *(atom for atom in twins(dictionary, uses, least, positive) if atom not in few)]
    return placed(state, moments, atoms[: most_replaced(m)], rng)


def grown(state, moments, n_atoms, rng):
    """The state with ``n_atoms`` that rows are coded with, new ones from what is left of rows."""
    atoms = list(range(state.grown, n_atoms))
    state, _ = placed(state, moments, atoms, rng)
    return dataclasses.replace(state, grown=n_atoms if n_atoms < len(state.dictionary) else 0)


def placed(state, moments, atoms, rng):
    """The state with atoms replaced by directions of what is left of rows, while there are some."""
    new = directions(moments.worst_left, len(atoms), rng)
    atoms = atoms[: len(new)]
    if not atoms:
        return state, []
    dictionary, recent, idle = state.dictionary.copy(), state.recent, state.idle.copy()
    XX, XY = cleared(state.XX, state.XY, dictionary, atoms)
    dictionary[atoms] = new
    idle[atoms] = 0
    if recent is not None:
        recent = recent.copy()
        recent[atoms] = CREDIT * RARE * recent.sum() / (state.grown or len(recent))
    state = dataclasses.replace(
        state,
        dictionary=dictionary,
        XX=XX,
        XY=XY,
        idle=idle,
        recent=recent,
        replaced=state.replaced + len(atoms),
    )
    return state, atoms


def largest_eigenvalue(inner, rounds=12):
    """Magnitude of that of a symmetric matrix, by power iteration: near it, from below."""
    vector = np.abs(inner).sum(axis=1)
    value = 0.0
    for _ in range(rounds):
        norm = float(np.linalg.norm(vector))
        if norm == 0:
            return 0.0
        vector = inner @ (vector / norm)
        value = float(np.linalg.norm(vector))
    return value


def apart(dictionary, uses, step):
    """Atoms moved away from those they correlate with, the rarer of two more than the other.

    A step down the sum of squared inner products of more than `APART`, as in INK-SVD (Mailhe, Barchiesi,
    Plumbley 2012), but of all atoms at once, and each by the other's share of the uses of the two: the atom
    of what hardly comes without another thing learns that thing's atom as a part of itself, not the
    reverse. With equal shares SynthSAEBench at a quarter of its size has MCC .755 and .759 (two worlds) in
    place of .767 and .767, and F1 .923 and .920 in place of .924 and .930.

    Parameters
    ----------
    dictionary : (m, d) float array
        Unit atoms.
    uses : (m,) array
    step : float
        Shortened where it would go past what it aims at: to `STABLE` over the largest eigenvalue.

    Returns
    -------
    (m, d) float array
    """
    inner = dictionary @ dictionary.T
    inner[np.abs(inner) < APART] = 0
    np.fill_diagonal(inner, 0)
    close = np.flatnonzero(inner.any(axis=1))
    step = min(step, STABLE / max(largest_eigenvalue(inner), STABLE))
    uses = np.asarray(uses, dictionary.dtype)
    both = uses[close, None] + uses
    # where neither is used they share alike
    inner = inner[close] * np.divide(2 * uses, both, out=np.ones_like(both), where=both > 0)
    moved = dictionary.copy()
    moved[close] -= dictionary.dtype.type(step) * (inner @ dictionary)
    moved[close] /= np.linalg.norm(moved[close], axis=1, keepdims=True)
    return moved
