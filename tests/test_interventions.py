"""What turning atoms changes, against loops over samples, and on a world where the answer is known."""

import numpy as np
import pandas as pd
import pytest
from numpy.testing import assert_allclose
from sklearn.metrics import roc_auc_score

import daskksvd
from daskksvd.evaluation import InterventionEffect, intervention_effect, turned_texts
from daskksvd.fitting.result import Result

N, C, D = 400, 6, 16
NAMES = ["red", "blue", "dog", "cat", "sea", "sky"]
GROUPS = {"red": "colour", "blue": "colour", "dog": "animal", "cat": "animal", "sea": "place", "sky": "place"}


@pytest.fixture(scope="module")
def world():
    """Samples that are sums of the directions of their concepts, each an atom of its own."""
    rng = np.random.default_rng(0)
    basis = np.linalg.qr(rng.standard_normal((D, D)))[0]
    truth = rng.random((N, C)) < 0.4
    weights = np.hstack(
        [truth * rng.uniform(1, 2, (N, C)), rng.uniform(0.5, 1, (N, 4)) * (rng.random((N, 4)) < 0.7)]
    )
    rows = weights @ basis[: C + 4] + 0.01 * rng.standard_normal((N, D))
    fit = daskksvd.fit(rows, n_components=D, n_nonzero_coefs=8, max_passes=1, random_state=0, n_threads=1)
    result = Result(basis, fit.coder.transform, fit.coder.target, fit.history, "max_passes", fit.settings)
    return rows, truth, result, dict(zip(NAMES, basis[:C], strict=True))


@pytest.fixture(scope="module")
def effect(world):
    rows, truth, result, texts = world
    atoms = {"red": [0], "dog": [2], "sky": []}
    return intervention_effect(
        result, rows, texts, atoms, truth=truth, groups=GROUPS, n_controls=2, n_resamples=50, random_state=1
    )


def test_only_the_concept_of_the_atom_goes(effect):
    assert isinstance(effect, InterventionEffect)
    assert set(effect.table.index) == {(c, w) for c in ("red", "dog") for w in effect.means.index}
    for concept in ("red", "dog"):
        own, others, anywhere = (effect.table.loc[concept, way] for way in effect.means.index)
        assert own.target < -1 and own.target_low <= own.target <= own.target_high
        assert own.auroc_before > 0.99 and abs(own.auroc_after - 0.5) < 0.25
        assert own.others < 0.25 * -own.target
        assert abs(others.target) < 0.4 * -own.target and others.auroc_after > 0.95
        assert abs(anywhere.target) < 0.4 * -own.target and anywhere.auroc_after > 0.95
    assert effect.changes.loc["red"].idxmin() == "red" and effect.changes.columns.tolist() == NAMES
    assert "2 concepts, 400 samples, set 0" in repr(effect)
    assert isinstance(effect.means, pd.DataFrame)


def test_follows_the_definition(world, effect):
    rows, truth, result, texts = world
    vectors = np.array(list(texts.values()))
    vectors = vectors - vectors.mean(axis=0)
    after = result.intervene(rows, {0: 0.0})
    cosines = [
        np.array([[x @ t / np.linalg.norm(x) / np.linalg.norm(t) for t in vectors] for x in some])
        for some in (rows, after)
    ]
    moved = ((cosines[1] - cosines[0]) / cosines[0].std(axis=0))[truth[:, 0]].mean(axis=0)
    own = effect.table.loc["red", "its atoms"]
    assert_allclose(effect.changes.loc["red"], moved, atol=1e-6)
    assert_allclose(own.target, moved[0], atol=1e-6)
    assert_allclose(own.others, np.abs(moved[2:]).mean(), atol=1e-6)
    assert_allclose(own.rivals, moved[1], atol=1e-6)
    assert own.n_samples == truth[:, 0].sum() and own.n_atoms == 1
    for name, some in zip(("auroc_before", "auroc_after"), cosines, strict=True):
        assert_allclose(own[name], roc_auc_score(truth[:, 0], some[:, 0]), atol=1e-9)
    gained = [
        roc_auc_score(truth[:, c], cosines[1][:, c]) - roc_auc_score(truth[:, c], cosines[0][:, c])
        for c in range(1, C)
    ]
    assert_allclose(own.others_auroc, np.mean(gained), atol=1e-9)


def test_more_of_an_atom_is_more_of_its_concept(world):
    rows, _, result, texts = world
    found = intervention_effect(
        result, rows, texts, {"cat": [3]}, value=3.0, n_controls=1, random_state=0, rows=np.arange(N) < 200
    )
    own, others, _ = (found.table.loc["cat", way] for way in found.means.index)
    assert own.target > 0.5 > others.target and found.attrs["n_samples"] == 200


def test_texts_by_an_encoder(world):
    rows, _, result, texts = world
    encoder = lambda given: np.array([texts[text.split()[-1]] for text in given])  # noqa: E731
    said = {name: [f"a {name}", name] for name in NAMES}
    few = {"n_controls": 1, "random_state": 0}
    one = intervention_effect(result, rows, said, {"red": [0]}, encoder=encoder, **few)
    other = intervention_effect(result, rows, texts, {"red": [0]}, **few)
    assert_allclose(one.changes.values, other.changes.values, atol=1e-5)


def test_texts_before_and_after():
    before, after = np.array([[1.0, 0.1, 0.0]]), np.array([[0.0, 0.1, 1.0]])
    table = turned_texts(before, after, ["red", "green", "blue"], np.eye(3), top=2, scale=10.0)
    assert table.index.tolist() == [(0, 1), (0, 2)]
    assert table.before.tolist() == ["red", "green"] and table.after.tolist() == ["blue", "green"]
    cosines = before[0] / np.linalg.norm(before[0])
    assert_allclose(table.score_before, cosines[:2])
    assert_allclose(table.share_before, (np.exp(10 * cosines) / np.exp(10 * cosines).sum())[:2])
    with pytest.raises(ValueError, match="they must be n x d, n x d, t x d and t"):
        turned_texts(before, after, ["red"], np.eye(3))


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"atoms": {"pink": [0]}}, "atoms has 'pink', of which there are no texts"),
        ({"atoms": {"red": []}}, "atoms has no atom for any concept"),
        ({"atoms": {"red": [99]}}, "key 99; it must be an atom from 0 to 15"),
        ({"texts": {"red": np.ones(3)}}, "have 3 features; the dictionary was learned on 16"),
        ({"texts": {"red": ["red"]}}, "encoder was not given"),
        ({"truth": np.ones((N, 2), bool)}, "a column for each of the 6 concepts"),
        ({"truth": np.zeros((N, C), bool)}, "no concept with atoms is in 10 of the 400 samples"),
        ({"truth": np.ones((N + 1, C), bool)}, "a row for each of 400 samples"),
        ({"rows": [3, N]}, "rows has row 400; rows have the numbers 0 to 399"),
        ({"rows": [-1, 3]}, "rows has row -1"),
        ({"rows": np.ones(N - 1, bool)}, "it must be a boolean array of 400 entries"),
        ({"rows": np.zeros(N, bool)}, "rows has no samples"),
        ({"n_samples": 2}, "n_samples=2; it must be at least 10"),
    ],
)
def test_refusals(world, change, said):
    rows, _, result, texts = world
    with pytest.raises(ValueError, match=said):
        intervention_effect(result, rows, **{"texts": texts, "atoms": {"red": [0]}} | change)
