"""Words for atoms by gradients through a text encoder: free vectors, which fail, and what helps.

    python benchmarks/tokens_gradient.py --samples 4000 --out benchmarks/results
    python benchmarks/tokens_gradient.py EMBEDDINGS CAPTIONS --model sentence_transformers:FOLDER

EMBEDDINGS is a .npy file or a Zarr array, n x d; CAPTIONS a Parquet file with columns ``sample`` (row of
the embeddings) and ``captions`` (a list of texts). Without them scenes are drawn, and read by the encoder
of the package. Samples are split at random in halves: dictionary, labels and words come from one half, all
scores from the other. Every variant starts from the words of the labels. ``soft`` is one minus the
correlation of captions with what stands in the slots, ``hard`` that with the words it becomes, both on
samples of the first half that are held out; r2, the centred cosine and the ranks among 1,000 captions are
of the words that were accepted, on the second half. Leaves ``tokens_gradient_NAME.json``, ``.md`` and
``.html``, the curves of free vectors beside those of mixtures.
"""

import argparse
import pathlib
import tempfile
import time

import common
import numpy as np
import pandas as pd
import scipy.sparse as sp

import daskksvd
from daskksvd.coding.nonzeros import as_csr
from daskksvd.embedding.slots import PromptSlots, text_model
from daskksvd.evaluation.recovery import names_right
from daskksvd.naming.tokens.accepting import encode_sides
from daskksvd.naming.tokens.gradient import refine
from daskksvd.naming.tokens.mapping import mapping_of_labels
from daskksvd.naming.tokens.sampled import strongest_sides
from daskksvd.rows import as_source

VARIANTS = {
    "free, SGD": {"variant": "free", "optimizer": "sgd"},
    "free, Adam": {"variant": "free"},
    "straight-through": {"variant": "straight_through"},
    "softmax": {"variant": "softmax"},
}
RANKED = 1000
"""Captions that each is ranked among."""

TABLE = common.Table(
    ("method", "method", "<17", ""),
    ("soft", "soft", ">5", ".3f"),
    ("hard", "hard", ">5", ".3f"),
    ("changed", "words changed", ">13", "d"),
    ("r2", "r2", ">5", ".3f"),
    ("cosine", "cosine", ">6", ".3f"),
    ("r10", "R@10", ">5", ".3f"),
    ("median", "median rank", ">11", ".0f"),
    ("right", "name right", ">10", ".2f"),
    ("seconds", "seconds", ">7", ".0f"),
)


def prompt(words):
    """The prompt that lists some words."""
    return "An image of an object characterized by: " + " ".join(f"- {word}" for word in words)


def side_words(labels, top):
    """Words of every side by labels, the best first: lists of 2m, positive sides first."""
    words = mapping_of_labels(labels, top).word.transpose("side", "atom", "slot").values
    return [[word for word in row if word] for row in words.reshape(-1, words.shape[2]).tolist()]


def judge(prompts, targets, seed=0):
    """How much of the targets the prompts explain, and how well they find them."""
    p, c = prompts - prompts.mean(0), targets - targets.mean(0)
    r2 = (p * c).sum() ** 2 / ((p**2).sum() * (c**2).sum())
    unit = [part / np.maximum(np.linalg.norm(part, axis=1, keepdims=True), 1e-9) for part in (p, c)]
    rows = np.random.default_rng(seed).permutation(len(p))[:RANKED]
    near = unit[0][rows] @ unit[1][rows].T
    rank = 1 + (near > np.diag(near)[:, None]).sum(1)
    found = {"r2": r2, "cosine": (unit[0] * unit[1]).sum(1).mean()}
    found |= {"r10": (rank <= 10).mean(), "median": np.median(rank)}
    return {name: float(value) for name, value in found.items()}


def encode_captions(captions, model):
    """Mean unit encodings of the captions of every row, (n, e) float32."""
    with tempfile.TemporaryDirectory() as folder:
        store = daskksvd.embed_captions(captions, pathlib.Path(folder) / "captions.zarr", model=model)
        return store.array.compute().astype(np.float32)


