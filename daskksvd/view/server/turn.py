"""An atom of a sample, turned by a slider: what is near the sample before and after."""

import panel as pn

from ..data.facts import figure
from ..data.turning import turn
from ..templates import macros
from ..templates.markup import gallery_html
from .parts import CARD, SAYS, Html, columns

TURN_RANGE = 2.0
"""The slider goes to so many times the largest coefficient that any sample has."""

MUCH = 1000
"""Shares from this on are told in three digits."""

TELLS = macros("turn.html")
"""Functions that make the HTML of this screen."""

HELP = (
    "The coefficient of the atom is set in the code of the sample. What the code leaves unexplained stays. "
    "0 turns the atom off."
)


WIDE = {"sizing_mode": "stretch_width", "margin": (0, 0, 8, 0)}


def percent(share, places):
    """A share in percent; one of which that would be a long row of digits in short."""
    return f"{share:.{places}%}" if abs(share) < MUCH else f"{100 * share:.3g}%"


class Turn:
    """The screen ``#turn=17`` and, of a sample, ``#turn=17-4``.

    Parameters
    ----------
    view : View
    go : callable
    """

    sample, help = "Sample", HELP
    """What a row is called, and what is said below the controls."""

    def __init__(self, view, go):
        self.view, self.go = view, go
        self.which = pn.widgets.IntInput(label="Atom", start=0, end=view.m - 1, value=0, **WIDE)
        self.row = pn.widgets.IntInput(label=self.sample, start=0, end=view.space.n - 1, value=0, **WIDE)
        self.value = pn.widgets.FloatInput(label="Coefficient", value=0.0, step=0.1, **WIDE)
        self.slider = pn.widgets.FloatSlider(label="Turn", start=-1, end=1, step=0.01, value=0.0, **WIDE)
        self.heading, self.said = Html(), Html()
        self.words = Html(None, CARD)
        self.pictures = Html(None, CARD)
        self.shown, self.quiet = None, False
        controls = [self.which, self.row, self.slider, self.value, *self._more_controls()]
        controls.append(Html(SAYS.muted(self.help)))
        self.layout = columns(controls, [self.heading, self.said, *self._panes()], width=270)
        self.layout[1].styles = {"gap": "12px"}
        for widget in (self.which, self.row):
            widget.param.watch(self._asked, "value")
        self.slider.param.watch(self._slid, "value_throttled")
        self.value.param.watch(self._turn, "value")

    def _more_controls(self):
        """Controls below the common ones."""
        return []

    def _panes(self):
        """What stands below the sentence that says what was done."""
        return [self.pictures, self.words]

    def show(self, argument):
        """Turn an atom off, in the sample that it is strongest in or in that which is named."""
        which, _, row = argument.partition("-")
        try:
            atom = self.view.check_atom(int(which))
        except ValueError:
            atom = self.shown[0] if self.shown is not None else 0
        known = row.isdecimal() and len(row) < 20 and int(row) < self.view.space.n
        row = int(row) if known else self._strongest(atom)
        if (atom, row) == self.shown:
            return
        self.shown = atom, row
        self.quiet = True
        self.which.value, self.row.value = atom, row
        self.quiet = False
        reach = max(TURN_RANGE * abs(self._coefficient(atom, row)), 0.1)
        low = 0.0 if self.view.result.coder.target.nonnegative else -reach
        self.slider.param.update(start=low, end=reach, step=reach / 50, value=0.0)
        self.heading.put(TELLS.heading(atom, self.view.title(atom)))
        if self.value.value == 0:
            self._turn()
        else:
            self.value.value = 0.0

    def _strongest(self, atom):
        if self.view.index is None:
            return 0
        rows, _ = self.view.top_rows(atom, int(self.view.sides[atom]), 1)
        return int(rows[0]) if len(rows) else 0

    def _coefficient(self, atom, row):
        """The largest coefficient of the atom, or that of a sample where there is no index of codes."""
        if self.view.index is not None:
            _, values = self.view.top_rows(atom, int(self.view.sides[atom]), 1)
            return float(values[0]) if len(values) else 0.0
        return turn(self.view, atom, row, 0.0).coefficient

    def _asked(self, *events):
        """Numbers were typed: the address follows, and with it what is shown."""
        asked = self.which.value, self.row.value
        # a program sets one after the other, to what is shown
        if self.shown is not None and asked != self.shown and None not in asked and not self.quiet:
            self.go("turn", f"{asked[0]}-{asked[1]}")

    def _slid(self, event):
        self.value.value = round(float(event.new), 4)

    def _turn(self, *events):
        """Show what the value does."""
        if self.shown is None or self.value.value is None:
            return
        try:
            self._tell(*self.shown, float(self.value.value))
        except (ValueError, OSError, ImportError) as error:  # those of a model that cannot be loaded
            self.said.put(SAYS.status(str(error)))

    def _tell(self, atom, row, value):
        found = turn(self.view, atom, row, value)
        told = f"{found.coefficient:+.3g}", f"{value:+.3g}", percent(found.share, 0)
        self.said.put(TELLS.said(row, *told, found.trouble))
        self.pictures.put(gallery_html(found.panels, side=160, style=False))
        self._put_words(found.words)

    def _put_words(self, words):
        """A table of the nearest words, from `turned_texts`; hidden where there is none."""
        self.words.visible = words is not None
        if words is not None:
            lines = [
                (one.before, figure(one.score_before), one.after, figure(one.score_after))
                for one in words.itertuples()
            ]
            self.words.put(TELLS.words(lines))
