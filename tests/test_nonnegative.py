"""Non-negative codes, beside Lawson and Hanson's steps and SciPy's non-negative least squares."""

import dataclasses
import json

import numpy as np
import pytest
import reference
import scipy.optimize
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.testing import assert_allclose, assert_array_equal
from reference import products_of

import daskksvd
from daskksvd.coding import SparsityTarget, code_block
from daskksvd.coding import products as coding
from daskksvd.fitting.saving import parts_of

PURSUITS = {"omp": reference.nonnegative_omp, "mp": reference.nonnegative_mp}


def code(rows, atoms, k, rtol=0.0, pursuit="omp", **more):
    return code_block(rows, products_of(atoms, k, rtol, pursuit, nonnegative=True, **more))


def chosen(codes, row):
    return codes.indices[row][codes.indices[row] >= 0].tolist()


def left(rows, atoms, codes):
    rest = rows.astype(np.float64) - reference.dense(codes, len(atoms)) @ atoms.astype(np.float64)
    return (rest**2).sum(axis=1)


def check_fitted(rows, atoms, codes, tolerance):
    """Coefficients are positive, and the non-negative least squares of each row on its support."""
    exact = atoms.astype(np.float64)
    for row, y in enumerate(rows.astype(np.float64)):
        support = chosen(codes, row)
        values = codes.values[row, : len(support)]
        assert len(set(support)) == len(support) and (values > 0).all()
        assert (codes.values[row, len(support) :] == 0).all()
        if support:
            expected, rest = scipy.optimize.nnls(exact[support].T, y)
            assert_allclose(values, expected, atol=tolerance * max(np.abs(y).max(), expected.max()))
            found = np.linalg.norm(y - values @ exact[support])
            assert found <= rest + tolerance * np.linalg.norm(y)


@st.composite
def problems(draw):
    """Rows, atoms and k: over- and undercomplete, plain and with much in common."""
    d, m = draw(st.integers(2, 30)), draw(st.integers(1, 90))
    k, n = draw(st.integers(1, min(m, d, 10))), draw(st.integers(1, 12))
    rng = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    atoms = reference.unit_atoms(rng, m, d, common=draw(st.sampled_from([0.0, 0.5, 1.0])))
    return rng.standard_normal((n, d)) * 10.0 ** draw(st.integers(-3, 3)), atoms, k


# --------------------------------------------------------- against references


@settings(max_examples=80)
@given(problems(), st.sampled_from(["omp", "mp"]), st.sampled_from([0.0, 0.4]))
def test_steps_are_those_of_lawson_and_hanson(problem, pursuit, rtol):
    rows, atoms, k = problem
    codes, energy, explained = code(rows, atoms, k, rtol, pursuit)
    X = reference.dense(codes, len(atoms))
    for row, y in enumerate(rows):
        support, coefs = PURSUITS[pursuit](y, atoms, k, rtol)
        if support and np.linalg.svd(atoms[support], compute_uv=False)[-1] < 1e-5:
            continue  # atoms so near to each other that rounding chooses
        if pursuit == "omp":
            assert chosen(codes, row) == support
        assert sorted(chosen(codes, row)) == sorted(support)
        assert_allclose(X[row, support], coefs, rtol=1e-6, atol=1e-9 * np.abs(y).max())
    assert_allclose(energy - explained, left(rows, atoms, codes), atol=1e-9 * energy.max())
    check_fitted(rows, atoms, codes, 1e-8)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_with_room_for_all_atoms_it_is_non_negative_least_squares(dtype):
    """Atoms in the half of a cone, of which many leave supports again."""
    rng = np.random.default_rng(0)
    atoms = reference.unit_atoms(rng, 40, 12, common=1.0).astype(dtype)
    rows = rng.standard_normal((60, 12)).astype(dtype)
    codes, energy, explained = code(rows, atoms, 12)
    gone = 0
    for row, y in enumerate(rows.astype(np.float64)):
        _, rest = scipy.optimize.nnls(atoms.T.astype(np.float64), y)
        assert_allclose(np.sqrt(left(rows, atoms, codes)[row]), rest, rtol=1e-4)
        picked = reference.omp(y, atoms.astype(np.float64), len(chosen(codes, row)))[1]
        gone += (picked < 0).any()
    assert gone > 10  # it is no plain pursuit
    assert_allclose(energy - explained, left(rows, atoms, codes), atol=1e-5 * energy.max())
    check_fitted(rows, atoms, codes, 1e-4 if dtype == "float32" else 1e-9)


