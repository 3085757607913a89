"""A result as one page of HTML that needs nothing else."""

from __future__ import annotations

import base64
import functools
import gzip
import json
import math
import os
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
from markupsafe import Markup
from tqdm.auto import tqdm

from ...execution.threads import spread_over, usable_cores
from ...machine.collecting import seldom_collected
from ...machine.files import absolute, replaced, telling_disk_full
from ..data.facts import notes, result_facts
from ..data.finding import frequent_words, search_table
from ..data.galleries import choose, panels
from ..data.listing import best_atoms
from ..data.opening import open_view
from ..data.view import View
from ..plots import coefficient_histogram, correlation_histogram, overview
from ..plots.atoms import coefficient_filling
from ..plots.figures import figure_data, figure_json
from ..plots.words import correlation_filling
from ..templates import render, source
from ..templates.markup import ATOM_STYLE, data_uri, facts_html, gallery_html, neighbours_html, words_html
from . import REPORT_ATOMS

if TYPE_CHECKING:
    from ...fitting.result import Result

REPORT_MEGABYTES = 9.5
"""Images in a report take at most this; the page then stays under 15 MB, of which Bokeh is 1."""

REPORT_IMAGES = (
    {"side": 128, "quality": 75, "top": 12, "opposite": 6, "n_quantiles": 4, "per": 3, "controls": 6},
    {"side": 96, "quality": 70, "top": 9, "opposite": 3, "n_quantiles": 3, "per": 3, "controls": 3},
    {"side": 80, "quality": 60, "top": 9, "opposite": 3, "n_quantiles": 3, "per": 2, "controls": 3},
    {"side": 64, "quality": 50, "top": 8, "opposite": 2, "n_quantiles": 2, "per": 2, "controls": 2},
    {"side": 56, "quality": 45, "top": 4, "opposite": 0, "n_quantiles": 0, "per": 0, "controls": 0},
)
"""Galleries of a report, richest first: pixels and quality of images, and how many of each sort."""

WORD_ATOMS = 64
"""Atoms of a word that the search of a report knows: half a megabyte for a thousand words."""

LISTED_WORDS = 2_000
"""Words that a browser offers to complete what is typed, the most frequent ones."""

LINK = "#atom=@atom"
READ_IMAGES = 512
"""Images in memory at a time."""

CHECKED = 64
"""Images that the size of all is estimated from."""


def report(
    result: View | Result | str | os.PathLike[str],
    out: str | os.PathLike[str],
    *,
    title: str | None = None,
    n_atoms: int = REPORT_ATOMS,
    overwrite: bool = False,
    progress: bool = False,
    **where: Any,
) -> str:
    """Write one page that shows what the atoms of a result mean.

    It can be sent to anybody: images and scripts are part of it, and it asks
    the network for nothing.

    Parameters
    ----------
    result : View, Result or path
        If it is no view, ``where`` goes to `open_view`.
    out : str or path
        The .html file to write.
    title : str, optional
    n_atoms : int
        Atoms with images and pictures, the best named first. The table has all.
    overwrite : bool
        Whether a file that is there may be replaced.
    progress : bool
        Show bars: of images, of pictures, and of what is said of atoms.
    **where
        ``codes``, ``labels``, ``embeddings``, ``captions``, ``images``,
        ``scores``, ``tokens``, ``fetch``; see `open_view`.

    Returns
    -------
    str
        The path.

    Raises
    ------
    FileExistsError, FileNotFoundError, PermissionError, ValueError
        If ``out`` is there, cannot be written, does not end in .html, or an
        argument cannot work.
    DiskFull
        If the page has no room; what was at ``out`` stays.
    """
    path = check_report(out, n_atoms, overwrite)
    if isinstance(result, View):
        if where:
            raise ValueError(f"{next(iter(where))} was given with a view; give it to open_view")
        view = result
    else:
        view = open_view(result, progress=progress, **where)
    with seldom_collected():
        text = page_html(view, title=title, n_atoms=n_atoms, progress=progress)
    text = text.encode()
    with telling_disk_full(path, len(text)), replaced(path) as temporary, open(temporary, "wb") as file:
        file.write(text)
    return path


