"""What the steps of a fit cost here: the code of a fit itself, run on a few rows."""

import contextlib
import functools
import statistics
import time
import warnings
from concurrent.futures import ThreadPoolExecutor
from typing import NamedTuple

import numpy as np

from ..coding import SparseCoder, SparsityTarget
from ..execution import ThreadExecutor, given
from ..execution.executor import TREE_FAN_IN, run_task
from ..execution.threads import usable_cores
from ..fitting.beginning import check_data
from ..fitting.initial import initial_dictionary
from ..fitting.replacement import find_redundant
from ..fitting.schedule import FULL, WAVE
from ..fitting.settings import Settings
from ..fitting.state import State
from ..fitting.statistics import MOMENTS, Moments, add_all
from ..fitting.updates.batch import BATCH_SWEEPS
from ..fitting.updates.descent import power_of, sweep
from ..fitting.updates.ksvd import Spread, dominant_directions, ksvd_pass
from ..fitting.updates.online import update_after_wave
from ..machine.memory import available_bytes
from ..rows import Piece, Reader, Source, as_dask, make_transform, run_survey
from .model import Cost

READERS = 8
"""Most chunks read side by side to time reading."""


class Request(NamedTuple):
    """What is to be measured where tasks run.

    Attributes
    ----------
    settings : Settings
    target : coding.SparsityTarget
    wanted : dict of str to Wanted
        For every kind of round that codes rows what its tasks bring back.
    d, few_rows, n_rows, full_rows : int
        Features, rows of a small and a large task to measure, and rows of a
        task of a full pass.
    sample_size : int
        Rows from which a fit chooses the first atoms.
    n_samples : int
        Rows to learn from.
    n_worst, n_blocks : int
        Worst rows kept, and blocks of atoms of K-SVD.
    side_by_side, readers : int
        Threads that code at once, and those of one process: they read at once,
        and make its coder.
    """

    settings: Settings
    target: SparsityTarget
    wanted: dict
    d: int
    few_rows: int
    n_rows: int
    full_rows: int
    sample_size: int
    n_samples: int
    n_worst: int
    n_blocks: int
    side_by_side: int
    readers: int


class Measured(NamedTuple):
    """What was measured where tasks run.

    Attributes
    ----------
    costs : dict of str to Cost
        By kind of round, without what the driver does.
    sizes : dict of str to tuple of int
        Bytes of what one task returns, of a sum, and of the last sum.
    read : float
        Seconds of reading a chunk.
    n_side_by_side : int
        Threads that coded at once.
    coder : coding.SparseCoder
        That the rows were coded with.
    moments : dict of str to Moments
        By kind of round, what came out.
    """

    costs: dict[str, Cost]
    sizes: dict[str, tuple[int, int, int]]
    read: float
    n_side_by_side: int
    coder: SparseCoder
    moments: dict[str, Moments]


class Call(NamedTuple):
    """One call that a `Recorder` noted."""

    kind: str
    seconds: float
    parts: int
    size: int


class Recorder(ThreadExecutor):
    """Threads that note how long every call takes, and the size of what it returns."""

    def __init__(self, n_threads, in_process):
        super().__init__(n_threads)
        self.n_threads = n_threads
        self.calls = []
        self._in_process = in_process

    def share(self, function, arguments, everywhere=False):
        if not everywhere:
            return super().share(function, arguments)
        return self._note("share", functools.partial(function, n_threads=self._in_process), *arguments)

    def submit(self, function, *arguments, place=None):
        kind = function.__name__
        if function is run_task:
            kind = "task"
        elif isinstance(arguments[0], list):
            kind = "add"
        return super().submit(self._note, kind, function, *arguments)

    def _note(self, kind, function, *arguments):
        began = time.perf_counter()
        value = function(*arguments)
        seconds = time.perf_counter() - began
        parts = len(arguments[0]) if kind == "add" else 1
        self.calls.append(Call(kind, seconds, parts, size_of(value)))
        return value

    def take(self, kind):
        """The calls of a kind so far, which are then forgotten."""
        found = [call for call in self.calls if call.kind == kind]
        self.calls = [call for call in self.calls if call.kind != kind]
        return found


