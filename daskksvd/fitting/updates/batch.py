"""One update after each pass, on the statistics of all rows."""

import dataclasses

import numpy as np

from ..replacement import replace
from ..schedule import FULL
from ..shaping import apart
from .descent import error_at_fixed_codes, power_of, sweep
from .passes import Passes, surplus

BATCH_SWEEPS = 3
"""Sweeps after a full pass, where one is cheap beside the coding."""

APART_STEPS = 8
"""Steps of `apart` after a full pass, which undoes more of those before it than a wave does. With one, MCC of
SynthSAEBench at a quarter of its size is .767, with 8 .781, with 30 .782; F1 .925, .923 and .923."""


class FullPasses(Passes):
    """Passes of ``update="batch"``."""

    kind = FULL

    def after_pass(self, engine):
        state, totals = engine.state, engine.state.totals
        dictionary, XX, XY, replaced = state.dictionary, totals.XX, totals.XY, []
        if self.may_replace(state):
            atoms = surplus(dictionary, totals.uses, power_of(XX), self.problem.coder.target.positive)
            dictionary, XX, XY, replaced = replace(dictionary, XX, XY, atoms, totals)
        dictionary = sweep(dictionary, XX, XY, BATCH_SWEEPS)
        for _ in range(APART_STEPS if self.problem.settings.incoherence else 0):
            dictionary = apart(dictionary, totals.uses, self.problem.settings.incoherence)
        state = dataclasses.replace(
            state,
            dictionary=dictionary,
            promised=self.promised(state, dictionary, XX, XY),
            totals=totals.without_statistics(),
            replaced=state.replaced + len(replaced),
            updated=True,
        )
        engine.advance(state, replaced)

    def promised(self, state, dictionary, XX, XY):
        """Share by which the new dictionary lowers the error at the codes; infinite where not known."""
        return np.inf


class ClosingPasses(FullPasses):
    """Full passes after waves: atoms were replaced before, and little is left to gain."""

    def may_replace(self, state, progress=0.0, jobs=()):
        return False

    def promised(self, state, dictionary, XX, XY):
        if XX.ndim != 2:
            return np.inf
        energy = state.totals.energy
        before, after = (error_at_fixed_codes(D, XX, XY, energy) for D in (state.dictionary, dictionary))
        return float(1 - np.sqrt(max(after, 0) / before)) if before > 0 else 0.0