def measure(rows, captions, encodings, options, scenes=None):
    """Every variant from the words of the labels; rows of the table, and the curves."""
    n = len(captions)
    train = np.zeros(n, bool)
    train[np.random.default_rng(options.seed).permutation(n)[: n // 2]] = True
    settings = {"n_components": options.atoms, "n_nonzero_coefs": options.nonzeros}
    result = daskksvd.fit(rows[train], whiten=options.whiten, random_state=options.seed, **settings)
    codes = as_csr(result.encode(rows).compute())
    sides = sp.hstack([codes.maximum(0), (-codes).maximum(0)]).tocsr()
    texts = [some for some, learn in zip(captions, train, strict=True) if learn]
    labels = daskksvd.label(codes[train], texts, top=options.candidates, min_df=options.min_df)
    candidates = side_words(labels, options.candidates)
    start = [words[0] if words else "" for words in candidates]
    words = sorted({word for some in candidates for word in some})
    slots = PromptSlots(text_model(options.model), prompt, options.slots, words)
    number = {word: place for place, word in enumerate(words)} | {"": -1}
    named = np.array([word != "" for word in start])
    listed = strongest_sides(sides[~train], named, options.slots)

    def score(method, chosen, **more):
        numbers = np.array([number[word] for word in chosen])
        row = {"method": method, **judge(encode_sides(slots, listed, numbers), encodings[~train])}
        if scenes is not None:
            row["right"] = share_right(codes[~train], chosen, scenes, ~train)
        return row | more

    lines, curves = [score("labels", start)], {}
    print(TABLE.header(), TABLE.line(lines[0]), sep="\n", flush=True)
    for method, kind in VARIANTS.items():
        began = time.perf_counter()
        shared = {"prompt": prompt, "n_slots": options.slots, "steps": options.steps}
        found = refine(
            sides[train],
            encodings[train],
            slots.encoder,
            candidates,
            start,
            random_state=options.seed,
            batch_size=options.batch,
            **shared,
            **kind,
        )
        seconds, curve = time.perf_counter() - began, found.curve
        ends = {"soft": float(curve.soft_held_out[-1]), "hard": float(curve.hard_held_out[-1])}
        ends |= {"changed": curve.attrs["changed"], "seconds": seconds}
        lines.append(score(method, found.words, **ends))
        curves[method] = curve
        print(TABLE.line(lines[-1]), flush=True)
    return lines, curves


def share_right(codes, chosen, scenes, rows):
    """Share of atoms whose word, of the side used more, is one for the concept that the atom follows most."""
    m = codes.shape[1]
    more = np.asarray((codes > 0).sum(0) >= (codes < 0).sum(0)).ravel()
    names = [chosen[atom] if up else chosen[m + atom] for atom, up in enumerate(more)]
    table = names_right(codes, names, scenes.truth()[rows], scenes.concepts, scenes.words)
    return float(table.right[[name != "" for name in names]].mean())


def save_picture(curves, path):
    """The curves of free vectors beside those of mixtures, as a page."""
    import holoviews as hv

    from daskksvd.view import plots

    shown = plots.gradient_curves([curves["free, Adam"], curves["softmax"]])
    hv.save(shown, path, backend="bokeh", resources="inline", title="Words by gradients")


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("embeddings", nargs="?")
    parser.add_argument("captions", nargs="?")
    parser.add_argument("--model", default="scenes", help="text encoder (scenes)")
    parser.add_argument("--encodings", help=".npy file of mean encodings of captions, instead of making them")
    parser.add_argument("--samples", type=int, default=4000, help="scenes to draw")
    parser.add_argument("--atoms", type=int, default=128)
    parser.add_argument("--nonzeros", type=int, default=5)
    parser.add_argument("--slots", type=int, default=3, help="words of a prompt")
    parser.add_argument("--candidates", type=int, default=20, help="words that a side may have")
    parser.add_argument("--min-df", type=int, help="least captioned samples with a word")
    parser.add_argument("--steps", type=int, default=150)
    parser.add_argument("--batch", type=int, default=64)
    parser.add_argument("--whiten", type=float, default=0.25, help="power of the eigenvalues (0.25)")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--out", type=pathlib.Path, default=pathlib.Path("benchmarks/results"))
    options = parser.parse_args()
    if (options.embeddings is None) != (options.captions is None):
        parser.error("EMBEDDINGS and CAPTIONS go together")
    common.restart_pinned(options.threads)
    facts = common.machine_facts()
    print("\n".join(common.describe(facts)), flush=True)
    scenes = None
    if options.embeddings is None:
        scenes = daskksvd.datasets.make_scenes(options.samples, random_state=options.seed)
        captions = [scenes.captions(place) for place in range(len(scenes))]
        with tempfile.TemporaryDirectory() as folder:
            out = pathlib.Path(folder) / "scenes"
            store = daskksvd.embed(scenes, out, model="scenes", pooling="cls+mean", dtype="float32")
            rows = store.array.compute()
        name = "scenes"
    else:
        rows = as_source(options.embeddings, "embeddings").array
        table = pd.read_parquet(options.captions).set_index("sample").captions
        captions = [list(table.get(place, [])) for place in range(rows.shape[0])]
        name = pathlib.Path(options.embeddings).parent.name
    if options.encodings:
        encodings = np.load(options.encodings).astype(np.float32)
    else:
        encodings = encode_captions(captions, options.model)
    lines, curves = measure(rows, captions, encodings, options, scenes)
    head = (
        f"{name}: {len(captions):,} x {rows.shape[1]}, half to learn on, half to score on; "
        f"{options.atoms} atoms, {options.nonzeros} nonzeros, whiten={options.whiten}; "
        f"{options.slots} words a prompt, {options.candidates} candidates a side, {options.steps} steps of "
        f"{options.batch} samples; text encoder {pathlib.Path(options.model).name}."
    )
    results = {"software": common.describe(facts)[-1], "data": head, "records": lines}
    results["curves"] = {
        method: curve.to_dataframe().reset_index().to_dict("list") for method, curve in curves.items()
    }
    parts = ["# Words by gradients", common.describe(facts)[-1], head, TABLE.markdown(lines)]
    stem = f"tokens_gradient_{name}"
    common.save(options.out, stem, results, "\n\n".join(parts))
    save_picture(curves, options.out / f"{stem}.html")
    print(f"tables and picture: {options.out / stem}.md, .json, .html")


if __name__ == "__main__":
    main()
