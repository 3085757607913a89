"""Words of atoms by a text encoder: what `map_tokens` gives, and refuses."""

import itertools
import json

import numpy as np
import pytest
import scipy.sparse as sp
from small_words import WORDS, Bag, encodings_of, sides_of, worded_samples

import daskksvd
from daskksvd.naming import map_tokens
from daskksvd.naming.tokens.prompts import LISTED


@pytest.fixture(scope="module")
def world():
    return worded_samples()


@pytest.mark.parametrize("method", ["greedy", "descent"])
def test_planted_words_are_found(world, method):
    codes, captions, truth = world
    found = map_tokens(codes, captions, Bag(), vocabulary=WORDS, method=method, random_state=0)
    assert found.sizes == {"atom": 12, "side": 2, "slot": 1}
    assert found.word.values[:, :, 0].T.ravel().tolist() == truth
    assert (found.uses.values.T.ravel() == (sides_of(codes) > 0).sum(axis=0)).all()
    assert found.attrs["method"] == method


def test_descent_is_that_of_dense_matrices(world):
    """With captions that are noisy, so that every step counts."""
    codes, captions, _ = world
    rng = np.random.default_rng(10)
    encodings = encodings_of(captions, Bag()) + 0.3 * rng.normal(size=(600, 24))
    found = map_tokens(codes, None, Bag(), vocabulary=WORDS, encodings=encodings, n_slots=2, random_state=0)
    sides = sides_of(codes)
    z, c = sides - sides.mean(axis=0), encodings - encodings.mean(axis=0)
    penalty = found.attrs["ridge"] * np.trace(z.T @ z) / 24
    vectors = np.linalg.solve(z.T @ z + penalty * np.eye(24), z.T @ c)
    weights = np.linalg.norm(vectors, axis=1) ** 0.5
    order = np.argsort(-sides * weights, axis=1, kind="stable")[:, :2]
    listed = (np.arange(24)[None, None] == order[:, :, None]).any(axis=1).astype(float)
    f, predicted = listed - listed.mean(axis=0), z @ vectors
    words = Bag()([LISTED.prompt([word]) for word in WORDS])
    words /= np.linalg.norm(words, axis=1, keepdims=True)
    words -= words.mean(axis=0)
    chosen = [WORDS.index(word) for word in found.word.values[:, :, 0].T.ravel()]
    scale = found.attrs["scale"]

    def left(numbers):
        return ((predicted - scale * f @ words[numbers]) ** 2).sum()

    now = left(chosen)
    for side, number in itertools.product(range(24), range(len(words))):
        trial = [*chosen[:side], number, *chosen[side + 1 :]]
        assert left(trial) >= now - 1e-6 * (c**2).sum()
    gained = (predicted**2).sum() - now
    assert np.isclose(json.loads(found.attrs["losses"])[-1], 1 - gained / (c**2).sum(), atol=1e-5)
    np.testing.assert_allclose(found.weight.values[:, :, 0].T.ravel(), weights / weights.max(), rtol=1e-6)
    assert (found.uses.values.T.ravel() == listed.sum(axis=0)).all()


def test_several_weighted_words_find_both_words_of_a_side(world):
    codes, captions, truth = world
    other = dict(zip(truth, WORDS[-24:], strict=True))
    twice = [[" ".join(f"{word} {other.get(word, '')}" for word in texts[0].split())] for texts in captions]
    found = map_tokens(codes, twice, Bag(), vocabulary=WORDS, n_words=2, random_state=0)
    sides = found.word.transpose("side", "atom", "slot").values.reshape(24, 2)
    right = [{word, other[word]} <= set(pair) | {word} for word, pair in zip(truth, sides, strict=True)]
    assert np.mean(right) > 0.8 and found.vector.shape == (12, 2, 24)
    assert (found.weight.values[found.word.values != ""] > 0).all()


def test_shuffled_captions_lower_the_loss_hardly_at_all(world):
    codes, captions, _ = world
    order = np.random.default_rng(6).permutation(len(captions))
    true, false = (
        json.loads(map_tokens(codes, texts, Bag(), vocabulary=WORDS, random_state=0).attrs["losses"])[-1]
        for texts in (captions, [captions[place] for place in order])
    )
    assert true < 0.4 and false > 0.9


def test_only_significant_words_where_asked(world):
    codes, captions, _ = world
    labels = daskksvd.label(codes, captions, min_df=1)
    found = map_tokens(codes, captions, Bag(), labels=labels, significant_only=True, random_state=0)
    words = labels.word.values.tolist()
    for atom, side in itertools.product(range(12), "+-"):
        majority = (labels.orientation.values[atom] > 0) == (side == "+")
        name = "q_value" if majority else "minority_q_value"
        word = str(found.word.sel(atom=atom, side=side).values[0])
        assert float(labels[name].values[words.index(word), atom]) <= labels.attrs["alpha"]


def test_the_encoder_itself_may_compare_candidates(world):
    codes, captions, truth = world
    found = map_tokens(codes, captions, Bag(), vocabulary=WORDS, rerank=3, random_state=0)
    assert found.word.values[:, :, 0].T.ravel().tolist() == truth and found.attrs["prompts"] > 0


def test_tokens_of_a_model_may_be_the_words(world):
    codes, captions, _ = world
    captions = [["red" if row.getnnz() and row.data[0] > 0 else "a green circle"] for row in codes]
    found = map_tokens(codes, captions, "scenes", vocabulary="tokens", n_slots=1, random_state=0)
    words = {word for word in found.word.values.ravel().tolist() if word}
    assert words and all(word.isalnum() for word in words) and found.attrs["n_tried"] > 20


