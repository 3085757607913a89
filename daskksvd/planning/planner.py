"""`daskksvd.plan`: what a fit will take."""

from __future__ import annotations

import functools
import math
import numbers
from typing import TYPE_CHECKING

import dask.array as da
import numpy as np
from dask.utils import format_bytes

from ..arguments import flag, integer, number
from ..coding.how import find_device
from ..execution import make_executor
from ..execution.executor import TREE_FAN_IN
from ..execution.threads import usable_cores
from ..fitting.initial import sample_size
from ..fitting.needs import keeps, memory_needed
from ..fitting.schedule import FULL, KSVD, WAVE, plan_schedule, reading_jobs
from ..fitting.settings import check_settings, check_shape
from ..fitting.updates.ksvd import count_blocks
from ..machine.memory import PROCESS_BYTES
from ..rows import Job, Source, as_source, cut_pieces
from ..rows.graph import take_apart
from ..rows.source import MEMORY_CHUNK_BYTES
from .measure import READERS, measure_rounds
from .model import (
    Network,
    Round,
    Scaling,
    Traffic,
    add_seconds,
    predict,
    times,
    traffic,
    where_scaling_stops,
)  # fmt: skip
from .report import PassPlan, Plan

if TYPE_CHECKING:
    from distributed import Client

    from ..coding.target import Pursuit
    from ..fitting.settings import Precision, Update
    from ..fitting.stopping import Threshold
    from ..fitting.structure import Groups
    from ..rows.source import ArrayLike, MissingChunks

LATENCY = 0.03
"""Seconds of messages a round: two workers on one machine took 25 ms for a
round of one task that does nothing, 45 ms together with an update."""

BANDWIDTH = 400e6
"""Bytes a second into or out of a process, of arrays that Dask's workers pass
on, on one machine; a network of 10 Gbit/s is three times as fast at best."""

DISPATCH = 1.2e-3
"""Seconds for every task: client and scheduler in one process, and eight workers,
on two cores took 1.1 to 1.2 ms for each of 639 and of 1,279 tasks that get what
those of a fit get and do nothing. A slower machine of before took twice as long."""

MOST_CHUNKS = 2**17
"""Chunks that rows which are not there are taken to have, at most: a pass has no more tasks either."""


