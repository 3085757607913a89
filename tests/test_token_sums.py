"""Prompts, sums, and words by sums, against slow references."""

import itertools

import numpy as np
import pytest
import scipy.sparse as sp
from small_words import WORDS, Bag, centred_world, encodings_of, loss, sides_of, worded_samples

from daskksvd.coding.nonzeros import open_code_rows
from daskksvd.naming import map_tokens
from daskksvd.naming.tokens.descent import best_words, descend, least_error, text_vectors, weigh
from daskksvd.naming.tokens.prompts import LISTED, Template, check_templates, encode_prompts
from daskksvd.naming.tokens.sums import Prediction, Sums, add_sums, strongest, sum_up, sum_up_parts


@pytest.fixture(scope="module")
def world():
    return worded_samples()


# ------------------------------------------------------------------- prompts


def test_prompts_list_words_as_the_template_says():
    assert LISTED.prompt(["dog", "snow"]) == "An image of an object characterized by: - dog - snow"
    [bare] = check_templates("{}")
    assert bare.prompt(["dog", "snow"]) == "dog, snow"
    assert Template("a photo of {}.", "a ", " and ").prompt(["dog", "cat"]) == "a photo of a dog and a cat."


@pytest.mark.parametrize("template", ["a photo", "{} and {}", "{word} {}", [], [3]])
def test_templates_that_are_none_are_refused(template):
    with pytest.raises((TypeError, ValueError), match="template"):
        check_templates(template)


def test_prompts_are_encoded_once_and_averaged_over_templates():
    seen = []

    class Encoder:
        def encode(self, texts):
            seen.extend(texts)
            return Bag()(texts).astype(np.float32)

    templates = check_templates(["{}", "see {}"])
    found = encode_prompts(Encoder(), templates, [["balub"], ["bamub", "banub"], ["balub"]])
    expected = [Bag()([one.prompt(["balub"]) for one in templates]).mean(axis=0)]
    assert len(seen) == 4 and found.shape == (3, 24)
    np.testing.assert_allclose(found[[0, 2]], expected * 2, rtol=1e-5)


# ---------------------------------------------------------------------- sums


@pytest.mark.parametrize("n_slots", [None, 1, 2])
@pytest.mark.parametrize("size", [600, 97])
def test_sums_equal_those_of_dense_matrices(world, n_slots, size):
    codes, captions, _ = world
    encodings = encodings_of(captions, Bag())
    encodings[5] = 0  # without captions
    rows = np.random.default_rng(2).random(600) < 0.8
    found = sum_up(open_code_rows(codes, size=size), encodings, n_slots=n_slots, rows=rows).centred()
    kept = rows & (np.arange(600) != 5)
    sides, c = sides_of(codes)[kept], encodings[kept]
    if n_slots:
        order = np.argsort(-sides, axis=1, kind="stable")[:, :n_slots]
        sides = (np.arange(24)[None, None] == order[:, :, None]).any(axis=1).astype(float)
    sides, c = sides - sides.mean(axis=0), c - c.mean(axis=0)
    assert found.n == kept.sum()
    np.testing.assert_allclose(found.pairs, sides.T @ sides, atol=1e-9)
    np.testing.assert_allclose(found.joint, sides.T @ c, atol=1e-9)
    np.testing.assert_allclose(found.energy, (c**2).sum())


def test_sums_of_weighted_sides_and_predicted_encodings(world):
    codes, captions, _ = world
    encodings, rng = encodings_of(captions, Bag()), np.random.default_rng(8)
    encodings[5] = 0  # without captions
    weights, offset, vectors = rng.random(24), rng.normal(size=24), rng.normal(size=(24, 24))
    found = sum_up(
        open_code_rows(codes, size=97), encodings, n_slots=2, weights=weights,
        prediction=Prediction(offset, vectors),
    )  # fmt: skip
    kept = np.arange(600) != 5
    sides = sides_of(codes)[kept]
    order = np.argsort(-sides * weights, axis=1, kind="stable")[:, :2]
    listed = (np.arange(24)[None, None] == order[:, :, None]).any(axis=1).astype(float)
    np.testing.assert_allclose(found.pairs, listed.T @ listed, atol=1e-9)
    np.testing.assert_allclose(found.joint, listed.T @ (offset + sides @ vectors), atol=1e-9)


def test_sums_of_parts_are_those_of_each(world):
    codes, captions, _ = world
    encodings, parts = encodings_of(captions, Bag()), np.random.default_rng(9).random((2, 600)) < 0.4
    both = sum_up_parts(open_code_rows(codes, size=97), encodings, parts)
    for found, rows in zip(both, parts, strict=True):
        expected = sum_up(open_code_rows(codes, size=97), encodings, rows=rows)
        for one, other in zip(found, expected, strict=True):
            np.testing.assert_array_equal(one, other)


