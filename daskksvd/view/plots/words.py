"""Words and atoms: how strongly they go together."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from . import theme
from .bars import FLOOR, bar_columns, rectangles
from .figures import Filling

if TYPE_CHECKING:
    import holoviews as hv

    from ..data.view import View

BINS = 50


def correlation_histogram(view: View, atom: int, *, log: bool = True, top: int = 6) -> hv.Overlay:
    """Words by their correlation with the use of an atom, the strongest ones named.

    Most words have next to none; a word far to the right is what the atom
    means.

    Parameters
    ----------
    view : View
        With labels.
    atom : int
    log : bool
        Logarithmic counts.
    top : int
        Words that are named.

    Returns
    -------
    holoviews.Overlay
    """
    hv, filling = theme.holoviews(), correlation_filling(view, atom, log=log, top=top)
    counted, *named = filling.layers
    # as many layers whatever the atom, so that one picture can be filled with another atom
    parts = [rectangles(hv, counted, "words", color=theme.GREY), *_named(hv, *named)]
    return theme.style(
        hv.Overlay(parts), filling.title, logy=log, ylim=filling.y, xlim=filling.x, show_legend=False,
        xlabel="correlation with the use of the atom", ylabel="words",
    )  # fmt: skip


def correlation_filling(view: View, atom: int, *, log: bool = True, top: int = 6) -> Filling:
    """What `correlation_histogram` shows."""
    table = view.words_of(atom)
    table = table[np.isfinite(table.correlation)].sort_values("correlation", ascending=False, kind="stable")
    values = table.correlation.to_numpy(float)
    low, high = min(values.min(initial=0), -0.02), max(values.max(initial=0), 0.1)
    edge = np.linspace(low, high, BINS + 1)
    count = np.histogram(values, edge)[0]
    most = float(max(count.max(initial=0), 1))
    bottom, ceiling = (FLOOR, most**1.35 * 4) if log else (0.0, most * 1.5)
    layers = [bar_columns(edge, count, log), *_places(table.head(top), edge, count, bottom, ceiling, log)]
    title, margin = f"Words that go with {view.title(atom)}", 0.02 * (high - low)
    return Filling(layers, title, (low - margin, high + margin), (bottom, ceiling))


def _places(chosen, edge, count, bottom, ceiling, log):
    """Columns of lines, dots and names on their left and right: words one below the other."""
    values = chosen.correlation.to_numpy(float)
    places = np.clip(np.searchsorted(edge, values, side="right") - 1, 0, len(count) - 1)
    # from the top down in even steps of the axis; the strongest word is the highest
    shares = 0.95 - 0.085 * np.arange(len(chosen))
    heights = bottom * (ceiling / bottom) ** shares if log else bottom + (ceiling - bottom) * shares
    right = values > (edge[0] + edge[-1]) / 2
    starts = np.minimum(np.maximum(count[places], bottom), heights)
    lines = {"x0": values, "y0": starts, "x1": values, "y1": heights}
    words = chosen.index.to_numpy(object)
    points = {
        "x": values, "y": heights, "word": words, "correlation": values,
        "q": chosen.q_value.to_numpy(float), "samples": chosen.samples.to_numpy(),
    }  # fmt: skip
    sides = [{"x": values[side], "y": heights[side], "word": words[side]} for side in (right, ~right)]
    return [lines, points, *sides]


def _named(hv, lines, points, *sides):
    """Names of words, with a line to the place of each."""
    stems = hv.Segments(pd.DataFrame(lines), ["x0", "y0", "x1", "y1"])
    stems = stems.opts(color=theme.LINE, line_width=1)
    tips = [("word", "@word"), ("correlation", "@correlation{0.000}"), ("q", "@q{0.0e}"),
            ("samples with it", "@samples{0,0}")]  # fmt: skip
    dots = hv.Points(pd.DataFrame(points), ["x", "y"], ["word", "correlation", "q", "samples"])
    dots = dots.opts(color=theme.RED, size=6, tools=["hover"], hover_tooltips=tips)
    labels = [
        hv.Labels(pd.DataFrame(columns), ["x", "y"], "word").opts(
            text_align=align, text_baseline="middle", text_font_size="10pt", text_color=theme.INK,
            hooks=[_shift(shift)],
        )
        for columns, align, shift in zip(sides, ("right", "left"), (-8, 8), strict=True)
    ]  # fmt: skip
    return [stems, dots, *labels]


def _shift(pixels):
    def hook(plot, element):
        plot.handles["glyph"].x_offset = pixels

    return hook


def word_heatmap(
    view: View, atoms: Sequence[int] | None = None, words: Sequence[str] | None = None, *, n_atoms: int = 24
) -> hv.HeatMap:
    """Correlation of words with atoms, as a map of colours.

    Parameters
    ----------
    view : View
        With labels.
    atoms : list of int, optional
        By default those of the strongest names, each first word once.
    words : list of str, optional
        By default the first words of these atoms.
    n_atoms : int
        Atoms chosen by default.

    Returns
    -------
    holoviews.HeatMap
    """
    hv = theme.holoviews()
    if view.labels is None:
        raise ValueError("there are no labels; word_heatmap needs a view with labels")
    if atoms is None:
        order = view.atoms.sort_values("g", ascending=False, kind="stable")
        order = order[order.significant]
        first = order.names.str.split(", ").str[0]
        atoms = order.index[~first.duplicated()][:n_atoms].tolist()
    atoms = [view.check_atom(atom) for atom in atoms]
    if words is None:
        words = list(dict.fromkeys(word for atom in atoms for word in view.names[atom][:1]))
    unknown = [word for word in words if word not in view.words.index]
    if unknown:
        raise ValueError(f"words has {unknown[0]!r}, which is not among the words counted")
    table = pd.DataFrame(
        [
            (str(atom), word, float(value), view.title(atom))
            for atom in atoms
            for word, value in view.words_of(atom).correlation[words].items()
        ],
        columns=["atom", "word", "correlation", "title"],
    )
    table["correlation"] = table.correlation.fillna(0)
    # HoloViews reshapes columns, which pandas' own text cannot
    table = table.astype(dict.fromkeys(("atom", "word", "title"), object))
    made = hv.HeatMap(table, ["atom", "word"], ["correlation", "title"])
    most = max(float(table.correlation.max()) if len(table) else 0, 0.1)
    made = made.opts(
        cmap=theme.RAMP, clim=(0, most), colorbar=True, colorbar_opts={"title": "corr."}, tools=["hover"],
        hover_tooltips=[("word", "@word"), ("", "@title"), ("correlation", "@correlation{0.000}")],
        invert_yaxis=True, xrotation=60,
    )  # fmt: skip
    height = max(theme.HEIGHT, 110 + 18 * len(words))
    return theme.style(made, "Words and atoms", height=height, show_grid=False)
