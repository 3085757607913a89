"""Pictures: they show the numbers of the result, and layouts and labels keep what they promise."""

import networkx as nx
import numpy as np
import pandas as pd
import pytest
from small_view import M, N, scene_captions

import daskksvd
from daskksvd.view import plots as elements
from daskksvd.view.data.galleries import gallery
from daskksvd.view.data.layout import (
    atom_places,
    graph_layout,
    label_zooms,
    pack_discs,
    rings,
    spring_layout,
)
from daskksvd.view.data.opening import open_view
from daskksvd.view.plots import sets
from daskksvd.view.plots.atoms import coefficient_filling
from daskksvd.view.plots.figures import figure_data, figure_json
from daskksvd.view.plots.graph import find_node
from daskksvd.view.plots.words import correlation_filling
from daskksvd.view.templates.markup import facts_html, gallery_html

hv = pytest.importorskip("holoviews", reason='pictures need HoloViews: pip install "daskksvd[view]"')


def layers(element, kind):
    """Layers of an overlay that are of a kind, as frames."""
    return [layer.dframe() for layer in element if isinstance(layer, kind)]


def counted(element):
    """Counts of all bars of a histogram."""
    return sum(int(frame.number.sum()) for frame in layers(element, hv.Rectangles))


# ---------------------------------------------------------------- numbers


def test_curves_are_the_history(view):
    history = view.result.history
    [waves, passes, *_] = layers(elements.error_curves(view), hv.Curve)
    np.testing.assert_array_equal(passes["relative error"], history.relative_error)
    np.testing.assert_array_equal(waves["relative error"], history.wave_relative_error)
    # a pass ends where its last wave ends
    last = history.wave_pass.to_series().groupby(history.wave_pass.values).size().cumsum() - 1
    np.testing.assert_allclose(waves.passes.to_numpy()[last], np.arange(1, len(last) + 1))
    dead, replaced = layers(elements.atom_curves(view), hv.Curve)
    np.testing.assert_array_equal(dead.atoms, M - history.used_atoms)
    np.testing.assert_array_equal(replaced.atoms, history.replaced_atoms)


def test_use_by_rank_falls_and_holds_every_used_atom(view, dense):
    table = elements.usage_by_rank(view).dframe()
    uses = (dense != 0).sum(axis=0)
    np.testing.assert_array_equal(table.uses, np.sort(uses[uses > 0])[::-1])
    np.testing.assert_array_equal(table["rank"], np.arange(1, len(table) + 1))


def test_histograms_count_everything_once(view, dense):
    atom = 3
    assert counted(elements.coefficient_histogram(view, atom)) == (dense[:, atom] != 0).sum()
    positive, negative = layers(elements.coefficient_histogram(view, atom), hv.Rectangles)
    assert positive.number.sum() == (dense[:, atom] > 0).sum()
    assert negative.number.sum() == (dense[:, atom] < 0).sum()
    of_all = counted(elements.coefficient_histogram(view))
    assert 0.999 * (dense != 0).sum() <= of_all <= (dense != 0).sum()
    assert counted(elements.nonzeros_histogram(view)) == N
    assert counted(elements.correlation_histogram(view, atom)) == len(view.words)


def test_coherence_has_every_pair_and_every_atom(view):
    pairs, nearest = layers(elements.coherence(view), hv.Rectangles)
    assert pairs.number.sum() == M * (M - 1) // 2 and nearest.number.sum() == M
    cosines = np.abs(view.unit_atoms @ view.unit_atoms.T)
    expected, edge = np.histogram(cosines[np.triu_indices(M, 1)], np.linspace(0, 1, 61))
    np.testing.assert_array_equal(pairs.number, expected[expected > 0])
    np.fill_diagonal(cosines, 0)
    expected = np.histogram(cosines.max(axis=1), edge)[0]
    np.testing.assert_array_equal(nearest.number, expected[expected > 0])


