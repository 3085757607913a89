"""An image, its atoms, and where in it each of them is."""

import numpy as np
import panel as pn

from ..data.galleries import samples_of
from ..data.heat import heat_map
from ..plots.heat import heat_map as heat_element
from ..templates import macros
from ..templates.markup import data_uri
from .parts import CARD, SAYS, Html, chosen, columns, grid, listing, picture

IMAGE_ATOMS = 24
"""Atoms of an image whose heat maps are shown: the strongest. A map is drawn in 10 ms."""

IMAGES_FOUND = 24
"""Images that are offered at a time: two rows of a narrow window, a screen of a wide one."""

TELLS = macros("image.html")
"""Functions that make the HTML of this screen."""


class ImagePage:
    """The screen ``#images``, of an image ``#image=17``, and of an atom in it ``#image=17-4``.

    Parameters
    ----------
    view : View
        Of codes of patches, with images.
    go : callable
        Takes the name of a screen and what it shows, and opens it.
    """

    def __init__(self, view, go):
        self.view, self.go, self.drawn, self.rows = view, go, 0, []
        self.search = pn.widgets.TextInput(
            label="Find an image", placeholder="dog, or the number of an image", sizing_mode="stretch_width",
            margin=(0, 0, 6, 0),
        )  # fmt: skip
        self.others = pn.widgets.Button(label="Other images", margin=(0, 0, 6, 0))
        self.status, self.found = Html(), Html()
        beside = ":host { flex: 1 1 300px; min-width: min(100%, 300px); box-sizing: border-box; }"
        self.heading, self.facts, self.atoms = Html(), Html(None, CARD, beside), Html(None, CARD)
        self.map = grid()
        self.shown = None
        self.layout = columns(
            [self.search, self.others, self.status, listing(self.found)],
            [self.heading, self.map, self.atoms], width=300,
        )  # fmt: skip
        self.layout[1].styles = {"gap": "12px"}
        self.search.param.watch(self._search, "value_input")
        self.search.param.watch(self._open_first, "enter_pressed")
        self.others.on_click(self._draw)
        self._search()

    def show(self, argument):
        """Show an image by its number, and an atom in it; without either the first image that is offered."""
        row, atom, note = self._asked(argument)
        table = self.view.patches.atoms_of(row)
        if atom is None:
            atom = int(table.index[0]) if len(table) else 0
        if (row, atom, note) == self.shown:
            return
        self.shown = row, atom, note
        self.found.stylesheets = [*self.found.stylesheets[:2], chosen(f"#image={row}")]
        self._show_atom(row, atom, table, note)
        self._show_atoms(row, atom, table)

    def _asked(self, argument):
        """Image and atom (None for the strongest) that an address means, and what is wrong with it.

        A word means the strongest image of its atom. Where there is no such image, it is the first that is
        offered.
        """
        which, _, atom = argument.partition("-")
        row = self._number(which, self.view.n)
        if row is not None:
            if row not in self.rows and (self.shown is None or row != self.shown[0]):
                self._look_for("")  # what was looked for before is not what is shown
            found = self._number(atom, self.view.m)
            wrong = atom and found is None
            note = f"There is no atom “{atom[:40]}”; they are from 0 to {self.view.m - 1:,}." if wrong else ""
            return row, found, note
        if not argument:
            return (self.shown[0] if self.shown is not None else self._first()), None, ""
        note = f"There is no image “{argument[:40]}”; they are from 0 to {self.view.n - 1:,}."
        if any(map(str.isalpha, argument)):
            word, _, atom = argument.rpartition("-")
            found = self._number(atom, self.view.m) if word else None
            text = argument if found is None else word
            self._look_for(text)
            if self.rows:
                return self._first(), found, ""
            note = f"No atom goes with “{text[:40]}”."
        self._look_for("")
        return self._first(), None, note

    def _look_for(self, text):
        """Put a text into the field, as if it were typed."""
        if (self.search.value_input or "") != text:
            self.search.param.update(value=text, value_input=text)

    def _show_atom(self, row, atom, table, note):
        view = self.view
        used = table.loc[atom] if atom in table.index else None
        value, patches = (0.0, 0) if used is None else (used.coefficient, int(used.patches))
        token = 0.0 if used is None or np.isnan(used.class_token) else used.class_token
        sample = samples_of(view, np.array([row]), np.array([value]), view.names[atom])[0]
        self.heading.put(TELLS.heading(row, atom, view.title(atom), note))
        layout = view.patches.layout
        drawn = layout.n_patches < layout.grid[0] * layout.grid[1]
        of = f"of the {layout.n_patches} patches drawn" if drawn else f"of {layout.n_patches} patches"
        told = f"{value:+.3g}", patches, of, f"{token:+.3g}" if token else ""
        self.facts.put(TELLS.facts(*told, sample.captions))
        self.map[:] = [picture(heat_element(view, atom, row)), self.facts]

    def _show_atoms(self, row, atom, table):
        used = table[table.patches > 0]
        lines = []
        for other, value in used.coefficient.head(IMAGE_ATOMS).items():
            image = data_uri(heat_map(self.view, int(other), row, 160).image, 160)
            names = ", ".join(self.view.names[other])
            lines.append((int(other), names, f"{value:+.3g}", other == atom, image))
        self.atoms.put(TELLS.atoms(row, lines, len(used)))

    # ------------------------------------------------------------- callbacks

    def _search(self, *events):
        """Offer images: that of a number, the strongest of the atom for a word, or some that are drawn."""
        text = (self.search.value_input or "").strip()
        row = self._number(text, self.view.n)
        self.others.visible = not text
        if not text:
            return self._draw()
        if row is not None:
            rows, said = [row], f"image {row}"
        elif text.isdecimal():
            rows, said = [], f"There are images from 0 to {self.view.n - 1:,}."
        else:
            rows, said = self._of_word(text)
        return self._offer(rows, said)

    def _of_word(self, text):
        """The strongest images of the atom for a word, and a sentence."""
        found = self.view.find(text, 1)
        if not len(found):
            return [], f"No atom goes with “{text}”."
        atom = int(found.atom.iloc[0])
        rows, _ = self.view.top_rows(atom, int(self.view.sides[atom]), IMAGES_FOUND)
        return rows.tolist(), f"The strongest images of {self.view.title(atom)}"

    def _draw(self, *events):
        """Offer images drawn at random, others each time."""
        rng = np.random.default_rng(self.drawn)
        self.drawn += 1
        n = self.view.n
        rows = rng.choice(n, min(n, IMAGES_FOUND), replace=False)
        self._offer(sorted(rows.tolist()), f"{len(rows)} of {n:,} images, drawn at random")

    def _offer(self, rows, said):
        self.rows = rows
        images = self.view.images_of(rows)
        lines = [(row, data_uri(image, 96)) for row, (image, _) in zip(rows, images, strict=True)]
        self.found.put(TELLS.found(lines))
        self.status.put(SAYS.status(said))

    def _open_first(self, event):
        if self._first() is not None:
            self.go("image", self._first())

    def _first(self):
        return self.rows[0] if self.rows else None

    @staticmethod
    def _number(text, stop):
        """A number under a bound, or None; digits that are no numbers, and numbers beyond any, are none."""
        known = text.isascii() and text.isdecimal() and len(text) < 20 and int(text) < stop
        return int(text) if known else None
