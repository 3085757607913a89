"""Time coding and fitting on a graphics card, beside one core of the machine it is in.

    python benchmarks/gpu.py --shapes 768,1536,10 768,6144,10 --out benchmarks/results
    python benchmarks/gpu.py --fit-rows 800000 --out benchmarks/results

The public batched pursuit is PyPI's orthogonal-matching-pursuit-gpu, where it is
installed; its supports are compared with ours. One core is this package's kernels on one
thread. All of a shape is timed in turn, round after round, and the least time of each counts.
"""

import argparse
import pathlib
import shutil
import tempfile
import time

import common
import numpy as np

import daskksvd
from daskksvd.coding import SparseCoder, SparsityTarget, code_block, iterate_blocks, make_products
from daskksvd.coding.how import How, find_device
from daskksvd.coding.space import Space
from daskksvd.rows import Transform
from daskksvd.versions import version

SHAPES = ("768,1536,10", "768,6144,10", "384,1024,10", "128,256,5")
BLOCKS = 8
"""Blocks of rows that one timing of a device goes through."""

PEER_ROWS = 8192
"""Rows that the public pursuit codes at a time: its work space is rows x nonzeros x atoms."""

TABLE = common.Table(
    ("d", "d", ">5", "d"),
    ("m", "m", ">5", "d"),
    ("k", "k", ">3", "d"),
    ("block", "block", ">6", "d"),
    ("tflops", "sgemm TF/s", ">8", ".1f"),
    ("product", "product", ">8", ".4f"),
    ("pursuit", "pursuit", ">8", ".4f"),
    ("operations", "by ops", ">8", ".4f"),
    ("resident", "coded", ">8", ".4f"),
    ("streamed", "sent, f4", ">8", ".4f"),
    ("streamed_half", "sent, f2", ">8", ".4f"),
    ("statistics", "statistics", ">8", ".4f"),
    ("share", "roofline", ">7", ".0%"),
    ("core", "one core", ">8", ".2f"),
    ("times", "times", ">6", ".0f"),
    ("peer", "peer", ">8", ".3f"),
    ("peer_times", "times", ">6", ".1f"),
    ("alike", "alike", ">6", ".2%"),
)

NOTES = """Microseconds a row, the least of {rounds} rounds, float32. product: rows times atoms alone.
pursuit: what comes after it, as one kernel; by ops: as operations of PyTorch. coded: both, of rows
on the card. sent: from this process's memory, of float32 and float16, to codes on the card.
statistics: X'X and X'Y of coded rows. roofline: the time of the product at the card's rate of large
products, as a share of coded. one core: by this package's kernels; times: that over coded. peer:
orthogonal-matching-pursuit-gpu {peer}; times: that over coded; alike: rows of the same support."""


def main():
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument(
        "--shapes",
        nargs="*",
        type=common.shape,
        default=[],
        metavar="D,M,K",
        help=f"such as {' '.join(SHAPES)}",
    )
    parser.add_argument("--fit-rows", type=int, default=0, help="rows of 768 features of a fit from Zarr")
    parser.add_argument("--fit-atoms", type=int, default=1536)
    parser.add_argument("--processors", action="store_true", help="time the fit on processors, too")
    parser.add_argument("--device", default="cuda")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--out", type=pathlib.Path, help="folder for the results")
    options = parser.parse_args()
    device = find_device(options.device)
    if device.device is None:
        raise SystemExit(f"device={options.device!r} cannot be used: {device.why}")
    if not options.fit_rows:
        common.restart_pinned(1)
    facts = {**common.machine_facts(), "device": device_name(device.device)}
    records = []
    for shape in options.shapes:
        records.append(time_shape(*shape, device.device, options.rounds))
        print(TABLE.header(), TABLE.line(records[-1]), sep="\n", flush=True)
    if records:
        notes = NOTES.format(rounds=options.rounds, peer=version("orthogonal-matching-pursuit-gpu"))
        report(options.out, "gpu", "On a graphics card", facts, TABLE, records, notes)
    if options.fit_rows:
        fits = time_fits(options.fit_rows, options.fit_atoms, device.device, options.processors)
        report(options.out, "gpu-fit", "A fit on a graphics card", facts, FIT_TABLE, fits, FIT_NOTES)


