"""Explained variance of data whose mean is many standard deviations, beside two passes in float64."""

import dask.array as da
import numpy as np
import pytest
from numpy.testing import assert_allclose

import daskksvd
from daskksvd.datasets import make_planted

N, D = 900, 12


def uncentred(ratio, dtype="float64", spread=0.0):
    rng = np.random.default_rng(2)
    centred = make_planted(N, D, 24, 2, random_state=3).array.compute().astype(np.float64)
    centred *= np.exp(spread * rng.standard_normal(D)) / centred.std()
    return (centred + ratio * rng.choice([-1, 1], D) * rng.uniform(0.5, 1.5, D)).astype(dtype)


def reference_fvu(result, Y, array=None):
    """Of the codes that rows have in the chunks of ``array``, by which rounding chooses among atoms."""
    codes = result.encode(Y if array is None else array)
    Y = Y.astype(np.float64)
    codes = codes.compute(scheduler="threads").todense().astype(np.float64)
    mean = 0 if result.mean is None else result.mean
    left = Y - codes @ result.coder.transform.decoder(result.dictionary.values) - mean
    return (left**2).sum() / ((Y - Y.mean(axis=0)) ** 2).sum()


@pytest.mark.parametrize("ratio", [1, 1e1, 1e2, 1e3, 1e4, 1e5, 1e6])
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_score_is_that_of_two_passes(ratio, dtype):
    Y = uncentred(ratio, dtype)
    result = daskksvd.fit(Y, n_components=24, n_nonzero_coefs=3, max_passes=1, random_state=0, dtype=dtype)
    for array in (Y, da.from_array(Y, chunks=(123, D))):
        expected = reference_fvu(result, Y, array)
        found = result.evaluate(array)["fvu"]
        assert_allclose(found, expected, rtol=2e-3)
        assert_allclose(result.score(array), 1 - expected, atol=2e-3 * max(1, expected))


@pytest.mark.parametrize("ratio", [1, 1e2, 1e3])
def test_score_of_half_precision(ratio):
    Y = uncentred(ratio, "float16")
    result = daskksvd.fit(Y, n_components=24, n_nonzero_coefs=3, max_passes=1, random_state=0)
    assert_allclose(result.evaluate(Y)["fvu"], reference_fvu(result, Y), rtol=2e-3)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("settings", [{"center": True}, {"scale": True}, {"center": True, "scale": True},
                                      {"whiten": 0.5}, {"update": "ksvd"}, {"scale": True, "update": "ksvd"},
                                      {"update": "batch", "scale": True}, {"pursuit": "mp"}, {"rtol": 1e-4}],
                         ids=str)  # fmt: skip
@pytest.mark.parametrize("ratio", [1e1, 1e3, 1e5])
def test_errors_of_the_history_and_of_other_settings(ratio, dtype, settings):
    Y = uncentred(ratio, dtype, spread=0.5)
    how = {"n_components": 24, "n_nonzero_coefs": 3, "max_passes": 1, "random_state": 0, "dtype": dtype}
    result = daskksvd.fit(Y, **{**how, **settings})
    expected = reference_fvu(result, Y)
    tolerance = (
        5e-3 if dtype == "float64" or ratio < 1e5 else 5e-2
    )  # there rows themselves are rounded by .006
    assert_allclose(result.evaluate(Y)["fvu"], expected, rtol=tolerance, atol=1e-9)


@pytest.mark.parametrize("update", ["online", "batch", "ksvd"])
@pytest.mark.parametrize(("ratio", "dtype"), [(1e1, "float32"), (1e3, "float64"), (1e5, "float64")])
def test_the_history_tells_the_error_of_its_dictionary(ratio, dtype, update):
    # a last bit of an atom changes the codes in float32 where the mean is large
    Y = uncentred(ratio, dtype)
    how = {"n_components": 24, "n_nonzero_coefs": 3, "max_passes": 1, "random_state": 0, "update": update}
    how["dtype"] = dtype
    before = daskksvd.fit(Y, **how)
    # rows of the first round are coded with the dictionary that it starts from, normalised once more
    after = daskksvd.fit(Y, **{**how, "update": "batch"}, init=before.dictionary.values)
    assert_allclose(after.history.fvu[0], before.evaluate(Y)["fvu"], rtol=1e-2)
    assert_allclose(after.history.relative_error[0], before.evaluate(Y)["relative_error"], rtol=1e-2)


def test_score_of_the_estimator():
    Y = uncentred(1e4, "float32")
    model = daskksvd.KSVD(24, n_nonzero_coefs=3, max_passes=1, random_state=0).fit(Y)
    left = Y.astype(np.float64) - model.transform(Y).astype(np.float64) @ model.components_.astype(np.float64)
    exact = Y.astype(np.float64)
    assert_allclose(1 - model.score(Y), (left**2).sum() / ((exact - exact.mean(0)) ** 2).sum(), rtol=2e-3)
