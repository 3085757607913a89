"""Images without texts, and texts without images: filled by hand, and of use where pairs are few."""

import dask.array as da
import numpy as np
import pytest
import reference
from numpy.testing import assert_allclose, assert_array_equal
from test_joint import SETTINGS, D, E, K, M, explained, half_by_hand, planted, surveyed

import daskksvd
from daskksvd.coding import SparsityTarget
from daskksvd.joint import fit_joint
from daskksvd.joint.halves import make_halves
from daskksvd.joint.missing import Fill
from daskksvd.joint.pairs import as_pairs
from daskksvd.joint.weights import MOST_COST, WEIGHTS

FEW = 40
"""Pairs, where images and texts are hundreds."""


@pytest.fixture(scope="module")
def world():
    """Few pairs, many images and texts alone, and pairs to score on."""
    images, texts = planted(FEW, seed=1)
    return images, texts, planted(700, seed=2)[0], planted(700, seed=3)[1], planted(500, seed=4)


@pytest.fixture
def filled(world):
    """Rows as they are filled, which of their halves are there, and the dictionary."""
    images, texts, more_images, more_texts, _ = world
    pairs, facts = surveyed(
        images, texts, None, False, unpaired_images=more_images, unpaired_texts=more_texts
    )
    dictionary = reference.unit_atoms(np.random.default_rng(0), M, D + E)
    fill = Fill.of(dictionary, D, SparsityTarget(K))
    rows = make_halves(facts, 0.3, None).joined(pairs, np.float64, fill).compute()
    return rows, pairs.present, dictionary


def test_halves_have_unit_variance_over_the_rows_that_have_them(filled, world):
    rows, present, _ = filled
    images, texts, more_images, more_texts, _ = world
    assert present.sum(axis=0).tolist() == [FEW + 700, FEW + 700]
    expected = half_by_hand(np.concatenate([images, more_images]), 0.7)
    assert_allclose(rows[present[:, 0], :D], expected, atol=1e-5)
    expected = half_by_hand(np.concatenate([texts, more_texts]), 0.3)
    assert_allclose(rows[present[:, 1], D:], expected, atol=1e-5)


def codes_of_what_is_there(rows, present, dictionary):
    """By pursuit on the half that a row has, for joined atoms; zero rows for pairs."""
    codes = np.zeros((len(rows), M))
    for row, (image, text), code in zip(rows, present, codes, strict=True):
        if not (image and text):
            columns = slice(0, D) if image else slice(D, None)
            norms = np.linalg.norm(dictionary[:, columns], axis=1)
            support, values = reference.omp(row[columns], dictionary[:, columns] / norms[:, None], K)
            code[support] = values / norms[support]
    return codes


def test_what_lacks_is_what_codes_of_the_rest_say(filled):
    rows, present, dictionary = filled
    expected = codes_of_what_is_there(rows, present, dictionary) @ dictionary
    for kind, columns in ((0, slice(0, D)), (1, slice(D, None))):
        lacking = ~present[:, kind]
        assert_allclose(rows[lacking, columns], expected[lacking, columns], atol=1e-8)


def test_a_dictionary_that_fits_filled_rows_better_fits_what_is_there_better(filled):
    rows, present, dictionary = filled
    rows, present = rows[FEW:], present[FEW:]
    codes = codes_of_what_is_there(rows, present, dictionary)
    there = np.repeat(present, (D, E), axis=1)
    better = np.linalg.lstsq(codes, rows, rcond=None)[0]
    errors = [((rows - codes @ one) ** 2)[there].sum() for one in (dictionary, better)]
    bounds = [((rows - codes @ one) ** 2).sum() for one in (dictionary, better)]
    assert_allclose(errors[0], bounds[0])
    assert errors[1] <= bounds[1] < 0.99 * bounds[0]


def test_rows_of_one_kind_help_where_pairs_are_few():
    """Where either half says which atoms a row has, as it must to be of use."""
    size = {"d": 20, "e": 16, "m": 30}
    images, texts = planted(90, seed=1, **size)
    more_images, more_texts = planted(1200, seed=2, **size)[0], planted(1200, seed=3, **size)[1]
    new_images, new_texts = planted(500, seed=4, **size)
    settings = {**SETTINGS, "n_components": 30, "max_passes": None}
    alone = fit_joint(images, texts, **settings)
    both = fit_joint(images, texts, unpaired_images=more_images, unpaired_texts=more_texts, **settings)
    said = [
        explained(one.predict_texts(one.encode(new_images).compute()), new_texts) for one in (alone, both)
    ]
    assert said[1] > 0.9 > said[0] + 0.05
    assert both.images.evaluate(new_images)["fvu"] < alone.images.evaluate(new_images)["fvu"] / 2
    assert both.texts.evaluate(new_texts)["fvu"] < alone.texts.evaluate(new_texts)["fvu"]


def test_rows_without_captions_have_no_text(world):
    """As a mask, as an array beside, and as a store of encodings says it."""
    images, texts = planted(600, seed=5)
    counts = np.arange(600) % 4
    texts[counts == 0] = 0
    settings = {**SETTINGS, "n_rounds": 1}

    class Encodings:
        array = da.from_array(texts, chunks=(250, -1))
        n_captions = counts

    masked = fit_joint(images, texts, paired=counts > 0, **settings)
    stored = fit_joint(images, Encodings, **settings)
    assert_array_equal(stored.both.dictionary, masked.both.dictionary)
    assert_allclose(stored.text_offset.mean(), texts[counts > 0].mean(), atol=0.02)
    with pytest.raises(ValueError, match="texts has 150 rows without captions; code these images alone"):
        stored.encode(images, Encodings)


