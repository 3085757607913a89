"""``daskksvd export``: a dictionary as an autoencoder of another package."""

import click

from .shared import MISSING_CHUNKS, SCHEDULER, WORKER_TIMEOUT, at_terminal, check_out, connected

FORMATS = ("saelens", "overcomplete", "saev", "visaebench")
ARCHITECTURES = ("topk", "jumprelu", "matching_pursuit", "pursuit")

EXAMPLES = """\b
Examples:
  daskksvd export result.zarr saelens sae-folder
  daskksvd export result.zarr visaebench sae-folder --samples photos-embedded
"""

OPTIONS = [
    click.Argument(["result"]),
    click.Argument(["format"], type=click.Choice(FORMATS)),
    click.Argument(["out"]),
    click.Option(
        ["--samples"],
        metavar="STORE",
        help="Fit the linear encoder to the codes of these samples first; topk and jumprelu need one.",
    ),
    click.Option(
        ["--architecture"],
        type=click.Choice(ARCHITECTURES),
        help="[default: topk where there is an encoder, else matching_pursuit]",
    ),
    click.Option(
        ["--rows"],
        type=click.Choice(["raw", "transformed"]),
        default="raw",
        help="Whether centring and whitening are folded in, or rows will come transformed.",
    ),
    SCHEDULER,
    WORKER_TIMEOUT,
    MISSING_CHUNKS,
    click.Option(["--overwrite"], is_flag=True, help="Replace what was exported to OUT before."),
]


@click.command(
    "export", params=OPTIONS, short_help="Write an autoencoder of another package.", epilog=EXAMPLES
)
def export_command(
    result, format, out, samples, architecture, rows, scheduler, worker_timeout, missing_chunks, overwrite
):
    """Write the dictionary in RESULT to OUT as an autoencoder of another package.

    FORMAT is the package: saelens and visaebench are folders, saev and
    overcomplete files. Their codes have no signs: an atom of a dictionary with
    signed codes comes twice, as itself and as its negative.

    A linear encoder has more error than pursuit, and needs samples to be
    fitted to. In Python, daskksvd.from_sae reads all of the formats.
    """
    from ..fitting.result import load

    check_out(out, overwrite)
    loaded = load(result)
    if samples is not None:
        with connected(scheduler) as client:
            click.echo(f"Fitting an encoder to the codes of {samples}", err=True)
            how = {"client": client, "worker_timeout": worker_timeout, "missing_chunks": missing_chunks}
            loaded.fit_encoder(samples, progress=at_terminal(), **how)
    loaded.export(format, out, architecture=architecture, rows=rows, overwrite=overwrite)
    click.echo(f"An autoencoder of {format} is in {out}.")
