"""Words read off from codes, against slow references, other libraries and planted worlds."""

import dask.array as da
import numpy as np
import pandas as pd
import pytest
import scipy.sparse as sp
import xarray as xr
import zarr
from hypothesis import given
from hypothesis import strategies as st
from numpy.testing import assert_allclose, assert_array_equal
from sklearn.linear_model import Ridge
from sklearn.metrics import ndcg_score
from worlds import as_captions, named_world

import daskksvd
from daskksvd.evaluation import features
from daskksvd.evaluation.features import Dense, Sparse
from daskksvd.evaluation.ranking import group_sums, rank_scores, top_words
from daskksvd.evaluation.readout import (
    EVIDENCE_SMOOTHING,
    EVIDENCE_Z2,
    Adding,
    add_moments,
    added,
    evidence,
    fit_pairs,
    fit_ridge,
    ridge_moments,
    ridge_path,
)
from daskksvd.evaluation.word_prediction import faithfulness

FAST = {"n_resamples": 20, "random_state": 0, "ks": (1, 3)}


def precision(table, readout, k=3):
    return float(table.precision.sel(readout=readout, k=k))


# ---------------------------------------------------------------- measures


@given(st.integers(0, 10_000))
def test_ranking_measures_are_those_of_a_slow_reference(seed):
    rng = np.random.default_rng(seed)
    n, v = rng.integers(1, 6), rng.integers(1, 9)
    k = int(rng.integers(1, v + 1))
    scores = rng.integers(0, 4, (n, v)).astype(float)  # with ties
    gains = rng.choice([0, 0, 0.4, 1.0], (n, v))
    ranked = top_words(scores, k)
    found = rank_scores(ranked, sp.csr_matrix(gains), [1, k])
    for row in range(n):
        order = sorted(range(v), key=lambda word, row=row: (-scores[row, word], word))
        assert ranked[row].tolist() == order[:k]
        true = gains[row] > 0
        for position, length in enumerate([1, k]):
            values = found[:, position, row]
            if not true.any():
                assert np.isnan(values).all()
                continue
            hits = sum(true[word] for word in order[:length])
            got = sum(gains[row, w] / np.log2(place + 2) for place, w in enumerate(order[:length]))
            best = sorted(gains[row], reverse=True)[:length]
            ideal = sum(gain / np.log2(place + 2) for place, gain in enumerate(best))
            assert_allclose(values, [hits / length, hits / true.sum(), got / ideal])


def test_ndcg_is_that_of_scikit_learn():
    rng = np.random.default_rng(0)
    scores, gains = rng.random((40, 12)), rng.choice([0, 0.2, 1.0], (40, 12))
    for k in (1, 5, 12):
        ours = rank_scores(top_words(scores, k), sp.csr_matrix(gains), [k])[2, 0]
        assert_allclose(np.nanmean(ours), ndcg_score(gains, scores, k=k), atol=1e-12)


def test_words_that_were_not_ranked_count_as_wrong():
    truth = sp.csr_matrix(np.array([[1.0, 0, 1]]))
    assert rank_scores(np.array([[0, -1]]), truth, [2])[:, 0, 0].tolist()[:2] == [0.5, 0.5]


def test_grouped_sums_keep_means():
    values = np.random.default_rng(0).random((2, 1000))
    values[0, ::3] = np.nan
    sums, counts = group_sums(values, 16)
    assert sums.shape == (2, 16)
    assert_allclose(sums.sum(axis=1) / counts.sum(axis=1), np.nanmean(values, axis=1))


# ----------------------------------------------------------------- models


@pytest.mark.parametrize("offset", [0, 1e3, 1e6])
def test_moments_of_features_far_from_zero_are_those_of_centred_ones(offset):
    rng = np.random.default_rng(0)
    features = rng.standard_normal((600, 5)) + offset * rng.uniform(0.5, 1, 5)
    words = sp.csr_matrix(rng.random((600, 3)) < 0.3).astype(float)
    part = rng.random(600) < 0.5
    rows = Dense(da.from_array(features, chunks=(100, 5)))
    sums = add_moments(*ridge_moments(rows, words, [part, ~part]))
    x, y, xx, xy = sums.centred()
    differences = features - features.mean(axis=0)
    assert_allclose(x, features.mean(axis=0), rtol=1e-14)
    assert_allclose(y, np.asarray(words.mean(axis=0)).ravel(), rtol=1e-12)
    assert_allclose(xx, differences.T @ differences, atol=1e-6)
    assert_allclose(xy, differences.T @ words.toarray(), atol=1e-6)


