"""The whole result at a glance."""

import panel as pn
from markupsafe import Markup

from .. import plots as elements
from ..templates.markup import figure
from .parts import CARD, LINKS, Html, grid, in_turn, picture


class Overview:
    """The screen ``#overview``.

    Parameters
    ----------
    view : View
    """

    def __init__(self, view):
        self.view = view
        self.pictures = grid()
        self.layout = pn.Column(
            Html(summary_html(view), CARD), self.pictures, sizing_mode="stretch_width", margin=0,
            styles={"gap": "14px"},
        )  # fmt: skip
        self.begun = False

    def show(self, argument):
        """Draw all pictures, once, one after the other."""
        if self.begun:
            return
        self.begun = True
        in_turn(self._drawn(), self.pictures.append, self.view.lay_out)

    def _drawn(self):
        for element, note in elements.overview(self.view, **LINKS).values():
            yield picture(element, note, 400)


def summary_html(view):
    """What was learned, in a few lines, and what to do here."""
    atoms, history = view.atoms, view.result.history
    facts = {"atoms": f"{view.m:,} of {view.result.dictionary.shape[1]:,} features"}
    if view.n:
        facts["samples"] = f"{view.n:,}"
    if view.index is not None:
        used, m = int((view.index.uses > 0).sum()), view.m
        facts["used"] = (
            f"{used:,} atoms ({used / m:.0%}), {view.index.uses.sum() / view.index.n:.1f} a sample"
        )
    if history.sizes["pass"]:
        facts["relative error"] = figure(float(history.relative_error[-1]))
    if view.labels is not None:
        named = int(atoms.significant.sum())
        facts["with a name"] = f"{named:,} atoms ({named / view.m:.0%}), of {len(view.words):,} words"
    if view.scores is not None:
        held = int((atoms.held_out_q < 0.05).sum())
        facts["name holds"] = f"for {held:,} atoms on held-out samples (q < .05)"
    lines = [Markup('<tr><th scope="row">{}</th><td>{}</td></tr>').format(*pair) for pair in facts.items()]
    best = [
        Markup('<a href="#atom={}">{}</a>').format(atom, names.split(", ")[0])
        for atom, names in atoms.sort_values("g", ascending=False).names.drop_duplicates().head(12).items()
        if names
    ]
    words = Markup("<p>The strongest names: {}.</p>").format(Markup(", ").join(best)) if best else ""
    return Markup(
        "<h2>{}</h2><p>Every atom is a direction that many samples share. "
        '<a href="#atoms">Search the atoms</a> for a word to see the images behind it.</p>{}'
        '<table class="dk-table">{}</table>'
    ).format(view.name or "Result", words, Markup("").join(lines))
