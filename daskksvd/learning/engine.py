"""The loop: rounds of tasks, updates on the driver, events for all else."""

import time
from dataclasses import replace as succeed

import numpy as np

from ..coding import make_coder
from ..constants import BATCH_SWEEPS, WORST_ROWS
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
from .ksvd import count_blocks, ksvd_pass
from .moments import MOMENTS, Wanted, add_all
from .online import update_after_wave
from .replacement import find_twins, most_replaced, replace
from .schedule import FULL, KSVD, WAVE
from .sweep import sweep


class Engine:
    """One fit from its first round to its last.

    Parameters
    ----------
    runner : running.Runner
    rows : rows.Rows
        Prepared on the runner.
    settings : Settings
    schedule : Schedule
    stopping : coding.Stopping
    preprocessing : rows.Preprocessing
    variance : float
        Sum over features of the variance of the data, in its own metric.
    seed : int
    state : State
    callbacks : list of callable
    checkpoint : callable or None
        ``checkpoint(engine)`` writes one and returns its path.
    checkpoint_every : int
        Rounds between checkpoints within a pass.
    """

    def __init__(
        self,
        runner,
        rows,
        settings,
        schedule,
        stopping,
        preprocessing,
        variance,
        seed,
        state,
        callbacks,
        checkpoint=None,
        checkpoint_every=16,
    ):
        self.runner = runner
        self.rows = rows
        self.settings = settings
        self.schedule = schedule
        self.stopping = stopping
        self.preprocessing = preprocessing
        self.mapping = preprocessing.cast(settings.dtype)
        self.variance = variance
        self.seed = seed
        self.state = state
        self.callbacks = callbacks
        self.checkpoint = checkpoint
        self.checkpoint_every = checkpoint_every
        self.n_worst = max(WORST_ROWS, most_replaced(settings.n_components))
        self.n_blocks = count_blocks(settings, rows.d)

    # ------------------------------------------------------------- the loop

    def run(self):
        """Run to the end; returns why it stopped."""
        kinds = self.schedule.kinds
        self._clock = time.perf_counter()
        try:
            self.notify(
                FitStarted(
                    self.schedule.n_samples,
                    self.rows.d,
                    self.settings.n_components,
                    tuple(kinds),
                    tuple(self.count_rounds(index) for index in range(len(kinds))),
                    self.state.pass_index,
                )
            )
            stop_reason = None
            while stop_reason is None:
                stop_reason = self.run_pass()
        except StopFit:
            stop_reason = "callback"
        self.save()
        self.notify(FitFinished(stop_reason, self.state.pass_index, self.state.seconds), final=True)
        return stop_reason

    def run_pass(self):
        """Run (the rest of) one pass; returns a reason to stop, or None."""
        index = self.state.pass_index
        if index >= len(self.schedule.kinds):
            return "max_passes"
        if self.out_of_time():
            return "max_time"
        kind = self.schedule.kinds[index]
        self.notify(PassStarted(index, kind))
        if kind == KSVD:
            self.ksvd_iteration(index)
        else:
            rounds = self.schedule.rounds(index, self.seed)
            coder = None
            for number in range(self.state.round_index, len(rounds)):
                if coder is None or kind == WAVE:
                    coder = make_coder(self.state.dictionary, self.stopping)
                self.one_round(index, number, kind, rounds[number], coder)
                if self.out_of_time() and number + 1 < len(rounds):
                    return "max_time"
                if (number + 1) % self.checkpoint_every == 0 and number + 1 < len(rounds):
                    self.save()
            if kind == FULL:
                self.full_update(index)
        return self.finish_pass(index, kind)

    def one_round(self, index, number, kind, jobs, coder):
        """Code the rows of a round; after a wave, update the dictionary."""
        wanted = Wanted(statistics=True, n_worst=self.n_worst)
        moments = self.moments(jobs, coder, wanted)
        state = self.state
        replaced = []
        if kind == WAVE:
            state, replaced = update_after_wave(
                state, moments, self.schedule.n_waves, self.may_replace(index)
            )
            moments = moments.without_statistics()
        totals = moments if state.totals is None else add_all([state.totals, moments])
        self.succeed(succeed(state, totals=totals, round_index=number + 1))
        self.announce_round(index, number, kind, moments, replaced)

    def full_update(self, index):
        """Update the dictionary after all rows were coded with it."""
        state, totals = self.state, self.state.totals
        dictionary, XX, XY, replaced = state.dictionary, totals.XX, totals.XY, []
        if self.settings.update == "batch" and self.may_replace(index):
            atoms = [int(atom) for atom in np.flatnonzero(totals.uses == 0)]
            atoms += [a for a in find_twins(dictionary, XX.diagonal()) if a not in set(atoms)]
            atoms = atoms[: most_replaced(len(dictionary))]
            dictionary, XX, XY, replaced = replace(dictionary, XX, XY, atoms, totals.worst)
        dictionary = sweep(dictionary, XX, XY, BATCH_SWEEPS)
        self.succeed(
            succeed(
                state,
                dictionary=dictionary,
                totals=totals.without_statistics(),
                replaced=state.replaced + len(replaced),
            )
        )
        if replaced:
            self.notify(AtomsReplaced(index, tuple(replaced)))

    def ksvd_iteration(self, index):
        """One pass of K-SVD proper; begun again as a whole if workers are lost."""
        [jobs] = self.schedule.rounds(index, self.seed)
        coder = make_coder(self.state.dictionary, self.stopping)

        def block_done(number, moments):
            self.tick()
            self.announce_round(index, number, KSVD, moments, [])

        def iteration():
            return ksvd_pass(
                self.runner,
                self.rows,
                [self.rows.job(pieces) for pieces in jobs],
                coder,
                self.mapping,
                self.n_worst,
                self.n_blocks,
                block_done,
            )

        dictionary, moments = self.runner.retrying(iteration, self.rows)
        replaced = []
        if self.may_replace(index):
            atoms = np.flatnonzero(moments.uses == 0)[: most_replaced(len(dictionary))]
            dictionary, _, _, replaced = replace(dictionary, None, None, atoms, moments.worst)
        self.succeed(
            succeed(
                self.state,
                dictionary=dictionary,
                totals=moments.without_statistics(),
                replaced=len(replaced),
            )
        )
        if replaced:
            self.notify(AtomsReplaced(index, tuple(replaced)))

    def finish_pass(self, index, kind):
        """Close the books of a pass; returns a reason to stop, or None."""
        holdout_error = np.nan
        if self.schedule.held:
            coder = make_coder(self.state.dictionary, self.stopping)
            jobs = self.schedule.held_jobs()
            held = self.moments(jobs, coder, Wanted(statistics=False, n_worst=0))
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
            totals.residual_original / max(self.variance * totals.count, np.finfo(float).tiny),
            totals.nonzeros / totals.count,
            int((totals.uses > 0).sum()),
            state.replaced,
            holdout_error,
            state.pass_seconds,
            totals.count / max(state.pass_seconds, 1e-9),
        )
        settled = state.last_error - error <= self.settings.tol * state.last_error
        kinds = self.schedule.kinds
        following = index + 1
        stop_reason = None
        if settled and np.isfinite(state.last_error) and self.settings.tol > 0:
            # settled waves are followed by full passes; settled full passes by none
            later = [i for i in range(following, len(kinds)) if kinds[i] != kind]
            if later:
                following = later[0]
            elif following < len(kinds):
                following, stop_reason = len(kinds), "tol"
        changes_kind = following < len(kinds) and kinds[following] != kind
        self.succeed(
            succeed(
                state,
                pass_index=following,
                round_index=0,
                totals=None,
                replaced=0,
                pass_seconds=0.0,
                last_error=np.inf if changes_kind else error,
            )
        )
        self.notify(event)
        if stop_reason is None and following < len(kinds):
            self.save()
        return stop_reason

    # -------------------------------------------------------------- helpers

    def moments(self, jobs, coder, wanted):
        """Run the coding blueprint over lists of pieces."""
        jobs = [self.rows.job(pieces) for pieces in jobs]
        return self.runner.reduce(MOMENTS, self.rows, jobs, coder, self.mapping, wanted)

    def may_replace(self, index):
        """Atoms are replaced after the first pass and not in the last ones."""
        if not self.settings.replace_atoms:
            return False
        kinds = self.schedule.kinds
        if kinds[index] == WAVE:
            return index >= 1
        return 1 <= index < max(2, len(kinds) // 2) and index < len(kinds) - 1

    def count_rounds(self, index):
        """Rounds of a pass."""
        if self.schedule.kinds[index] == KSVD:
            return self.n_blocks
        return len(self.schedule.rounds(index, self.seed))

    def announce_round(self, index, number, kind, moments, replaced):
        """Tell of a round; the time since the last one is its time."""
        if replaced:
            self.notify(AtomsReplaced(index, tuple(replaced)))
        count = moments.count if moments is not None else 0
        self.notify(
            WaveFinished(
                index,
                number,
                kind,
                count,
                _ratio(moments.residual, moments.energy) if count else np.nan,
                moments.nonzeros / count if count else np.nan,
                len(replaced),
                self._round_seconds,
            )
        )

    def succeed(self, state):
        """Make a new state current, in one assignment."""
        self.state = state
        self.tick()

    def tick(self):
        """Book the time since the last call."""
        now = time.perf_counter()
        self._round_seconds = now - self._clock
        self._clock = now
        self.state = succeed(
            self.state,
            pass_seconds=self.state.pass_seconds + self._round_seconds,
            seconds=self.state.seconds + self._round_seconds,
        )

    def out_of_time(self):
        limit = self.settings.max_time
        return limit is not None and self.state.seconds - self.resumed_seconds >= limit

    resumed_seconds = 0.0
    """Seconds spent by earlier calls, which ``max_time`` does not count."""

    def notify(self, event, final=False):
        for callback in self.callbacks:
            try:
                callback(event)
            except StopFit:
                if not final:
                    raise

    def save(self):
        """Write a checkpoint, if one is wanted."""
        if self.checkpoint is not None:
            path = self.checkpoint(self)
            self.notify(CheckpointWritten(path, self.state.pass_index, self.state.round_index))


def _ratio(residual, energy):
    """Relative norm from squared norms; 0 where there is nothing to represent."""
    return float(np.sqrt(residual / energy)) if energy > 0 else 0.0
