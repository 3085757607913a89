"""Waves: many dictionary updates a pass, on statistics that fade."""

import dataclasses

import numpy as np

from ...kernels import update as kernel
from ...kernels.jit import read_only
from ..replacement import checks_per_pass, find_redundant, most_replaced, replace
from ..resuming import has_settled
from ..schedule import WAVE, ramped
from ..shaping import Shape, padded, pool_rows
from ..statistics import relative_norm
from .descent import power_of, sweep
from .passes import Passes

WINDOW = 0.25
"""Statistics are forgotten over at least this share of a pass. Shorter
windows lose accuracy."""

ONLINE_SWEEPS = 1
"""Sweeps over the atoms after each wave. Two found no more atoms on planted data
and no lower error on Flickr8k features, at twice the time on the driver."""

IDLE_AFTER = 3
"""Passes in waves before `IDLE` counts. New atoms take a while to find rows of
their own; sooner, useful ones were lost where there are few rows an atom."""

DEAD_USES = 100
"""An atom not used while an average one is used this often is dead. 30 was
too short: rare but useful atoms were churned."""


WAVE_TOL = 0.005
"""Waves that gain less than this share of the error a pass give way to full
passes: what is left to gain then needs all rows at once."""

QUARTER_ROWS = 50_000
"""Rows in a quarter of a pass from which its error, on rows of its own, tells
whether waves still gain: chance moves it by about 0.1 %."""

RTOL_PASSES = 5
"""With ``rtol`` alone, the first passes in waves come down to it by equal factors."""

REPLACE_AFTER = 16
"""Updates before the first replacement of atoms.
Sooner, many atoms look alike that still go different ways."""


