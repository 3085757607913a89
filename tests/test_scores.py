"""Scores of names: equal to other libraries, right about planted names, and about chance."""

import importlib
import json
import os
import pathlib
import subprocess
import sys

import numpy as np
import pandas as pd
import pytest
import scipy.sparse as sp
import scipy.stats
import xarray as xr
from hypothesis import given
from hypothesis import strategies as st
from numpy.testing import assert_allclose, assert_array_equal
from sklearn.metrics import f1_score, precision_score, recall_score, roc_auc_score
from worlds import as_captions, named_world

from daskksvd.captions.words.tokens import Tokenizer
from daskksvd.evaluation.scores import score_labels, wilson
from daskksvd.evaluation.summary import atom_table, method_table
from daskksvd.naming.choosing import count, count_pairs, name_auroc
from daskksvd.naming.inputs import indicator, one_side, orient

FAST = {"n_permutations": 5, "n_resamples": 5, "random_state": 0}


@given(st.integers(0, 10_000))
def test_counts_are_those_of_dense_products(seed):
    rng = np.random.default_rng(seed)
    n, v, m = rng.integers(1, 30), rng.integers(1, 8), rng.integers(1, 8)
    words, active = (rng.random((n, c)) < 0.4 for c in (v, m))
    rows = rng.permutation(n)[: rng.integers(0, n + 1)]
    order, weights = rng.permutation(n)[: len(rows)], rng.integers(0, 4, len(rows))
    found = count(sp.csr_matrix(words), sp.csr_matrix(active), rows, weights, order)
    one, other = words[order].astype(float), active[rows].astype(float)
    assert_array_equal(found.joint, (one * weights[:, None]).T @ other)
    assert_array_equal(found.word.ravel(), weights @ one)
    assert_array_equal(found.atom, weights @ other)
    assert found.n == weights.sum()


def test_measures_of_pairs_are_those_of_other_libraries():
    codes, words = named_world(n=300, m=8, v=10, noise=0.2)
    choice = np.array([0, 1, 5, -1, 4, 1, 6, 7])
    magnitudes = one_side(codes, orient(codes))
    pairs = count_pairs(choice, words, indicator(magnitudes))
    areas = name_auroc(choice, words, magnitudes)
    for atom, word in enumerate(choice):
        if word < 0:
            assert (
                np.isnan(pairs.correlation[atom]) and np.isnan(areas[atom]) and np.isnan(pairs.p_value[atom])
            )
            continue
        truth, shown = words.toarray()[:, word] > 0, magnitudes.toarray()[:, atom]
        used = shown > 0
        assert pairs.correlation[atom] == pytest.approx(np.corrcoef(truth, used)[0, 1], abs=1e-12)
        assert pairs.precision[atom] == pytest.approx(precision_score(truth, used))
        assert pairs.recall[atom] == pytest.approx(recall_score(truth, used))
        assert pairs.f1[atom] == pytest.approx(f1_score(truth, used))
        assert pairs.lift[atom] == pytest.approx(truth[used].mean() / truth.mean())
        tail = scipy.stats.hypergeom.sf((truth & used).sum() - 1, 300, truth.sum(), used.sum())
        assert pairs.p_value[atom] == pytest.approx(tail, rel=1e-9)
        table = scipy.stats.contingency.crosstab(truth, used).count
        g = scipy.stats.chi2_contingency(table, correction=False, lambda_="log-likelihood")
        assert abs(pairs.g[atom]) == pytest.approx(np.sqrt(g.statistic), rel=1e-9)
        assert areas[atom] == pytest.approx(roc_auc_score(truth, shown))


def test_auroc_counts_ties_half():
    magnitudes = sp.csr_matrix(np.array([[1.0], [1.0], [2.0], [0.0], [0.0], [2.0]]))
    truth = np.array([1, 0, 1, 1, 0, 0])
    area = name_auroc(np.array([0]), sp.csr_matrix(truth[:, None].astype(float)), magnitudes)
    assert area[0] == pytest.approx(roc_auc_score(truth, magnitudes.toarray()[:, 0]))
    everywhere = name_auroc(np.array([0]), sp.csr_matrix(np.ones((6, 1))), magnitudes)
    assert np.isnan(everywhere[0])


@pytest.mark.parametrize("successes, trials", [(0, 10), (7, 10), (128, 128), (83, 128)])
def test_wilson_is_the_share_whose_test_is_just_not_rejected(successes, trials):
    z, share = scipy.stats.norm.ppf(0.975), successes / trials
    for limit in wilson(successes, trials):
        assert (share - limit) ** 2 == pytest.approx(z**2 * limit * (1 - limit) / trials, abs=1e-12)
    assert np.isnan(wilson(0, 0)).all()


