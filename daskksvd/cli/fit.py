"""``daskksvd fit``: samples to a saved dictionary."""

import functools
import shlex

import click

from ..fitting import CHECKPOINT_EVERY
from .info import pass_table, records
from .shared import (
    DEVICE,
    MISSING_CHUNKS,
    OVERWRITE,
    SCHEDULER,
    WORKER_TIMEOUT,
    aligned,
    at_terminal,
    check_out,
    connected,
    telling_compilation,
)

EXAMPLES = """\b
Examples:
  1024 atoms, at most 8 of them for each sample:
    daskksvd fit embeddings.zarr --n-components 1024 --n-nonzero-coefs 8 --out result.zarr
  As many atoms for each sample as it takes to leave 10% of its norm:
    daskksvd fit embeddings.npy -m 512 --rtol 0.1 -o result.zarr --holdout 0.05
  A long fit on a cluster, which can be stopped and taken up again:
    daskksvd fit /shared/embeddings.zarr -m 4096 -k 16 -o /shared/result.zarr \\
      --scheduler tcp://10.0.0.5:8786 --checkpoint fit.checkpoint
"""


class Threshold(click.ParamType):
    """A number, or the name of a rule."""

    name = "threshold"

    def convert(self, value, param, ctx):
        try:
            return float(value)
        except ValueError:
            return value  # `fit` knows the rules


class Groups(click.ParamType):
    """Numbers of first atoms, or ``nested``."""

    name = "groups"

    def convert(self, value, param, ctx):
        try:
            return [int(part) for part in value.split(",")]
        except ValueError:
            return value  # `fit` knows the word


# fmt: off
OPTIONS = [
    click.Argument(["store"]),
    click.Option(["--n-components", "-m"], type=int, required=True, metavar="M", help="Atoms to learn."),
    click.Option(["--out", "-o"], required=True, metavar="RESULT", help="Zarr store to make for the result."),
    click.Option(["--n-nonzero-coefs", "-k"], type=int, metavar="K",
                 help="Most atoms a sample may use. This, --rtol or a number as --threshold must be given; "
                 "of several, the first stops."),
    click.Option(["--rtol"], type=float, metavar="R",
                 help="Add atoms until what is left of a sample has at most R times its norm, 0 < R < 1."),
    click.Option(["--nonnegative/--no-nonnegative"], default=False,
                 help="Use atoms with positive weights only."),
    click.Option(["--threshold"], type=Threshold(), metavar="T",
                 help="Add no atom that correlates with what is left of a sample by less than T, in units of "
                 "the centred and scaled samples; 'mean': so that samples use --n-nonzero-coefs on average; "
                 "'noise': by as little as noise does (with --nonnegative)."),
    SCHEDULER,
    WORKER_TIMEOUT,
    click.Option(["--pursuit"], type=click.Choice(["omp", "mp"]), default="omp",
                 help="How atoms are chosen: orthogonal matching pursuit, or plain matching pursuit."),
    click.Option(["--update"], type=click.Choice(["online", "batch", "ksvd"]), default="online",
                 help="How atoms are updated. online: many times a pass, mostly the fastest. batch: once "
                 "after each pass. ksvd: K-SVD proper; it keeps the codes, n x K x 8 bytes."),
    click.Option(["--init"], type=click.Choice(["rows", "random", "k-means++"]), default="rows",
                 help="First atoms: samples, random directions, or samples far from each other."),
    click.Option(["--max-passes"], type=int, show_default="until the error settles, up to a bound",
                 metavar="N", help="Passes over the data at most."),
    click.Option(["--tol"], default=1e-3, metavar="SHARE",
                 help="Stop when a pass lowers the relative error by less than this share; 0: never."),
    click.Option(["--max-time"], type=float, metavar="SECONDS", help="Stop soon after this many seconds."),
    click.Option(["--random-state"], type=int, metavar="SEED", show_default="a new one, kept in the result",
                 help="Seed. The same seed, data and settings give the same dictionary on any number of "
                 "threads or workers."),
    click.Option(["--center/--no-center"], default=False, help="Subtract the mean of every feature."),
    click.Option(["--scale/--no-scale"], default=False, help="Divide features by their standard deviation."),
    click.Option(["--whiten"], type=float, metavar="EXPONENT", show_default="off",
                 help="Divide principal components by their variance to this power: 0.25 is half-whitening, "
                 "0.5 full whitening. Implies --center."),
    click.Option(["--holdout"], default=0.0, metavar="SHARE",
                 help="Share of the samples (0 to 0.9) not learned from; with their error after each pass."),
    click.Option(["--n-blocks"], type=int, metavar="N", show_default="from the sizes",
                 help="With --update ksvd: blocks of atoms a pass."),
    click.Option(["--replace-atoms/--no-replace-atoms"], default=True,
                 help="Replace atoms that are unused, or nearly copies, by badly represented samples."),
    click.Option(["--ramp/--no-ramp"], default=False,
                 help="Come up to K over the first passes: less error, mostly, in the same time."),
    click.Option(["--groups"], type=Groups(), metavar="SIZES",
                 help="Learn so that the first atoms are a dictionary of their own: numbers of first atoms, "
                 "as 16,64,256, or 'nested' for those."),
    click.Option(["--prefix-sums"], default=0.0, metavar="SHARE",
                 help="With --groups: share of the waves in which the sum of the errors of all prefixes is "
                 "lowered."),
    click.Option(["--twins"], type=float, metavar="COS", show_default="off",
                 help="Replace the rarer of two atoms whose |cos| is above COS by what is left of samples."),
    click.Option(["--growth"], type=int, metavar="M0", show_default="off",
                 help="Begin with M0 atoms and double them up to M in the first quarter of the waves."),
    click.Option(["--incoherence"], default=0.0, metavar="STEP",
                 help="Move atoms apart by a step of this size after updates, up to 0.1."),
    click.Option(["--consensus"], type=click.IntRange(min=2), metavar="N", show_default="one fit",
                 help="Make N fits of different seeds, and refit what they agree on; in N times the seconds. "
                 "Checkpoints are FILE.0, FILE.1 and so on, and one of the refit."),
    click.Option(["--dtype"], type=click.Choice(["float32", "float64"]), default="float32",
                 help="Precision of the computation, whatever the samples are stored in."),
    DEVICE,
    click.Option(["--persist/--no-persist"], default=None,
                 show_default="keep them if they take less than 256 MB",
                 help="Read the samples once and keep them in memory, or read them anew in every pass."),
    click.Option(["--checkpoint"], metavar="FILE",
                 help="Write the state of the fit to FILE as it goes. If FILE is there already, the fit goes "
                 "on from it and ends as if it had never stopped."),
    click.Option(["--checkpoint-every"], default=CHECKPOINT_EVERY, metavar="ROUNDS",
                 help="Rounds of work between two checkpoints; there is also one after every pass."),
    click.Option(["--threads"], type=int, metavar="N", show_default="all cores", help="Without --scheduler."),
    click.Option(["--progress/--no-progress"], show_default="if a terminal", default=None, help="Show bars."),
    MISSING_CHUNKS,
    OVERWRITE,
]
# fmt: on


