"""How much faster more threads and more worker processes make full passes of a large fit.

Makes a float16 Zarr store of planted rows, and fits it on each number of
threads of one process, of threads of one worker process, and of worker processes
of one thread.

    python benchmarks/scaling.py --samples 800000 --counts 1 2 --out benchmarks/results

leaves ``scaling.json`` and ``scaling.md``. BLAS has one thread. Every fit has
new processes, which fit a few rows of another store first, so that libraries
are imported and kernels are loaded. All runs are made in turn, round after
round. A worker shares the cores of the machine with the client, the scheduler
and event loops, which keep watch all the time: with nothing to do those of two
workers took 13 % of a core on another machine, of two Zen 4 cores, and 2 % without
what "quiet" leaves out, Dask's profiler and most of its ticks.
"""

import argparse
import pathlib
import tempfile
import time

import common
import dask
import numpy as np
import psutil
from distributed import Client, LocalCluster

import daskksvd
from daskksvd.tracking import PassFinished

QUIET = {"distributed.worker.profile.enabled": False, "distributed.admin.tick.interval": "1s"}
"""Dask's settings for workers that share their cores with event loops."""

PLACES = {"threads": {}, "worker's threads": {}, "workers": {}, "workers, quiet": QUIET}
"""Where fits run, and Dask's settings there."""

TABLE = common.Table(
    ("run", "run", "<16", ""),
    ("count", "count", ">5", "d"),
    ("seconds", "whole fit s", ">8", ".2f"),
    ("pass_seconds", "a pass s", ">8", ".2f"),
    ("core_seconds", "core s", ">8", ".1f"),
    ("fit_scaling", "whole fit", ">8", ".2f"),
    ("pass_scaling", "passes", ">8", ".2f"),
)

NOTES = """{n:,} x {d} planted rows in float16, not compressed, {chunk:,} a chunk; {m:,} atoms, {k} nonzeros;
{passes} full passes. Medians of {rounds} rounds. core s: processor time of all processes in the whole fit.
whole fit, passes: how many times as fast as with the least number of threads or workers; median of the
ratios of each round."""


def fit_once(path, options, where, count):
    """Fit in this process, which is new; returns a record of the fit."""
    settings = {
        "n_components": options.atoms, "n_nonzero_coefs": options.nonzeros, "max_passes": options.passes,
        "update": "batch", "tol": 0, "persist": False, "random_state": 0,
    }  # fmt: skip
    few = path.with_name("few.zarr")
    if where == "threads":
        daskksvd.fit(few, n_threads=count, **settings)
        return timed(path, n_threads=count, **settings)
    n_workers, n_threads = (1, count) if where == "worker's threads" else (count, 1)
    with (
        dask.config.set(PLACES[where]),
        LocalCluster(
            n_workers=n_workers, threads_per_worker=n_threads, memory_limit=0, dashboard_address=":0"
        ) as cluster,
        Client(cluster) as client,
    ):
        daskksvd.fit(few, client=client, **settings)
        return timed(path, client=client, **settings)


def timed(path, **settings):
    """Seconds of a fit, of each pass in it, and processor time of this process and those it started."""
    passes = []

    def note(event):
        if isinstance(event, PassFinished):
            passes.append(event.seconds)

    used, began = processor_seconds(), time.perf_counter()
    daskksvd.fit(path, callbacks=[note], **settings)
    seconds = time.perf_counter() - began
    return {
        "seconds": seconds,
        "pass_seconds": float(np.mean(passes)),
        "core_seconds": processor_seconds() - used,
    }


def processor_seconds():
    """Processor time so far of this process and all under it."""
    here = psutil.Process()
    times = [process.cpu_times() for process in (here, *here.children(recursive=True))]
    return sum(time.user + time.system for time in times)


def summary(rounds):
    """Rows of the table.

    Parameters
    ----------
    rounds : list of dict
        For each round a record of every run, by ``(where, count)``; the
        least count of each first.

    Returns
    -------
    list of dict
    """
    rows = []
    for where, count in rounds[0]:
        least = next(other for other in rounds[0] if other[0] == where)
        records = [each[where, count] for each in rounds]
        row = {"run": where, "count": count}
        row |= {name: float(np.median([record[name] for record in records])) for name in records[0]}
        for name, seconds in (("fit_scaling", "seconds"), ("pass_scaling", "pass_seconds")):
            ratios = [each[least][seconds] / each[where, count][seconds] for each in rounds]
            row[name] = float(np.median(ratios))
        rows.append(row)
    return rows


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    common.add_sizes(parser, samples=800_000, chunk_rows=8192)
    parser.add_argument("--passes", type=int, default=2)
    parser.add_argument("--counts", nargs="+", type=int, default=[1, 2], help="threads, and workers")
    parser.add_argument("--places", nargs="+", choices=list(PLACES), default=list(PLACES))
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--store", type=pathlib.Path, help="where the rows are, or are to be kept")
    parser.add_argument("--out", type=pathlib.Path, default=pathlib.Path("benchmarks/results"))
    options = parser.parse_args()
    common.restart_pinned(1)
    facts = common.machine_facts()
    runs = [(where, count) for where in options.places for count in sorted(options.counts)]
    n, d, m, k = options.samples, options.features, options.atoms, options.nonzeros
    notes = NOTES.format(
        n=n, d=d, chunk=options.chunk_rows, m=m, k=k, passes=options.passes, rounds=options.rounds
    )
    print("\n".join([*common.describe(facts), "", notes, "", TABLE.header()]), flush=True)
    with tempfile.TemporaryDirectory(prefix="scaling-") as folder:
        path = options.store or pathlib.Path(folder) / "rows.zarr"
        few = path.with_name("few.zarr")
        wanted = ((path, n, options.chunk_rows), (few, max(2 * m, 4096), max(m // 4, 512)))
        for place, rows, chunk_rows in wanted:
            if not place.exists():
                common.make_store(place, rows, d, m, k, chunk_rows, dtype="float16", compressors=None)
        rounds = []
        for number in range(options.rounds):
            rounds.append({})
            for where, count in runs:
                record = common.alone(fit_once, path, options, where, count)
                rounds[number][where, count] = record
                print(TABLE.line({"run": where, "count": count, **record}), flush=True)
    rows = summary(rounds)
    print("\n".join(["", TABLE.text(rows)]))
    parts = ["# Threads and workers", "\n".join(f"- {line}" for line in common.describe(facts))]
    parts += [notes, __doc__.rsplit("round. ", 1)[1].strip(), TABLE.markdown(rows)]
    listed = [
        {"round": number, "run": where, "count": count, **record}
        for number, each in enumerate(rounds)
        for (where, count), record in each.items()
    ]
    results = {"machine": facts, "summary": rows, "records": listed}
    common.save(options.out, "scaling", results, "\n\n".join(parts))
    print(f"tables: {options.out / 'scaling'}.md, {options.out / 'scaling'}.json")


if __name__ == "__main__":
    main()
