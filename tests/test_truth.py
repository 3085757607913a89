"""Recovery of true concepts, where the truth is known, and baselines at equal budget."""

import numpy as np
import pytest
import scipy.sparse as sp
from numpy.testing import assert_allclose
from sklearn.cluster import KMeans
from sklearn.decomposition import PCA
from sklearn.metrics import f1_score, roc_auc_score

import daskksvd
from daskksvd.evaluation.baselines import METHODS, baseline_codes
from daskksvd.evaluation.recovery import concept_recovery, names_right, recovery_table
from daskksvd.evaluation.scores import score_labels


def concepts_world(n=1500, c=10, d=24, k=2, seed=0):
    """Boolean concepts, and embeddings that are noisy sums of one direction a concept."""
    rng = np.random.default_rng(seed)
    truth = np.zeros((n, c), bool)
    for row in truth:
        row[rng.choice(c, k, replace=False)] = True
    directions = rng.standard_normal((c, d))
    directions /= np.linalg.norm(directions, axis=1, keepdims=True)
    rows = (truth * rng.uniform(1, 2, (n, c))) @ directions + 0.05 * rng.standard_normal((n, d))
    return truth, rows


def test_perfect_atoms_recover_everything_and_shuffled_ones_nothing():
    truth, _ = concepts_world()
    rng = np.random.default_rng(0)
    signs = np.where(np.arange(10) % 2, -1.0, 1.0)
    codes = (truth * signs * rng.uniform(1, 2, truth.shape))[:, rng.permutation(10)]
    names = [f"concept {number}" for number in range(10)]
    found = concept_recovery(
        {"perfect": codes, "shuffled": sp.csr_matrix(codes[rng.permutation(1500)])},
        truth,
        concepts=names,
        random_state=0,
    )
    perfect, shuffled = found.sel(dictionary="perfect"), found.sel(dictionary="shuffled")
    for name in ("f1", "precision", "recall", "auroc"):
        assert (perfect[name] == 1).all()
    assert float(perfect.purity) == 1 == float(perfect.corrected_purity)
    assert sorted(perfect.atom.values.tolist()) == list(range(10))
    for number in range(10):  # the side is the sign of the codes
        atom = int(perfect.atom[number])
        assert int(perfect.side[number]) == np.sign(codes[truth[:, number], atom]).max()
    assert abs(float(shuffled.mean_auroc) - 0.5) < 0.05 and abs(float(shuffled.corrected_purity)) < 0.05
    assert found.concept.values.tolist() == names
    table = recovery_table(found)
    assert list(table.index) == ["perfect", "shuffled"] and table.loc["perfect", "k"] == 2


def test_measures_are_those_of_scikit_learn_on_held_out_samples():
    truth, _ = concepts_world(n=600, c=4)
    rng = np.random.default_rng(1)
    codes = rng.standard_normal((600, 3)) * (rng.random((600, 3)) < 0.5) + truth[:, :3] * rng.random((600, 3))
    train = np.arange(600) < 300
    found = concept_recovery({"x": codes}, truth, train=train, n_resamples=0)
    sides = np.concatenate([np.maximum(codes, 0), np.maximum(-codes, 0)], axis=1)
    for c in range(4):
        here = truth[:, c]
        best = np.argmax([f1_score(here[train], sides[train, side] > 0) for side in range(6)])
        told = sides[~train, best] > 0
        assert int(found.atom[0, c]) == best % 3
        assert float(found.f1[0, c]) == pytest.approx(f1_score(here[~train], told))
        assert float(found.precision[0, c]) == pytest.approx(here[~train][told].mean())
        assert float(found.recall[0, c]) == pytest.approx(told[here[~train]].mean())
        best = np.argmax([roc_auc_score(here[train], sides[train, side]) for side in range(6)])
        assert float(found.auroc[0, c]) == pytest.approx(roc_auc_score(here[~train], sides[~train, best]))


@pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")
def test_a_dictionary_recovers_more_than_baselines_at_equal_budget():
    truth, rows = concepts_world()
    train = np.arange(1500) < 750
    result = daskksvd.fit(rows[train], n_components=12, n_nonzero_coefs=2, random_state=0, n_threads=1)
    codes = {"K-SVD": result.encode(rows)}
    codes |= baseline_codes(result, rows, train=train, random_state=0)
    found = concept_recovery(codes, truth, train=train, random_state=0)
    assert found.dictionary.values.tolist() == ["K-SVD", *METHODS]
    assert float(found.mean_auroc[0]) > 0.95
    assert (found.mean_f1[0] > found.mean_f1[1:] + 0.05).all()
    assert (found.corrected_purity[0] > found.corrected_purity.sel(dictionary="random directions")).all()
    assert (found.k <= 2).all() and (found.m <= 12).all()
    assert (found.mean_f1_low <= found.mean_f1).all() and (found.mean_f1 <= found.mean_f1_high).all()


def test_baselines_are_what_they_say():
    _, rows = concepts_world(n=500, d=8)
    result = daskksvd.fit(
        rows, n_components=12, n_nonzero_coefs=3, center=True, random_state=0, n_threads=1, dtype="float64"
    )
    codes = baseline_codes(result, rows, random_state=0)
    assert list(codes) == list(METHODS)
    for name, value in codes.items():
        most = np.diff(value.indptr).max()
        assert most == (1 if name == "k-means, one-hot" else 3), name
        assert value.shape == (500, 8 if name in ("PCA", "FastICA") else 12)
    # principal components are orthogonal: the largest scores are what pursuit would choose
    scores = PCA(8).fit(rows).transform(rows)
    kept = np.sort(np.abs(scores), axis=1)[:, -3:].sum(axis=1)
    assert_allclose(np.abs(codes["PCA"]).sum(axis=1).A1, kept, rtol=1e-6)
    # one-hot: as many clusters as atoms, each row in the nearest
    labels = codes["k-means, one-hot"].indices
    means = np.array([(rows - rows.mean(axis=0))[labels == j].mean(axis=0) for j in range(12)])
    again = KMeans(12, init=means, n_init=1).fit(rows - rows.mean(axis=0))
    assert (again.labels_ == labels).mean() > 0.95
    # samples as atoms represent themselves with one nonzero
    assert (np.diff(codes["samples"].indptr) <= 1).sum() >= 12
    same = baseline_codes(result, rows, methods="random directions", random_state=0)
    again = baseline_codes(result, rows, methods="random directions", random_state=0)
    assert (same["random directions"] != again["random directions"]).nnz == 0