def _found(result):
    """What a rule found, or several fits agree on, as lines to show."""
    from ..fitting.saving import agreement

    agreed = {} if result.stability is None else {"fits agree": agreement(result.stability)}
    if not isinstance(result.settings["threshold"], str):
        return agreed
    rate = result.false_discovery_rate
    noise = "" if rate is None else f", about {rate:.2%} of the atoms chosen are noise"
    return agreed | {"threshold": f"{result.coder.target.threshold:.4g}{noise}"}


@click.command("fit", params=OPTIONS, short_help="Learn a dictionary and save it.", epilog=EXAMPLES)
def fit_command(
    store, out, consensus, scheduler, checkpoint, threads, progress, missing_chunks, overwrite, **settings
):
    """Learn a dictionary from the samples in STORE and save it at --out.

    STORE is a two-dimensional Zarr array, a Zarr group with one such array (or
    one called "embeddings"), or a .npy file: one sample a row, real numbers of
    any precision. It may be far larger than memory; it is read chunk by chunk.

    The result is a Zarr store with M atoms of unit norm, how the error went
    down, and all settings. In Python, daskksvd.load opens it.

    Ctrl-C stops the fit and saves what was learned so far at --out; with
    --checkpoint the same command can then go on.
    """
    from ..evaluation.agreement import consensus as agreed
    from ..execution import WorkersLost
    from ..fitting.fit import FitInterrupted, fit
    from ..fitting.result import load
    from ..machine.files import exists
    from ..rows import as_source

    check_out(out, overwrite)
    if exists(out):
        try:
            load(out)
        except ValueError as error:
            raise ValueError(f"--out {out} is no result of a fit; only such are replaced") from error
    if scheduler and threads is not None:
        raise ValueError("--threads is for fits without --scheduler")
    learn = fit if consensus is None else functools.partial(agreed, n_fits=consensus)
    first = checkpoint if consensus is None or not checkpoint else f"{checkpoint}.0"
    rows = as_source(store, "STORE", missing_chunks)
    going_on = f"The same command with --overwrite goes on from the checkpoint {checkpoint}."
    with connected(scheduler) as client, telling_compilation():
        click.echo(f"Learning from {rows.n:,} x {rows.d:,} {rows.dtype} samples in {store}", err=True)
        if checkpoint and exists(first):
            click.echo(f"Going on from the checkpoint {checkpoint}", err=True)
        try:
            result = learn(
                rows,
                client=client,
                checkpoint=checkpoint,
                n_threads=threads,
                progress=at_terminal() if progress is None else progress,
                **settings,
            )
        except (FitInterrupted, WorkersLost) as stop:
            if stop.result is None:
                stop.add_note("Nothing was learned yet, so nothing is saved.")
            else:
                stop.result.save(out, overwrite=overwrite)
                count = stop.result.history.sizes["pass"]
                stop.add_note(f"{count} finished pass{'es' * (count != 1)}; the result is saved at {out}.")
            if checkpoint:
                stop.add_note(going_on)
            raise
    result.save(out, overwrite=overwrite)
    reasons = result.settings.get("consensus", {}).get("stop_reasons", [result.stop_reason])
    lines = {
        "samples": f"{rows.n:,} with {rows.d:,} features",
        "stopped by": ", ".join(dict.fromkeys(reasons)),
        "seconds": f"{result.settings['seconds']:.1f}",
        "seed": result.settings["random_state"],
        **_found(result),
        "result": out,
    }
    if result.history.sizes["wave"] and not result.history.sizes["pass"]:
        lines["error"] = f"{float(result.history.wave_relative_error[-1]):.4f} (of the last samples read)"
    click.echo(f"{aligned(lines)}\n\n{pass_table(records(result.history)[-10:])}\n")
    if checkpoint:
        done = (
            f"The checkpoint {checkpoint} is" if consensus is None else f"The checkpoints {checkpoint}.* are"
        )
        finished = {"max_passes", "tol"}.issuperset(reasons)
        click.echo(f"{done} no longer needed.\n" if finished else f"{going_on}\n")
    click.echo(
        f"Next:\n  daskksvd info {shlex.quote(out)}\n"
        f"  daskksvd encode {shlex.quote(out)} {shlex.quote(store)}"
    )
