"""What codes cost and are worth that are non-negative, or stop at a threshold on correlations.

    python benchmarks/targets.py --embeddings embeddings.npy --out benchmarks/results

leaves ``targets.json`` and ``targets.md``: time and error of coding by each
target beside plain pursuit, on planted rows; errors of a fixed number of
nonzeros and of the same number on average, on embeddings; and how well atoms of
rows are found, and noise is told from them, in a planted non-negative world.
"""

import argparse
import pathlib
import time

import common
import numpy as np

import daskksvd
from daskksvd.coding import SparseCoder, SparsityTarget, code_block, iterate_blocks, make_products
from daskksvd.coding.space import Space
from daskksvd.evaluation.matching import match_atoms
from daskksvd.machine.blas import single_threaded_blas
from daskksvd.rows import Transform

SHAPES = ("768,1536,10", "128,256,5")
BLOCKS = 4
"""Blocks of rows that one timing goes through."""

NOISE_FLOOR = 0.02
"""Noise of the rows that are timed, a number, beside coefficients from 1 to 2."""

UNTOUCHED = 1e-6
"""A threshold under which nothing lies, so that the work is that without."""

COSTS = common.Table(
    ("d", "d", ">4", "d"),
    ("m", "m", ">5", "d"),
    ("k", "k", ">3", "d"),
    ("target", "target", "<24", ""),
    ("micros", "us a row", ">8", ".2f"),
    ("ratio", "of plain", ">8", ".2f"),
    ("spread", "quartiles", ">12", ""),
    ("nonzeros", "nonzeros", ">8", ".2f"),
    ("error", "relative error", ">8", ".4f"),
)
MEANS = common.Table(
    ("k", "k", ">3", "d"),
    ("atoms", "atoms", ">5", "d"),
    ("rule", "rule", "<21", ""),
    ("nonzeros", "nonzeros", ">8", ".2f"),
    ("fvu", "fvu", ">8", ".4f"),
    ("gain", "gain", ">8", ".2%"),
    ("fit_seconds", "fit s", ">6", ".1f"),
    ("rule_seconds", "rule s", ">6", ".2f"),
)
WORLDS = common.Table(
    ("noise", "noise", ">5", ".2f"),
    ("codes", "codes", "<26", ""),
    ("cosine", "mean cos", ">8", ".3f"),
    ("f1", "F1", ">6", ".3f"),
    ("wrong", "wrong", ">7", ".2%"),
    ("estimate", "estimated", ">7", ".2%"),
    ("threshold", "threshold", ">8", ".3f"),
    ("nonzeros", "nonzeros", ">8", ".2f"),
    ("fvu", "fvu", ">6", ".3f"),
    ("seconds", "fit s", ">6", ".1f"),
)

NOTES = """Coding: least microseconds a row of {rounds} rounds, in which targets take turns; of plain: median
of the ratios to plain pursuit of the same round, with their quartiles; float32, one thread. Rows are sums
of k atoms with coefficients from 1 to 2, and noise. Threshold of {untouched:g}: work of one that never stops.
Averages: learned on {train:,} rows ({atoms} atoms), the threshold found on {choose} others, errors on
{test} others; of the same: found on those, so that nonzeros are equal; gain: how much less of the variance is
left than of k nonzeros. World: {world_atoms} atoms of {world_features} features, {active} a row on
average, coefficients from 1 to 2; learned on {world_rows:,} rows, scores on 4,000 others with atoms matched
one to one: F1 of which atoms rows have, and the share of wrong ones among those in codes, beside the
estimate of the mirror rule."""


def positive_rows(rng, atoms, n, active, noise):
    """Rows (n, d) of positive sums of ``active`` atoms on average, and their codes (n, m)."""
    m, d = atoms.shape
    codes = (rng.random((n, m)) < active * np.linspace(0.5, 1.5, m) / m) * rng.uniform(1, 2, (n, m))
    return (codes @ atoms + noise * rng.standard_normal((n, d))).astype(np.float32), codes


def unit_rows(rng, m, d):
    """Random directions, (m, d)."""
    atoms = rng.standard_normal((m, d))
    return atoms / np.linalg.norm(atoms, axis=1, keepdims=True)


