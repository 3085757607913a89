"""Time the steps of a fit beside the matrix product that bounds them.

Coding a row needs its products with all atoms, 2 m d operations. How close
all of coding comes to the time of those alone, at the rate that this machine
reaches in the same minute, is its share of the roofline.

    python benchmarks/kernels.py --shapes 768,1536,10 128,256,5 --out benchmarks/results

One BLAS thread; compiled before the clock starts. All steps are timed in
turn, round after round, and the least time of each counts: a busy machine
can only make a step slower.

What statistics and updates in waves must take, at 128 features, 256 atoms and 5
nonzeros, on one thread of a Xeon (Emerald Rapids, 140 GFLOP/s): a sweep over the
atoms multiplies X'X, which is full after a few waves, with the dictionary, 2 m^2 d
operations, 0.12 ms, which is 0.075 us for each of the 1,562 rows of a wave; all of
an update takes 0.07. X'Y reads each row once for each of its nonzeros, 2.5 KB from
the second-level cache, 0.03 us at 32 bytes a cycle, and X'X has 25 additions to
scattered places, 0.01 us; nonzeros are sorted by atom before, or all of X'Y would be read
and written instead, twice as many bytes, 0.02 us. Together 0.135 us, 14 % of coding
in 0.94 us. Both take 0.24 us, or 0.18 where rows and sums are still near.
"""

import argparse
import inspect
import pathlib
import time
from concurrent.futures import ThreadPoolExecutor

import common
import numpy as np

import daskksvd
from daskksvd.coding import (
    SparseCoder,
    SparsityTarget,
    code_block,
    code_blocks,
    codes_to_coo,
    iterate_blocks,
    make_products,
)
from daskksvd.coding.how import PLAIN, How
from daskksvd.coding.products import correlate_rounded
from daskksvd.coding.space import Space
from daskksvd.datasets import make_planted
from daskksvd.fitting.schedule import FULL, WAVE, plan_schedule, statistics
from daskksvd.fitting.settings import Settings, check_settings
from daskksvd.fitting.statistics import COUPLED
from daskksvd.fitting.updates.batch import BATCH_SWEEPS
from daskksvd.kernels.moments import add_moments, add_residual_moments, subtract_reconstruction
from daskksvd.kernels.rounded import WAYS, native_ways
from daskksvd.machine.blas import blas_for
from daskksvd.machine.buffers import aligned
from daskksvd.rows import Transform

SHAPES = ("768,1536,10", "768,1536,5", "768,6144,10", "384,1024,10", "128,256,5")
BLOCKS = 8
"""Blocks of rows that one timing goes through."""

BY_WAY = [f"omp_{way}" for way in (PLAIN, *WAYS)]
"""Names of omp by each way to make products."""

FIT_ROWS = 50_000
"""Samples of the fit whose waves share out the time of an update."""

TABLE = common.Table(
    ("d", "d", ">5", "d"),
    ("m", "m", ">5", "d"),
    ("k", "k", ">3", "d"),
    ("block", "block", ">5", "d"),
    ("block_gflops", "block GF/s", ">8", ".1f"),
    ("large_gflops", "large GF/s", ">8", ".1f"),
    ("product", "product", ">8", ".2f"),
    ("rounded", "rounded", ">8", ".2f"),
    ("chosen", "chosen", ">7", "s"),
    ("omp", "omp", ">8", ".2f"),
    ("omp_share", "roofline", ">8", ".1%"),
    ("omp_plain", "plain", ">7", ".2f"),
    ("omp_avx512", "avx512", ">7", ".2f"),
    ("omp_amx", "amx", ">7", ".2f"),
    ("omp_scaling", "2 threads", ">8", ".2f"),
    ("mp", "mp", ">8", ".2f"),
    ("mp_share", "roofline", ">8", ".1%"),
    ("mp_scaling", "2 threads", ">8", ".2f"),
    ("cast", "cast", ">6", ".2f"),
    ("centre", "centre", ">6", ".2f"),
    ("statistics", "statistics", ">8", ".2f"),
    ("update", "update", ">8", ".2f"),
    ("share", "share", ">6", ".1%"),
    ("full_statistics", "full: statistics", ">8", ".2f"),
    ("full_update", "update", ">8", ".2f"),
    ("full_share", "share", ">6", ".1%"),
    ("coo", "COO", ">6", ".2f"),
)

NOTES = """Microseconds a row, the least of {rounds} rounds, {dtype}, one BLAS thread.
product: rows times atoms alone, in blocks as coding cuts them. rounded: the same of numbers rounded to
bfloat16, where omp chooses atoms by those. omp, mp: coding with everything in it, from float16 rows to
codes. chosen: how omp's products are made on this processor; plain, avx512, amx: omp by each of the ways
that it has instructions for. roofline: time of 2 m d operations at the better of the two measured rates
of full products, over that of coding. 2 threads: rows a second of two threads that code side by side,
over those of one. cast, centre: preparing float16 rows, without and with a mean. statistics: gathering
those of a wave, each block after its coding as in a task. update: fading them and updating all atoms, between
blocks, shared out among the rows of a wave when {fit_rows} are learned from. share: both over coding.
full: the same of full passes, with one update after all {fit_rows} rows. COO: codes to sparse arrays."""


