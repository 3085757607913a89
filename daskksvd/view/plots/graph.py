"""The concept graph: words, atoms, and which name which."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

import numpy as np
import pandas as pd

from ..data.finding import find_words
from ..data.layout import graph_layout, label_zooms
from . import theme

if TYPE_CHECKING:
    import holoviews as hv

    from ..data.view import View

FADED = 0.15
EDGE_COLUMNS = ["word", "atom", "correlation", "q", "width", "alpha"]


def concept_graph_element(
    view: View,
    *,
    layout: Literal["spring", "spectral"] = "spring",
    center: str | int | tuple | None = None,
    radius: int = 2,
    min_correlation: float = 0.0,
    max_q: float = 1.0,
    search: str | None = None,
    isolated: bool = True,
    link: str | None = None,
    word_link: str | None = None,
    height: int = 640,
) -> hv.Overlay:
    """Draw words and the atoms they name.

    Words are squares, as large as they are frequent; atoms are discs, coloured
    by community. What has no edge stands around the outside. Labels appear
    where there is room, and more of them as one zooms in.

    Parameters
    ----------
    view : View
        With labels.
    layout : {"spring", "spectral"}
    center : str, int or node, optional
        A word or an atom: only what is within ``radius`` edges of it is drawn.
    radius : int
    min_correlation : float
        Edges of a smaller correlation are left out.
    max_q : float
        Edges of a larger false discovery rate are left out.
    search : str, optional
        Words to mark, with their atoms; the rest fades.
    isolated : bool
        Whether words and atoms without edges are drawn.
    link : str, optional
        What a click on an atom opens, with ``@atom`` for its number.
    word_link : str, optional
        What a click on a word opens, with ``@label`` for the word.
    height : int
        Pixels.

    Returns
    -------
    holoviews.Overlay
    """
    hv = theme.holoviews()
    graph, places, subject = _picture(view, layout, center, radius, min_correlation, max_q, isolated)
    marked = _marked(view, graph, search)
    nodes = _nodes(graph, places, marked)
    edges = _edges(graph, places, marked)
    parts = [
        hv.Segments(edges, ["x0", "y0", "x1", "y1"], EDGE_COLUMNS).opts(
            color=theme.GREY, line_width="width", alpha="alpha", tools=["hover"],
            hover_tooltips=[("word", "@word"), ("atom", "@atom"), ("correlation", "@correlation{0.000}"),
                            ("q", "@q{0.0e}")],
        )
    ]  # fmt: skip
    columns = ["label", "atom", "uses", "degree", "names", "size", "color", "alpha"]
    atom_tips = [("atom", "@atom"), ("names", "@names"), ("samples", "@uses{0,0}")]
    word_tips = [("word", "@label"), ("samples", "@uses{0,0}"), ("atoms named", "@degree")]
    for kind, marker, tips, opens in (
        ("atom", "circle", atom_tips, link),
        ("word", "square", word_tips, word_link),
    ):
        points = hv.Points(nodes[nodes.kind == kind], ["x", "y"], columns)
        parts.append(
            points.opts(
                marker=marker, size="size", color="color", alpha="alpha", line_color="white", line_width=0.5,
                tools=["hover", "tap"] if opens else ["hover"], hover_tooltips=tips,
                hooks=theme.links(opens),
            )
        )  # fmt: skip
    if subject is not None:
        ring = hv.Points([places[subject]])
        parts.append(ring.opts(color="rgba(0,0,0,0)", line_color=theme.INK, line_width=2, size=18))
    reach = max(1.05, float(np.abs(nodes[["x", "y"]].to_numpy()).max(initial=0)) + 0.08)
    parts.append(_labels(hv, nodes, subject, height, 2 * reach))
    named = int(((nodes.kind == "atom") & (nodes.degree > 0)).sum())
    title = f"Words and atoms: {len(edges):,} links of {named:,} named atoms"
    if subject is not None:
        title = f"Around {subject[0]} {subject[1]}: {len(edges):,} links of {named:,} atoms"
    if marked is not None:
        title += f"; marked: {', '.join(node[1] for node in marked if node[0] == 'word') or 'nothing found'}"
    return theme.style(
        hv.Overlay(parts), title, height=height, xaxis=None, yaxis=None, show_grid=False,
        xlim=(-reach, reach), ylim=(-reach, reach), active_tools=["wheel_zoom"], show_legend=False,
    )  # fmt: skip


def find_node(view, center):
    """The node of the graph that a word, the number of an atom, or a node means."""
    if isinstance(center, tuple) and center in view.graph:
        return center
    if isinstance(center, (int, np.integer)) and not isinstance(center, bool):
        return ("atom", view.check_atom(center))
    words = find_words(view, center) if isinstance(center, str) else []
    if not words:
        raise ValueError(f"center={center!r}; it must be a word that was counted, or the number of an atom")
    return ("word", words[0])


def _picture(view, layout, center, radius, min_correlation, max_q, isolated):
    """The part of the graph that is drawn, the places of its nodes, and the node in its middle."""
    import networkx as nx

    if view.graph is None:
        raise ValueError("there are no labels; the graph needs a view with labels")
    kept = [
        (a, b)
        for a, b, data in view.graph.edges(data=True)
        if data["weight"] >= min_correlation and not data["q_value"] > max_q
    ]
    strong = view.graph.edge_subgraph(kept)
    if center is not None:
        node = find_node(view, center)
        near = nx.ego_graph(strong, node, radius) if node in strong else view.graph.subgraph([node])
        places = graph_layout(near, layout)
        if not near.degree(node):
            places[node] = (0.0, 0.0)
        return near, places, node
    nodes = set(strong)
    if isolated:
        nodes.update(node for node in view.graph if not view.graph.degree(node))
    graph = nx.Graph()  # in the order of the whole graph, whatever a set does
    graph.add_nodes_from((node, data) for node, data in view.graph.nodes(data=True) if node in nodes)
    graph.add_edges_from((a, b, view.graph.edges[a, b]) for a, b in kept)
    return graph, view.graph_places(layout), None  # what filters leave stays where it was


def _marked(view, graph, search):
    """Nodes that were searched for, with those they name; None if nothing was."""
    if not search or not search.strip():
        return None
    words = [node for node in (("word", word) for word in find_words(view, search)) if node in graph]
    return {*words, *(near for node in words for near in graph[node])}


def _nodes(graph, places, marked):
    nodes = list(graph)
    facts = [graph.nodes[node] for node in nodes]
    table = pd.DataFrame(
        {
            "kind": [node[0] for node in nodes],
            "label": [str(node[1]) for node in nodes],
            "atom": [int(node[1]) if node[0] == "atom" else -1 for node in nodes],
            "uses": [fact["uses"] for fact in facts],
            "community": [fact["community"] for fact in facts],
            "degree": [graph.degree(node) for node in nodes],
            "names": [
                ", ".join(near[1] for near in sorted(graph[node], key=lambda n: graph.edges[node, n]["rank"]))
                if node[0] == "atom" else "" for node in nodes
            ],
            "marked": [marked is None or node in marked for node in nodes],
        }
    )  # fmt: skip
    table["x"], table["y"] = np.array([places[node] for node in nodes], float).reshape(-1, 2).T
    word = (table.kind == "word").to_numpy()
    most = table.groupby("kind").uses.transform("max").clip(lower=1)
    share = np.sqrt(table.uses / most).fillna(0)
    table["size"] = np.where(word, 4 + 7 * share, 4 + 6 * share) * np.where(table.degree > 0, 1, 0.7)
    colors = np.array(theme.community_colors(table.community), object)
    table["color"] = np.where(word, theme.INK, np.where(table.degree > 0, colors, theme.GREY))
    table["alpha"] = np.where(table.marked, np.where(table.degree > 0, 0.9, 0.5), FADED)
    return table


def _edges(graph, places, marked):
    lines = []
    for a, b, data in graph.edges(data=True):
        word, atom = (a, b) if a[0] == "word" else (b, a)
        shown = marked is None or (word in marked and atom in marked)
        lines.append((*places[word], *places[atom], word[1], atom[1], data["weight"], data["q_value"], shown))
    table = pd.DataFrame(
        lines, columns=["x0", "y0", "x1", "y1", "word", "atom", "correlation", "q", "marked"]
    )
    table["width"] = 0.5 + 3 * table.correlation.clip(0, 1)
    table["alpha"] = np.where(table.marked.astype(bool), 0.55, FADED / 2)
    return table


def _labels(hv, nodes, subject, height, extent):
    """Names of words, and in a small picture numbers of atoms, where there is room."""
    middle = np.zeros(len(nodes), bool)
    if subject is not None:
        middle = ((nodes.kind == subject[0]) & (nodes.label == str(subject[1]))).to_numpy()
    chosen = (nodes.kind == "word").to_numpy() | middle
    if subject is not None:
        chosen |= (nodes.degree > 0).to_numpy()
    named = nodes[chosen]
    word = (named.kind == "word").to_numpy()
    degree = named.degree.to_numpy(float)
    sizes = np.where(word, np.clip(10 + 1.3 * np.sqrt(degree), 10, 20), 9.5)
    sizes[word & (degree == 0)] = 8.5
    # first what was asked for, then words of many atoms, then frequent ones
    rank = degree + named.uses.to_numpy(float) / max(1, named.uses.max() if len(named) else 1)
    rank += np.where(word, 0, -1e3) + np.where(named.marked, 1e6, 0)
    spots = named[["x", "y"]].to_numpy()
    zooms = label_zooms(spots, named.label.tolist(), sizes, rank, height=height, extent=extent)
    colors = np.where(named.marked & (named.degree > 0), np.where(word, theme.INK, theme.MUTED), theme.GREY)
    made = hv.Labels((*spots.T, named.label.tolist(), colors.tolist()), ["x", "y"], ["text", "ink"])
    return made.opts(text_color="ink", hooks=[theme.labels_by_zoom(zooms, sizes, height / extent)])