def size_of(value):
    """Bytes of the arrays in a value, however nested in tuples and lists."""
    if isinstance(value, np.ndarray):
        return value.nbytes
    if isinstance(value, (tuple, list)):
        return sum(map(size_of, value))
    return 0


def measure_tasks(job, inputs, request):
    """Time what tasks do. Runs where they do.

    Parameters
    ----------
    job : rows.Job or None
        Chunks to read; without, rows are made up.
    inputs : list
        Values of what the chunks need.
    request : Request

    Returns
    -------
    Measured
    """
    read, rows = _read(job, inputs, request)
    executor = Recorder(*(min(number, usable_cores()) for number in (request.side_by_side, request.readers)))
    try:
        return _Bench(executor, rows, request).measured(read)
    finally:
        executor.close()


def _read(job, inputs, request):
    """Seconds of reading one chunk, the first time and later, and rows for one task or more."""
    if job is None:
        rng = np.random.default_rng(0)
        return (0.0, 0.0), rng.standard_normal((2 * request.n_rows, request.d), request.settings.dtype)
    inputs = dict(zip(job.needs, inputs, strict=True))

    def timed(chunk):
        began = time.perf_counter()
        rows = chunk.read(inputs)
        seconds = time.perf_counter() - began
        return seconds, rows[: request.n_rows].copy()  # its memory is lent again

    first, *others = job.chunks
    _, found = timed(first)  # opens files and loads what reads them
    seconds, parts = (0.0, 0.0), [found]
    if not first.lies_in_memory:
        with ThreadPoolExecutor(min(request.readers, usable_cores(), READERS)) as pool:
            read, again = (list(pool.map(timed, others or [first])) for _ in range(2))
        once, later = (statistics.median(one for one, _ in reads) for reads in (read, again))
        # what the survey has read stays in the memory of the system, if there is room
        stays = request.n_samples * found.shape[1] * found.itemsize <= available_bytes() / 2
        seconds = once, min(once, later) if stays else once
        parts += [rows for _, rows in read]
    rows = np.concatenate(parts)
    # the same again where there are too few
    return seconds, rows[np.arange(max(len(rows), request.n_rows)) % len(rows)]


_LARGE = 5
"""Large tasks that are timed at least: of two the faster one was 20 % too fast at times."""


class _Enough(Exception):
    """Ends an iteration of K-SVD after the blocks that are timed."""