def test_ridge_is_that_of_scikit_learn(monkeypatch):
    monkeypatch.setattr(features, "READ_ROWS", 7)  # several blocks
    codes, words = named_world(n=200)
    part = np.arange(200) < 150
    (moments,) = ridge_moments(Sparse(codes), words, [part])
    dense, targets = codes.toarray()[part], words.toarray()[part]
    unit = ((dense - dense.mean(axis=0)) ** 2).sum() / dense.shape[1]
    (model,) = ridge_path(moments, [0.3])
    theirs = Ridge(alpha=0.3 * unit).fit(dense, targets)
    assert_allclose(model.weights, theirs.coef_.T, atol=1e-10)
    assert_allclose(model.scores(codes), theirs.predict(codes.toarray()), atol=1e-10)
    # drawn to a prior: the residual of it is regressed
    prior = np.random.default_rng(0).standard_normal(model.weights.shape)
    (drawn,) = ridge_path(moments, [0.3], prior)
    rest = Ridge(alpha=0.3 * unit).fit(dense, targets - dense @ prior)
    assert_allclose(drawn.weights, prior + rest.coef_.T, atol=1e-10)


def test_pairs_are_fitted_word_by_word():
    codes, words = named_world(n=300)
    rng = np.random.default_rng(0)
    pairs = rng.random((12, 20)) < 0.2
    fit, check = np.arange(300) < 200, np.arange(300) >= 200
    model = fit_pairs(sp.csr_matrix(pairs), Sparse(codes), words, fit, check)
    dense, targets = codes.toarray(), words.toarray()
    unit = ((dense - dense.mean(axis=0)) ** 2).sum() / 12
    for word in range(20):
        chosen = np.flatnonzero(pairs[:, word])
        weights = np.zeros(12)
        if len(chosen):
            weights[chosen] = Ridge(alpha=model.strength * unit).fit(dense[:, chosen], targets[:, word]).coef_
        assert_allclose(model.weights.toarray()[:, word], weights, atol=1e-9)


def test_evidence_is_that_of_a_slow_reference():
    rng = np.random.default_rng(0)
    n = 50
    words, used = rng.random((n, 4)) < 0.4, rng.random((n, 3)) < 0.3
    found = evidence(words.T.astype(float) @ used, words.sum(axis=0), used.sum(axis=0), n)
    for w in range(4):
        for a in range(3):
            rate = (used[:, a].sum() + 0.5) / (n + 1)
            odds = []
            for has in (words[:, w], ~words[:, w]):
                both = (has & used[:, a]).sum() + EVIDENCE_SMOOTHING * rate
                odds.append(both / (has.sum() + EVIDENCE_SMOOTHING))
            share, joint = words[:, w].mean(), (words[:, w] & used[:, a]).sum()
            z2 = (joint - n * share * rate) ** 2 / (n * share * (1 - share) * rate * (1 - rate))
            expected = np.log(odds[0] / odds[1]) * z2 / (z2 + EVIDENCE_Z2)
            assert found[w, a] == pytest.approx(expected)


def test_added_evidence_is_taken_from_its_mean():
    rng = np.random.default_rng(0)
    codes, weights, prior = rng.random((9, 3)), rng.random((3, 4)), rng.random(4)
    model = added(weights, prior, codes.mean(axis=0), Adding(0.7, 1.0))
    product = codes @ weights
    assert_allclose(model.scores(codes), prior + 0.7 * (product - product.mean(axis=0)))


# ------------------------------------------------------------ the whole thing


@pytest.fixture(scope="module")
def world():
    codes, words = named_world(n=1200, v=30, noise=0.03)
    rng = np.random.default_rng(1)
    decoder = rng.standard_normal((12, 16))
    return codes, words, codes @ decoder + 0.1 * rng.standard_normal((1200, 16)), decoder


def test_true_names_predict_captions_and_shuffled_ones_do_not(world):
    codes, words, embeddings, decoder = world
    table = faithfulness(None, codes, words, embeddings=embeddings, decoder=decoder, top=1, **FAST)
    best, chance = precision(table, "labels and prior"), precision(table, "most frequent words")
    assert best > 0.9 and chance < 0.5
    assert abs(precision(table, "shuffled labels") - chance) < 0.1
    assert precision(table, "union of words") > 0.8
    for readout in (
        "naive Bayes on codes",
        "ridge on codes",
        "labels, weights fitted",
        "ridge on embeddings",
    ):
        assert precision(table, readout) > 0.9
    assert precision(table, "ridge on codes, drawn to the decoder") > 0.9
    assert table.share_of_ceiling.sel(readout="ridge on embeddings").values.tolist() == [1, 1]
    assert (table.precision_low <= table.precision).all() and (table.precision <= table.precision_high).all()
    assert (table.recall.diff("k") >= 0).all()
    assert table.attrs["m"] == 12 and table.attrs["n_pairs"] == 12
    said = table.attrs["summary"]
    assert "precision at 3 as a share" in said and "m=12" in said and "600 held-out samples" in said


