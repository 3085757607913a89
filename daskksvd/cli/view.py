"""``daskksvd view``: a dashboard of a result."""

import click

from .report import SOURCES
from .shared import WEIGHTS, at_terminal

EXAMPLES = """\b
Examples:
  daskksvd view result.zarr --embeddings photos-embedded
  daskksvd view result.zarr --compare another.zarr --no-browser
  daskksvd view result.zarr --captions captions.parquet --images photos/ --port 8080
"""


@click.command(
    "view",
    short_help="Look at a result in the browser.",
    epilog=EXAMPLES,
    params=[
        click.Argument(["result"]),
        *SOURCES,
        click.Option(
            ["--encoder"],
            metavar="MODEL",
            help="The model that --embeddings are of: says what else changes where an atom is turned.",
        ),
        *WEIGHTS,
        click.Option(["--compare"], metavar="RESULT", help="A second result, whose atoms are matched."),
        click.Option(["--port"], type=int, metavar="PORT", help="0 is any. [default: 5006, or any if taken]"),
        click.Option(
            ["--address"], default="127.0.0.1", help="Where to listen; 0.0.0.0 shows it to the whole network."
        ),
        click.Option(
            ["--allow-origin"],
            multiple=True,
            metavar="HOST:PORT",
            help="An address under which browsers reach it through a proxy or tunnel. Can be repeated.",
        ),
        click.Option(
            ["--browser/--no-browser", "show"], default=True, help="Whether to open a browser window."
        ),
    ],
)
def view_command(result, compare, port, address, allow_origin, show, pretrained, revision, **sources):
    """Serve a dashboard of RESULT until Ctrl-C.

    Find the atoms for a word; see the images, words and histograms of an
    atom, and atoms near it; walk the graph of words and atoms; see how the fit
    went; and compare two results. An address such as
    http://localhost:5006/?atom=17 opens an atom.

    Codes, labels, scores and words by a text encoder are found beside RESULT, as
    RESULT-codes.zarr (or codes.zarr), RESULT-labels.zarr, RESULT-scores.zarr and
    RESULT-tokens.zarr. What is missing is left out. The first time, codes are listed
    by atom, in a store beside them.
    """
    from ..view.server.process import own_process, staying

    weights = {"pretrained": pretrained, "revision": revision}
    named = [f"--{key}" for key, value in weights.items() if value is not None]
    if named and sources["encoder"] is None:
        raise click.UsageError(f"{named[0]} is of the weights of --encoder; name that, too")
    with own_process():
        if named:
            from ..embedding.texts import as_text_encoder

            sources["encoder"] = as_text_encoder(sources["encoder"], **weights)
        with staying():
            from ..view.server.app import dashboard
        served = dashboard(
            result,
            compare=compare,
            port=port,
            address=address,
            allow_origin=allow_origin,
            show=show,
            progress=at_terminal(),
            **sources,
        )
        click.echo(f"{served.url} shows {result}. Stop with Ctrl-C.")
        served.wait()
