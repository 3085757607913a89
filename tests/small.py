"""A small problem that several modules fit."""

import numpy as np
import xarray as xr
from numpy.testing import assert_array_equal

import daskksvd
from daskksvd.datasets import make_planted

N, D, M, K = 700, 8, 20, 3


def samples():
    """Planted rows of uneven scale, off the origin, float64."""
    planted = make_planted(N, D, M, K, noise=0.2, dtype="float64", random_state=11)
    return planted.array.compute() * np.linspace(0.5, 2, D) + np.linspace(0, 3, D)


def fit(array, **options):
    """`daskksvd.fit` with quick defaults."""
    arguments = {
        "n_components": M, "n_nonzero_coefs": K, "max_passes": 4, "random_state": 0, "n_threads": 2,
        **options,
    }  # fmt: skip
    return daskksvd.fit(array, **arguments)


def stop_at_once(event):
    """Callback that ends a fit at its first event."""
    raise daskksvd.StopFit


def without_times(history):
    """A history but for what the clock says."""
    return history.drop_vars([name for name in history if "second" in name])


def assert_same_bits(one, other):
    """Two results must not differ but in their times."""
    assert_array_equal(one.dictionary.values, other.dictionary.values)
    assert one.dictionary.dtype == other.dictionary.dtype
    xr.testing.assert_identical(without_times(one.history), without_times(other.history))
    assert one.stop_reason == other.stop_reason
