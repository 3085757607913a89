"""HoloViews elements as Bokeh's figures and JSON, and the data that fill one picture with another atom's."""

from typing import Any, NamedTuple

import numpy as np

from . import theme


def draw(element):
    """A HoloViews plot of an element; its ``state`` is Bokeh's figure, in no document yet."""
    from bokeh.document import Document

    return theme.holoviews().renderer("bokeh").get_plot(element, doc=Document())


def figure_json(element):
    """An element as what ``Bokeh.embed.embed_item`` takes, and the names of its layers' sources.

    Parameters
    ----------
    element : holoviews.Overlay or Element

    Returns
    -------
    item : dict
    sources : list of str
        Ids of the data sources, a layer each.
    """
    from bokeh.embed import json_item

    plot = draw(element)
    layers = plot.subplots.values() if plot.subplots else [plot]
    return json_item(plot.state), [layer.handles["source"].id for layer in layers]


class Filling(NamedTuple):
    """What differs between pictures of one kind.

    Attributes
    ----------
    layers : list of dict
        Columns of every layer, an array each, under the names that they have in Bokeh's sources.
    title : str
    x, y : (low, high) or None
        Limits of the axes.
    """

    layers: list[dict[str, Any]]
    title: str
    x: tuple[float, float] | None
    y: tuple[float, float] | None


def figure_data(filling: Filling) -> dict[str, Any]:
    """A filling as JSON holds it, for a picture that `figure_json` made of another one.

    Returns
    -------
    dict
        ``layers`` (a dict of lists each), ``title``, ``x`` and ``y`` (limits or None).
    """
    layers = [{name: _plain(values) for name, values in columns.items()} for columns in filling.layers]
    x, y = (None if some is None else [float(limit) for limit in some] for some in (filling.x, filling.y))
    return {"layers": layers, "title": filling.title, "x": x, "y": y}


def _plain(values):
    """A column as JSON holds it; four digits are enough to draw."""
    values = np.asarray(values)
    if values.dtype.kind == "f":
        return [None if np.isnan(value) else float(f"{value:.5g}") for value in values]
    return values.tolist()