def test_baselines_never_see_held_out_rows():
    _, rows = concepts_world(n=400, d=8)
    result = daskksvd.fit(rows, n_components=12, n_nonzero_coefs=3, random_state=0, n_threads=1)
    changed = rows.copy()
    changed[300:] *= 100
    train = np.arange(300)
    for method in METHODS:
        one, other = (
            baseline_codes(result, given, methods=method, train=train, random_state=0)[method][:300]
            for given in (rows, changed)
        )
        assert (one != other).nnz == 0, method


def test_scenes_have_concepts_to_recover():
    scenes = daskksvd.datasets.make_scenes(3000, random_state=0)
    truth = np.asarray(scenes.truth())
    rng = np.random.default_rng(0)
    rows = truth @ rng.standard_normal((truth.shape[1], 64)) + 0.1 * rng.standard_normal((3000, 64))
    train = np.arange(1500)
    settings = {"n_components": 64, "n_nonzero_coefs": 8, "whiten": 0.5, "random_state": 0, "n_threads": 1}
    result = daskksvd.fit(rows[train], **settings)
    methods = ["random directions", "k-means", "PCA"]
    codes = {"K-SVD": result.encode(rows)}
    codes |= baseline_codes(result, rows, methods=methods, train=train, random_state=0)
    found = concept_recovery(codes, truth, concepts=scenes.concepts, train=train, random_state=0)
    assert (found.mean_f1[0] > found.mean_f1[1:] + 0.1).all()
    assert (found.mean_auroc[0] > found.mean_auroc[1:] + 0.05).all()
    assert set(found.concept.values) <= set(scenes.concepts)


def test_names_are_compared_with_what_atoms_show():
    truth, _ = concepts_world(n=300, c=4, k=2)
    codes = np.where(np.arange(4) % 2, -1.0, 1.0) * truth
    words = {"dog": ["dog", "puppy"], "red": ["red"], "boat": ["boat"], "sea": ["sea"]}
    table = names_right(codes, ["puppy", "dog", "", "glass"], truth, list(words), words)
    assert table.right.tolist() == [True, False, False, False]
    assert table["concept"].tolist() == list(words)
    assert table["rank"][0] == 1 and table["rank"][1] > 1 and table["rank"][2:].isna().all()
    assert_allclose(table.correlation, 1)
    with pytest.raises(ValueError, match="with 1 names"):
        names_right(codes, ["a"], truth, list(words), words)


def test_names_of_scenes_are_words_for_the_concept():
    """Captions leave much unsaid and use synonyms; the name must still be a word for the truth."""
    scenes = daskksvd.datasets.make_scenes(3000, random_state=1)
    truth = np.asarray(scenes.truth())
    rng = np.random.default_rng(0)
    shown = rng.permutation(truth.shape[1])[:40]
    signs = rng.choice([-1.0, 1.0], 40)
    codes = sp.csr_matrix(truth[:, shown] * signs * rng.uniform(1, 2, (3000, 40)))
    captions = [scenes.captions(number) for number in range(3000)]
    scores = score_labels(codes, captions, n_permutations=0, n_resamples=0, random_state=0)
    table = names_right(codes, scores.word.values.tolist(), truth, scenes.concepts, scenes.words)
    assert table["concept"].tolist() == [scenes.concepts[column] for column in shown]
    named = scores.significant.values
    assert named.mean() > 0.7
    assert table.right[named].mean() > 0.8


@pytest.mark.parametrize(
    "codes, changes, error, message",
    [
        ([], {}, TypeError, "codes_by_method must be a dict"),
        ({"x": np.ones((3, 2))}, {}, ValueError, "codes of 'x' has 3 rows; truth has 100"),
        (
            {"x": np.ones((100, 2))},
            {"concepts": ["a"]},
            ValueError,
            "concepts has 1 names; truth has 2 columns",
        ),
        ({"x": np.ones((100, 2))}, {"truth": np.ones((100, 2))}, ValueError, "some, but not all"),
    ],
)
def test_bad_arguments_are_named(codes, changes, error, message):
    truth = np.random.default_rng(0).random((100, 2)) < 0.5
    with pytest.raises(error, match=message):
        concept_recovery(codes, **{"truth": truth, **changes})


def test_bad_baselines_are_named():
    _, rows = concepts_world(n=200, d=8)
    result = daskksvd.fit(rows, n_components=10, n_nonzero_coefs=2, random_state=0, n_threads=1)
    with pytest.raises(ValueError, match="methods has 'NMF'; they must be among"):
        baseline_codes(result, rows, methods=["NMF"])
    with pytest.raises(ValueError, match="embeddings has 3 features; the dictionary was learned on 8"):
        baseline_codes(result, rows[:, :3])
    with pytest.raises(ValueError, match="train has 5 rows"):
        baseline_codes(result, rows, train=np.arange(5))
    with pytest.raises(ValueError, match="train has row -1; rows have the numbers"):
        baseline_codes(result, rows, train=np.arange(-1, len(rows) - 1))
