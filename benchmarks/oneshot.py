"""What codes without pursuit leave, here and in SAELens, of the same dictionary.

    python benchmarks/oneshot.py EMBEDDINGS --atoms 512 --nonzeros 5 10 20

EMBEDDINGS is a .npy file or a Zarr array, n x d. A share of the rows is held out at random, ``--group 5``
rows at a time that belong together, as captions of an image do. A dictionary and an encoder are learned from
the others, and all figures are of the rows held out. Where SAELens is installed (`ci/interop.sh` makes such
an environment), the dictionary is exported to it and coded there. Leaves ``oneshot-NAME.json`` and
``oneshot-NAME.md``, by ``--name``.
"""

import argparse
import importlib.util
import pathlib
import tempfile
import time

import common
import numpy as np

import daskksvd
from daskksvd.rows import as_source

ARCHITECTURES = ("pursuit", "matching_pursuit", "topk", "jumprelu")

TABLE = common.Table(
    ("nonzeros", "k", ">4", "d"),
    ("seed", "seed", ">4", "d"),
    ("fit", "fit s", ">6", ".1f"),
    ("fit_encoder", "encoder s", ">6", ".1f"),
    ("pursuit", "pursuit", ">7", ".4f"),
    ("oneshot", "one-shot", ">7", ".4f"),
    ("overlap", "same atoms", ">7", ".2f"),
    ("coded", "us a row", ">7", ".1f"),
    ("coded_once", "one-shot us", ">7", ".1f"),
    *((f"lens_{name}", f"SAELens {name}", ">7", ".4f") for name in ARCHITECTURES),
    ("lens_mean", "jumprelu k", ">5", ".1f"),
)

ABOUT = (
    "Fraction of the variance of held-out rows unexplained. One-shot: the atoms of the largest scores, "
    "refitted by least squares; same atoms: share of the atoms of pursuit that it has. Of SAELens, its own "
    "code after `export`: topk and jumprelu are the encoder with its gains, without a refit; jumprelu k: "
    "latents a row."
)


TIMED_ROWS = 10_000
"""Rows that are coded to see how long one takes."""


def split(n, group, share, seed):
    """Which rows are held out, (n,) bool."""
    groups = -(-n // group)
    held = np.random.default_rng(seed).permutation(groups) < share * groups
    return np.repeat(held, group)[:n]


def measure(rows, held, n_components, n_nonzero_coefs, seed, threads):
    """One fit, its encoder, and what is left of the rows held out."""
    learn, score = rows[~held], rows[held]
    began = time.perf_counter()
    result = daskksvd.fit(
        learn, n_components=n_components, n_nonzero_coefs=n_nonzero_coefs, center=True, random_state=seed,
        n_threads=threads,
    )  # fmt: skip
    fitted = time.perf_counter()
    result.fit_encoder(learn)
    record = {
        "nonzeros": n_nonzero_coefs,
        "seed": seed,
        "fit": fitted - began,
        "fit_encoder": time.perf_counter() - fitted,
    }
    supports = []
    many = np.resize(score, (TIMED_ROWS, score.shape[1]))
    for method, seconds in (("pursuit", "coded"), ("oneshot", "coded_once")):
        record[method] = result.evaluate(score, method=method)["fvu"]
        supports.append(result.encode(score, method=method).compute().todense() != 0)
        began = time.perf_counter()
        result.encode(many, method=method).compute(scheduler="synchronous")
        record[seconds] = 1e6 * (time.perf_counter() - began) / TIMED_ROWS
    record["overlap"] = float((supports[0] & supports[1]).sum() / supports[0].sum())
    if importlib.util.find_spec("sae_lens"):
        record |= by_saelens(result, score)
    return record


def by_saelens(result, rows):
    """What SAELens leaves of rows, by architecture."""
    import sae_lens
    import torch

    import daskksvd.interop.saelens  # noqa: F401  which registers "pursuit"

    found = {}
    variance = ((rows - rows.mean(axis=0)) ** 2).sum()
    for name in ARCHITECTURES:
        with tempfile.TemporaryDirectory() as folder, torch.no_grad():
            result.export("saelens", f"{folder}/it", architecture=name)
            sae = sae_lens.SAE.load_from_disk(f"{folder}/it")
            codes = sae.encode(torch.from_numpy(rows))
            found[f"lens_{name}"] = float(((rows - sae.decode(codes).numpy()) ** 2).sum() / variance)
    return found | {"lens_mean": float((codes != 0).sum(1).float().mean())}


def markdown(results):
    """The table as Markdown."""
    parts = ["# Codes without pursuit", results["software"], results["about"]]
    return "\n\n".join([*parts, TABLE.markdown(results["records"])])


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("embeddings")
    parser.add_argument("--name", default="rows")
    parser.add_argument("--atoms", type=int, default=512)
    parser.add_argument("--nonzeros", type=int, nargs="+", default=[5, 10, 20])
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1])
    parser.add_argument("--rows", type=int, help="rows to use at most")
    parser.add_argument("--group", type=int, default=1, help="rows that stay together")
    parser.add_argument("--share", type=float, default=0.13, help="held out")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--out", type=pathlib.Path, default=pathlib.Path("benchmarks/results"))
    options = parser.parse_args()
    common.restart_pinned(options.threads)
    facts = common.machine_facts()
    print("\n".join(common.describe(facts)), flush=True)
    rows = as_source(options.embeddings, "embeddings").array[: options.rows].compute().astype(np.float32)
    print(TABLE.header(), flush=True)
    records = []
    for n_nonzero_coefs in options.nonzeros:
        for seed in options.seeds:
            held = split(len(rows), options.group, options.share, seed)
            records.append(measure(rows, held, options.atoms, n_nonzero_coefs, seed, options.threads))
            print(TABLE.line(records[-1]), flush=True)
    results = {
        "software": common.describe(facts)[-1],
        "about": f"{options.name}: {len(rows):,} x {rows.shape[1]}, {held.sum():,} held out; {options.atoms} "
        f"atoms, centred; {options.threads} thread. {ABOUT}",
        "records": records,
    }
    name = f"oneshot-{options.name}"
    common.save(options.out, name, results, markdown(results))
    print(f"\ntables: {options.out / name}.md, {options.out / name}.json")


if __name__ == "__main__":
    main()
