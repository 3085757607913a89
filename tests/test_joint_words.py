"""Text halves held to a few words: planted words are found, and nothing but words is left."""

import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal
from scipy.optimize import nnls
from test_joint import SETTINGS, explained

import daskksvd
from daskksvd.joint import fit_joint, load_joint
from daskksvd.joint.words import check_vocabulary, hold_to_words

N, M, D, E, W = 1500, 16, 12, 24, 40
OPTIONS = {**SETTINGS, "n_components": M, "max_passes": 8, "text_weight": 0.4, "n_words": 2}


class World:
    """Atoms of which each stands for two words; images use two, with positive coefficients."""

    def __init__(self):
        rng = np.random.default_rng(0)
        self.words = [f"word{number}" for number in range(W)]
        self.vectors = rng.standard_normal((W, E))
        self.vectors -= self.vectors.mean(axis=0)
        self.atoms = rng.standard_normal((M, D))
        self.atoms /= np.linalg.norm(self.atoms, axis=1, keepdims=True)
        self.meant = np.array([rng.choice(W, 2, replace=False) for _ in range(M)])
        codes = np.zeros((N, M))
        for row in codes:
            row[rng.choice(M, 2, replace=False)] = rng.uniform(1, 3, 2)
        self.images = codes @ self.atoms + 0.02 * rng.standard_normal((N, D)) + 1
        self.texts = codes @ (self.vectors[self.meant] * [[[1.0], [0.5]]]).sum(axis=1)
        self.texts += 0.1 * rng.standard_normal((N, E)) + 3


@pytest.fixture(scope="module")
def world():
    return World()


@pytest.fixture(scope="module")
def result(world):
    vocabulary = {"vocabulary": world.words, "vocabulary_encodings": world.vectors}
    return fit_joint(world.images, world.texts, **vocabulary, **OPTIONS)


def test_planted_words_are_found(world, result):
    words = result.words
    assert words.word.dims == ("atom", "side", "slot") and words.word.shape == (M, 2, 2)
    assert (words.word.sel(side="-") == "").all() and (words.weight >= 0).all()
    cosines = result.images.dictionary.values @ world.atoms.T
    atoms, best = np.arange(M), cosines.argmax(axis=1)
    found = [
        set(words.word.values[atom, 0]) == {world.words[number] for number in world.meant[best[atom]]}
        for atom in atoms
        if cosines[atom, best[atom]] > 0.95
    ]
    assert len(found) >= M - 2 and np.mean(found) > 0.9
    # of the first word there is twice as much
    weights = (
        words.weight.values[:, 0]
        / np.linalg.norm(world.vectors, axis=1)[
            [[world.words.index(word) for word in row] for row in words.word.values[:, 0]]
        ]
    )
    assert_allclose(np.median(weights.max(axis=1) / weights.min(axis=1)), 2, rtol=0.1)


def test_texts_are_sums_of_words(world, result):
    unit = world.vectors / np.linalg.norm(world.vectors, axis=1, keepdims=True)
    place = {word: number for number, word in enumerate(world.words)}
    chosen = np.vectorize(place.get)(result.words.word.values[:, 0])
    vectors = np.einsum("aq,aqe->ae", result.words.weight.values[:, 0], unit[chosen])
    atoms = result.both.coder.dictionary[:, D:] * result.text_scale / result.norms[:, :1]
    assert_allclose(vectors, atoms, atol=1e-4)
    codes = result.encode(world.images).compute().todense()
    centred = (codes - codes.mean(axis=0)) @ vectors
    assert explained(centred + world.texts.mean(axis=0), world.texts) > 0.9
    uses = np.stack([(codes > 0).sum(axis=0), (codes < 0).sum(axis=0)], axis=1)
    assert_array_equal(result.words.uses, uses)


def test_halves_are_the_best_of_their_words(world):
    rng = np.random.default_rng(1)
    dictionary = rng.standard_normal((M, D + E))
    vocabulary = check_vocabulary(world.words, world.vectors, 3, E)
    held = hold_to_words(dictionary, D, vocabulary)
    assert_allclose(np.linalg.norm(held.dictionary, axis=1), 1)
    unit = vocabulary.encodings / np.linalg.norm(vocabulary.encodings, axis=1, keepdims=True)
    for atom, new, words in zip(dictionary, held.dictionary, held.word, strict=True):
        sign = np.sign(new[:D] @ atom[:D])
        lengthened = new * np.linalg.norm(atom[:D]) / np.linalg.norm(new[:D])
        assert_allclose(lengthened[:D], sign * atom[:D])
        support = unit[words[words >= 0]]
        assert 1 <= len(support) <= 3
        assert_allclose(lengthened[D:], support.T @ nnls(support.T, sign * atom[D:])[0], atol=1e-8)
    for row, number in zip(held.word, held.weight, strict=True):
        assert (number[row < 0] == 0).all() and (number[row >= 0] > 0).all()


def test_words_are_saved(result, tmp_path):
    result.save(tmp_path / "joint.zarr")
    loaded = load_joint(tmp_path / "joint.zarr")
    for name in ("word", "weight", "uses"):
        assert_array_equal(loaded.words[name], result.words[name])
    assert loaded.words.attrs == result.words.attrs
    assert_array_equal(loaded.both.dictionary, result.both.dictionary)


def test_words_that_cannot_be_are_refused(world):
    for change, error, message in (
        ({"vocabulary": world.words}, ValueError, "vocabulary_encodings is missing"),
        ({"vocabulary_encodings": world.vectors}, ValueError, "vocabulary is missing"),
        ({"vocabulary": ["one"], "vocabulary_encodings": world.vectors}, TypeError, "two at least"),
        (
            {"vocabulary": world.words, "vocabulary_encodings": world.vectors[:, 1:]},
            ValueError,
            r"vocabulary_encodings has shape \(40, 23\); it must be 40 x 24",
        ),
        (
            {"vocabulary": world.words, "vocabulary_encodings": world.vectors, "texts_as": "predicted"},
            ValueError,
            "vocabulary goes with texts_as='captions'",
        ),
        ({"n_words": 0}, ValueError, "n_words=0; it must be at least 1"),
    ):
        with pytest.raises(error, match=message):
            daskksvd.fit_joint(world.images, world.texts, **{**OPTIONS, **change})
