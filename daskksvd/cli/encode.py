"""``daskksvd encode``: samples and a dictionary to codes."""

from shlex import quote

import click

from .info import as_text, describe
from .shared import (
    DEVICE,
    MISSING_CHUNKS,
    OVERWRITE,
    SCHEDULER,
    WORKER_TIMEOUT,
    at_terminal,
    check_out,
    connected,
    telling_compilation,
)

EXAMPLES = """\b
Examples:
  daskksvd encode result.zarr embeddings.zarr
  daskksvd encode /shared/result.zarr /shared/embeddings.zarr --out /shared/codes.zarr \\
    --scheduler tcp://10.0.0.5:8786
  daskksvd encode result.zarr embeddings.zarr --out codes.zarr --method oneshot --samples embeddings.zarr
"""


METHODS = ("pursuit", "oneshot")

OPTIONS = [
    click.Argument(["result"]),
    click.Argument(["store"]),
    click.Option(
        ["--out", "-o"],
        metavar="CODES",
        help="Zarr store to make for the codes. [default: RESULT-codes.zarr, beside RESULT]",
    ),
    click.Option(
        ["--method"],
        type=click.Choice(METHODS),
        default="pursuit",
        help="By pursuit, or by one product with a linear encoder and a refit.",
    ),
    click.Option(
        ["--samples"],
        metavar="STORE",
        help="Fit the linear encoder to the codes of these samples first; oneshot needs one.",
    ),
    SCHEDULER,
    WORKER_TIMEOUT,
    DEVICE,
    MISSING_CHUNKS,
    OVERWRITE,
]


@click.command("encode", params=OPTIONS, short_help="Code samples with a dictionary.", epilog=EXAMPLES)
def encode_command(
    result, store, out, method, samples, scheduler, worker_timeout, device, missing_chunks, overwrite
):
    """Write every sample in STORE as a sparse sum of the atoms in RESULT.

    RESULT is what "daskksvd fit" saved; STORE holds samples with the same
    number of features, in a Zarr store or a .npy file. They are coded the way
    they were during the fit: as many atoms at most, the same centring and
    scaling.

    The codes are stored as two plain Zarr arrays with one row a sample:
    "indices", the atoms it uses (-1 where there are fewer), and "values", their
    weights. In Python, daskksvd.open_codes opens them as a lazy sparse array.

    A run that was stopped goes on where it was when the same command is given again.
    """
    from ..coding.store import CODES
    from ..fitting.result import load
    from ..machine.files import absolute
    from ..rows import as_source

    out = out or CODES.beside(result)
    check_out(out, overwrite)
    if samples is not None and method != "oneshot":
        raise click.UsageError("--samples goes with --method oneshot; leave it out, or pass that, too")
    loaded = load(result)
    if method == "oneshot" and samples is None and loaded.encoder is None:
        raise click.UsageError(
            f"{result} has no linear encoder, which --method oneshot takes; pass --samples, or save the "
            "result again after fit_encoder"
        )
    rows = as_source(store, "STORE", missing_chunks)
    with connected(scheduler) as client, telling_compilation():
        if samples is not None:
            click.echo(f"Fitting an encoder to the codes of {samples}", err=True)
            fitting = {"client": client, "worker_timeout": worker_timeout, "missing_chunks": missing_chunks}
            loaded.fit_encoder(samples, progress=at_terminal(), **fitting)
        click.echo(f"Coding {rows.n:,} x {rows.d:,} {rows.dtype} samples in {store}", err=True)
        how = {
            "client": client,
            "worker_timeout": worker_timeout,
            "device": device,
            "method": method,
            "progress": at_terminal(),
        }
        loaded.write_codes(rows, out, overwrite=overwrite, told=_going_on, **how)
    click.echo(as_text(describe(out)))
    click.echo(f"  samples = daskksvd.load({result!r}).decode(codes)  # what the codes stand for, lazy")
    named = "" if CODES.found_beside(result) == absolute(out) else f" --codes {quote(out)}"
    click.echo(f"\nNext, with captions of the samples:\n  daskksvd label {quote(result)} CAPTIONS{named}")


def _going_on(done, chunks):
    click.echo(f"Going on: {done:,} of {chunks:,} chunks were written before", err=True)