def report(folder, name, title, facts, table, records, notes):
    """Print a table; write it, too, where there is a folder for it."""
    lines = [facts["device"], *common.describe(facts)]
    print("\n".join(["", *lines, "", notes, "", table.text(records)]), flush=True)
    if folder is not None:
        parts = [f"# {title}", "\n".join(f"- {line}" for line in lines), table.markdown(records), notes]
        common.save(folder, name, {"machine": facts, "records": records}, "\n\n".join(parts))


def device_name(device):
    import torch

    name = torch.cuda.get_device_name(device) if device.startswith("cuda") else device
    return f"{name}, PyTorch {torch.__version__}"


def least(rounds, steps, sync):
    """Least seconds of each step, all in turn."""
    best = dict.fromkeys(steps, np.inf)
    for _ in range(rounds + 1):  # the first compiles
        for name, step in steps.items():
            sync()
            began = time.perf_counter()
            step()
            sync()
            best[name] = min(best[name], time.perf_counter() - began)
        if _ == 0:
            best = dict.fromkeys(steps, np.inf)
    return best


def time_shape(d, m, k, device, rounds):
    import torch

    from daskksvd.coding.device import DeviceSums, fused_omp
    from daskksvd.coding.device.pursuit import omp

    def sync():
        if device.startswith("cuda"):
            torch.cuda.synchronize()

    rng = np.random.default_rng(0)
    atoms = rng.standard_normal((m, d)).astype("f4")
    atoms /= np.linalg.norm(atoms, axis=1, keepdims=True)
    coder = SparseCoder(atoms, Transform(), SparsityTarget(k), how=How(device=device))
    products = make_products(coder)
    n = products.block_rows
    used = rng.integers(0, m, (n, k))
    rows = (rng.standard_normal((n, k, 1), np.float32) * atoms[used[:, :1]]).sum(1)
    for slot in range(1, k):
        rows += rng.standard_normal((n, 1), np.float32) * atoms[used[:, slot]]
    rows += (
        0.1 * np.linalg.norm(rows, axis=1, keepdims=True) * rng.standard_normal((n, d), np.float32) / d**0.5
    )
    half = rows.astype("f2")
    there = torch.from_numpy(rows).to(device)
    energy = (there.double() ** 2).sum(1)
    correlations = there @ products.atoms.T
    square = torch.randn(8192, 8192, device=device) if device.startswith("cuda") else torch.randn(1024, 1024)
    fused = fused_omp(products) or (lambda *arguments: omp(*arguments, there, products.atoms))
    [(_, coded)] = products.code([rows])

    def resident():
        for _ in range(BLOCKS):
            products.code_there(there)

    def streamed(raw):
        def run():
            for _ in products.code(raw for _ in range(BLOCKS)):
                pass

        return run

    sums = DeviceSums(products, True, 0)
    steps = {
        "large": lambda: square @ square,
        "product": lambda: [there @ products.atoms.T for _ in range(BLOCKS)],
        "pursuit": lambda: [
            fused(correlations, products.gram, energy, products.rules) for _ in range(BLOCKS)
        ],
        "operations": lambda: [
            omp(correlations, products.gram, energy, products.rules, there, products.atoms)
            for _ in range(BLOCKS)
        ],
        "resident": resident,
        "streamed": streamed(rows),
        "streamed_half": streamed(half),
        "statistics": lambda: [sums.add(coded) for _ in range(BLOCKS)],
    }
    record = {"d": d, "m": m, "k": k, "block": n}
    try:
        from orthogonal_matching_pursuit_gpu import omp_v0
    except ImportError:
        record |= {"peer": np.nan, "peer_times": np.nan, "alike": np.nan}
    else:
        some, transposed = there[:PEER_ROWS], products.atoms.T.contiguous()
        steps["peer"] = lambda: omp_v0(transposed, some, products.gram, n_nonzero_coefs=k, tol=0.0)
        sets = steps["peer"]()[0]
        same = (sets.sort(1).values == coded.support[:PEER_ROWS].sort(1).values).all(1)
        record["alike"] = float(same.float().mean())
    with torch.inference_mode():
        seconds = least(rounds, steps, sync)
    for name in ("product", "pursuit", "operations", "resident", "streamed", "streamed_half", "statistics"):
        record[name] = seconds[name] / (BLOCKS * n) * 1e6
    record["tflops"] = 2 * len(square) ** 3 / seconds["large"] / 1e12
    record["share"] = 2 * d * m / (record["tflops"] * 1e12) / (record["resident"] * 1e-6)
    record["core"] = core_time(atoms, k, rows, rounds)
    record["times"] = record["core"] / record["resident"]
    if "peer" in seconds:
        record["peer"] = seconds["peer"] / len(there[:PEER_ROWS]) * 1e6
        record["peer_times"] = record["peer"] / record["resident"]
    return record


