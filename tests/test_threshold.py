"""Pursuit that stops where no atom correlates with the residual by a threshold."""

import numpy as np
import pytest
import reference
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.testing import assert_allclose
from reference import products_of

from daskksvd.coding import code_block
from daskksvd.coding import products as coding

PURSUITS = {
    ("omp", False): reference.omp,
    ("mp", False): reference.mp,
    ("omp", True): reference.nonnegative_omp,
    ("mp", True): reference.nonnegative_mp,
}


def chosen(codes, row):
    return codes.indices[row][codes.indices[row] >= 0].tolist()


# --------------------------------------------------------- against references


@settings(max_examples=80)
@given(
    st.integers(0, 2**32 - 1),
    st.sampled_from(sorted(PURSUITS)),
    st.sampled_from([0.0, 0.3]),
    st.sampled_from([0.05, 0.3, 1.0]),
)
def test_no_atom_is_taken_below_it(seed, kind, rtol, threshold):
    rng = np.random.default_rng(seed)
    atoms = reference.unit_atoms(rng, 60, 12, common=rng.choice([0.0, 1.0]))
    rows = rng.standard_normal((20, 12)) * rng.exponential(size=(20, 1))
    pursuit, nonnegative = kind
    target = {"nonnegative": nonnegative, "threshold": threshold}
    codes, energy, explained = code_block(rows, products_of(atoms, 7, rtol, pursuit, **target))
    X = reference.dense(codes, 60)
    for row, y in enumerate(rows):
        support, coefs = PURSUITS[kind](y, atoms, 7, rtol, threshold)
        if support and np.linalg.svd(atoms[support], compute_uv=False)[-1] < 0.02:
            continue
        if pursuit == "omp":
            assert chosen(codes, row) == support
        assert sorted(chosen(codes, row)) == sorted(support)
        assert_allclose(X[row, support], coefs, atol=1e-7)
    assert_allclose(energy - explained, ((rows - X @ atoms) ** 2).sum(axis=1), atol=1e-9 * energy.max())


@pytest.mark.parametrize("nonnegative", [False, True])
@pytest.mark.parametrize("pursuit", ["omp", "mp"])
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_a_correlation_as_large_as_it_is_taken(dtype, pursuit, nonnegative):
    atoms = np.eye(8, dtype=dtype)
    rows = [[3, 2, 1, 0.5, 0, 0, 0, 0], [0.5] * 8, [0.4] * 8, [0] * 8, [3, -2, 1, -0.5, 0, 0, 0, 0]]
    rows = np.array(rows, dtype)
    target = {"nonnegative": nonnegative, "threshold": 0.5}
    codes, _, _ = code_block(rows, products_of(atoms, 4, 0.0, pursuit, **target))
    assert [len(chosen(codes, row)) for row in range(5)] == [4, 4, 0, 0, 2 if nonnegative else 4]
    above = code_block(rows, products_of(atoms, 4, 0.0, pursuit, **{**target, "threshold": 0.51}))[0]
    assert [len(chosen(above, row)) for row in range(5)] == [3, 0, 0, 0, 2 if nonnegative else 3]


@pytest.mark.parametrize("nonnegative", [False, True])
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_rows_for_double_precision_stop_at_it_too(dtype, nonnegative):
    """Among copies that inner products do not tell apart."""
    rng = np.random.default_rng(1)
    atoms = reference.unit_atoms(rng, 20, 10)
    atoms = np.concatenate([atoms, atoms + 3e-3 * reference.unit_atoms(rng, 20, 10)])
    atoms = (atoms / np.linalg.norm(atoms, axis=1, keepdims=True)).astype(dtype)
    rows = rng.standard_normal((80, 10)).astype(dtype)
    products = products_of(atoms, 9, nonnegative=nonnegative, threshold=0.1)
    codes, _, _ = code_block(rows, products)
    rest = rows.astype(float) - reference.dense(codes, 40) @ atoms.astype(float)
    correlations = rest @ atoms.T.astype(float)
    most = (correlations if nonnegative else np.abs(correlations)).max(axis=1)
    short = (codes.indices >= 0).sum(axis=1) < 9
    assert short.any() and (most[short] < 0.1001).all()
    without, _, _ = code_block(rows, products_of(atoms, 9, nonnegative=nonnegative))
    assert (without.indices >= 0).sum() > (codes.indices >= 0).sum()


# ---------------------------------------------------------- rounded products


@pytest.mark.parametrize("large", [False, True])
@pytest.mark.parametrize("nonnegative", [False, True])
@pytest.mark.parametrize("way", ["amx", "avx512"])
def test_rounded_products_stop_at_the_same_atom(monkeypatch, way, nonnegative, large):
    if large:
        monkeypatch.setattr(coding, "FLOAT_GRAM_ATOMS", 0)
    rng = np.random.default_rng(4)
    atoms = reference.unit_atoms(rng, 1100, 200).astype(np.float32)
    X = np.abs(rng.standard_normal((200, 1100))) * (rng.random((200, 1100)) < 6 / 1100)
    rows = (X @ atoms + 0.05 * rng.standard_normal((200, 200))).astype(np.float32)
    for threshold in (0.3, 0.1, 1e-3):
        target = {"nonnegative": nonnegative, "threshold": threshold}
        products = products_of(atoms, 8, how=way, **target)
        assert products.packed is not None
        codes = code_block(rows, products)[0]
        plain = code_block(rows.astype(float), products_of(atoms.astype(float), 8, **target))[0]
        same = [set(chosen(codes, row)) == set(chosen(plain, row)) for row in range(200)]
        assert np.mean(same) > 0.97
    assert threshold == 1e-3
