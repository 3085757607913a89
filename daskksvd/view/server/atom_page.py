"""One atom: facts, words, pictures, images and neighbours."""

from itertools import chain, islice

import panel as pn
from markupsafe import Markup

from ..data.galleries import choose, panels
from ..plots import for_atom
from ..templates.markup import facts_html, gallery_html, neighbours_html, words_html
from .parts import CARD, LINKS, SAYS, Html, grid, in_turn, picture


class AtomPage:
    """What is to be seen of an atom; `show` shows one.

    Parameters
    ----------
    view : View
    link : str or None
        What neighbours link to, with ``{}`` for the atom; None leaves out
        neighbours and pictures, for pages side by side.
    """

    def __init__(self, view, link="#atom={}"):
        self.view, self.link = view, link
        self.atom = None
        self.heading = Html()
        self.facts = Html(None, CARD)
        self.strongest = Html(None, CARD)
        self.others = Html(None, CARD)
        self.near = Html(None, CARD)
        self.pictures = grid()
        self.stop = lambda: None
        parts = [self.heading, self.facts, self.strongest]
        if link is not None:
            parts += [self.pictures, self.others, self.near]
        self.layout = pn.Column(*parts, sizing_mode="stretch_width", margin=0, styles={"gap": "12px"})

    def show(self, atom):
        """Show an atom: text and its strongest samples now, other samples and pictures right after."""
        if atom == self.atom:
            return
        view, self.atom = self.view, atom
        self.stop()
        self.pictures.clear()  # before all else: what stays is drawn again as the page changes around it
        self.heading.put(SAYS.heading(atom, view.title(atom), self.link is not None))
        self.facts.put(SAYS.side_by_side(facts_html(view, atom), words_html(view, atom, 9)))
        found = self._show_strongest(atom)
        if self.link is None:
            return
        self.near.put(SAYS.near(neighbours_html(view, atom, 8, href=self.link)))
        others = []
        prepare = lambda: (others.extend(found), view.lay_out(graph=False))  # noqa: E731
        self.stop = in_turn(self._drawn(atom, others), self._add, prepare)

    def _drawn(self, atom, others):
        """Galleries but the first, then pictures."""
        yield self._gallery(others) if others else Markup("")
        for element in for_atom(self.view, atom, **LINKS).values():
            yield picture(element)

    def _gallery(self, found):
        """Panels as HTML; images of patches link to their heat maps."""
        linked = self.link is not None and self.view.patches is not None and self.view.images is not None
        return gallery_html(found, side=160, style=False, href=f"#image={{}}-{self.atom}" if linked else "")

    def _add(self, made):
        if isinstance(made, Markup):
            self.others.put(made)
            self.others.visible = bool(made)
        else:
            self.pictures.append(made)

    def _show_strongest(self, atom):
        """Show the first gallery; returns the others, still to be read."""
        self.others.visible = False  # they are of another atom
        if self.view.index is None:
            self.strongest.put(SAYS.muted("There are no codes, so there are no samples to show."))
            return iter(())
        few = {"top": 8, "opposite": 0, "n_quantiles": 0, "controls": 0} if self.link is None else {}
        found = panels(self.view, atom, choose(self.view, atom, **few))
        strongest, later = list(islice(found, 1)), []
        if self.view.patches is not None:  # with heat maps, where there are any
            after = list(islice(found, 1))
            (strongest if after and after[0].key == "heat" else later).extend(after)
        self.strongest.put(self._gallery(strongest))
        return chain(later, found)
