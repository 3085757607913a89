"""The survey of rows, and the transforms that are made of it."""

import dask.array as da
import numpy as np
import pytest
import reference
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.testing import assert_allclose, assert_array_equal
from reference import products_of
from small_rows import DTYPES, sizes, values

from daskksvd.coding import code_block
from daskksvd.rows import Transform, make_transform, run_survey
from daskksvd.rows.transform import EIGENVALUE_FLOOR

# ------------------------------------------------------------------- survey


def survey_of(array, index=(), with_covariance=False, most=None):
    executor, reader, jobs = reference.prepared(array, most=most)
    found = run_survey(reader, jobs, np.array(index, np.int64), with_covariance)
    executor.close()
    return found


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("with_covariance", [False, True])
def test_the_survey_has_the_dense_moments(dtype, with_covariance):
    X = values(5000, dtype=dtype)
    X[17] = 0
    exact = X.astype(np.float64)
    found = survey_of(da.from_array(X, chunks=(1300, 6)), [0, 17, 1300, 4999], with_covariance)
    scale = np.abs(exact).max()
    assert found.count == 5000 and found.n_bad == 0 and found.first_bad == -1
    assert found.n_zero == (exact == 0).all(axis=1).sum()
    assert found.largest == scale
    assert_allclose(found.mean, exact.mean(axis=0), atol=1e-7 * scale)
    assert_allclose(found.variance, exact.var(axis=0), rtol=1e-5)
    if with_covariance:
        assert_allclose(found.covariance, np.cov(exact.T, bias=True), atol=1e-5 * exact.var())
    assert_array_equal(found.sample_index, [0, 17, 1300, 4999])
    assert_array_equal(found.sample, X[[0, 17, 1300, 4999]])
    assert found.sample.dtype == X.dtype


@pytest.mark.parametrize("dtype", ["float16", "float32", "float64"])
def test_a_large_mean_does_not_drown_the_variance(dtype):
    X = (np.random.default_rng(0).standard_normal((20_000, 4)) * 3 + 2000).astype(dtype)
    exact = X.astype(np.float64)
    for with_covariance in (False, True):
        found = survey_of(da.from_array(X, chunks=(6000, 4)), with_covariance=with_covariance)
        assert_allclose(found.mean, exact.mean(axis=0), rtol=1e-9)
        assert_allclose(found.variance, exact.var(axis=0), rtol=1e-5)
    assert_allclose(found.covariance, np.cov(exact.T, bias=True), atol=2e-4)


@pytest.mark.parametrize(("dtype", "large"), [("uint16", 60_000), ("int32", 2**24 + 1), ("int64", 2**40 + 1)])
@pytest.mark.parametrize("with_covariance", [False, True])
def test_a_few_steps_on_a_large_constant_are_seen(dtype, large, with_covariance):
    X = np.full((4000, 2), large, dtype)
    X[::1000, 0] += 1
    found = survey_of(X, with_covariance=with_covariance)
    assert_allclose(found.mean, [large + 0.001, large], rtol=1e-12)
    assert_allclose(found.variance, [0.001 * 0.999, 0], rtol=1e-5, atol=1e-12)


@pytest.mark.parametrize("dtype", ["float16", "float32", "float64"])
def test_rows_that_are_not_finite_are_counted_across_chunks(dtype):
    X = values(9000, dtype=dtype)
    X[4500, 2], X[8200, 1], X[8200, 5], X[8999, 0] = np.nan, np.inf, -np.inf, np.nan
    for chunks, most in ((1000, None), (9000, None), (4501, 123)):
        found = survey_of(da.from_array(X, chunks=(chunks, 6)), most=most)
        assert (found.n_bad, found.first_bad, found.n_zero) == (3, 4500, 0)


def test_values_that_only_add_up_to_infinity_are_not_bad():
    X = np.full((10, 8), 6e4, np.float16)
    X = np.concatenate([X, np.full((10, 8), -6e4, np.float16)])
    assert survey_of(X).n_bad == 0
    assert survey_of(np.full((5, 4), 3e38, np.float32)).n_bad == 0


@settings(max_examples=30)
@given(sizes, st.integers(1, 70), st.booleans(), st.sampled_from(["float16", "float64"]), st.data())
def test_the_survey_does_not_depend_on_chunks(chunk_rows, most, with_covariance, dtype, data):
    n = sum(chunk_rows)
    X = values(n, 5, dtype, seed=n)
    index = sorted(data.draw(st.sets(st.integers(0, n - 1), max_size=8)))
    once = survey_of(X, index, with_covariance)
    cut = survey_of(da.from_array(X, chunks=(tuple(chunk_rows), 5)), index, with_covariance, most)
    for name, expected in once._asdict().items():
        assert_allclose(getattr(cut, name), expected, rtol=1e-5, atol=1e-6 * n * 400, err_msg=name)
    if dtype == "float64":
        assert_allclose(cut.scatter, once.scatter, rtol=1e-9, atol=1e-9 * n * 400)
    assert_array_equal(cut.sample, X[index])


# -------------------------------------------------------------- preprocessing

KINDS = [(False, False, None), (True, False, None), (False, True, None), (True, True, None),
         (False, False, 0.25), (True, False, 0.5), (False, False, 1.0)]  # fmt: skip


