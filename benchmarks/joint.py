"""What dictionaries of images and texts together cost in images, and gain in names and captions.

    python benchmarks/joint.py EMBEDDINGS CAPTIONS ENCODINGS --model sentence_transformers:FOLDER

EMBEDDINGS is a .npy file or a Zarr array, n x d; CAPTIONS a parquet or text file with a column ``sample``
(row of the embeddings) and ``caption`` or ``captions``; ENCODINGS what `daskksvd.embed_captions` makes of
them, which is made with the model where it is not there, or a .npy file, n x e. Samples are split at random
in halves: dictionaries, names and read-outs come from one half, all figures from the other, images coded
alone. Weights of texts and both kinds of text halves are compared with images alone and, as a control, with
captions shuffled across the images that are learned from. Leaves ``joint.json`` and ``joint.md``.
"""

import argparse
import itertools
import pathlib
import time
import warnings

import common
import numpy as np

import daskksvd
from daskksvd.captions.words.tokens import Tokenizer
from daskksvd.evaluation.scores import score_labels
from daskksvd.evaluation.stability import compare_fits
from daskksvd.execution import make_executor
from daskksvd.joint.halves import survey_pairs
from daskksvd.joint.pairs import as_pairs
from daskksvd.joint.refit import read_out
from daskksvd.rows import as_source

TABLE = common.Table(
    ("text", "text half", "<18", ""),
    ("weight", "weight", ">6", ".2f"),
    ("fvu", "FVU of images", ">6", ".4f"),
    ("learned", "significant, learned from", ">6", ".2f"),
    ("significant", "significant names", ">6", ".2f"),
    ("phi", "phi of names", ">6", ".3f"),
    ("r2", "captions r2", ">6", ".3f"),
    ("r10", "R@10", ">6", ".3f"),
    ("median", "median rank", ">6", ".0f"),
    ("cosine", "two seeds: cos", ">6", ".2f"),
    ("same_name", "same name", ">6", ".2f"),
    ("seconds", "seconds a fit", ">6", ".1f"),
)

ABOUT = (
    "FVU: variance of held-out images unexplained, coded alone. Names: by G^2 on codes of images alone; "
    "significant by the exact hypergeometric test, Benjamini-Hochberg, q < .05, on the images learned from, "
    "where a name is the best of all words, and on the others; phi: mean, on the others. Captions: their "
    "mean encodings, predicted on held-out images from codes of images alone by ridge; r2, share of images "
    "whose captions are among the first ten of 1,000 by centred cosine, and their median rank. Two seeds: "
    "median |cos| of matched atoms, and how often both have the same name. Means over seeds of the "
    "dictionary, and over their pairs; the halves are the same."
)

RANKED = 1000
"""Captions among which that of an image is looked for."""


def judge(predicted, texts, mean, rng):
    """Held-out r2 of predicted caption encodings, and ranks of the right one by centred cosine.

    Parameters
    ----------
    predicted, texts : (n, e) arrays
    mean : (e,) array
        Of the encodings learned from.
    rng : numpy.random.Generator

    Returns
    -------
    dict
    """
    predicted, texts = predicted - mean, texts - mean
    r2 = 1 - ((predicted - texts) ** 2).sum() / (texts**2).sum()
    chosen = rng.permutation(len(texts))[:RANKED]
    one, other = (part[chosen] / np.linalg.norm(part[chosen], axis=1)[:, None] for part in (predicted, texts))
    cosines = one @ other.T
    ranks = 1 + (cosines > np.diagonal(cosines)[:, None]).sum(axis=1)
    return {"r2": float(r2), "r10": float((ranks <= 10).mean()), "median": float(np.median(ranks))}


