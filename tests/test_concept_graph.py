"""The graph of words and atoms: edges are the named pairs, and files hold all of it."""

import json

import networkx as nx
import numpy as np
import pytest

import daskksvd
from daskksvd.naming.graph import write_graph

GROUPS = {
    "dog": ("dog", "grass", "collar"),
    "ski": ("ski", "snow", "slope"),
    "boat": ("boat", "lake", "water"),
}


@pytest.fixture(scope="module")
def labels():
    """Three groups of words that go together, two atoms for each, one atom and one word for nothing."""
    rng = np.random.default_rng(0)
    n = 3000
    kind = rng.integers(0, 3, n)
    captions = []
    for row in range(n):
        words = [word for word in list(GROUPS.values())[kind[row]] if rng.random() < 0.6]
        captions.append(" ".join([*words, "moon"] if rng.random() < 0.3 else [*words, "the"]))
    codes = np.zeros((n, 7))
    for atom in range(6):
        codes[:, atom] = (kind == atom // 2) & (rng.random(n) < 0.5)
    codes[:, 4:6] *= -1
    codes[:, 6] = rng.random(n) < 0.1
    return daskksvd.label(codes, captions, top=4)


def test_edges_are_the_top_words_weighted_by_correlation(labels):
    graph = daskksvd.concept_graph(labels, top=3)
    assert graph.number_of_nodes() == labels.sizes["word"] + labels.sizes["atom"] == 17
    expected = {
        (("word", word), ("atom", atom)): rank + 1
        for atom in range(7)
        for rank, word in enumerate(labels.top_word.values[atom, :3])
        if word
    }
    assert {frozenset(edge) for edge in graph.edges} == {frozenset(edge) for edge in expected}
    for (word, atom), rank in expected.items():
        edge = graph.edges[word, atom]
        where = {"word": word[1], "atom": atom[1]}
        assert edge["weight"] == float(labels.phi.sel(where)) > 0
        assert edge["g"] == float(labels.g.sel(where)) and edge["q_value"] == float(labels.q_value.sel(where))
        assert edge["rank"] == rank
    # bipartite, and both sides say what they are
    words, atoms = ({node for node in graph if node[0] == kind} for kind in ("word", "atom"))
    assert nx.is_bipartite(graph) and nx.bipartite.is_bipartite_node_set(graph, words)
    assert all(
        graph.nodes[node]["bipartite"] == 0 and graph.nodes[node]["label"] == node[1] for node in words
    )
    assert [graph.nodes["atom", atom]["label"] for atom in range(7)] == labels.top_word.values[:, 0].tolist()
    assert graph.nodes["word", "dog"]["uses"] == int(labels.word_count.sel(word="dog"))
    assert graph.nodes["atom", 4]["uses"] == int(labels.atom_count[4])
    assert len(atoms) == 7


def test_isolated_words_and_atoms_are_kept_as_such(labels):
    graph = daskksvd.concept_graph(labels)
    alone = {node for node in graph if graph.nodes[node]["isolated"]}
    assert alone == {("word", "moon"), ("atom", 6)} == set(nx.isolates(graph))
    assert graph.nodes["atom", 6]["label"] == ""


def test_communities_are_the_planted_groups(labels):
    graph = daskksvd.concept_graph(labels)
    for number, words in enumerate(GROUPS.values()):
        group = {graph.nodes["word", word]["community"] for word in words}
        group |= {graph.nodes["atom", atom]["community"] for atom in (2 * number, 2 * number + 1)}
        assert len(group) == 1
    numbers = sorted({value for _, value in graph.nodes(data="community")})
    assert numbers == list(range(5))  # the three groups, then the two that are alone
    again = daskksvd.concept_graph(labels)
    assert nx.utils.graphs_equal(graph, again)


def test_fewer_words_make_fewer_edges(labels):
    degrees = dict(daskksvd.concept_graph(labels, top=1).degree)
    assert [degrees["atom", atom] for atom in range(7)] == [1] * 6 + [0]
    for top in (0, 5, 1.5, True):
        with pytest.raises(ValueError, match=r"top=.*; it must be an integer from 1 to 4"):
            daskksvd.concept_graph(labels, top=top)
    with pytest.raises(TypeError, match="labels is a dict"):
        daskksvd.concept_graph({})


def test_written_graphs_hold_everything(labels, tmp_path):
    graph = daskksvd.concept_graph(labels)
    write_graph(graph, tmp_path / "g.graphml")
    write_graph(graph, tmp_path / "g.json")
    named = nx.relabel_nodes(graph, {node: f"{node[0]}:{node[1]}" for node in graph})
    read = nx.read_graphml(tmp_path / "g.graphml")
    assert dict(read.nodes(data=True)) == dict(named.nodes(data=True)) and read.adj == named.adj
    assert read.graph["n"] == 3000
    stored = json.loads((tmp_path / "g.json").read_text())
    assert nx.utils.graphs_equal(nx.node_link_graph(stored, edges="edges"), named)
    with pytest.raises(ValueError, match=r"g\.txt'; it must end with \.graphml or \.json"):
        write_graph(graph, tmp_path / "g.txt")
