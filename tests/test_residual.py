"""Correlations of residuals, and rows coded two at a time."""

import numba
import numpy as np
import pytest
import reference
from numpy.testing import assert_allclose, assert_array_equal

from daskksvd.coding import Stopping, code_block, make_coder
from daskksvd.constants import ATOM_PAD
from daskksvd.kernels import residual


@numba.njit
def subtract(p, q, gram, support, x, size, tops, ahead):
    residual.subtract_atoms(p, q, gram, support, x, size, tops, gram, ahead, ahead)


@numba.njit
def place(q, tops):
    return residual.find(q, tops, residual.largest(tops))


@numba.njit
def second(q, tops, first):
    residual.take_out(q, tops, first)
    return residual.find(q, tops, residual.largest(tops))


@pytest.mark.parametrize("gram_dtype", ["f4", "f8", "i2"])
@pytest.mark.parametrize("m", [ATOM_PAD, 5 * ATOM_PAD])
def test_correlations_of_a_residual(gram_dtype, m):
    rng = np.random.default_rng(m)
    dtype = np.dtype("f8" if gram_dtype == "f8" else "f4")
    gram = (100 * rng.standard_normal((m, m))).astype(gram_dtype)
    tops = np.empty(residual.tops_size(m), f"i{dtype.itemsize}")
    for size in range(8):
        p, x = rng.standard_normal(m).astype(dtype), rng.standard_normal(8).astype(dtype)
        support = rng.permutation(m)[:8]
        q = np.full(m, np.nan, dtype)
        subtract(p, q, gram, support, x, size, tops, size - 1)  # -1: nothing to fetch
        expected = p.astype("f8") - x[:size].astype("f8") @ gram[support[:size]].astype("f8")
        assert_allclose(q, expected, rtol=1e-4, atol=1e-4)
        magnitudes = np.abs(q)
        assert tops.max() == magnitudes.max().view(tops.dtype)
        order = np.argsort(-magnitudes)
        assert place(q, tops) == order[0]
        assert second(q, tops, order[0]) == order[1]
        assert q[order[0]] == 0
        again = p.copy()
        subtract(again, again, gram, support, x, size, tops, -1)
        again[order[0]] = 0
        assert_array_equal(again, q)


def test_of_equal_magnitudes_the_first_is_found():
    tops = np.empty(residual.tops_size(256), np.int32)
    support, x = np.zeros(1, np.int64), np.zeros(1, np.float32)
    for places in ([3, 4], [17, 33], [70, 134], [63, 64], [15, 16, 255]):
        q = np.zeros(256, np.float32)
        q[places] = [(-1) ** i * 2 for i in range(len(places))]
        subtract(q, q, np.zeros((256, 256), np.float32), support, x, 0, tops, -1)
        assert place(q, tops) == places[0]


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
        coder = make_coder(atoms, Stopping(7, rtol, "omp"))
        codes, energy, explained = code_block(rows, coder)
        used = (codes.indices >= 0).sum(axis=1)
        assert n < 40 or len(set(used)) > 1
        for row in range(n):
            others = np.zeros_like(rows)
            others[row] = rows[row]
            alone, energy_alone, explained_alone = code_block(others, coder)
            assert_array_equal(alone.indices[row], codes.indices[row])
            assert_array_equal(alone.values[row], codes.values[row])
            assert energy_alone[row] == energy[row]
            assert explained_alone[row] == explained[row]