class _Bench:
    """Runs rounds of equal tasks, as many as make a group of the tree."""

    def __init__(self, executor, raw, request):
        self.executor = executor
        self.raw, self.others = raw[: request.n_rows], raw[request.n_rows :]
        self.request = request
        self.reader = Reader(Source(as_dask(self.raw, len(self.raw))), executor)
        self.n_jobs = max(TREE_FAN_IN, executor.n_threads)

    def jobs(self, n_rows, count=None):
        return [self.reader.job([Piece(0, 0, n_rows, 0)])] * (count or self.n_jobs)

    def measured(self, read):
        request = self.request
        costs, sizes, moments = {}, {}, {}
        costs["survey"], sizes["survey"], survey = self.survey()
        check_data(survey, request.settings)
        began = time.perf_counter()
        settings = request.settings
        transform = make_transform(survey, settings.center, settings.scale, settings.whiten)
        seconds = time.perf_counter() - began
        size = min(request.sample_size, max(len(self.raw), settings.n_components))
        # no row is an atom itself, of which nothing would be left; rolled, rows are distinct, if not new
        rolls = -(-max(0, size - len(self.others)) // len(self.raw))
        parts = [np.roll(self.raw, i + 1, axis=1) for i in range(rolls)]
        sample = np.concatenate([self.others, *parts])[:size]
        prepared = time.perf_counter()
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of few distinct rows: a fit has more
            rng = np.random.default_rng(0)
            dictionary = initial_dictionary(settings, sample, transform, request.d, rng)
        seconds += (time.perf_counter() - prepared) * request.sample_size / size
        costs["survey"] = costs["survey"]._replace(driver=seconds)
        coder = SparseCoder(dictionary, transform.cast(settings.dtype), request.target)
        for kind, wanted in request.wanted.items():
            costs[kind], sizes[kind], moments[kind] = self.moments(coder, wanted)
        if settings.update == "ksvd":
            found = self.ksvd(coder)
            costs.update(found[0])
            sizes.update(found[1])
        once, later = read
        costs = {
            kind: cost._replace(read=once if kind == "survey" else later) for kind, cost in costs.items()
        }
        return Measured(costs, sizes, once, self.executor.n_threads, coder, moments)

    def survey(self):
        """Cost, sizes and result of the survey."""
        request = self.request
        index = np.arange(max(1, len(self.raw) * request.sample_size // request.n_samples))

        covariance = request.settings.whiten is not None

        def survey(jobs):
            return run_survey(self.reader, jobs, index, covariance)

        cost, _, found = self.timed(survey)
        sample = request.sample_size * request.d * self.raw.itemsize
        facts = size_of((found.mean, found.scatter))
        return cost, (facts, facts, facts + sample), found

    def moments(self, coder, wanted):
        """Cost, sizes and sum of rounds that bring back ``wanted``."""

        def round_(jobs):
            return self.reader.reduce(MOMENTS, jobs, coder.shared(), given(wanted))

        return self.timed(round_)

    def timed(self, round_):
        """Cost, sizes and result of ``round_(jobs)``, a reduction.

        Small tasks and large ones tell what a task costs beside its rows.
        """
        executor, n_rows, few_rows = self.executor, len(self.raw), self.request.few_rows
        round_(self.jobs(few_rows))  # compiles, and takes from the system the memory that is lent later
        executor.calls.clear()
        round_(self.jobs(few_rows))
        few = _median(executor.take("task"))
        adds = executor.take("add")
        result = round_(self.jobs(n_rows, -(-_LARGE // executor.n_threads) * executor.n_threads))
        tasks = executor.take("task")
        many, more = _median(tasks), n_rows - few_rows
        row = few / few_rows
        if more and many > few:  # a straight line through the few rows, of which more tasks were timed
            row = min(row, (many - few) / more)
        cost = Cost(
            task=few - row * few_rows,
            row=row,
            share=min((call.seconds for call in executor.take("share")), default=0.0),
            add=_per_part(adds),
        )
        return cost, (tasks[-1].size, adds[0].size, adds[-1].size), result

    def ksvd(self, coder):
        """Costs and sizes of the two kinds of rounds of K-SVD proper: coding, and blocks of atoms."""
        request, executor = self.request, self.executor
        last = min(1, request.n_blocks - 1)  # the second block takes in the first one's change

        def block_done(index, moments):
            if index == last:
                raise _Enough

        for n_rows in (request.few_rows, len(self.raw)):
            executor.calls.clear()
            with contextlib.suppress(_Enough):
                ksvd_pass(
                    self.reader,
                    self.jobs(n_rows),
                    coder,
                    request.n_worst,
                    request.n_blocks,
                    block_done,
                )
        tasks, adds, shares = (executor.take(kind) for kind in ("task", "add", "share"))
        found = executor.take(dominant_directions.__name__)[-1]
        n_rows, n_adds = len(self.raw), len(adds) // (last + 2)
        coded, blocks = tasks[: self.n_jobs], tasks[-self.n_jobs :]
        partials = executor.take("_second")
        code = Cost(
            row=_median(coded) / n_rows,
            share=shares[-1].seconds,
            add=_per_part(adds[:n_adds]),
        )
        block = Cost(
            row=_median(blocks) / n_rows,
            add=_per_part(adds[-n_adds:]),
            finish=self.directions(coder) or found.seconds,
        )
        m, d = coder.dictionary.shape
        # residuals as rows while those are few, then as Gram matrices
        grams = m // request.n_blocks * d * d
        partial = partials[-1].size * request.full_rows // n_rows
        total = (
            request.n_samples
            * request.target.n_nonzero_coefs
            // request.n_blocks
            * d
            * coder.dictionary.itemsize
        )
        sizes = {
            "code": (partials[0].size, adds[0].size, adds[n_adds - 1].size),
            "block": (
                min(partial, grams * coder.dictionary.itemsize),
                grams * 8 if self.as_grams(m, d) else total,
                found.size,
            ),
        }
        return {"code": code, "block": block}, sizes

    def as_grams(self, m, d):
        """Whether the residuals of all rows together come as Gram matrices."""
        return 2 * self.request.n_samples * self.request.target.n_nonzero_coefs > m * d

    def directions(self, coder):
        """Seconds of solving for a block of atoms where residuals come as Gram matrices, else None."""
        dictionary = coder.dictionary
        m, d = dictionary.shape
        if not self.as_grams(m, d):
            return None
        rows = coder.transform.apply(self.raw[: 2 * d], dictionary.dtype).astype(np.float64)
        spread = Spread(None, np.ones(2, np.int64), np.stack([rows.T @ rows] * 2))
        return (
            least_seconds(lambda: dominant_directions(spread, dictionary[:2], coder.target.positive))
            / 2
            * (m / self.request.n_blocks)
        )


def _median(calls):
    return statistics.median(call.seconds for call in calls)


def _per_part(adds):
    return sum(call.seconds for call in adds) / sum(call.parts for call in adds)


def least_seconds(step, repeats=2):
    """Least seconds of a call; one more, first, compiles."""
    step()
    best = np.inf
    for _ in range(repeats):
        began = time.perf_counter()
        step()
        best = min(best, time.perf_counter() - began)
    return best


def driver_costs(settings, schedule, checks, measured):
    """Seconds that the driver takes after each round, and after all of a pass.

    Parameters
    ----------
    settings : Settings
    schedule : Schedule
    checks : int
        Looks for redundant atoms in a pass of waves.
    measured : Measured

    Returns
    -------
    dict of str to (float, float)
        By kind of round.
    """
    dictionary, positive = measured.coder.dictionary, measured.coder.target.positive
    found = {}
    if WAVE in measured.moments:
        moments = _all_used(measured.moments[WAVE], dictionary)
        state = State.start(dictionary, WAVE, moments.XX.ndim == 2)
        update = least_seconds(lambda: update_after_wave(state, moments, schedule.n_waves, False, positive))
        look = 0.0
        if settings.replace_atoms:
            power = power_of(moments.XX)
            look = least_seconds(lambda: find_redundant(dictionary, power, True, positive), 1)
        found[WAVE] = (update, look * min(checks, schedule.n_waves))
    if FULL in measured.moments:
        moments = _all_used(measured.moments[FULL], dictionary)
        totals = add_all([moments])
        add = least_seconds(lambda: add_all([totals, moments]), 1)
        end = least_seconds(lambda: sweep(dictionary, totals.XX, totals.XY, BATCH_SWEEPS), 1)
        found[FULL] = (add, end)
    if settings.update != "online" and settings.replace_atoms:
        kind = FULL if settings.update == "batch" else "block"
        look = least_seconds(lambda: find_redundant(dictionary, np.ones(len(dictionary)), False, positive), 1)
        each, end = found.get(kind, (0.0, 0.0))
        found[kind] = (each, end + look)
    return found


def _all_used(moments, dictionary):
    """Moments as after a whole wave, in which all atoms are used."""
    power = power_of(moments.XX)
    more = power.max() or 1.0
    XX = moments.XX + more * (np.eye(len(power)) if moments.XX.ndim == 2 else 1)
    XY = moments.XY + more * dictionary
    uses = np.maximum(moments.uses, 1)
    return moments._replace(XX=XX.astype(moments.XX.dtype), XY=XY.astype(moments.XY.dtype), uses=uses)
