"""The loop: rounds of tasks, updates on the driver, events for all else."""

import dataclasses
import time
import warnings

import numpy as np

from ..execution import given
from ..machine.blas import blas_for, single_threaded_blas
from ..tracking import (
    AtomsReplaced,
    CheckpointWritten,
    FitFinished,
    FitStarted,
    PassFinished,
    PassStarted,
    StopFit,
    WaveFinished,
)
from .replacement import WORST_ROWS, find_redundant, most_replaced, replace
from .resuming import has_settled
from .schedule import DONE, FULL, KSVD, WAVE, statistics
from .statistics import MOMENTS, Wanted, add_all
from .updates.descent import error_at_fixed_codes, power_of, sweep
from .updates.ksvd import count_blocks, ksvd_pass
from .updates.online import may_find, update_after_wave

BATCH_SWEEPS = 3
"""The same after a full pass, where a sweep is cheap beside the coding."""

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


class Engine:
    """One fit from its first round to its last.

    Parameters
    ----------
    reader : rows.Reader
    settings : Settings
    schedule : Schedule
    coder : coding.SparseCoder
        With the dictionary of the state, or any other.
    variance : float
        Sum over features of the variance of the data, in its own metric.
    seed : int
    state : State
    recorder : tracking.HistoryRecorder
    callbacks : list of callable
    checkpoint : callable or None
        ``checkpoint(engine)`` writes one and returns its path.
    checkpoint_every : int
        Rounds between checkpoints within a pass.
    """

    def __init__(
        self,
        reader,
        settings,
        schedule,
        coder,
        variance,
        seed,
        state,
        recorder,
        callbacks,
        checkpoint=None,
        checkpoint_every=16,
    ):
        self.reader = reader
        self.settings = settings
        self.schedule = schedule
        self._coder = coder
        self.variance = variance
        self.seed = seed
        self.state = state
        self.recorder = recorder
        self.callbacks = callbacks
        self.checkpoint = checkpoint
        self.checkpoint_every = checkpoint_every
        self.unsaved = None  # why the last checkpoint could not be written
        self.n_worst = max(WORST_ROWS, most_replaced(settings.n_components))
        self.n_blocks = count_blocks(settings, reader.source.d)

    # ------------------------------------------------------------- the loop

    def run(self):
        """Run to the end; returns why it stopped."""
        with blas_for(self.settings.n_components, self.reader.source.d):
            return self._run()

    def _run(self):
        self._clock = time.perf_counter()
        try:
            self.notify(
                FitStarted(
                    self.schedule.n_samples,
                    self.reader.source.d,
                    self.settings.n_components,
                    self.schedule.phases.limit,
                    self.state.pass_index,
                )
            )
            stop_reason = None
            while stop_reason is None:
                stop_reason = self.run_pass()
        except StopFit:
            stop_reason = "callback"
        self.save(final=True)
        self.notify(FitFinished(stop_reason, self.state.pass_index, self.state.seconds), final=True)
        return stop_reason

    def run_pass(self):
        """Run (the rest of) one pass; returns a reason to stop, or None."""
        index, kind = self.state.pass_index, self.state.kind
        if kind == DONE:
            return "tol"
        if index >= self.schedule.phases.limit:
            return "max_passes"
        if self.out_of_time():
            return "max_time"
        rounds = self.schedule.rounds(index, kind, self.seed)
        if self.state.updated:
            pass  # stopped right before the pass was closed
        elif kind == KSVD:
            self.ksvd_iteration(index, rounds[0])
        else:
            self.notify(PassStarted(index, kind, len(rounds), self.state.round_index))
            for number in range(self.state.round_index, len(rounds)):
                may_replace = self.may_replace(index, kind, number / len(rounds))
                # more BLAS threads than one keep cores busy for a while after a product here
                with single_threaded_blas():
                    self.one_round(index, number, kind, rounds[number], may_replace)
                if self.out_of_time() and number + 1 < len(rounds):
                    return "max_time"
                if (number + 1) % self.checkpoint_every == 0 and number + 1 < len(rounds):
                    self.save()
            if kind == FULL:
                self.full_update(index)
        self.finish_pass(index, kind)
        return None

    def one_round(self, index, number, kind, jobs, may_replace):
        """Code the rows of a round; after a wave, update the dictionary."""
        state, coder = self.state, self.coder_now()
        if kind == WAVE and may_replace:
            rows = sum(piece.n_rows for job in jobs for piece in job)
            may_replace = may_find(state, rows * coder.target.n_nonzero_coefs, self.schedule.n_waves)
        wanted = Wanted(statistics(kind, self.settings.n_components), self.n_worst if may_replace else 0)
        moments = self.moments(jobs, wanted, coder)
        replaced = []
        if kind == WAVE:
            state, replaced = update_after_wave(state, moments, self.schedule.n_waves, may_replace)
            moments = moments.without_statistics()
        totals = moments if state.totals is None else add_all([state.totals, moments])
        marks = state.marks if number else ()
        if kind == WAVE and number + 1 in (self.schedule.n_waves // 2, 3 * self.schedule.n_waves // 4):
            marks = (*marks, (totals.residual, totals.energy))
        self.advance(dataclasses.replace(state, totals=totals, round_index=number + 1, marks=marks))
        self.announce_round(index, number, kind, moments, replaced)

    def full_update(self, index):
        """Update the dictionary after all rows were coded with it."""
        state, totals = self.state, self.state.totals
        dictionary, XX, XY, replaced = state.dictionary, totals.XX, totals.XY, []
        if self.may_replace(index, FULL):
            atoms = self.surplus(dictionary, totals.uses, power_of(XX))
            dictionary, XX, XY, replaced = replace(dictionary, XX, XY, atoms, totals)
        dictionary = sweep(dictionary, XX, XY, BATCH_SWEEPS)
        promised = np.inf
        if self.settings.update == "online" and XX.ndim == 2:
            before, after = (
                error_at_fixed_codes(D, XX, XY, totals.energy) for D in (state.dictionary, dictionary)
            )
            promised = 1 - np.sqrt(max(after, 0) / before) if before > 0 else 0.0
        self.advance(
            dataclasses.replace(
                state,
                dictionary=dictionary,
                promised=float(promised),
                totals=totals.without_statistics(),
                replaced=state.replaced + len(replaced),
                updated=True,
            )
        )
        if replaced:
            self.notify(AtomsReplaced(index, tuple(replaced)))

    def surplus(self, dictionary, uses, power):
        """Atoms to replace after a pass at fixed atoms: unused or redundant ones."""
        atoms = np.flatnonzero(uses == 0).tolist()
        atoms += [atom for atom in find_redundant(dictionary, power, False) if uses[atom]]
        return atoms[: most_replaced(len(dictionary))]

    def ksvd_iteration(self, index, jobs):
        """One pass of K-SVD proper; begun again as a whole if workers are lost."""

        def block_done(number, moments):
            self.tick()
            self.announce_round(index, number, KSVD, moments, [])

        def iteration():
            # (again) from the first block, whose events replace earlier ones
            self.notify(PassStarted(index, KSVD, self.n_blocks, 0))
            return ksvd_pass(
                self.reader,
                [self.reader.job(pieces) for pieces in jobs],
                self.coder,
                self.n_worst if may_replace else 0,
                self.n_blocks,
                block_done,
            )

        may_replace = self.may_replace(index, KSVD)
        dictionary, moments = self.reader.executor.retrying(iteration, self.reader.place)
        replaced = []
        if may_replace:
            atoms = self.surplus(dictionary, moments.uses, moments.uses.astype(float))
            dictionary, _, _, replaced = replace(dictionary, None, None, atoms, moments)
        self.advance(
            dataclasses.replace(
                self.state,
                dictionary=dictionary,
                totals=moments.without_statistics(),
                replaced=len(replaced),
                updated=True,
            )
        )
        if replaced:
            self.notify(AtomsReplaced(index, tuple(replaced)))

    def finish_pass(self, index, kind):
        """Close the books of a pass and choose the kind of the next."""
        holdout_error = np.nan
        if self.schedule.held:
            held = self.moments(self.schedule.held_jobs(), Wanted(None, 0), self.coder)
            holdout_error = _ratio(held.residual, held.energy)
        self.tick()
        state, totals = self.state, self.state.totals
        error = _ratio(totals.residual, totals.energy)
        event = PassFinished(
            index,
            kind,
            totals.count,
            error,
            _ratio(totals.residual_original, totals.energy_original),
            unexplained(totals, self.variance),
            totals.nonzeros / totals.count,
            int((totals.uses > 0).sum()),
            state.replaced,
            holdout_error,
            state.pass_seconds,
            totals.count / max(state.pass_seconds, 1e-9),
        )
        following = self.kind_after(index, kind, error)
        self.advance(
            dataclasses.replace(
                state,
                kind=following,
                pass_index=index + 1,
                round_index=0,
                updated=False,
                totals=None,
                marks=(),
                promised=state.promised if following == DONE else np.inf,
                replaced=0,
                pass_seconds=0.0,
                last_error=error if following == kind else np.inf,
            )
        )
        self.notify(event)
        self.save()

    def kind_after(self, index, kind, error):
        """Settled waves give way to full passes, settled full passes to none."""
        phases = self.schedule.phases
        tol, last_error = self.settings.tol, self.state.last_error
        if kind == WAVE and tol > 0:
            tol = max(tol, WAVE_TOL)
        settled = has_settled(error, last_error, self.state.promised, tol)
        if kind == WAVE:
            settled |= tol > 0 and self.gain_of_last_quarter() <= tol / 4
            settled &= not self.approaches(index)
        if kind == phases.first and phases.then is not None:
            return phases.then if settled or index + 1 >= phases.first_limit else kind
        return DONE if settled else kind

    def gain_of_last_quarter(self):
        """Relative gain of the last quarter of the waves of a pass on the quarter before.

        Infinite where a quarter has too few rows for other ones to compare with.
        """
        state = self.state
        if len(state.marks) < 2 or state.totals.count < 4 * QUARTER_ROWS:
            return np.inf
        sums = np.array([*state.marks, (state.totals.residual, state.totals.energy)])
        before, after = (_ratio(*part) for part in np.diff(sums, axis=0))
        return 1 - after / before if before > 0 else 0.0

    # -------------------------------------------------------------- helpers

    @property
    def coder(self):
        """The coder with the dictionary of the moment."""
        return self._coder.with_dictionary(self.state.dictionary)

    def moments(self, jobs, wanted, coder):
        """Code lists of pieces."""
        jobs = [self.reader.job(pieces) for pieces in jobs]
        return self.reader.reduce(MOMENTS, jobs, coder.shared(), given(wanted))

    def coder_now(self):
        """The coder of this pass.

        With ``rtol`` alone a poor dictionary would code every row with a
        great many atoms, from which it learns little: the first passes in
        waves are content with more, and come down to it by equal factors.
        """
        if self.state.kind != WAVE or not self.approaches(self.state.pass_index):
            return self.coder
        share = (self.state.pass_index + 1) / self.rtol_passes
        target = self.coder.target
        return dataclasses.replace(self.coder, target=target._replace(rtol=target.rtol**share))

    @property
    def rtol_passes(self):
        """Passes in waves over which ``rtol`` alone is approached."""
        if self.settings.n_nonzero_coefs is not None:
            return 1
        return min(RTOL_PASSES, self.schedule.phases.first_limit)

    def approaches(self, index):
        """Whether pass ``index`` is still on its way down to ``rtol``."""
        return index + 1 < self.rtol_passes

    def may_replace(self, index, kind, progress=0.0):
        """Atoms are replaced once they have settled a little, and not towards the end."""
        if not self.settings.replace_atoms:
            return False
        limit = self.schedule.phases.limit
        if kind == WAVE:
            settled = self.state.n_updates >= REPLACE_AFTER
            return settled and (index < limit - 1 or progress < 0.75)
        if self.settings.update == "online":
            return False  # that was for the waves
        return 0 < index < min(max(2, limit // 2), limit - 1)

    def announce_round(self, index, number, kind, moments, replaced):
        """Tell of a round; the time since the last one is its time."""
        events = [AtomsReplaced(index, tuple(replaced))] if replaced else []
        events.append(
            round_event(index, number, kind, moments, self.variance, len(replaced), self._round_seconds)
        )
        self.notify(*events)

    def advance(self, state):
        """Make a new state current, in one assignment."""
        self.state = state
        self.tick()

    def tick(self):
        """Book the time since the last call."""
        now = time.perf_counter()
        self._round_seconds = now - self._clock
        self._clock = now
        self.state = dataclasses.replace(
            self.state,
            pass_seconds=self.state.pass_seconds + self._round_seconds,
            seconds=self.state.seconds + self._round_seconds,
        )

    def out_of_time(self):
        limit = self.settings.max_time
        return limit is not None and self.state.seconds - self.resumed_seconds >= limit

    resumed_seconds = 0.0
    """Seconds spent by earlier calls, which ``max_time`` does not count."""

    def notify(self, *events, final=False):
        # recorded before anybody can stop the fit: the history is of the same moment as the state
        for event in events:
            self.recorder(event)
        for event in events:
            for callback in self.callbacks:
                try:
                    callback(event)
                except StopFit:
                    if not final:
                        raise

    def save(self, final=False):
        """Write a checkpoint, if one is wanted; returns whether one was written."""
        if self.checkpoint is None:
            return False
        try:
            path = self.checkpoint(self)
        except OSError as error:  # what was learned is worth more than the file
            if final or self.unsaved is None:
                then = "it was the last" if final else "the fit goes on, and tries again at the next"
                warnings.warn(f"a checkpoint was not written: {error}; {then}", RuntimeWarning, stacklevel=2)
            self.unsaved = error
            return False
        self.unsaved = None
        self.notify(CheckpointWritten(path, self.state.pass_index, self.state.round_index), final=final)
        return True


def round_event(pass_index, index, kind, moments, variance, n_replaced, seconds):
    """The event of a round; ``moments`` is None where nothing was coded anew."""
    if moments is None:
        found = (0, np.nan, np.nan, np.nan, 0, n_replaced, seconds, 0.0)
    else:
        found = (
            moments.count,
            _ratio(moments.residual, moments.energy),
            unexplained(moments, variance),
            moments.nonzeros / moments.count,
            int((moments.uses > 0).sum()),
            n_replaced,
            seconds,
            moments.count / max(seconds, 1e-9),
        )
    return WaveFinished(pass_index, index, kind, *found)


def unexplained(moments, variance):
    """Fraction of the variance of the data that codes leave unexplained."""
    return moments.residual_original / max(variance * moments.count, np.finfo(float).tiny)


def _ratio(residual, energy):
    """Relative norm from squared norms; 0 where there is nothing to represent."""
    return float(np.sqrt(residual / energy)) if energy > 0 else 0.0
