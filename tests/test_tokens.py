"""Words of atoms by a text encoder, against slow references and planted words."""

import itertools
import json

import numpy as np
import pytest
import scipy.sparse as sp

import daskksvd
from daskksvd.coding.nonzeros import open_code_rows
from daskksvd.evaluation.diagram import MAPPING, SHUFFLED
from daskksvd.naming import map_tokens
from daskksvd.naming.tokens.descent import best_words, descend, text_vectors, weigh
from daskksvd.naming.tokens.mapping import make_mapping, ranked_words, weights_of, word_lists
from daskksvd.naming.tokens.prompts import LISTED, Template, check_templates, encode_prompts
from daskksvd.naming.tokens.sums import Prediction, add_sums, strongest, sum_up, sum_up_parts

WORDS = [f"{a}{b}{c}ub" for a in "bdfgk" for b in "aeiou" for c in "lmnr"]


class Bag:
    """An encoder: each word a random direction, a text the sum of its words."""

    def __init__(self, e=24, seed=0):
        rng = np.random.default_rng(seed)
        self.vectors = dict(zip(WORDS, rng.normal(size=(len(WORDS), e)), strict=True))
        self.base = rng.normal(size=e)

    def __call__(self, texts):
        return np.array(
            [
                self.base + sum(self.vectors.get(word.strip("-, "), 0 * self.base) for word in text.split())
                for text in texts
            ]
        )


@pytest.fixture(scope="module")
def world():
    """Samples whose captions say the word of each side that they use."""
    rng = np.random.default_rng(1)
    n, m, k = 600, 12, 3
    truth = rng.permutation(len(WORDS))[: 2 * m]
    atoms = np.array([rng.permutation(m)[:k] for _ in range(n)])
    signs = rng.choice([-1, 1], size=(n, k))
    values = signs * rng.uniform(1, 2, size=(n, k))
    codes = sp.csr_matrix((values.ravel(), (np.repeat(np.arange(n), k), atoms.ravel())), shape=(n, m))
    side = np.where(signs > 0, atoms, atoms + m)
    captions = [
        [" ".join(WORDS[truth[one]] for one in rng.permutation(row)), WORDS[truth[row[0]]]] for row in side
    ]
    return codes, captions, [WORDS[number] for number in truth]


def sides_of(codes):
    codes = codes.toarray()
    return np.hstack([np.maximum(codes, 0), np.maximum(-codes, 0)])


def encodings_of(captions, encoder):
    def unit(text):
        vector = encoder([text])[0]
        return vector / np.linalg.norm(vector)

    return np.array([np.mean([unit(text) for text in texts], axis=0) for texts in captions])


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


def centred_world(world):
    codes, captions, _ = world
    encodings = encodings_of(captions, Bag())
    sums = sum_up(open_code_rows(codes), encodings, n_slots=3).centred()
    words = Bag()([LISTED.prompt([word]) for word in WORDS])
    words /= np.linalg.norm(words, axis=1, keepdims=True)
    return sums, words - words.mean(axis=0)


def loss(sums, words, word, scale):
    vectors = words[word]
    power = np.vdot(sums.pairs @ vectors, vectors)
    return sums.energy - 2 * scale * np.vdot(sums.joint, vectors) + scale**2 * power


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


# ---------------------------------------------------------------- map_tokens


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


# -------------------------------------------------------- prompts of a mapping


def test_prompts_of_samples_list_the_words_of_largest_weight():
    word = np.array([[0, 1], [2, -1], [-1, -1], [1, 0]])
    weight = np.array([[1.0, 0.5], [2.0, 0], [0, 0], [1.0, 0.1]])
    mapping = make_mapping(["a", "b", "c"], word, weight, np.ones(4))
    weights, words = weights_of(mapping)
    sides = sp.csr_matrix([[1.0, 0.1, 0, 1], [0, 0, 5, 0]])
    # a: 1 + .1, b: .5 + 1, c: .2
    assert word_lists(ranked_words(sides, weights, 2), words) == [["b", "a"], []]