def check_report(out, n_atoms, overwrite):
    """The path to write, refused before any work if it cannot be."""
    path = absolute(out)
    if not path.lower().endswith((".html", ".htm")):
        raise ValueError(f"out={os.fspath(out)!r}; it must end with .html")
    if os.path.exists(path) and not overwrite:
        raise FileExistsError(f"out={os.fspath(out)!r} exists; pass overwrite=True to replace it")
    if isinstance(n_atoms, bool) or not isinstance(n_atoms, (int, np.integer)) or n_atoms < 1:
        raise ValueError(f"n_atoms={n_atoms!r}; it must be an integer, 1 or more")
    folder = os.path.dirname(path)
    if not os.path.isdir(folder):
        raise FileNotFoundError(f"out={os.fspath(out)!r}: there is no directory {folder!r}")
    if os.path.isdir(path):
        raise ValueError(f"out={os.fspath(out)!r} is a directory; it must be the path of a file")
    if not os.access(folder, os.W_OK | os.X_OK):
        raise PermissionError(f"out={os.fspath(out)!r}: {folder!r} cannot be written to")
    return path


def page_html(view, *, title=None, n_atoms=REPORT_ATOMS, progress=False):
    """The page as text; see `report`."""
    from bokeh.resources import Resources

    atoms = best_atoms(view)
    detailed = atoms[:n_atoms]
    bar = functools.partial(tqdm, disable=not progress, leave=False, dynamic_ncols=True)
    galleries, images = gather_images(view, detailed, bar)
    figures, kinds = atom_figures(view, detailed, bar)
    pictures = _overview(view)
    details = [
        {
            "atom": atom,
            "title": view.title(atom),
            "facts": facts_html(view, atom),
            "words": words_html(view, atom, 8),
            "gallery": galleries[atom][0] if atom in galleries else "",
            "more": galleries[atom][1] if atom in galleries else "",
            "neighbours": neighbours_html(view, atom, 5),
        }
        for atom in bar(detailed, desc="atoms")
    ]
    data = {
        "atoms": _table(view, atoms, images),
        "search": search_table(view, WORD_ATOMS),
        "images": images["data"],
        "figures": figures,
        "kinds": [{"item": kind["item"], "sources": kind["sources"]} for kind in kinds],
        "overview": [picture["item"] for picture in pictures],
    }
    return render(
        "report.html",
        title=title or f"What the atoms of {view.name or 'the dictionary'} mean",
        facts=result_facts(view),
        notes=notes(view),
        details=details,
        kinds=[kind["name"] for kind in kinds],
        pictures=pictures,
        words=frequent_words(view)[:LISTED_WORDS],
        style=render("report.css") + ATOM_STYLE,
        script=Markup(source("report.js")),
        # not render(), to which Panel adds scripts of its own that lie elsewhere
        bokeh=Markup("\n".join(Resources(mode="inline", components=["bokeh"]).js_raw)),
        data=base64.b64encode(gzip.compress(json.dumps(data).encode(), 6)).decode(),
        held_out=view.scores is not None,
        labelled=view.labels is not None,
        prompts=view.tokens is not None,
        imaged=bool(images["data"]),
        m=view.m,
        n_detailed=len(detailed),
    )


def _unseen(some, **options):
    """In place of a bar, where none is wanted."""
    return some


