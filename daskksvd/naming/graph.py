"""Words and atoms as a graph."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import numpy as np

from .store import check_labels
from .table import check_ending, make_parent

if TYPE_CHECKING:
    import os

    import networkx as nx
    import xarray as xr


def concept_graph(labels: xr.Dataset, *, top: int = 3, random_state: int = 0) -> nx.Graph:
    """Bipartite graph of words and the atoms that they name.

    Parameters
    ----------
    labels : xarray.Dataset
        From `label`.
    top : int
        Words an atom, at most: the first of its significant ones, of as many
        as ``label(top=)`` kept.
    random_state : int
        Seed of the search for communities.

    Returns
    -------
    networkx.Graph
        Nodes ``("word", word)`` and ``("atom", number)`` with attributes
        ``bipartite`` (0 for words, 1 for atoms), ``kind``, ``label``, ``uses``
        (samples), ``isolated`` and ``community``; an atom's label is its first
        word, empty if it has none. Edges have ``weight``, the correlation of
        the word with the atom's majority side, ``g``, ``q_value`` and
        ``rank``. Words and atoms without an edge are kept, as communities of
        their own.

    Raises
    ------
    TypeError, ValueError
        If labels are none, or keep fewer words an atom than ``top``.

    Notes
    -----
    Communities are those of greatest modularity that Louvain's method finds
    (Blondel et al. 2008), largest first.
    """
    import networkx as nx

    check_labels(labels)
    kept = labels.sizes["rank"]
    if isinstance(top, bool) or not isinstance(top, (int, np.integer)) or not 1 <= top <= kept:
        raise ValueError(
            f"top={top!r}; it must be an integer from 1 to {kept}, the words an atom that labels keep"
        )
    words = labels.word.values.tolist()
    names = labels.top_word.values[:, :top]
    graph = nx.Graph(n=int(labels.attrs["n"]), n_components=labels.sizes["atom"])
    for word, uses in zip(words, labels.word_count.values.tolist(), strict=True):
        graph.add_node(("word", word), bipartite=0, kind="word", label=word, uses=uses)
    for atom, uses in zip(labels.atom.values.tolist(), labels.atom_count.values.tolist(), strict=True):
        graph.add_node(("atom", atom), bipartite=1, kind="atom", label=names[atom, 0], uses=uses)
    place = labels.indexes["word"].get_indexer(names.ravel()).reshape(names.shape)
    measures = {"weight": "phi", "g": "g", "q_value": "q_value"}
    values = {key: labels[name].values for key, name in measures.items()}
    for atom, rank in zip(*np.nonzero(place >= 0), strict=True):
        figures = {key: float(value[place[atom, rank], atom]) for key, value in values.items()}
        graph.add_edge(("word", names[atom, rank]), ("atom", int(atom)), rank=int(rank) + 1, **figures)
    for node, degree in graph.degree:
        graph.nodes[node]["isolated"] = degree == 0
    communities = nx.community.louvain_communities(graph, weight="weight", seed=random_state)
    firsts = {node: place for place, node in enumerate(graph)}
    communities = sorted(communities, key=lambda group: (-len(group), min(map(firsts.__getitem__, group))))
    for number, group in enumerate(communities):
        for node in group:
            graph.nodes[node]["community"] = number
    return graph


def write_graph(graph: nx.Graph, path: str | os.PathLike[str]) -> None:
    """Write a concept graph as GraphML (.graphml) or node-link JSON (.json).

    Nodes get text for names there, "word:dog" and "atom:17".

    Parameters
    ----------
    graph : networkx.Graph
        From `concept_graph`.
    path : str or path

    Raises
    ------
    ValueError
        If the path ends otherwise.
    """
    import networkx as nx

    ending = check_ending(path, (".graphml", ".json"))
    path = make_parent(path)
    named = nx.relabel_nodes(graph, {node: ":".join(map(str, node)) for node in graph})
    if ending == ".graphml":
        nx.write_graphml(named, path)
        return
    with open(path, "w", encoding="utf-8") as file:
        json.dump(nx.node_link_data(named, edges="edges"), file, ensure_ascii=False, indent=1)
