"""The whole result at a glance."""

import panel as pn

from ..data.facts import result_facts
from ..data.listing import best_atoms
from ..plots import overview
from .parts import CARD, LINKS, SAYS, Html, grid, in_turn, picture

STRONGEST = 12
"""Names that the overview begins with."""


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
        for element, note in overview(self.view, **LINKS).values():
            yield picture(element, note, 400)


def summary_html(view):
    """What was learned, in a few lines, and what to do here."""
    first = {}
    for atom in best_atoms(view):
        for word in view.names[atom][:1]:
            first.setdefault(word, atom)
    return SAYS.summary(view.name or "Result", list(first.items())[:STRONGEST], result_facts(view))
