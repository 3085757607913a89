"""All atoms as a map: like ones lie close."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from ..data.layout import label_zooms
from . import theme

if TYPE_CHECKING:
    import holoviews as hv

    from ..data.view import View


def atom_map(
    view: View, atom: int | None = None, *, link: str | None = None, height: int = 460
) -> hv.Overlay:
    """Atoms on a map by the angles between them, coloured by communities of their words.

    Parameters
    ----------
    view : View
    atom : int, optional
        One to be marked.
    link : str, optional
        What a click on an atom opens, with ``@atom`` for its number.
    height : int
        Pixels.

    Returns
    -------
    holoviews.Overlay
    """
    hv = theme.holoviews()
    places = view.map_places
    table = view.atoms[["names", "uses"]].reset_index()
    table["x"], table["y"] = places.T
    uses = np.nan_to_num(table.uses.to_numpy(float))
    table["size"] = 4 + 10 * np.sqrt(uses / max(uses.max(initial=0), 1))
    table["color"] = theme.community_colors(view.communities)
    table = table.sort_values("uses", ascending=False, kind="stable")  # small ones on top
    tips = [("atom", "@atom"), ("names", "@names"), ("samples", "@uses{0,0}")]
    points = hv.Points(table, ["x", "y"], ["atom", "names", "uses", "size", "color"])
    points = points.opts(
        color="color", size="size", line_color="white", line_width=0.5, alpha=0.85, hover_tooltips=tips,
        tools=["hover", "tap"] if link else ["hover"], hooks=theme.links(link),
    )  # fmt: skip
    parts = [points]
    named = table[table.names != ""]
    if len(named):
        first = [names.split(", ")[0] for names in named.names]
        sizes = np.full(len(named), 12.0)
        spots = named[["x", "y"]].to_numpy()
        zooms = label_zooms(spots, first, sizes, named.uses.to_numpy(float), height=height, extent=2.2)
        labels = hv.Labels((spots[:, 0], spots[:, 1], first), ["x", "y"], "text")
        hook = theme.labels_by_zoom(zooms, sizes, height / 2.2)
        parts.append(labels.opts(text_color=theme.INK, hooks=[hook]))
    if atom is not None:
        x, y = places[view.check_atom(atom)]
        ring = hv.Points([(x, y)]).opts(color="rgba(0,0,0,0)", line_color=theme.INK, line_width=2.5, size=20)
        parts.append(ring)
    made = hv.Overlay(parts)
    title = "Map of atoms" + (f": {view.title(atom)}" if atom is not None else "")
    return theme.style(
        made, title, height=height, xaxis=None, yaxis=None, show_grid=False, xlim=(-1.1, 1.1),
        ylim=(-1.1, 1.1), active_tools=["wheel_zoom"],
    )  # fmt: skip
