"""Dictionaries to start from, of any size."""

import numpy as np
import pytest

import daskksvd

Y = np.random.default_rng(0).standard_normal((200, 6))
HOW = {"n_components": 8, "n_nonzero_coefs": 2, "max_passes": 1, "random_state": 0}


@pytest.mark.parametrize("size", [1e-320, 1e-300, 1e-170, 1e-30, 1, 1e30, 1e160, 1e307])
@pytest.mark.parametrize("whiten", [None, 0.5])
def test_only_the_direction_of_a_given_atom_counts(size, whiten):
    init = np.random.default_rng(1).choice([-1.0, 1.0], (8, 6))  # so that the smallest numbers hold it
    expected = daskksvd.fit(Y, init=init, whiten=whiten, dtype="float64", **HOW).dictionary.values
    found = daskksvd.fit(Y, init=init * size, whiten=whiten, dtype="float64", **HOW).dictionary.values
    np.testing.assert_allclose(found, expected, rtol=1e-9, atol=1e-12)


@pytest.mark.parametrize("size", [1e-44, 1e-30, 1e30, 1e38])
def test_of_single_precision(size):
    init = np.random.default_rng(1).choice([-1.0, 1.0], (8, 6)).astype("float32")
    expected = daskksvd.fit(Y, init=init, **HOW).dictionary.values
    found = daskksvd.fit(Y, init=init * np.float32(size), **HOW).dictionary.values
    np.testing.assert_allclose(found, expected, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize(
    ("value", "words"), [(0, "zero atom.*atom 3"), (np.nan, "NaN.*atom 3"), (np.inf, "infinite.*atom 3")]
)
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_an_atom_without_a_direction_is_refused(value, words, dtype):
    init = np.ones((8, 6), dtype)
    init[3] = value
    with pytest.raises(ValueError, match=words):
        daskksvd.fit(Y, init=init, **HOW)
    with pytest.raises(ValueError, match=words):
        daskksvd.KSVD(init=init, **HOW).partial_fit(Y)
