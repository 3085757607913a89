"""K-SVD beside sparse autoencoders of sae-lens and overcomplete, on the same rows.

    python benchmarks/sae.py EMBEDDINGS --name vit --atoms 512 --captions CAPTIONS

EMBEDDINGS is a .npy file or a Zarr array, n x d. Rows are held out at random, ``--group 5`` at a time that
belong together, as captions of an image do. Every method gets the other rows, centred and scaled by one
number, and the same number of nonzeros. Autoencoders are trained for the CPU seconds that
`daskksvd.fit` took, and for ``--times`` as many with the nonzeros ``--longer``; steps before are not counted
that choose their learning rate on rows of their own and tell how many steps go into that time. They start
from rows, as the dictionary does. All figures are of the rows held out. `ci/interop.sh` makes an environment
with both packages; what is not installed is left out. Leaves ``sae-NAME.json``, ``.md`` and ``.png``.
"""

import argparse
import importlib.util
import json
import pathlib
import time
import warnings

import common
import numpy as np
from oneshot import split
from sae_rivals import RIVALS, Rival

import daskksvd
from daskksvd.coding import SparseCoder, SparsityTarget
from daskksvd.evaluation.matching import match_atoms, unit_atoms
from daskksvd.evaluation.scores import score_labels
from daskksvd.rows import Transform, as_source
from daskksvd.versions import version

BASE = "daskksvd"
"""Its seconds are those of all others."""

OWN = {
    BASE: {},
    "daskksvd, ramp": {"ramp": True},
    "daskksvd, consensus": {"n_fits": 5},
    "daskksvd, batch": {"update": "batch"},
    "daskksvd, batch, consensus": {"update": "batch", "n_fits": 5},
    "daskksvd, whitened": {"whiten": 0.25},
    "daskksvd, whitened, positive": {"whiten": 0.25, "nonnegative": True},
}
RATES = (1e-3, 3e-3)
"""Learning rates of Adam that are tried, each for half the seconds."""

DEAD_ROWS = 4000
"""Rows learned from that tell which latents are ever used."""

TABLE = common.Table(
    ("nonzeros", "k", ">3", "d"),
    ("method", "method", "<28", ""),
    ("times", "times", ">5", ".1f"),
    ("seconds", "CPU s", ">6", ".1f"),
    ("fvu", "fvu", ">6", ".4f"),
    ("fvu_omp", "its atoms by OMP", ">6", ".4f"),
    ("mean_nonzeros", "nonzeros", ">6", ".2f"),
    ("dead", "dead", ">5", ".1%"),
    ("stability", "two seeds", ">6", ".3f"),
    ("nearest", "own nearest", ">6", ".3f"),
    ("significant", "named", ">6", ".1%"),
)

ABOUT = (
    "fvu: fraction of the variance of held-out rows unexplained by the method's own codes; its atoms by OMP: "
    "by orthogonal matching pursuit with signs, as many nonzeros. CPU s of one thread, measured; times: over "
    "those of daskksvd. Dead: latents that none of {dead:,} rows learned from uses. Two seeds: mean |cos| of "
    "atoms matched one to one; own nearest: of an atom and the nearest other one of its own dictionary, for "
    "atoms find partners more easily where many are alike. Named: of all atoms those whose name, chosen on "
    "rows learned from, is significant on held-out ones. Consensus: of five fits, a refit of their means. "
    "Autoencoders (MpSAE of overcomplete, others of sae-lens): Adam, batches of {batch}, the better of rates "
    "{rates}, start from rows; codes of BatchTopK and Matryoshka have k "
    "nonzeros on average."
)


def coded(made, rows, codes, k):
    """FVU of rows made from codes, nonzeros a row."""
    left = ((rows - made).astype(np.float64) ** 2).sum()
    variance = ((rows - rows.mean(axis=0, dtype=np.float64)) ** 2).sum()
    return {"fvu": float(left / variance), "mean_nonzeros": float((codes != 0).sum() / len(rows))}


def by_omp(atoms, offset, rows, k):
    """FVU of rows coded with some atoms by orthogonal matching pursuit."""
    norms = np.linalg.norm(atoms, axis=1, keepdims=True)
    atoms = (atoms / np.where(norms > 0, norms, 1))[norms[:, 0] > 0]
    coder = SparseCoder.of_atoms(atoms.astype(np.float32), Transform(offset), SparsityTarget(k))
    codes = coder.encode(rows)
    return coded(np.asarray(coder.decode(codes)), rows, codes.todense(), k)["fvu"]


class Own:
    """A dictionary of this package."""

    def __init__(self, rows, m, k, seed, options):
        began = time.process_time()
        learn = daskksvd.consensus if "n_fits" in options else daskksvd.fit
        self.result = learn(
            rows, n_components=m, n_nonzero_coefs=k, random_state=seed, n_threads=1, **options
        )
        self.seconds = time.process_time() - began
        self.atoms, self.offset = self.result.dictionary.values, None

    def codes(self, rows):
        """Codes (n, m) and the rows made of them."""
        codes = self.result.encode(rows).compute(scheduler="synchronous")
        return codes.todense(), np.asarray(self.result.decode(codes))