@pytest.mark.parametrize("seed", range(4))
def test_few_captions_are_parted_so_that_both_parts_have_some(seed):
    rng = np.random.default_rng(seed)
    codes = np.where(rng.random((60, 3)) < 0.5, rng.uniform(1, 2, (60, 3)), 0)
    encodings = np.zeros((60, 24), np.float32)
    encodings[rng.permutation(60)[:5]] = rng.normal(size=(5, 24))
    how = {"encodings": encodings, "vocabulary": WORDS[:4], "random_state": seed}
    assert map_tokens(codes, None, Bag(), **how).attrs["n"] == 5
    encodings[np.flatnonzero(encodings.any(axis=1))[:2]] = 0
    with pytest.raises(ValueError, match="3 rows have captions; there must be 2 at least to fit on and 2 to"):
        map_tokens(codes, None, Bag(), **how)
    encodings[7, 3] = np.nan
    with pytest.raises(ValueError, match=r"encodings has NaN or infinite values \(row 7\)"):
        map_tokens(codes, None, Bag(), **how | {"method": "greedy"})


class Read:
    """An array that counts how often its rows were read."""

    def __init__(self, array):
        self.array, self.shape, self.dtype, self.rows = array, array.shape, array.dtype, 0

    def __getitem__(self, rows):
        found = self.array[rows]
        self.rows += len(found)
        return found

    def __ne__(self, other):
        self.rows += len(self.array)
        return self.array != other


@pytest.mark.parametrize(
    "captioned, how, reads",
    [
        (600, {"n_words": 2}, 1),
        (600, {}, 2),  # all magnitudes, and those that prompts list
        (600, {"method": "greedy"}, 2),  # prompts of one slot, and of two
        (4, {"n_words": 2}, 3),  # which rows have captions, and the pass again
        (3, {"method": "greedy"}, 2),
        (2, {"method": "greedy"}, 2),
    ],
)
def test_encodings_are_read_no_oftener_than_needed(world, captioned, how, reads):
    codes, _, _ = world
    encodings = np.zeros((600, 24), np.float32)
    kept = np.arange(600) if captioned == 600 else np.arange(captioned) * 3
    encodings[kept] = np.random.default_rng(11).normal(size=(captioned, 24))
    encodings = Read(encodings)
    shared = {"encodings": encodings, "vocabulary": WORDS[:6], "n_slots": 2, "random_state": 5}
    found = map_tokens(codes, None, Bag(), **shared, **how)
    assert encodings.rows == reads * 600 and found.attrs["n"] == captioned


@pytest.mark.parametrize("method", ["greedy", "descent"])
def test_a_side_in_every_prompt_gives_its_slot_to_the_next(world, method):
    codes, captions, truth = world
    always = sp.csr_matrix(np.full((600, 1), 9.0))
    found = map_tokens(
        sp.hstack([codes, always]).tocsr(), captions, Bag(), vocabulary=WORDS, method=method, random_state=0
    )
    assert found.word.values[:12, :, 0].T.ravel().tolist() == truth
    assert not found.word.values[12].any() and not found.uses.values[12].any()


def test_labels_of_another_dictionary_are_refused(world):
    codes, captions, _ = world
    labels = daskksvd.label(codes[:, :8], captions)
    for how in ({"method": "labels"}, {"significant_only": True}):
        with pytest.raises(ValueError, match="labels are of 8 atoms, and codes of 12"):
            map_tokens(codes, captions, Bag(), labels=labels, **how)
        with pytest.raises(TypeError, match=r"labels is a int without .*; it must be what daskksvd"):
            map_tokens(codes, captions, Bag(), labels=3, **how)


def test_labels_are_a_mapping_too(world):
    codes, captions, _ = world
    labels = daskksvd.label(codes, captions, min_df=1)
    found = map_tokens(codes, None, Bag(), labels=labels, method="labels")
    majority = np.where(labels.orientation.values > 0, 0, 1)
    assert (found.word.values[np.arange(12), majority, 0] == labels.top_word.values[:, 0]).all()


def test_words_survive_the_disk(world, tmp_path):
    codes, captions, _ = world
    found = map_tokens(codes, captions, Bag(), vocabulary=WORDS, n_words=2, random_state=0)
    daskksvd.naming.save_tokens(found, tmp_path / "a-tokens.zarr")
    again = daskksvd.naming.open_tokens(tmp_path / "a-tokens.zarr")
    assert (again.word.values.astype(str) == found.word.values.astype(str)).all()
    np.testing.assert_array_equal(again.weight, found.weight)
    assert again.attrs["template"] == found.attrs["template"]
    with pytest.raises(FileExistsError):
        daskksvd.naming.save_tokens(found, tmp_path / "a-tokens.zarr")


@pytest.mark.parametrize(
    "wrong, message",
    [
        ({"method": "best"}, "method='best'; it must be one of"),
        ({"method": "greedy", "n_words": 2}, "n_words=2 goes with method='descent'"),
        ({"method": "labels"}, "labels="),
        ({"n_slots": 0}, "n_slots"),
        ({"vocabulary": []}, "vocabulary is empty"),
        ({"validation": 0.9}, "validation"),
        ({"train": np.ones(3, bool)}, "train has dtype bool and shape"),
        ({"encodings": np.ones((5, 3))}, "encodings has shape"),
        ({"encodings": np.ones((600, 3))}, "same encoder"),
        ({"steps": 3}, "goes with method='gradient'"),
    ],
)
def test_wrong_arguments_are_refused(world, wrong, message):
    codes, captions, _ = world
    with pytest.raises((TypeError, ValueError), match=message):
        map_tokens(codes, captions, Bag(), **{"vocabulary": WORDS, **wrong})
