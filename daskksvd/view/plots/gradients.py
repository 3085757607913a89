"""How words were chosen by gradients: what vectors reach, and what is left of it in words."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from . import theme

if TYPE_CHECKING:
    import holoviews as hv
    import xarray as xr

TITLES = {
    "free": "Free vectors",
    "softmax": "Mixtures of candidate words",
    "straight_through": "Drawn candidate words",
}
"""Of panels, by variant."""

ERRORS = {"correlation": "1 - correlation with captions", "squared": "squared distance from captions"}
"""Of the vertical axis, by error."""

HEIGHT = 360
"""Pixels of a panel, with its legend below."""

LINES = (
    ("soft", "as they are", theme.BLUE, "circle"),
    ("hard", "as words", theme.RED, "triangle"),
)
PARTS = (("held_out", "held out", "solid", 2), ("train", "learned on", "dashed", 1.4))


def gradient_curves(curves: Sequence[xr.Dataset] | Mapping[str, xr.Dataset]) -> hv.Layout:
    """Errors of what stands in the slots, and of the words it would become, against steps; a panel a curve.

    All panels have the same vertical axis: beside free vectors, whose error falls while that of their nearest
    words stays, one sees how mixtures of words end where words are.

    Parameters
    ----------
    curves : sequence of xarray.Dataset, or dict of them by title
        `naming.tokens.gradient.Refined.curve`, all of the same error. Without titles they are named by their
        variants.

    Returns
    -------
    holoviews.Layout

    Raises
    ------
    ValueError
        If there is no curve, or they are of different errors.
    """
    hv = theme.holoviews()
    if not isinstance(curves, Mapping):
        curves = {TITLES.get(one.attrs["variant"], one.attrs["variant"]): one for one in curves}
    errors = sorted({one.attrs["error"] for one in curves.values()})
    if len(errors) != 1:
        raise ValueError(
            f"curves has errors {', '.join(errors) or 'of nothing'}; it must have one curve at least, all of "
            "the same error"
        )
    names = [f"{kind}_{part}" for kind, *_ in LINES for part, *_ in PARTS]
    values = np.concatenate([one[names].to_array().values.ravel() for one in curves.values()])
    space = 0.06 * max(np.ptp(values), 1e-3)
    limits = (values.min() - space, values.max() + space)
    panels = [_panel(hv, title, one, ERRORS[errors[0]], limits) for title, one in curves.items()]
    return hv.Layout(panels).cols(len(panels)).opts(shared_axes=False)


def _panel(hv, title, curve, label, limits):
    x, y = hv.Dimension("step", label="steps"), hv.Dimension("error", label=label)
    drawn = []
    for part, said, dash, width in PARTS:
        for kind, name, colour, marker in LINES:
            data = pd.DataFrame({"step": curve.step, "error": curve[f"{kind}_{part}"]})
            line = hv.Curve(data, x, y, label=f"{name}, {said}")
            drawn.append(line.opts(color=colour, line_dash=dash, line_width=width))
            if part == "held_out":
                points = hv.Scatter(data, x, y)
                drawn.append(points.opts(color=colour, size=6, marker=marker, tools=["hover"]))
    return theme.style(
        hv.Overlay(drawn),
        title,
        legend_position="bottom",
        legend_cols=2,
        ylim=limits,
        height=HEIGHT,
        padding=0.04,
    )
