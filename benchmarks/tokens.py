"""How near words of atoms come to captions, as a text encoder reads both, and what choosing them takes.

    python benchmarks/tokens.py EMBEDDINGS CAPTIONS ENCODINGS --model sentence_transformers:FOLDER
    python benchmarks/tokens.py EMBEDDINGS CAPTIONS ENCODINGS --model MODEL --repeats 5
    python benchmarks/tokens.py --scenes 4000
    python benchmarks/tokens.py --scale

EMBEDDINGS, CAPTIONS and ENCODINGS are as for ``joint.py``. Samples are split at random in halves: dictionary,
labels and words come from one half, all figures from the other. ``--repeats`` takes so
many halves and dictionaries instead, and only labels and descent. ``--scenes`` draws so many scenes, of
which the concepts are known, and reads them by the encoder of the package. ``--scale`` adds up 800,000
samples of 10 nonzeros and 384 numbers, and descends over 30,000 words and 1,536 atoms, on random numbers.
Leaves ``tokens.json`` and ``tokens.md``, or those of ``tokens-repeats``, ``tokens-scenes`` or
``tokens-scale``.
"""

import argparse
import pathlib
import resource
import tempfile
import time

import common
import dask.array as da
import numpy as np
import scipy.sparse as sp
from tokens_gradient import share_right

import daskksvd
from daskksvd.coding.nonzeros import open_code_rows
from daskksvd.embedding.texts import as_text_encoder
from daskksvd.evaluation.diagram import MAPPING, SHUFFLED
from daskksvd.naming import map_tokens
from daskksvd.naming.tokens.descent import best_words, descend, text_vectors
from daskksvd.naming.tokens.inputs import open_material, words_to_try
from daskksvd.naming.tokens.parting import VALIDATION
from daskksvd.naming.tokens.sums import Prediction, add_sums, sum_up, sum_up_parts
from daskksvd.rows import as_source

TABLE = common.Table(
    ("way", "way", "<36", ""),
    ("words", "words a prompt", ">6", ""),
    ("r2", "r2", ">6", ".3f"),
    ("low", "from", ">6", ".3f"),
    ("high", "to", ">6", ".3f"),
    ("cosine", "cosine", ">6", ".3f"),
    ("r10", "R@10", ">6", ".3f"),
    ("median", "median rank", ">6", ".0f"),
    ("seconds", "seconds", ">8", ".1f"),
    ("encoded", "encodings made", ">8", ",d"),
)

SCENES = common.Table(*TABLE.columns[:8], ("right", "name right", ">6", ".2f"))

SCALE = common.Table(
    ("step", "step", "<36", ""),
    ("seconds", "seconds", ">8", ".1f"),
    ("processor", "CPU seconds", ">8", ".1f"),
    ("peak", "peak memory, GB", ">8", ".2f"),
)

REPEATS = common.Table(
    ("way", "way", "<36", ""),
    ("r2", "r2", ">6", ".4f"),
    ("low", "least", ">6", ".4f"),
    ("high", "most", ">6", ".4f"),
    ("cosine", "cosine", ">6", ".3f"),
    ("r10", "R@10", ">6", ".3f"),
    ("median", "median rank", ">6", ".1f"),
)

ABOUT = (
    "r2: share of the variance of held-out mean caption encodings that encodings of prompts explain after "
    "one fitted scale, both centred, with a 95 % bootstrap interval; cosine of the same; ranks of the own "
    "captions among 1,000. Seconds and encodings: to choose the words, those of the captions apart."
)

ABOUT_SCENES = (
    "{:,} scenes, half to learn and choose words on, half to score; {} atoms, {} nonzeros, whitened by a "
    "quarter, the encoder of the package. Name right: share of the words, of the side used more, that are "
    "for the concept that the atom follows most. The rest as in tokens.md."
)

ABOUT_REPEATS = (
    "One word an atom, three a prompt: means over {} random halves, each with its own dictionary, and "
    "the range of r2. 2,000 held-out images each; the rest as in tokens.md."
)

CASES = (
    ("labels by G^2", {"method": "labels", "n_slots": 3}),
    ("greedy", {"method": "greedy", "n_slots": 3}),
    ("descent", {"method": "descent", "n_slots": 3}),
    ("descent, significant words only", {"method": "descent", "n_slots": 3, "significant_only": True}),
    ("four weighted words an atom", {"n_words": 4, "n_slots": 5}),
)


REPEATED = ("labels by G^2", "descent")
"""Ways that are compared over several halves."""


class Counted:
    """An encoder that counts the texts that it encodes."""

    def __init__(self, encoder):
        self.encoder, self.count = as_text_encoder(encoder), 0

    def __call__(self, texts):
        self.count += len(texts)
        return self.encoder.encode(texts)


