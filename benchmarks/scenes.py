"""True concepts against atoms: images of scenes, embedded, coded and named.

    python benchmarks/scenes.py --samples 6000 --sizes 128,8 --out benchmarks/results

draws captioned scenes, embeds them with the small encoder of the package, learns
a dictionary from one half and codes all. On the other half it scores how well
atoms tell the concepts that are really there, beside principal and independent
components, k-means, samples and random directions with as many atoms and
nonzeros, and how many names are words for what the atom shows. Leaves
``scenes.json`` and ``scenes.md``.
"""

import argparse
import pathlib
import tempfile

import common
import numpy as np

import daskksvd
from daskksvd.evaluation.baselines import baseline_codes
from daskksvd.evaluation.recovery import concept_recovery, names_right, recovery_table
from daskksvd.evaluation.scores import score_labels

RECOVERY = common.Table(
    ("size", "m/k", "<6", ""),
    ("dictionary", "atoms", "<18", ""),
    ("mean_f1", "F1", ">4", ".2f"),
    ("f1_interval", "95 %", ">9", ""),
    ("mean_precision", "precision", ">9", ".2f"),
    ("mean_recall", "recall", ">6", ".2f"),
    ("mean_auroc", "AUROC", ">5", ".2f"),
    ("auroc_interval", "95 %", ">9", ""),
    ("purity", "purity", ">6", ".2f"),
    ("corrected_purity", "over chance", ">11", ".2f"),
    ("n_sides", "sides", ">5", ".0f"),
)
NAMES = common.Table(
    ("size", "m/k", "<6", ""),
    ("dictionary", "atoms", "<18", ""),
    ("significant", "significant name", ">16", ".2f"),
    ("right", "name right", ">10", ".2f"),
    ("among_three", "among 3 best concepts", ">21", ".2f"),
)


def embed(scenes, pooling):
    """Embeddings (n, d) float32 of scenes by the package's encoder."""
    with tempfile.TemporaryDirectory() as folder:
        out = pathlib.Path(folder) / "scenes"
        return daskksvd.embed(scenes, out, model="scenes", pooling=pooling, dtype="float32").array.compute()


def measure(m, k, rows, scenes, captions, options):
    """Both tables of one size, as lists of rows."""
    truth = scenes.truth()
    train = np.arange(len(rows)) < len(rows) // 2
    settings = {
        "n_components": m,
        "n_nonzero_coefs": k,
        "whiten": options.whiten,
        "random_state": options.seed,
    }
    result = daskksvd.fit(rows[train], update=options.update, **settings)
    codes = {"K-SVD": result.encode(rows)}
    codes |= baseline_codes(result, rows, train=train, random_state=options.seed)
    found = concept_recovery(codes, truth, concepts=scenes.concepts, train=train, random_state=options.seed)
    size = f"{m}/{k}"
    recovery = []
    for name, row in recovery_table(found).iterrows():
        row = {"size": size, "dictionary": name, **row.to_dict()}
        for measure in ("f1", "auroc"):
            low, high = row[f"mean_{measure}_low"], row[f"mean_{measure}_high"]
            row[f"{measure}_interval"] = f"{low:.2f}-{high:.2f}"
        recovery.append(row)
    names = []
    for name, value in codes.items():
        scores = score_labels(
            value, captions, train=train, n_permutations=0, n_resamples=0, random_state=options.seed
        )
        table = names_right(value, scores.word.values.tolist(), truth, scenes.concepts, scenes.words)
        named = table[scores.significant.values]
        row = {"size": size, "dictionary": name, "significant": float(scores.share_significant[0])}
        row |= {"right": float(named.right.mean()), "among_three": float((named["rank"] <= 3).mean())}
        names.append(row)
    return {"recovery": recovery, "names": names}


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--samples", type=int, default=6000)
    parser.add_argument("--sizes", nargs="+", type=common.size, default=[(128, 8)])
    parser.add_argument("--whiten", type=float, default=0.25)
    parser.add_argument("--update", default="online")
    parser.add_argument("--pooling", default="cls+mean", help="of the encoder (cls+mean)")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--out", type=pathlib.Path, default=pathlib.Path("benchmarks/results"))
    options = parser.parse_args()
    common.restart_pinned(options.threads)
    facts = common.machine_facts()
    scenes = daskksvd.datasets.make_scenes(options.samples, random_state=options.seed)
    captions = [scenes.captions(number) for number in range(len(scenes))]
    rows = embed(scenes, options.pooling)
    head = (
        f"{len(rows):,} scenes, {len(scenes.concepts)} concepts, embeddings of {rows.shape[1]} features "
        f"({options.pooling}), whiten={options.whiten}, update={options.update!r}; one half to learn and "
        "choose on, scores on the other."
    )
    print(head, flush=True)
    records = [measure(m, k, rows, scenes, captions, options) for m, k in options.sizes]
    tables = [
        (RECOVERY, [row for record in records for row in record["recovery"]]),
        (NAMES, [row for record in records for row in record["names"]]),
    ]
    for table, lines in tables:
        print(f"\n{table.text(lines)}", flush=True)
    parts = ["# Concepts of scenes", common.describe(facts)[-1], head]
    parts += [table.markdown(lines) for table, lines in tables]
    settings = {name: value for name, value in vars(options).items() if name not in ("out", "threads")}
    results = {"software": common.describe(facts)[-1], "settings": settings, "records": records}
    common.save(options.out, "scenes", results, "\n\n".join(parts))
    print(f"tables: {options.out / 'scenes.md'}, {options.out / 'scenes.json'}")


if __name__ == "__main__":
    main()