def test_the_diagram_commutes_for_planted_words_and_not_for_others(world):
    codes, captions, truth = world
    mapping = map_tokens(codes, captions, Bag(), vocabulary=WORDS, train=np.arange(300), random_state=0)
    table = daskksvd.faithfulness(
        mapping,
        codes,
        captions,
        encoder=Bag(),
        vocabulary=WORDS,
        embeddings=sides_of(codes),
        train=np.arange(300),
        n_resamples=20,
        random_state=0,
    )
    r2 = table.r2.to_series()
    assert r2[MAPPING] > 0.5 and r2[SHUFFLED] < 0.1
    assert r2["mean caption"] == r2["most frequent words"] == 0
    assert abs(float(table.median_rank.sel(way="mean caption")) - 150.5) <= 1
    assert (table.r2_low <= table.r2 + 1e-9).all() and (table.r2 <= table.r2_high + 1e-9).all()
    assert r2["another caption"] > 0 and "held-out samples" in table.attrs["summary"]
    labels = daskksvd.label(codes[:300], captions[:300], min_df=1)
    for other in (labels, {0: truth[0], 3: [truth[3]]}, None):
        found = daskksvd.faithfulness(
            other, codes, captions, encoder=Bag(), train=np.arange(300), n_resamples=0, random_state=0
        )
        assert ("words of atoms" in found.way) == (other is not None)


class Heard(Bag):
    """Keeps the texts that it was given."""

    def __init__(self):
        super().__init__()
        self.texts = []

    def __call__(self, texts):
        self.texts += texts
        return super().__call__(texts)


@pytest.mark.parametrize(
    "given, made_for, expected", [(None, 2, 2), (1, 2, 1), (3, 2, 3), (None, None, 3), (2, None, 2)]
)
def test_prompts_have_the_words_that_were_asked_or_that_words_were_chosen_for(
    world, given, made_for, expected
):
    codes, captions, truth = world
    word = np.arange(24)[:, None]
    mapping = make_mapping(truth, word, np.ones((24, 1)), np.ones(24), n_slots=made_for)
    encoder = Heard()
    how = {"encodings": encodings_of(captions, Bag()), "n_scored": 20, "n_resamples": 0, "random_state": 0}
    table = daskksvd.faithfulness(
        mapping, codes, None, encoder=encoder, vocabulary=truth, train=np.arange(300), n_slots=given, **how
    )
    assert table.attrs["n_slots"] == expected
    assert max(text.count("- ") for text in encoder.texts) == expected
    with pytest.raises(ValueError, match="n_slots=0"):
        daskksvd.faithfulness(mapping, codes, None, encoder=encoder, n_slots=0, **how)


def test_one_held_out_row_is_too_few(world):
    codes, captions, _ = world
    encodings = encodings_of(captions, Bag())
    how = {"encoder": Bag(), "encodings": encodings, "n_resamples": 5, "random_state": 0}
    with pytest.raises(ValueError, match="train leaves 1 rows with captions to score on; there must be two"):
        daskksvd.faithfulness(None, codes, None, train=np.arange(599), **how)
    table = daskksvd.faithfulness(None, codes, None, train=np.arange(598), **how)
    assert table.attrs["n_scored"] == 2 and np.isfinite(table.r2).all()


def test_r2_is_that_of_one_fitted_scale(world):
    from daskksvd.evaluation.diagram import _measures

    rng = np.random.default_rng(7)
    found, truth = rng.normal(size=(2, 50, 6))
    truth = truth + 0.5 * found
    r2, cosine, first, *_, median = _measures(found, truth, 0, rng)[:, 0]
    centred = found - found.mean(axis=0)
    scale = (centred * truth).sum() / (centred**2).sum()
    np.testing.assert_allclose(r2, 1 - ((truth - scale * centred) ** 2).sum() / (truth**2).sum())
    units = [rows / np.linalg.norm(rows, axis=1, keepdims=True) for rows in (centred, truth)]
    near = units[0] @ units[1].T
    ranks = (near > np.diag(near)[:, None]).sum(axis=1) + 1
    assert first == (ranks == 1).mean() and median == np.median(ranks)
    np.testing.assert_allclose(cosine, np.diag(near).mean())