def mixed(n=3000, d=8):
    rng = np.random.default_rng(1)
    return rng.standard_normal((n, d)) @ rng.standard_normal((d, d)) * np.linspace(1, 20, d) + 5


@pytest.mark.parametrize(("center", "scale", "whiten"), KINDS)
def test_undo_is_the_inverse_of_apply(center, scale, whiten):
    Y = mixed()
    mapping = make_transform(survey_of(Y, with_covariance=whiten is not None), center, scale, whiten)
    rows = mapping.apply(Y, np.float64)
    assert_allclose(mapping.undo(rows), Y, atol=1e-8)
    single = mapping.cast(np.dtype("f4"))
    assert single.apply(Y, np.float32).dtype == np.float32
    assert_allclose(single.undo(single.apply(Y, np.float32)), Y, atol=2e-4 * np.abs(Y).max())
    atoms = reference.unit_atoms(np.random.default_rng(2), 11, 8)
    assert_allclose(mapping.from_coding(mapping.to_coding(atoms)), atoms, atol=1e-12)
    assert_allclose(np.linalg.norm(mapping.from_coding(atoms), axis=1), 1)
    if center or whiten is not None:
        assert_allclose(rows.mean(axis=0), 0, atol=1e-10)


@pytest.mark.parametrize("offset", [0, 1e5, 1e9])
@pytest.mark.parametrize("dtype", ["float64", "int64", "int32"])
def test_what_single_precision_cannot_hold_is_centred_first(offset, dtype):
    Y = (mixed(200) * 100 + offset).astype(dtype)
    exact = Y.astype(np.float64)
    mapping = Transform(exact.mean(axis=0), None, exact.std(axis=0)).cast(np.dtype("f4"))
    expected = (exact - exact.mean(axis=0)) / exact.std(axis=0)
    for array in (Y, np.asfortranarray(Y), Y[::2]):
        rows = mapping.apply(array, np.float32)
        assert rows.dtype == np.float32 and rows.flags.c_contiguous
        assert_allclose(rows, expected[:: len(Y) // len(rows)], atol=1e-5)
    assert_array_equal(Y.astype(np.float64), exact)


@pytest.mark.parametrize("power", [0.25, 0.5, 1.0])
def test_whitening_leaves_powers_of_the_eigenvalues(power):
    Y = mixed()
    mapping = make_transform(survey_of(Y, with_covariance=True), False, False, power)
    eigenvalues = np.linalg.eigvalsh(np.cov(Y.T, bias=True))[::-1]
    covariance = np.cov(mapping.apply(Y, np.float64).T, bias=True)
    assert_allclose(covariance, np.diag(eigenvalues ** (1 - 2 * power)), atol=1e-8 * max(1, covariance.max()))
    largest = np.abs(mapping.basis).argmax(axis=0)
    assert (mapping.basis[largest, np.arange(8)] > 0).all()


def test_directions_without_variance_are_not_blown_up():
    Y = mixed(400, 6)
    Y = np.concatenate([Y, Y[:, :2] + Y[:, 2:4]], axis=1)  # rank 6 of 8
    mapping = make_transform(survey_of(Y, with_covariance=True), False, False, 0.5)
    assert mapping.scale.min() >= np.sqrt(EIGENVALUE_FLOOR) * mapping.scale.max() * 0.999
    rows = mapping.apply(Y, np.float64)
    assert np.abs(rows[:, 6:]).max() < 1e-3
    assert_allclose(mapping.undo(rows), Y, atol=1e-8)


def test_scaling_divides_by_deviations_and_leaves_constant_features_alone():
    Y = mixed()
    Y[:, 3], Y[:, 5] = 7.3, 0
    mapping = make_transform(survey_of(da.from_array(Y, chunks=(700, 8))), True, True, None)
    varying = [0, 1, 2, 4, 6, 7]
    assert_allclose(mapping.scale[varying], Y.std(axis=0)[varying])
    assert_array_equal(mapping.scale[[3, 5]], 1)
    assert_allclose(mapping.apply(Y, np.float64).std(axis=0)[varying], 1)
    assert_allclose(mapping.apply(Y, np.float64)[:, [3, 5]], 0, atol=1e-9)


@pytest.mark.parametrize(("center", "scale", "whiten"), KINDS)
def test_the_decoder_takes_codes_to_samples(center, scale, whiten):
    Y = mixed(200)
    mapping = make_transform(survey_of(Y, with_covariance=whiten is not None), center, scale, whiten)
    D = reference.unit_atoms(np.random.default_rng(3), 14, 8)  # on the original features
    coding = mapping.to_coding(D)
    assert_allclose(np.linalg.norm(coding, axis=1), 1)
    codes, *_ = code_block(mapping.apply(Y, np.float64), products_of(coding, 3))
    X = reference.dense(codes, 14)
    mean = 0 if mapping.mean is None else mapping.mean
    assert_allclose(X @ mapping.decoder(D) + mean, mapping.undo(X @ coding), atol=1e-9)
    # and distances in the coding space, weighted, are those of the data
    left = mapping.apply(Y, np.float64) - X @ coding
    weights = 1 if mapping.scale is None else mapping.scale
    assert_allclose(((left * weights) ** 2).sum(), ((Y - X @ mapping.decoder(D) - mean) ** 2).sum())
