"""How a fit went, and fits beside one another."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from . import theme

if TYPE_CHECKING:
    import holoviews as hv

    from ...fitting.result import Result
    from ..data.view import View


def learning_curves(view: View | Result) -> hv.Layout:
    """Error, and dead and replaced atoms, per wave and pass, one above the other.

    Parameters
    ----------
    view : View or Result

    Returns
    -------
    holoviews.Layout
    """
    return (error_curves(view) + atom_curves(view)).cols(1).opts(shared_axes=False)


def error_curves(view: View | Result) -> hv.Overlay:
    """Relative error of the samples against passes: of waves, of whole passes, and held out.

    Parameters
    ----------
    view : View or Result

    Returns
    -------
    holoviews.Overlay
    """
    hv = theme.holoviews()
    passes, waves = _history(view)
    x, y = hv.Dimension("passes", label="passes over the samples"), "relative error"
    curves = []
    if len(waves):
        data = pd.DataFrame({"passes": waves.position, y: waves.relative_error})
        curves.append(hv.Curve(data, x, y, label="waves").opts(color=theme.SKY, line_width=1.2))
    for name, label, colour, marker in (
        ("relative_error", "passes", theme.BLUE, "circle"),
        ("holdout_error", "held out", theme.RED, "triangle"),
    ):
        data = pd.DataFrame({"passes": passes.index, y: passes[name]}).dropna()
        if len(data):
            curves.append(hv.Curve(data, x, y, label=label).opts(color=colour, line_width=2))
            points = hv.Scatter(data, x, y).opts(color=colour, size=6, marker=marker, tools=["hover"])
            curves.append(points)
    if not curves:
        curves = [hv.Curve([], x, y, label="no pass")]
    return theme.style(hv.Overlay(curves), "Error while learning", legend_position="top_right", padding=0.06)


def atom_curves(view: View | Result) -> hv.Overlay:
    """Atoms that no sample uses, and atoms that were replaced, per pass.

    Parameters
    ----------
    view : View or Result

    Returns
    -------
    holoviews.Overlay
    """
    hv = theme.holoviews()
    passes, _ = _history(view)
    result: Any = getattr(view, "result", view)
    m = result.dictionary.shape[0]
    x, y = hv.Dimension("passes", label="passes over the samples"), "atoms"
    curves = []
    for label, values, colour, marker in (
        ("dead", m - passes.used_atoms, theme.RED, "triangle"),
        ("replaced", passes.replaced_atoms, theme.BLUE, "circle"),
    ):
        data = pd.DataFrame({"passes": passes.index, y: values.to_numpy(float)})
        curves.append(hv.Curve(data, x, y, label=label).opts(color=colour, line_width=2))
        curves.append(hv.Scatter(data, x, y).opts(color=colour, size=6, marker=marker, tools=["hover"]))
    title = f"Dead and replaced atoms, of {m:,}"
    most = max([1.0, *(m - passes.used_atoms), *passes.replaced_atoms])
    limits = (-0.03 * most, 1.1 * most)
    return theme.style(hv.Overlay(curves), title, legend_position="top_right", ylim=limits, padding=0.06)


def pareto(results: Sequence[Result | View] | Mapping[Any, Result | View] | pd.DataFrame) -> hv.Overlay:
    """Relative error against nonzeros a sample, a line for every number of atoms.

    Parameters
    ----------
    results : list or dict of Result or View, or pandas.DataFrame
        A frame has columns ``n_components``, ``nonzeros`` and ``error``.

    Returns
    -------
    holoviews.Overlay
    """
    hv = theme.holoviews()
    table = results if isinstance(results, pd.DataFrame) else _trade(results)
    missing = [name for name in ("n_components", "nonzeros", "error") if name not in table]
    if missing or not len(table):
        raise ValueError(
            f"results has no {missing[0] if missing else 'rows'}; it must be results, or a frame with "
            "n_components, nonzeros and error"
        )
    x, y = hv.Dimension("nonzeros", label="nonzeros a sample"), hv.Dimension("error", label="relative error")
    markers = ("circle", "triangle", "square", "diamond", "inverted_triangle", "hex", "star")
    parts = []
    for number, (m, group) in enumerate(table.sort_values("nonzeros").groupby("n_components")):
        look = {"color": theme.PALETTE[number % len(theme.PALETTE)]}
        parts.append(hv.Curve(group, x, y, label=f"{m:,} atoms").opts(line_width=2, **look))
        points = hv.Scatter(group, x, [y, "n_components"])
        parts.append(points.opts(size=8, marker=markers[number % len(markers)], tools=["hover"], **look))
    title = "Error against sparsity and size"
    return theme.style(hv.Overlay(parts), title, legend_position="right", padding=0.08)


def _trade(results):
    """Atoms, nonzeros and error of results at the end of learning."""
    lines = []
    for result in results.values() if isinstance(results, dict) else results:
        result = getattr(result, "result", result)
        history = result.history
        if not history.sizes["pass"]:
            raise ValueError("results has one without a finished pass; it has no error")
        lines.append(
            {
                "n_components": result.dictionary.shape[0],
                "nonzeros": float(history.mean_nonzeros[-1]),
                "error": float(history.relative_error[-1]),
            }
        )
    return pd.DataFrame(lines, columns=["n_components", "nonzeros", "error"])


def _history(view):
    """Passes, by number from 1, and waves with their ``position`` in passes."""
    history = getattr(view, "result", view).history
    passes = history[[name for name in history if history[name].dims == ("pass",)]].to_dataframe()
    waves = history[[name for name in history if history[name].dims == ("wave",)]].to_dataframe()
    waves = waves.rename(columns=lambda name: name.removeprefix("wave_"))
    if len(waves):
        within = waves.groupby("pass").cumcount() + 1
        waves["position"] = waves["pass"] + within / waves.groupby("pass")["pass"].transform("size")
    return passes, waves.assign(position=waves.get("position", pd.Series(dtype=np.float64)))