def measure_costs(d, m, k, rounds):
    """Seconds of coding by each target, in turn."""
    rng = np.random.default_rng(0)
    atoms = unit_rows(rng, m, d).astype(np.float32)
    targets = {
        "plain": SparsityTarget(k),
        "threshold": SparsityTarget(k, threshold=UNTOUCHED),
        "nonnegative": SparsityTarget(k, nonnegative=True),
        "nonnegative, threshold": SparsityTarget(k, nonnegative=True, threshold=UNTOUCHED),
        "mp": SparsityTarget(k, pursuit="mp"),
        "mp, nonnegative": SparsityTarget(k, pursuit="mp", nonnegative=True),
    }
    coders = {name: make_products(SparseCoder(atoms, Transform(), t)) for name, t in targets.items()}
    blocks = list(iterate_blocks(2**20, coders["plain"]))[:BLOCKS]
    n = blocks[-1].stop
    rows, _ = positive_rows(rng, atoms, n, k, NOISE_FLOOR)
    space, seconds, found = Space(), {name: [] for name in coders}, {}
    with single_threaded_blas():
        for number in range(rounds + 1):
            for name, coder in coders.items():
                began = time.perf_counter()
                coded = [code_block(rows[block], coder, space) for block in blocks]
                if number:  # the first compiles
                    seconds[name].append(time.perf_counter() - began)
                found[name] = coded
    records = []
    for name, coded in found.items():
        left = sum(float((energy - explained).sum()) for _, energy, explained in coded)
        energy = sum(float(energy.sum()) for _, energy, _ in coded)
        ratios, own = np.array(seconds[name]) / seconds["plain"], min(seconds[name]) / n * 1e6
        low, middle, high = np.percentile(ratios, [25, 50, 75])
        records.append(
            {
                "d": d, "m": m, "k": k, "target": name,
                "micros": own, "ratio": float(middle), "spread": f"{low:.2f}-{high:.2f}",
                "nonzeros": sum(int((codes.indices >= 0).sum()) for codes, _, _ in coded) / n,
                "error": float(np.sqrt(left / energy)),
            }
        )  # fmt: skip
    return records


def measure_means(rows, k, options):
    """Errors on rows not seen: of k nonzeros, of k on average, and of positive ones."""
    train, choose, test = np.split(rows, [len(rows) - 2 * options.held, len(rows) - options.held])
    m, records = options.atoms, []

    def learned(atoms, **target):
        began = time.perf_counter()
        settings = {"center": True, "random_state": options.seed, "n_threads": options.threads}
        result = daskksvd.fit(train, n_components=atoms, n_nonzero_coefs=k, **settings, **target)
        return result, time.perf_counter() - began

    def record(rule, result, seconds, of=None):
        began = time.perf_counter()
        if of is not None:
            result = result.with_target(of, n_nonzero_coefs=k, threshold="mean")
        rule_seconds = None if of is None else time.perf_counter() - began
        found = result.evaluate(test)
        records.append(
            {
                "k": k, "atoms": len(result.dictionary), "rule": rule, "nonzeros": found["mean_nonzeros"],
                "fvu": found["fvu"], "fit_seconds": seconds, "rule_seconds": rule_seconds,
            }
        )  # fmt: skip
        records[-1]["gain"] = 1 - found["fvu"] / records[0]["fvu"]

    both = learned(m)
    record("k", *both)
    record("k on average", *both, choose)
    record("the same, of the same", *both, test)
    record("the same, of learned", *both, train)
    for atoms in (m, 2 * m):
        record("k, non-negative", *learned(atoms, nonnegative=True))
    return records


def measure_world(noise, options):
    """What is found of a planted world by each target."""
    rng = np.random.default_rng(options.seed)
    atoms = unit_rows(rng, options.world_atoms, options.world_features)
    rows, codes = positive_rows(rng, atoms, options.world_rows + 4_000, options.active, noise)
    train, test, true = rows[:-4_000], rows[-4_000:], codes[-4_000:] > 0
    k = options.active
    cases = {
        f"{k} nonzeros": {"n_nonzero_coefs": k},
        f"{k}, non-negative": {"n_nonzero_coefs": k, "nonnegative": True},
        f"{k} on average, both signs": {"n_nonzero_coefs": k, "threshold": "mean"},
        f"{k} on average": {"n_nonzero_coefs": k, "nonnegative": True, "threshold": "mean"},
        "noise": {"n_nonzero_coefs": 3 * k, "nonnegative": True, "threshold": "noise"},
    }
    records, result = [], None
    for name, target in cases.items():
        began = time.perf_counter()
        settings = {"n_components": len(atoms), "random_state": options.seed, "n_threads": options.threads}
        result = daskksvd.fit(train, **settings, **target)
        seconds = time.perf_counter() - began
        records.append(
            {**score(result, test, true, atoms), "noise": noise, "codes": name, "seconds": seconds}
        )
    truth = daskksvd.Result(
        atoms.astype(np.float32), Transform(), result.coder.target, result.history, "", result.settings
    )
    for name, target in (
        ("true atoms, noise", cases["noise"]),
        (f"true atoms, {k}", cases[f"{k}, non-negative"]),
    ):
        found = truth.with_target(train if "threshold" in target else None, **target)
        records.append({**score(found, test, true, atoms), "noise": noise, "codes": name})
    return records