def test_every_form_of_a_mapping_gives_the_same_number(world):
    codes, words, *_ = world
    names = np.array([f"word{number}" for number in range(30)], object)
    weights = np.zeros((12, 30))
    weights[np.arange(12), np.arange(12)] = 2.0
    rows = np.random.default_rng(0).permutation(12)
    forms = {
        "array": weights,
        "sparse": sp.csr_matrix(weights),
        "DataFrame": pd.DataFrame(weights[rows], index=rows, columns=names).iloc[:, ::-1],
        "DataArray": xr.DataArray(
            weights.T, dims=("word", "atom"), coords={"word": names, "atom": range(12)}
        ),
        "dict": {j: {f"word{j}": 2.0} for j in range(12)},
    }
    tables = {
        kind: faithfulness(form, codes, words, vocabulary=names, **FAST) for kind, form in forms.items()
    }
    for table in tables.values():
        xr.testing.assert_identical(table, tables["array"])
    words_alone = faithfulness({j: f"word{j}" for j in range(12)}, codes, words, vocabulary=names, **FAST)
    lists = faithfulness({j: [f"word{j}"] for j in range(12)}, codes, words, vocabulary=names, **FAST)
    xr.testing.assert_identical(words_alone, lists)
    assert precision(lists, "labels and prior") > 0.9


def test_columns_of_a_matrix_follow_the_vocabulary_given():
    codes, words = named_world(n=900, m=8, v=8, noise=0.02)
    names = ["boats", "dog", "river", "cat", "snow", "tree", "ball", "house"]  # counted in their base forms
    captions = as_captions(words, names)
    weights = np.eye(8) * 2
    by_name = {j: {name.removesuffix("s"): 2.0} for j, name in enumerate(names)}
    one, other = (
        faithfulness(mapping, codes, captions, vocabulary=names, **FAST) for mapping in (weights, by_name)
    )
    assert_array_equal(one.precision, other.precision)
    assert precision(one, "labels and prior") > 0.9
    with pytest.raises(ValueError, match="vocabulary has 'dog' twice, perhaps in two forms"):
        faithfulness(weights, codes, captions, vocabulary=["dog", "dogs", *names[2:]])


def test_a_wrong_mapping_scores_less_than_the_right_one(world):
    codes, words, *_ = world
    names = [f"word{number}" for number in range(30)]
    right = {j: names[j] for j in range(12)}
    half = {j: names[j if j < 6 else 6 + (j + 1) % 6] for j in range(12)}
    unknown = {**right, **dict.fromkeys(range(5), "unheard-of")}
    found = [
        faithfulness(mapping, codes, words, vocabulary=names, **FAST) for mapping in (right, unknown, half)
    ]
    scores = [precision(table, "labels and prior") for table in found]
    assert scores[0] > max(scores[1:]) + 0.05
    assert [table.attrs["n_unknown_words"] for table in found] == [0, 5, 0]
    # what needs no mapping is the same for all
    for readout in ("most frequent words", "naive Bayes on codes", "ridge on codes"):
        assert len({precision(table, readout) for table in found}) == 1


def test_labels_are_a_mapping():
    codes, words = named_world(n=1200)
    names = "dog cat tree house boat river child ball hat snow road horse bird fish bench grass window table"
    names = [*names.split(), "shoe", "train"]
    captions = as_captions(words, names)
    train = np.arange(600)
    labels = daskksvd.label(codes[:600], captions[:600], vocabulary=names)
    table = daskksvd.faithfulness(labels, codes, captions, vocabulary=names, train=train, top=1, **FAST)
    chosen = daskksvd.faithfulness(None, codes, captions, vocabulary=names, train=train, top=1, **FAST)
    assert_array_equal(table.precision, chosen.precision)
    assert precision(table, "labels and prior") > 0.85


def test_embeddings_of_any_kind_and_chunking(world, tmp_path, monkeypatch):
    codes, words, embeddings, _ = world
    store = zarr.create_array(
        tmp_path / "rows.zarr", shape=embeddings.shape, chunks=(100, 16), dtype="float64"
    )
    store[:] = embeddings
    np.save(tmp_path / "rows.npy", embeddings)
    train = np.arange(700)
    expected = faithfulness(None, codes, words, embeddings=embeddings, train=train, **FAST)
    monkeypatch.setattr(features, "READ_ROWS", 250)
    for given_rows in (
        da.from_array(embeddings, chunks=(70, 16)),
        str(tmp_path / "rows.zarr"),
        tmp_path / "rows.npy",
    ):
        table = faithfulness(None, codes, words, embeddings=given_rows, train=train, **FAST)
        xr.testing.assert_allclose(table, expected)