def test_sums_of_lazy_arrays_are_the_same(world):
    import dask.array as da

    codes, captions, _ = world
    encodings = encodings_of(captions, Bag())
    here = sum_up(open_code_rows(codes), encodings)
    lazy = sum_up(open_code_rows(codes, size=128), da.from_array(encodings, chunks=(50, 10)))
    for one, other in zip(here, lazy, strict=True):
        np.testing.assert_allclose(one, other, atol=1e-9)


def test_the_strongest_sides_of_equals_are_the_first():
    sides = sp.csr_matrix([[0, 2, 2, 1], [0, 0, 0, 3]])
    assert strongest(sides, 2).toarray().tolist() == [[0, 1, 1, 0], [0, 0, 0, 1]]


# -------------------------------------------------------------- words by sums


def test_the_best_word_by_itself_is_that_of_least_error(world):
    sums, words = centred_world(world)
    found = best_words(sums, words)
    for side in range(24):
        errors = []
        for vector in words:  # with its own best, positive, scale
            shared, power = sums.joint[side] @ vector, sums.pairs[side, side] * (vector @ vector)
            errors.append(-(max(shared, 0) ** 2) / power)
        assert found[side] == int(np.argmin(errors))


def test_descent_never_gets_worse_and_ends_where_no_word_can_change(world):
    sums, words = centred_world(world)
    start = np.random.default_rng(3).integers(len(words), size=24)
    found = descend(sums, words, start)
    assert (np.diff(found.losses) <= 1e-12).all() and found.losses[-1] < found.losses[0]
    now = loss(sums, words, found.word, found.scale)
    np.testing.assert_allclose(now / sums.energy, found.losses[-1], rtol=1e-9)
    for side, number in itertools.product(range(24), range(len(words))):
        trial = found.word.copy()
        trial[side] = number
        assert loss(sums, words, trial, found.scale) >= now - 1e-7 * sums.energy


def test_words_that_are_not_allowed_are_not_chosen(world):
    sums, words = centred_world(world)
    allowed = np.random.default_rng(4).random((24, len(words))) < 0.1
    allowed[:, 0] = True
    chosen = descend(sums, words, best_words(sums, words, allowed), allowed).word
    assert allowed[np.arange(24), chosen].all()


def test_text_vectors_are_a_ridge_regression(world):
    from sklearn.linear_model import Ridge

    codes, captions, _ = world
    encodings, sides = encodings_of(captions, Bag()), sides_of(codes)
    part = np.arange(600) < 450
    rows = [open_code_rows(codes)] * 3
    fitted, checked, whole = (
        sum_up(one, encodings, rows=kept).centred()
        for one, kept in zip(rows, (part, ~part, np.ones(600, bool)), strict=True)
    )
    found = text_vectors(fitted, checked, whole)
    penalty = found.ridge * np.trace(whole.pairs) / 24
    reference = Ridge(alpha=penalty).fit(sides, encodings)
    np.testing.assert_allclose(found.vectors, reference.coef_.T, atol=1e-8)


def two_parts(m=100, e=48):
    """Sums of codes in which some sides are never used, over two parts and both."""
    rng = np.random.default_rng(12)
    codes = np.where(rng.random((900, m)) < 0.05, rng.uniform(-0.3, 0.7, (900, m)), 0)
    codes[:, 4], codes[:, 5] = 0, abs(codes[:, 5])
    encodings = codes @ rng.normal(size=(m, e)) + rng.normal(size=(900, e))
    parts = sum_up_parts(open_code_rows(codes), encodings, np.arange(900)[None] % 3 == np.array([[1], [2]]))
    return [part.centred() for part in (*parts, add_sums(parts))]


def test_text_vectors_of_sides_that_are_never_used_are_zero():
    sums = two_parts()
    found = text_vectors(*sums)
    used = sums[2].mean > 0
    assert not found.vectors[~used].any() and not used[[4, 104, 105]].any()
    unit = np.trace(sums[2].pairs) / 200  # the mean over all sides
    pairs = sums[2].pairs[np.ix_(used, used)] + found.ridge * unit * np.eye(used.sum())
    np.testing.assert_allclose(found.vectors[used], np.linalg.solve(pairs, sums[2].joint[used]), rtol=1e-7)