def gather_images(view, atoms, bar=_unseen):
    """Galleries of atoms as HTML whose images are named by row, and these images once each.

    The richest of `REPORT_IMAGES` is taken that stays below `REPORT_MEGABYTES`.

    Returns
    -------
    galleries : dict of int to [Markup, Markup]
        The first panel, and the others.
    images : dict
        ``data`` (row, as text, to a URL) and ``top`` (atom to the row of its strongest sample).
    """
    images = {"data": {}, "top": {}}
    if view.index is None:
        return {}, images
    kind = _affordable(view, len(atoms))
    counts = {name: kind[name] for name in ("top", "opposite", "n_quantiles", "per", "controls")}

    chosen = {atom: choose(view, atom, **counts) for atom in atoms}
    shown = [panel.rows for some in chosen.values() for panel in some]
    rows = np.unique(np.concatenate([*shown, np.empty(0, int)]))
    small = small_images(view, rows, kind, bar)
    images["data"] = {str(row): url for row, (url, _) in small.items()}
    nothing = None, Pixels((0, 0))

    def there(rows):
        return [(small.get(row, nothing)[1], row in small) for row in rows.tolist()]

    def named(sample):
        key = sample.key
        if sample.found and key not in images["data"]:  # what was made of an image
            images["data"][key] = _small(sample.image, kind)
        return Markup(f'data-row="{key if sample.found else ""}"')  # of numbers and our own words

    galleries = {}
    for atom in bar(atoms, desc="galleries"):
        made = list(panels(view, atom, chosen[atom], there))
        cut = 2 if len(made) > 1 and made[1].key == "heat" else 1
        galleries[atom] = [
            gallery_html(some, style=False, source=named) if some else "" for some in (made[:cut], made[cut:])
        ]
        first = made[0].samples[0] if made and made[0].key == "top" else None
        if first is not None and first.found:
            images["top"][atom] = first.row
    return galleries, images


class Pixels(NamedTuple):
    """What templates ask of an image that is in the page already."""

    size: tuple[int, int]


def small_images(view, rows, kind, bar):
    """Those images of rows that there are, as (URL, `Pixels`) by row; some hundred are read at a time."""

    def small(found):
        image, there = found
        return (_small(image, kind), Pixels(image.size)) if there else None

    made = {}
    with spread_over(usable_cores()) as spread:
        for first in bar(range(0, len(rows), READ_IMAGES), desc="images", unit_scale=READ_IMAGES, unit=""):
            some = rows[first : first + READ_IMAGES].tolist()
            found = zip(some, spread(small, view.images_of(some)), strict=True)
            made |= {row: image for row, image in found if image is not None}
    return made


def _small(image, kind):
    return data_uri(image, kind["side"], quality=kind["quality"], format="WEBP")


def _affordable(view, n_atoms):
    """The richest kind of gallery whose images fit."""
    rows = np.unique(np.linspace(0, view.n - 1, CHECKED).astype(int))
    found = [image for image, there in view.images_of(rows) if there]
    for kind in REPORT_IMAGES:
        each = kind["top"] + kind["opposite"] + kind["n_quantiles"] * kind["per"] + kind["controls"]
        number = min(view.n, n_atoms * each)
        if view.patches is not None:  # heat maps and crops are of one atom each
            number += 2 * n_atoms * kind["top"]
        size = np.mean([len(_small(image, kind)) for image in found]) if found else 0
        if size * number <= REPORT_MEGABYTES * 1e6:
            break
    return kind


def atom_figures(view, atoms, bar):
    """Pictures of atoms: data of each by atom, and one drawn picture of every kind."""
    makers = []
    if view.labels is not None:
        makers.append(("Words by correlation", correlation_histogram, correlation_filling))
    if view.index is not None:
        makers.append(("Coefficients", coefficient_histogram, coefficient_filling))
    kinds, figures = [], {str(atom): [] for atom in atoms}
    for name, make, fill in makers:
        if atoms:
            item, sources = figure_json(make(view, atoms[0]))
            kinds.append({"name": name, "item": item, "sources": sources})
        for atom in bar(atoms, desc="pictures"):
            figures[str(atom)].append(figure_data(fill(view, atom)))
    return figures, kinds


def _overview(view):
    return [
        {"name": name, "how": how, "item": figure_json(element)[0], "wide": name == "Words and atoms"}
        for name, (element, how) in overview(view, link=LINK).items()
    ]


def _table(view, atoms, images):
    """A line for every atom: number, names, figures, row of its first image, whether it has details."""
    table = view.atoms
    return [
        [
            atom,
            table.names[atom],
            table.specific[atom],
            *(
                _number(table[name][atom])
                for name in ("uses", "share", "correlation", "q_value", "held_out", "held_out_q")
            ),
            images["top"].get(atom, -1),
        ]
        for atom in atoms
    ]


def _number(value):
    value = float(value)
    return None if math.isnan(value) else float(f"{value:.4g}")
