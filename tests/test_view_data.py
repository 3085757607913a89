"""What views read: the index by atom, rows, words, captions, images, against slow obvious references."""

import json
import os
import shutil

import numpy as np
import pytest
from PIL import Image
from small_view import HOSTILE, D, K, M, N, dense_codes, scene_captions

import daskksvd
from daskksvd.datasets import make_scenes
from daskksvd.naming import save_tokens
from daskksvd.naming.tokens.mapping import make_mapping
from daskksvd.view.data import index_parts
from daskksvd.view.data.atom_index import build_atom_index
from daskksvd.view.data.captions import CaptionsByRow
from daskksvd.view.data.facts import atom_facts, notes, result_facts
from daskksvd.view.data.galleries import gallery
from daskksvd.view.data.images import open_images
from daskksvd.view.data.opening import open_view
from daskksvd.view.data.view import View
from daskksvd.view.templates.markup import gallery_html

# ---------------------------------------------------------------- the index


def check_index(index, dense):
    n, m = dense.shape
    assert (index.n, index.m) == (n, m)
    np.testing.assert_array_equal(index.uses, (dense != 0).sum(axis=0))
    np.testing.assert_array_equal(index.positive, (dense > 0).sum(axis=0))
    np.testing.assert_allclose(index.magnitude, np.abs(dense).sum(axis=0), rtol=1e-5)
    np.testing.assert_array_equal(index.nonzeros, np.bincount((dense != 0).sum(axis=1)))
    for atom in range(m):
        rows, values = index.activations(atom)
        np.testing.assert_array_equal(np.sort(rows), np.flatnonzero(dense[:, atom]))
        np.testing.assert_array_equal(values, dense[rows, atom].astype(np.float32))
        assert (np.diff(values) <= 0).all()
    assert index.value_count.sum() == (dense != 0).sum()
    expected, _ = np.histogram(dense[dense != 0].astype(np.float32), index.value_edge)
    np.testing.assert_array_equal(index.value_count, expected)


@pytest.mark.parametrize("part", [2**22, 1500, 40])
def test_index_holds_what_codes_hold_whatever_the_parts(part, paths, dense, tmp_path, monkeypatch):
    monkeypatch.setattr(index_parts, "INDEX_PART", part)
    check_index(build_atom_index(paths["codes"], tmp_path / "index.zarr"), dense)


@pytest.mark.parametrize("kind", ["dask", "scipy", "dense"])
def test_index_of_codes_in_memory(kind, paths, dense):
    import scipy.sparse

    codes = {
        "dask": lambda: daskksvd.open_codes(paths["codes"]).rechunk((400, -1)),
        "scipy": lambda: scipy.sparse.csr_array(dense),
        "dense": lambda: dense,
    }[kind]()
    check_index(build_atom_index(codes), dense)


def test_companions_are_the_atoms_whose_use_correlates_most(view, dense):
    used = (dense != 0).astype(float)
    for atom in (0, 7, M - 1):
        correlation = np.nan_to_num([np.corrcoef(used[:, atom], used[:, other])[0, 1] for other in range(M)])
        correlation[atom] = -1
        others, together = view.index.companions(atom)
        assert 0 < len(others) <= 20 and (correlation[others] > 0).all()
        np.testing.assert_allclose(together, correlation[others], atol=1e-5)
        best = np.sort(correlation[correlation > 0])[::-1][: len(others)]
        np.testing.assert_allclose(together, best, atol=1e-5)


def test_an_index_is_made_once_and_again_for_other_codes(paths, tmp_path):
    import shutil

    for name in ("result", "codes"):
        shutil.copytree(paths[name], tmp_path / os.path.basename(paths[name]))
    codes = tmp_path / "fit-codes.zarr"
    open_view(tmp_path / "fit.zarr")
    mark = tmp_path / "fit-codes-atoms.zarr" / "zarr.json"
    made = mark.stat().st_mtime_ns
    open_view(tmp_path / "fit.zarr")
    assert mark.stat().st_mtime_ns == made
    rng = np.random.default_rng(5)
    result = daskksvd.load(tmp_path / "fit.zarr")
    result.write_codes(rng.standard_normal((N, D)).astype(np.float32), codes, overwrite=True)
    again = open_view(tmp_path / "fit.zarr")
    assert mark.stat().st_mtime_ns != made
    check_index(again.index, dense_codes(codes))


# ------------------------------------------------------------------ rows


