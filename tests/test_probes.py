"""k-sparse probes against scikit-learn on all rows at once."""

import dask.array as da
import numpy as np
import pytest
import scipy.sparse as sp
from numpy.testing import assert_allclose, assert_array_equal
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import average_precision_score, f1_score, roc_auc_score

import daskksvd
from daskksvd.evaluation import sparse_probes

N, D, M, L = 900, 20, 40, 4
NAMES = ["red", "dog", "sea", "rare"]


@pytest.fixture(scope="module")
def world():
    planted = daskksvd.datasets.make_planted(N, D, M, 3, random_state=0)
    rows = planted.array.compute().astype(np.float32)
    result = daskksvd.fit(rows, n_components=M, n_nonzero_coefs=3, max_passes=3, random_state=0, n_threads=1)
    codes = result.encode(rows).compute(scheduler="synchronous")
    rng, dense = np.random.default_rng(0), codes.todense()
    labels = np.stack([dense[:, a] + 0.5 * dense[:, b] > 0.2 for a, b in ((1, 5), (2, 7), (3, 9))], 1)
    labels = np.hstack([labels ^ (rng.random(labels.shape) < 0.03), np.arange(N)[:, None] < 3])
    return rows, result, codes, labels


@pytest.fixture(scope="module")
def train():
    return np.random.default_rng(1).random(N) < 0.6


@pytest.fixture(scope="module")
def probes(world, train):
    rows, result, codes, labels = world
    return sparse_probes(
        codes, labels, names=NAMES, embeddings=rows, result=result, ks=(1, 3), train=train, random_state=0
    )


def reference(x, y, train, k):
    """AUROC, average precision and best F1 of a probe on the k columns that correlate most."""
    with np.errstate(invalid="ignore", divide="ignore"):
        r = np.nan_to_num([np.corrcoef(x[train, c], y[train])[0, 1] for c in range(x.shape[1])])
    columns = np.argsort(-np.abs(r), kind="stable")[:k]
    x = x[:, columns] / x[train][:, columns].std(axis=0)
    model = LogisticRegression(max_iter=200).fit(x[train], y[train])
    scores = model.decision_function(x)
    cuts = np.unique(scores[train])
    told = scores[train] >= cuts[:, None]
    best = 2 * (told & y[train]).sum(axis=1) / (told.sum(axis=1) + y[train].sum())  # ties: the first
    cut = np.nextafter(np.append(-np.inf, cuts)[np.argmax(best)], np.inf)  # over the score before
    held = ~train
    told = (roc_auc_score(y[held], scores[held]), average_precision_score(y[held], scores[held]))
    return *told, f1_score(y[held], scores[held] >= cut), columns


@pytest.mark.parametrize("k", [1, 3])
@pytest.mark.parametrize("kind", ["atoms", "embeddings", "principal components", "projections on atoms"])
def test_follows_scikit_learn(world, train, probes, kind, k):
    rows, result, codes, labels = world
    x = {
        "embeddings": rows.astype(float),
        "projections on atoms": rows.astype(float) @ result.dictionary.values.T,
    }.get(kind)
    if kind == "atoms":
        x = np.hstack([np.maximum(codes.todense(), 0), np.maximum(-codes.todense(), 0)]).astype(float)
    elif kind == "principal components":
        centred = rows - rows[train].mean(axis=0, dtype=float)
        x = centred @ np.linalg.svd(centred[train], full_matrices=False)[2].T
    for number, name in enumerate(NAMES[:3]):
        auroc, precision, f1, columns = reference(x, labels[:, number], train, k)
        row = probes.table.loc[(kind, k, name)]
        assert_array_equal(
            np.sort(probes.chosen.xs((kind, k, name), level=(0, 1, 2)).feature), np.sort(columns)
        )
        assert_allclose(row.auroc, auroc, atol=0.004)
        assert_allclose(row.average_precision, precision, atol=0.02)  # scores come in bins
        assert_allclose(row.f1, f1, atol=0.05)
        assert row.auroc_low < row.auroc < row.auroc_high and row.positive == labels[~train, number].sum()


