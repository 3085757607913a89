"""Two results side by side: which atoms of one are in the other."""

import numpy as np
import panel as pn

from .atom_page import AtomPage
from .parts import CARD, DASHBOARD_LISTED, SAYS, Html, chosen, columns, grid, listing

DASHBOARD_SAME = 0.8
"""|cos| from which on two atoms are said to have the same direction: of such pairs half had
the same first word in two fits of one set, of the others few."""

SHOWN = {
    "all pairs": lambda pairs: pairs.cosine.notna(),
    "the same direction": lambda pairs: pairs.cosine.abs() >= DASHBOARD_SAME,
    "another direction": lambda pairs: pairs.cosine.abs() < DASHBOARD_SAME,
    "the same first word": lambda pairs: pairs.same_name,
    "another first word": lambda pairs: ~pairs.same_name,
}


class Compare:
    """The screen ``#compare`` and, with a pair open, ``#compare=17``.

    Parameters
    ----------
    view, other : View
    pairs : pandas.DataFrame
        From `View.compare`.
    """

    def __init__(self, view, other, pairs):
        self.view, self.other, self.pairs = view, other, pairs
        self.which = pn.widgets.Select(
            label="Show", options=list(SHOWN), sizing_mode="stretch_width", margin=(0, 0, 6, 0)
        )
        self.search = pn.widgets.TextInput(
            label="With a word", placeholder="dog", sizing_mode="stretch_width", margin=(0, 0, 6, 0)
        )
        self.status, self.list, self.title = Html(), Html(), Html()
        self.more = pn.widgets.Button(label="Show more", margin=(6, 0, 0, 0))
        self.left, self.right = AtomPage(view, link=None), AtomPage(other, link=None)
        both = grid()
        for page in (self.left, self.right):
            name = Html(SAYS.muted(page.view.name or "result"))
            sizes = ":host { flex: 1 1 300px; min-width: min(100%, 300px); }"
            both.append(
                pn.Column(name, page.layout, sizing_mode="stretch_width", margin=0, stylesheets=[sizes])
            )
        self.layout = pn.Column(
            Html(self._summary(), CARD),
            columns(
                [self.which, self.search, self.status, listing(self.list, self.more)], [self.title, both]
            ),
            sizing_mode="stretch_width", margin=0, styles={"gap": "14px"},
        )  # fmt: skip
        self.which.param.watch(self._fill, "value")
        self.search.param.watch(self._fill, "value_input")
        self.more.on_click(lambda event: self._fill(more=True))
        self.atom = None
        self._fill()

    def show(self, argument):
        """Open the pair of an atom of the first result; by default the first that is listed."""
        try:
            atom = self.view.check_atom(int(argument))
        except ValueError:
            atom = self.atom if self.atom is not None else int(self.pairs.atom.iloc[0])
        self.atom = atom
        self.list.stylesheets = [*self.list.stylesheets[:2], chosen(f"#compare={atom}")]
        self.left.show(atom)
        pair = self.pairs[self.pairs.atom == atom]
        self.right.layout.visible = bool(len(pair))
        other, cosine = pair[["other", "cosine"]].iloc[0] if len(pair) else (None, None)
        self.title.put(SAYS.pair(atom, None if other is None else int(other), cosine))
        if other is not None:
            self.right.show(int(other))

    def _summary(self):
        cosine = self.pairs.cosine.abs()
        both = self.pairs.names.ne("") & self.pairs.other_names.ne("")
        return SAYS.compared(
            self.view.name or "This result",
            self.other.name or "another",
            m=f"{self.view.m:,}",
            m_other=f"{self.other.m:,}",
            pairs=f"{len(self.pairs):,}",
            named=f"{int(both.sum()):,}" if both.any() else "",
            same=f"{self.pairs.same_name[both].mean():.0%}" if both.any() else "",
            median=f"{np.median(cosine):.2f}",
            near=f"{int((cosine >= DASHBOARD_SAME).sum()):,}",
            least=DASHBOARD_SAME,
        )

    def _fill(self, *events, more=False):
        self.count = self.count + 4 * DASHBOARD_LISTED if more else DASHBOARD_LISTED
        text = (self.search.value_input or "").strip().lower()
        table = self.pairs[SHOWN[self.which.value](self.pairs)]
        table = table[(table.names + ", " + table.other_names).str.lower().str.contains(text, regex=False)]
        self.list.put(SAYS.pairs(table.head(self.count).itertuples()))
        self.status.put(SAYS.status(f"{len(table):,} pairs"))
        self.more.visible = len(table) > self.count