def core_time(atoms, k, rows, rounds):
    """Microseconds a row of this package's kernels on one thread."""
    products, space = make_products(SparseCoder(atoms, Transform(), SparsityTarget(k))), Space()
    block = rows[next(iterate_blocks(len(rows), products))]
    best = np.inf
    for _ in range(4 * rounds):
        began = time.perf_counter()
        code_block(block, products, space)
        best = min(best, time.perf_counter() - began)
    return best / len(block) * 1e6


FIT_TABLE = common.Table(
    ("where", "where", "<22", "s"),
    ("n", "n", ">9", ",d"),
    ("d", "d", ">5", "d"),
    ("m", "m", ">5", "d"),
    ("seconds", "seconds", ">8", ".1f"),
    ("passes", "passes", ">6", "d"),
    ("rows_per_second", "rows/s", ">10", ",.0f"),
    ("error", "error", ">7", ".4f"),
    ("held_out", "held out", ">8", ".4f"),
)
FIT_NOTES = """A fit by default options, 10 nonzeros a row, from a Zarr store (float16, read
anew in every pass), 2 % held out. rows/s: rows coded in passes, by all seconds of the fit,
compiled before."""


def time_fits(n, m, device, processors):
    """Seconds of a fit from disk."""
    folder = tempfile.mkdtemp()
    try:
        path = f"{folder}/rows.zarr"
        common.make_store(path, n, 768, m, 10, 8192, dtype="float16", compressors=None)
        settings = {
            "n_components": m,
            "n_nonzero_coefs": 10,
            "random_state": 0,
            "persist": False,
            "holdout": 0.02,
        }
        records = []
        for name in (device, None) if processors else (device,):
            small = daskksvd.fit(path, device=name, **{**settings, "max_passes": 1, "n_components": 64})
            del small
            began = time.perf_counter()
            result = daskksvd.fit(path, device=name, **settings)
            seconds = time.perf_counter() - began
            history = result.history
            records.append(
                {
                    "where": name or "all processor cores",
                    "n": n,
                    "d": 768,
                    "m": m,
                    "seconds": seconds,
                    "passes": history.sizes["pass"],
                    "rows_per_second": history.sizes["pass"] * n / seconds,
                    "error": float(history.relative_error[-1]),
                    "held_out": float(history.holdout_error[-1]),
                }
            )
            print(FIT_TABLE.header(), FIT_TABLE.line(records[-1]), sep="\n", flush=True)
        return records
    finally:
        shutil.rmtree(folder)


if __name__ == "__main__":
    main()