def test_atoms_that_made_the_labels_are_found(probes):
    made = probes.chosen.xs(("atoms", 3, "red"), level=(0, 1, 2))[["atom", "side"]].to_numpy()[:2]
    assert sorted(map(tuple, made.astype(int).tolist())) == [(1, 1), (5, 1)]
    means = probes.means.auroc
    assert means["atoms", 1] > max(means["embeddings", 1], means["random directions", 1])
    assert set(probes.table.index.get_level_values("label")) == set(NAMES[:3])  # the rare one has too few
    assert "3 labels" in repr(probes) and "atoms 0." in repr(probes)


def test_any_chunks_and_lazy_labels(world, train, probes):
    rows, result, _, labels = world
    lazy = result.encode(da.from_array(rows, chunks=(128, D)))
    again = sparse_probes(
        lazy, da.from_array(labels, chunks=(200, L)), names=NAMES, ks=(1, 3), train=train, random_state=0,
        embeddings=da.from_array(rows, chunks=(300, D)), result=result,
    )  # fmt: skip
    assert_allclose(again.table.to_numpy(float), probes.table.to_numpy(float), atol=0.02)
    assert_array_equal(again.chosen.feature, probes.chosen.feature)


@pytest.mark.parametrize("kind", [np.asarray, sp.csr_matrix, sp.coo_matrix])
def test_labels_of_any_numbers(world, train, kind):
    """What is not zero is a label, whatever its value and however often it is stored; input is left alone."""
    _, _, codes, labels = world
    rows, columns = np.nonzero(labels)
    values = np.random.default_rng(0).choice([-3.0, 0.5, 7.0], len(rows))
    weighted = sp.coo_matrix((values, (rows, columns)), shape=labels.shape)
    if kind is sp.coo_matrix:
        weighted = sp.coo_matrix(
            (np.tile(values / 2, 2), (np.tile(rows, 2), np.tile(columns, 2))), labels.shape
        )
    given = weighted.toarray() if kind is np.asarray else kind(weighted)
    before = given.copy()
    one, other = (
        sparse_probes(codes, some, names=NAMES, ks=(1,), train=train, random_state=0)
        for some in (labels, given)
    )
    assert_array_equal(other.table.to_numpy(float), one.table.to_numpy(float))
    assert_array_equal(other.chosen.feature, one.chosen.feature)
    assert_array_equal(
        given.data if kind is sp.csr_matrix else 0, before.data if kind is sp.csr_matrix else 0
    )


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"ks": ()}, "ks is empty"),
        ({"ks": (0,)}, "ks=0; it must be at least 1"),
        ({"labels": np.ones((3, 2))}, "labels has shape .3, 2.; it must be 900 x L"),
        ({"labels": np.zeros((N, 2))}, "labels has none that 10 of the 450 samples fitted on have"),
        ({"labels": np.where(np.eye(N, L), np.nan, 0)}, "labels has NaN or infinite values"),
        ({"labels": da.from_array(np.where(np.eye(N, L), np.inf, 0))}, "labels has NaN or infinite values"),
        ({"others": {"atoms": np.ones((N, 3))}}, "others has the name 'atoms', which is taken"),
        ({"others": {1: np.ones((N, 3)), "1": np.ones((N, 3))}}, "others has the name '1', which is taken"),
        ({"train": [-1, *range(300)]}, "train has row -1; rows have numbers from 0 on"),
        ({"names": ["a"]}, "names has 1 names; labels has 4 columns"),
        ({"embeddings": np.ones((5, D))}, "embeddings has 5 rows; codes has 900"),
    ],
)
def test_refusals(world, change, said):
    _, _, codes, labels = world
    given = {"labels": labels} | change
    with pytest.raises(ValueError, match=said):
        sparse_probes(codes, given.pop("labels"), random_state=0, **given)