def test_rows_are_taken_across_chunks(monkeypatch):
    monkeypatch.setattr(features, "READ_ROWS", 4)
    array = np.arange(60.0).reshape(30, 2)
    rows = np.array([0, 3, 9, 10, 11, 12, 13, 14, 29])
    blocks = list(Dense(da.from_array(array, chunks=(10, 2))).take(rows).blocks())
    assert_array_equal(np.concatenate([block for _, block in blocks]), array[rows])
    assert [place for place, _ in blocks] == [0, 3, 7, 8]


def test_one_caption_is_compared_with_the_others():
    names = ["dog", "cat", "tree", "house", "boat", "river", "child", "ball"]
    rng = np.random.default_rng(0)
    said = [[names[j] for j in rng.choice(8, 2, replace=False)] for _ in range(200)]
    captions = [[" ".join(pair), " ".join(pair[::-1])] for pair in said]
    codes = sp.csr_matrix(np.array([[name in pair for name in names] for pair in said], float))
    table = faithfulness(None, codes, captions, vocabulary=names, ks=(1, 2, 4), n_resamples=0, random_state=0)
    human = table.sel(readout="one caption against the others")
    assert human.precision.values.tolist() == [1, 1, 0.5] and human.recall.values.tolist() == [0.5, 1, 1]
    alone = faithfulness(None, codes, [pair[0] for pair in captions], vocabulary=names, ks=2, n_resamples=0)
    assert "one caption against the others" not in alone.readout


def test_share_of_captions_counts_as_gain(world):
    codes, words, *_ = world
    shares = words * 0.5
    table = faithfulness(None, codes, shares, **FAST)
    whole = faithfulness(None, codes, words, **FAST)
    assert precision(table, "naive Bayes on codes") == precision(whole, "naive Bayes on codes")


@pytest.mark.parametrize(
    "changes, message",
    [
        ({"ks": (0,)}, r"ks=\(0,\)"),
        ({"ks": (1, 99)}, r"at most the \d+ words"),
        ({"top": 0}, "top=0"),
        ({"embeddings": np.ones((3, 2))}, "embeddings has 3 rows; codes has 1200"),
        ({"decoder": np.ones((12, 2))}, "decoder was given without embeddings"),
        ({"embeddings": np.ones((1200, 4)), "decoder": np.ones((12, 2))}, r"decoder has shape \(12, 2\)"),
    ],
)
def test_bad_arguments_are_named(world, changes, message):
    with pytest.raises(ValueError, match=message):
        faithfulness(None, world[0], world[1], **changes)


@pytest.mark.parametrize(
    "mapping, error, message",
    [
        (7, TypeError, "mapping is a int"),
        (np.ones((3, 3)), ValueError, r"mapping has shape \(3, 3\); it must be 12 x 30"),
        ({99: "a"}, ValueError, "mapping has an atom 99"),
        ({0: {"a": "b"}}, TypeError, r"mapping\[0\]"),
        ({0: {"0": np.nan}}, ValueError, "NaN or infinite weights"),
        (xr.Dataset(), ValueError, "Dataset without"),
        (xr.DataArray(np.ones((2, 2))), ValueError, "they must be atom and word"),
    ],
)
def test_bad_mappings_are_named(world, mapping, error, message):
    with pytest.raises(error, match=message):
        faithfulness(mapping, world[0], world[1])


def test_embeddings_with_nan_are_named(world):
    codes, words, embeddings, _ = world
    bad = embeddings.copy()
    bad[77, 3] = np.nan
    with pytest.raises(ValueError, match=r"NaN or infinite values \(row 77\)"):
        faithfulness(None, codes, words, embeddings=bad)


def test_the_penalty_is_chosen_on_samples_not_fitted():
    """With more noise features than samples the smallest penalty would fit best and rank worst."""
    rng = np.random.default_rng(0)
    rows = rng.standard_normal((240, 150))
    words = sp.csr_matrix((rows[:, :5] + 0.3 * rng.standard_normal((240, 5)) > 0.5).astype(float))
    fit, check = np.arange(240) < 160, np.arange(240) >= 160
    assert fit_ridge(Dense(rows), words, fit, check).model.strength > 0.05
