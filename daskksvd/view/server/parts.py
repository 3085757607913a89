"""What all screens are made of: safe HTML, pictures that come in turn, and the look."""

import asyncio
import contextlib
from concurrent.futures import ThreadPoolExecutor
from typing import ClassVar

import panel as pn
from markupsafe import Markup

from ..plots import theme
from ..plots.figures import draw
from ..templates import macros, render
from ..templates.markup import ATOM_STYLE

DASHBOARD_NARROW = 900
"""Width of a window in pixels under which columns stand one above the other: a list and
an atom of two cards need about that."""

DASHBOARD_LISTED = 50
"""Atoms listed at first: more than fill a screen, few enough to be sent at each letter typed."""

LINKS = {"link": "#atom=@atom", "word_link": "#graph=@label"}
"""What clicks on atoms and words in pictures open."""

READER = ThreadPoolExecutor(1, thread_name_prefix="reader")
"""Reads and lays out what pictures need, so that pages answer meanwhile. Drawing is left to the thread
of the pages: neither HoloViews nor Bokeh is made for several."""

SAYS = macros("dashboard.html")
"""Functions that make the HTML of the screens."""

STYLE = render("dashboard.css")

NARROW = f"@media (max-width: {DASHBOARD_NARROW}px)"

CARD = (
    f":host {{ background: {theme.PAPER}; border: 1px solid {theme.LINE}; border-radius: 10px; "
    "padding: 12px 14px; }"
)


class Html(pn.pane.HTML):
    """A pane of HTML that is safe: it takes `Markup` and no plain str."""

    _rerender_params: ClassVar = ["object", "stylesheets"]  # panes do not follow a change of styles

    def __init__(self, text=None, *styles):
        styles = [ATOM_STYLE, STYLE, *styles]
        super().__init__("", stylesheets=styles, sizing_mode="stretch_width", margin=0)
        self.put(Markup("") if text is None else text)

    def put(self, text):
        """Show other text."""
        if not isinstance(text, Markup):
            raise TypeError(f"text is a {type(text).__name__}; it must be Markup, in which data are escaped")
        self.object = str(text)  # Panel escapes it for the way, which Markup would do once more


def chosen(link):
    """A style that shows a link as the one that is open."""
    return f'a[href="{link}"] {{ background: #dcebf6 !important; box-shadow: inset 3px 0 0 {theme.BLUE}; }}'


def columns(side, rest, width=370):
    """A narrow column beside a wide one; above it in a narrow window."""
    side_sizes = f":host {{ flex: 0 0 {width}px; box-sizing: border-box; position: sticky; top: 62px; }}"
    side_narrow = f"{NARROW} {{ :host {{ flex: 1 1 100%; min-width: 0; position: static; }} }}"
    # wraps where the window is narrow and only there
    rest_sizes = f":host {{ flex: 1 1 {DASHBOARD_NARROW - width - 60}px; min-width: 0; }}"
    wide = {"sizing_mode": "stretch_width", "margin": 0}
    return pn.FlexBox(
        pn.Column(*side, stylesheets=[CARD, side_sizes, side_narrow], **wide),
        pn.Column(*rest, stylesheets=[rest_sizes], **wide),
        flex_wrap="wrap", gap="14px", align_items="flex-start", **wide,
    )  # fmt: skip


def listing(*parts):
    """A list that scrolls, as tall as the window has room for; a few lines in a narrow one."""
    tall = ":host { max-height: calc(100vh - 320px); min-height: 160px; overflow-y: auto; }"
    low = f"{NARROW} {{ :host {{ max-height: 190px; min-height: 0; }} }}"
    return pn.Column(*parts, sizing_mode="stretch_width", margin=0, stylesheets=[tall, low])


def grid():
    """A box whose parts stand side by side as far as there is room."""
    return pn.FlexBox(flex_wrap="wrap", gap="14px", sizing_mode="stretch_width", margin=0)


def picture(element, note="", least=340):
    """A card with a picture and how to read it."""
    pane = pn.pane.Bokeh(draw(element).state, sizing_mode="stretch_width", margin=0)
    parts = [pane, Html(SAYS.muted(note))] if note else [pane]
    sizes = f":host {{ flex: 1 1 {least}px; min-width: min(100%, {least}px); box-sizing: border-box; }}"
    return pn.Column(*parts, sizing_mode="stretch_width", margin=0, stylesheets=[CARD, sizes])


def in_turn(pictures, add, prepare):
    """Add pictures as they are made, one after the other, so that the page answers in between.

    Parameters
    ----------
    pictures : iterator
    add : callable
    prepare : callable
        What takes long and draws nothing; another thread does it before.

    Returns
    -------
    callable
        Stops what is still to come.
    """
    going, document, loop = [True], pn.state.curdoc, asyncio.get_running_loop()

    def step():
        made = next(pictures, None) if going else None
        if made is not None:
            add(made)
            document.add_next_tick_callback(step)

    def begin():
        with contextlib.suppress(Exception):  # who needs what could not be read is told the same
            if going:
                theme.holoviews()
                prepare()
        loop.call_soon_threadsafe(document.add_next_tick_callback, step)

    # what the page shows already goes first
    document.add_next_tick_callback(lambda: READER.submit(begin))
    return going.clear


class Note:
    """A screen that only says something."""

    def __init__(self, title, text):
        self.layout = Html(SAYS.note(title, text), CARD)

    def show(self, argument):
        """There is nothing to choose."""
