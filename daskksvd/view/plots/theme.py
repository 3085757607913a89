"""Colours, sizes and the way all pictures look."""

import functools

INK, MUTED, LINE, PAPER = "#1b1f24", "#57606a", "#d8dee4", "#ffffff"
MARK = "#ffe08a"
"""Behind a word of the atom in a caption."""

PALETTE = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#F0E442")
"""Okabe and Ito's colours, which people of all kinds of colour vision tell apart."""

BLUE, RED, GREEN, PINK, ORANGE, SKY, YELLOW = PALETTE
GREY = "#9aa4ae"
POSITIVE, NEGATIVE = BLUE, RED
RAMP = "cividis"
"""Colour map of amounts; even in grey and for all kinds of colour vision."""

HEIGHT = 320
"""Pixels of a picture; its width is that of what it stands in."""

COMMUNITY_COLORS = 6
"""Communities with a colour of their own, the largest ones; the rest are grey."""


def holoviews():
    """HoloViews with its Bokeh backend; in Jupyter its extension, too."""
    hv = _loaded()
    if hv.Store.current_backend != "bokeh":
        hv.Store.set_current_backend("bokeh")
    return hv


@functools.cache
def _loaded():
    """Load HoloViews, once."""
    try:
        import holoviews as hv
        import holoviews.plotting.bokeh  # registers the backend
    except ImportError as error:
        raise ImportError('pictures need HoloViews; install it: pip install "daskksvd[view]"') from error
    if in_notebook() and not getattr(hv.extension, "_loaded", False):
        hv.extension("bokeh", logo=False, inline=True)  # from here, not from the network
    return hv


def in_notebook():
    """Whether a Jupyter kernel runs this."""
    try:
        from IPython import get_ipython
    except ImportError:
        return False
    return hasattr(get_ipython(), "kernel")


def style(element, title, *, height=HEIGHT, **options):
    """Give an element or overlay its title, its size and the look of all others."""
    shared = {
        "title": title, "height": height, "responsive": True, "min_width": 260, "show_grid": True,
        "fontsize": {"title": "11pt", "labels": "10pt", "ticks": "9pt", "legend": "9pt"},
        "hooks": [_plain, *options.pop("hooks", [])], **options,
    }  # fmt: skip
    return element.opts(backend="bokeh", **shared)


def _plain(plot, element):
    """What options cannot say: quiet lines, and a toolbar without a logo."""
    figure = plot.state
    figure.output_backend = "canvas"  # WebGL takes longer to begin than these pictures take to draw
    figure.toolbar.logo = None
    figure.toolbar.autohide = True
    figure.outline_line_color = None
    figure.background_fill_color = PAPER
    figure.border_fill_color = PAPER
    for axis in figure.axis:
        axis.axis_line_color = LINE
        axis.major_tick_line_color = LINE
        axis.minor_tick_line_color = None
        axis.axis_label_text_font_style = "normal"
        axis.axis_label_text_color = axis.major_label_text_color = INK
    for grid in figure.grid:
        if grid.grid_line_color is not None:  # None hides it
            grid.grid_line_color = "#eef1f4"
    figure.title.text_color = INK
    figure.title.text_font_style = "bold"
    for legend in figure.legend:
        legend.border_line_color = None
        legend.background_fill_alpha = 0.7


def count(number):
    """A number of things with commas."""
    return f"{int(number):,}"


def links(pattern):
    """Hooks that let a click on a point open a link: ``"#atom=@atom"``, with a column after the @."""
    if pattern is None:
        return []
    start, _, column = pattern.partition("@")

    def hook(plot, element):
        from bokeh.models import CustomJS, TapTool

        source = plot.handles["source"]
        if column not in source.data:
            return
        code = """
        const chosen = source.selected.indices[0];
        if (chosen !== undefined) {
          window.location.assign(start + encodeURIComponent(source.data[column][chosen]));
          source.selected.indices = [];
        }"""
        for tool in plot.state.select({"type": TapTool}):
            others = [] if tool.renderers == "auto" else tool.renderers
            tool.renderers = [*others, plot.handles["glyph_renderer"]]
        arguments = {"source": source, "start": start, "column": column}
        source.selected.js_on_change("indices", CustomJS(args=arguments, code=code))

    return [hook]


def community_colors(communities):
    """A colour for each: the largest communities have their own, the rest are grey."""
    own = (BLUE, RED, GREEN, PINK, ORANGE, SKY)[:COMMUNITY_COLORS]
    return [own[number] if 0 <= number < len(own) else GREY for number in communities]


def labels_by_zoom(zooms, sizes, scale):
    """A hook for labels: each is shown from its zoom on, in letters of its size.

    Parameters
    ----------
    zooms : (n,) array
        From `layout.label_zooms`.
    sizes : (n,) array
        Pixels.
    scale : float
        Pixels of a unit of the axes at zoom 1. A narrow window has a smaller
        zoom, and fewer labels.
    """

    def hook(plot, element):
        from bokeh.models import CustomJS

        source, glyph, figure = plot.handles["source"], plot.handles["glyph"], plot.state
        data = dict(source.data)
        data["zoom"] = [float(min(zoom, 1e9)) for zoom in zooms]
        data["font"] = [f"{size:g}px" for size in sizes]
        data["alpha"] = [float(zoom <= 1) for zoom in zooms]
        source.data = data
        glyph.text_alpha, glyph.text_font_size = "alpha", "font"
        glyph.text_baseline, glyph.y_offset = "bottom", -6  # above their dots
        code = """
        const x = figure.x_range, y = figure.y_range;
        const wide = figure.inner_width / Math.abs(x.end - x.start);
        const high = figure.inner_height / Math.abs(y.end - y.start);
        const zoom = Math.min(wide, high) / scale;
        if (!isFinite(zoom) || zoom <= 0) { return; }
        const old = source.data.alpha;
        const shown = source.data.zoom.map((least) => (least <= zoom * 1.02 ? 1 : 0));
        if (shown.some((value, place) => value !== old[place])) {
          source.data.alpha = shown;
          source.change.emit();
        }"""
        update = CustomJS(args={"figure": figure, "source": source, "scale": scale}, code=code)
        for axis in (figure.x_range, figure.y_range):
            axis.js_on_change("start", update)
            axis.js_on_change("end", update)
        figure.js_on_change("inner_width", update)
        figure.js_on_change("inner_height", update)

    return hook