def test_planted_names_are_found_and_scored():
    codes, words = named_world()
    names = [f"word{number}" for number in range(words.shape[1])]
    scores = score_labels(codes, words, vocabulary=names, **FAST)
    assert scores.word.values.tolist() == names[:12]
    with pytest.warns(DeprecationWarning, match="level= is now alpha="):
        assert score_labels(codes, words, vocabulary=names, level=0.05, **FAST).identical(scores)
    assert_array_equal(scores.orientation, np.where(np.arange(12) % 2, -1, 1))
    assert float(scores.share_significant[0]) == 1 and float(scores.share_above_chance) == 1
    assert float(scores.chance_share) < 0.1
    assert (scores.stability == 1).all()
    assert float(scores.median_auroc[0]) > 0.85
    assert scores.median_precision_low[0] <= scores.median_precision[0] <= scores.median_precision_high[0]
    assert "100 % of 12 atoms" in scores.attrs["summary"] and "hypergeometric" in scores.attrs["summary"]
    assert atom_table(scores, 3).correlation.is_monotonic_decreasing
    # the numbers are those of the held-out half
    test = np.setdiff1d(np.arange(1200), np.flatnonzero(_half(1200, 0)))
    atom = int(scores.correlation.values.argmax())
    dense = words.toarray()[test, atom] > 0, codes.toarray()[test, atom] != 0
    # atoms are also used with their other sign now and then: none here
    assert float(scores.correlation[atom]) == pytest.approx(np.corrcoef(*dense)[0, 1])