def best_rate(method, rows, m, k, seconds, batch):
    """The learning rate that leaves least of rows kept back, after half the seconds."""
    kept = len(rows) // 10
    left = []
    for rate in RATES:
        trained = Rival(method, rows[kept:], m, k, 0, seconds / 2, rate, batch)
        left.append(coded(trained.codes(rows[:kept])[1], rows[:kept], np.zeros(1), k)["fvu"])
    return RATES[int(np.argmin(left))]


def described(method, learned, k, times, data, captions):
    """A record of what was learned, of `Own` or `Rival`."""
    codes, made = learned.codes(data.score)
    record = {"nonzeros": k, "method": method, "times": times, "seconds": learned.seconds}
    record |= coded(made, data.score, codes, k)
    record["fvu_omp"] = record["fvu"]
    if isinstance(learned, Rival):
        record["fvu_omp"] = by_omp(learned.atoms, learned.offset, data.score, k)
        record["steps"] = learned.steps
    used = (learned.codes(data.learn[:DEAD_ROWS])[0] != 0).any(axis=0)
    record["dead"] = float(1 - used.mean())
    if captions is not None:
        every, _ = learned.codes(data.rows)
        record["significant"] = named(every, captions, ~data.held)
    return record


def named(codes, captions, train):
    """Share of all atoms with a name that is significant on rows that did not choose it."""
    found = score_labels(codes, captions, train=train, n_permutations=0, n_resamples=0, random_state=0)
    return float(found["n_significant"].values[0] / codes.shape[1])


class Data:
    """Rows to learn from and rows held out, centred by the former and scaled by one number.

    Attributes
    ----------
    rows : (n, d) float32 array
    held : (n,) bool array
    learn, score : arrays
    """

    def __init__(self, rows, group, share, seed=0):
        self.held = split(len(rows), group, share, seed)
        rows = rows - rows[~self.held].mean(axis=0, dtype=np.float64)
        scale = np.sqrt(rows.shape[1] / (rows[~self.held] ** 2).sum(axis=1).mean())
        self.rows = (rows * scale).astype(np.float32)
        self.learn, self.score = self.rows[~self.held], self.rows[self.held]


def measure(data, options, told=print, kept=()):
    """Records of all methods.

    Parameters
    ----------
    data : Data
    options : argparse.Namespace
    told : callable
        Given each record.
    kept : list of dict
        Records of earlier, of other methods.

    Returns
    -------
    list of dict
    """
    m, records = options.atoms, []
    rivals = [name for name in options.methods if name in RIVALS and importlib.util.find_spec(RIVALS[name])]
    own = {name: OWN[name] for name in options.methods if name in OWN}
    budgets = {record["nonzeros"]: record["seconds"] for record in kept if record["method"] == BASE}
    rates = {}
    for how in own.values():  # compiles
        Own(data.learn[: 2 * m], m, 6, 0, {"max_passes": 10, **how}).codes(data.score[:10])

    def tell(record):
        records.append(record)
        told(record)

    for k in sorted(options.nonzeros, key=lambda k: k != options.longer):
        both = k == options.longer
        captions = options.captions if both else None
        budget = budgets.get(k)
        for name, how in own.items():
            if "whiten" in how and captions is None:  # it is for names
                continue
            fits = [Own(data.learn, m, k, seed, how) for seed in range(1 + both)]
            budget = budget or fits[0].seconds
            tell(_with_stability(described(name, fits[0], k, fits[0].seconds / budget, data, captions), fits))
        for name in rivals:
            if name not in rates:
                rates[name] = best_rate(name, data.learn, m, k, budget, options.batch)
            for times in [1, *(options.times if both else [])]:
                seeds = range(1 + (both and times == 1))
                fits = [
                    Rival(name, data.learn, m, k, seed, times * budget, rates[name], options.batch)
                    for seed in seeds
                ]
                times = fits[0].seconds / budget
                record = described(name, fits[0], k, times, data, captions) | {"rate": rates[name]}
                tell(_with_stability(record, fits))
    return records


def _with_stability(record, fits):
    if len(fits) > 1:
        record["stability"] = float(np.abs(match_atoms(fits[0].atoms, fits[1].atoms).cosines).mean())
        record["nearest"] = own_nearest(fits[0].atoms)
    return record


def own_nearest(atoms):
    """Mean |cos| of atoms and the nearest other atom of the same dictionary."""
    unit = unit_atoms(atoms, "atoms")
    inner = np.abs(unit @ unit.T)
    np.fill_diagonal(inner, 0)
    return float(inner.max(axis=1).mean())


