"""What all screens are made of: safe HTML, pictures that come in turn, and the look."""

import asyncio
import contextlib
from concurrent.futures import ThreadPoolExecutor
from typing import ClassVar

import panel as pn
from markupsafe import Markup

from ..plots.figures import draw
from ..plots.theme import BLUE, INK, LINE, MARK, MUTED, PAPER
from ..templates.markup import GALLERY_STYLE

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

NARROW = f"@media (max-width: {DASHBOARD_NARROW}px)"

TEMPLATE = f"""
{{% extends base %}}
{{% block postamble %}}
<meta name="viewport" content="width=device-width, initial-scale=1">
<style>
  :root {{ --bokeh-base-font: system-ui, sans-serif; --bokeh-font-size: 14px; }}
  body {{ font: 15px/1.5 system-ui, sans-serif; color: {INK}; background: #f4f6f8; }}
  header {{ background: {PAPER}; border-bottom: 1px solid {LINE}; position: sticky; top: 0; z-index: 20; }}
  main {{ padding: 14px 18px 40px; }}
  {NARROW} {{ header {{ position: static; }} main {{ padding: 8px 8px 30px; }} }}
</style>
<script>
  // a link sets the address by itself; Panel would do it again, and the way back would take two steps
  const push = history.pushState.bind(history);
  history.pushState = (state, unused, url) => {{
    if (new URL(url, location.href).href !== location.href) {{ push(state, unused, url); }}
  }};
  // and takes what follows # for the name of an element to scroll to
  window.addEventListener("click", (event) => {{
    if (event.composedPath().some((part) => part.matches?.('a[href^="#"]'))) {{
      event.stopImmediatePropagation();
    }}
  }}, true);
</script>
{{% endblock %}}
{{% block contents %}}
<header>{{{{ embed(roots.header) }}}}</header>
<main>{{{{ embed(roots.screen) }}}}</main>
{{{{ embed(roots.location) }}}}
{{% endblock %}}
"""

STYLE = f"""
:host {{ font: 15px/1.5 system-ui, sans-serif; color: {INK}; }}
h1, h2, h3 {{ margin: 0; line-height: 1.25; overflow-wrap: anywhere; }}
h1 {{ font-size: 17px; }} h2 {{ font-size: 21px; }} h3 {{ font-size: 15px; }}
p {{ margin: 2px 0 6px; max-width: 46em; }}
a {{ color: {BLUE}; }}
a:focus-visible, summary:focus-visible {{ outline: 3px solid {BLUE}; outline-offset: 1px; }}
mark {{ background: {MARK}; color: inherit; }}
.dk-muted {{ color: {MUTED}; font-size: 13px; }}
.dk-top {{ display: flex; flex-wrap: wrap; gap: 2px 26px; align-items: baseline; padding: 8px 18px; }}
.dk-top nav {{ display: flex; flex-wrap: wrap; gap: 2px 4px; }}
.dk-top nav a {{ padding: 4px 11px; border-radius: 6px; color: {INK}; text-decoration: none; }}
.dk-top nav a:hover {{ background: #eaf2f8; }}
.dk-list {{ list-style: none; margin: 0; padding: 0; }}
.dk-list a {{ display: flex; gap: 10px; padding: 5px 8px; border-radius: 6px; color: {INK};
  text-decoration: none; overflow-wrap: anywhere; }}
.dk-list a:hover {{ background: #eaf2f8; }}
.dk-list .dk-n {{ flex: 0 0 2.3em; text-align: right; color: {MUTED}; font-variant-numeric: tabular-nums; }}
.dk-list small {{ display: block; color: {MUTED}; font-size: 12.5px; }}
.dk-columns {{ display: grid; grid-template-columns: repeat(auto-fit, minmax(min(100%, 270px), 1fr));
  gap: 10px 28px; align-items: start; }}
.dk-columns .dk-table {{ width: 100%; }}
"""

CARD = f":host {{ background: {PAPER}; border: 1px solid {LINE}; border-radius: 10px; padding: 12px 14px; }}"


class Html(pn.pane.HTML):
    """A pane of HTML that is safe: it takes `Markup` and no plain str."""

    _rerender_params: ClassVar = ["object", "stylesheets"]  # panes do not follow a change of styles

    def __init__(self, text=None, *styles):
        styles = [GALLERY_STYLE, STYLE, *styles]
        super().__init__("", stylesheets=styles, sizing_mode="stretch_width", margin=0)
        self.put(Markup("") if text is None else text)

    def put(self, text):
        """Show other text."""
        if not isinstance(text, Markup):
            raise TypeError(f"text is a {type(text).__name__}; it must be Markup, in which data are escaped")
        self.object = str(text)  # Panel escapes it for the way, which Markup would do once more


def chosen(link):
    """A style that shows a link as the one that is open."""
    return f'a[href="{link}"] {{ background: #dcebf6 !important; box-shadow: inset 3px 0 0 {BLUE}; }}'


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
    parts = [pane, Html(Markup('<p class="dk-muted">{}</p>').format(note))] if note else [pane]
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
                prepare()
        loop.call_soon_threadsafe(document.add_next_tick_callback, step)

    # what the page shows already goes first
    document.add_next_tick_callback(lambda: READER.submit(begin))
    return going.clear


class Note:
    """A screen that only says something."""

    def __init__(self, title, text):
        self.layout = Html(Markup("<h2>{}</h2><p>{}</p>").format(title, text), CARD)

    def show(self, argument):
        """There is nothing to choose."""
