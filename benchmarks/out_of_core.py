"""Fit stores larger than the memory of the workers, and trace that memory.

Makes planted stores of n and 2 n rows, fits each on a local cluster whose
workers may use ``--memory`` each, and reports how much they used: it should
not grow with n.

    python benchmarks/out_of_core.py --gigabytes 6 --memory 2GiB
"""

import argparse
import pathlib
import shutil
import tempfile
import time

import common
import numpy as np
from distributed import Client, LocalCluster

import daskksvd


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--gigabytes", type=float, default=6.0, help="size of the larger store (GB)")
    parser.add_argument("--memory", default="2GiB", help="limit of each of the two workers")
    parser.add_argument("--features", type=int, default=768)
    parser.add_argument("--atoms", type=int, default=512)
    parser.add_argument("--nonzeros", type=int, default=5)
    parser.add_argument("--passes", type=int, default=2)
    parser.add_argument("--chunk-rows", type=int, default=16384)
    parser.add_argument("--folder", help="where to make the stores; a temporary folder by default")
    options = parser.parse_args()

    folder = pathlib.Path(tempfile.mkdtemp(dir=options.folder, prefix="out-of-core-"))
    rows = int(options.gigabytes * 1e9 / (4 * options.features))
    print(f"two workers of one thread and {options.memory} each, {options.atoms} atoms")
    print(
        f"{'rows':>10} {'store GB':>9} {'seconds':>8} {'error':>7} {'found':>6} {'peak MB':>8} {'mean MB':>8}"
    )
    try:
        for n_samples in (rows // 2, rows):
            path = folder / f"{n_samples}.zarr"
            truth = common.make_store(
                path, n_samples, options.features, options.atoms, options.nonzeros, options.chunk_rows
            )
            cluster = LocalCluster(
                n_workers=2, threads_per_worker=1, memory_limit=options.memory, dashboard_address=":0"
            )
            with cluster, Client(cluster) as client:
                pids = list(client.run(common.worker_pid).values())
                began = time.perf_counter()
                with common.MemoryTrace(pids) as trace:
                    result = daskksvd.fit(
                        path,
                        client=client,
                        n_components=options.atoms,
                        n_nonzero_coefs=options.nonzeros,
                        max_passes=options.passes,
                        random_state=0,
                    )
                seconds = time.perf_counter() - began
                if sorted(client.run(common.worker_pid).values()) != sorted(pids):
                    raise SystemExit("a worker was restarted: it ran out of memory")
            used = np.array(trace.samples) / 1e6
            found = daskksvd.datasets.recovered_atoms(result.dictionary.values, truth)
            error = float(result.history.relative_error[-1])
            print(
                f"{n_samples:>10} {n_samples * options.features * 4 / 1e9:>9.2f} {seconds:>8.1f} "
                f"{error:>7.4f} {found:>6.1%} {used.max():>8.0f} {used.mean():>8.0f}",
                flush=True,
            )
            shutil.rmtree(path)
    finally:
        shutil.rmtree(folder, ignore_errors=True)


if __name__ == "__main__":
    main()