@settings(max_examples=60)
@given(problems(), st.sampled_from(["omp", "mp"]))
def test_single_precision_makes_no_wrong_choice(problem, pursuit):
    rows, atoms, k = problem
    rows, atoms = rows.astype(np.float32), atoms.astype(np.float32)
    codes, energy, explained = code(rows, atoms, k, 0.0, pursuit)
    exact, rest = atoms.astype(np.float64), left(rows, atoms, codes)
    check_fitted(rows, atoms, codes, 1e-2)
    for row, y in enumerate(rows.astype(np.float64)):
        support, coefs = PURSUITS[pursuit](y, exact, k)
        best = ((y - coefs @ exact[support]) ** 2).sum()
        if len(chosen(codes, row)) == len(support) and set(chosen(codes, row)) == set(support):
            assert_allclose(rest[row], best, rtol=1e-3, atol=1e-5 * energy[row])
    assert_allclose(energy - explained, rest, atol=1e-4 * energy.max())


def test_of_the_same_size_supports_are_mostly_the_same_in_both_precisions():
    rng = np.random.default_rng(2)
    atoms = reference.unit_atoms(rng, 200, 30, common=0.5)
    rows = rng.standard_normal((200, 30))
    wide, _, _ = code(rows, atoms, 6)
    narrow, _, _ = code(rows.astype(np.float32), atoms.astype(np.float32), 6)
    assert (wide.indices == narrow.indices).all(axis=1).mean() > 0.98


# ------------------------------------------------------- rows of some kind


@pytest.mark.parametrize("pursuit", ["omp", "mp"])
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_zero_rows_and_rows_opposite_to_all_atoms_have_no_code(pursuit, dtype):
    rng = np.random.default_rng(1)
    atoms = np.abs(reference.unit_atoms(rng, 30, 10)).astype(dtype)
    rows = np.stack([np.zeros(10), -atoms[3], atoms[3], -np.ones(10)]).astype(dtype)
    codes, _, explained = code(rows, atoms, 4, 0.1, pursuit)
    assert (codes.indices[[0, 1, 3]] == -1).all() and (codes.values[[0, 1, 3]] == 0).all()
    assert (explained[[0, 1, 3]] == 0).all()
    assert chosen(codes, 2) == [3]


@pytest.mark.parametrize("pursuit", ["omp", "mp"])
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_of_equal_correlations_the_first_is_taken(pursuit, dtype):
    atoms = np.concatenate([-np.eye(8), np.eye(8), np.eye(8)]).astype(dtype)
    rows = np.array([[0, 2, 0, 2, 0, 0, 0, 0], [0, -2, 0, 2, 0, 0, 0, 0]], dtype)
    codes, _, _ = code(rows, atoms, 2, 1e-3, pursuit)
    assert codes.indices.tolist() == [[9, 11], [1, 11]]
    assert codes.values.tolist() == [[2, 2], [2, 2]]


