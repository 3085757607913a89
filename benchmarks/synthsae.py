"""SynthSAEBench: which of the true features a dictionary finds, learned by `daskksvd.fit`.

    python benchmarks/synthsae.py --size quarter --seeds 11 12 13
    python benchmarks/synthsae.py --size full --threads 2
    python benchmarks/synthsae.py --size small --parts --seeds 201 202 203

Worlds are those of `synthsae_world`: the published law, drawn with seeds of our own. Nothing was chosen by
looking at the default seeds. Scores are the package's, of rows that were not learned from; the threshold of
codes is found without the truth. With ``--parts`` each option of the recipe is left out in turn, and a fit of
a fixed number of nonzeros stands beside. Leaves ``synthsae-SIZE.json`` and ``synthsae-SIZE.md``.
"""

import argparse
import pathlib
import time
from typing import NamedTuple

import common
import numpy as np
from synthsae_world import make_world, scores

import daskksvd


class Size(NamedTuple):
    """A world, and what a dictionary learns from it.

    Attributes
    ----------
    features, d, roots : int
        Of the world.
    atoms : int
    rows, held : int
        Rows to learn from, and to score.
    nonzeros : int
        Most of a code; the threshold ends nearly all before.
    passes : int
    """

    features: int
    d: int
    roots: int
    atoms: int
    rows: int
    held: int
    nonzeros: int
    passes: int


SIZES = {
    "tiny": Size(340, 64, 2, 80, 12_000, 2_000, 12, 6),
    "small": Size(1_024, 96, 8, 256, 60_000, 8_192, 18, 8),
    "quarter": Size(4_096, 192, 32, 1_024, 200_000, 12_288, 24, 8),
    "full": Size(16_384, 768, 128, 4_096, 400_000, 12_288, 48, 5),
}

RECIPE = {
    "nonnegative": True,
    "threshold": "noise",
    "groups": "nested",
    "twins": 0.45,
    "growth": 16,
    "incoherence": 0.05,
}

WITHOUT = {
    "all parts": {},
    "prefix_sums=0.6": {"prefix_sums": 0.6},
    "no incoherence": {"incoherence": 0.0},
    "no growth": {"growth": None},
    "no twins": {"twins": None},
    "no groups": {"groups": None},
    "both signs": {"nonnegative": False, "threshold": "mean"},
}
"""The recipe with a part left out or changed; of both signs half as many nonzeros are used on average."""

PUBLISHED = [
    {"case": f"{name}, published", "f1": f1, "mcc": mcc, "uniqueness": unique, "ev": ev, "l0": 25.0}
    for name, f1, mcc, unique, ev in (
        ("Matryoshka", 0.879, 0.793, 0.999, 0.779),
        ("BatchTopK", 0.732, 0.757, 0.984, 0.792),
        ("JumpReLU", 0.732, 0.753, 0.989, 0.795),
        ("matching pursuit", 0.446, 0.693, 0.828, 0.835),
        ("L1", 0.556, 0.604, 0.898, 0.765),
    )
]
"""Of 200 million samples of the full size on a graphics card (arXiv 2602.14687, table of L0 25)."""

TABLE = common.Table(
    ("case", "case", "<24", ""),
    ("seed", "seed", ">4", "d"),
    ("cpu", "CPU s", ">6", ".1f"),
    ("seconds", "s", ">6", ".1f"),
    ("visited", "rows seen", ">9", ",d"),
    ("f1", "F1", ">5", ".3f"),
    ("precision", "precision", ">5", ".3f"),
    ("recall", "recall", ">5", ".3f"),
    ("mcc", "MCC", ">5", ".3f"),
    ("uniqueness", "unique", ">6", ".3f"),
    ("ev", "EV", ">5", ".3f"),
    ("l0", "L0", ">5", ".1f"),
    ("threshold", "threshold", ">5", ".2f"),
)

ABOUT = (
    "F1, precision and recall: of atoms as tellers of the true features that they are nearest to. MCC: mean "
    "|cos| of the best match of atoms and features. Unique: features that some atom is nearest to, for each "
    "atom. EV: explained variance. All of rows not learned from; seeds of worlds that nothing was chosen by. "
    "True dictionary: the most frequent features as atoms, coded by the same rule. CPU s: of all cores "
    "together; s: by the clock, of a machine that others may use, too."
)


