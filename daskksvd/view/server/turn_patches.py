"""Atoms turned in the patches of an image: where they are before and after, and what is near it."""

import panel as pn

from ..data.turning_patches import turn_patches
from ..templates.markup import data_uri, gallery_html
from .parts import CARD, Html
from .turn import TELLS, WIDE, Turn, percent

HELP = (
    "The coefficient of the atom is set in the code of every patch of the region, 0 turns it off. What the "
    "code leaves unexplained stays. The class token, where it is a row, is left as it is. With the model of "
    "the patches (--encoder) the image is run through it, too."
)


class TurnPatches(Turn):
    """The screen ``#turn=17`` and, of an image, ``#turn=17-4``, of codes of patches."""

    sample, help = "Image", HELP

    def _more_controls(self):
        tall, wide = self.view.patches.layout.grid
        self.more = pn.widgets.TextInput(label="Turn too", placeholder="40=0, 41=1.5", value="", **WIDE)
        self.down, self.across = (
            pn.widgets.IntRangeSlider(label=label, start=0, end=max(size - 1, 1), value=(0, size - 1), **WIDE)
            for label, size in (("Rows of patches", tall), ("Columns of patches", wide))
        )
        self.more.param.watch(self._turn, "value")
        for widget in (self.down, self.across):
            widget.param.watch(self._turn, "value_throttled")
        return [self.more, self.down, self.across]

    def _panes(self):
        self.changes = Html(None, CARD)
        return [self.changes, self.words, self.pictures]

    def _tell(self, atom, row, value):
        atoms = {atom: value, **others_of(self.more.value, atom)}
        grid = self.view.patches.layout.grid
        down, across = (
            tuple(min(int(place), size - 1) for place in widget.value)
            for widget, size in zip((self.down, self.across), grid, strict=True)
        )
        found = turn_patches(self.view, atoms, row, down=down, across=across)
        output = found.output
        told = {
            "rows": found.rows, "all": self.view.patches.layout.n_patches, "asked": found.asked,
            "changed": found.changed, "share": percent(found.share, 1), "more": len(atoms) > 1,
        }  # fmt: skip
        said = output and {
            "share": percent(output.share, 1),
            "still": not output.share and found.changed,
            "likeness": f"{output.likeness:.3f}",
            "doubt": output.doubt,
        }
        self.said.put(TELLS.patches(row, atom, told, f"{value:+.3g}", said, found.trouble))
        lines = [
            {
                "atom": one.atom,
                "turned": one.turned,
                "names": ", ".join(self.view.names[one.atom]),
                "before": _used(one.before),
                "after": _used(one.after),
                "images": [data_uri(use.image, 160) for use in (one.before, one.after)],
            }
            for one in found.atoms
        ]
        self.changes.put(TELLS.changes(row, lines, found.n_others))
        self.pictures.put(gallery_html(found.panels, side=160, style=False, href="#image={}"))
        self._put_words(None if output is None else output.words)


def others_of(text, atom):
    """Atoms and values of a text such as ``40=0, 41=1.5``; without a value an atom is turned off.

    Raises
    ------
    ValueError
        If a part of it is none of these, or names an atom a second time.
    """
    found = {}
    for part in filter(None, (part.strip() for part in (text or "").split(","))):
        which, _, value = part.partition("=")
        try:
            number, amount = int(which), float(value or 0)
        except ValueError:
            raise ValueError(f"“{part[:40]}” is no atom and value; write 40=0, 41=1.5") from None
        if number == atom or number in found:
            raise ValueError(f"Atom {number} is named twice.")
        found[number] = amount
    return found


def _used(use):
    """The largest coefficient of an atom, and how many patches use it."""
    return f"{use.largest:+.3g}" if use.patches else "none", use.patches
