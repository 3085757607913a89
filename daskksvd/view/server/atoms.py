"""The atom browser: a search, a list in any order, and the atom that is open."""

import panel as pn
from markupsafe import Markup

from ..templates.markup import figure
from .atom_page import AtomPage
from .parts import DASHBOARD_LISTED, Html, chosen, columns, listing

ORDERS = {
    "best first": ("g", False),
    "significance (q)": ("q_value", True),
    "correlation": ("correlation", False),
    "held-out correlation": ("held_out", False),
    "use": ("uses", False),
    "mean coefficient": ("mean_coef", False),
    "number": (None, True),
}
"""Orders of the list: a column of `View.atoms`, and whether the smallest is first."""


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
        known = {
            "g": view.labels,
            "held_out": view.scores,
            "q_value": view.labels,
            "correlation": view.labels,
        }
        orders = [
            name for name, (column, _) in ORDERS.items()
            if column is None or (known.get(column, view) is not None and view.atoms[column].notna().any())
        ]  # fmt: skip
        self.search = pn.widgets.TextInput(
            label="Find a word or an atom", placeholder="dog, polar bear, 17", sizing_mode="stretch_width",
            margin=(0, 0, 6, 0),
        )  # fmt: skip
        self.order = pn.widgets.Select(
            label="Order", options=orders, sizing_mode="stretch_width", margin=(0, 0, 6, 0)
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
        column, ascending = ORDERS[self.order.value]
        table, self.found = self.view.atoms, None
        if text:
            self.found = self.view.find(text, n=self.view.m).set_index("atom")
            table = table.loc[self.found.index]
        if column is not None and not (text and column == "g"):  # what was searched for has an order
            table = table.sort_values(column, ascending=ascending, kind="stable", na_position="last")
        self.table, self.count = table, DASHBOARD_LISTED
        self.status.put(Markup('<p class="dk-muted" role="status">{}</p>').format(self._said(text)))
        self._fill()

    def _said(self, text):
        n = len(self.table)
        if not text:
            return f"{n:,} atoms"
        if not n:
            return f"No atom goes with “{text}”."
        words = list(dict.fromkeys(self.found.word))[:3]
        meant = "" if text.lower() in words or not any(words) else f" ({', '.join(words)})"
        return f"{n:,} atom{'s' * (n > 1)} for “{text}”{meant}"

    def _fill(self):
        lines = [self._line(atom, row) for atom, row in self.table.head(self.count).iterrows()]
        self.list.put(Markup('<ol class="dk-list">{}</ol>').format(Markup("").join(lines)))
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
        line = (
            '<li><a href="#atom={0}"><span class="dk-n">{0}</span><span>{1}<small>{2}</small></span></a></li>'
        )
        return Markup(line).format(atom, row["names"] or Markup("<i>no name</i>"), " · ".join(facts))

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