def test_the_strongest_words_are_named_at_their_correlation(view):
    atom = int(view.find("fish").atom[0])
    column = view.labels.phi.isel(atom=atom).to_series().sort_values(ascending=False)
    [points] = layers(elements.correlation_histogram(view, atom, top=4), hv.Points)
    assert points.word.tolist() == column.index[:4].tolist()
    np.testing.assert_allclose(points.correlation, column[:4])
    assert (np.diff(points.y) < 0).all()


def test_heat_map_is_the_table_of_correlations(view):
    words, atoms = ["fish", "purple", "car"], [5, 0]
    table = elements.word_heatmap(view, atoms, words).dframe()
    for line in table.itertuples():
        assert line.correlation == float(view.labels.phi.sel(word=line.word, atom=int(line.atom)))
    assert len(table) == 6
    with pytest.raises(ValueError, match="words has 'nothing'"):
        elements.word_heatmap(view, atoms, ["nothing"])


def test_pareto_has_a_point_for_every_result(view):
    points = layers(elements.pareto({"a": view, "b": view.result}), hv.Scatter)
    assert sum(map(len, points)) == 2
    assert points[0].error[0] == float(view.result.history.relative_error[-1])
    frame = pd.DataFrame({"n_components": [8, 8, 16], "nonzeros": [1, 2, 2.0], "error": [0.5, 0.4, 0.3]})
    assert [len(part) for part in layers(elements.pareto(frame), hv.Scatter)] == [2, 1]
    with pytest.raises(ValueError, match="results has no error"):
        elements.pareto(frame[["n_components", "nonzeros"]])


# ------------------------------------------------------------------ graph


def test_graph_shows_the_links_that_the_thresholds_leave(view):
    [edges] = layers(elements.concept_graph_element(view), hv.Segments)
    assert len(edges) == view.graph.number_of_edges()
    for _, edge in edges.sample(10, random_state=0).iterrows():
        assert edge.correlation == float(view.labels.phi.sel(word=edge.word, atom=edge.atom))
    for limits in ({"min_correlation": 0.3}, {"max_q": 1e-6}):
        kept = [
            data for *_, data in view.graph.edges(data=True)
            if data["weight"] >= limits.get("min_correlation", -1)
            and data["q_value"] <= limits.get("max_q", 1)
        ]  # fmt: skip
        [edges] = layers(elements.concept_graph_element(view, **limits), hv.Segments)
        assert 0 < len(edges) == len(kept) < view.graph.number_of_edges()
    shown = layers(elements.concept_graph_element(view), hv.Points)
    assert sum(map(len, shown)) == len(view.graph)
    shown = layers(elements.concept_graph_element(view, isolated=False), hv.Points)
    assert sum(map(len, shown)) == sum(degree > 0 for _, degree in view.graph.degree)


def test_a_neighbourhood_is_what_lies_within_the_radius(view):
    for center in ("fish", "fishes", int(view.find("fish").atom[0])):
        node = find_node(view, center)
        expected = nx.ego_graph(view.graph, node, 2)
        element = elements.concept_graph_element(view, center=center, radius=2)
        [edges] = layers(element, hv.Segments)
        assert len(edges) == expected.number_of_edges()
        assert sum(map(len, layers(element, hv.Points)[:2])) == len(expected)
    with pytest.raises(ValueError, match="center='zzzz'; it must be a word"):
        elements.concept_graph_element(view, center="zzzz")


def test_search_marks_a_word_and_its_atoms_and_fades_the_rest(view):
    atoms, words = layers(elements.concept_graph_element(view, search="fishes"), hv.Points)[:2]
    assert words.label[words.alpha > 0.2].tolist() == ["fish"]
    near = {node[1] for node in view.graph["word", "fish"]}
    assert set(atoms.atom[atoms.alpha > 0.2]) == near


# ----------------------------------------------------------------- layout


