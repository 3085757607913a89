"""Distributions over the dictionary: use, coefficients, nonzeros, angles."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from . import theme
from .bars import FLOOR, bar_columns, bars, rectangles
from .figures import Filling

if TYPE_CHECKING:
    import holoviews as hv

    from ..data.view import View

BINS = 60


def usage_by_rank(view: View, *, link: str | None = None) -> hv.Scatter:
    """Samples that use each atom, against its rank, both logarithmic.

    Parameters
    ----------
    view : View
    link : str, optional
        What a click on an atom opens, with ``@atom`` for its number.

    Returns
    -------
    holoviews.Scatter
    """
    hv = theme.holoviews()
    table = view.atoms[["uses", "names"]].reset_index()
    table = table.dropna(subset=["uses"]).sort_values("uses", ascending=False, kind="stable")
    unused = int((table.uses <= 0).sum())
    table = table[table.uses > 0].assign(rank=lambda t: np.arange(1, len(t) + 1))
    points = hv.Scatter(table, hv.Dimension("rank", label="rank of the atom"),
                        [hv.Dimension("uses", label="samples that use it"), "atom", "names"])  # fmt: skip
    points = points.opts(
        color=theme.BLUE, size=5, logx=True, logy=True, tools=["hover", "tap"] if link else ["hover"],
        hover_tooltips=[("atom", "@atom"), ("names", "@names"), ("samples", "@uses{0,0}"), ("rank", "@rank")],
    )  # fmt: skip
    title = "Use of atoms by rank" + (f" ({unused:,} unused)" if unused else "")
    return theme.style(points, title, hooks=theme.links(link))


def coefficient_histogram(view: View, atom: int | None = None, *, log: bool | None = None) -> hv.Overlay:
    """Histogram of the coefficients of all atoms, or of one; signs apart.

    Parameters
    ----------
    view : View
        With codes.
    atom : int, optional
    log : bool, optional
        Logarithmic counts; by default for all atoms.

    Returns
    -------
    holoviews.Overlay
    """
    filling = coefficient_filling(view, atom, log=log)
    hv, y = theme.holoviews(), "samples" if atom is not None else "coefficients"
    looks = ("positive", theme.POSITIVE), ("negative", theme.NEGATIVE)
    parts = [
        rectangles(hv, columns, y, label=label, color=colour)
        for columns, (label, colour) in zip(filling.layers, looks, strict=True)
    ]
    log = atom is None if log is None else log
    return _stacked(hv, parts, filling.title, "coefficient", y, filling.y, log)


def coefficient_filling(view: View, atom: int | None = None, *, log: bool | None = None) -> Filling:
    """What `coefficient_histogram` shows."""
    log = atom is None if log is None else log
    if atom is None:
        index = view.coded()
        edge, count = _narrowed(index.value_edge, index.value_count)
        title = "Coefficients of all atoms"
    else:
        _, values = view.activations(atom)
        low, high = (float(values.min()), float(values.max())) if len(values) else (0.0, 1.0)
        # zero is an edge, so that no bar holds both signs
        width = max(max(high, 0) - min(low, 0), 1e-12) / BINS
        edge = width * np.arange(np.floor(min(low, 0) / width), np.ceil(max(high, 0) / width) + 1)
        count = np.histogram(values, edge)[0]
        title = f"Coefficients of atom {atom}"
    middle = (edge[:-1] + edge[1:]) / 2
    layers = [bar_columns(edge, np.where(side, count, 0), log) for side in (middle > 0, middle < 0)]
    return Filling(layers, title, None, _height(count, log))


def nonzeros_histogram(view: View) -> hv.Overlay:
    """Samples by the number of atoms they use.

    Parameters
    ----------
    view : View
        With codes.

    Returns
    -------
    holoviews.Overlay
    """
    hv = theme.holoviews()
    count = view.coded().nonzeros
    edge = np.arange(len(count) + 1) - 0.5
    x, y = "atoms used", "samples"
    mean = float(np.arange(len(count)) @ count / max(1, count.sum()))
    title = f"Atoms a sample uses (mean {mean:.2f})"
    made = _stacked(hv, [bars(hv, edge, count, y)], title, x, y, _height(count, False), False)
    return made.opts(xlim=(-0.5, len(count) + 0.5))


def coherence(view: View) -> hv.Overlay:
    """Histogram of ``|cos|`` of all pairs of atoms, and of each atom with its nearest.

    Parameters
    ----------
    view : View

    Returns
    -------
    holoviews.Overlay
    """
    hv = theme.holoviews()
    atoms = view.unit_atoms
    edge = np.linspace(0, 1, BINS + 1)
    pairs, nearest = np.zeros(BINS, np.int64), np.zeros(view.m)
    for first in range(0, view.m, 1024):
        cosines = np.minimum(np.abs(atoms[first : first + 1024] @ atoms.T), 1)
        own = np.arange(first, first + len(cosines))
        cosines[np.arange(len(own)), own] = -1
        nearest[own] = cosines.max(axis=1)
        pairs += np.histogram(cosines[own[:, None] < np.arange(view.m)], edge)[0]
    of_nearest = np.histogram(nearest, edge)[0]
    x, y = "|cos| of two atoms", "pairs, or atoms"
    parts = [
        bars(hv, edge, pairs, y, label="all pairs", color=theme.SKY, log=True),
        bars(hv, edge, of_nearest, y, label="each atom and its nearest", color=theme.RED, log=True),
    ]
    title = f"Coherence: the closest pair has |cos| {nearest.max():.2f}"
    made = _stacked(hv, parts, title, x, y, _height(pairs, True), True)
    return made.opts(xlim=(0, 1))


def _height(count, log):
    """Limits of an axis of counts."""
    most = float(max(np.max(count, initial=0), 1))
    return (FLOOR, most * 2) if log else (0, most * 1.08)


def _stacked(hv, parts, title, x, y, limits, log):
    made = hv.Overlay(parts)
    return theme.style(
        made, title, logy=log, ylim=limits, xlabel=x, ylabel=y, show_legend=len(parts) > 1,
        legend_position="top_right",
    )  # fmt: skip


def _narrowed(edge, count):
    """Bins that hold all but one coefficient in ten thousand, joined to about `BINS`."""
    middle = len(count) // 2
    both = count[middle:] + count[:middle][::-1]
    share = np.cumsum(both) / max(1, both.sum())
    half = min(middle, int(np.searchsorted(share, 0.9999)) + 1)
    step = max(1, -(-2 * half // BINS))
    half = min(middle, -(-half // step) * step)
    kept = count[middle - half : middle + half]
    kept = np.pad(kept, (0, -len(kept) % step)).reshape(-1, step).sum(axis=1)
    edges = edge[middle - half : middle + half + 1][::step]
    return (edges if len(edges) == len(kept) + 1 else np.append(edges, edge[middle + half])), kept
