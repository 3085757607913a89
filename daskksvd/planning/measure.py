"""What the steps of a fit cost here: rounds of a fit itself, on a few rows."""

import contextlib
import dataclasses
import functools
import statistics
import time
import warnings
from collections import defaultdict
from concurrent.futures import ThreadPoolExecutor

import numpy as np

from ..coding.how import settled
from ..execution import ThreadExecutor
from ..execution.executor import TREE_FAN_IN, run_task
from ..execution.threads import usable_cores
from ..fitting.beginning import begin
from ..fitting.initial import sample_size
from ..fitting.loop import Engine
from ..fitting.problem import Problem
from ..fitting.schedule import FULL, KSVD, RAMP_PASSES, WAVE, rows_per_task
from ..fitting.schedule import statistics as statistics_of
from ..fitting.state import State
from ..fitting.statistics import COUPLED
from ..fitting.updates.ksvd import count_blocks, ksvd_pass
from ..fitting.updates.online import RTOL_PASSES
from ..machine.blas import blas_for
from ..rows import Piece, Reader, Source, as_dask
from ..tracking import HistoryRecorder
from .model import Cost

READERS = 8
"""Most chunks read side by side to time reading."""

TASKS = 5
"""Tasks that are timed at least: of two the faster one was 20 % too fast at times."""

FIRST_ROWS = 16
"""Of the tasks that are run only for what is done with their results."""


class Recorder(ThreadExecutor):
    """Threads that note of every call its seconds, what it added up, and the bytes of what came out."""

    runs_here = False

    def __init__(self, n_threads, in_process):
        super().__init__(n_threads)
        self.n_threads = n_threads
        self.calls, self.waited = defaultdict(list), 0.0
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
        value, seconds = clocked(function, *arguments)
        self.waited += seconds
        return value

    def _note(self, kind, function, *arguments):
        value, seconds = clocked(function, *arguments)
        parts = len(arguments[0]) if kind == "add" else 1
        self.calls[kind].append((seconds, parts, bytes_of(value)))
        return value

    def timed(self, work, *arguments):
        """What ``work(*arguments)`` returns, and the seconds of it that were not spent waiting for calls."""
        self.calls, self.waited = defaultdict(list), 0.0
        value, seconds = clocked(work, *arguments)
        return value, seconds - self.waited

    def cost(self, n_rows, tasks=slice(None), adds=slice(None), **more):
        """`Cost` of the round that was timed, its tasks of so many rows; or of some of its calls."""
        seconds, parts, sizes = zip(*self.calls["add"][adds], strict=True)
        return Cost(
            row=statistics.median(taken for taken, *_ in self.calls["task"][tasks]) / n_rows,
            add=sum(seconds) / sum(parts),
            share=sum(taken for taken, *_ in self.calls["share"]),
            part=sizes[-1],
            result=sizes[-1],
        )._replace(**more)


def clocked(function, *arguments):
    """What a call returns, and its seconds."""
    began = time.perf_counter()
    return function(*arguments), time.perf_counter() - began