class Data:
    """Images and texts, and which rows are learned from."""

    def __init__(self, images, texts, captions, seed):
        self.images, self.texts, self.captions, self.seed = images, texts, captions, seed
        n = len(images)
        self.train = np.zeros(n, bool)
        self.train[np.random.default_rng(seed).permutation(n)[: n // 2]] = True
        self.mean = texts[self.train].mean(axis=0)
        self.tokenizer = Tokenizer("en")

    def shuffled(self):
        """Texts to learn from, each with another image."""
        texts = self.texts[self.train]
        return texts[np.random.default_rng(self.seed + 1).permutation(len(texts))]

    def names(self, result):
        """Names of atoms, scored on rows not learned from."""
        shared = {"tokenizer": self.tokenizer, "random_state": self.seed, "train": self.train}
        return score_labels(
            result.encode(self.images), self.captions, n_permutations=0, n_resamples=0, **shared
        )

    def learned(self, codes):
        """Share of atoms that have a significant word by the rows learned from."""
        rows = np.flatnonzero(self.train)
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", message=".* of no row of the codes")
            labels = daskksvd.label(codes[rows], self.captions, sample_ids=rows, tokenizer=self.tokenizer)
        return float(labels.significant.mean())


def measure(data, text, weight, settings, seeds):
    """One row of the table: means over dictionaries of several seeds, and over pairs of them.

    Parameters
    ----------
    data : Data
    text : {"none", "captions", "predicted", "shuffled captions"}
    weight : float
    settings : dict
        For `daskksvd.fit`.
    seeds : list of int

    Returns
    -------
    dict
    """
    train = data.train
    began = time.perf_counter()
    results = []
    for seed in seeds:
        if text == "none":
            results.append(daskksvd.fit(data.images[train], random_state=seed, **settings))
            continue
        texts = data.shuffled() if text.startswith("shuffled") else data.texts[train]
        how = {"texts_as": text.removeprefix("shuffled "), "text_weight": weight, "random_state": seed}
        results.append(daskksvd.fit_joint(data.images[train], texts, **how, **settings).images)
    seconds = (time.perf_counter() - began) / len(seeds)
    names = [data.names(result) for result in results]
    rows = [figures(data, *pair) for pair in zip(results, names, strict=True)]
    compared = [
        compare_fits(results[one], results[two], first_names=names[one], second_names=names[two]).attrs
        for one, two in itertools.combinations(range(len(seeds)), 2)
    ]
    return {
        "text": text,
        "weight": weight,
        **{name: float(np.mean([row[name] for row in rows])) for name in rows[0]},
        "cosine": float(np.mean([one["median_cosine"] for one in compared])),
        "same_name": float(np.mean([one["share_same_word"] for one in compared])),
        "seconds": seconds,
    }


def figures(data, result, names):
    """Held-out figures of one dictionary, images coded alone."""
    train, test = data.train, ~data.train
    # of shuffled captions, too, what codes say of true ones is asked
    pairs = as_pairs(data.images[train], data.texts[train])
    found = read_out(pairs, result.coder, data.mean, make_executor(None, 1))
    codes = result.encode(data.images).compute().tocsr()
    predicted = codes[np.flatnonzero(test)] @ found.vectors + found.offset
    return {
        "fvu": result.evaluate(data.images[test])["fvu"],
        "learned": data.learned(codes),
        "significant": float(names.share_significant[0]),
        "phi": float(np.nanmean(names.correlation)),
        **judge(predicted, data.texts[test], data.mean, np.random.default_rng(data.seed)),
    }


def ceiling(data):
    """What ridge says of captions from the embeddings themselves, on rows not learned from."""
    pairs = as_pairs(data.images[data.train], data.texts[data.train])
    facts = survey_pairs(pairs, make_executor(None, 1), None, True)
    predicted = (data.images[~data.train] - facts.images.mean) @ facts.image_to_text + facts.texts.mean
    found = judge(predicted, data.texts[~data.train], data.mean, np.random.default_rng(data.seed))
    return {"text": "embeddings, ridge", "weight": None, **found}


def markdown(results):
    """The table as Markdown."""
    parts = ["# Dictionaries of images and texts together", results["software"], results["about"]]
    return "\n\n".join([*parts, TABLE.markdown(results["records"])])


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("embeddings")
    parser.add_argument("captions")
    parser.add_argument("encodings", type=pathlib.Path)
    parser.add_argument("--model", help="text encoder that makes ENCODINGS")
    parser.add_argument("--atoms", type=int, default=128)
    parser.add_argument("--nonzeros", type=int, default=5)
    parser.add_argument("--whiten", type=float, default=0.25)
    parser.add_argument("--captions-weights", type=float, nargs="*", default=[0.05, 0.1, 0.2, 0.35, 0.5, 0.8])
    parser.add_argument("--predicted-weights", type=float, nargs="*", default=[0.1, 0.2, 0.35, 0.5])
    parser.add_argument("--shuffled-weights", type=float, nargs="*", default=[0.2, 0.35, 0.5])
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--seeds", type=int, default=3, help="dictionaries of each kind, for means")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--out", type=pathlib.Path, default=pathlib.Path("benchmarks/results"))
    options = parser.parse_args()
    if options.seeds < 2:
        parser.error(f"--seeds {options.seeds}: names of two dictionaries are compared; give 2 or more")
    common.restart_pinned(options.threads)
    facts = common.machine_facts()
    print("\n".join(common.describe(facts)), flush=True)
    images = as_source(options.embeddings, "embeddings").array.compute().astype(np.float32)
    if not options.encodings.exists():
        daskksvd.embed_captions(options.captions, options.encodings, model=options.model, n=len(images))
    texts = as_source(options.encodings, "encodings").array.compute().astype(np.float32)
    data = Data(images, texts, options.captions, options.seed)
    settings = {"n_components": options.atoms, "n_nonzero_coefs": options.nonzeros, "whiten": options.whiten}
    settings["n_threads"] = options.threads
    kinds = (
        ("captions", options.captions_weights),
        ("predicted", options.predicted_weights),
        ("shuffled captions", options.shuffled_weights),
    )
    cases = [("none", 0.0), *((text, weight) for text, weights in kinds for weight in weights)]
    print(TABLE.header(), flush=True)
    records = []
    for text, weight in cases:
        records.append(
            measure(data, text, weight, settings, list(range(options.seed, options.seed + options.seeds)))
        )
        print(TABLE.line(records[-1]), flush=True)
    records.append(ceiling(data))
    print(TABLE.line(records[-1]))
    folder, (learn, score) = pathlib.Path(options.embeddings).parent.name, np.bincount(~data.train)
    results = {
        "software": common.describe(facts)[-1],
        "about": f"{folder}: {learn:,} images to learn from, {score:,} to score on; {options.atoms} atoms, "
        f"{options.nonzeros} nonzeros, whitened by {options.whiten:g}. {ABOUT}",
        "records": records,
    }
    common.save(options.out, "joint", results, markdown(results))
    print(f"\ntables: {options.out / 'joint.md'}, {options.out / 'joint.json'}")


if __name__ == "__main__":
    main()
