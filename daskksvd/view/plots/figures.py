"""HoloViews elements as Bokeh's figures and JSON, and the data that fill one picture with another atom's."""

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


def figure_data(element):
    """What differs between pictures of one kind: columns of every layer, title and limits.

    Dimensions of the layers bear the names of the columns in Bokeh's sources,
    so that a page can put these data into a picture that `figure_json` made
    of another atom.

    Parameters
    ----------
    element : holoviews.Overlay

    Returns
    -------
    dict
        ``layers`` (a dict of lists each), ``title``, ``x`` and ``y`` (limits or None).
    """
    hv = theme.holoviews()
    options = hv.Store.lookup_options("bokeh", element, "plot").kwargs
    layers = [
        {str(dim): _plain(layer.dimension_values(dim)) for dim in layer.dimensions()} for layer in element
    ]
    found = {"layers": layers, "title": options["title"]}
    for axis in "xy":
        limits = options.get(f"{axis}lim")
        found[axis] = None if limits is None else [float(limit) for limit in limits]
    return found


def _plain(values):
    """A column as JSON holds it; four digits are enough to draw."""
    values = np.asarray(values)
    if values.dtype.kind == "f":
        return [None if np.isnan(value) else float(f"{value:.5g}") for value in values]
    return values.tolist()
