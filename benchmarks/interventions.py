"""Atoms of a concept turned off: what is said of images afterwards, and what must not change.

    python benchmarks/interventions.py --samples 4000 --sizes 192,6 --out benchmarks/results

draws captioned scenes and embeds them with the small contrastive encoder of the package, learns a
dictionary from one half and names its atoms from the captions of that half. On the other half the
atoms that a concept names are turned off; scores of concepts are cosines with captions of other
scenes. Beside it: as many other atoms of the same images, random directions, and the same with
principal components and random directions as atoms. Leaves ``interventions.json`` and ``.md``.
"""

import argparse
import pathlib
import re
import tempfile

import common
import numpy as np

import daskksvd
from daskksvd.evaluation import intervention_effect
from daskksvd.fitting.result import Result

MEANS = common.Table(
    ("size", "m/k", "<6", ""),
    ("dictionary", "atoms", "<24", ""),
    ("turned", "turned off", "<18", ""),
    ("n_concepts", "concepts", ">8", ".0f"),
    ("n_atoms", "atoms each", ">10", ".1f"),
    ("shift", "length", ">6", ".2f"),
    ("target", "own score", ">9", "+.2f"),
    ("target_interval", "95 %", ">14", ""),
    ("others", "other concepts", ">14", ".2f"),
    ("rivals", "same kind", ">9", "+.2f"),
    ("auroc_before", "AUROC", ">5", ".2f"),
    ("auroc_after", "after", ">5", ".2f"),
    ("others_auroc", "others' AUROC", ">13", "+.3f"),
)
CONCEPTS = common.Table(
    ("concept", "concept", "<10", ""),
    ("n_atoms", "atoms", ">5", ".0f"),
    ("n_samples", "images", ">6", ".0f"),
    ("target", "own score", ">9", "+.2f"),
    ("others", "other concepts", ">14", ".2f"),
    ("rivals", "same kind", ">9", "+.2f"),
    ("auroc_before", "AUROC", ">5", ".2f"),
    ("auroc_after", "after", ">5", ".2f"),
)


def caption_encodings(scenes, n):
    """Encodings of captions of other scenes, by the concept that they mention."""
    others = daskksvd.datasets.make_scenes(n, random_state=scenes.random_state + 1)
    captions = [text for number in range(n) for text in others.captions(number)]
    encodings = daskksvd.embed_texts(captions, model="scenes")
    words = [set(re.findall(r"\w+", text.lower())) for text in captions]
    return {
        concept: encodings[[bool(said & set(scenes.forms[concept])) for said in words]]
        for concept in scenes.concepts
    }


def named_atoms(result, rows, captions, scenes):
    """Concept -> atoms whose first word is a word for it."""
    labels = daskksvd.label(result.encode(rows), captions)
    concept_of = {lemma: concept for concept in scenes.concepts for lemma in scenes.words[concept]}
    atoms = {concept: [] for concept in scenes.concepts}
    for atom, word in enumerate(labels.top_word.values[:, 0].tolist()):
        if word in concept_of:
            atoms[concept_of[word]].append(atom)
    return atoms


def rivals(result, rows, rng):
    """The same with principal components and with random directions for atoms."""
    x = result.coder.transformed(rows)
    m = len(result.dictionary)
    components = np.linalg.svd(x - x.mean(axis=0), full_matrices=False)[2][:m]
    directions = rng.standard_normal((m, x.shape[1])).astype(x.dtype)
    directions /= np.linalg.norm(directions, axis=1, keepdims=True)
    for name, atoms in (("principal components", components), ("random directions", directions)):
        coder = result.coder
        parts = (coder.transform.from_coding(atoms), coder.transform, coder.target)
        yield name, Result(*parts, result.history, result.stop_reason, result.settings)


def measure(m, k, rows, scenes, texts, options):
    """Rows of both tables for one size."""
    half = len(rows) // 2
    train, rest = rows[:half], np.arange(half, len(rows))
    captions = [scenes.captions(number) for number in range(half)]
    how = {"whiten": options.whiten, "nonnegative": options.nonnegative, "random_state": options.seed}
    result = daskksvd.fit(train, n_components=m, n_nonzero_coefs=k, **how)
    means, concepts = [], []
    for name, one in (("K-SVD", result), *rivals(result, train, np.random.default_rng(options.seed))):
        atoms = named_atoms(one, train, captions, scenes)
        effect = intervention_effect(
            one, rows, texts, atoms, truth=scenes.truth(), groups=scenes.groups, rows=rest,
            random_state=options.seed,
        )  # fmt: skip
        print(name, effect, flush=True)
        for turned, row in effect.means.iterrows():
            interval = f"{row.target_low:+.2f} to {row.target_high:+.2f}"
            facts = {"size": f"{m}/{k}", "dictionary": name, "turned": turned, "target_interval": interval}
            means.append({**facts, "n_concepts": effect.attrs["n_concepts"], **row.to_dict()})
        if name == "K-SVD":
            table = effect.table.xs("its atoms", level="turned").sort_values("target")
            concepts += [{"concept": concept, **row.to_dict()} for concept, row in table.iterrows()]
    return means, concepts


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--samples", type=int, default=4000)
    parser.add_argument("--sizes", nargs="+", type=common.size, default=[(192, 6)], help="m,k")
    parser.add_argument("--whiten", type=float, default=0.25)
    parser.add_argument("--nonnegative", action="store_true")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--out", type=pathlib.Path, default=pathlib.Path("benchmarks/results"))
    options = parser.parse_args()
    common.restart_pinned(options.threads)
    facts = common.machine_facts()
    scenes = daskksvd.datasets.make_scenes(options.samples, random_state=options.seed)
    with tempfile.TemporaryDirectory() as folder:
        out = pathlib.Path(folder) / "scenes"
        rows = daskksvd.embed(scenes, out, model="scenes", dtype="float32").array.compute()
    texts = caption_encodings(scenes, options.samples // 2)
    found = [measure(m, k, rows, scenes, texts, options) for m, k in options.sizes]
    tables = [(MEANS, [row for one in found for row in one[0]]), (CONCEPTS, found[0][1])]
    head = (
        f"{len(rows):,} scenes, one half to learn and name on, the other turned (2,000 images at most); "
        f"whiten={options.whiten}, nonnegative={options.nonnegative}. Scores are in standard deviations; "
        "other concepts: mean magnitude of their mean changes; same kind: mean change of the concepts of the "
        "same kind, such as other colours; AUROC: how well the score tells images that show the concept. "
        "The second table is of the learned atoms of the first size."
    )
    for table, lines in tables:
        print(f"\n{table.text(lines)}", flush=True)
    parts = ["# Atoms turned off", common.describe(facts)[-1], head]
    parts += [table.markdown(lines) for table, lines in tables]
    settings = {name: value for name, value in vars(options).items() if name not in ("out", "threads")}
    results = {"software": common.describe(facts)[-1], "settings": settings, "means": tables[0][1]}
    common.save(options.out, "interventions", results | {"concepts": tables[1][1]}, "\n\n".join(parts))


if __name__ == "__main__":
    main()
