"""Real features and captions: names that hold on other samples, codes that say what captions say.

Dictionary, vocabulary, names and read-outs come from one half of the images,
all scores from the other.
"""

import numpy as np
import pytest
from real import CAPTIONS, FEATURES

import daskksvd
from daskksvd.captions.words.tokens import Tokenizer
from daskksvd.evaluation.baselines import baseline_codes
from daskksvd.evaluation.scores import score_labels
from daskksvd.evaluation.stability import compare_fits
from daskksvd.evaluation.word_prediction import faithfulness

pytestmark = pytest.mark.skipif(
    not (FEATURES.exists() and CAPTIONS.exists()),
    reason=f"there is no {FEATURES.name} in {FEATURES.parent}; DASKKSVD_TEST_DATA may name its folder",
)


@pytest.fixture(scope="module")
def data():
    features = np.load(FEATURES)
    train = np.zeros(len(features), bool)
    train[np.random.default_rng(0).permutation(len(features))[: len(features) // 2]] = True
    return features, train, Tokenizer()


def fit(features, train, m, k, seed=0):
    settings = {"n_components": m, "n_nonzero_coefs": k, "whiten": 0.25, "random_state": seed, "n_threads": 2}
    return daskksvd.fit(features[train], **settings)


@pytest.mark.parametrize("m, k, share, effect", [(128, 5, 0.75, 0.08), (256, 10, 0.55, 0.05)])
def test_names_hold_on_other_images(data, m, k, share, effect):
    features, train, tokenizer = data
    result = fit(features, train, m, k)
    others = baseline_codes(result, features, methods=["random directions"], train=train, random_state=0)
    scores = score_labels(
        result.encode(features),
        str(CAPTIONS),
        tokenizer=tokenizer,
        train=train,
        baselines=others,
        n_permutations=20,
        n_resamples=20,
        random_state=0,
    )
    assert scores.attrs["n_train"] == 3028 and scores.attrs["n_test"] == 3029
    assert float(scores.share_significant[0]) >= share
    assert float(scores.chance_share) <= 0.01
    assert float(scores.share_significant[0]) > float(scores.share_significant[1]) + 0.2
    assert float(scores.median_correlation[0]) > effect > float(scores.median_correlation[1])
    assert "snow" in scores.word.values and "dog" in scores.word.values


def test_codes_say_what_captions_say(data):
    features, train, tokenizer = data
    result = fit(features, train, 256, 10)
    table = faithfulness(
        None,
        result.encode(features),
        str(CAPTIONS),
        embeddings=features,
        decoder=result.decoder,
        tokenizer=tokenizer,
        train=train,
        n_resamples=20,
        random_state=0,
    )
    share = table.share_of_ceiling.sel(k=5).to_series()
    assert share["labels and prior"] >= 0.70
    assert share["naive Bayes on codes"] >= 0.80
    assert share["ridge on codes"] >= 0.87
    assert share["ridge on codes, drawn to the decoder"] >= 0.88
    assert (
        share["most frequent words"] < 0.55
        and abs(share["shuffled labels"] - share["most frequent words"]) < 0.02
    )
    assert float(table.precision.sel(readout="ridge on embeddings", k=5)) > 0.48
    assert float(table.precision.sel(readout="one caption against the others", k=5)) > 0.5


def test_two_seeds_agree_in_part(data):
    features, train, tokenizer = data
    fits = [fit(features, train, 128, 5, seed) for seed in (0, 1)]
    names = [
        score_labels(
            result.encode(features),
            str(CAPTIONS),
            tokenizer=tokenizer,
            train=train,
            n_permutations=0,
            n_resamples=0,
            random_state=0,
        )
        for result in fits
    ]
    agreement = compare_fits(*fits, first_names=names[0], second_names=names[1]).attrs
    assert agreement["median_cosine"] > 0.45
    assert agreement["share_same_word_of_same_atoms"] > agreement["share_same_word"] > 0.15
