"""Plan fits, run them, and compare: seconds, memory, bytes moved.

Makes a store of planted rows, asks `daskksvd.plan` what one pass in waves and
one full pass will take on threads and on worker processes, and then fits.

    python benchmarks/planning.py --samples 800000 --threads 1 2 --workers 1 2 --out benchmarks/results

leaves ``planning.json`` and ``planning.md``. BLAS has one thread. Every fit has
new processes, which fit a few rows first, so that kernels are loaded.
"""

import argparse
import os
import pathlib
import tempfile
import time

import common
import numpy as np
from distributed import Client, LocalCluster

import daskksvd
from daskksvd.tracking import PassFinished

KINDS = {"wave": "online", "full": "batch"}
"""The update whose first pass is of each kind."""

TABLE = common.Table(
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

NOTES = """{n:,} x {d} rows in float16, not compressed, chunks of {chunk:,} rows; {m:,} atoms, {k} nonzeros.
ratio: measured over predicted seconds of the pass. survey: everything before the first pass. MB: peak
memory of this process, or of the worker with most. moved: between workers, dictionary and partial
results, in survey and pass together. to plan: seconds that the prediction took."""


def settings(options, kind):
    """Arguments that `plan` and `fit` share."""
    return {
        "n_components": options.atoms, "n_nonzero_coefs": options.nonzeros, "max_passes": 1,
        "update": KINDS[kind], "persist": False,
    }  # fmt: skip


def timed_fit(path, options, kind, pids, **where):
    """Seconds before and in the one pass of a fit, and its peak memory (bytes) in any process."""
    passes = []

    def note(event):
        if isinstance(event, PassFinished):
            passes.append(event.seconds)

    began = time.perf_counter()
    with common.MemoryTrace(pids) as trace:
        daskksvd.fit(path, callbacks=[note], random_state=0, **settings(options, kind), **where)
    seconds = time.perf_counter() - began
    return seconds - passes[0], passes[0], int(np.max(trace.samples))


def warm_up(path, options, kind, **where):
    """Load kernels and libraries where the fit will run."""
    daskksvd.fit(path.with_name("few.zarr"), random_state=0, **settings(options, kind), **where)


def on_threads(path, options, kind, n_threads):
    """Plan and fit on threads of this process."""
    warm_up(path, options, kind, n_threads=n_threads)
    began = time.perf_counter()
    plan = daskksvd.plan(path, n_threads=n_threads, **settings(options, kind))
    planning = time.perf_counter() - began
    found = timed_fit(path, options, kind, [os.getpid()], n_threads=n_threads)
    return record(f"{n_threads} threads", kind, plan, planning, *found)


def on_workers(path, options, kind, n_workers):
    """Plan and fit on worker processes of one thread each."""
    with (
        LocalCluster(
            n_workers=n_workers, threads_per_worker=1, memory_limit=0, dashboard_address=":0"
        ) as cluster,
        Client(cluster) as client,
    ):
        warm_up(path, options, kind, client=client)
        began = time.perf_counter()
        plan = daskksvd.plan(path, client=client, **settings(options, kind))
        planning = time.perf_counter() - began
        before = sum(client.run(sent_bytes).values())
        pids = list(client.run(common.worker_pid).values())
        found = timed_fit(path, options, kind, pids, client=client)
        # what the driver fetches is sent by a worker too
        moved = sum(client.run(sent_bytes).values()) - before
    return record(f"{n_workers} workers", kind, plan, planning, *found, moved)


def sent_bytes(dask_worker):
    """Bytes of results that this worker has sent to others and to the driver."""
    return dask_worker.transfer_outgoing_bytes_total


def record(where, kind, plan, planning, survey, seconds, peak, moved=None):
    """A row of the table."""
    part = getattr(plan, kind)
    row = {
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


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    common.add_sizes(parser, samples=800_000, chunk_rows=10_000)
    parser.add_argument("--threads", nargs="*", type=int, default=[1, 2])
    parser.add_argument("--workers", nargs="*", type=int, default=[1, 2])
    parser.add_argument("--kinds", nargs="+", choices=list(KINDS), default=list(KINDS))
    parser.add_argument("--folder", help="where to make the store; a temporary folder by default")
    parser.add_argument("--out", type=pathlib.Path, default=pathlib.Path("benchmarks/results"))
    options = parser.parse_args()
    common.restart_pinned(1)
    facts = common.machine_facts()
    notes = NOTES.format(
        n=options.samples, d=options.features, chunk=options.chunk_rows, m=options.atoms, k=options.nonzeros
    )
    print("\n".join([*common.describe(facts), "", notes, "", TABLE.header()]), flush=True)
    rows = []
    with tempfile.TemporaryDirectory(dir=options.folder, prefix="planning-") as folder:
        path = pathlib.Path(folder) / "samples.zarr"
        few = max(2 * options.atoms, 4096)
        for name, n, chunk_rows in (
            ("samples", options.samples, options.chunk_rows),
            ("few", few, few // 8),
        ):
            common.make_store(
                path.with_name(f"{name}.zarr"), n, options.features, options.atoms, options.nonzeros,
                chunk_rows, dtype="float16", compressors=None,
            )  # fmt: skip
        runs = [(on_threads, count) for count in options.threads]
        runs += [(on_workers, count) for count in options.workers]
        for run, count in runs:
            for kind in options.kinds:
                rows.append(common.alone(run, path, options, kind, count))
                print(TABLE.line(rows[-1]), flush=True)
    parts = ["# Predicted and measured", "\n".join(f"- {line}" for line in common.describe(facts))]
    parts += [notes, TABLE.markdown(rows)]
    common.save(options.out, "planning", {"machine": facts, "records": rows}, "\n\n".join(parts))
    print(f"tables: {options.out / 'planning'}.md, {options.out / 'planning'}.json")


if __name__ == "__main__":
    main()