def score(result, rows, true, atoms):
    """How well the atoms that rows have are found."""
    match = match_atoms(result.dictionary, atoms)
    used = result.encode(rows).compute().tocsr().toarray() != 0
    right = int((used[:, match.first] & true[:, match.second]).sum())
    found = result.evaluate(rows)
    return {
        "cosine": float(np.abs(match.cosines).mean()),
        "f1": 2 * right / int(used.sum() + true.sum()),
        "wrong": 1 - right / int(used.sum()),
        "estimate": result.false_discovery_rate,
        "threshold": result.coder.target.threshold,
        "nonzeros": found["mean_nonzeros"],
        "fvu": found["fvu"],
    }


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--embeddings", type=pathlib.Path, help=".npy of rows, for averages; without, none")
    parser.add_argument(
        "--shapes", nargs="+", type=common.shape, default=[common.shape(text) for text in SHAPES]
    )
    parser.add_argument("--rounds", type=int, default=20)
    parser.add_argument("--atoms", type=int, default=512, help="learned from embeddings (512)")
    parser.add_argument("--nonzeros", type=int, nargs="+", default=[5, 10, 20])
    parser.add_argument("--held", type=int, default=800, help="rows to choose on, and as many to score on")
    parser.add_argument("--world-rows", type=int, default=26_000)
    parser.add_argument("--world-atoms", type=int, default=256)
    parser.add_argument("--world-features", type=int, default=96)
    parser.add_argument("--active", type=int, default=6)
    parser.add_argument("--noises", type=float, nargs="+", default=[0.1, 0.15, 0.25])
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--out", type=pathlib.Path, default=pathlib.Path("benchmarks/results"))
    options = parser.parse_args()
    common.restart_pinned(options.threads)
    facts = common.machine_facts()
    rows = None
    if options.embeddings is not None:
        rows = np.load(options.embeddings).astype(np.float32)
    notes = NOTES.format(
        rounds=options.rounds, untouched=UNTOUCHED, atoms=options.atoms, choose=options.held,
        test=options.held, train=0 if rows is None else len(rows) - 2 * options.held,
        world_atoms=options.world_atoms, world_features=options.world_features, active=options.active,
        world_rows=options.world_rows,
    )  # fmt: skip
    print("\n".join([*common.describe(facts), "", notes]), flush=True)
    records = {"costs": [], "means": [], "worlds": []}
    for d, m, k in options.shapes:
        records["costs"] += measure_costs(d, m, k, options.rounds)
    print(f"\n{COSTS.text(records['costs'])}", flush=True)
    if rows is not None:
        for k in options.nonzeros:
            records["means"] += measure_means(rows, k, options)
        print(f"\n{MEANS.text(records['means'])}", flush=True)
    for noise in options.noises:
        records["worlds"] += measure_world(noise, options)
    print(f"\n{WORLDS.text(records['worlds'])}", flush=True)
    parts = ["# Targets of codes", "\n".join(f"- {line}" for line in common.describe(facts)), notes]
    parts += [
        f"## {title}\n\n{table.markdown(records[name])}"
        for title, table, name in (
            ("Coding", COSTS, "costs"),
            ("Nonzeros on average", MEANS, "means"),
            ("A planted non-negative world", WORLDS, "worlds"),
        )
        if records[name]
    ]
    common.save(options.out, "targets", {"machine": facts, **records}, "\n\n".join(parts))
    print(f"tables: {options.out / 'targets.md'}, {options.out / 'targets.json'}")


if __name__ == "__main__":
    main()
