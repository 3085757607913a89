"""Pursuit among atoms that are nearly alike, beside scikit-learn's and least squares on the support."""

import numpy as np
import pytest
import reference
from numpy.testing import assert_allclose, assert_array_equal
from reference import products_of
from sklearn.linear_model import orthogonal_mp

from daskksvd.coding import code_block

ANGLES = [1, 0.57, 0.5, 0.1, 0.01, 1e-3]  # degrees


def near(rng, m, d, angle, dtype):
    """Random atoms, each with another at a given angle."""
    atoms = reference.unit_atoms(rng, m, d)
    other = rng.standard_normal((m, d))
    other -= (other * atoms).sum(axis=1, keepdims=True) * atoms
    other /= np.linalg.norm(other, axis=1, keepdims=True)
    angle = np.deg2rad(angle)
    return np.concatenate([atoms, np.cos(angle) * atoms + np.sin(angle) * other]).astype(dtype)


def left(rows, atoms, codes):
    rest = rows.astype(np.float64) - reference.dense(codes, len(atoms)) @ atoms.astype(np.float64)
    return np.linalg.norm(rest, axis=1)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("angle", ANGLES)
@pytest.mark.parametrize(("m", "d", "k"), [(4, 8, 3), (20, 10, 6), (200, 30, 8)])
def test_nothing_is_left_that_a_reference_takes(dtype, angle, m, d, k):
    rng = np.random.default_rng(int(angle * 1000) + m)
    atoms = near(rng, m, d, angle, dtype)
    # what tells the two of a pair apart is no smaller than the pair
    rows = rng.standard_normal((40, m)) * (rng.random((40, m)) < 2 / m) @ atoms[:m].astype(np.float64)
    rows = np.concatenate([rows, rng.standard_normal((40, d))]).astype(dtype)
    codes, energy, explained = code_block(rows, products_of(atoms, k))
    assert np.isfinite(codes.values).all()
    found, size = left(rows, atoms, codes), np.linalg.norm(rows.astype(np.float64), axis=1)
    assert_allclose(energy - explained, found**2, rtol=2e-2, atol=1e-13 * size.max() ** 2)
    eps = np.finfo(dtype).eps
    exact = atoms.astype(np.float64)
    for row, y in enumerate(rows.astype(np.float64)):
        support, coefs = reference.omp(y, exact, k)
        best = np.linalg.norm(y - coefs @ exact[support])
        # least squares on the support that was chosen, whichever of two near atoms came first
        chosen = codes.indices[row][codes.indices[row] >= 0]
        assert len(set(chosen)) == len(chosen)
        fitted = np.linalg.norm(y - np.linalg.lstsq(exact[chosen].T, y, rcond=None)[0] @ exact[chosen])
        rounding = 20 * eps * np.abs(codes.values[row]).sum() + 20 * eps * size[row]
        assert found[row] <= fitted + rounding
        if found[row] > best + rounding:  # a step was as good as a tie: the first that differs shows it
            step = next(i for i, (a, b) in enumerate(zip(chosen, support, strict=False)) if a != b)
            rest = y - np.linalg.lstsq(exact[chosen[:step]].T, y, rcond=None)[0] @ exact[chosen[:step]]
            correlations = np.abs(exact @ rest)
            assert correlations[chosen[step]] >= correlations.max() - 20 * eps * size[row]


@pytest.mark.parametrize("angle", ANGLES)
def test_as_many_atoms_as_scikit_learn_takes(angle):
    rng = np.random.default_rng(8)
    atoms = near(rng, 12, 9, angle, "float64")
    rows = rng.standard_normal((50, 9))
    codes, _, _ = code_block(rows, products_of(atoms, 5))
    expected = orthogonal_mp(atoms.T, rows.T, n_nonzero_coefs=5).T
    theirs = np.linalg.norm(rows - expected @ atoms, axis=1)
    assert (left(rows, atoms, codes) <= theirs + 1e-7).all()
    assert ((codes.indices >= 0).sum(axis=1) >= (expected != 0).sum(axis=1)).all()


