"""What atoms are good for: labels told by a few, classes, retrieval, and how alike their images are.

    python benchmarks/uses.py scenes
    python benchmarks/uses.py EMBEDDINGS CAPTIONS --encodings ENCODINGS

Learns a dictionary on one half of the samples, and judges codes on the other, beside principal
components, single features and codes by random directions. Labels are the concepts of drawn scenes,
or the most frequent words of captions. The judge of how alike images of an atom are is what is true
of a scene, or encodings of captions by a text model. Leaves ``uses-NAME.json`` and ``.md``.
"""

import argparse
import pathlib
import tempfile

import common
import numpy as np

import daskksvd
from daskksvd.evaluation import baseline_codes, concept_bottleneck, monosemanticity, retrieval, sparse_probes
from daskksvd.naming.inputs import frequent, gather

PROBES = common.Table(
    ("features", "features", "<21", ""),
    ("k", "k", ">3", ""),
    ("auroc", "AUROC", ">6", ".3f"),
    ("auroc_interval", "95 %", ">11", ""),
    ("f1", "F1", ">6", ".3f"),
    ("f1_interval", "95 %", ">11", ""),
    ("average_precision", "average precision", ">17", ".3f"),
)
OTHERS = common.Table(
    ("measure", "measure", "<32", ""),
    ("features", "features", "<21", ""),
    ("value", "value", ">6", ".3f"),
    ("interval", "95 %", ">12", ""),
)


def scenes_material(options):
    """Rows, labels, their names, classes and a judge of drawn scenes."""
    scenes = daskksvd.datasets.make_scenes(options.samples, random_state=options.seed)
    with tempfile.TemporaryDirectory() as folder:
        out = pathlib.Path(folder) / "scenes"
        rows = daskksvd.embed(scenes, out, model="scenes", dtype="float32").array.compute()
    truth = scenes.truth()
    places = [c for c, name in enumerate(scenes.concepts) if scenes.groups[name] == "background"]
    classes = np.array(scenes.concepts)[places][truth[:, places].argmax(axis=1)]
    return rows, truth, list(scenes.concepts), classes, truth.astype(np.float32)


def captions_material(options):
    """The same of embeddings and captions; classes are the most frequent word, and whether it is said."""
    rows = np.load(options.embeddings).astype(np.float32)
    samples = gather(np.ones((len(rows), 1)), options.captions)
    kept = frequent(samples.words, np.arange(len(rows) // 2))[: options.words]
    labels, names = samples.words[:, kept], samples.vocabulary[kept].tolist()
    judge = None if options.encodings is None else np.load(options.encodings)
    asked = names.index(options.word) if options.word in names else 0
    classes = np.where(labels[:, asked].toarray()[:, 0] > 0, names[asked], f"no {names[asked]}")
    return rows, labels, names, classes, judge


def interval(row, name):
    return f"{row[f'{name}_low']:.3f}-{row[f'{name}_high']:.3f}"


def measure(material, options):
    """Rows of both tables."""
    rows, labels, names, classes, judge = material
    train = np.arange(len(rows)) < len(rows) // 2
    m, k = options.size
    how = {"whiten": options.whiten, "nonnegative": options.nonnegative, "random_state": options.seed}
    result = daskksvd.fit(rows[train], n_components=m, n_nonzero_coefs=k, **how)
    codes = result.encode(rows).compute()
    given = {"embeddings": rows, "result": result, "random_state": options.seed}
    probes = sparse_probes(codes, labels, names=names, train=train, **given)
    first = [
        {"features": features, "k": k, **row.to_dict(), "auroc_interval": interval(row, "auroc"),
         "f1_interval": interval(row, "f1")}
        for (features, k), row in probes.means.iterrows()
    ]  # fmt: skip
    second = []
    found = concept_bottleneck(codes, classes, train=train, **given)
    measured = f"accuracy, {len(found.classes)} classes"
    for features, row in found.table.iterrows():
        told = {"value": row.accuracy, "interval": interval(row, "accuracy")}
        second.append({"measure": measured, "features": features, **told})
    found = retrieval(codes, labels, rows=np.flatnonzero(~train), n_queries=500, **given)
    for features, row in found.table.iterrows():
        told = {"value": row.jaccard, "interval": interval(row, "jaccard")}
        second.append({"measure": "labels of the 10 nearest, Jaccard", "features": features, **told})
    if judge is not None:
        others = baseline_codes(
            result, rows, train=train, methods=("random directions", "PCA", "samples"), random_state=0
        )
        found = monosemanticity(
            codes[~train], judge[~train], others={n: c[~train] for n, c in others.items()}
        )
        for features, row in found.means.iterrows():
            told = {"value": row.score, "interval": interval(row, "score")}
            second.append({"measure": "monosemanticity", "features": features, **told})
        second.append({"measure": "monosemanticity", "features": "any samples", "value": found.chance})
        second[-1]["interval"] = ""
    return first, second


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("embeddings", help="'scenes', or a .npy file")
    parser.add_argument("captions", nargs="?")
    parser.add_argument("--encodings", type=pathlib.Path, help=".npy file of the judge")
    parser.add_argument("--samples", type=int, default=4000, help="scenes (4000)")
    parser.add_argument("--size", type=common.size, default=(128, 6), help="m,k (128,6)")
    parser.add_argument("--words", type=int, default=100, help="labels of captions (100)")
    parser.add_argument("--word", default="dog", help="that classes are made of (dog)")
    parser.add_argument("--whiten", type=float, default=0.25)
    parser.add_argument("--nonnegative", action="store_true")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--name", help="of the results")
    parser.add_argument("--out", type=pathlib.Path, default=pathlib.Path("benchmarks/results"))
    options = parser.parse_args()
    common.restart_pinned(options.threads)
    facts = common.machine_facts()
    scenes = options.embeddings == "scenes"
    material = scenes_material(options) if scenes else captions_material(options)
    head = (
        f"{len(material[0]):,} samples, {len(material[2])} labels, m, k = {options.size}, "
        f"whiten={options.whiten}, nonnegative={options.nonnegative}; one half to learn, choose and fit on, "
        "the other to judge. Features of atoms are their two sides; projections on atoms are correlations "
        "with all atoms, without a code."
    )
    print(head, flush=True)
    tables = list(zip((PROBES, OTHERS), measure(material, options), strict=True))
    for table, lines in tables:
        print(f"\n{table.text(lines)}", flush=True)
    parts = ["# What atoms are good for", common.describe(facts)[-1], head]
    parts += [table.markdown(lines) for table, lines in tables]
    # files by their names, not by the folders of a machine
    settings = {
        name: pathlib.Path(value).name if isinstance(value, (str, pathlib.Path)) else str(value)
        for name, value in vars(options).items()
        if name not in ("out", "threads")
    }
    results = {"software": common.describe(facts)[-1], "settings": settings}
    name = f"uses-{options.name or ('scenes' if scenes else 'captions')}"
    results |= {"probes": tables[0][1], "others": tables[1][1]}
    common.save(options.out, name, results, "\n\n".join(parts))


if __name__ == "__main__":
    main()