def test_a_store_of_encodings_is_taken_with_its_rows_without_captions(tmp_path):
    images, vectors = planted(300, seed=7)
    captions = [[str(number)] * (number % 3) for number in range(300)]

    def encode(texts):
        return np.array([vectors[int(text) if text.isdigit() else 0] for text in texts])

    stored = daskksvd.embed_captions(captions, tmp_path / "encodings.zarr", model=encode)
    by_path = fit_joint(images, tmp_path / "encodings.zarr", n_rounds=0, **SETTINGS)
    assert_array_equal(
        fit_joint(images, stored, n_rounds=0, **SETTINGS).both.dictionary, by_path.both.dictionary
    )
    kept = np.arange(300) % 3 > 0
    unit = vectors[kept] / np.linalg.norm(vectors[kept], axis=1, keepdims=True)
    assert_allclose(by_path.both.mean[D:], unit.mean(axis=0), atol=1e-3)
    assert_allclose(by_path.both.mean[:D], images.mean(axis=0), atol=1e-3)
    assert by_path.encode(texts=stored).shape == (300, M)


def test_predicted_texts_need_none(world):
    images, texts, more_images, more_texts, (new_images, _) = world
    found = fit_joint(images, texts, texts_as="predicted", unpaired_images=more_images, **SETTINGS)
    assert found.images.evaluate(new_images)["fvu"] < 0.2
    with pytest.raises(ValueError, match="unpaired_texts goes with texts_as='captions'"):
        fit_joint(images, texts, texts_as="predicted", unpaired_texts=more_texts, **SETTINGS)


def test_without_rounds_the_other_half_is_what_pairs_say(world):
    images, texts, more_images, _, (_, new_texts) = world
    found = fit_joint(images, texts, unpaired_images=more_images, n_rounds=0, **SETTINGS)
    assert found.both.dictionary.shape == (M, D + E)
    assert found.texts.evaluate(new_texts)["fvu"] < 0.3


def test_checkpoints_of_rounds(world, tmp_path):
    images, texts, more_images, _, _ = world
    settings = {**SETTINGS, "unpaired_images": more_images, "checkpoint": tmp_path / "fit", "n_rounds": 2}
    first = fit_joint(images, texts, **settings)
    assert {path.name for path in tmp_path.iterdir()} == {"fit", "fit-filled1", "fit-filled2"}
    assert_array_equal(fit_joint(images, texts, **settings).both.dictionary, first.both.dictionary)


def test_unpaired_rows_are_refused(world):
    images, texts, more_images, more_texts, _ = world
    with pytest.raises(ValueError, match="unpaired_texts has 10 features, texts has 7"):
        fit_joint(images, texts, unpaired_texts=more_images, **SETTINGS)
    with pytest.raises(ValueError, match="n_rounds=-1; it must be at least 0"):
        fit_joint(images, texts, n_rounds=-1, **SETTINGS)
    with pytest.raises(ValueError, match="no row has both an image and a text: nothing would tie them"):
        fit_joint(images, texts, paired=np.zeros(FEW, bool), unpaired_texts=more_texts, **SETTINGS)
    with pytest.raises(ValueError, match="740 rows have an image, fewer than n_components=800"):
        wanted = {**SETTINGS, "n_components": 800}
        fit_joint(images, texts, unpaired_images=more_images, **wanted)
    with pytest.raises(ValueError, match="text_weight='auto' learns from 30 of 40 pairs"):
        wanted = {**SETTINGS, "n_components": 35}
        fit_joint(images, texts, text_weight="auto", **wanted)


def test_the_weight_is_the_largest_that_costs_little():
    images, texts = planted(500, seed=6)
    texts = np.hstack([texts, 0.05 * np.random.default_rng(0).standard_normal((500, 5))])
    found = fit_joint(images, texts, text_weight="auto", **SETTINGS)
    costs = found.costs.image_cost.sel(text_weight=list(WEIGHTS))
    cheap = costs.text_weight[costs <= MOST_COST]
    assert found.text_weight == (cheap[-1] if len(cheap) else WEIGHTS[0])
    assert float(found.costs.image_cost[0]) == 0 and (found.costs.image_fvu > 0).all()
    learn, held = images[:375], images[375:]
    alone = daskksvd.fit(learn, center=True, **SETTINGS)
    assert_allclose(found.costs.image_fvu[0], alone.evaluate(held)["fvu"], rtol=1e-5)
    again = fit_joint(images, texts, text_weight=found.text_weight, **SETTINGS)
    assert_array_equal(again.both.dictionary, found.both.dictionary)


def test_chosen_rows_keep_their_chunks():
    images, texts = planted(100)
    pairs = as_pairs(da.from_array(images, chunks=(30, -1)), texts)
    kept = np.arange(100) % 50 >= 30
    some = pairs.where(kept)
    assert some.chunk_rows == (20, 10, 10)
    assert_array_equal(some.images.compute(), images[kept])
    assert_array_equal(some.texts.compute(), texts[kept])