def test_springs_bring_neighbours_together_the_same_way_every_time():
    graph = nx.random_partition_graph([20, 20, 20], 0.4, 0.01, seed=1)
    edges = np.array(graph.edges)
    places = spring_layout(60, edges[:, 0], edges[:, 1], np.ones(len(edges)))
    apart = np.linalg.norm(places[:, None] - places, axis=2)
    joined = apart[edges[:, 0], edges[:, 1]].mean()
    assert joined < 0.6 * apart[np.triu_indices(60, 1)].mean()
    again = spring_layout(60, edges[:, 0], edges[:, 1], np.ones(len(edges)))
    np.testing.assert_array_equal(places, again)
    assert apart[np.triu_indices(60, 1)].min() > 1e-3  # and nobody on top of another


@pytest.mark.parametrize("layout", ["spring", "spectral"])
def test_what_has_no_edge_stands_around_the_outside(layout):
    graph = nx.disjoint_union_all([nx.star_graph(12), nx.path_graph(4), nx.path_graph(2), nx.empty_graph(30)])
    graph = nx.relabel_nodes(graph, {node: ("word", node) for node in graph})
    places = graph_layout(graph, layout)
    radius = {node: np.hypot(*place) for node, place in places.items()}
    assert len(places) == len(graph)
    inside = [radius[node] for node in graph if graph.degree(node)]
    outside = [radius[node] for node in graph if not graph.degree(node)]
    assert max(inside) <= 1 < 1.1 < min(outside)
    with pytest.raises(ValueError, match="layout='other'; it must be 'spring' or 'spectral'"):
        graph_layout(graph, "other")


def test_discs_do_not_overlap():
    radii = np.sqrt(np.r_[400, 60, 60, 20, np.full(40, 3), np.full(60, 2)])
    middles = pack_discs(radii)
    apart = np.linalg.norm(middles[:, None] - middles, axis=2) - radii - radii[:, None]
    assert apart[np.triu_indices(len(radii), 1)].min() > -1e-9
    assert np.linalg.norm(middles, axis=1).max() < 3 * radii[0]


@pytest.mark.parametrize("n", [0, 1, 30, 500])
def test_rings_hold_all_and_none_twice(n):
    places = rings(n)
    assert places.shape == (n, 2) and len(np.unique(places.round(6), axis=0)) == n


def test_labels_of_a_zoom_do_not_overlap_and_more_zoom_shows_more():
    rng = np.random.default_rng(0)
    places, sizes = rng.uniform(-1, 1, (300, 2)), rng.choice([9.0, 14.0], 300)
    texts = ["word" * int(length) for length in rng.integers(1, 3, 300)]
    importance = rng.uniform(size=300)
    zooms = label_zooms(places, texts, sizes, importance, width=800, height=600, extent=2)
    assert zooms[np.argmax(importance)] == zooms.min()
    shown = []
    for zoom in np.unique(zooms[np.isfinite(zooms)]):
        chosen = np.flatnonzero(zooms <= zoom)
        shown.append(len(chosen))
        x, y = (places[chosen] * 300 * zoom).T
        half = 0.5 * 0.56 * sizes[chosen] * [len(texts[i]) for i in chosen]
        near = (np.abs(x[:, None] - x) < half + half[:, None]) & (
            np.abs(y[:, None] - y) < 0.5 * (sizes[chosen] + sizes[chosen][:, None])
        )
        assert near.sum() == len(chosen)  # each with itself
    assert (np.diff(shown) > 0).all() and shown[0] < 300


def test_like_atoms_lie_close_on_the_map():
    rng = np.random.default_rng(0)
    groups = rng.standard_normal((6, 30))
    atoms = np.repeat(groups, 10, axis=0) + 0.4 * rng.standard_normal((60, 30))
    atoms *= rng.choice([-1, 1], (60, 1)) / np.linalg.norm(atoms, axis=1, keepdims=True)
    places = atom_places(atoms)
    apart = np.linalg.norm(places[:, None] - places, axis=2)
    same = np.repeat(np.arange(6), 10)[:, None] == np.repeat(np.arange(6), 10)
    assert apart[same].mean() < 0.4 * apart[~same].mean()
    assert np.linalg.norm(places, axis=1).max() <= 1 + 1e-9
    assert atom_places(atoms[:1]).shape == (1, 2)


# ------------------------------------------------- all of them, drawn by Bokeh