def _half(n, seed):
    mask = np.zeros(n, bool)
    mask[np.random.default_rng(seed).permutation(n)[: n // 2]] = True
    return mask


def test_chance_alone_is_not_significant():
    """The half that chose a name would find it significant; the other half must not."""
    shares, same_half = [], []
    for seed in range(6):
        codes, words = named_world(n=800, seed=seed, independent=True)
        train = _half(800, seed)
        scores = score_labels(codes, words, train=train, n_permutations=0, n_resamples=0)
        shares.append(float(scores.share_significant[0]))
        both = sp.vstack([codes[train]] * 2), sp.vstack([words[train]] * 2)
        twice = score_labels(*both, train=np.arange(train.sum()), n_permutations=0, n_resamples=0)
        same_half.append(float(twice.share_significant[0]))
    assert np.mean(shares) < 0.05 < np.mean(same_half)


def test_baselines_are_scored_in_the_same_way():
    codes, words = named_world()
    other, _ = named_world(seed=5)
    scores = score_labels(codes, words, baselines={"itself": codes, "another": other}, **FAST)
    assert scores.dictionary.values.tolist() == ["codes", "itself", "another"]
    for name in ("share_significant", "median_correlation", "median_auroc", "n_scored"):
        assert scores[name][1] == scores[name][0]
    assert scores.share_significant[2] < 0.3
    assert method_table(scores).shape[0] == 3


def test_captions_as_text_give_the_same_as_their_matrix():
    codes, words = named_world(n=600)
    names = ["dog", "cat", "tree", "house", "boat", "river", "child", "ball", "hat", "snow", "road", "horse"]
    names += ["bird", "fish", "bench", "grass", "window", "table", "shoe", "train"]
    captions = as_captions(words, names)
    settings = {"train": np.arange(300), **FAST}
    from_text = score_labels(codes, captions, tokenizer=Tokenizer(), **settings)
    frequent = (words[:300].sum(axis=0).A1 >= 20) & (words[:300].sum(axis=0).A1 <= 150)
    from_matrix = score_labels(codes, words[:, frequent], vocabulary=np.array(names)[frequent], **settings)
    assert_array_equal(from_text.word, from_matrix.word)
    assert_allclose(from_text.correlation, from_matrix.correlation)
    # several captions a sample, by id, some samples without: those do not count
    ids = np.arange(600) * 3 + 1
    table = {int(ids[row]): [captions[row], "a"] for row in range(600) if row % 10 and captions[row]}
    some = score_labels(codes, table, sample_ids=ids, tokenizer=Tokenizer(), **settings)
    kept = [row for row in range(600) if row % 10 and captions[row]]
    assert some.attrs["n_without_captions"] == 600 - len(kept)
    assert some.attrs["n_train"] == sum(row < 300 for row in kept)
    inside = np.flatnonzero(np.array(kept) < 300)
    expected = score_labels(codes[kept], [captions[row] for row in kept], **{**settings, "train": inside})
    assert_array_equal(some.word, expected.word)
    assert_allclose(some.correlation, expected.correlation)


def test_same_seed_same_scores_and_readable_by_plain_xarray(tmp_path):
    codes, words = named_world(n=600)
    one, other = (score_labels(codes, words, **FAST) for _ in range(2))
    xr.testing.assert_identical(one, other)
    one.to_zarr(tmp_path / "scores.zarr", zarr_format=3, consolidated=False)
    read = xr.open_zarr(tmp_path / "scores.zarr", consolidated=False).load()
    assert read.word.values.tolist() == one.word.values.tolist()
    assert read.attrs["summary"] == one.attrs["summary"]


def test_atoms_without_name_or_uses():
    codes, words = named_world(n=600)
    dense = codes.toarray()
    dense[:, 0] = 0  # never used
    dense[:, 1] = 0
    dense[:15, 1] = 1.0  # used, too rarely to be named
    dense[300:330, 1] = 1.0
    scores = score_labels(sp.csr_matrix(dense), words, train=np.arange(300), **FAST)
    assert scores.word.values[:2].tolist() == ["", ""]
    assert not scores.significant[:2].any()
    assert int(scores.n_scored[0]) == 11  # the second atom counts, as not significant
    assert np.isnan(scores.correlation[:2]).all() and np.isnan(scores.stability[:2]).all()


@pytest.mark.parametrize(
    "changes, message",
    [
        ({"rank_by": "size"}, "rank_by='size'; it must be one of"),
        ({"train": 1.5}, "train=1.5"),
        ({"train": np.zeros(600, bool)}, "train leaves 0 of 600"),
        ({"train": np.ones(7, bool)}, "train has dtype bool and shape"),
        ({"alpha": 2}, "alpha=2"),
        ({"n_permutations": -1}, "n_permutations=-1"),
        ({"baselines": {"x": np.ones((3, 2))}}, "has 3 rows; codes has 600"),
        ({"vocabulary": ["a"]}, "vocabulary has 1 words; captions has 20 columns"),
        ({"vocabulary": ["a"] * 20}, "vocabulary has 'a' twice"),
    ],
)
def test_bad_arguments_are_named(changes, message):
    codes, words = named_world(n=600)
    with pytest.raises(ValueError, match=message.replace("(", r"\(")):
        score_labels(codes, words, **changes)


def test_bad_data_is_named():
    codes, words = named_world(n=600)
    with pytest.raises(ValueError, match="captions has 599 rows; codes has 600"):
        score_labels(codes, words[:-1])
    with pytest.raises(ValueError, match="outside 0 to 1"):
        score_labels(codes, words * 2)
    with pytest.raises(ValueError, match="NaN"):
        score_labels(np.full((600, 2), np.nan), words)
    with pytest.raises(ValueError, match="no word in"):
        score_labels(codes, sp.csr_matrix((600, 3)))
    with pytest.raises(ValueError, match="captions has none for the 600 samples"):
        score_labels(codes, {10_000: "a dog"})


def test_benchmark_smoke(tmp_path, monkeypatch):
    """The table of a data set: every part is there, and planted names win."""
    script = pathlib.Path(__file__).parents[1] / "benchmarks" / "labels.py"
    codes, words = named_world(n=900)
    names = "dog cat tree house boat river child ball hat snow road horse bird fish bench grass window table"
    captions = [[text, text] for text in as_captions(words, [*names.split(), "shoe", "train"])]
    rows = codes @ np.random.default_rng(0).standard_normal((12, 24))
    np.save(tmp_path / "rows.npy", rows.astype(np.float16))
    pd.DataFrame({"sample": range(900), "captions": captions}).to_parquet(tmp_path / "captions.parquet")
    monkeypatch.syspath_prepend(script.parent)
    pinned = dict.fromkeys(importlib.import_module("common").THREAD_VARIABLES, "1")
    few = ["--permutations", "3", "--resamples", "3", "--threads", "1", "--whiten", "0.5"]
    given_files = [tmp_path / "rows.npy", tmp_path / "captions.parquet"]
    what = ["--sizes", "14,3", "--updates", "ksvd", "--baselines", "random directions", "PCA"]
    run = subprocess.run(
        [sys.executable, str(script), *map(str, given_files), *what, *few, "--out", str(tmp_path)],
        env={**os.environ, **pinned},
        capture_output=True,
        text=True,
        timeout=300,
    )
    assert run.returncode == 0, run.stderr
    (record,) = json.loads((tmp_path / "labels.json").read_text())["records"]
    shares = {row["method"]: row["share_significant"] for row in record["shares"]}
    assert set(shares) == {"K-SVD", "captions shuffled", "random directions", "PCA"}
    assert shares["K-SVD"] > 0.8 > 0.2 > shares["captions shuffled"]
    ceilings = {row["method"]: row["ceiling"] for row in record["words"]}
    assert ceilings["ridge on codes"] > 0.8 > ceilings["most frequent words"]
    assert "ridge on codes of PCA" in ceilings and "one caption against the others" in ceilings
    text = (tmp_path / "labels.md").read_text()
    assert record["summary"] in text and "| atom | words |" in text
