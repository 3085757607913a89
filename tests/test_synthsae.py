"""The world of SynthSAEBench follows its published law, and scores count what they say."""

import importlib
import pathlib

import numpy as np
import pytest
import scipy.sparse
import scipy.special
from numpy.testing import assert_allclose, assert_array_equal

N_FEATURES, ROOTS, N = 200, 2, 20_000


@pytest.fixture
def module(monkeypatch):
    """Imports a script of the benchmarks by name."""
    monkeypatch.syspath_prepend(pathlib.Path(__file__).parents[1] / "benchmarks")
    return importlib.import_module


@pytest.fixture
def world(module):
    return module("synthsae_world").make_world(N_FEATURES, 16, ROOTS, 5)


def drawn_in_full(world, n, rng):
    """A number for every feature of every row; then parents and siblings, level by level."""
    r = world.factor.shape[1]
    noise = np.sqrt(1 - (world.factor**2).sum(axis=1))
    z = rng.standard_normal((n, r)) @ world.factor.T + rng.standard_normal((n, N_FEATURES)) * noise
    threshold = -scipy.special.ndtri(world.probabilities)
    values = world.means + world.deviations * rng.standard_normal((n, N_FEATURES))
    values = np.where(z > threshold, np.maximum(values, 0), 0)
    for parent in np.flatnonzero(world.first_child >= 0):
        children = slice(world.first_child[parent], world.first_child[parent] + 4)
        values[:, children] *= values[:, [parent]] / world.means[parent]
        score = np.where(values[:, children] > 0, rng.random((n, 4)), -1)
        values[:, children] *= score == score.max(axis=1, keepdims=True)
    return values


def assert_same_law(found, expected):
    """Rates, means of magnitudes and joint rates of two samples of rows are equal but for chance."""
    for power in (0, 1, 2):
        parts = [np.where(values > 0, values**power, 0) for values in (found, expected)]
        means = [part.mean(axis=0) for part in parts]
        spread = np.sqrt(sum(part.var(axis=0) / len(part) for part in parts))
        z = (means[0] - means[1]) / np.maximum(spread, 1e-9)
        assert np.abs(z).max() < 5 and 0.7 < z.std() < 1.3
    often = np.argsort(-(expected > 0).mean(axis=0))[:30]
    fires = [(values[:, often] > 0).astype(float) for values in (found, expected)]
    joint = [part.T @ part / len(part) for part in fires]
    spread = np.sqrt(sum(rate * (1 - rate) / N for rate in joint))
    assert np.abs((joint[0] - joint[1]) / np.maximum(spread, 1e-9)).max() < 5.5


def test_rows_follow_the_law(world):
    rows, truth = world.sample(N, 1)
    again, _ = world.sample(N, 1)
    assert_array_equal(rows, again)
    assert rows.dtype == np.float32 and truth.shape == (N, N_FEATURES) and truth.data.min() > 0
    assert_allclose(rows, truth @ world.features.astype(float) + world.bias, atol=1e-4)
    assert_same_law(truth.toarray(), drawn_in_full(world, N, np.random.default_rng(0)))


def test_features_are_as_published(module, world):
    assert_allclose(np.linalg.norm(world.features, axis=1), 1, rtol=1e-6)
    assert_allclose(np.linalg.norm(world.bias), 0.5, rtol=1e-6)
    assert world.means[[0, -1]].tolist() == [5, 4]
    assert world.first_child[:ROOTS].tolist() == [2, 6] and (world.first_child >= 0).sum() == 42
    assert_allclose(world.probabilities[[0, -1]], [0.4, 5e-4])
    # children fire with their parents: p_child / p_parent, made up for siblings who are left out
    rate = 5e-4 + 0.3995 * (np.arange(1, 201) ** -0.5 - 200**-0.5) / (1 - 200**-0.5)
    others = rate[123:126].sum()
    assert_allclose(world.probabilities[122], rate[122] / rate[30] * (1 + others / rate[30]))
    with pytest.raises(ValueError, match="3 roots have more than 200 features in their trees"):
        module("synthsae_world").make_world(200, 16, 3, 0)


def test_rows_follow_the_law_of_the_package(world):
    synthetic = pytest.importorskip("sae_lens.synthetic", reason="sae-lens is not installed")
    import torch

    nodes = [synthetic.HierarchyNode(i, scale_children_by_parent=True) for i in range(N_FEATURES)]
    for parent in np.flatnonzero(world.first_child >= 0):
        first = world.first_child[parent]
        nodes[parent].children = nodes[first : first + 4]
        nodes[parent].mutually_exclusive_children = True
    factor = torch.tensor(world.factor, dtype=torch.float32)
    torch.manual_seed(0)
    generator = synthetic.ActivationGenerator(
        N_FEATURES,
        torch.tensor(world.probabilities),
        torch.tensor(world.deviations),
        torch.tensor(world.means),
        modify_activations=synthetic.hierarchy_modifier(nodes[:ROOTS]),
        correlation_matrix=synthetic.LowRankCorrelationMatrix(factor, 1 - (factor**2).sum(1)),
    )
    _, truth = world.sample(N, 2)
    assert_same_law(truth.toarray(), generator.sample(N).numpy().astype(float))


def test_scores_of_the_truth_and_of_a_flaw(module, world):
    scores = module("synthsae_world").scores
    rows, truth = world.sample(500, 3)
    atoms, codes = world.features[:6], truth[:, :6]
    decoded = truth @ world.features + world.bias
    found = scores(world, atoms, rows, truth, codes, decoded)
    assert found.f1 == found.precision == found.recall == found.uniqueness == 1 and found.dead == 0
    assert_allclose([found.mcc, found.explained_variance], 1, atol=1e-5)
    assert_allclose(found.l0, (codes > 0).sum() / 500)
    # an atom that never fires, and one that is there twice
    atoms = world.features[[0, 0, 2, 3]]
    codes = scipy.sparse.hstack([truth[:, [0, 0, 2]], truth[:, [3]] * 0]).tocsr()
    codes.eliminate_zeros()
    found = scores(world, atoms, rows, truth, codes, decoded)
    assert found.f1 == found.precision == 0.75 and found.uniqueness == 0.75 and found.dead == 1
    assert 0.75 < found.mcc < 0.95


def test_the_recipe_tells_features_that_a_fixed_number_does_not(module, monkeypatch):
    synthsae = module("synthsae")
    monkeypatch.setitem(synthsae.SIZES, "tiny", synthsae.Size(170, 48, 1, 64, 4_000, 1_000, 10, 4))
    monkeypatch.setattr(synthsae, "WITHOUT", {"all parts": {}})
    records, active = synthsae.measure("tiny", 1, True, 2)
    found = {record["case"]: record for record in records}
    assert set(found) == {"all parts", "true dictionary", "fixed number, both signs"}
    assert 1 < active < 10 and found["all parts"]["visited"] >= 4_000
    assert found["all parts"]["f1"] > found["fixed number, both signs"]["f1"] + 0.1
    assert synthsae.TABLE.markdown(records + synthsae.PUBLISHED).count("\n") == 9
