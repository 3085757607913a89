"""What prompts of words of atoms say of captions: held-out figures through a text encoder."""

import numpy as np
import pytest
import scipy.sparse as sp
from small_words import WORDS, Bag, encodings_of, sides_of, worded_samples

import daskksvd
from daskksvd.evaluation.diagram import MAPPING, SHUFFLED
from daskksvd.naming import map_tokens
from daskksvd.naming.tokens.mapping import make_mapping, ranked_words, weights_of, word_lists


@pytest.fixture(scope="module")
def world():
    return worded_samples()


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
    turned = np.linalg.qr(np.random.default_rng(2).normal(size=(24, 24)))[0]
    table = daskksvd.faithfulness(
        mapping,
        codes,
        captions,
        encoder=Bag(),
        vocabulary=WORDS,
        embeddings=sides_of(codes) @ turned + 3,  # which say what codes say, in features of any sign
        train=np.arange(300),
        n_resamples=20,
        random_state=0,
    )
    r2 = table.r2.to_series()
    assert r2[MAPPING] > 0.5 and r2[SHUFFLED] < 0.1
    assert r2["mean caption"] == r2["most frequent words"] == 0
    assert abs(r2["ridge on embeddings"] - r2["ridge on codes"]) < 0.02 and r2["ridge on codes"] > 0.5
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