def test_text_vectors_of_signed_features_are_a_ridge_regression():
    """Features of any sign and mean, some of which never vary, as those of embeddings."""
    from sklearn.linear_model import Ridge

    rng = np.random.default_rng(13)
    x = rng.normal(size=(600, 12)) + np.linspace(-2, 2, 12)
    x[:, 3] = 0
    y = x @ rng.normal(size=(12, 5)) + 0.3 * rng.normal(size=(600, 5))
    each = [Sums(len(a), a.sum(0), b.sum(0), np.vdot(b, b), 0, a.T @ a, a.T @ b) for a, b in
            ((x[part], y[part]) for part in (slice(400), slice(400, 600)))]  # fmt: skip
    found = text_vectors(*(sums.centred() for sums in each), add_sums(each).centred())
    reference = Ridge(alpha=found.ridge * np.square(x - x.mean(0)).sum() / 12).fit(x, y)
    np.testing.assert_allclose(found.vectors, reference.coef_.T, atol=1e-8)
    assert found.ridge < 0.1


def test_the_penalty_is_the_best_of_all_or_of_those_beside_every_second():
    errors = np.array([5, 1, 4, 2, 2, 3, 9, 8, 7, 0, 6])
    assert least_error(errors.__getitem__, 11, every=True) == 9
    assert least_error(errors.__getitem__, 11, every=False) == 3  # the least of even places is 4
    tried = []
    least_error(lambda place: tried.append(place) or errors[place], 11, every=False)
    assert sorted(tried) == [0, 2, 3, 4, 5, 6, 8, 10]
    assert least_error([np.nan, np.inf, 3, 4].__getitem__, 4, every=True) == 2


@pytest.mark.parametrize("fewer", [0, 20])
def test_words_of_so_many_sides_that_pairs_are_sparse_are_the_same(world, monkeypatch, fewer):
    from daskksvd.naming.tokens import pairs, sums

    codes, captions, _ = world
    encodings = encodings_of(captions, Bag()) + 0.3 * np.random.default_rng(10).normal(size=(600, 24))
    codes = codes.copy()
    codes.data[codes.indices == 3] = abs(codes.data[codes.indices == 3])  # a side that is never used
    how = {"encodings": encodings, "vocabulary": WORDS, "n_slots": 2, "random_state": 0}
    dense = [map_tokens(codes, None, Bag(), **how, **more) for more in ({}, {"n_words": 2})]
    monkeypatch.setattr(sums, "DENSE_SIDES", 20)
    monkeypatch.setattr(pairs, "DENSE_SIDES", 20 + fewer)  # of which all that are used fit, or not
    sparse = [map_tokens(codes, None, Bag(), **how, **more) for more in ({}, {"n_words": 2})]
    for one, other in zip(dense, sparse, strict=True):
        assert (one.word.values == other.word.values).all() and one.attrs["ridge"] == other.attrs["ridge"]
        np.testing.assert_allclose(one.weight, other.weight, atol=1e-9)
    start = np.random.default_rng(3).integers(len(WORDS), size=24)
    found = [centred_world(world)]
    monkeypatch.undo()
    found.append(centred_world(world))
    chosen = [descend(of, words, start) for of, words in found]
    assert type(found[0][0].pairs) is not type(found[1][0].pairs)
    np.testing.assert_array_equal(chosen[0].word, chosen[1].word)
    np.testing.assert_allclose(chosen[0].losses, chosen[1].losses, rtol=1e-9)


def test_text_vectors_have_the_same_bits_for_any_threads():
    from threadpoolctl import threadpool_limits

    sums = two_parts()
    many = text_vectors(*sums)
    with threadpool_limits(1, user_api="blas"):
        one = text_vectors(*sums)
    np.testing.assert_array_equal(many.vectors, one.vectors)
    assert many.ridge == one.ridge


def test_weights_are_a_non_negative_pursuit():
    from scipy.optimize import nnls

    rng = np.random.default_rng(5)
    words = rng.normal(size=(30, 12))
    units = words / np.linalg.norm(words, axis=1, keepdims=True)
    vectors = rng.normal(size=(20, 12))
    word, weight = weigh(vectors, words, 4)
    for vector, numbers, weights in zip(vectors, word, weight, strict=True):
        support, left = [], vector
        for _ in range(4):
            scores = units @ left
            scores[support] = -np.inf
            support.append(int(scores.argmax()))
            found = nnls(units[support].T, vector)[0]
            left = vector - found @ units[support]
        expected = {number: value for number, value in zip(support, found, strict=True) if value > 0}
        assert set(numbers[numbers >= 0]) == set(expected)
        for number, value in zip(numbers, weights, strict=True):
            assert number < 0 or np.isclose(expected[number], value, rtol=1e-5)
        assert (np.diff(weights) <= 0).all()
