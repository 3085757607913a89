"""What the benchmarks share: pinned threads, facts about the machine, tables."""

import argparse
import concurrent.futures
import json
import multiprocessing
import os
import platform
import sys
import threading
import time

import dask
import dask.array as da
import numpy as np
import psutil
import threadpoolctl
import zarr

from daskksvd.datasets import make_planted
from daskksvd.versions import processor_facts, versions

THREAD_VARIABLES = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "NUMBA_NUM_THREADS")
CORE_TYPE = "OPENBLAS_CORETYPE"
"""Makes OpenBLAS take the code of another processor; times with it mean nothing."""

PACKAGES = (
    "daskksvd",
    "dask",
    "dictlearn",
    "numba",
    "numpy",
    "scikit-learn",
    "scipy",
    "spams-bin",
    "threadpoolctl",
)


def restart_pinned(threads):
    """Start this script again if its environment asks for other threads.

    BLAS reads these variables when it is loaded, which is before any line of
    a script that imports NumPy. Processes started from here inherit them.

    Parameters
    ----------
    threads : int
        Threads of BLAS, OpenMP and Numba.
    """
    wanted = dict.fromkeys(THREAD_VARIABLES, str(threads))
    environment = {**os.environ, **wanted}
    if environment.pop(CORE_TYPE, None) is not None:
        print(f"{CORE_TYPE} was set; removed, so that OpenBLAS chooses by the processor", flush=True)
    if environment != dict(os.environ):
        os.execve(sys.executable, [sys.executable, *sys.argv], environment)


def product_seconds(left, right, repeats=5):
    """Least seconds of a matrix product on one BLAS thread."""
    out = np.empty((left.shape[0], right.shape[1]), left.dtype)
    best = np.inf
    with threadpoolctl.threadpool_limits(1):
        for _ in range(repeats):
            began = time.perf_counter()
            np.matmul(left, right, out=out)
            best = min(best, time.perf_counter() - began)
    return best


def product_rate(dtype="float32", size=1536):
    """Operations a second of a large square matrix product on one BLAS thread."""
    rng = np.random.default_rng(0)
    left, right = rng.standard_normal((2, size, size)).astype(dtype)
    return 2 * size**3 / product_seconds(left, right)


def machine_facts():
    """Processor, cores, BLAS, packages and the measured rate of one thread.

    Returns
    -------
    dict
    """
    facts = processor_facts()
    return {
        "processor": f"{facts['processor']} ({facts['kind']})",
        "kind": facts["kind"],
        "cores": facts["cores"],
        "system": f"{platform.system()} {platform.machine()}",
        "blas": facts["blas"],
        "sgemm_gflops_one_thread": round(product_rate() / 1e9, 1),
        "python": platform.python_version(),
        "packages": versions(PACKAGES),
    }


def describe(facts):
    """Machine facts as lines of text."""
    packages = ", ".join(f"{name} {number}" for name, number in facts["packages"].items() if number)
    return [
        f"{facts['processor']}, {facts['cores']} cores, {facts['system']}",
        *facts["blas"],
        f"sgemm on one thread: {facts['sgemm_gflops_one_thread']} GFLOP/s",
        f"Python {facts['python']}, {packages}",
    ]


class Table:
    """Rows of dicts as aligned text or Markdown.

    Parameters
    ----------
    columns : sequence of (key, title, side, format)
        ``side`` is ``"<"`` or ``">"`` and the least width, as ``">8"``;
        ``format`` is for numbers, as ``".4f"``.
    """

    def __init__(self, *columns):
        self.columns = columns

    def header(self):
        """The titles, aligned."""
        return self._join([title for _, title, _, _ in self.columns])

    def line(self, row):
        """One row, aligned under the titles."""
        return self._join(self._cells(row))

    def text(self, rows):
        """Titles and rows."""
        return "\n".join([self.header(), *(self.line(row) for row in rows)])

    def markdown(self, rows):
        """Titles and rows as a Markdown table."""
        titles = [title for _, title, _, _ in self.columns]
        rules = ["---:" if side[0] == ">" else "---" for _, _, side, _ in self.columns]
        lines = [titles, rules, *(self._cells(row) for row in rows)]
        return "\n".join(f"| {' | '.join(line)} |" for line in lines)

    def _cells(self, row):
        return [_cell(row.get(key), form) for key, _, _, form in self.columns]

    def _join(self, cells):
        pairs = zip(cells, self.columns, strict=True)
        padded = [f"{cell:{side[0]}{max(len(title), int(side[1:]))}}" for cell, (_, title, side, _) in pairs]
        return "  ".join(padded).rstrip()


