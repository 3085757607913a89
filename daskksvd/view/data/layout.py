"""Where things are drawn: nodes of graphs, atoms on a map, and which labels there is room for."""

import numpy as np

from ...kernels.drawing import choose_labels, relax

LAYOUT_STEPS, LAYOUT_START, LAYOUT_PULL = 150, 0.1, 0.05
"""Steps of a spring layout, how far a node goes in the first (of a disc of radius 1), and the
pull towards the middle that keeps unconnected parts in the picture."""

NEAREST_ATOMS = 4
"""Nearest atoms that springs on the map of atoms join; more make one ball of them."""

CHARACTER_WIDTH = 0.56
"""Mean width of a letter, in units of the font size."""

LABEL_ZOOMS = (0.4, 0.63, 1.0, 1.6, 2.5, 4.0, 6.5, 10.0, 16.0)
"""Zooms at which labels of a graph are chosen anew; narrow windows have less than 1."""


def spring_layout(n, sources, targets, weights, *, start=None, seed=0):
    """Places of nodes that springs pull together and that repel one another.

    Parameters
    ----------
    n : int
        Nodes.
    sources, targets : (e,) int arrays
    weights : (e,) array
        Positive; their mean becomes the strength 1.
    start : (n, 2) array, optional
        Places to start from; by default random ones.
    seed : int

    Returns
    -------
    (n, 2) float array

    Notes
    -----
    Fruchterman and Reingold (1991), as networkx's ``spring_layout``, which for 3,000 nodes
    takes half a minute.
    """
    rng = np.random.default_rng(seed)
    places = rng.uniform(-0.5, 0.5, (n, 2)) if start is None else start + rng.normal(0, 0.01, (n, 2))
    x, y = (np.ascontiguousarray(places[:, axis], np.float32) for axis in (0, 1))
    weights = np.asarray(weights, float)
    weights = weights / weights.mean() if len(weights) else weights
    steps = np.linspace(LAYOUT_START, 0.002, LAYOUT_STEPS).astype(np.float32)
    ends = (np.asarray(which, np.int64) for which in (sources, targets))
    relax(x, y, *ends, weights.astype(np.float32), np.float32(LAYOUT_PULL), steps)
    return np.stack([x, y], axis=1).astype(float)


def in_disc(places, even=0.5):
    """Places moved and scaled into the disc of radius 1.

    Distances from the middle go part of the way, ``even``, to those of places spread
    evenly over the disc: layouts crowd their middle.
    """
    if not len(places):
        return places
    places = places - np.median(places, axis=0)
    radius = np.linalg.norm(places, axis=1)
    limit = np.quantile(radius, 0.99) or 1.0
    spread = np.sqrt((np.argsort(np.argsort(radius)) + 0.5) / len(radius))
    wanted = (1 - even) * np.minimum(radius / limit, 1) + even * spread
    return places * (wanted / np.maximum(radius, 1e-12))[:, None]


def graph_layout(graph, layout="spring", seed=0):
    """Places of all nodes of a graph; those without an edge go around the others.

    Parameters
    ----------
    graph : networkx.Graph
        Edges may have ``weight``, nodes ``community``.
    layout : {"spring", "spectral"}
    seed : int

    Returns
    -------
    dict of node to (x, y)
        Nodes with edges lie in the disc of radius 1, others on rings outside it.

    Notes
    -----
    Connected parts are laid out one by one, as a part has no force that would
    keep it near another, and packed like discs.
    """
    import networkx as nx

    if layout not in ("spring", "spectral"):
        raise ValueError(f"layout={layout!r}; it must be 'spring' or 'spectral'")
    parts = sorted(nx.connected_components(graph), key=len, reverse=True)
    order = {node: number for number, node in enumerate(graph)}
    parts = [sorted(part, key=order.get) for part in parts if len(part) > 1]
    radii = np.sqrt([len(part) for part in parts])
    found = {}
    middles = pack_discs(radii)
    reach = max((np.linalg.norm(middles, axis=1) + radii).max(initial=0), 1e-9)
    for part, middle, radius in zip(parts, middles, radii, strict=True):
        inside = graph.subgraph(part)
        places = _spectral(inside, part) if layout == "spectral" else _spring(inside, part, seed)
        # a rim is left free, for labels
        places = (middle + 0.9 * radius * in_disc(places)) / reach
        found.update(zip(part, places.tolist(), strict=True))
    # atoms first: words, which can be read, on the outside
    alone = sorted((node for node in graph if not graph.degree(node)), key=lambda node: node[0] != "atom")
    found.update(zip(alone, rings(len(alone)).tolist(), strict=True))
    return found


