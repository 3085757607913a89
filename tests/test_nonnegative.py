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
from worlds import nonnegative_world

import daskksvd
from daskksvd.coding import Codes, SparsityTarget, code_block
from daskksvd.coding import products as coding
from daskksvd.evaluation.matching import match_atoms
from daskksvd.evaluation.stability import compare_fits
from daskksvd.fitting.initial import _far_apart
from daskksvd.fitting.replacement import find_redundant, pursue_atoms
from daskksvd.fitting.saving import parts_of
from daskksvd.fitting.updates import ksvd
from daskksvd.kernels.update import replace_coefficients

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


# ------------------------------------------------------------------- learning


@pytest.fixture(scope="module")
def world():
    return nonnegative_world(5_000, 48, 48, 3, noise=0.1, seed=0)


@pytest.mark.parametrize("update", ["online", "batch", "ksvd"])
def test_atoms_are_learned_with_their_sign(world, update):
    settings = {"n_components": 48, "n_nonzero_coefs": 3, "random_state": 3, "update": update}
    result = daskksvd.fit(world.rows, **settings, nonnegative=True)
    errors = result.history.relative_error.values
    assert (np.diff(errors) < 0.01).all() and errors[-1] < 0.85 * errors[0]
    cosines = result.dictionary.values @ world.atoms.T
    assert (cosines.max(axis=0) > 0.95).mean() > 0.9
    codes = result.encode(world.rows).compute()
    assert (codes.data > 0).all() and codes.nnz
    assert result.settings["nonnegative"] is True


def test_of_both_signs_as_before(world):
    settings = {"n_components": 40, "n_nonzero_coefs": 3, "random_state": 0, "max_passes": 2}
    one, other = (daskksvd.fit(world.rows, **settings, **more) for more in ({}, {"nonnegative": False}))
    assert_array_equal(one.dictionary, other.dictionary)
    assert (one.encode(world.rows).compute().data < 0).any()


@pytest.mark.parametrize("many", [False, True])
def test_an_update_of_k_svd_does_not_raise_the_error_of_its_atom(many):
    """Beside the step as it is written down; residuals as rows, and as Gram matrices."""
    rng = np.random.default_rng(2)
    n, d = (400, 6) if many else (12, 20)
    atoms = reference.unit_atoms(rng, 2, d)
    E = np.abs(rng.standard_normal((n, 1))) * atoms[0] + 0.7 * rng.standard_normal((n, d))
    x = np.maximum(E @ atoms[0], 0)
    residuals = E - x[:, None] * atoms[0]
    codes = Codes(np.where(x > 0, 0, -1)[:, None].astype(np.int32), x[:, None])
    spread = ksvd._spread(residuals, codes, np.array([0, -1]), atoms[:1], True)
    assert (spread.grams is not None) == many
    [after] = ksvd.dominant_directions(spread, atoms[:1], True)
    assert_allclose(after, x @ E / np.linalg.norm(x @ E), atol=1e-12)
    values = codes.values.copy()
    replace_coefficients(residuals, codes.indices, values, np.array([0, -1]), atoms[:1], after[None], True)
    used = x > 0
    assert_allclose(values[used, 0], np.maximum(E[used] @ after, 0), atol=1e-12)
    assert (values >= 0).all()
    assert_allclose(residuals[used], E[used] - values[used] * after, atol=1e-12)
    assert (residuals[used] ** 2).sum() <= ((E - x[:, None] * atoms[0])[used] ** 2).sum()


def test_an_opposite_atom_is_no_copy():
    atoms = np.concatenate([np.eye(6), -np.eye(6)[:2]])
    power = np.arange(1.0, 9)
    assert find_redundant(atoms, power, False) == [0, 1]
    assert find_redundant(atoms, power, False, True) == []
    mixed = np.concatenate([np.eye(6), [np.array([1, 1, 0, 0, 0, 0]) / np.sqrt(2)]])
    turned = np.concatenate([np.eye(6), [np.array([1, -1, 0, 0, 0, 0]) / np.sqrt(2)]])
    power = np.array([2.0, 2, 2, 2, 2, 2, 1])
    assert find_redundant(mixed, power, False, True) == [6] == find_redundant(turned, power, False)
    assert find_redundant(turned, power, False, True) == [0]  # the sum of the last and another


def test_two_others_represent_an_atom_as_non_negative_pursuit_does():
    rng = np.random.default_rng(3)
    atoms = reference.unit_atoms(rng, 30, 6)
    remainder, support = pursue_atoms(atoms, True)
    for atom in range(30):
        others = np.delete(np.arange(30), atom)
        best = others[np.argmax(atoms[others] @ atoms[atom])]
        assert support[atom, 0] == best
        if support[atom, 1] >= 0:
            coefs, rest = scipy.optimize.nnls(atoms[support[atom]].T, atoms[atom])
            assert (coefs > 0).all()
            assert_allclose(remainder[atom, 1], rest**2, atol=1e-9)


def test_opposite_samples_are_far_apart():
    rng = np.random.default_rng(4)
    directions = np.concatenate([np.eye(3), -np.eye(3)])[rng.permutation(6)]
    assert len(_far_apart(directions, 6, rng, False)) == 3
    assert len(_far_apart(directions, 6, rng, True)) == 6


def test_joint_dictionaries_can_be_non_negative(world):
    images, texts = world.rows[:800, :12], world.rows[:800, 12:]
    settings = {
        "n_components": 16,
        "n_nonzero_coefs": 3,
        "random_state": 0,
        "max_passes": 2,
        "text_weight": 0.3,
    }
    joint = daskksvd.fit_joint(images, texts, **settings, nonnegative=True)
    assert joint.images.coder.target == SparsityTarget(3, nonnegative=True)
    assert (joint.images.encode(images).compute().data > 0).all()
    with pytest.raises(TypeError, match="has no argument 'threshold'"):
        daskksvd.fit_joint(images, texts, **settings, threshold=0.3)


def test_an_atom_is_not_matched_with_its_opposite(world, monkeypatch):
    settings = {"n_components": 48, "n_nonzero_coefs": 3, "random_state": 3, "max_passes": 1}
    first = daskksvd.fit(world.rows, **settings, nonnegative=True)
    atoms = first.dictionary.values.copy()
    atoms[[0, 1]] = -atoms[[1, 0]]
    parts = (first.coder.transform, first.coder.target, first.history, "", first.settings)
    second = daskksvd.Result(atoms, *parts)
    signed, either = match_atoms(first, second), match_atoms(first.dictionary, second)
    assert_array_equal(either.second[:2], [1, 0])
    assert_allclose(either.likeness, 1, atol=1e-5)
    assert signed.cosines.sum() > either.cosines.sum()
    assert_array_equal(signed.likeness, signed.cosines)
    assert compare_fits(first, second).share_same_atom < 1 == compare_fits(first, atoms).share_same_atom
    monkeypatch.setattr("daskksvd.evaluation.matching.MATCHED_ATOMS", 40)
    near = match_atoms(first, second)
    assert near.cosines[2:].sum() > 45 and near.signed
