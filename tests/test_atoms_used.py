"""Monosemanticity, retrieval and classification by codes, against loops and scikit-learn."""

import dask.array as da
import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal
from sklearn.linear_model import LogisticRegression

import daskksvd
from daskksvd.evaluation import concept_bottleneck, monosemanticity, retrieval

N, D, M = 400, 16, 24


@pytest.fixture(scope="module")
def world():
    planted = daskksvd.datasets.make_planted(N, D, M, 3, random_state=0)
    rows = planted.array.compute().astype(np.float32)
    result = daskksvd.fit(rows, n_components=M, n_nonzero_coefs=3, max_passes=3, random_state=0, n_threads=1)
    lazy = result.encode(da.from_array(rows, chunks=(90, D)))
    return rows, result, lazy, lazy.compute(scheduler="synchronous").todense().astype(float)


def sides_of(codes):
    return np.hstack([np.maximum(codes, 0), np.maximum(-codes, 0)])


def unit(x):
    return x / np.maximum(np.linalg.norm(x, axis=1, keepdims=True), 1e-12)


def test_monosemanticity_is_the_weighted_mean_over_pairs(world):
    _, _, lazy, codes = world
    judge = np.random.default_rng(0).standard_normal((N, 5)) + codes[:, :5] * 2 + 3
    found = monosemanticity(lazy, judge, others={"same": codes})
    vectors = unit(judge - judge.mean(axis=0))
    near = vectors @ vectors.T
    np.fill_diagonal(near, 0)
    assert_allclose(found.chance, near.sum() / (N * (N - 1)), atol=1e-10)
    sides = sides_of(codes)
    for (atom, side), row in found.table.loc["atoms"].iterrows():
        a = sides[:, atom if side > 0 else M + atom]
        pairs = np.outer(a, a)
        np.fill_diagonal(pairs, 0)
        assert_allclose(row.score, (pairs * near).sum() / pairs.sum(), atol=1e-6)
        assert row.uses == (a > 0).sum() >= 10
    assert_allclose(found.table.loc["same"].score, found.table.loc["atoms"].score, atol=1e-6)
    own = found.table.loc["atoms"].query("atom < 5 and side == 1").score.mean()
    assert own > found.means.score["atoms"] > found.chance and "chance" in repr(found)


def test_nearest_samples(world):
    rows, result, lazy, codes = world
    labels = codes[:, :8] > 0
    among = np.arange(100, N)
    found = retrieval(
        lazy, labels, embeddings=rows, result=result, rows=among, top=5, n_queries=30, random_state=0
    )
    centred = rows - rows[among].mean(axis=0, dtype=float)
    for kind, x in (("atoms", sides_of(codes)), ("embeddings", centred)):
        near = unit(x) @ unit(x).T
        jaccard = []
        for query, nearest in zip(found.queries, found.nearest[kind], strict=True):
            scores = near[query].copy()
            scores[query] = scores[:100] = -np.inf
            assert_allclose(np.sort(scores)[::-1][:5], scores[nearest], atol=1e-6)
            for other in nearest:
                both, either = labels[query] & labels[other], labels[query] | labels[other]
                jaccard.append(both.sum() / max(either.sum(), 1))
        assert_allclose(found.table.jaccard[kind], np.mean(jaccard), atol=1e-12)
    assert found.table.jaccard["atoms"] > found.table.jaccard["any samples"]
    assert set(found.table.index) == {"atoms", "embeddings", "random directions", "any samples"}
    assert "30 queries, 5 of 300 samples" in repr(found)


def test_few_rows_of_many_ranges(monkeypatch):
    """As many are found as were asked for where every range has fewer; any samples are others, each once."""
    monkeypatch.setattr("daskksvd.evaluation.passes.PASS_ROWS", 20)
    codes = np.random.default_rng(0).standard_normal((200, 6))
    rows = np.arange(0, 200, 8)  # 2 or 3 of each range
    mask = np.isin(np.arange(200), rows)
    found, same = (
        retrieval(codes, codes > 0, rows=given, top=24, n_queries=9, random_state=0) for given in (rows, mask)
    )
    for kind, nearest in found.nearest.items():
        assert_array_equal(same.nearest[kind], nearest)
        for query, others in zip(found.queries, nearest, strict=True):
            assert_array_equal(np.sort(others), rows[rows != query])


