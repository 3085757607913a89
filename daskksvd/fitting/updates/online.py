"""Waves: many dictionary updates a pass, on statistics that fade."""

from dataclasses import replace as succeed

import numpy as np

from ...kernels import update as kernel
from ...kernels.jit import read_only
from ..replacement import checks_per_pass, find_redundant, most_replaced, replace
from .descent import power_of, sweep

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


def update_after_wave(state, moments, n_waves, may_replace):
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
            redundant = find_redundant(dictionary, power_of(XX), t > IDLE_AFTER * n_waves)
            atoms += [atom for atom in redundant if atom not in set(atoms)]
        atoms = atoms[: most_replaced(len(dictionary))]
        dictionary, XX, XY, replaced = replace(dictionary, XX, XY, atoms, moments)
        idle[replaced] = 0.0
    dictionary = sweep(dictionary, XX, XY, ONLINE_SWEEPS)
    state = succeed(
        state,
        dictionary=dictionary,
        XX=XX,
        XY=XY,
        idle=idle,
        n_updates=t,
        replaced=state.replaced + len(replaced),
    )
    return state, replaced
