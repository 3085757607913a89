"""Time and memory of naming atoms, as samples and words grow, on threads and on a cluster.

Makes codes with atoms at random and captions with words by a power law, in a
code store and parquet files, and labels them:

    python benchmarks/labelling.py --samples 800000 --out benchmarks/results

leaves ``labelling.json`` and ``labelling.md``. Every run has a process of its
own and two cores, if there are as many. Words mean nothing here; the share of
atoms that get a name all the same is printed beside, and should be about 0.
"""

import argparse
import os
import pathlib
import tempfile
import time

import common
import dask
import numpy as np
import pandas as pd
import zarr
from distributed import Client, LocalCluster

import daskksvd
from daskksvd.coding.store import CODES

CHUNK = 8192
LETTERS = np.array(list("bcdfghjklmnp"))

TABLE = common.Table(
    ("samples", "samples", ">9", ",d"),
    ("words", "words", ">6", ",d"),
    ("on", "on", "<18", ""),
    ("seconds", "seconds", ">8", ".1f"),
    ("cpu_seconds", "CPU s", ">6", ".1f"),
    ("before_mb", "before MB", ">9", ",.0f"),
    ("peak_mb", "peak MB", ">8", ",.0f"),
    ("named", "named", ">6", ".1%"),
)

NOTES = """{m:,} atoms, {k} nonzeros a sample, captions of {length} words that count and 4 that do not.
seconds: the whole call of daskksvd.label, which reads the captions twice, once for the vocabulary. CPU s:
of the process, or of the workers. peak MB: of the process, or of the largest worker, with Python and
libraries (before MB). Before it began, {load} processes of others wanted the {cores} cores on average."""


def make_words(number):
    """Words that no dictionary has, all different."""
    digits = np.arange(number)[:, None] // len(LETTERS) ** np.arange(4) % len(LETTERS)
    return np.array(["z" + "".join(LETTERS[row]) + "z" for row in digits])


def make_data(folder, n, n_words, options):
    """Write n codes and captions under a folder."""
    rng = np.random.default_rng(0)
    m, k = options.atoms, options.nonzeros
    words = make_words(n_words)
    chances = 1 / (20 + np.arange(n_words))
    chances /= chances.sum()
    (folder / "captions").mkdir(parents=True)
    group = zarr.open_group(folder / "codes.zarr", mode="w", zarr_format=3)
    shape, chunks = (n, k), (CHUNK, k)
    indices = group.create_array("indices", shape=shape, chunks=chunks, dtype="int32", fill_value=-1)
    values = group.create_array("values", shape=shape, chunks=chunks, dtype="float32", fill_value=0)
    for start in range(0, n, CHUNK):
        rows = np.arange(start, min(start + CHUNK, n))
        size = len(rows), k
        steps = rng.integers(1, m // k, size)
        indices[start : start + CHUNK] = (rng.integers(0, m, (len(rows), 1)) + np.cumsum(steps, axis=1)) % m
        values[start : start + CHUNK] = 1 + rng.standard_normal(size, np.float32)
        said = words[rng.choice(n_words, (len(rows), options.length), p=chances)]
        half = options.length // 2
        captions = [f"A {' '.join(row[:half])} and the {' '.join(row[half:])}, too." for row in said]
        table = pd.DataFrame({"sample": rows, "row": rows, "caption": captions})
        table.to_parquet(folder / "captions" / f"rows-{start:012d}.parquet", index=False)
    attributes = {**CODES.marks, "n_components": m, "complete": True}
    group.attrs.update(attributes)


def warm_up():
    """Load dictionaries and kernels, and compile, before the clock starts."""
    daskksvd.label(np.ones((2, 2)) * [1, 0], ["dogs ran", "cat"], min_df=1, min_uses=1)


def run_label(folder, on, threads):
    """Label in this process, or on a cluster of its own; returns a record."""
    if hasattr(os, "sched_setaffinity"):
        os.sched_setaffinity(0, sorted(os.sched_getaffinity(0))[:2])
    warm_up()
    if on == "threads":
        with dask.config.set(num_workers=threads):
            return timed(folder, None, [os.getpid()])
    with (
        LocalCluster(n_workers=threads, threads_per_worker=1, dashboard_address=":0") as cluster,
        Client(cluster) as client,
    ):
        client.run(warm_up)
        return timed(folder, client, list(client.run(common.worker_pid).values()))


def timed(folder, client, pids):
    """Seconds and memory of one call."""
    with common.MemoryTrace(pids) as trace:
        before, used = max(trace.samples[0]), cpu_seconds(trace)
        began = time.perf_counter()
        labels = daskksvd.label(folder / "codes.zarr", folder, min_df=1, max_df=1.0, client=client)
        seconds = time.perf_counter() - began
        used = cpu_seconds(trace) - used
    return {
        "samples": labels.attrs["n"],
        "words": labels.sizes["word"],
        "seconds": seconds,
        "cpu_seconds": used,
        "before_mb": before / 1e6,
        "peak_mb": max(map(max, trace.samples)) / 1e6,
        "named": float(labels.significant.mean()),
    }


def cpu_seconds(trace):
    """Processor time of the traced processes so far."""
    return sum(sum(process.cpu_times()[:2]) for process in trace.processes)


def cases(options):
    """Samples, words and where: ever more samples, then words, then other places."""
    n, words = options.samples, options.words
    sizes = [(n // part, words) for part in (8, 4, 2, 1)] + [(n, words // 3), (n, 2 * words)]
    runs = [(*size, "threads", 2) for size in sizes]
    return [*runs, (n, words, "threads", 1), (n, words, "workers", 2)]


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--samples", type=int, default=800_000)
    parser.add_argument("--words", type=int, default=1_500)
    parser.add_argument("--atoms", type=int, default=1_536)
    parser.add_argument("--nonzeros", type=int, default=10)
    parser.add_argument("--length", type=int, default=12, help="words of a caption that count")
    parser.add_argument("--out", type=pathlib.Path, help="folder for labelling.json and labelling.md")
    parser.add_argument("--folder", help="where to make the stores; a temporary folder by default")
    options = parser.parse_args()

    facts, load = common.machine_facts(), os.getloadavg()[0]
    print("\n".join(common.describe(facts)), TABLE.header(), sep="\n", flush=True)
    records = []
    with tempfile.TemporaryDirectory(dir=options.folder, prefix="labelling-") as temporary:
        for n, n_words, on, number in cases(options):
            folder = pathlib.Path(temporary) / f"{n}-{n_words}"
            if not folder.exists():
                make_data(folder, n, n_words, options)
            record = common.alone(run_label, folder, on, number)
            records.append({**record, "on": f"{number} {on if number > 1 else on.rstrip('s')}"})
            print(TABLE.line(records[-1]), flush=True)
    sizes = {"m": options.atoms, "k": options.nonzeros, "length": options.length}
    notes = NOTES.format(**sizes, load=f"{load:.1f}", cores=facts["cores"])
    print(notes)
    if options.out:
        results = {"machine": facts, "options": {**sizes, "load": load}, "records": records}
        described = "\n".join(f"- {line}" for line in common.describe(facts))
        text = f"# Naming atoms\n\n{notes}\n\n{TABLE.markdown(records)}\n\n{described}"
        common.save(options.out, "labelling", results, text)


if __name__ == "__main__":
    main()