def test_top_rows_are_those_of_the_largest_coefficients(view, dense):
    for atom in range(M):
        for side in (1, -1):
            rows, values = view.top_rows(atom, side, 9)
            signed = np.sort(side * dense[:, atom])[::-1]
            expected = signed[:9][signed[:9] > 0]
            np.testing.assert_allclose(side * values, expected)
            np.testing.assert_allclose(dense[rows, atom], values)


def test_bands_hold_samples_of_their_quantile_and_are_always_the_same(view, dense):
    for atom in (0, 11):
        strength = view.sides[atom] * dense[:, atom]
        order = np.sort(strength[strength > 0])[::-1]
        bands = view.quantile_rows(atom, 4, 3)
        for band, expected in zip(bands, np.array_split(order, 4), strict=True):
            assert len(band[0]) == 3
            found = strength[band[0]]
            assert (found <= expected[0]).all() and (found >= expected[-1]).all()
        for one, other in zip(bands, view.quantile_rows(atom, 4, 3), strict=True):
            np.testing.assert_array_equal(one[0], other[0])


def test_controls_do_not_use_the_atom_and_any_other_row_can_be_one(view, dense):
    rows = view.control_rows(2, 10)
    assert len(set(rows.tolist())) == 10 and not dense[rows, 2].any()
    everything = view.control_rows(2, N)
    np.testing.assert_array_equal(np.sort(everything), np.flatnonzero(dense[:, 2] == 0))


# ---------------------------------------------------------------- words


def test_atoms_say_what_labels_say(view, dense):
    table, labels = view.atoms, view.labels
    for atom in range(M):
        words = [word for word in labels.top_word.values[atom] if word]
        assert table.names[atom] == ", ".join(words)
        if words:
            assert table.correlation[atom] == float(labels.phi.sel(word=words[0], atom=atom))
            assert table.q_value[atom] == float(labels.q_value.sel(word=words[0], atom=atom))
        else:
            assert np.isnan(table.correlation[atom])
    np.testing.assert_array_equal(table.significant, labels.significant)
    np.testing.assert_array_equal(table.uses, (dense != 0).sum(axis=0))
    np.testing.assert_allclose(table.share, (dense != 0).mean(axis=0))
    with np.errstate(invalid="ignore", divide="ignore"):
        expected = np.abs(dense).sum(axis=0) / (dense != 0).sum(axis=0)
    np.testing.assert_allclose(table.mean_coef, expected, rtol=1e-5)


def test_find_gives_the_atoms_of_a_word_best_first(view):
    g = view.labels.g.sel(word="fish").values
    found = view.find("fish", n=5)
    np.testing.assert_array_equal(found.atom, np.argsort(-g, kind="stable")[:5])
    assert found.named[0] and (found.word == "fish").all()
    for text in ("Fish", " fishes ", "fis"):
        assert view.find(text).atom[0] == found.atom[0], text
    assert view.find("fissh").word[0] == "fish"
    both = view.find("fish purple")
    assert set(both.word) == {"fish", "purple"}
    assert view.find("17").atom.tolist() == [17] and view.find("atom #17").atom.tolist() == [17]
    assert not len(view.find("zzzzzz")) and not len(view.find(""))
    with pytest.raises(TypeError, match="text=3; it must be a word"):
        view.find(3)


def test_words_of_an_atom_are_those_of_its_column(view):
    table = view.words_of(4)
    one = view.labels.isel(atom=4)
    np.testing.assert_array_equal(table.correlation, one.phi.sel(word=table.index.tolist()).values)
    assert (np.diff(table.g.to_numpy()) <= 0).all() and set(table.index[table.named]) == set(view.names[4])


def test_measures_are_the_same_when_read_piece_by_piece(paths, view, monkeypatch):
    from daskksvd.view.data import measures as data

    monkeypatch.setattr(data, "VIEW_MATRIX", 0)
    other = open_view(paths["result"])
    assert other.atoms.equals(view.atoms)
    assert other.find("fish").equals(view.find("fish"))
    assert other.words_of(4).equals(view.words_of(4))


def test_neighbours_are_the_atoms_of_the_largest_cosine(view):
    atoms = view.result.dictionary.values.astype(float)
    cosines = atoms @ atoms[9] / np.linalg.norm(atoms, axis=1) / np.linalg.norm(atoms[9])
    cosines[9] = 0
    expected = np.argsort(-np.abs(cosines))[:6]
    near = view.neighbours(9, 6).by_cosine
    np.testing.assert_array_equal(near.atom, expected)
    np.testing.assert_allclose(near.cosine, cosines[expected], atol=1e-5)