def bytes_of(value):
    """Bytes of the arrays in a value, however nested in tuples and lists."""
    if isinstance(value, np.ndarray):
        return value.nbytes
    return sum(map(bytes_of, value)) if isinstance(value, (tuple, list)) else 0


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
        By kind of pass, and of ``"block"``, a block of atoms of K-SVD.
    side_by_side : int
        Threads that coded at once.
    """
    most = 2 * rows_per_task(settings.n_components, d, settings.target(d).n_nonzero_coefs)
    sizes = {WAVE: schedule.wave_job_rows, FULL: schedule.task_rows, KSVD: schedule.task_rows}
    sizes = {kind: min(sizes[kind], most) for kind in schedule.phases.kinds}
    n_rows = max(sizes.values())
    read, rows = _read(job, inputs, 2 * n_rows, n_threads) if job is not None else (0.0, np.zeros((0, d)))
    if len(rows) < schedule.n_samples:  # others may tell more; what is wrong with rows a fit says
        rows = rows[np.isfinite(rows).all(axis=1) & rows.any(axis=1)]
        if (rows == rows[:1]).all():
            rows = np.random.default_rng(0).standard_normal((2 * n_rows, d), settings.dtype)
    # what is coded is no atom itself, of which nothing would be left; rolled, rows are distinct, if not new
    total = n_rows + max(sample_size(settings, schedule.n_samples), settings.n_components)
    rows = np.concatenate([np.roll(rows, i, axis=1) for i in range(-(-total // len(rows)))])[:total]
    executor = Recorder(*(min(number, usable_cores()) for number in (n_threads * n_workers, n_threads)))
    try:
        with blas_for(settings.n_components, d), warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of few distinct rows: a fit has more; of devices: a note tells
            costs = _Rehearsal(executor, rows, n_rows, settings, schedule).costs(sizes)
    finally:
        executor.close()
    return {kind: cost._replace(read=read) for kind, cost in costs.items()}, executor.n_threads


def _read(job, inputs, n_rows, readers):
    """Seconds of reading a chunk, each of which is read once, and some rows of all."""
    inputs = dict(zip(job.needs, inputs, strict=True))

    def read(chunk):
        rows, seconds = clocked(chunk.read, inputs)
        return rows[:n_rows].copy(), seconds  # its memory is lent again

    first, *others = job.chunks
    found = [read(first)]  # opens files and loads what reads them
    with ThreadPoolExecutor(min(readers, usable_cores(), READERS)) as pool:
        found += pool.map(read, others)
    rows, seconds = zip(*found, strict=True)
    return 0.0 if first.lies_in_memory else statistics.median(seconds[1:] or seconds), np.concatenate(rows)


class _Rehearsal:
    """Rounds of equal tasks, whose rows are all the same, after the first steps of a fit."""

    def __init__(self, executor, rows, n_rows, settings, schedule):
        self.executor, self.settings, self.schedule = executor, settings, schedule
        self.reader = reader = Reader(Source(as_dask(rows, len(rows))), executor)
        others = Piece(0, n_rows, len(rows), n_rows)
        few = schedule._replace(pieces=[others], n_samples=others.n_rows)
        begin(reader, settings, few, 0)  # compiles
        (coder, variance, *_), driver = executor.timed(begin, reader, settings, few, 0)
        survey = executor.cost(len(rows), share=0.0, driver=driver)
        sample = bytes_of(rows[: sample_size(settings, others.n_rows)])  # which no sum has twice
        self.survey = survey._replace(part=survey.result - sample)
        target, phases = coder.target, schedule.phases
        if target.rtol is not None and settings.n_nonzero_coefs is None and phases.first == WAVE:
            # as the first pass of a fit
            target = target._replace(rtol=target.rtol ** (1 / min(RTOL_PASSES, phases.first_limit)))
        self.coder = coder = settled(dataclasses.replace(coder, target=target), executor, settings.device)
        gathered = statistics_of(WAVE, settings.n_components, schedule.n_samples, settings.ramp)
        state = State.start(coder.dictionary, phases.first, phases.first == WAVE and gathered == COUPLED)
        problem = Problem(reader, settings, schedule, coder, variance, 0)
        self.engine = Engine(problem, state, HistoryRecorder(), [])

    def costs(self, sizes):
        """`Cost` by kind, of tasks of so many rows each."""
        costs = {"survey": self.survey}
        sent = self.coder.dictionary.nbytes + bytes_of(self.coder.transform.cast(self.settings.dtype))
        for kind, n_rows in sizes.items():
            passes = self.engine.passes[kind]
            found = self.ksvd(passes, n_rows) if kind == KSVD else {kind: self.round_(passes, n_rows)}
            costs |= {kind: cost._replace(sent=cost.sent or sent) for kind, cost in found.items()}
        return costs

    def jobs(self, n_rows):
        """Jobs of so many rows, as many as run at once and are enough to time."""
        threads = self.executor.n_threads
        return [(Piece(0, 0, n_rows, 0),)] * (-(-TASKS // threads) * threads)

    def first_jobs(self, n_rows):
        """Jobs that run what is compiled, or loaded, when it first runs: additions of sums of sums too."""
        return self.jobs(n_rows)[:1] + [(Piece(0, 0, min(n_rows, FIRST_ROWS), 0),)] * TREE_FAN_IN

    def round_(self, passes, n_rows):
        """A wave half way through, or a full pass, with atoms replaced where that may be."""
        executor, engine, schedule = self.executor, self.engine, self.schedule
        limit = schedule.phases.first_limit
        if passes.kind == WAVE:
            # about as many nonzeros as the passes of a ramp have on average, and no easier rtol
            index = min(limit, RAMP_PASSES - 1 if self.settings.ramp else limit) - 1
            moment = {"pass_index": index, "n_updates": schedule.n_waves * -(-limit // 2)}
        else:
            moment = {"pass_index": 1, "totals": None}
        for jobs in (self.first_jobs(n_rows), self.jobs(n_rows), self.jobs(n_rows)):
            engine.state = dataclasses.replace(engine.state, **moment)
            rounds = [jobs] * (schedule.n_waves if passes.kind == WAVE else 1)
            _, driver = executor.timed(passes.run_round, engine, 0, rounds)
        cost, state = executor.cost(n_rows, driver=driver), engine.state
        for _ in range(2):
            engine.state = state
            _, end = executor.timed(passes.after_pass, engine)
        return cost._replace(end=end)

    def ksvd(self, passes, n_rows):
        """Coding, and the second block of atoms, which takes in the first one's change."""
        executor, coder, itemsize = self.executor, self.coder, self.settings.dtype.itemsize
        (m, d), width = coder.dictionary.shape, coder.target.n_nonzero_coefs
        n_blocks = count_blocks(self.settings, d)
        last = min(1, n_blocks - 1)
        # residuals come as rows until those of several tasks are more than their Gram matrices
        n_tasks = min(m * d // (2 * n_rows * width) + 1, self.schedule.n_samples // n_rows)
        enough = self.jobs(n_rows) * max(1, -(-n_tasks // len(self.jobs(n_rows))))

        def block_done(index, moments):
            if index == last:
                raise _Enough

        for jobs in (self.first_jobs(n_rows), enough):
            with contextlib.suppress(_Enough):
                read = [self.reader.job(pieces) for pieces in jobs]
                executor.timed(ksvd_pass, self.reader, read, coder, passes.n_worst, n_blocks, block_done)
        n, each = len(jobs), len(executor.calls["add"]) // (last + 2)
        solved, _, size = executor.calls["other"][-1]
        block = executor.cost(
            n_rows, slice(-n, None), slice(-each, None), share=0.0, driver=solved, result=size
        )
        rows_bytes = self.schedule.n_samples * width // n_blocks * d * itemsize
        part = min(rows_bytes, m * d * d * 8 // n_blocks)
        # the dictionary before and after the last change, and that change
        block = block._replace(part=part, sent=2 * coder.dictionary.nbytes + size)
        return {KSVD: executor.cost(n_rows, slice(n), slice(each)), "block": block}


class _Enough(Exception):
    """Ends an iteration of K-SVD after the blocks that are timed."""
