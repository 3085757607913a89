"""What the steps of a fit cost here: rounds of a fit itself, on a few rows."""

import dataclasses
import functools
import statistics
import time
import warnings
from concurrent.futures import ThreadPoolExecutor
from typing import NamedTuple

import numpy as np

from ..coding.how import settled
from ..execution import ThreadExecutor
from ..execution.executor import TREE_FAN_IN, run_task
from ..execution.threads import usable_cores
from ..fitting.beginning import begin
from ..fitting.initial import sample_size
from ..fitting.loop import Engine
from ..fitting.problem import Problem
from ..fitting.replacement import checks_per_pass
from ..fitting.schedule import FULL, KSVD, RAMP_PASSES, WAVE, rows_per_task
from ..fitting.schedule import statistics as statistics_of
from ..fitting.shaping import LOOKS
from ..fitting.state import State
from ..fitting.statistics import COUPLED, Wanted
from ..fitting.updates.ksvd import Spread, count_blocks, dominant_directions, ksvd_pass
from ..fitting.updates.online import RTOL_PASSES
from ..fitting.updates.passes import surplus
from ..machine.blas import blas_for
from ..machine.memory import available_bytes
from ..rows import Piece, Reader, Source, as_dask
from ..tracking import HistoryRecorder
from .model import Cost

READERS = 8
"""Most chunks read side by side to time reading."""

TASKS = 5
"""Tasks that are timed at least: of two the faster one was 20 % too fast at times."""

FIRST_ROWS = 16
"""Of the tasks that are run only for what is done with their results."""


class Call(NamedTuple):
    """One call that a `Recorder` noted: its seconds, what it added up, and the size of what came out."""

    kind: str
    seconds: float
    parts: int
    size: int


class Recorder(ThreadExecutor):
    """Threads that note how long every call takes, and the size of what it returns."""

    runs_here = False

    def __init__(self, n_threads, in_process):
        super().__init__(n_threads)
        self.n_threads = n_threads
        self.calls, self.waited = [], 0.0
        self._in_process = in_process

    def share(self, function, arguments, everywhere=False):
        if everywhere:
            function = functools.partial(function, n_threads=self._in_process)
        return self._waiting(self._note, "share", function, *arguments)

    def submit(self, function, *arguments, place=None):
        kind = "add" if isinstance(arguments[0], list) else "other"
        return super().submit(self._note, "task" if function is run_task else kind, function, *arguments)

    def gather(self, handles):
        return self._waiting(super().gather, handles)

    def _waiting(self, function, *arguments):
        began = time.perf_counter()
        value = function(*arguments)
        self.waited += time.perf_counter() - began
        return value

    def _note(self, kind, function, *arguments):
        began = time.perf_counter()
        value = function(*arguments)
        seconds = time.perf_counter() - began
        parts = len(arguments[0]) if kind == "add" else 1
        self.calls.append(Call(kind, seconds, parts, size_of(value)))
        return value

    def of(self, kind):
        """The calls of a kind since `timed` began."""
        return [call for call in self.calls if call.kind == kind]

    def timed(self, work, *arguments):
        """What ``work(*arguments)`` returns, and the seconds of it that were not spent waiting for calls."""
        self.calls, self.waited = [], 0.0
        began = time.perf_counter()
        value = work(*arguments)
        return value, time.perf_counter() - began - self.waited


def size_of(value):
    """Bytes of the arrays in a value, however nested in tuples and lists."""
    if isinstance(value, np.ndarray):
        return value.nbytes
    return sum(map(size_of, value)) if isinstance(value, (tuple, list)) else 0


