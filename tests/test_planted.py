"""The law of the planted data."""

import dask.array as da
import numpy as np
import pytest
import sparse
from numpy.testing import assert_allclose, assert_array_equal

import daskksvd
from daskksvd.datasets import make_planted, recovered_atoms


def test_samples_without_noise_are_codes_times_atoms():
    planted = make_planted(500, 12, 30, 4, noise=0, dtype="float64", chunks=130, random_state=3)
    codes = planted.codes.compute().todense()
    assert_allclose(planted.array.compute(), codes @ planted.dictionary, atol=1e-12)
    single = make_planted(500, 12, 30, 4, noise=0, chunks=130, random_state=3)
    assert_allclose(single.array.compute(), codes @ planted.dictionary, atol=1e-5)


def test_every_sample_has_k_distinct_atoms_of_unit_norm():
    planted = make_planted(700, 9, 25, 5, chunks=200, random_state=0)
    codes = planted.codes.compute()
    assert isinstance(codes, sparse.COO) and codes.shape == (700, 25)
    assert codes.nnz == 700 * 5  # drawn twice, an atom would be one entry
    assert_array_equal((codes.todense() != 0).sum(axis=1), 5)
    assert planted.dictionary.shape == (25, 9) and planted.dictionary.dtype == np.float64
    assert_allclose(np.linalg.norm(planted.dictionary, axis=1), 1)


def test_an_atom_of_every_kind_can_be_in_every_sample():
    codes = make_planted(20, 4, 6, 6, random_state=0).codes.compute().todense()
    assert (codes != 0).all()


@pytest.mark.parametrize("noise", [0.0, 0.05, 0.5])
def test_noise_has_the_norm_asked_for_and_no_direction(noise):
    planted = make_planted(20_000, 16, 20, 3, noise=noise, dtype="float64", chunks=6000, random_state=1)
    signal = planted.codes.compute().todense() @ planted.dictionary
    rest = planted.array.compute() - signal
    assert_allclose(np.linalg.norm(rest), noise * np.linalg.norm(signal), rtol=0.02, atol=1e-9)
    if noise:
        assert_allclose(np.cov(rest.T), rest.var() * np.eye(16), atol=0.06 * rest.var())


def test_coefficients_follow_their_law():
    uniform = make_planted(5000, 4, 10, 2, random_state=0).codes.compute().data
    assert np.abs(uniform).min() >= 1 and np.abs(uniform).max() <= 2
    assert_allclose(np.abs(uniform).mean(), 1.5, atol=0.02)
    assert_allclose(np.mean(uniform > 0), 0.5, atol=0.03)
    normal = make_planted(5000, 4, 10, 2, coefficients="gaussian", random_state=0).codes.compute().data
    assert_allclose([normal.mean(), normal.std(), (normal**4).mean()], [0, 1, 3], atol=0.25)


def test_even_use_is_even():
    codes = make_planted(20_000, 4, 40, 2, random_state=0).codes.compute()
    uses = (codes != 0).sum(axis=0).todense()
    assert_allclose(uses, 1000, rtol=0.15)


def test_use_falls_off_as_a_power():
    codes = make_planted(60_000, 4, 50, 1, usage="power", random_state=0).codes.compute()
    uses = (codes != 0).sum(axis=0).todense()
    expected = 1 / np.arange(1, 51)
    assert_allclose(uses, 60_000 * expected / expected.sum(), rtol=0.2)
    # with more than one a sample: drawn one after the other, without replacement
    codes = make_planted(60_000, 4, 3, 2, usage="power", random_state=0).codes.compute()
    p = np.array([6, 3, 2]) / 11
    both = [p[i] * p[j] / (1 - p[i]) + p[j] * p[i] / (1 - p[j]) for i, j in ((0, 1), (0, 2), (1, 2))]
    shares = (codes != 0).mean(axis=0).todense()
    assert_allclose(shares, [both[0] + both[1], both[0] + both[2], both[1] + both[2]], atol=0.01)


def test_the_data_are_lazy_and_the_same_in_any_order():
    planted = make_planted(10**9, 64, 128, 4, random_state=5)
    assert isinstance(planted.array, da.Array) and planted.array.shape == (10**9, 64)
    assert planted.array.dtype == np.float32
    assert max(planted.array.chunks[0]) * 64 * 4 <= 32 * 2**20
    part = make_planted(1000, 8, 16, 3, chunks=100, random_state=5)
    whole = part.array.compute()
    assert_array_equal(part.array[300:400].compute(), whole[300:400])
    assert_array_equal(part.array.blocks[7].compute(scheduler="sync"), whole[700:800])
    again = make_planted(1000, 8, 16, 3, chunks=100, random_state=5)
    assert_array_equal(again.array.compute(), whole)
    assert_array_equal(again.dictionary, part.dictionary)
    assert (np.diff(np.sort(whole[:, 0])) > 0).all()  # no chunk repeats another


def test_seeds_make_other_data():
    one, two, three = (make_planted(50, 4, 8, 2, random_state=seed) for seed in (0, 1, None))
    assert not np.allclose(one.dictionary, two.dictionary)
    assert not np.allclose(one.dictionary, three.dictionary)
    assert not np.allclose(one.array.compute(), two.array.compute())


def test_a_fit_with_the_same_seed_does_not_start_at_the_truth():
    planted = make_planted(2000, 16, 24, 3, random_state=0)
    for init in ("rows", "random"):
        result = daskksvd.fit(
            planted.array, n_components=24, n_nonzero_coefs=3, init=init, random_state=0, max_passes=1,
            callbacks=[stop_at_once], n_threads=2,
        )  # fmt: skip
        assert recovered_atoms(result.dictionary, planted.dictionary, 0.99) < 0.2


def stop_at_once(event):
    raise daskksvd.StopFit


def test_recovered_atoms_is_the_share_of_true_atoms_found():
    truth = np.eye(4)
    found = np.array([[0, -1.0, 0, 0], [0.96, 0.28, 0, 0], [0.94, 0, 0.3411, 0], [0.9, 0, 0, 0.4358]])
    assert recovered_atoms(found, truth) == 0.5
    assert recovered_atoms(found, truth, threshold=0.97) == 0.25
    assert recovered_atoms(-truth[::-1], truth) == 1
    assert recovered_atoms(np.eye(4)[[0, 0, 0, 0]], truth) == 0.25


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ({"n_nonzero_coefs": 9}, ["n_nonzero_coefs=9", "n_components=8"]),
        ({"coefficients": "cauchy"}, ["coefficients='cauchy'", "'uniform', 'gaussian'"]),
        ({"usage": "odd"}, ["usage='odd'", "'even', 'power'"]),
    ],
)
def test_wrong_arguments_are_named(arguments, words):
    with pytest.raises(ValueError) as caught:
        make_planted(
            **{"n_samples": 10, "n_features": 4, "n_components": 8, "n_nonzero_coefs": 2, **arguments}
        )
    for word in words:
        assert word in str(caught.value)