def learning_step(rows, coder, kind):
    """A call that codes rows as a task does and adds the statistics which a pass gathers, and the sums.

    It returns the seconds of adding alone.
    """
    m, d = coder.n_components, rows.shape[1]
    coupled = statistics(kind, m, FIT_ROWS) == COUPLED
    dtype = coder.dictionary.dtype
    XX, XY, uses = np.zeros((m, m) if coupled else m, dtype), np.zeros((m, d), dtype), np.zeros(m, int)

    def step():
        seconds = 0.0
        for block in code_blocks(rows, coder):
            began = time.perf_counter()
            if coupled:
                add_moments(block.rows, *block.codes, XX, XY, uses)
            else:
                subtract_reconstruction(block.rows, coder.dictionary, *block.codes)
                add_residual_moments(block.rows, *block.codes, XX, XY, uses)
            seconds += time.perf_counter() - began
        return seconds

    return step, XX, XY


def update_step(atoms, learn, XX, XY):
    """A call that fades statistics, in which all atoms are used, and updates the dictionary.

    It returns the seconds of that alone, after an update and ``learn()``, which
    adds to the statistics: in a fit, one wave follows the other.
    """
    from daskksvd.fitting.updates.descent import power_of, sweep
    from daskksvd.fitting.updates.online import add_faded

    learn()
    m, scale = len(atoms), power_of(XX).max()
    A = XX + scale * (np.eye(m) if XX.ndim == 2 else np.ones(m))
    B = XY + scale * atoms.astype(np.float64)

    def step():
        for _ in range(2):
            learn()
            began = time.perf_counter()
            sweep(atoms, add_faded(A, 0.9, XX), add_faded(B, 0.9, XY), 1)
        return time.perf_counter() - began

    return step


def full_update_step(atoms, XX, XY):
    """A call that updates the dictionary after a full pass, in which all atoms are used."""
    from daskksvd.fitting.updates.descent import power_of, sweep

    scale = power_of(XX).max()
    A = XX + scale * np.eye(len(atoms), dtype=XX.dtype) if XX.ndim == 2 else XX + scale
    B = XY + scale * atoms
    return lambda: sweep(atoms, A, B, BATCH_SWEEPS)


def coding_step(rows, coder):
    """A call that prepares and codes rows as a task does."""

    def step():
        for _ in code_blocks(rows, coder):
            pass

    return step


def rows_per_wave(d, m, k):
    """Rows of a wave of a fit to `FIT_ROWS` samples."""
    given = inspect.signature(daskksvd.fit).parameters
    options = {name: given[name].default for name in Settings._fields if name in given}
    settings = check_settings(**{**options, "n_components": m, "n_nonzero_coefs": k})
    return FIT_ROWS / plan_schedule(settings, (FIT_ROWS,), d).n_waves


def side_by_side(pool, steps):
    """A call that runs steps on threads of their own, and waits for all."""

    def step():
        for running in [pool.submit(one) for one in steps]:
            running.result()

    return step


def least_seconds(steps, rounds):
    """Least seconds of each step, timed in turn.

    Parameters
    ----------
    steps : dict of callable
        One that returns a float has timed itself: those are its seconds.
    rounds : int
        Rounds that count; one more, first, compiles.

    Returns
    -------
    dict of float
    """
    best = dict.fromkeys(steps, np.inf)
    for number in range(rounds + 1):
        for name, step in steps.items():
            began = time.perf_counter()
            own = step()
            took = own if isinstance(own, float) else time.perf_counter() - began
            if number:
                best[name] = min(best[name], took)
    return best


