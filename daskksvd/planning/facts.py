"""What a fit will do, without doing it: where it runs, its rounds, the bytes of each step, its memory."""

import math
import numbers
from typing import NamedTuple

import numpy as np

from ..execution.executor import TREE_FAN_IN
from ..execution.threads import usable_cores
from ..fitting.initial import sample_size
from ..fitting.needs import memory_needed
from ..fitting.replacement import WORST_ROWS, most_replaced
from ..fitting.schedule import KSVD, WAVE, reading_jobs, rows_per_task, statistics
from ..fitting.statistics import Wanted
from ..fitting.updates.ksvd import count_blocks
from ..fitting.updates.online import RTOL_PASSES
from ..machine.memory import PROCESS_BYTES
from ..rows import Job, Source, cut_pieces
from ..rows.graph import take_apart
from ..rows.source import MEMORY_CHUNK_BYTES
from .measure import READERS, Request, size_of
from .model import Round, Work


class Shape(NamedTuple):
    """Stands in for `rows.Source` where there are none yet."""

    n: int
    d: int
    dtype: np.dtype
    chunk_rows: tuple


class Places(NamedTuple):
    """Where a fit is to run.

    Attributes
    ----------
    n_workers : int or None
        Processes, None for threads of this one.
    n_threads : int
        Threads of each, on average.
    most_threads : int
        Threads of the one that has most.
    """

    n_workers: int | None
    n_threads: int
    most_threads: int