def markdown(results):
    """The table as Markdown."""
    names = [*OWN, *RIVALS]
    records = sorted(results["records"], key=lambda r: (r["nonzeros"], names.index(r["method"]), r["times"]))
    return "\n\n".join(
        ["# K-SVD and sparse autoencoders", results["software"], results["about"], TABLE.markdown(records)]
    )


def plot(records, path):
    """Error over seconds of every method; what was done, as a sentence."""
    try:
        import matplotlib as mpl

        mpl.use("Agg")
        import matplotlib.pyplot as plt
    except ImportError:
        return "no plot: matplotlib is not installed (pip install matplotlib)"
    sizes = sorted({record["nonzeros"] for record in records})
    figure, axes = plt.subplots(1, len(sizes), figsize=(4.2 * len(sizes), 4.4), squeeze=False)
    for axis, k in zip(axes[0], sizes, strict=True):
        for number, name in enumerate(dict.fromkeys(record["method"] for record in records)):
            points = [r for r in records if r["method"] == name and r["nonzeros"] == k]
            own = name in OWN
            style = {"color": plt.cm.tab20(number), "marker": "*" if own else "o", "ms": 11 if own else 5}
            axis.plot([r["seconds"] for r in points], [r["fvu"] for r in points], label=name, **style)
            if not own:
                style |= {"marker": "x", "ls": ":"}
                axis.plot([r["seconds"] for r in points], [r["fvu_omp"] for r in points], **style)
        axis.set(title=f"{k} nonzeros", xlabel="CPU seconds of one thread")
        axis.set_xlim(left=0)
    axes[0][0].set_ylabel("variance unexplained, held out\n(x: its atoms by OMP)")
    shown = {
        name: line for axis in axes[0] for line, name in zip(*axis.get_legend_handles_labels(), strict=True)
    }
    figure.tight_layout(rect=(0, 0.16, 1, 1))
    figure.legend(
        shown.values(), shown, loc="lower center", fontsize=8, ncols=min(len(sizes) + 2, len(shown))
    )
    figure.savefig(path, dpi=110)
    plt.close(figure)
    return f"plot: {path}"


def parse(arguments=None):
    """The options of the command."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("embeddings")
    parser.add_argument("--name", default="rows")
    parser.add_argument("--captions", help="file of captions by row, for names")
    parser.add_argument("--atoms", type=int, default=512)
    parser.add_argument("--nonzeros", type=int, nargs="+", default=[5, 10, 20])
    parser.add_argument("--longer", type=int, default=10, help="nonzeros with two seeds and --times")
    parser.add_argument("--times", type=float, nargs="*", default=[5, 20])
    parser.add_argument("--methods", nargs="+", choices=[*OWN, *RIVALS], default=[*OWN, *RIVALS])
    parser.add_argument("--keep", action="store_true", help="keep what other methods left in the tables")
    parser.add_argument("--rows", type=int, help="rows to use at most")
    parser.add_argument("--group", type=int, default=1, help="rows that stay together")
    parser.add_argument("--share", type=float, default=0.13, help="held out")
    parser.add_argument("--batch", type=int, default=256)
    parser.add_argument("--out", type=pathlib.Path, default=pathlib.Path("benchmarks/results"))
    return parser.parse_args(arguments)


def main():
    options = parse()
    common.restart_pinned(1)
    warnings.filterwarnings("ignore", module="sae_lens")
    facts = common.machine_facts()
    print("\n".join(common.describe(facts)), flush=True)
    rows = as_source(options.embeddings, "embeddings").array[: options.rows].compute().astype(np.float32)
    data = Data(rows, options.group, options.share)
    print(TABLE.header(), flush=True)
    name = f"sae-{options.name}"
    earlier = options.out / f"{name}.json"
    kept = json.loads(earlier.read_text())["records"] if options.keep and earlier.exists() else []
    kept = [record for record in kept if record["method"] not in options.methods]
    if BASE not in options.methods and not kept:
        raise SystemExit(
            f"--methods leaves {BASE} out, whose seconds the others are to take; add it, or --keep"
        )
    records = kept + measure(data, options, lambda record: print(TABLE.line(record), flush=True), kept)
    packages = {name: version(name) for name in ("sae-lens", "overcomplete", "torch")}
    results = {
        "software": common.describe(facts)[-1]
        + "".join(f", {name} {number}" for name, number in packages.items() if number),
        "about": f"{options.name}: {len(rows):,} x {rows.shape[1]}, {int(data.held.sum()):,} held out; "
        f"{options.atoms} atoms. " + ABOUT.format(dead=DEAD_ROWS, batch=options.batch, rates=RATES),
        "records": records,
    }
    common.save(options.out, name, results, markdown(results))
    print(f"\ntables: {options.out / name}.md, .json; {plot(records, options.out / f'{name}.png')}")


if __name__ == "__main__":
    main()