def measure_rounds(job, inputs, settings, schedule, d, n_workers, n_threads):
    """Time the rounds of a fit. Runs where tasks do.

    Parameters
    ----------
    job : rows.Job or None
        Chunks to read. Rows are made up without, or where those read are zero, equal or not finite.
    inputs : list
        Values of what the chunks need.
    settings : Settings
    schedule : Schedule
        Of the fit, but for its pieces.
    d, n_workers, n_threads : int
        Features, processes, and threads of each.

    Returns
    -------
    costs : dict of str to Cost
        By kind of round.
    side_by_side : int
        Threads that coded at once.
    """
    width = settings.target(d).n_nonzero_coefs
    most = max(2 * rows_per_task(settings.n_components, d, width), schedule.wave_task_rows)
    n_rows = max(schedule.wave_job_rows, min(schedule.task_rows, most))
    once = later = 0.0
    rows = None
    if job is not None:
        (once, later), rows = _read(job, inputs, 2 * n_rows, n_threads, schedule.n_samples)
        if len(rows) < schedule.n_samples:  # others may tell more; what is wrong with rows a fit says
            rows = rows[np.isfinite(rows).all(axis=1) & rows.any(axis=1)]
            rows = None if (rows == rows[:1]).all() else rows
    if rows is None:
        rows = np.random.default_rng(0).standard_normal((2 * n_rows, d), settings.dtype)
    # what is coded is no atom itself, of which nothing would be left; rolled, rows are distinct, if not new
    total = n_rows + max(sample_size(settings, schedule.n_samples), settings.n_components)
    parts = [np.roll(rows, i, axis=1) for i in range(-(-total // len(rows)))]
    rows = np.concatenate(parts)[:total]
    executor = Recorder(*(min(number, usable_cores()) for number in (n_threads * n_workers, n_threads)))
    try:
        with blas_for(settings.n_components, d), warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of few distinct rows: a fit has more; of devices: a note tells
            costs = _Rehearsal(executor, rows, n_rows, settings, schedule).costs()
    finally:
        executor.close()
    reads = dict.fromkeys(costs, later) | {"survey": once}
    return {kind: cost._replace(read=reads[kind]) for kind, cost in costs.items()}, executor.n_threads


def _read(job, inputs, n_rows, readers, n_samples):
    """Seconds of reading one chunk, the first time and later, and some rows."""
    inputs = dict(zip(job.needs, inputs, strict=True))

    def timed(chunk):
        began = time.perf_counter()
        rows = chunk.read(inputs)
        seconds = time.perf_counter() - began
        return seconds, rows[:n_rows].copy()  # its memory is lent again

    first, *others = job.chunks
    _, found = timed(first)  # opens files and loads what reads them
    if first.lies_in_memory:
        return (0.0, 0.0), found
    with ThreadPoolExecutor(min(readers, usable_cores(), READERS)) as pool:
        read, again = (list(pool.map(timed, others or [first])) for _ in range(2))
    once, later = (statistics.median(one for one, _ in reads) for reads in (read, again))
    # what the survey has read stays in the memory of the system, if there is room
    stays = n_samples * found.shape[1] * found.itemsize <= available_bytes() / 2
    return (once, min(once, later) if stays else once), np.concatenate([found, *(rows for _, rows in read)])


class _Rehearsal:
    """Rounds of equal tasks, whose rows are all the same."""

    def __init__(self, executor, rows, n_rows, settings, schedule):
        self.executor, self.rows, self.n_rows = executor, rows, n_rows
        self.settings, self.schedule = settings, schedule
        self.full_rows = min(n_rows, schedule.task_rows)
        self.n_tasks = -(-TASKS // executor.n_threads) * executor.n_threads
        self.reader = Reader(Source(as_dask(rows, len(rows))), executor)

    def costs(self):
        """`Cost` of every kind of round, but for reading."""
        settings, schedule, executor = self.settings, self.schedule, self.executor
        others = Piece(0, self.n_rows, len(self.rows), self.n_rows)
        few = schedule._replace(pieces=[others], n_samples=others.n_rows)
        begin(self.reader, settings, few, 0)  # compiles
        (coder, variance, *_), driver = executor.timed(begin, self.reader, settings, few, 0)
        costs = {"survey": self.cost(len(self.rows), driver)}
        sample = size_of(self.rows[: sample_size(settings, others.n_rows)])
        costs["survey"] = costs["survey"]._replace(part=costs["survey"].result - sample)
        target, phases = coder.target, schedule.phases
        if target.rtol is not None and settings.n_nonzero_coefs is None and phases.first == WAVE:
            # as the first pass of a fit
            target = target._replace(rtol=target.rtol ** (1 / min(RTOL_PASSES, phases.first_limit)))
        coder = settled(dataclasses.replace(coder, target=target), executor, settings.device)
        problem = Problem(self.reader, settings, schedule, coder, variance, 0)
        gathered = statistics_of(WAVE, settings.n_components, schedule.n_samples, settings.ramp)
        state = State.start(coder.dictionary, phases.first, phases.first == WAVE and gathered == COUPLED)
        self.engine = Engine(problem, state, HistoryRecorder(), [])
        for kind, passes in self.engine.passes.items():
            if kind in schedule.phases.kinds:
                costs |= {WAVE: self.waves, FULL: self.full, KSVD: self.ksvd}[kind](passes)
        if settings.holdout:

            def held(jobs):
                return self.engine.moments(jobs, Wanted(None, 0), self.engine.coder)

            held(self.first_jobs(self.full_rows))
            driver = executor.timed(held, self.jobs(self.full_rows))[1]
            costs["held"] = self.cost(self.full_rows, driver)
        sent = coder.dictionary.nbytes + size_of(coder.transform.cast(settings.dtype))
        for kind in set(costs) - {"survey", "block"}:
            costs[kind] = costs[kind]._replace(sent=sent)
        return costs

    def jobs(self, n_rows, count=None):
        """Jobs of so many rows, as many as run at once and are enough to time."""
        return [(Piece(0, 0, n_rows, 0),)] * (count or self.n_tasks)

    def first_jobs(self, n_rows):
        """Jobs that run what is compiled, or loaded, when it first runs: additions of sums of sums too."""
        return self.jobs(n_rows, 1) + self.jobs(min(n_rows, FIRST_ROWS), TREE_FAN_IN)

    def cost(self, n_rows, driver=0.0, tasks=None, adds=None, **more):
        """`Cost` by the calls of the last round."""
        executor = self.executor
        tasks, adds = tasks or executor.of("task"), adds or executor.of("add")
        return Cost(
            row=statistics.median(call.seconds for call in tasks) / n_rows,
            share=sum(call.seconds for call in executor.of("share")),
            add=sum(call.seconds for call in adds) / sum(call.parts for call in adds),
            driver=driver,
            part=adds[-1].size,
            result=adds[-1].size,
        )._replace(**more)

    def round_(self, passes, jobs, n_rounds, **moment):
        """Run one round; returns the seconds of the driver."""
        self.engine.state = dataclasses.replace(self.engine.state, **moment)
        return self.executor.timed(passes.run_round, self.engine, 0, [jobs] * n_rounds)[1]

    def waves(self, passes):
        """Waves half way through: with and without a look for atoms to replace."""
        settings, schedule, n_rows = self.settings, self.schedule, self.schedule.wave_job_rows
        n_waves, limit = schedule.n_waves, schedule.phases.first_limit
        looks = min(n_waves, LOOKS if settings.twins is not None else checks_per_pass(settings.n_components))
        period = n_waves // looks
        t = max(period, n_waves * limit // 2 // period * period)
        # about as many nonzeros as the passes of a ramp have on average, and no easier rtol
        moment = {"pass_index": min(limit, RAMP_PASSES - 1 if settings.ramp else limit) - 1}
        self.round_(passes, self.first_jobs(n_rows), n_waves, n_updates=t - 1, **moment)
        looking = self.round_(passes, self.jobs(n_rows, 1), n_waves, n_updates=t - 1, **moment)
        driver = self.round_(passes, self.jobs(n_rows), n_waves, n_updates=t, **moment)
        return {WAVE: self.cost(n_rows, driver, end=looks * max(0.0, looking - driver))}

    def full(self, passes):
        """A full pass, with atoms replaced where that may be."""
        self.round_(passes, self.first_jobs(self.full_rows), 1, pass_index=1, totals=None)
        cost = self.cost(self.full_rows, self.round_(passes, self.jobs(self.full_rows), 1))
        before = self.engine.state
        passes.after_pass(self.engine)
        self.engine.state = before
        return {FULL: cost._replace(end=self.executor.timed(passes.after_pass, self.engine)[1])}

    def ksvd(self, passes):
        """Coding, and the second block of atoms, which takes in the first one's change."""
        settings, executor, coder, n_rows = self.settings, self.executor, self.engine.coder, self.full_rows
        n_blocks = count_blocks(settings, self.rows.shape[1])
        last = min(1, n_blocks - 1)

        def block_done(index, moments):
            if index == last:
                raise _Enough

        def blocks(jobs):
            jobs = [self.reader.job(pieces) for pieces in jobs]
            try:
                ksvd_pass(self.reader, jobs, coder, passes.n_worst, n_blocks, block_done)
            except _Enough:
                return

        blocks(self.first_jobs(n_rows))
        executor.timed(blocks, self.jobs(n_rows))
        tasks, adds, n = executor.of("task"), executor.of("add"), self.n_tasks
        each = len(adds) // (last + 2)
        dictionary = coder.dictionary
        (m, d), itemsize, positive = dictionary.shape, dictionary.itemsize, coder.target.positive
        nonzeros = self.schedule.n_samples * coder.target.n_nonzero_coefs
        solved = executor.of("other")[-1]
        finish, part = solved.seconds, nonzeros // n_blocks * d * itemsize
        ones = np.ones(m)
        end = executor.timed(surplus, dictionary, ones, ones, positive)[1] if settings.replace_atoms else 0.0
        if 2 * nonzeros > m * d:  # residuals of all rows together come as Gram matrices
            rows = coder.transform.apply(self.rows[: 2 * d], dictionary.dtype).astype(np.float64)
            few = min(2, m)
            spread = Spread(None, np.ones(few, np.int64), np.stack([rows.T @ rows] * few))
            solve = dominant_directions, spread, dictionary[:few], positive
            finish = min(executor.timed(*solve)[1] for _ in range(3)) * m / n_blocks / few
            part = m // n_blocks * d * d * 8
        block = self.cost(n_rows, 0.0, tasks[-n:], adds[-each:], share=0.0, finish=finish, end=end)
        return {
            "code": self.cost(n_rows, 0.0, tasks[:n], adds[:each]),
            # the dictionary before and after the last change, and that change
            "block": block._replace(sent=2 * dictionary.nbytes + solved.size, part=part, result=solved.size),
        }


class _Enough(Exception):
    """Ends an iteration of K-SVD after the blocks that are timed."""