def rings(n, inner=1.12, gap=0.06, spacing=0.05):
    """Places of n things on as few rings around the disc of radius 1 as hold them, (n, 2)."""
    capacities = []
    while sum(capacities) < n:
        capacities.append(int(2 * np.pi * (inner + gap * len(capacities)) / spacing))
    # all rings equally full
    ends = np.rint(n * np.cumsum(capacities) / max(1, sum(capacities))).astype(int)
    places = []
    for number, fit in enumerate(np.diff(ends, prepend=0)):
        angle = 2 * np.pi * (np.arange(fit) + 0.5 * (number % 2)) / fit
        places.append((inner + gap * number) * np.stack([np.cos(angle), np.sin(angle)], axis=1))
    return np.concatenate(places) if places else np.empty((0, 2))


def pack_discs(radii):
    """Middles of discs that do not overlap, (n, 2): the first about the origin, others around it.

    Each goes to the first free place of a spiral; radii must fall.
    """
    middles = np.zeros((len(radii), 2))
    angle = 0.0
    for number in range(1, len(radii)):
        # the spiral starts where the last one found room, a little further in
        angle = max(0.0, angle - 2 * np.pi)
        step = max(radii[number] / 4, 1e-6)
        while True:
            length = radii[0] * 0.5 + step * angle / np.pi
            place = length * np.array([np.cos(angle), np.sin(angle)])
            apart = np.linalg.norm(middles[:number] - place, axis=1)
            if (apart >= radii[:number] + radii[number]).all():
                break
            angle += step / max(length, step)
        middles[number] = place
    return middles


def _spring(graph, nodes, seed):
    # communities start apart from one another, which untangles them
    groups = np.array([graph.nodes[node].get("community", 0) for node in nodes])
    angles = 2 * np.pi * groups / (groups.max() + 1)
    start = 0.5 * np.stack([np.cos(angles), np.sin(angles)], axis=1)
    place = {node: number for number, node in enumerate(nodes)}
    edges = [(place[a], place[b], data.get("weight", 1.0)) for a, b, data in graph.edges(data=True)]
    sources, targets, weights = np.array(edges, float).reshape(-1, 3).T
    return spring_layout(len(nodes), sources, targets, np.maximum(weights, 1e-3), start=start, seed=seed)


def _spectral(graph, nodes):
    """Eigenvectors of the Laplacian of a connected graph, spread most of the way to even ranks."""
    import networkx as nx

    if len(nodes) < 3:
        return np.array([[-1.0, 0.0], [1.0, 0.0]])
    where = nx.spectral_layout(graph)
    values = np.array([where[node] for node in nodes], float)
    ranks = 2 * np.argsort(np.argsort(values, axis=0), axis=0) / (len(values) - 1) - 1
    return 0.3 * values / max(np.abs(values).max(), 1e-12) + 0.7 * ranks


def atom_places(atoms, seed=0):
    """Places of atoms on a map: those of a large ``|cos|`` lie close.

    Parameters
    ----------
    atoms : (m, d) array
        Rows of unit norm.
    seed : int

    Returns
    -------
    (m, 2) float array
        In a disc of radius 1.

    Notes
    -----
    Springs join every atom with its `NEAREST_ATOMS` nearest. Classical
    scaling shows little of atoms, nearly all of which are at right angles.
    """
    m = len(atoms)
    k = min(NEAREST_ATOMS, m - 1)
    if k < 1:
        return np.zeros((m, 2))
    near, cosines = np.empty((m, k), np.int64), np.empty((m, k))
    for first in range(0, m, 1024):
        block = np.abs(atoms[first : first + 1024] @ atoms.T)
        block[np.arange(len(block)), np.arange(first, first + len(block))] = -1
        chosen = np.argpartition(-block, k - 1, axis=1)[:, :k]
        near[first : first + len(block)] = chosen
        cosines[first : first + len(block)] = np.take_along_axis(block, chosen, axis=1)
    sources = np.repeat(np.arange(m), k)
    return in_disc(spring_layout(m, sources, near.ravel(), np.maximum(cosines.ravel(), 1e-3), seed=seed))


def label_zooms(places, texts, sizes, importance, *, width=900, height=640, extent=2.6):
    """From which zoom on there is room for each label.

    Parameters
    ----------
    places : (n, 2) array
    texts : list of str
    sizes : (n,) array
        Height of the letters, pixels.
    importance : (n,) array
        Who goes first.
    width, height : float
        Pixels of the picture, unzoomed.
    extent : float
        What its shorter side shows, in the units of ``places``.

    Returns
    -------
    (n,) float array
        One of `LABEL_ZOOMS`; infinity where there is no room even then.
        Labels of the same zoom or less do not overlap in a picture of that zoom.
    """
    pixels = np.asarray(places, float).reshape(-1, 2) * (min(width, height) / extent)
    sizes = np.asarray(sizes, float)
    half_width = CHARACTER_WIDTH * sizes * [max(1, len(text)) for text in texts] / 2 + 2
    order = np.argsort(-np.asarray(importance, float), kind="stable")
    found = np.empty(len(texts))
    x, y = np.ascontiguousarray(pixels.T)
    choose_labels(x, y, half_width, 0.62 * sizes, order, np.array(LABEL_ZOOMS), found)
    return found
