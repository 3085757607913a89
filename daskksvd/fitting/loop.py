"""The loop: rounds of tasks, updates on the driver, events for all else."""

import dataclasses
import time
import warnings

import numpy as np

from ..execution import given
from ..machine.blas import blas_for
from ..tracking import (
    AtomsReplaced,
    CheckpointWritten,
    FitFinished,
    FitStarted,
    PassFinished,
    StopFit,
    WaveFinished,
)
from . import CHECKPOINT_EVERY
from .schedule import DONE
from .statistics import MOMENTS, Wanted, relative_norm
from .updates import UPDATES


class Engine:
    """One fit from its first round to its last.

    Parameters
    ----------
    problem : Problem
    state : State
    recorder : tracking.HistoryRecorder
    callbacks : list of callable
    checkpoint : callable or None
        ``checkpoint(engine)`` writes one and returns its path.
    checkpoint_every : int
        Rounds between checkpoints within a pass.
    """

    def __init__(
        self, problem, state, recorder, callbacks, checkpoint=None, checkpoint_every=CHECKPOINT_EVERY
    ):
        self.problem = problem
        self.state = state
        self.recorder = recorder
        self.callbacks = callbacks
        self.checkpoint = checkpoint
        self.checkpoint_every = checkpoint_every
        self.unsaved = None  # why the last checkpoint could not be written
        self.seconds_before = state.seconds  # of earlier calls, which ``max_time`` does not count
        self.passes = {kind.kind: kind(problem) for kind in UPDATES[problem.settings.update]}
        self._clock = time.perf_counter()

    # ------------------------------------------------------------- the loop

    def run(self):
        """Run to the end; returns why it stopped."""
        with blas_for(self.problem.settings.n_components, self.problem.reader.source.d):
            return self._run()

    def _run(self):
        self._clock = time.perf_counter()
        try:
            self.notify(
                FitStarted(
                    self.problem.schedule.n_samples,
                    self.problem.reader.source.d,
                    self.problem.settings.n_components,
                    self.problem.schedule.phases.limit,
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
        if index >= self.problem.schedule.phases.limit:
            return "max_passes"
        if self.out_of_time():
            return "max_time"
        # if it is updated, it was stopped right before the pass was closed
        if not self.state.updated and not self.passes[kind].run(self):
            return "max_time"
        self.finish_pass(index, kind)
        return None

    def finish_pass(self, index, kind):
        """Close the books of a pass and choose the kind of the next."""
        holdout_error = np.nan
        if self.problem.schedule.held:
            held = self.moments(self.problem.schedule.held_jobs(), Wanted(None, 0), self.coder)
            holdout_error = relative_norm(held.residual, held.energy)
        self.tick()
        state, totals = self.state, self.state.totals
        error = relative_norm(totals.residual, totals.energy)
        event = PassFinished(
            index,
            kind,
            totals.count,
            error,
            relative_norm(totals.residual_original, totals.energy_original),
            unexplained(totals, self.problem.variance),
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
        phases = self.problem.schedule.phases
        settled = self.passes[kind].has_settled(self.state, error)
        if kind == phases.first and phases.then is not None:
            return phases.then if settled or index + 1 >= phases.first_limit else kind
        return DONE if settled else kind

    # -------------------------------------------------------------- helpers

    @property
    def coder(self):
        """The coder with the dictionary of the moment."""
        return self.problem.coder_of(self.state)

    def moments(self, jobs, wanted, coder):
        """Code lists of pieces."""
        jobs = [self.problem.reader.job(pieces) for pieces in jobs]
        return self.problem.reader.reduce(MOMENTS, jobs, coder.shared(), given(wanted))

    def announce_round(self, number, kind, moments, replaced):
        """Tell of a round; the time since the last one is its time."""
        index, variance = self.state.pass_index, self.problem.variance
        events = [AtomsReplaced(index, tuple(replaced))] if replaced else []
        events.append(round_event(index, number, kind, moments, variance, len(replaced), self._round_seconds))
        self.notify(*events)

    def advance(self, state, replaced=()):
        """Make a new state current, in one assignment, and tell of atoms replaced for it."""
        self.state = state
        self.tick()
        if len(replaced):
            self.notify(AtomsReplaced(state.pass_index, tuple(replaced)))

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
        limit = self.problem.settings.max_time
        return limit is not None and self.state.seconds - self.seconds_before >= limit

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

    def save_after(self, number):
        """Write a checkpoint after a round within a pass, if it is time for one."""
        if (number + 1) % self.checkpoint_every == 0:
            self.save()

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
            relative_norm(moments.residual, moments.energy),
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