def test_classes_by_codes(world):
    rows, result, lazy, codes = world
    classes = np.array(["many", "none", "one"])[(codes[:, 3] != 0) * 2 - (codes[:, 5] != 0) * 1]
    train = np.arange(N) % 2 == 0
    words = [f"atom{number}" for number in range(M)]
    found = concept_bottleneck(
        lazy, classes, words=words, embeddings=rows, result=result, train=train, random_state=0
    )
    for kind, x in (("atoms", sides_of(codes)), ("embeddings", rows.astype(float))):
        mean = 0 if kind == "atoms" else x[train].mean(axis=0)
        std = np.sqrt(((x[train] - mean) ** 2).mean(axis=0))
        x = (x - mean) / np.where(std > 0, std, 1)
        model = LogisticRegression(max_iter=500).fit(x[train], classes[train])
        assert_allclose(found.table.accuracy[kind], model.score(x[~train], classes[~train]), atol=0.011)
    assert found.table.accuracy["atoms"] > found.table.accuracy["most frequent class"]
    assert found.classes == sorted(set(classes)) and found.weights.shape == (2 * M, 3)
    assert set(found.reasons.loc[found.classes[0]].name) <= set(words)
    assert {3, 5} <= set(found.reasons.atom) and "3 classes" in repr(found)
    scores = sides_of(codes) @ found.weights + found.intercept
    told = np.array(found.classes)[scores.argmax(axis=1)]
    assert_allclose((told == classes)[~train].mean(), found.table.accuracy["atoms"], atol=0.011)


def test_two_classes(world):
    _, _, lazy, codes = world
    found = concept_bottleneck(lazy, codes[:, 3] > 0, random_state=0)
    assert found.classes == ["False", "True"] and found.table.accuracy["atoms"] > 0.95
    assert_array_equal(found.reasons.loc["True"].iloc[0][["atom", "side"]].astype(int), [3, 1])


@pytest.mark.parametrize(
    ("call", "said"),
    [
        (lambda rows, codes: monosemanticity(codes, rows[:9]), "embeddings has 9 rows; codes has 400"),
        (lambda rows, codes: monosemanticity(0 * codes, rows), "no atom with a side that 10 samples use"),
        (
            lambda rows, codes: retrieval(codes, codes > 0, rows=[1, 2]),
            "rows has 2 samples; it must",
        ),
        (lambda rows, codes: retrieval(codes, codes > 0, rows=[1, N]), "rows has row 400; rows have the"),
        (lambda rows, codes: retrieval(codes, codes > 0, rows=[-1, 5]), "rows has row -1; rows have the"),
        (
            lambda rows, codes: retrieval(codes, codes > 0, rows=codes[1:, 0] > 0),
            "shape .399,.; it must be a",
        ),
        (lambda rows, codes: monosemanticity(codes, rows, others={"embeddings": codes}), "which is taken"),
        (lambda rows, codes: retrieval(codes, codes, others={"any samples": codes}), "which is taken"),
        (
            lambda rows, codes: concept_bottleneck(
                codes, rows[:, 0] > 0, others={"most frequent class": codes}
            ),
            "which is taken",
        ),
        (lambda rows, codes: concept_bottleneck(codes, codes[:, 0] > 0, top=-1), "top=-1; it must be"),
        (lambda rows, codes: concept_bottleneck(codes, np.zeros(N)), "classes has one class among"),
        (lambda rows, codes: concept_bottleneck(codes, codes), "it must be one class a sample"),
        (lambda rows, codes: concept_bottleneck(codes, codes[:, 0] > 0, words=["a"]), "words has 1 names"),
    ],
)
def test_refusals(world, call, said):
    rows, _, _, codes = world
    with pytest.raises(ValueError, match=said):
        call(rows, codes)
