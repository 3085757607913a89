"""Histograms that can have a logarithmic axis."""

import numpy as np
import pandas as pd

from . import theme

FLOOR = 0.7
"""Where bars start on a logarithmic axis: a bar of 1 can be seen."""


def bar_columns(edge, count, log=False):
    """Columns of bars of counts between edges; empty ones are left out."""
    edge, count = np.asarray(edge, float), np.asarray(count, float)
    there = count > 0
    return {
        "left": edge[:-1][there],
        "bottom": np.full(there.sum(), FLOOR if log else 0.0),
        "right": edge[1:][there],
        "top": count[there],
        "from": edge[:-1][there],
        "to": edge[1:][there],
        "number": count[there].astype(int),
    }


def bars(hv, edge, count, y, *, label="", color=theme.BLUE, log=False):
    """Bars of counts of ``y`` between edges, as rectangles; empty ones are left out."""
    return rectangles(hv, bar_columns(edge, count, log), y, label=label, color=color)


def rectangles(hv, columns, y, *, label="", color=theme.BLUE):
    """Bars of ``y`` from what `bar_columns` gives."""
    table = pd.DataFrame(columns)
    made = hv.Rectangles(table, ["left", "bottom", "right", "top"], ["from", "to", "number"], label=label)
    tips = [("from", "@from{0.000}"), ("to", "@to{0.000}"), (y, "@number{0,0}")]
    return made.opts(color=color, line_color="white", line_width=0.5, tools=["hover"], hover_tooltips=tips)
