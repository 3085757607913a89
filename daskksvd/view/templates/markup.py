"""Galleries and facts of atoms as HTML, by the macros of ``atom.html``."""

from __future__ import annotations

import base64
import io
from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING

from markupsafe import Markup

from ..data.facts import atom_facts, figure
from . import macros, render

if TYPE_CHECKING:
    from ..data.galleries import Panel, Sample

ATOM = macros("atom.html")

ATOM_STYLE = render("atom.css")
"""Style sheet of everything in this module."""


def gallery_html(
    panels: Iterable[Panel],
    *,
    side: int | None = None,
    style: bool = True,
    source: Callable[[Sample], Markup] | None = None,
    href: str = "",
) -> Markup:
    """A gallery as HTML that is safe whatever captions hold.

    Parameters
    ----------
    panels : list of Panel
        From `gallery`.
    side : int, optional
        Pixels that images are scaled down to.
    style : bool
        Whether the style sheet comes with it; once a page is enough.
    source : callable, optional
        Takes a `Sample` and returns attributes of its ``<img>``, as `Markup`; by
        default the image itself, as a data URI.
    href : str
        What images link to, with ``{}`` for the row; nothing by default.

    Returns
    -------
    markupsafe.Markup
        A ``str``.
    """
    source = source or (lambda sample: Markup('src="{}"').format(data_uri(sample.image, side)))
    return ATOM.gallery(panels, source, ATOM_STYLE if style else "", href)


WEBP_EFFORT = 2
"""How long WebP tries, of 6. Its default, 4, makes thumbnails 3 % smaller in half as long again."""


def data_uri(image, side=None, *, quality=80, format="JPEG"):
    """An image inside a URL."""
    if side is not None and max(image.size) > side:
        image = image.copy()
        image.thumbnail((side, side))
    buffer = io.BytesIO()
    effort = {"method": WEBP_EFFORT} if format == "WEBP" else {}
    image.save(buffer, format, quality=quality, **effort)
    return f"data:image/{format.lower()};base64,{base64.b64encode(buffer.getvalue()).decode()}"


def facts_html(view, atom):
    """What is known of an atom, a table of two columns."""
    return ATOM.facts(atom_facts(view, atom))


def words_html(view, atom, n=10):
    """The words that go with an atom, as a table; empty without labels."""
    table = view.words_of(atom).head(n)
    lines = [
        (word, named, (figure(correlation), figure(q_value, small=True), f"{int(samples):,}"))
        for word, named, correlation, q_value, samples in zip(
            table.index, table["named"], table["correlation"], table["q_value"], table["samples"], strict=True
        )
    ]
    return ATOM.words(lines)


def neighbours_html(view, atom, n=6, href="#atom={}"):
    """Atoms near an atom by direction and by use, with links; two tables."""
    near = view.neighbours(atom, n)
    tables = []
    for title, measure, table in (
        ("closest direction", "cos", near.by_cosine),
        ("used together", "correlation of use", near.by_use),
    ):
        lines = table.itertuples(index=False, name=None)
        lines = [(other, href.format(other), names, figure(value)) for other, names, value in lines]
        if lines:
            tables.append((title, measure, lines))
    return ATOM.neighbours(tables)