def test_compare_finds_the_same_atoms_in_another_order(paths, view):
    other = open_view(paths["result"])
    table = view.compare(other)
    np.testing.assert_array_equal(table.atom, table.other)
    assert (table.cosine > 0.999).all()
    assert table.same_name.sum() == sum(bool(names) for names in view.names)


# ------------------------------------------------------- captions and images


def test_captions_of_rows_in_any_order(view):
    captions = scene_captions()
    rows = [1_400, 3, 3, 77]
    assert view.captions_of(rows) == [[HOSTILE, *captions[row]] for row in rows]


def test_captions_keyed_by_sample_and_rows_without_any():
    captions = {30: ["thirty"], 10: ["ten", "  ", None], 20: []}
    frame = [(sample, text) for sample, texts in captions.items() for text in texts or [None]]
    import pandas as pd

    table = pd.DataFrame(frame, columns=["sample", "caption"])
    found = CaptionsByRow(table, np.array([10, 20, 30, 40]))
    assert found.of([3, 2, 1, 0]) == [[], ["thirty"], [], ["ten"]]


def test_words_are_marked_in_any_form_and_only_whole_ones(view):
    caption = "Three FISHES near a fishing boat; fish-shaped, swordfish."
    spans = view.marker.spans(caption, ["fish"])
    # as labels count them: of swordfish, fish is no word
    assert [caption[a:b] for a, b in spans] == ["FISHES", "fishing", "fish"]
    assert view.marker.spans("a " * 3 + "fish", ["fish"]) == [(6, 10)]
    assert view.marker.spans(caption, []) == []


def test_images_come_from_scenes_folder_or_thumbnails_and_never_from_outside(tmp_path, monkeypatch):
    (tmp_path / "in").mkdir()
    Image.new("RGB", (30, 20), "red").save(tmp_path / "in" / "a.png")
    Image.new("RGB", (30, 20), "blue").save(tmp_path / "secret.png")
    (tmp_path / "in" / "broken.jpg").write_bytes(b"\xff\xd8\xff no image")
    embeddings = FakeEmbeddings(
        ["a.png", "../secret.png", "broken.jpg", "http://example.org/x.jpg", "gone.png"]
    )

    def refuse(*arguments, **options):
        raise AssertionError("the network was asked")

    monkeypatch.setattr("daskksvd.embedding.fetch.fetch", refuse)
    images = open_images(tmp_path / "in", embeddings, np.arange(5))
    found = [images.get(row) for row in range(5)]
    assert [there for _, there in found] == [True, False, False, False, False]
    assert found[0][0].getpixel((0, 0)) == (255, 0, 0)
    thumbnails = open_images(None, embeddings, np.arange(5))
    assert thumbnails.get(2)[0].size == (8, 8) and not thumbnails.get(3)[1]
    scenes = make_scenes(6)
    by_sample = open_images(scenes, None, np.array([5, 0]))
    assert by_sample.get(0)[0].tobytes() == scenes[5].image.tobytes()
    with pytest.raises(FileNotFoundError, match="there is no such folder"):
        open_images(tmp_path / "no", embeddings, None)


class FakeEmbeddings:
    """What `Images` needs of a store."""

    def __init__(self, sources):
        self.source = np.array(sources, object)

    def thumbnail(self, row):
        return Image.new("RGB", (8, 8)) if row < 3 else None


# -------------------------------------------------------------- galleries


def test_gallery_shows_both_sides_bands_and_controls(view, dense):
    atom = int(view.find("fish").atom[0])
    panels = {panel.key: panel for panel in gallery(view, atom, top=5, opposite=3, n_quantiles=3, per=2)}
    assert {"top", "band-1", "band-2", "band-3", "controls"} <= set(panels)
    strength = view.sides[atom] * dense[:, atom]
    best = [sample.row for sample in panels["top"].samples]
    np.testing.assert_allclose(strength[best], np.sort(strength)[::-1][:5])
    assert all(np.isnan(sample.value) for sample in panels["controls"].samples)
    texts = [
        caption.text[start:stop].lower()
        for sample in panels["top"].samples for caption in sample.captions for start, stop in caption.spans
    ]  # fmt: skip
    assert "fish" in texts


