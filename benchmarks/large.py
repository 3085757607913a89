"""One large fit on one machine: seconds, error on held-out rows, and memory.

Makes a float16 Zarr store of planted rows, and learns from it: with default
options, in one pass in waves, and in full passes with one update each. Then it
writes the codes of all rows to a store.

    python benchmarks/large.py --samples 800000 --full-passes 10 --out benchmarks/results

leaves ``large-KIND.json`` and ``large-KIND.md``, of the kind of processor. Every run has
a process of its own and compiles before its clock starts. ``--store`` keeps the rows for another time.
"""

import argparse
import os
import pathlib
import tempfile
import time

import common
import numpy as np
from peers import judged_error

import daskksvd
from daskksvd.datasets import make_planted, recovered_atoms
from daskksvd.tracking import PassFinished, WaveFinished

HELD_OUT = 20_000
"""Rows to judge by."""

TABLE = common.Table(
    ("run", "run", "<12", ""),
    ("threads", "threads", ">7", "d"),
    ("passes", "passes", ">16", ""),
    ("seconds", "seconds", ">8", ".1f"),
    ("first_pass", "survey and first pass", ">8", ".1f"),
    ("as_good", "as good as full", ">8", ".1f"),
    ("heldout_error", "held-out", ">8", ".4f"),
    ("recovered", "atoms", ">6", ".1%"),
    ("before_mb", "before MB", ">8", ".0f"),
    ("peak_mb", "peak MB", ">8", ".0f"),
)

NOTES = """{n:,} x {d} planted rows in float16 ({gb:.1f} GB), not compressed, {chunk:,} a chunk; {m:,} atoms,
{k} nonzeros. The true dictionary leaves {floor:.4f} of rows not learned from. seconds: the whole call.
as good as full: seconds until a wave, whose rows the dictionary has not seen, has no larger error than the
run of full passes has in the end on held-out rows."""


def run_fit(path, options, threads, settings):
    """Fit in this process; returns a record and the dictionary."""
    few = np.random.default_rng(0).standard_normal((2 * options.atoms, options.features)).astype(np.float16)
    common_settings = {
        "n_components": options.atoms, "n_nonzero_coefs": options.nonzeros, "random_state": 1,
        "n_threads": threads,
    }  # fmt: skip
    daskksvd.fit(few, **{**common_settings, **settings, "max_passes": 2})
    trace, passes = [], []
    with common.MemoryTrace([os.getpid()]) as memory:
        before = memory.samples[0][0]
        began = time.perf_counter()

        def watch(event):
            if isinstance(event, WaveFinished) and event.kind == "wave":
                trace.append((time.perf_counter() - began, event.relative_error))
            elif isinstance(event, PassFinished):
                passes.append((time.perf_counter() - began, event.kind, event.relative_error))

        result = daskksvd.fit(path, callbacks=[watch], **common_settings, **settings)
        seconds = time.perf_counter() - began
    kinds = [kind for _, kind, _ in passes]
    record = {
        "threads": threads,
        "passes": " + ".join(f"{kinds.count(kind)} {kind}" for kind in dict.fromkeys(kinds)),
        "seconds": seconds,
        "first_pass": passes[0][0],
        "trace": trace,
        "pass_errors": passes,
        "before_mb": before / 1e6,
        "peak_mb": max(max(sample) for sample in memory.samples) / 1e6,
    }
    return record, result.dictionary.values


def run_encode(path, options, threads, dictionary, target):
    """Write the codes of all rows; returns seconds."""
    few = np.random.default_rng(0).standard_normal((2 * options.atoms, options.features)).astype(np.float16)
    result = daskksvd.fit(
        few, n_components=options.atoms, n_nonzero_coefs=options.nonzeros, init=dictionary, max_passes=1,
        tol=0, n_threads=threads,
    )  # fmt: skip
    result.evaluate(few)
    began = time.perf_counter()
    result.write_codes(path, target)
    return time.perf_counter() - began


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    common.add_sizes(parser, samples=800_000, chunk_rows=8192)
    parser.add_argument("--full-passes", type=int, default=10)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--store", type=pathlib.Path, help="where the rows are, or are to be kept")
    parser.add_argument("--out", type=pathlib.Path, default=pathlib.Path("benchmarks/results"))
    options = parser.parse_args()
    common.restart_pinned(options.threads)
    facts = common.machine_facts()
    n, d, m, k = options.samples, options.features, options.atoms, options.nonzeros
    with tempfile.TemporaryDirectory(prefix="large-") as folder:
        path = options.store or pathlib.Path(folder) / "rows.zarr"
        if not path.exists():
            common.make_store(path, n, d, m, k, options.chunk_rows, dtype="float16", compressors=None)
        after = -(-n // options.chunk_rows) * options.chunk_rows
        planted = make_planted(after + HELD_OUT, d, m, k, chunks=options.chunk_rows, random_state=0)
        truth, held = planted.dictionary, planted.array[after:].compute()
        floor = judged_error(held, truth, k)
        gb = n * d * 2 / 1e9
        notes = NOTES.format(n=n, d=d, gb=gb, chunk=options.chunk_rows, m=m, k=k, floor=floor)
        print("\n".join([*common.describe(facts), "", notes, "", TABLE.header()]), flush=True)
        runs = [
            ("full passes", {"update": "batch", "max_passes": options.full_passes, "tol": 0}),
            ("default", {}),
            ("one pass", {"max_passes": 1}),
        ]
        records, goal = [], None
        for name, settings in runs:
            record, dictionary = common.alone(run_fit, str(path), options, options.threads, settings)
            record |= {
                "run": name,
                "heldout_error": judged_error(held, dictionary, k),
                "recovered": recovered_atoms(dictionary, truth),
            }
            if goal is None:
                goal = record["heldout_error"]
            record["as_good"] = next((when for when, error in record["trace"] if error <= goal), None)
            records.append(record)
            print(TABLE.line(record), flush=True)
        target = str(pathlib.Path(folder) / "codes.zarr")
        seconds = common.alone(run_encode, str(path), options, options.threads, dictionary, target)
    each = seconds * options.threads / n * 1e6
    line = f"Codes of all rows to a store: {seconds:.1f} s, {each:.1f} us a row a thread."
    print(f"\n{line}")
    parts = ["# A large fit", "\n".join(f"- {fact}" for fact in common.describe(facts)), notes]
    parts += [TABLE.markdown(records), line]
    results = {"machine": facts, "records": records, "encode_seconds": seconds, "floor": floor}
    common.save(options.out, f"large-{facts['kind']}", results, "\n\n".join(parts))
    print(f"tables: {options.out / 'large'}.md, {options.out / 'large'}.json")


if __name__ == "__main__":
    main()
