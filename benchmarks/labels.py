"""How well atoms can be named, and how much of the captions codes keep, on real data.

    python benchmarks/labels.py EMBEDDINGS CAPTIONS --sizes 128,5 256,10 --out benchmarks/results

EMBEDDINGS is a .npy file or a Zarr array, n x d; CAPTIONS a parquet or text file
with a column ``sample`` (row of the embeddings) and ``caption`` or ``captions``.
Samples are split at random in halves: dictionary, vocabulary, names and read-outs
come from one half, all scores from the other. Dictionaries are learned online and by
K-SVD proper. Prints the share of atoms with a significant name beside chance and
other atoms (random directions, samples, PCA, ...); how well the words of captions are
read from codes; and how far a second seed finds the same. Leaves ``labels.json`` and
``labels.md``.
"""

import argparse
import itertools
import pathlib

import common
import numpy as np

import daskksvd
from daskksvd.captions.words.tokens import Tokenizer
from daskksvd.evaluation.baselines import baseline_codes
from daskksvd.evaluation.scores import score_labels
from daskksvd.evaluation.stability import compare_fits
from daskksvd.evaluation.summary import atom_table
from daskksvd.evaluation.word_prediction import faithfulness
from daskksvd.rows import as_source

BASELINES = ("random directions", "samples", "PCA", "FastICA", "k-means", "k-means, one-hot")

SHARES = common.Table(
    ("size", "m/k, update", "<13", ""),
    ("method", "atoms", "<18", ""),
    ("share_significant", "significant", ">11", ".2f"),
    ("interval", "95 %", ">10", ""),
    ("median_correlation", "phi", ">5", ".3f"),
    ("median_precision", "precision", ">9", ".2f"),
    ("median_lift", "lift", ">5", ".1f"),
    ("median_auroc", "AUROC", ">5", ".3f"),
)
WORDS = common.Table(
    ("size", "m/k, update", "<13", ""),
    ("method", "read-out", "<38", ""),
    ("p1", "P@1", ">5", ".3f"),
    ("p5", "P@5", ">5", ".3f"),
    ("interval", "95 %", ">12", ""),
    ("p10", "P@10", ">5", ".3f"),
    ("r10", "R@10", ">5", ".3f"),
    ("ndcg10", "NDCG@10", ">7", ".3f"),
    ("ceiling", "P@5/ceiling", ">11", ".3f"),
    ("ceiling_interval", "95 %", ">10", ""),
)
SEEDS = common.Table(
    ("size", "m/k, update", "<13", ""),
    ("median_cosine", "median |cos|", ">12", ".2f"),
    ("share_same_atom", "same atom", ">9", ".2f"),
    ("share_same_word", "same name", ">9", ".2f"),
    ("share_same_word_of_same_atoms", "of same atoms", ">13", ".2f"),
    ("stability", "over bootstrap", ">14", ".2f"),
)
ATOMS = common.Table(
    ("atom", "atom", ">4", "d"),
    ("words", "words", "<30", ""),
    ("uses", "uses", ">5", "d"),
    ("correlation", "phi", ">5", ".2f"),
    ("precision", "precision", ">9", ".2f"),
    ("lift", "lift", ">5", ".1f"),
    ("auroc", "AUROC", ">5", ".2f"),
)


def measure(m, k, update, rows, captions, train, options):
    """All scores of one size.

    Parameters
    ----------
    m, k : int
        Atoms and nonzeros.
    update : str
        How the dictionary is learned, as for `daskksvd.fit`.
    rows : dask.array.Array
        Embeddings, n x d.
    captions : path
    train : (n,) boolean array
    options : argparse.Namespace

    Returns
    -------
    dict
    """
    fits = []
    for seed in (options.seed, options.seed + 1):
        settings = {"n_components": m, "n_nonzero_coefs": k, "whiten": options.whiten, "random_state": seed}
        fits.append(daskksvd.fit(rows[train], center=True, update=update, **settings))
    result = fits[0]
    codes = [fit.encode(rows) for fit in fits]
    shared = {"train": train, "tokenizer": Tokenizer(options.language), "random_state": options.seed}
    others = {}
    if options.baselines and update == options.updates[0]:  # they do not depend on it
        others = baseline_codes(
            result, rows, methods=options.baselines, train=train, random_state=options.seed
        )
    resampling = {"n_permutations": options.permutations, "n_resamples": options.resamples}
    scores = score_labels(codes[0], captions, baselines=others, **resampling, **shared)
    second = score_labels(codes[1], captions, n_permutations=0, n_resamples=0, **shared)
    with_all = {"embeddings": rows, "decoder": result.decoder, "n_resamples": options.resamples}
    words = faithfulness(None, codes[0], captions, **with_all, **shared)
    readable = {}
    for name, other in others.items():
        found = faithfulness(None, other, captions, n_resamples=0, **shared)
        readable[name] = found.sel(readout="ridge on codes")
    agreement = compare_fits(*fits, first_names=scores, second_names=second).attrs
    size = f"{m}/{k} {update}"
    return {
        "size": size,
        "summary": f"{scores.attrs['summary']} {words.attrs['summary']}",
        "attrs": {**scores.attrs, **words.attrs},
        "relative_error": float(result.evaluate(rows[~train])["relative_error"]),
        "shares": share_rows(size, scores),
        "words": word_rows(size, words, readable),
        "seeds": {"size": size, **agreement, "stability": float(scores.stability.mean())},
        "atoms": atom_rows(scores),
    }


