"""The atom browser: a search, a list in any order, and the atom that is open."""

import panel as pn

from ..data.facts import figure
from ..data.listing import known_orders, listed, said
from .atom_page import AtomPage
from .parts import DASHBOARD_LISTED, SAYS, Html, chosen, columns, listing


class Atoms:
    """The screen ``#atoms`` and, with an atom open, ``#atom=17``.

    Parameters
    ----------
    view : View
    go : callable
        Takes the name of a screen and what it shows, and opens it.
    """

    def __init__(self, view, go):
        self.view, self.go = view, go
        self.search = pn.widgets.TextInput(
            label="Find a word or an atom", placeholder="dog, polar bear, 17", sizing_mode="stretch_width",
            margin=(0, 0, 6, 0),
        )  # fmt: skip
        self.order = pn.widgets.Select(
            label="Order", options=known_orders(view), sizing_mode="stretch_width", margin=(0, 0, 6, 0)
        )
        self.previous = pn.widgets.Button(label="‹ Previous", margin=0)
        self.next = pn.widgets.Button(label="Next ›", margin=0)
        self.more = pn.widgets.Button(label="Show more", margin=(6, 0, 0, 0))
        self.status = Html()
        self.list = Html()
        self.page = AtomPage(view)
        steps = pn.Row(self.previous, self.next, margin=(0, 0, 4, 0), styles={"gap": "8px"})
        self.layout = columns(
            [self.search, self.order, steps, self.status, listing(self.list, self.more)], [self.page.layout]
        )
        self.search.param.watch(self._search, "value_input")
        self.search.param.watch(self._open_first, "enter_pressed")
        self.order.param.watch(self._search, "value")
        self.previous.on_click(lambda event: self._step(-1))
        self.next.on_click(lambda event: self._step(1))
        self.more.on_click(self._show_more)
        self._search()

    def show(self, argument):
        """Open an atom by its number, or search for a text; without either the first atom listed."""
        try:
            atom = self.view.check_atom(int(argument))
        except ValueError:
            if argument:
                self.search.value = self.search.value_input = argument
            atom = self.page.atom if self.page.atom is not None and not argument else self._first()
        if atom is not None:
            self.page.show(atom)
        self._mark()

    # ------------------------------------------------------------- callbacks

    def _search(self, *events):
        text = (self.search.value_input or "").strip()
        self.table, self.found = listed(self.view, text, self.order.value)
        self.count = DASHBOARD_LISTED
        self.status.put(SAYS.status(said(text, self.found) if text else f"{len(self.table):,} atoms"))
        self._fill()

    def _fill(self):
        lines = [self._line(atom, row) for atom, row in self.table.head(self.count).iterrows()]
        self.list.put(SAYS.atoms(lines))
        self.more.visible = len(self.table) > self.count
        self._mark()

    def _line(self, atom, row):
        facts = []
        if self.found is not None and self.found.word[atom]:
            hit = self.found.loc[atom]
            facts.append(f"{hit.word} {figure(hit.correlation)}")
        elif row.correlation == row.correlation:
            facts.append(f"correlation {figure(row.correlation)}")
        if row.held_out == row.held_out:
            facts.append(f"held out {figure(row.held_out)}")
        if row.uses == row.uses:
            facts.append(f"{int(row.uses):,} samples")
        return atom, row["names"], facts

    def _mark(self):
        """Show which atom of the list is open, and whether there is one before and after it."""
        place = self._place()
        self.list.stylesheets = [*self.list.stylesheets[:2], chosen(f"#atom={self.page.atom}")]
        self.previous.disabled = place is not None and place == 0
        self.next.disabled = place == len(self.table) - 1

    def _place(self):
        """Where in the list the open atom is; None if it is not."""
        places = (self.table.index == self.page.atom).nonzero()[0]
        return int(places[0]) if len(places) else None

    def _first(self):
        return int(self.table.index[0]) if len(self.table) else None

    def _open_first(self, event):
        if self._first() is not None:
            self.go("atom", self._first())

    def _step(self, by):
        place = self._place()
        to = 0 if place is None else place + by
        if 0 <= to < len(self.table):
            self.go("atom", int(self.table.index[to]))

    def _show_more(self, event):
        self.count += DASHBOARD_LISTED * 4
        self._fill()