def test_every_picture_can_be_drawn(view):
    pictures = {name: element for name, (element, _) in elements.overview(view, link="#atom=@atom").items()}
    pictures |= {f"atom: {name}": element for name, element in elements.for_atom(view, 2).items()}
    assert len(pictures) == 13
    for element in pictures.values():
        item, sources = figure_json(element)
        assert item["doc"]["roots"] and sources
    assert len(elements.learning_curves(view)) == 2


def test_a_picture_is_made_when_it_is_asked_for(view, monkeypatch):
    asked = []
    monkeypatch.setattr(sets, "coherence", asked.append)
    monkeypatch.setattr(sets, "atom_map", lambda *given, **links: asked.append(given))
    pictures, of_atom = elements.overview(view), elements.for_atom(view, 3)
    assert {"Coherence", "Map of atoms"} < set(pictures) and "Map" in of_atom and not asked
    assert pictures["Coherence"][0] is None and asked == [view]
    assert of_atom["Map"] is None and asked[1:] == [(view, 3)]


def test_what_fills_a_picture_is_what_its_sources_hold(view):
    from bokeh.models import ColumnDataSource

    for make, fill in (
        (elements.correlation_histogram, correlation_filling),
        (elements.coefficient_histogram, coefficient_filling),
    ):
        element = make(view, 5)
        plot = hv.renderer("bokeh").get_plot(element)
        held = {source.id: source.data for source in plot.state.select({"type": ColumnDataSource})}
        _, sources = figure_json(element)
        assert len(sources) == len(list(element))
        filling = figure_data(fill(view, 5))
        lengths = [len(layer) for layer in element]
        assert [len(next(iter(columns.values()))) for columns in filling["layers"]] == lengths
        assert filling["title"] == plot.state.title.text
        drawn = [layer.handles["source"].id for layer in plot.subplots.values()]
        for source, columns in zip(drawn, filling["layers"], strict=True):
            assert set(held[source]) <= set(columns), "the page would leave old data in a picture"
            for name, values in held[source].items():
                if np.asarray(values).dtype.kind in "if":
                    np.testing.assert_allclose(columns[name], values, rtol=1e-4)
                else:
                    assert list(columns[name]) == list(values)


def test_pictures_of_a_result_alone(paths):
    view = open_view(daskksvd.load(paths["result"]))
    assert set(elements.overview(view)) == {
        "Error while learning", "Dead and replaced atoms", "Coherence", "Map of atoms"
    }  # fmt: skip
    assert set(elements.for_atom(view, 0)) == {"Map"}
    with pytest.raises(ValueError, match="there are no labels"):
        elements.concept_graph_element(view)
    with pytest.raises(ValueError, match="there are no labels"):
        elements.word_heatmap(view)


def test_pictures_of_labels_without_a_name(paths, view):
    labels = view.labels.copy(deep=True).load()
    for name in ("top_word", "specific_word", "minority_word"):
        labels[name][:] = ""
    labels["significant"][:] = False
    nameless = open_view(paths["result"], labels=labels)
    for element, _ in elements.overview(nameless).values():
        figure_json(element)
    for element in elements.for_atom(nameless, 0).values():
        figure_json(element)


def test_pictures_of_an_atom_that_nothing_uses(paths, dense):
    codes, atom = dense.copy(), 6
    codes[:, atom] = 0
    captions = scene_captions()
    labels = daskksvd.label(codes, captions)
    view = open_view(daskksvd.load(paths["result"]), codes=codes, labels=labels, captions=captions)
    assert view.atoms.uses[atom] == 0 and view.atoms.names[atom] == ""
    for element in elements.for_atom(view, atom).values():
        figure_json(element)
    assert (
        "(1 unused)" in hv.Store.lookup_options("bokeh", elements.usage_by_rank(view), "plot").kwargs["title"]
    )
    panels = gallery(view, atom)
    assert [panel.key for panel in panels] == ["controls"]
    assert "not used" in gallery_html(panels) and "0 samples" in facts_html(view, atom)