def score(world, result, held, truth):
    """Scores of a result on rows held out, as parts of a row of the table."""
    codes = result.encode(held).compute().tocsr()
    found = scores(world, result.dictionary.values, held, truth, codes, codes @ result.decoder)
    return {
        **{name: getattr(found, name) for name in ("f1", "precision", "recall", "mcc", "uniqueness", "l0")},
        "ev": found.explained_variance,
        "threshold": result.coder.target.threshold,
    }


def learn(case, options, size, rows, seed, threads):
    """One fit; its result, and a row of the table without scores."""
    seen = []
    callbacks = [lambda event: seen.append(event) if type(event).__name__ == "WaveFinished" else None]
    wall, cpu = time.perf_counter(), time.process_time()
    result = daskksvd.fit(
        rows, n_components=size.atoms, n_nonzero_coefs=size.nonzeros, max_passes=size.passes,
        random_state=seed, n_threads=threads, callbacks=callbacks, **options,
    )  # fmt: skip
    record = {
        "case": case,
        "seed": seed,
        "cpu": time.process_time() - cpu,
        "seconds": time.perf_counter() - wall,
        "visited": sum(event.n_samples for event in seen),
    }
    return result, record


def true_result(world, like):
    """A result with the most frequent true features as atoms."""
    atoms = world.features[: len(like.dictionary)]
    target = like.coder.target
    return daskksvd.Result(atoms, like.coder.transform, target, like.history, "", like.settings)


def measure(name, seed, parts, threads):
    """Rows of the table for one world."""
    size = SIZES[name]
    world = make_world(size.features, size.d, size.roots, seed)
    rows, _ = world.sample(size.rows, seed + 1)
    held, truth = world.sample(size.held, seed + 2)
    cases = {case: {**RECIPE, **change} for case, change in WITHOUT.items()}
    cases["fixed number, both signs"] = {}
    records = []
    for case, options in cases.items() if parts else [("daskksvd", RECIPE)]:
        options = dict(options)
        few = size
        if not options.get("nonnegative"):
            few = size._replace(nonzeros=size.nonzeros // 3)
        result, record = learn(case, options, few, rows, seed, threads)
        records.append(record | score(world, result, held, truth))
        print(TABLE.line(records[-1]), flush=True)
        if case in ("daskksvd", "all parts"):
            best = score(world, true_result(world, result), held, truth)
            records.append({"case": "true dictionary", "seed": seed} | best)
            print(TABLE.line(records[-1]), flush=True)
    return records, float(truth.count_nonzero() / size.held)


def main():
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--size", choices=SIZES, default="quarter")
    parser.add_argument("--seeds", type=int, nargs="+", default=[101])
    parser.add_argument("--parts", action="store_true", help="leave out each part of the recipe in turn")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--out", type=pathlib.Path, default=pathlib.Path(__file__).parent / "results")
    options = parser.parse_args()
    common.restart_pinned(1)
    print(TABLE.header())
    records, active = [], []
    for seed in options.seeds:
        found, mean = measure(options.size, seed, options.parts, options.threads)
        records += found
        active.append(mean)
    size, facts = SIZES[options.size], common.machine_facts()
    shown = records + (PUBLISHED if options.size == "full" else [])
    name = f"synthsae-{options.size}" + ("-parts" if options.parts else "")
    text = "\n".join(
        [
            f"# SynthSAEBench, {options.size} size",
            "",
            f"{size.features:,} features in {size.d} dimensions, {np.mean(active):.1f} of them active a row; "
            f"{size.atoms:,} atoms of {size.rows:,} rows, {options.threads} thread(s).",
            "",
            TABLE.markdown(shown),
            "",
            ABOUT,
            "",
            *(f"- {line}" for line in common.describe(facts)),
        ]
    )
    results = {"size": size._asdict(), "recipe": RECIPE, "machine": facts, "rows": shown}
    common.save(options.out, name, results, text)
    print(text)


if __name__ == "__main__":
    main()