def share_rows(size, scores):
    """Rows of the table of shares: the codes, chance, baselines."""
    rows = []
    for method in scores.dictionary.values:
        one = scores.sel(dictionary=method)
        row = {name: float(one[name]) for name in scores if scores[name].dims == ("dictionary",)}
        row |= {"size": size, "method": "K-SVD" if method == "codes" else str(method)}
        row["interval"] = between(row["share_significant_low"], row["share_significant_high"])
        rows.append(row)
    chance = {"size": size, "method": "captions shuffled", "share_significant": float(scores.chance_share)}
    return [rows[0], chance, *rows[1:]]


def word_rows(size, words, readable):
    """Rows of the table of read-outs; those of baselines are ridge regressions on their codes."""
    ceiling = float(words.precision.sel(readout="ridge on embeddings", k=5))
    found = [(str(name), words.sel(readout=name)) for name in words.readout.values]
    found += [(f"ridge on codes of {name}", one) for name, one in readable.items()]
    rows = []
    for method, one in found:
        at = {k: one.sel(k=k) for k in (1, 5, 10)}
        row = {"size": size, "method": method, "p1": float(at[1].precision), "p5": float(at[5].precision)}
        row |= {"p10": float(at[10].precision), "r10": float(at[10].recall), "ndcg10": float(at[10].ndcg)}
        row["ceiling"] = row["p5"] / ceiling
        if np.isfinite(at[5].precision_low):
            row["interval"] = between(at[5].precision_low, at[5].precision_high, 3)
            row["ceiling_interval"] = between(at[5].share_of_ceiling_low, at[5].share_of_ceiling_high)
        rows.append(row)
    return rows


def atom_rows(scores, most=20):
    """The best atoms with their words, by held-out correlation."""
    rows = []
    for atom, row in atom_table(scores, most).iterrows():
        words = ", ".join(word for word in scores.words.sel(atom=atom).values if word)
        rows.append(
            {"atom": int(atom), "words": words, **row[["uses", "correlation", "precision"]].to_dict()}
        )
        rows[-1] |= row[["lift", "auroc"]].to_dict()
    return rows


def between(low, high, digits=2):
    return f"{float(low):.{digits}f}-{float(high):.{digits}f}"


def markdown(results):
    """All tables as Markdown."""
    records = results["records"]
    first = records[0]["attrs"]
    parts = ["# Names of atoms", results["software"]]
    parts.append(
        f"{results['data']}: {first['n_train']:,} samples to learn and choose on, {first['n_test']:,} to "
        f"score on, {first['n_words']} words, {first['words_a_sample']:.1f} a sample. "
        f"The test: {first['test']}, q < {first['alpha']:g}, over atoms with at least "
        f"{first['least_uses']} held-out uses; P@5/ceiling: "
        "precision over that of the ridge regression on embeddings."
    )
    parts += [f"{record['size']}: {record['summary']}" for record in records]
    for table, key in ((SHARES, "shares"), (WORDS, "words")):
        parts.append(table.markdown([row for record in records for row in record[key]]))
    parts.append(SEEDS.markdown([record["seeds"] for record in records]))
    for record in records:
        parts.append(f"The best of {record['size']} by held-out correlation:")
        parts.append(ATOMS.markdown(record["atoms"]))
    return "\n\n".join(parts)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("embeddings")
    parser.add_argument("captions")
    parser.add_argument("--sizes", nargs="+", type=common.size, default=[(128, 5), (256, 10)])
    parser.add_argument("--updates", nargs="+", default=["online", "ksvd"])
    parser.add_argument("--whiten", type=float, default=0.25, help="power of the eigenvalues (0.25)")
    parser.add_argument("--language", default="en")
    parser.add_argument("--baselines", nargs="*", default=BASELINES, choices=BASELINES)
    parser.add_argument("--permutations", type=int, default=100)
    parser.add_argument("--resamples", type=int, default=200)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--out", type=pathlib.Path, default=pathlib.Path("benchmarks/results"))
    options = parser.parse_args()
    common.restart_pinned(options.threads)
    facts = common.machine_facts()
    print("\n".join(common.describe(facts)), flush=True)
    rows = as_source(options.embeddings, "embeddings").array
    n = rows.shape[0]
    train = np.zeros(n, bool)
    train[np.random.default_rng(options.seed).permutation(n)[: n // 2]] = True
    records = []
    for (m, k), update in itertools.product(options.sizes, options.updates):
        records.append(measure(m, k, update, rows, options.captions, train, options))
        last = records[-1]
        print(f"\n{last['summary']}\n\n{SHARES.text(last['shares'])}\n\n{WORDS.text(last['words'])}\n")
        print(f"{SEEDS.text([last['seeds']])}\n\n{ATOMS.text(last['atoms'])}", flush=True)
    results = {
        "software": common.describe(facts)[-1],
        "data": f"{pathlib.Path(options.embeddings).parent.name}, {n:,} x {rows.shape[1]} {rows.dtype}",
        "records": records,
    }
    common.save(options.out, "labels", results, markdown(results))
    print(f"\ntables: {options.out / 'labels.md'}, {options.out / 'labels.json'}")


if __name__ == "__main__":
    main()