def record(way, table, row, words, seconds=None, encoded=None):
    """One line of the table from one of `daskksvd.faithfulness`."""
    found = table.sel(way=row)
    return {
        "way": way,
        "words": words,
        "r2": float(found.r2),
        "low": float(found.r2_low),
        "high": float(found.r2_high),
        "cosine": float(found.cosine),
        "r10": float(found.recall_at_10),
        "median": float(found.median_rank),
        "seconds": seconds,
        "encoded": encoded,
    }


def learn(images, captions, settings, seed):
    """A random half of the samples, codes by what was learned from it, and labels by it."""
    n = len(images)
    train = np.zeros(n, bool)
    train[np.random.default_rng(seed).permutation(n)[: n // 2]] = True
    result = daskksvd.fit(images[train], random_state=seed, **settings)
    codes, rows = result.encode(images).compute().tocsr(), np.flatnonzero(train)
    return train, codes, daskksvd.label(codes[rows], captions, sample_ids=rows)


def measure(
    images, captions, encodings, encoder, settings, *, seed=0, n_scored=1000, scenes=None, told=print
):
    """All lines of the table.

    Parameters
    ----------
    images : (n, d) array
    captions : as for `daskksvd.label`
    encodings : (n, e) array
    encoder : as for `map_tokens`
    settings : dict
        For `daskksvd.fit`.
    seed, n_scored : int
    scenes : datasets.CaptionedScenes, optional
        Of which the samples are.
    told : callable
        Takes every line.

    Returns
    -------
    list of dict
    """
    train, codes, labels = learn(images, captions, settings, seed)
    how = {"encodings": encodings, "train": train, "random_state": seed}
    records = []
    for way, options in CASES:
        counted, began = Counted(encoder), time.perf_counter()
        needs = (
            {"labels": labels} if options.get("method") == "labels" or "significant_only" in options else {}
        )
        mapping = map_tokens(codes, captions, counted, **needs, **how, **options)
        seconds, made = time.perf_counter() - began, counted.count
        last = way == CASES[-1][0]
        table = daskksvd.faithfulness(
            mapping,
            codes,
            captions,
            encoder=counted,
            embeddings=images if last else None,
            n_scored=n_scored,
            **how,
        )
        records.append(record(way, table, MAPPING, options["n_slots"], seconds, made))
        if scenes is not None:
            chosen = mapping.word.transpose("side", "atom", "slot").values[..., 0].ravel()
            records[-1]["right"] = share_right(codes[np.flatnonzero(~train)], chosen, scenes, ~train)
        told(records[-1])
    others = [str(row) for row in table.way.values if row not in (MAPPING, "mean caption")]
    for row in others:
        shown = "-" if row.startswith("ridge") or row == "another caption" else table.attrs["n_slots"]
        records.append(record(row, table, row, shown))
        told(records[-1])
    assert SHUFFLED in others
    return records


def repeat(images, captions, encodings, encoder, settings, *, seeds=5, n_scored=2000, told=print):
    """Labels and words by descent over several halves and dictionaries: means, and the range of r2.

    Parameters are those of `measure`; words of the captions are the same for all.
    """
    material = open_material(np.ones((len(images), 1), np.float32), captions, None, encodings=encodings)
    vocabulary = words_to_try(material, None, None, None, None)
    cases = [(way, options) for way, options in CASES if way in REPEATED]
    found = {way: [] for way, _ in cases}
    for seed in range(seeds):
        train, codes, labels = learn(images, captions, settings, seed)
        how = {"encodings": encodings, "train": train, "random_state": seed}
        for way, options in cases:
            given = {"labels": labels} if options["method"] == "labels" else {}
            mapping = map_tokens(codes, None, encoder, vocabulary=vocabulary, **given, **how, **options)
            table = daskksvd.faithfulness(
                mapping, codes, None, encoder=encoder, n_scored=n_scored, n_resamples=0, **how
            )
            found[way].append(record(way, table, MAPPING, options["n_slots"]))
            told({**found[way][-1], "way": f"{way}, {seed}"})
    means = []
    for way, rows in found.items():
        values = {name: np.array([row[name] for row in rows]) for name in ("r2", "cosine", "r10", "median")}
        mean = {name: float(value.mean()) for name, value in values.items()}
        limits = {"low": float(values["r2"].min()), "high": float(values["r2"].max())}
        means.append({"way": way, **mean, **limits})
    return means


def draw(n, seed):
    """So many scenes, their embeddings, captions, and encodings of these, by the encoder of the package."""
    scenes = daskksvd.datasets.make_scenes(n, random_state=seed)
    captions = [scenes.captions(place) for place in range(n)]
    with tempfile.TemporaryDirectory() as folder:
        out = pathlib.Path(folder)
        how = {"model": "scenes", "pooling": "cls+mean", "dtype": "float32"}
        rows = daskksvd.embed(scenes, out / "scenes", **how).array.compute()
        texts = daskksvd.embed_captions(captions, out / "texts.zarr", model="scenes").array.compute()
    return scenes, rows, captions, texts.astype(np.float32)


def scale(n=800_000, m=1536, k=10, e=384, words=30_000):
    """Seconds and memory of all that descent takes but encodings of words, on random numbers."""
    rng = np.random.default_rng(0)
    atoms = rng.integers(0, m, size=(n, k), dtype=np.int32)
    values = rng.standard_normal((n, k), dtype=np.float32)
    codes = sp.csr_matrix((values.ravel(), atoms.ravel(), np.arange(0, n * k + 1, k)), shape=(n, m))
    block = rng.standard_normal((min(n, 2**14), e), dtype=np.float32).astype(np.float16)
    encodings = da.concatenate([da.from_array(block, chunks=len(block)) for _ in range(-(-n // len(block)))])[
        :n
    ]
    records = []

    def timed(step, function, *arguments, **options):
        began, used = time.perf_counter(), time.process_time()
        found = function(*arguments, **options)
        seconds, used = time.perf_counter() - began, time.process_time() - used
        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e6
        records.append({"step": step, "seconds": seconds, "processor": used, "peak": peak})
        return found

    rows, fit = open_code_rows(codes), rng.random(n) >= VALIDATION
    timed("sums, all magnitudes", sum_up, rows, encodings)
    parts = timed("the same of two parts", sum_up_parts, rows, encodings, (fit, ~fit))
    whole = add_sums(parts).centred()
    found = timed("ridge regression", text_vectors, *(part.centred() for part in parts), whole).vectors
    listed = {"n_slots": 3, "weights": np.linalg.norm(found, axis=1) ** 0.5}
    listed["prediction"] = Prediction(whole.encoding - whole.mean @ found, found)
    sums = timed("sums, three words a prompt, predicted", sum_up, rows, encodings, **listed).centred()
    vectors = rng.standard_normal((words, e))
    start = timed("best word of each side", best_words, sums, vectors)
    timed("descent", descend, sums, vectors, start)
    return records


def markdown(results, table=TABLE):
    """The table as Markdown."""
    parts = ["# Words of atoms through a text encoder", results["software"], results["about"]]
    return "\n\n".join([*parts, table.markdown(results["records"])])


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("embeddings", nargs="?")
    parser.add_argument("captions", nargs="?")
    parser.add_argument("encodings", nargs="?", type=pathlib.Path)
    parser.add_argument("--scale", action="store_true", help="time sums and descent at full size")
    parser.add_argument("--scenes", type=int, default=0, help="scenes to draw, in place of EMBEDDINGS")
    parser.add_argument("--repeats", type=int, default=0, help="halves and dictionaries for a mean over them")
    parser.add_argument("--model", help="text encoder")
    parser.add_argument("--atoms", type=int, default=128)
    parser.add_argument("--nonzeros", type=int, default=5)
    parser.add_argument("--whiten", type=float, default=0.25)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--out", type=pathlib.Path, default=pathlib.Path("benchmarks/results"))
    options = parser.parse_args()
    common.restart_pinned(options.threads)
    facts = common.machine_facts()
    print("\n".join(common.describe(facts)), flush=True)
    results = {"software": common.describe(facts)[-1], "about": ABOUT}
    settings = {"n_components": options.atoms, "n_nonzero_coefs": options.nonzeros}
    settings |= {"whiten": options.whiten, "n_threads": options.threads}
    if options.scale:
        table, name = SCALE, "tokens-scale"
        results["about"] = (
            "800,000 samples, 10 nonzeros, 384 numbers; 1,536 atoms (3,072 sides), 30,000 words."
        )
        results["records"] = scale()
        print(table.text(results["records"]))
    elif options.scenes:
        table, name = SCENES, "tokens-scenes"
        results["about"] = ABOUT_SCENES.format(options.scenes, options.atoms, options.nonzeros)
        scenes, *given = draw(options.scenes, options.seed)
        print(table.header(), flush=True)
        told = lambda line: print(table.line(line), flush=True)  # noqa: E731
        how = {"seed": options.seed, "scenes": scenes, "told": told}
        results["records"] = measure(*given, "scenes", settings, **how)
    else:
        table, name = TABLE, "tokens"
        images = as_source(options.embeddings, "embeddings").array.compute().astype(np.float32)
        if not options.encodings.exists():
            daskksvd.embed_captions(options.captions, options.encodings, model=options.model, n=len(images))
        texts = as_source(options.encodings, "encodings").array.compute().astype(np.float32)
        given = (images, options.captions, texts, options.model, settings)
        print(table.header(), flush=True)
        told = lambda line: print(table.line(line), flush=True)  # noqa: E731
        if options.repeats:
            results["records"] = repeat(*given, seeds=options.repeats, told=told)
            table, name, results["about"] = REPEATS, "tokens-repeats", ABOUT_REPEATS.format(options.repeats)
            print(f"\n{table.text(results['records'])}")
        else:
            results["records"] = measure(*given, seed=options.seed, told=told)
    common.save(options.out, name, results, markdown(results, table))
    print(f"\ntables: {options.out / name}.md, {options.out / name}.json")


if __name__ == "__main__":
    main()