def plan(
    array: ArrayLike | tuple[int, int],
    *,
    n_components: int,
    n_nonzero_coefs: int | None = None,
    rtol: float | None = None,
    nonnegative: bool = False,
    threshold: float | Threshold | None = None,
    client: Client | None = None,
    n_workers: int | None = None,
    n_threads: int | None = None,
    pursuit: Pursuit = "omp",
    update: Update = "online",
    max_passes: int | None = None,
    center: bool = False,
    scale: bool = False,
    whiten: float | bool | None = None,
    holdout: float = 0.0,
    n_blocks: int | None = None,
    replace_atoms: bool = True,
    ramp: bool = False,
    groups: Groups | None = None,
    prefix_sums: float = 0.0,
    twins: float | None = None,
    growth: int | None = None,
    incoherence: float = 0.0,
    dtype: Precision = "float32",
    device: str | None = None,
    persist: bool | None = None,
    latency: float = LATENCY,
    bandwidth: float = BANDWIDTH,
    dispatch: float = DISPATCH,
    missing_chunks: MissingChunks = "error",
) -> Plan:
    """Predict what a `fit` takes: seconds, memory, bytes moved, and where scaling stops.

    A second or a few of measuring: rounds of the fit itself run on a few rows of
    the array, on as many threads side by side as there will be in one machine.
    What they cost goes through the schedule of the fit, which is the same
    wherever it runs.

    Parameters
    ----------
    array : as for `fit`, or tuple (n, d)
        Samples, of which one task's rows are read. With two whole numbers in
        their place nothing is read; rows are made up, of ``dtype``, in chunks
        of 16 MB, or larger ones where those would be more than 131,072.
    n_components, n_nonzero_coefs, rtol, nonnegative, threshold, pursuit, update, max_passes : optional
        As for `fit`.
    center, scale, whiten, holdout, n_blocks, replace_atoms, dtype, device, persist : optional
        As for `fit`.
    ramp, groups, prefix_sums, twins, growth, incoherence : optional
        As for `fit`. Waves are measured as they are half way through them, with all atoms.
    client : distributed.Client, optional
        Plan for its workers, and measure on one of them.
    n_workers : int, optional
        Plan for so many worker processes instead, as fast as this one.
    n_threads : int, optional
        Threads of this process, all cores by default; with ``n_workers`` of
        each worker, 1 by default.
    latency : float
        Seconds that messages take in every round of a cluster.
    bandwidth : float
        Bytes a second into or out of one worker.
    dispatch : float
        Seconds of client and scheduler for every task.
    missing_chunks : {"error", "fill"}
        As for `fit`.

    Returns
    -------
    Plan
        Numbers by name; printed, a table.

    Notes
    -----
    Not in it: compiling kernels, the first time on a machine; writing
    checkpoints; workers that wait for the same disk. With ``tol`` fits mostly
    end before the last pass.

    Examples
    --------
    >>> import daskksvd
    >>> plan = daskksvd.plan((1_000_000, 16), n_components=32, n_nonzero_coefs=3, n_workers=4)
    >>> plan.n_waves, plan.wave.tasks_per_round
    (32, 6)
    """
    beside = ("array", "client", "n_workers", "n_threads", "persist", "latency", "bandwidth", "dispatch")
    given = {name: value for name, value in locals().items() if name not in (*beside, "missing_chunks")}
    settings = check_settings(**given, init="rows", tol=0, max_time=None, random_state=0)
    if client is not None and (n_workers is not None or n_threads is not None):
        name = "n_workers" if n_workers is not None else "n_threads"
        raise ValueError(f"{name} was given with client, which has workers; leave one of the two out")
    for name, value in (("n_workers", n_workers), ("n_threads", n_threads)):
        if value is not None:
            integer(name, value, 1)
    if persist is not None:
        flag("persist", persist)
    latency = number("latency", latency, 0, math.inf, "seconds, 0 or more")
    bandwidth = number("bandwidth", bandwidth, 0, math.inf, "bytes a second, more than 0", open_ends=True)
    dispatch = number("dispatch", dispatch, 0, math.inf, "seconds, 0 or more")
    made_up = _rows_of_shape(array, settings.dtype)
    rows = made_up or as_source(array, missing_chunks=missing_chunks)
    check_shape(settings, rows.chunk_rows, rows.d)
    if made_up is not None and n_nonzero_coefs is None:
        raise ValueError(
            f"array is only a shape, and {'threshold' if rtol is None else 'rtol'} was given without "
            "n_nonzero_coefs; how many atoms it takes depends on the rows, so give those, or n_nonzero_coefs"
        )
    executor = make_executor(client, n_threads if n_workers is None else 1)
    job, inputs = None, []
    notes = [f"No rows were given: random {rows.dtype} rows were coded, and reading is not counted."]
    try:
        if client is not None:
            threads = [number for _, number, _ in executor.memory()]
            n_workers, n_threads = len(threads), -(-sum(threads) // len(threads))
        n_threads = n_threads or (usable_cores() if n_workers is None else 1)
        limits = executor.memory() if client is not None or n_workers is None else []
        schedule, said = _schedule_for(executor, rows, settings)
        if made_up is None:
            job, inputs, notes = _rows_to_read(executor, rows, n_threads)
        bare = schedule._replace(pieces=[], held=[], kept=[])
        task = executor.submit(measure_rounds, job, inputs, settings, bare, rows.d, n_workers or 1, n_threads)
        [(costs, side_by_side)] = executor.gather([task])
    finally:
        executor.close()
    kept = rows.in_memory or keeps(rows, client, persist)
    passes = _passes_of(rows, settings, schedule, costs, kept)
    memory = _memory_of(rows, settings, schedule, passes, n_workers, n_threads, kept)
    slots = n_threads * (n_workers or 1)
    notes += [
        *said,
        f"Costs were measured on {side_by_side} thread{'s' if side_by_side > 1 else ''} side by side"
        + ("." if side_by_side == slots else f"; {slots:,} are taken to be as fast each."),
        *_notes(settings, memory, limits),
    ]
    network = Network(latency, bandwidth, dispatch) if n_workers is not None else None
    width = settings.target(rows.d).n_nonzero_coefs
    facts = schedule.n_samples, rows.d, settings.n_components, width, n_workers, n_threads
    counts = {"survey": 1, **schedule.phases.kinds}
    return _plan(facts, counts, passes, network, rows, memory, notes)


def _rows_of_shape(array, dtype):
    """A `Source` of as many rows where ``array`` is two whole numbers, else None."""
    if not (isinstance(array, tuple) and len(array) == 2):
        return None
    if not all(isinstance(size, numbers.Integral) and not isinstance(size, bool) for size in array):
        return None
    if min(array) < 1:
        raise ValueError(f"array is the shape {array}; it must have at least one sample and one feature")
    n, d = map(int, array)
    rows = max(1, min(n, MEMORY_CHUNK_BYTES // (d * dtype.itemsize)), n // MOST_CHUNKS)
    return Source(da.empty((n, d), dtype=dtype, chunks=(rows, d)))


def _schedule_for(executor, rows, settings):
    """The schedule of the fit, and what there is to say of a device."""
    schedule = plan_schedule(settings, rows.chunk_rows, rows.d)
    if settings.device is None:
        return schedule, []
    found = {answer.device for answer in executor.everywhere(find_device, settings.device).values()}
    if len(found) > 1 or None in found:
        return schedule, [f"device={settings.device!r} is not everywhere: planned for processors."]
    return schedule.for_device(), [f"Rows are coded on {found.pop()}."]


def _rows_to_read(executor, rows, readers):
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


def _passes_of(rows, settings, schedule, costs, kept):
    """The survey and every kind of pass there is: a dict of tuples of `Round` with its `Cost`."""

    def steps(jobs, cost, reads=not kept):
        reads = sum(len({piece.index for piece in job}) for job in jobs) if reads else 0
        return Round(len(jobs), sum(piece.n_rows for job in jobs for piece in job), reads), cost

    found = {"survey": (steps(reading_jobs(rows.chunk_rows), costs["survey"], not rows.in_memory),)}
    for kind in schedule.phases.kinds:
        rounds = schedule.rounds(0, kind, 0)
        passes = [steps(jobs, costs[kind]) for jobs in rounds]
        if kind == KSVD:
            passes += [steps(rounds[0], costs["block"])] * count_blocks(settings, rows.d)
        if schedule.held:  # rows held out take what others do, but for what is learned from them
            bare = costs[kind]._replace(add=0.0, driver=0.0, end=0.0, part=0, result=0)
            passes.append(steps(schedule.held_jobs(), bare))
        found[kind] = tuple(passes)
    return found


def _memory_of(rows, settings, schedule, passes, n_workers, n_threads, kept):
    """Peak bytes of a worker, and of the driver; the same where they are one process.

    Beside what `fit` checks before it starts: results that wait to be added,
    rows kept in memory, codes that K-SVD keeps, and the statistics of the driver.
    """
    per_task, per_process = memory_needed(rows, settings)
    steps = [step for steps in passes.values() for step in steps]
    # a group to be added, and a sum at every level of the tree above
    waiting = max(
        (min(tasks, TREE_FAN_IN) + math.ceil(math.log2(max(1, tasks / TREE_FAN_IN)))) * cost.part
        for (tasks, _, _), cost in steps
    )
    # faded and new in double precision, of this pass and of the round
    state = (16 // settings.dtype.itemsize + 2) * max(cost.result for _, cost in steps)
    stays = rows.array.nbytes if kept else 0
    if settings.update == "ksvd":
        width = settings.target(rows.d).n_nonzero_coefs
        stays += schedule.n_samples * width * (4 + settings.dtype.itemsize) // (n_workers or 1)
    worker = PROCESS_BYTES + per_process + n_threads * per_task + waiting + stays
    driver = state + 3 * 8 * sample_size(settings, schedule.n_samples) * rows.d
    if n_workers is None:
        return worker + driver, worker + driver
    return worker, PROCESS_BYTES + driver + (rows.array.nbytes if rows.in_memory else 0)


def _notes(settings, memory, limits):
    if isinstance(settings.threshold, str):
        yield (
            f"Not counted: threshold={settings.threshold!r} is found afterwards, from some thousand rows"
            + (" coded several times." if settings.threshold == "noise" else ".")
        )
    if settings.n_nonzero_coefs is None and settings.rtol is not None:
        yield (
            "With rtol alone the time depends on how well the dictionary fits; measured on rows as the "
            "first dictionary and the rtol of the first pass."
        )
    for name, _, limit in limits:
        if limit and memory[0] > limit:
            yield f"{name} has {format_bytes(limit)}, less than it needs."


def _plan(facts, counts, passes, network, rows, memory, notes):
    """Put facts and costs together."""
    *_, n_workers, n_threads = facts

    def scaling_of(seconds):
        """Of ``seconds(workers, threads)``, of which more are tried."""
        if network is None:
            units, gain, part = where_scaling_stops(lambda units: seconds(1, units))
            return Scaling(None, units, gain, part)
        units, gain, part = where_scaling_stops(lambda units: seconds(units, n_threads))
        return Scaling(units, n_threads, gain, part)

    def pass_of(kind, steps):
        predicted = functools.partial(predict, steps, network)
        seconds = predicted(n_workers or 1, n_threads)
        learning = [step for step in steps if step[1].result]
        largest, cost = max(learning[-1:] if kind == KSVD else learning, key=lambda step: step[0].tasks)
        return PassPlan(
            kind,
            counts[kind],
            tuple(round_ for round_, _ in learning),
            int(sum(round_.reads for round_, _ in steps) * rows.array.nbytes / len(rows.chunk_rows)),
            seconds.total,
            seconds,
            traffic(largest, cost, n_workers) if network else Traffic(0, 0, 0),
            scaling_of(predicted),
        )

    def whole(*where):
        return add_seconds(times(counts[kind], predict(passes[kind], network, *where)) for kind in passes)

    parts = {kind: pass_of(kind, steps) for kind, steps in passes.items()}
    return Plan(
        *facts,
        *(parts.get(kind) for kind in ("survey", WAVE, FULL, KSVD)),
        whole(n_workers or 1, n_threads).total,
        *memory,
        scaling_of(whole),
        tuple(notes),
    )