@pytest.mark.parametrize("pursuit", ["omp", "mp"])
@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("angle", [0.5, 0.01, 0.0])
def test_rows_for_double_precision(pursuit, dtype, angle):
    """Atoms next to each other: what single steps cannot tell comes from the rows themselves."""
    rng = np.random.default_rng(5)
    atoms = reference.unit_atoms(rng, 12, 9)
    atoms = np.concatenate([atoms, atoms + np.deg2rad(angle) * reference.unit_atoms(rng, 12, 9)])
    atoms = (atoms / np.linalg.norm(atoms, axis=1, keepdims=True)).astype(dtype)
    rows = rng.standard_normal((60, 9)).astype(dtype)
    codes, energy, explained = code(rows, atoms, 7, 0.0, pursuit)
    assert np.isfinite(codes.values).all() and (codes.values >= 0).all()
    rest, exact = left(rows, atoms, codes), atoms.astype(np.float64)
    assert_allclose(energy - explained, rest, rtol=1e-3, atol=1e-5 * energy.max())
    for row, y in enumerate(rows.astype(np.float64)):
        _, best = scipy.optimize.nnls(exact[chosen(codes, row)].T, y) if chosen(codes, row) else (0, 0)
        assert np.sqrt(rest[row]) <= best + 1e-4 * np.linalg.norm(y) or not chosen(codes, row)


@pytest.mark.parametrize("n", [1, 2, 3, 40])
@pytest.mark.parametrize("dtype", ["f4", "f8"])
def test_a_row_is_coded_whatever_is_beside_it(dtype, n):
    rng = np.random.default_rng(n)
    atoms = reference.unit_atoms(rng, 90, 20, common=1.0).astype(dtype)
    rows = rng.standard_normal((n, 20)).astype(dtype)
    rows[::7] = 0
    products = products_of(atoms, 7, 0.2, nonnegative=True, threshold=0.3)
    codes, energy, explained = code_block(rows, products)
    for row in range(n):
        others = np.zeros_like(rows)
        others[row] = rows[row]
        alone, energy_alone, explained_alone = code_block(others, products)
        assert_array_equal(alone.indices[row], codes.indices[row])
        assert_array_equal(alone.values[row], codes.values[row])
        assert energy_alone[row] == energy[row] and explained_alone[row] == explained[row]


# ---------------------------------------------------------- rounded products


@pytest.mark.parametrize("way", ["amx", "avx512"])
@pytest.mark.parametrize("large", [False, True])
def test_rounded_products_choose_the_same_atoms(monkeypatch, way, large):
    if large:  # as of more atoms than have a Gram matrix in full precision
        monkeypatch.setattr(coding, "FLOAT_GRAM_ATOMS", 0)
    rng = np.random.default_rng(3)
    atoms = reference.unit_atoms(rng, 1100, 200, common=0.7).astype(np.float32)
    X = np.abs(rng.standard_normal((150, 1100))) * (rng.random((150, 1100)) < 6 / 1100)
    rows = (X @ atoms + 0.05 * rng.standard_normal((150, 200))).astype(np.float32)
    products = products_of(atoms, 8, 0.0, how=way, nonnegative=True)
    assert products.packed is not None
    codes, energy, explained = code_block(rows, products)
    plain = code_block(rows.astype(np.float64), products_of(atoms.astype(np.float64), 8, nonnegative=True))[0]
    same = [set(chosen(codes, row)) == set(chosen(plain, row)) for row in range(150)]
    assert np.mean(same) > 0.95
    check_fitted(rows, atoms, codes, 1e-3)
    assert_allclose(energy - explained, left(rows, atoms, codes), atol=1e-4 * energy.max())


# --------------------------------------------------------------------- stores


def test_results_of_earlier_versions_have_codes_of_both_signs(tmp_path):
    rng = np.random.default_rng(0)
    rows = rng.standard_normal((200, 8))
    result = daskksvd.fit(rows, n_components=10, n_nonzero_coefs=2, max_passes=1, random_state=0)
    result.coder = dataclasses.replace(result.coder, target=SparsityTarget(2, 0.1, "mp", True, 0.5))
    result.save(tmp_path / "now")
    assert daskksvd.load(tmp_path / "now").coder.target == result.coder.target
    dataset = result.to_dataset()
    stopping = json.loads(dataset.attrs["stopping"])
    for name in ("nonnegative", "threshold"):
        del stopping[name]
    dataset.attrs["stopping"] = json.dumps(stopping)
    assert parts_of(dataset, "before")[2] == SparsityTarget(2, 0.1, "mp")