def measure(d, m, k, dtype, rounds, large):
    """One row of the table.

    Parameters
    ----------
    d, m, k : int
    dtype : numpy.dtype
    rounds : int
    large : int
        Rows, columns and depth of the large product.

    Returns
    -------
    dict
    """
    # a first, single row only for the dictionary: the seed fixes it, whatever n
    atoms = make_planted(1, d, m, k, random_state=0).dictionary.astype(dtype)
    coders = {
        pursuit: make_products(SparseCoder(atoms, Transform(), SparsityTarget(k, pursuit=pursuit)))
        for pursuit in ("omp", "mp")
    }
    n_block = next(iterate_blocks(2**20, coders["omp"])).stop
    n = BLOCKS * n_block
    planted = make_planted(2 * n, d, m, k, chunks=n_block, dtype=dtype, random_state=0)
    rows, others = np.split(planted.array.compute(), 2)
    blocks = [rows[block] for block in iterate_blocks(n, coders["omp"])]
    padded = coders["omp"].dictionary
    correlations = aligned((n_block, len(padded)), dtype)
    half, other_half = rows.astype(np.float16), others.astype(np.float16)
    plain = Transform()
    centred = Transform(rows.mean(axis=0, dtype=np.float64))
    codes, _, _ = code_block(rows, coders["omp"])
    learning, full_learning = (learning_step(half, coders["omp"], kind) for kind in (WAVE, FULL))
    for step, _, _ in (learning, full_learning):
        step()
    square = np.random.default_rng(0).standard_normal((large, large)).astype(dtype)
    out = np.empty_like(square)

    def product():
        for block in blocks:
            np.matmul(block, coders["omp"].columns, out=correlations)

    space = Space()

    def rounded():
        for block in blocks:
            correlate_rounded(block, coders["omp"], correlations, space)

    with blas_for(m, d), ThreadPoolExecutor(2) as pool:  # as a fit
        steps = {
            "large": lambda: np.matmul(square, square, out=out),
            "product": product,
            "cast": lambda: plain.apply(half, dtype),
            "centre": lambda: centred.apply(half, dtype),
            "update": update_step(atoms, *learning_step(half[:n_block], coders["omp"], WAVE)),
            "full_update": full_update_step(atoms, *full_learning[1:]),
            "coo": lambda: codes_to_coo(codes, m),
        }
        if coders["omp"].packed is not None:
            steps["rounded"] = rounded
        for way in (PLAIN, *native_ways()) if dtype == np.float32 else ():
            coder = SparseCoder(atoms, Transform(), SparsityTarget(k), how=How(way))
            steps[f"omp_{way}"] = coding_step(half, make_products(coder))
        for pursuit, coder in coders.items():
            steps[pursuit] = coding_step(half, coder)
            if pursuit == "omp":
                steps["statistics"], steps["full_statistics"] = learning[0], full_learning[0]
            both = [coding_step(half, coder), coding_step(other_half, coder)]
            steps[f"{pursuit}_two"] = side_by_side(pool, both)
        seconds = least_seconds(steps, rounds)
    packed = coders["omp"].packed
    row = summary(seconds, d, m, k, len(padded), n, n_block, rows_per_wave(d, m, k), large)
    return row | {"chosen": PLAIN if packed is None else packed.way}


def summary(seconds, d, m, k, padded, n, n_block, wave, large):
    """Rates, microseconds a row, shares and scaling from the seconds of all steps."""
    block_rate = 2 * n * padded * d / seconds["product"]
    large_rate = 2 * large**3 / seconds["large"]
    bound = 2 * m * d / max(block_rate, large_rate)
    row = {"d": d, "m": m, "k": k, "block": n_block}
    row |= {"block_gflops": block_rate / 1e9, "large_gflops": large_rate / 1e9}
    row |= {
        name: seconds[name] / n * 1e6
        for name in seconds
        if name in ("product", "rounded", "omp", "mp", "cast", "centre", "coo", *BY_WAY)
    }
    for kind, rows in (("", wave), ("full_", FIT_ROWS)):
        row[f"{kind}statistics"] = seconds[f"{kind}statistics"] / n * 1e6
        row[f"{kind}update"] = seconds[f"{kind}update"] / rows * 1e6
        row[f"{kind}update_seconds"] = seconds[f"{kind}update"]
        row[f"{kind}share"] = (row[f"{kind}statistics"] + row[f"{kind}update"]) / row["omp"]
    for pursuit in ("omp", "mp"):
        row[f"{pursuit}_share"] = bound / (seconds[pursuit] / n)
        row[f"{pursuit}_scaling"] = 2 * seconds[pursuit] / seconds[f"{pursuit}_two"]
    return row


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument(
        "--shapes", nargs="+", type=common.shape, default=[common.shape(text) for text in SHAPES]
    )
    parser.add_argument("--dtype", choices=("float32", "float64"), default="float32")
    parser.add_argument("--rounds", type=int, default=10)
    parser.add_argument("--large", type=int, default=2048, help="size of the large product (2048)")
    parser.add_argument("--out", type=pathlib.Path, default=pathlib.Path("benchmarks/results"))
    options = parser.parse_args()
    common.restart_pinned(1)
    facts = common.machine_facts()
    notes = NOTES.format(rounds=options.rounds, dtype=options.dtype, fit_rows=FIT_ROWS)
    print("\n".join([*common.describe(facts), "", notes, "", TABLE.header()]), flush=True)
    rows = []
    for d, m, k in options.shapes:
        rows.append(measure(d, m, k, np.dtype(options.dtype), options.rounds, options.large))
        print(TABLE.line(rows[-1]), flush=True)
    name = f"kernels-{options.dtype}-{facts['kind']}"
    parts = ["# Steps of a fit", "\n".join(f"- {line}" for line in common.describe(facts))]
    parts += [notes, TABLE.markdown(rows)]
    results = {"machine": facts, "dtype": options.dtype, "rounds": options.rounds, "records": rows}
    common.save(options.out, name, results, "\n\n".join(parts))
    print(f"tables: {options.out / name}.md, {options.out / name}.json")


if __name__ == "__main__":
    main()