def shape_of(array, dtype):
    """A `Shape` where ``array`` is two whole numbers, else None."""
    if not (isinstance(array, tuple) and len(array) == 2):
        return None
    if not all(isinstance(size, numbers.Integral) and not isinstance(size, bool) for size in array):
        return None
    if min(array) < 1:
        raise ValueError(f"array is the shape {array}; it must have at least one sample and one feature")
    n, d = map(int, array)
    rows = max(1, min(n, MEMORY_CHUNK_BYTES // (d * dtype.itemsize)))
    return Shape(n, d, dtype, (rows,) * (n // rows) + ((n % rows,) if n % rows else ()))


def bytes_of(rows):
    """Bytes of all rows, as they are once read."""
    return rows.n * rows.d * rows.dtype.itemsize


def places_of(executor, client, n_workers, n_threads):
    """`Places` asked for: the client's workers, workers to come, or threads of this process."""
    if client is not None:
        threads = [number_ for _, number_, _ in executor.memory()]
        return Places(len(threads), max(1, sum(threads) // len(threads)), max(threads))
    n_threads = n_threads or (usable_cores() if n_workers is None else 1)
    return Places(n_workers, n_threads, n_threads)


def request_for(rows, settings, schedule, places):
    """What is to be measured."""
    m = settings.n_components
    target = settings.target(rows.d)
    first = schedule.phases.first
    if (
        settings.n_nonzero_coefs is None and settings.rtol is not None and first == WAVE
    ):  # as the first pass of a fit
        target = target._replace(rtol=target.rtol ** (1 / min(RTOL_PASSES, schedule.phases.first_limit)))
    n_worst = max(WORST_ROWS, most_replaced(m))
    # a large task and one of a quarter of its rows: of a half, noise of 5 % was 20 % between them
    n_rows = max(2 * rows_per_task(m, rows.d, target.n_nonzero_coefs), schedule.wave_task_rows)
    n_rows = min(schedule.task_rows, n_rows)
    kinds = [kind for kind in kinds_of(schedule) if kind != KSVD]
    # worst rows come back where atoms may be replaced: in few waves, which is not counted, and half of
    # the full passes with update="batch"
    gathered = n_worst if settings.update == "batch" and settings.replace_atoms else 0
    wanted = {kind: Wanted(statistics(kind, m, schedule.n_samples), gathered) for kind in kinds}
    if schedule.held:
        wanted["held"] = Wanted(None, 0)
    return Request(
        settings,
        target,
        wanted,
        rows.d,
        min(schedule.wave_job_rows, max(1, n_rows // 4)),
        n_rows,
        schedule.task_rows,
        sample_size(settings, schedule.n_samples),
        schedule.n_samples,
        n_worst,
        count_blocks(settings, rows.d),
        places.n_threads * (places.n_workers or 1),
        places.n_threads,
    )


def kinds_of(schedule):
    """Kinds of passes, and most passes of each."""
    phases = schedule.phases
    kinds = {phases.first: phases.first_limit}
    if phases.limit > phases.first_limit:
        kinds[phases.then] = phases.limit - phases.first_limit
    return kinds


def rows_to_read(executor, rows, readers):
    """What to read to measure by.

    Returns
    -------
    job : rows.Job or None
        A few chunks from the middle; None where none can be read, or at a price.
    inputs : list
        Handles of what they need.
    notes : list of str
    """
    if isinstance(rows, Shape):
        note = f"No rows were given: random {rows.dtype} rows were coded, and reading is not counted."
        return None, [], [note]
    if rows.local_path is not None:
        executor.check_path(rows.local_path, "array")
    layout = take_apart(rows.array, move_arrays=executor.moves_arrays)
    if layout.common_keys:
        note = (
            "All chunks need the result of a computation on the whole array, which was not made: random "
            "rows were coded, and neither it nor reading is counted."
        )
        return None, [], [note]
    count = len(layout.chunks)
    most = 1 + min(readers, READERS)
    first = max(0, (count - most) // 2)
    pieces = cut_pieces(rows.chunk_rows, max(rows.chunk_rows))
    pieces = [piece for piece in pieces if first <= piece.index < first + most]
    chunks = tuple(layout.chunks[piece.index] for piece in pieces)
    needs = tuple(sorted({key for chunk in chunks for key in chunk.needs}, key=str))
    arrays = [key for key in needs if isinstance(layout.placed[key], np.ndarray)]
    placed = dict(zip(arrays, executor.place([layout.placed[key] for key in arrays]), strict=True))
    inputs = [placed[key] if key in placed else executor.check_future(layout.placed[key]) for key in needs]
    return Job(tuple(pieces), chunks, needs), inputs, []


def work_of(rows, settings, schedule, request, measured, keeps):
    """The `Work` of every kind of round that there is."""
    rounds = {"survey": [reading_jobs(rows.chunk_rows)]}
    for kind in kinds_of(schedule):
        found = schedule.rounds(0, kind, 0)
        rounds |= {"code": found, "block": found * request.n_blocks} if kind == KSVD else {kind: found}
    if schedule.held:
        rounds["held"] = [schedule.held_jobs()]
    sent = measured.coder.dictionary.nbytes + size_of(measured.coder.transform)
    out = dict.fromkeys(rounds, sent) | {"survey": 0}
    # the dictionary before and after the last change, and that change
    out["block"] = 2 * measured.coder.dictionary.nbytes + measured.sizes.get("block", (0,))[-1]
    in_memory = isinstance(rows, Source) and rows.in_memory
    return {
        kind: Work(
            tuple(_round(jobs, in_memory or (keeps and kind != "survey")) for jobs in found),
            out[kind],
            *measured.sizes[kind],
        )
        for kind, found in rounds.items()
    }


def _round(jobs, in_memory):
    reads = 0 if in_memory else sum(len({piece.index for piece in job}) for job in jobs)
    return Round(len(jobs), sum(piece.n_rows for job in jobs for piece in job), reads)


def memory_of(rows, settings, request, work, places, keeps):
    """Peak bytes of a worker, and of the driver; the same where they are one process.

    Beside what `fit` checks before it starts: results that wait to be added,
    rows kept in memory, codes that K-SVD keeps, and the statistics of the driver.
    """
    per_task, per_process = memory_needed(rows, settings)
    waiting = state = 0
    for kind, part in work.items():
        tasks = max(round_.tasks for round_ in part.rounds)
        # a group to be added, and a sum at every level of the tree above
        levels = math.ceil(math.log2(max(1, tasks / TREE_FAN_IN)))
        waiting = max(waiting, min(tasks, TREE_FAN_IN) * part.partial + levels * part.total)
        if kind != "block":
            # faded and new in double precision, of this pass and of the round
            state = max(state, (16 // settings.dtype.itemsize + 2) * part.total)
    kept = bytes_of(rows) if keeps else 0
    if settings.update == "ksvd":
        codes = request.n_samples * request.target.n_nonzero_coefs * (4 + settings.dtype.itemsize)
        kept += codes // (places.n_workers or 1)
    worker = PROCESS_BYTES + per_process + places.most_threads * per_task + waiting + kept
    driver = state + 3 * 8 * request.sample_size * rows.d
    if places.n_workers is None:
        return worker + driver, worker + driver
    if isinstance(rows, Source) and rows.in_memory:
        driver += bytes_of(rows)
    return worker, PROCESS_BYTES + driver
