"""What a fit will do, without doing it: where it runs, what it reads, its rounds, its memory."""

import math
import numbers

import dask.array as da
import numpy as np

from ..coding.how import find_device
from ..execution.executor import TREE_FAN_IN
from ..execution.threads import usable_cores
from ..fitting.initial import sample_size
from ..fitting.needs import memory_needed
from ..fitting.schedule import KSVD, plan_schedule, reading_jobs
from ..machine.memory import PROCESS_BYTES
from ..rows import Job, Source, cut_pieces
from ..rows.graph import take_apart
from ..rows.source import MEMORY_CHUNK_BYTES
from .measure import READERS
from .model import Round


def rows_of_shape(array, dtype):
    """A `Source` of as many rows where ``array`` is two whole numbers, else None."""
    if not (isinstance(array, tuple) and len(array) == 2):
        return None
    if not all(isinstance(size, numbers.Integral) and not isinstance(size, bool) for size in array):
        return None
    if min(array) < 1:
        raise ValueError(f"array is the shape {array}; it must have at least one sample and one feature")
    n, d = map(int, array)
    rows = max(1, min(n, MEMORY_CHUNK_BYTES // (d * dtype.itemsize)))
    return Source(da.empty((n, d), dtype=dtype, chunks=(rows, d)))


def bytes_of(rows):
    """Bytes of all rows, as they are once read."""
    return rows.n * rows.d * rows.dtype.itemsize


def places_of(executor, client, n_workers, n_threads):
    """Processes, None for threads of this one, and threads of each: the client's, or those to come."""
    if client is not None:
        threads = [number for _, number, _ in executor.memory()]
        return len(threads), -(-sum(threads) // len(threads))
    return n_workers, n_threads or (usable_cores() if n_workers is None else 1)


def schedule_for(executor, rows, settings):
    """The schedule of the fit, on devices where there are any."""
    schedule = plan_schedule(settings, rows.chunk_rows, rows.d)
    if settings.device is None:
        return schedule
    found = {answer.device for answer in executor.everywhere(find_device, settings.device).values()}
    return schedule.for_device() if len(found) == 1 and found != {None} else schedule


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
    if rows.local_path is not None:
        executor.check_path(rows.local_path, "array")
    layout = take_apart(rows.array, move_arrays=executor.moves_arrays)
    if layout.common_keys:
        note = (
            "All chunks need the result of a computation on the whole array, which was not made: random "
            "rows were coded, and neither it nor reading is counted."
        )
        return None, [], [note]
    most = 1 + min(readers, READERS)
    first = max(0, (len(layout.chunks) - most) // 2)
    pieces = cut_pieces(rows.chunk_rows, max(rows.chunk_rows))
    pieces = [piece for piece in pieces if first <= piece.index < first + most]
    chunks = tuple(layout.chunks[piece.index] for piece in pieces)
    needs = tuple(sorted({key for chunk in chunks for key in chunk.needs}, key=str))
    arrays = [key for key in needs if isinstance(layout.placed[key], np.ndarray)]
    placed = dict(zip(arrays, executor.place([layout.placed[key] for key in arrays]), strict=True))
    inputs = [placed[key] if key in placed else executor.check_future(layout.placed[key]) for key in needs]
    return Job(tuple(pieces), chunks, needs), inputs, []


def rounds_of(rows, schedule, n_blocks, keeps):
    """The rounds of every kind that there is: a dict of tuples of `Round`."""
    found = {"survey": [reading_jobs(rows.chunk_rows)]}
    for kind in schedule.phases.kinds:
        rounds = schedule.rounds(0, kind, 0)
        found |= {"code": rounds, "block": rounds * n_blocks} if kind == KSVD else {kind: rounds}
    if schedule.held:
        found["held"] = [schedule.held_jobs()]

    def round_(jobs, reads):
        reads = sum(len({piece.index for piece in job}) for job in jobs) if reads else 0
        return Round(len(jobs), sum(piece.n_rows for job in jobs for piece in job), reads)

    reads = dict.fromkeys(found, not keeps) | {"survey": not rows.in_memory}
    return {kind: tuple(round_(jobs, reads[kind]) for jobs in rounds) for kind, rounds in found.items()}


def memory_of(rows, settings, schedule, rounds, costs, n_workers, n_threads, keeps):
    """Peak bytes of a worker, and of the driver; the same where they are one process.

    Beside what `fit` checks before it starts: results that wait to be added,
    rows kept in memory, codes that K-SVD keeps, and the statistics of the driver.
    """
    per_task, per_process = memory_needed(rows, settings)
    waiting = state = 0
    for kind, cost in costs.items():
        tasks = max(round_.tasks for round_ in rounds[kind])
        # a group to be added, and a sum at every level of the tree above
        levels = math.ceil(math.log2(max(1, tasks / TREE_FAN_IN)))
        waiting = max(waiting, (min(tasks, TREE_FAN_IN) + levels) * cost.part)
        if kind != "block":
            # faded and new in double precision, of this pass and of the round
            state = max(state, (16 // settings.dtype.itemsize + 2) * cost.part)
    kept = bytes_of(rows) if keeps else 0
    if settings.update == "ksvd":
        width = settings.target(rows.d).n_nonzero_coefs
        kept += schedule.n_samples * width * (4 + settings.dtype.itemsize) // (n_workers or 1)
    worker = PROCESS_BYTES + per_process + n_threads * per_task + waiting + kept
    driver = state + 3 * 8 * sample_size(settings, schedule.n_samples) * rows.d
    if n_workers is None:
        return worker + driver, worker + driver
    return worker, PROCESS_BYTES + driver + (bytes_of(rows) if rows.in_memory else 0)
