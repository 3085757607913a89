"""A stream of batches instead of passes: one wave of the online update each."""

import dataclasses
import time
from typing import NamedTuple

import numpy as np

from ..coding import SparseCoder
from ..coding.how import settled as settled_on
from ..execution import given
from ..rows import cut_jobs
from ..tracking import HistoryRecorder
from .loop import round_event
from .replacement import WORST_ROWS, most_replaced
from .result import Result
from .schedule import WAVE, plan_schedule, statistics
from .settings import SINCE, Settings
from .state import State
from .statistics import COUPLED, MOMENTS, Wanted
from .updates.descent import power_of
from .updates.online import WINDOW, update_after_wave

STREAM_USES = 128
"""A stream has no passes of which to forget a share. Its statistics reach back
over about this many uses of an average atom: 512 left surplus atoms for too
long, and 32 lost accuracy."""

STREAM_BATCHES = 4
"""The same for large batches: statistics reach back over as many at least."""


class Stream(NamedTuple):
    """What `KSVD.partial_fit` carries from one batch to the next.

    Attributes
    ----------
    settings : Settings
    first : coding.SparseCoder
        With the dictionary that the stream began with.
    variance : float
        Of the samples of the first batch, all features together; NaN where
        the dictionary came from a fit.
    state : State
    recorder : HistoryRecorder
    settled : bool
        Whether the dictionary comes from a fit, and there are no statistics yet.
    """

    settings: Settings
    first: SparseCoder
    variance: float
    state: State
    recorder: HistoryRecorder
    settled: bool = False

    @classmethod
    def after(cls, result):
        """A stream that starts from what a fit found."""
        settings = Settings(**{name: result.settings.get(name, SINCE.get(name)) for name in Settings._fields})
        groups = None if settings.groups is None else tuple(settings.groups)
        settings = settings._replace(dtype=result.dictionary.dtype, holdout=0.0, groups=groups)
        dictionary = result.coder.dictionary
        state = State.start(dictionary, WAVE, statistics(WAVE, len(dictionary)) == COUPLED)
        return cls(settings, result.coder, np.nan, state, HistoryRecorder(), True)

    @property
    def coder(self):
        """The coder with the dictionary of the moment."""
        return self.first.with_dictionary(self.state.dictionary)

    @property
    def learning_coder(self):
        """The same, as batches are learned from: from prefixes, where the dictionary is to have some."""
        return dataclasses.replace(self.coder, prefixes=self.settings.groups or ())

    def learn(self, reader, began):
        """The stream after one more batch, which ``reader`` reads.

        ``began`` is the clock when the batch came.
        """
        settings, state = self.settings, self.state
        m = settings.n_components
        schedule = plan_schedule(settings, reader.source.chunk_rows, reader.source.d)
        jobs = [reader.job(pieces) for pieces in cut_jobs(schedule.pieces, schedule.task_rows)]
        wanted = given(Wanted(state.wave_statistics, n_worst=max(WORST_ROWS, most_replaced(m))))
        coder = settled_on(self.learning_coder, reader.executor, settings.device)
        moments = reader.reduce(MOMENTS, jobs, coder.shared(), wanted)
        if not all(np.isfinite(part).all() for part in (moments.energy, moments.XX, moments.XY)):
            raise ValueError(
                f"X has NaN, infinite or too large values for {settings.dtype}; all values must be finite"
                + (" and below about 1e15" if settings.dtype == np.float32 else "")
            )
        window = max(STREAM_BATCHES, STREAM_USES * m // max(moments.nonzeros, 1))
        settled = self.settled and moments.nonzeros == 0
        if self.settled and not settled:
            state = stand_still(state, moments, window)
        may_replace = settings.replace_atoms and state.n_updates >= window
        state, replaced = update_after_wave(
            state, moments, int(window / WINDOW), may_replace, self.first.target.positive
        )
        seconds = time.perf_counter() - began
        number = len(self.recorder.waves["seconds"])
        self.recorder(round_event(0, number, WAVE, moments, self.variance, len(replaced), seconds))
        return self._replace(
            state=dataclasses.replace(state, seconds=state.seconds + seconds), settled=settled
        )

    def result(self, feature_names, dims=None):
        """As a `Result`, with a history of batches."""
        return Result(
            self.coder.atoms,
            self.first.transform,
            self.first.target,
            self.recorder.to_dataset(),
            "partial_fit",
            {**self.settings.identity(), "seconds": self.state.seconds},
            feature_names,
            dims,
        )


def stand_still(state, moments, window):
    """Statistics that hold a dictionary in place, worth ``window`` waves.

    They are those of waves in which every atom stands for itself: ``X'X`` is
    diagonal, as large as ``moments`` are on average, and ``X'Y = X'X D``, so
    that `sweep` leaves ``D`` as it is.
    """
    m = len(state.dictionary)
    power = window * power_of(moments.XX).sum() / m
    XY = power * state.dictionary.astype(np.float64)
    # as if there had been so many waves that only the window limits the memory
    return dataclasses.replace(
        state, XX=power * (np.eye(m) if state.XX.ndim == 2 else np.ones(m)), XY=XY, n_updates=2 * window
    )