@pytest.mark.parametrize("pursuit", ["omp", "mp"])
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_copies_of_atoms_and_their_rounding_are_not_used(pursuit, dtype):
    rng = np.random.default_rng(3)
    atoms = reference.unit_atoms(rng, 10, 16).astype(dtype)
    copies = atoms * (1 + np.finfo(dtype).eps * rng.integers(-1, 2, atoms.shape)).astype(dtype)
    rows = rng.standard_normal((60, 16)).astype(dtype)
    codes, energy, explained = code_block(
        rows, products_of(np.concatenate([atoms, copies, -atoms]), 10, 0.0, pursuit)
    )
    assert np.isfinite(codes.values).all() and np.abs(codes.values).max() < 100 * np.abs(rows).max()
    assert_allclose(
        energy - explained, left(rows, np.concatenate([atoms, copies, -atoms]), codes) ** 2, rtol=1e-3
    )


@pytest.mark.parametrize("angle", ANGLES)
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_the_refit_of_mp_among_near_atoms_is_least_squares(angle, dtype):
    rng = np.random.default_rng(4)
    atoms = near(rng, 12, 9, angle, dtype)
    rows = rng.standard_normal((50, 9)).astype(dtype)
    codes, energy, explained = code_block(rows, products_of(atoms, 4, 0.0, "mp"))
    found, exact = left(rows, atoms, codes), atoms.astype(np.float64)
    assert_allclose(energy - explained, found**2, rtol=1e-3)
    for row, y in enumerate(rows.astype(np.float64)):
        chosen = codes.indices[row][codes.indices[row] >= 0]
        fitted = np.linalg.norm(y - np.linalg.lstsq(exact[chosen].T, y, rcond=None)[0] @ exact[chosen])
        assert found[row] <= fitted + 20 * np.finfo(dtype).eps * np.abs(codes.values[row]).sum()


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_the_number_alone_decides(dtype):
    """Rows of which hardly anything is left after some atoms go on to the last that is no rounding."""
    rng = np.random.default_rng(6)
    eps = np.finfo(dtype).eps
    atoms = np.eye(8, dtype=dtype)
    rows = np.zeros((30, 8), dtype)
    for row in rows:
        row[rng.permutation(8)] = [1, 0.7, 3e-3, 4e-4, 2e-4, 90 * eps, 40 * eps, 0]
    codes, energy, explained = code_block(rows, products_of(atoms, 8))
    assert_array_equal((codes.indices >= 0).sum(axis=1), 7)
    assert_array_equal(reference.dense(codes, 8), rows)
    assert (energy - explained <= 1e-15).all()
    expected = orthogonal_mp(atoms.T.astype(float), rows.T.astype(float), n_nonzero_coefs=5).T
    codes, _, _ = code_block(rows, products_of(atoms, 5))
    assert_array_equal(reference.dense(codes, 8), expected)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("rtol", [1e-2, 3e-3, 1e-4, 1e-6])
def test_a_small_rtol_is_met_and_not_more(dtype, rtol):
    rng = np.random.default_rng(7)
    atoms = reference.unit_atoms(rng, 40, 12).astype(dtype)
    rows = rng.standard_normal((40, 12)).astype(dtype)
    products = products_of(atoms, 12, rtol)
    codes, energy, explained = code_block(rows, products)
    sizes = (codes.indices >= 0).sum(axis=1)
    norms, relative = np.sqrt(energy), left(rows, atoms, codes) / np.sqrt(energy)
    assert_allclose(np.sqrt(energy - explained) / norms, relative, rtol=1e-3, atol=2e-8)
    if rtol > 50 * np.finfo(dtype).eps:
        assert (relative[sizes < 12] <= rtol * (1 + 1e-3)).all() and (sizes < 12).any() | (rtol < 1e-3)
    for row in np.flatnonzero(sizes > 1):
        chosen = atoms[codes.indices[row][: sizes[row] - 1]].astype(np.float64)
        y = rows[row].astype(np.float64)
        assert (
            np.linalg.norm(y - np.linalg.lstsq(chosen.T, y, rcond=None)[0] @ chosen)
            > rtol * norms[row] * 0.999
        )
