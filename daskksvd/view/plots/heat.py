"""Where in an image an atom is: heat maps with the coefficient of each patch."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from ..data.heat import heat_map as read_heat
from . import theme

if TYPE_CHECKING:
    import holoviews as hv

    from ..data.view import View


def heat_map(view: View, atom: int, image: int | None = None, *, side: int = 300) -> hv.Overlay:
    """The coefficients of an atom over the patches of an image.

    Blue is positive, orange negative, and the full colour the largest coefficient of the atom in any
    image; patches in between are interpolated. Hovering tells the coefficient of a patch.

    Parameters
    ----------
    view : View
        Of codes of patches.
    atom : int
    image : int, optional
        Row of the image; that of the strongest coefficient on the named side by default.
    side : int
        Pixels of the longer side of the image.

    Returns
    -------
    holoviews.Overlay
        The image, and over it its patches, which hold the coefficients.

    Raises
    ------
    ValueError
        If codes are not of patches, or no image uses the atom.
    """
    hv = theme.holoviews()
    atom = view.check_atom(atom)
    if image is None:
        rows, _ = view.top_rows(atom, int(view.sides[atom]), 1)
        if not len(rows):
            raise ValueError(f"atom={atom} is used by no image on its named side; name an image")
        image = int(rows[0])
    found = read_heat(view, atom, image)
    width, tall = found.image.size
    bounds = (0, 0, width, tall)
    picture = hv.RGB(np.asarray(found.image), bounds=bounds)
    rows, columns = found.heat.shape
    left, upper, right, lower = found.box
    step_x, step_y = (right - left) * width / columns, (lower - upper) * tall / rows
    y, x = (index.ravel() for index in np.indices(found.heat.shape))
    values = found.heat.ravel()
    known = np.isfinite(values)
    x0, y1 = left * width + x * step_x, tall - (upper * tall + y * step_y)
    table = {
        "x0": x0[known], "y0": (y1 - step_y)[known], "x1": (x0 + step_x)[known], "y1": y1[known],
        "coefficient": values[known], "row": y[known], "column": x[known],
    }  # fmt: skip
    cells = hv.Rectangles(table, ["x0", "y0", "x1", "y1"], ["coefficient", "row", "column"]).opts(
        fill_alpha=0, line_alpha=0, hover_fill_alpha=0, hover_line_alpha=1, hover_line_color=theme.INK,
        hover_line_width=1.5, tools=["hover"],
        hover_tooltips=[
            ("coefficient", "@coefficient{+0.000}"), ("patch", "row @row, column @column of the grid"),
        ],
    )  # fmt: skip
    title = f"Atom {atom} in image {image}: strongest {float(values[np.nanargmax(np.abs(values))]):+.3g}"
    scale = side / max(found.image.size)  # a frame of its own: stretched images mislead
    return theme.style(
        picture * cells, title, height=None, min_width=None, responsive=False, xaxis=None, yaxis=None,
        show_grid=False, frame_width=round(width * scale), frame_height=round(tall * scale),
    )  # fmt: skip


def heat_maps(view: View, atom: int, n: int = 6) -> hv.Layout:
    """Heat maps of an atom over its strongest images.

    Parameters
    ----------
    view : View
        Of codes of patches.
    atom : int
    n : int
        Images at most.

    Returns
    -------
    holoviews.Layout
    """
    hv = theme.holoviews()
    rows, values = view.top_rows(view.check_atom(atom), int(view.sides[atom]), n)
    made = [
        heat_map(view, atom, int(row), side=200).opts(title=f"image {row}: {value:+.3g}")
        for row, value in zip(rows, values, strict=True)
    ]
    return hv.Layout(made).cols(3).opts(title=view.title(atom), backend="bokeh")
