"""Plan fits, run them, and compare: seconds, memory, bytes moved.

Makes a store of planted rows, asks `daskksvd.plan` what one pass in waves and
one full pass will take on threads and on worker processes, and then fits.

    python benchmarks/planning.py --samples 800000 --threads 1 2 --workers 1 2 --out benchmarks/results

leaves ``planning.json`` and ``planning.md``. BLAS has one thread. Every fit has
new processes, which fit a few rows first, so that kernels are loaded.

    python benchmarks/planning.py --here --sizes 20000,64,128,5 60000,384,512,10 --kinds wave full ksvd

compares fits of several sizes in this process; those on one thread are timed in processor
seconds, which other work on the machine hardly changes.
"""

import argparse
import contextlib
import os
import pathlib
import tempfile
import time

import common
import numpy as np
from distributed import Client, LocalCluster

import daskksvd
from daskksvd.tracking import PassFinished

KINDS = {"wave": "online", "full": "batch", "ksvd": "ksvd"}
"""The update whose first pass is of each kind."""

TABLE = common.Table(
    ("size", "n,d,m,k", "<18", ""),
    ("where", "where", "<12", ""),
    ("kind", "pass", "<6", ""),
    ("predicted_seconds", "predicted s", ">8", ".2f"),
    ("measured_seconds", "measured s", ">8", ".2f"),
    ("ratio", "ratio", ">6", ".2f"),
    ("predicted_survey", "survey predicted s", ">8", ".2f"),
    ("measured_survey", "measured s", ">8", ".2f"),
    ("predicted_mb", "predicted MB", ">8", ".0f"),
    ("measured_mb", "measured MB", ">8", ".0f"),
    ("predicted_moved_mb", "moved predicted MB", ">8", ".0f"),
    ("measured_moved_mb", "measured MB", ">8", ".0f"),
    ("planning_seconds", "to plan s", ">8", ".1f"),
)

NOTES = """n x d rows in float16, not compressed, chunks of {chunk:,} rows; m atoms, k nonzeros.{clock}
ratio: measured over predicted seconds of the pass. survey: everything before the first pass. MB: peak
memory of this process, or of the worker with most. moved: between workers, dictionary and partial
results, in survey and pass together. to plan: seconds that the prediction took."""


def settings(size, kind):
    """Arguments that `plan` and `fit` share."""
    _, _, m, k = size
    return {
        "n_components": m, "n_nonzero_coefs": k, "max_passes": 1, "update": KINDS[kind], "persist": False,
    }  # fmt: skip


@contextlib.contextmanager
def processor_clock(on=True):
    """What asks for seconds gets those that this process has computed, one thread at a time."""
    clock = time.perf_counter
    if on:
        time.perf_counter = time.process_time
    try:
        yield
    finally:
        time.perf_counter = clock


def timed_fit(path, size, kind, pids, **where):
    """Seconds before and in the one pass of a fit, and its peak memory (bytes) in any process."""
    passes = []

    def note(event):
        if isinstance(event, PassFinished):
            passes.append(event.seconds)

    began = time.perf_counter()
    with common.MemoryTrace(pids) as trace:
        daskksvd.fit(path, callbacks=[note], random_state=0, **settings(size, kind), **where)
    seconds = time.perf_counter() - began
    return seconds - passes[0], passes[0], int(np.max(trace.samples))


def warm_up(path, size, kind, **where):
    """Load kernels and libraries where the fit will run."""
    daskksvd.fit(path.with_name(f"few-{path.name}"), random_state=0, **settings(size, kind), **where)


def on_threads(path, size, kind, n_threads, here=False):
    """Plan and fit on threads of this process."""
    warm_up(path, size, kind, n_threads=n_threads)
    with processor_clock(here and n_threads == 1):
        began = time.perf_counter()
        plan = daskksvd.plan(path, n_threads=n_threads, **settings(size, kind))
        planning = time.perf_counter() - began
        found = timed_fit(path, size, kind, [os.getpid()], n_threads=n_threads)
    return record(size, f"{n_threads} threads", kind, plan, planning, *found)


