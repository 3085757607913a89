"""Correlations of residuals, and rows coded two at a time."""

import numba
import numpy as np
import pytest
import reference
from numpy.testing import assert_allclose, assert_array_equal
from reference import products_of

from daskksvd.coding import code_block
from daskksvd.coding.products import ATOM_PAD
from daskksvd.kernels import residual
from daskksvd.kernels.jit import magnitude


@numba.njit
def look(p):
    return residual.largest(p, None)


@numba.njit
def subtract_atom(p, gram, atom, step):
    return residual.subtract_atom(p, gram, atom, step, None)


@numba.njit
def subtract(p, gram, atom, factor, basis, weights, size, step, ahead):
    return residual.subtract_direction(
        p, gram, atom, factor, basis, weights, size, step, gram, ahead, ahead, None
    )  # fmt: skip


@numba.njit
def close(p, bound):
    found = []
    i = residual.next_close(p, 0, magnitude(bound), None)
    while i < len(p):
        found.append(i)
        i = residual.next_close(p, i + 1, magnitude(bound), None)
    return found


def check_largest(p, found):
    """``found`` is the place of the largest magnitude, and the second largest."""
    magnitudes = np.abs(p)
    order = np.argsort(-magnitudes, kind="stable")
    second = magnitudes[order[1]].view(f"i{p.itemsize}")
    assert found == (order[0], second)


@pytest.mark.parametrize("gram_dtype", ["f4", "f8", "i2"])
@pytest.mark.parametrize("m", [ATOM_PAD, 5 * ATOM_PAD])
def test_correlations_of_a_residual(gram_dtype, m):
    """One direction after the other, beside the definition in double precision."""
    rng = np.random.default_rng(m)
    dtype = np.dtype("f8" if gram_dtype == "f8" else "f4")
    gram = (100 * rng.standard_normal((m, m))).astype(gram_dtype)
    p = rng.standard_normal(m).astype(dtype)
    basis = np.full((9, m), 99).astype(gram_dtype)
    expected = p.astype("f8")
    for size in range(8):
        atom = rng.integers(m)
        factor, step = (dtype.type(number) for number in rng.standard_normal(2))
        weights = rng.standard_normal(9).astype(dtype)
        found = subtract(p, gram, atom, factor, basis, weights, size, step, size - 1)  # -1: nothing to fetch
        check_largest(p, found)
        direction = factor * gram[atom].astype("f8") - weights[:size].astype("f8") @ basis[:size].astype("f8")
        expected -= float(step) * direction
        if gram_dtype == "i2":
            assert np.abs(basis[size] - direction).max() < 0.501
        else:
            assert_allclose(basis[size], direction, rtol=1e-4, atol=1e-3)
        assert_allclose(p, expected, rtol=1e-4, atol=1e-2)
        assert np.all(basis[size + 1 :] == 99)


def test_directions_too_large_for_their_type_stay_at_its_limits():
    gram = np.full((64, 64), 30_000, np.int16)
    gram[0, ::2] *= -1
    p, basis = np.zeros(64, np.float32), np.zeros((1, 64), np.int16)
    subtract(p, gram, 0, np.float32(2), basis, np.zeros(1, np.float32), 0, np.float32(1), -1)
    assert_array_equal(basis[0], np.tile(np.int16([-32768, 32767]), 32))
    assert_array_equal(p, np.tile(np.float32([60_000, -60_000]), 32))


@pytest.mark.parametrize("dtype", ["f4", "f8"])
def test_one_atom_taken_out(dtype):
    rng = np.random.default_rng(0)
    gram, p = rng.standard_normal((192, 192)).astype(dtype), rng.standard_normal(192).astype(dtype)
    check_largest(p, look(p))
    expected = p - p.dtype.type(0.3) * gram[7]
    check_largest(p, subtract_atom(p, gram, 7, p.dtype.type(0.3)))
    assert_allclose(p, expected, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("dtype", ["f4", "f8"])
def test_of_equal_magnitudes_the_first_is_found(dtype):
    for places in ([3, 4], [17, 33], [70, 134], [63, 64], [15, 16, 255], [0, 16], [40, 9]):
        q = np.zeros(256, dtype)
        q[places] = [(-1) ** i * 2 for i in range(len(places))]
        assert look(q) == (min(places), np.array(2, dtype).view(f"i{q.itemsize}"))
    assert look(np.zeros(256, dtype)) == (0, 0)


@pytest.mark.parametrize("dtype", ["f4", "f8"])
def test_all_that_are_close_are_found_in_turn(dtype):
    q = np.random.default_rng(1).standard_normal(320).astype(dtype)
    for bound in (q.dtype.type(0), np.abs(q[100]), np.abs(q).max(), q.dtype.type(9)):
        assert close(q, bound) == np.flatnonzero(np.abs(q) >= bound).tolist()


@pytest.mark.parametrize("n", [1, 2, 3, 40])
@pytest.mark.parametrize(("m", "d"), [(90, 40), (700, 330)])
@pytest.mark.parametrize("dtype", ["f4", "f8"])
def test_a_row_is_coded_whatever_is_beside_it(dtype, m, d, n):
    """Rows take turns, and end after different numbers of steps."""
    rng = np.random.default_rng(n)
    atoms = reference.unit_atoms(rng, m, d).astype(dtype)
    X = rng.standard_normal((n, m)) * (rng.random((n, m)) < rng.integers(0, 5, (n, 1)) / m)
    rows = (X @ atoms + 1e-3 * rng.standard_normal((n, d))).astype(dtype)
    rows[::7] = 0
    for rtol in (0.0, 0.3):
        products = products_of(atoms, 7, rtol)
        codes, energy, explained = code_block(rows, products)
        used = (codes.indices >= 0).sum(axis=1)
        assert n < 40 or len(set(used)) > 1
        for row in range(n):
            others = np.zeros_like(rows)
            others[row] = rows[row]
            alone, energy_alone, explained_alone = code_block(others, products)
            assert_array_equal(alone.indices[row], codes.indices[row])
            assert_array_equal(alone.values[row], codes.values[row])
            assert energy_alone[row] == energy[row]
            assert explained_alone[row] == explained[row]
