"""A row's code does not depend on the rows that are coded with it."""

import functools

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from reference import products_of
from routes import dense

import daskksvd
from daskksvd.coding import code_block
from daskksvd.machine.blas import PRODUCT_ROWS, product_by_rows, single_threaded_blas


@functools.cache
def steady(dtype):
    """Whether BLAS multiplies a row alike wherever it is; OpenBLAS's kernel for AVX2 and float32 does not."""
    rng = np.random.default_rng(0)
    rows, other = (rng.standard_normal((4 * PRODUCT_ROWS, 64)).astype(dtype) for _ in range(2))
    with single_threaded_blas():
        whole = rows @ other.T
        return all(
            (rows[n : n + 64] @ other.T).tobytes() == whole[n : n + 64].tobytes() for n in range(1, 16)
        )


@pytest.fixture(params=["float32", "float64"])
def dtype(request):
    if not steady(request.param):
        pytest.skip(f"this BLAS multiplies rows of {request.param} by their place")
    return request.param


def with_ties(dtype, n=400, d=24, m=48):
    """Rows and atoms of +-1 with many correlations alike, and every atom twice."""
    rng = np.random.default_rng(3)
    rows = rng.choice([-1.0, 1.0], (n, d)) + rng.choice([0, 1e-3], (n, d))
    atoms = rng.choice([-1.0, 1.0], (m // 2, d)) / np.sqrt(d)
    return rows.astype(dtype), np.concatenate([atoms, atoms]).astype(dtype)


@pytest.mark.parametrize("pursuit", ["omp", "mp"])
@pytest.mark.parametrize("height", [1, 3, 7, 33, 100])
def test_ties_in_chunks_of_any_height(dtype, pursuit, height):
    rows, atoms = with_ties(dtype)
    products = products_of(atoms, 5, 0.0, pursuit)
    with single_threaded_blas():
        whole = code_block(rows, products)[0]
        parts = [code_block(rows[n : n + height].copy(), products)[0] for n in range(0, len(rows), height)]
    for found, expected in zip(map(np.concatenate, zip(*parts, strict=True)), whole, strict=True):
        np.testing.assert_array_equal(found, expected)


@given(st.integers(1, 90), st.integers(1, 70), st.integers(1, 80), st.integers(0, 89))
def test_products_by_rows(n, d, m, row):
    """Each alone is as among all, and both are as NumPy has them."""
    rng = np.random.default_rng(n)
    for dtype in filter(steady, ("float32", "float64")):
        rows, other = rng.standard_normal((n, d)).astype(dtype), rng.standard_normal((d, m)).astype(dtype)
        with single_threaded_blas():
            whole, alone = product_by_rows(rows, other), product_by_rows(rows[row % n :][:1], other)
        assert whole.dtype == dtype and whole.shape == (n, m)
        np.testing.assert_allclose(whole, rows.astype(float) @ other, rtol=0, atol=1e-4)
        np.testing.assert_array_equal(alone[0], whole[row % n])


def test_codes_of_a_result_in_other_chunks(dtype):
    import dask.array as da

    rows, _ = with_ties(dtype)
    result = daskksvd.fit(
        da.from_array(rows, chunks=(400, -1)), n_components=30, n_nonzero_coefs=4, max_passes=2,
        random_state=0, whiten=True, dtype=dtype,
    )  # fmt: skip
    whole = dense(result.encode(da.from_array(rows, chunks=(400, -1))))
    for height in (1, 77, 250):
        np.testing.assert_array_equal(dense(result.encode(da.from_array(rows, chunks=(height, -1)))), whole)
