"""One browser window: the header, and the screen that its address names."""

import contextlib
from urllib.parse import parse_qs, quote, unquote

import panel as pn

from ..templates import render, source
from . import parts
from .atoms import Atoms
from .compare import Compare
from .graph import Graph
from .image_page import ImagePage
from .overview import Overview
from .turn import Turn
from .turn_patches import TurnPatches

SCREENS = {
    "overview": "Overview", "atoms": "Atoms", "images": "Images", "graph": "Graph", "compare": "Compare",
    "turn": "Turn",
}  # fmt: skip
ONE = {"atom": "atoms", "image": "images"}
"""Names in addresses that mean a screen with something open."""


class Window:
    """What one browser window shows.

    ``#atom=17`` opens an atom, and so on; links and the browser's back and
    forward work in place. ``?atom=17`` does for a start.

    Parameters
    ----------
    shown : Shown

    Attributes
    ----------
    template : panel.Template
        The page.
    """

    def __init__(self, shown):
        self.shown, self.name, self.screens = shown, None, {}
        self.location = pn.state.location
        self.opening = parts.Html(parts.SAYS.status("Opening …"))
        self.body = pn.Column(self.opening, sizing_mode="stretch_width", margin=0)
        self.header = parts.Html(parts.SAYS.header(shown.view.name or "Result", SCREENS))
        self.template = pn.Template(source("window.html"))
        self.template.add_variable("style", render("window.css", narrow=parts.DASHBOARD_NARROW))
        self.template.location = True
        self.template.add_panel("header", self.header)
        self.template.add_panel("screen", self.body)
        # what follows # is not known before the browser has told it, and changes before that get lost
        pn.state.onload(self.start)

    def start(self):
        """Follow the address, now that the browser is there."""
        self.location.param.watch(lambda event: self.route(), "hash")
        self.route()

    def go(self, screen, what=""):
        """Open a screen on something, as a click on a link to it does."""
        self.location.hash = f"#{screen}={quote(str(what))}" if what != "" else f"#{screen}"

    def route(self):
        """Show the screen that the address names; a new one is made after the browser has been told."""
        asked = self.location.hash.removeprefix("#")
        if not asked:
            query = parse_qs(self.location.search.removeprefix("?"))
            asked = next((f"{name}={query[name][0]}" for name in (*ONE, *SCREENS) if name in query), "")
        name, _, what = asked.partition("=")
        name = ONE.get(name, name)
        self.name = name = name if name in SCREENS else "overview"
        for known, screen in self.screens.items():
            screen.layout.visible = known == name
        self.header.stylesheets = [*self.header.stylesheets[:2], parts.chosen(f"#{name}")]
        self.opening.visible = name not in self.screens
        if name in self.screens:
            with at_once():
                self.screens[name].show(unquote(what))
        else:
            pn.state.curdoc.add_next_tick_callback(lambda: self.open(name, unquote(what)))

    def open(self, name, what):
        """Make a screen, unless the window went on to another one."""
        if name != self.name or name in self.screens:
            return
        screen = self.make(name)
        with at_once():
            try:
                screen.show(what)
            except (
                ValueError,
                OSError,
                ImportError,
            ) as error:  # a screen that says "Opening" for ever says less
                screen = parts.Note(SCREENS[name], str(error))
            self.screens[name] = screen
            self.opening.visible = False
            self.body.append(screen.layout)

    def make(self, name):
        """A screen by its name; a note where what it needs is missing."""
        view, other = self.shown.view, self.shown.other
        if name == "overview":
            return Overview(view)
        if name == "atoms":
            return Atoms(view, self.go)
        if name == "images" and view.patches is not None and view.images is not None:
            return ImagePage(view, self.go)
        if name == "graph" and view.labels is not None:
            return Graph(view, self.go)
        if name == "compare" and other is not None:
            return Compare(view, other, self.shown.pairs)
        if name == "turn" and view.space is not None:
            return Turn(view, self.go) if view.patches is None else TurnPatches(view, self.go)
        missing = {
            "images": "This screen shows where in an image atoms are. It needs a row for every patch of an "
            "image (daskksvd embed --tokens patches), and these embeddings with their images (--embeddings).",
            "turn": "There are no vectors of these samples; name them with --embeddings, or embeddings=.",
            "graph": "The atoms have no names yet; the command daskksvd label finds them.",
            "compare": "There is no second result; name one with --compare, or compare= in Python.",
        }
        return parts.Note(SCREENS[name], missing[name])


@contextlib.contextmanager
def at_once():
    """Changes of a page together: Bokeh looks through all of the page after each part otherwise."""
    frozen = pn.state.curdoc.models.freeze()
    frozen.__enter__()
    try:
        yield
    finally:  # which Bokeh's own lacks
        frozen.__exit__(None, None, None)