def _cell(value, form):
    if value is None:
        return "-"
    return value if isinstance(value, str) else format(value, form)


def save(folder, name, results, markdown):
    """Write ``name.json`` and ``name.md`` to a folder.

    Parameters
    ----------
    folder : pathlib.Path
    name : str
    results : dict
    markdown : str
    """
    folder.mkdir(parents=True, exist_ok=True)
    (folder / f"{name}.json").write_text(json.dumps(results, indent=1) + "\n")
    (folder / f"{name}.md").write_text(markdown.rstrip() + "\n")


def make_store(path, n_samples, n_features, n_components, n_nonzero_coefs, chunk_rows, **options):
    """Write planted rows, one Zarr chunk per Dask chunk.

    Parameters
    ----------
    path : path
    n_samples, n_features, n_components, n_nonzero_coefs : int
    chunk_rows : int
    **options
        More of `zarr.create_array`.

    Returns
    -------
    (m, d) array
        The true dictionary.
    """
    planted = make_planted(
        n_samples, n_features, n_components, n_nonzero_coefs, chunks=chunk_rows, random_state=0
    )
    options = {"dtype": "float32", **options}
    store = zarr.create_array(path, shape=planted.array.shape, chunks=(chunk_rows, n_features), **options)
    with dask.config.set(scheduler="threads"):
        da.store(planted.array.astype(store.dtype), store, lock=False)
    return planted.dictionary


def size(text):
    """``"m,k"`` as two numbers."""
    numbers = tuple(int(part) for part in text.split(","))
    if len(numbers) != 2:
        raise argparse.ArgumentTypeError(f"{text!r} is not m,k")
    return numbers


def shape(text):
    """``"d,m,k"`` as three numbers."""
    numbers = tuple(int(part) for part in text.split(","))
    if len(numbers) != 3:
        raise argparse.ArgumentTypeError(f"{text!r} is not d,m,k")
    return numbers


def add_sizes(parser, samples, chunk_rows):
    """Give a parser the options of planted rows to fit, with these defaults."""
    parser.add_argument("--samples", type=int, default=samples)
    parser.add_argument("--features", type=int, default=768)
    parser.add_argument("--atoms", type=int, default=1536)
    parser.add_argument("--nonzeros", type=int, default=10)
    parser.add_argument("--chunk-rows", type=int, default=chunk_rows)


class MemoryTrace:
    """Samples the resident memory of some processes, ten times a second.

    Attributes
    ----------
    samples : list of list of int
        Bytes of each process.
    """

    def __init__(self, pids):
        self.processes = [psutil.Process(pid) for pid in pids]
        self.samples = []
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True)

    def __enter__(self):
        self._sample()
        self._thread.start()
        return self

    def __exit__(self, *error):
        self._stop.set()
        self._thread.join()

    def _run(self):
        while not self._stop.wait(0.1):
            self._sample()

    def _sample(self):
        self.samples.append([process.memory_info().rss for process in self.processes])


def alone(function, *arguments):
    """Call a function of a script in a new process; returns what it returns."""
    context = multiprocessing.get_context("spawn")
    with concurrent.futures.ProcessPoolExecutor(1, mp_context=context) as pool:
        return pool.submit(function, *arguments).result()


def worker_pid():
    """Process of the worker that runs this."""
    return psutil.Process().pid