def on_workers(path, size, kind, n_workers, here=False):
    """Plan and fit on worker processes of one thread each."""
    with (
        LocalCluster(
            n_workers=n_workers, threads_per_worker=1, memory_limit=0, dashboard_address=":0"
        ) as cluster,
        Client(cluster) as client,
    ):
        warm_up(path, size, kind, client=client)
        began = time.perf_counter()
        plan = daskksvd.plan(path, client=client, **settings(size, kind))
        planning = time.perf_counter() - began
        before = sum(client.run(sent_bytes).values())
        pids = list(client.run(common.worker_pid).values())
        found = timed_fit(path, size, kind, pids, client=client)
        # what the driver fetches is sent by a worker too
        moved = sum(client.run(sent_bytes).values()) - before
    return record(size, f"{n_workers} workers", kind, plan, planning, *found, moved)


def sent_bytes(dask_worker):
    """Bytes of results that this worker has sent to others and to the driver."""
    return dask_worker.transfer_outgoing_bytes_total


def record(size, where, kind, plan, planning, survey, seconds, peak, moved=None):
    """A row of the table."""
    part = getattr(plan, kind)
    row = {
        "size": ",".join(map(str, size)),
        "where": where,
        "kind": kind,
        "predicted_seconds": part.seconds,
        "measured_seconds": seconds,
        "ratio": seconds / part.seconds,
        "predicted_survey": plan.survey.seconds,
        "measured_survey": survey,
        "predicted_mb": plan.worker_bytes / 1e6,
        "measured_mb": peak / 1e6,
        "planning_seconds": planning,
        "plan": plan.to_dict(),
    }
    if moved is not None:
        # a dictionary reaches its first worker with the call, the others from there
        copies = plan.n_workers - 1
        each = [(part, part.n_rounds), (plan.survey, 1)]
        expected = sum(
            count * (one.traffic.out * copies // plan.n_workers + one.traffic.tree + one.traffic.back)
            for one, count in each
        )
        row |= {"predicted_moved_mb": expected / 1e6, "measured_moved_mb": moved / 1e6}
    return row


def make_stores(folder, size, chunk_rows):
    """Stores of rows to fit, and of a few rows to warm up with; returns the path of the first."""
    n, d, m, k = size
    path = pathlib.Path(folder) / f"{n}-{d}-{m}-{k}.zarr"
    few = max(2 * m, 4096)
    for name, rows, chunk in ((path.name, n, chunk_rows), (f"few-{path.name}", few, few // 8)):
        common.make_store(path.with_name(name), rows, d, m, k, chunk, dtype="float16", compressors=None)
    return path


def parsed(text):
    """``"n,d,m,k"`` as four numbers."""
    return tuple(int(part) for part in text.split(","))


def main(arguments=None):
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    common.add_sizes(parser, samples=800_000, chunk_rows=10_000)
    parser.add_argument("--sizes", nargs="+", type=parsed, help="n,d,m,k of several fits, in place of those")
    parser.add_argument("--threads", nargs="*", type=int, default=[1, 2])
    parser.add_argument("--workers", nargs="*", type=int, default=[1, 2])
    parser.add_argument("--kinds", nargs="+", choices=list(KINDS), default=["wave", "full"])
    parser.add_argument("--here", action="store_true", help="all in this process; MB then mean little")
    parser.add_argument("--folder", help="where to make the store; a temporary folder by default")
    parser.add_argument("--out", type=pathlib.Path, default=pathlib.Path("benchmarks/results"))
    options = parser.parse_args(arguments)
    if arguments is None:
        common.restart_pinned(1)
    facts = common.machine_facts()
    clock = " One thread: processor seconds." if options.here else ""
    notes = NOTES.format(chunk=options.chunk_rows, clock=clock)
    print("\n".join([*common.describe(facts), "", notes, "", TABLE.header()]), flush=True)
    rows = []
    with tempfile.TemporaryDirectory(dir=options.folder, prefix="planning-") as folder:
        for size in options.sizes or [(options.samples, options.features, options.atoms, options.nonzeros)]:
            path = make_stores(folder, size, options.chunk_rows)
            runs = [(on_threads, count) for count in options.threads]
            runs += [(on_workers, count) for count in options.workers]
            for run, count in runs:
                for kind in options.kinds:
                    case = path, size, kind, count, options.here
                    rows.append(run(*case) if options.here else common.alone(run, *case))
                    print(TABLE.line(rows[-1]), flush=True)
    parts = ["# Predicted and measured", "\n".join(f"- {line}" for line in common.describe(facts))]
    parts += [notes, TABLE.markdown(rows)]
    common.save(options.out, "planning", {"machine": facts, "records": rows}, "\n\n".join(parts))
    print(f"tables: {options.out / 'planning'}.md, {options.out / 'planning'}.json")


if __name__ == "__main__":
    main()