class Waves(Passes):
    """Passes of ``update="online"``: an update after every wave, a mini-batch of many chunks.

    A wave is as large as gives every atom a few uses, so that its statistics are
    no noise, and its rows come from all over the array, at random.
    """

    kind = WAVE

    def __init__(self, problem):
        super().__init__(problem)
        self.shape = Shape(problem)
        if self.shape.places_atoms:
            self.n_worst = max(self.n_worst, pool_rows(problem.settings.n_components))

    def statistics(self, state):
        """Those of the waves before."""
        return state.wave_statistics

    def coder(self, state):
        """What rows are coded with.

        With ``rtol`` alone a poor dictionary would code every row with a
        great many atoms, from which it learns little: the first passes are
        content with more, and come down to it by equal factors. With ``ramp``
        they have few nonzeros, and come up to ``n_nonzero_coefs``.
        """
        coder = super().coder(state)
        if self.problem.settings.ramp:
            n_nonzero_coefs = ramped(coder.target.n_nonzero_coefs, state.pass_index)
            return dataclasses.replace(coder, target=coder.target._replace(n_nonzero_coefs=n_nonzero_coefs))
        if not self.approaches(state.pass_index):
            return coder
        share = (state.pass_index + 1) / self.rtol_passes
        return dataclasses.replace(coder, target=coder.target._replace(rtol=coder.target.rtol**share))

    @property
    def rtol_passes(self):
        """Passes over which ``rtol`` alone is approached."""
        settings = self.problem.settings
        if settings.n_nonzero_coefs is not None or settings.rtol is None:
            return 1
        return min(RTOL_PASSES, self.problem.schedule.phases.first_limit)

    def approaches(self, index):
        """Whether pass ``index`` is still on its way down to ``rtol``, or up to ``n_nonzero_coefs``."""
        width = self.problem.coder.target.n_nonzero_coefs
        rising = self.problem.settings.ramp and ramped(width, index) < width
        return rising or index + 1 < self.rtol_passes

    def wanted(self, state, may_replace):
        wanted = super().wanted(state, may_replace or self.shape.will_place(state))
        return wanted._replace(prefixes=self.shape.sums_prefixes(state))

    def may_replace(self, state, progress, jobs):
        settings, schedule = self.problem.settings, self.problem.schedule
        if settings.twins is not None or state.grown:  # which have a rule of their own
            return False
        if not settings.replace_atoms or state.n_updates < REPLACE_AFTER:
            return False
        if state.pass_index >= schedule.phases.limit - 1 and progress >= 0.75:
            return False
        rows = sum(piece.n_rows for job in jobs for piece in job)
        return may_find(state, rows * self.problem.coder.target.n_nonzero_coefs, schedule.n_waves)

    def after_round(self, state, moments, may_replace):
        positive = self.problem.coder.target.positive
        n_waves = self.problem.schedule.n_waves
        moments = padded(moments, len(state.dictionary))
        memberships = self.shape.memberships(state)
        state, replaced = update_after_wave(state, moments, n_waves, may_replace, positive, memberships)
        state, placed = self.shape.after_wave(state, moments)
        return state, moments.without_statistics(), [*replaced, *placed]

    def marks(self, marks, number, totals):
        """Residual and energy after half and three quarters of the waves, too."""
        n_waves = self.problem.schedule.n_waves
        if number + 1 in (n_waves // 2, 3 * n_waves // 4):
            return (*marks, (totals.residual, totals.energy))
        return marks

    def has_settled(self, state, error):
        tol = self.problem.settings.tol
        if tol > 0:
            tol = max(tol, WAVE_TOL)
        settled = has_settled(error, state.last_error, state.promised, tol)
        settled |= tol > 0 and gain_of_last_quarter(state) <= tol / 4
        waits = self.approaches(state.pass_index) or self.finds_threshold(state) or self.shape.waits(state)
        return settled and not waits


def gain_of_last_quarter(state):
    """Relative gain of the last quarter of the waves of a pass on the quarter before.

    Infinite where a quarter has too few rows for other ones to compare with.
    """
    if len(state.marks) < 2 or state.totals.count < 4 * QUARTER_ROWS:
        return np.inf
    sums = np.array([*state.marks, (state.totals.residual, state.totals.energy)])
    before, after = (relative_norm(*part) for part in np.diff(sums, axis=0))
    return 1 - after / before if before > 0 else 0.0


def add_faded(old, fade, new):
    """``fade`` times statistics of earlier waves, and those of this one."""
    total = np.empty(old.shape)
    kernel.add_faded(read_only(old.reshape(-1)), fade, read_only(new.reshape(-1)), total.reshape(-1))
    return total


def may_find(state, n_nonzero, n_waves):
    """Whether the update after a wave may find atoms to replace.

    Parameters
    ----------
    state : State
    n_nonzero : int
        Nonzeros in the codes of that wave, at most.
    n_waves : int
        Waves a pass.
    """
    idle = state.idle.max() + n_nonzero / len(state.dictionary)
    return idle >= DEAD_USES or _looks(state.n_updates + 1, n_waves, len(state.dictionary))


def _looks(t, n_waves, n_components):
    """Whether the t-th update looks for redundant atoms."""
    return t % max(1, n_waves // checks_per_pass(n_components)) == 0


def update_after_wave(state, moments, n_waves, may_replace, positive=None, memberships=None):
    """The state after a wave whose rows gave ``moments``.

    The statistics of earlier waves were taken with older dictionaries. They
    are faded by ``min((1 - 1/t)^2, 1 - 1/(WINDOW U))`` at the t-th of U waves
    a pass, after the forgetting rate of Mairal, Bach, Ponce, Sapiro (2010),
    section 3.4.3.

    Parameters
    ----------
    state : State
    moments : Moments
    n_waves : int
        Waves a pass, U.
    may_replace : bool
        Whether dead atoms and twins are replaced.
    positive : None or True
        Whether coefficients are positive only.
    memberships : (m,) int array, optional
        Prefixes that each atom belongs to, where the sum of their errors is to be lowered and ``moments``
        have all of ``X'X``.

    Returns
    -------
    state : State
    replaced : list of int
        Atoms replaced.
    """
    t = state.n_updates + 1
    fade = max(0.0, min((1 - 1 / t) ** 2, 1 - 1 / max(WINDOW * n_waves, 1)))
    XX, XY = add_faded(state.XX, fade, moments.XX), add_faded(state.XY, fade, moments.XY)
    dictionary = state.dictionary
    expected = moments.nonzeros / len(dictionary)
    idle = np.where(moments.uses > 0, 0.0, state.idle + expected)
    replaced = []
    if may_replace:
        atoms = [int(atom) for atom in np.flatnonzero(idle >= DEAD_USES)]
        if _looks(t, n_waves, len(dictionary)):
            redundant = find_redundant(dictionary, power_of(XX), t > IDLE_AFTER * n_waves, positive)
            atoms += [atom for atom in redundant if atom not in set(atoms)]
        atoms = atoms[: most_replaced(len(dictionary))]
        dictionary, XX, XY, replaced = replace(dictionary, XX, XY, atoms, moments)
        idle[replaced] = 0.0
    if memberships is None or XX.ndim == 1:
        dictionary = sweep(dictionary, XX, XY, ONLINE_SWEEPS)
    else:  # a pair of atoms is together in the prefixes of the later one
        shared = np.minimum.outer(memberships, memberships)
        dictionary = sweep(dictionary, XX * shared, XY * memberships[:, None], ONLINE_SWEEPS)
    state = dataclasses.replace(
        state,
        dictionary=dictionary,
        XX=XX,
        XY=XY,
        idle=idle,
        n_updates=t,
        replaced=state.replaced + len(replaced),
    )
    return state, replaced