def test_captions_are_shown_as_text(view):
    atom = int(view.find("fish").atom[0])
    html = gallery_html(gallery(view, atom))
    assert "<script" not in html and "onerror=&#34;" in html
    assert "&lt;img src=x" in html and "<mark>fish</mark>" in html
    assert html.count("<img ") == html.count('loading="lazy"')  # no image but ours


# ------------------------------------------------------- what is missing


def test_a_result_alone_can_be_viewed(paths):
    result = daskksvd.load(paths["result"])
    view = open_view(result)
    assert isinstance(view, View) and len(view.atoms) == M and view.atoms.names.eq("").all()
    assert view.atoms.uses.isna().all() and not len(view.find("fish")) and not len(view.words_of(0))
    assert view.captions_of([0]) == [[]] and view.images_of([0])[0][1] is False
    assert len(view.neighbours(0).by_cosine) and not len(view.neighbours(0).by_use)
    with pytest.raises(ValueError, match="there are no codes"):
        view.top_rows(0)


@pytest.mark.parametrize("atom", [M, -1, True, 1.0, "3"])
def test_atoms_that_are_none(view, atom):
    with pytest.raises(ValueError, match=f"it must be an atom from 0 to {M - 1}"):
        view.activations(atom)


def test_what_belongs_to_another_dictionary_is_refused(paths, view, tmp_path):
    with pytest.raises(ValueError, match=rf"codes are of {K} atoms; the dictionary has {M}"):
        open_view(paths["result"], codes=np.eye(N, K))
    with pytest.raises(ValueError, match=rf"labels are of 5 atoms, and the dictionary of {M}"):
        open_view(paths["result"], labels=view.labels.isel(atom=slice(5)))
    with pytest.raises(TypeError, match="scores have no correlation"):
        open_view(paths["result"], scores=view.labels[["phi"]])
    with pytest.raises(FileNotFoundError, match="there is no such path"):
        open_view(tmp_path / "none.zarr")
    with pytest.raises(TypeError, match="result is a int"):
        open_view(3)
    with pytest.raises(ValueError, match="no index of atoms"):
        build_atom_index(paths["codes"], paths["labels"])


def test_held_out_scores_are_shown(paths):
    scores = daskksvd.evaluation.score_labels(
        paths["codes"], scene_captions(), n_permutations=1, n_resamples=0, random_state=0
    )
    view = open_view(paths["result"], scores=scores)
    np.testing.assert_array_equal(view.atoms.held_out, scores.correlation)
    np.testing.assert_array_equal(view.atoms.held_out_q, scores.q_value)


def test_words_for_prompts_stand_beside_names_with_their_figures(paths, view, tmp_path):
    assert "words for prompts" not in atom_facts(view, 0)
    word, weight = np.full((2 * M, 2), -1), np.ones((2 * M, 2))
    word[0], word[M], weight[0] = [1, 0], [2, -1], [0.5, 0.25]
    mapping = make_mapping(
        ["boat", "snow", "red"], word, weight, np.ones(2 * M), method="descent", encoder={"name": "a/mini"}
    )
    ways = {"words of atoms": (0.061, 87), "another caption": (0.47, 1)}
    ways = {way: {"r2": r2, "median_rank": rank} for way, (r2, rank) in ways.items()}
    mapping.attrs["held_out"] = json.dumps({"ranked_among": 1000, "ways": ways})
    found = open_view(paths["result"], tokens=mapping, labels=view.labels)
    sides = {1: "snow 0.5, boat 0.25", -1: "red"}
    facts = atom_facts(found, 0)
    assert facts["words for prompts"] == sides[found.sides[0]]
    assert facts["of its other side"] == sides[-found.sides[0]]
    said = "descent through mini; held out r2 0.061, median rank 87 of 1,000"
    assert facts["these chosen by"] == result_facts(found)["words for prompts"] == said
    assert "words for prompts" not in atom_facts(found, 1)
    assert said in notes(found)[-1] and "another caption 0.470 / 1" in notes(found)[-1]
    # beside a result they are found
    shutil.copytree(paths["result"], tmp_path / "fit.zarr")
    save_tokens(mapping, tmp_path / "fit-tokens.zarr")
    assert open_view(tmp_path / "fit.zarr").prompt_words(0, 1) == sides[1]
    with pytest.raises(ValueError, match=f"tokens are of {M - 1} atoms; the dictionary has {M}"):
        open_view(paths["result"], tokens=mapping.isel(atom=slice(1, None)))
    with pytest.raises(TypeError, match="must be what naming"):
        open_view(paths["result"], tokens=view.labels)
