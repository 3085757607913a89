"""`daskksvd.plan`: what a fit will take."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from dask.utils import format_bytes

from ..arguments import flag, integer, number
from ..execution import make_executor
from ..fitting.needs import IN_MEMORY_BYTES
from ..fitting.replacement import checks_per_pass
from ..fitting.schedule import FULL, KSVD, WAVE, plan_schedule
from ..fitting.settings import check_settings, check_shape
from ..rows import Source, as_source
from .facts import (
    Shape,
    bytes_of,
    kinds_of,
    memory_of,
    places_of,
    request_for,
    rows_to_read,
    shape_of,
    work_of,
)
from .measure import driver_costs, measure_tasks
from .model import Network, Scaling, Seconds, Traffic, add_seconds, predict, traffic, where_scaling_stops
from .report import PassPlan, Plan

if TYPE_CHECKING:
    from distributed import Client

    from ..coding.target import Pursuit
    from ..fitting.settings import Precision, Update
    from ..fitting.stopping import Threshold
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

_STAGES = {"survey": ("survey",), WAVE: (WAVE, "held"), FULL: (FULL, "held"), KSVD: ("code", "block", "held")}
"""Kinds of rounds that a pass is made of."""


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
    dtype: Precision = "float32",
    persist: bool | None = None,
    latency: float = LATENCY,
    bandwidth: float = BANDWIDTH,
    dispatch: float = DISPATCH,
    missing_chunks: MissingChunks = "error",
) -> Plan:
    """Predict what a `fit` takes: seconds, memory, bytes moved, and where scaling stops.

    A second or a few of measuring: the code of a fit runs on a few rows of the
    array, on as many threads side by side as there will be in one machine.
    What it costs goes through the schedule of the fit, which is the same
    wherever it runs.

    Parameters
    ----------
    array : as for `fit`, or tuple (n, d)
        Samples, of which one task's rows are read. With two whole numbers in
        their place nothing is read; rows are made up, of ``dtype``, in chunks
        of 16 MB.
    n_components, n_nonzero_coefs, rtol, nonnegative, threshold, pursuit, update, max_passes : optional
        As for `fit`.
    center, scale, whiten, holdout, n_blocks, replace_atoms, dtype, persist : optional
        As for `fit`.
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
    settings = check_settings(
        n_components,
        n_nonzero_coefs=n_nonzero_coefs,
        rtol=rtol,
        nonnegative=nonnegative,
        threshold=threshold,
        pursuit=pursuit,
        update=update,
        init="rows",
        max_passes=max_passes,
        tol=0,
        max_time=None,
        random_state=0,
        center=center,
        scale=scale,
        whiten=whiten,
        holdout=holdout,
        n_blocks=n_blocks,
        replace_atoms=replace_atoms,
        dtype=dtype,
    )
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
    rows = shape_of(array, settings.dtype) or as_source(array, missing_chunks=missing_chunks)
    check_shape(settings, rows.chunk_rows, rows.d)
    if isinstance(rows, Shape) and n_nonzero_coefs is None:
        raise ValueError(
            f"array is only a shape, and {'threshold' if rtol is None else 'rtol'} was given without "
            "n_nonzero_coefs; how many atoms it takes depends on the rows, so give those, or n_nonzero_coefs"
        )
    schedule = plan_schedule(settings, rows.chunk_rows, rows.d)
    executor = make_executor(client, n_threads if n_workers is None else 1)
    try:
        places = places_of(executor, client, n_workers, n_threads)
        request = request_for(rows, settings, schedule, places)
        job, inputs, notes = rows_to_read(executor, rows, request.readers)
        [measured] = executor.gather([executor.submit(measure_tasks, job, inputs, request)])
        limits = [] if n_workers is not None else executor.memory()
    finally:
        executor.close()
    persist = bytes_of(rows) <= IN_MEMORY_BYTES if persist is None else persist
    keeps = persist or (isinstance(rows, Source) and rows.in_memory)
    network = Network(latency, bandwidth, dispatch) if places.n_workers is not None else None
    work = work_of(rows, settings, schedule, request, measured, keeps)
    costs = measured.costs
    for kind, (each, end) in driver_costs(
        settings, schedule, checks_per_pass(settings.n_components), measured
    ).items():
        costs[kind] = costs[kind]._replace(driver=each, end=end)
    memory = memory_of(rows, settings, request, work, places, keeps)
    notes = [*notes, *_notes(settings, request, measured, places, memory, limits)]
    return make_plan(rows, settings, schedule, request, work, costs, network, places, memory, notes)


def _notes(settings, request, measured, places, memory, limits):
    slots = places.n_threads * (places.n_workers or 1)
    side_by_side = measured.n_side_by_side
    yield f"Costs were measured on {side_by_side} thread{'s' if side_by_side > 1 else ''} side by side" + (
        "." if side_by_side == slots else f"; {slots:,} are taken to be as fast each."
    )
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


def make_plan(rows, settings, schedule, request, work, costs, network, places, memory, notes):
    """Put facts and costs together; see `plan` and `model.predict` for what they are.

    Parameters
    ----------
    rows : Source or Shape
    settings : Settings
    schedule : Schedule
    request : Request
    work : dict of str to Work
    costs : dict of str to Cost
        Both by kind of round.
    network : Network or None
    places : Places
    memory : tuple of int
        Bytes of a worker and of the driver.
    notes : sequence of str

    Returns
    -------
    Plan
    """
    kinds = {"survey": 1, **kinds_of(schedule)}

    def seconds_of(kind, units=None):
        n_workers, n_threads = places.n_workers or 1, places.n_threads
        if units is not None:
            n_workers, n_threads = (1, units) if network is None else (units, n_threads)
        return add_seconds(
            predict(work[stage], costs[stage], network, n_workers, n_threads)
            for stage in _STAGES[kind]
            if stage in work
        )

    def scaling_of(seconds):
        units, gain, part = where_scaling_stops(seconds)
        here = (None, units) if network is None else (units, places.n_threads)
        return Scaling(*here, gain, part)

    def whole(units=None):
        return add_seconds(
            Seconds(*(count * part for part in seconds_of(kind, units))) for kind, count in kinds.items()
        )

    parts = {}
    chunk_bytes = rows.n * rows.d * rows.dtype.itemsize / len(rows.chunk_rows)
    for kind, count in kinds.items():
        stages = [work[stage] for stage in _STAGES[kind] if stage in work]
        rounds = [round_ for stage in stages if stage is not work.get("held") for round_ in stage.rounds]
        reads = sum(round_.reads for stage in stages for round_ in stage.rounds)
        largest = max(stages[-1 if kind == KSVD else 0].rounds, key=lambda round_: round_.tasks)
        seconds = seconds_of(kind)
        parts[kind] = PassPlan(
            kind,
            count,
            tuple(rounds),
            int(reads * chunk_bytes),
            seconds.total,
            seconds,
            traffic(largest, stages[0], places.n_workers) if network is not None else Traffic(0, 0, 0),
            scaling_of(lambda units, kind=kind: seconds_of(kind, units)),
        )
    return Plan(
        schedule.n_samples,
        rows.d,
        settings.n_components,
        request.target.n_nonzero_coefs,
        places.n_workers,
        places.n_threads,
        parts["survey"],
        parts.get(WAVE),
        parts.get(FULL),
        parts.get(KSVD),
        whole().total,
        *memory,
        scaling_of(whole),
        tuple(notes),
    )
