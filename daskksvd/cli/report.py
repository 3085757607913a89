"""``daskksvd report``: what atoms mean, as one page to share."""

import os

import click

from ..view.page import REPORT_ATOMS
from .shared import at_terminal

EXAMPLES = """\b
Examples:
  daskksvd report result.zarr --out report.html --embeddings photos-embedded
  daskksvd report result.zarr --out report.html --captions captions.parquet --images photos/
"""

SOURCES = [
    click.Option(["--codes"], metavar="CODES", help="Codes of the samples. [default: those beside RESULT]"),
    click.Option(["--labels"], metavar="LABELS", help="Labels of the atoms. [default: those beside RESULT]"),
    click.Option(
        ["--embeddings"], metavar="DIR", help='What "daskksvd embed" made: captions and thumbnails.'
    ),
    click.Option(["--captions"], metavar="PATH", help="Captions, in place of those of --embeddings."),
    click.Option(["--images"], metavar="DIR", help="Folder of the images that --embeddings names."),
    click.Option(["--scores"], metavar="SCORES", help="Held-out scores. [default: those beside RESULT]"),
    click.Option(
        ["--tokens"], metavar="TOKENS", help="Words by a text encoder. [default: those beside RESULT]"
    ),
    click.Option(["--fetch"], is_flag=True, help="Fetch images that are only known by their URL."),
]
"""Options that say where what explains a result lies."""


@click.command(
    "report",
    short_help="Write a page that shows what atoms mean.",
    epilog=EXAMPLES,
    params=[
        click.Argument(["result"]),
        click.Option(["--out", "-o"], required=True, metavar="FILE", help="The .html file to write."),
        *SOURCES,
        click.Option(["--title"], help="Heading of the page."),
        click.Option(
            ["--n-atoms"], type=click.IntRange(1), default=REPORT_ATOMS, help="Atoms shown with images."
        ),
        click.Option(["--overwrite"], is_flag=True, help="Replace the file at --out."),
    ],
)
def report_command(result, out, title, n_atoms, overwrite, **sources):
    """Write one page of HTML that shows what the atoms in RESULT mean.

    A table of all atoms that can be searched by word and sorted; for the best
    named ones their images, words and histograms; the graph of words and
    atoms; and pictures of the whole dictionary. The page needs no network and
    no Python: send it to anybody.

    Codes, labels, scores and words by a text encoder are found beside RESULT, as
    RESULT-codes.zarr (or codes.zarr), RESULT-labels.zarr, RESULT-scores.zarr and
    RESULT-tokens.zarr. What is missing is left out of the page.
    """
    from ..view.data.opening import open_view
    from ..view.page.report import check_report, report

    check_report(out, n_atoms, overwrite)
    bars = at_terminal()
    view = open_view(result, progress=bars, **sources)
    path = report(view, out, title=title, n_atoms=n_atoms, overwrite=overwrite, progress=bars)
    missing = [name for name in ("labels", "index", "captions", "images") if getattr(view, name) is None]
    named = {"index": "codes"}
    if missing:
        click.echo(f"Without {', '.join(named.get(name, name) for name in missing)}: none given, none found.")
    click.echo(f"{os.path.getsize(path) / 1e6:.1f} MB are in {path}. Open it in a browser.")
