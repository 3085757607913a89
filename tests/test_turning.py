"""Turned atoms in rows: against the definition, codes and all, in dense NumPy."""

import dask.array as da
import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal

import daskksvd

N, D, M = 300, 12, 24


@pytest.fixture(scope="module")
def rows():
    planted = daskksvd.datasets.make_planted(N, D, M, 3, random_state=0).array.compute()
    return (planted @ np.diag(np.linspace(0.5, 3, D)) + 2).astype(np.float32)


FITS = {
    "plain": {},
    "centred": {"center": True},
    "scaled": {"center": True, "scale": True},
    "whitened": {"whiten": 0.5},
    "nonnegative": {"center": True, "nonnegative": True},
}


@pytest.fixture(scope="module")
def results(rows):
    how = {"n_components": M, "n_nonzero_coefs": 4, "max_passes": 2, "random_state": 0, "n_threads": 1}
    return {name: daskksvd.fit(rows, **how, **options) for name, options in FITS.items()}


def by_definition(result, rows, atoms, mode):
    """x + decode(z') - decode(z), all of it dense and in double precision."""
    codes = result.encode(rows).compute(scheduler="synchronous").todense().astype(float)
    after = codes.copy()
    for atom, value in atoms.items():
        after[:, atom] = {"set": value, "add": codes[:, atom] + value, "scale": codes[:, atom] * value}[mode]
    if result.coder.target.nonnegative:
        after = np.maximum(after, 0)
    mean = 0 if result.mean is None else result.mean
    decoder = result.coder.transform.decoder(result.dictionary.values)
    return rows + (after @ decoder + mean) - (codes @ decoder + mean), after != codes


@pytest.mark.parametrize("mode", ["set", "add", "scale"])
@pytest.mark.parametrize("name", FITS)
def test_follows_the_definition(results, rows, name, mode):
    result, atoms = results[name], {3: 0.0, 11: 2.0, 7: 0.5 if mode != "add" else -0.5}
    expected, changed = by_definition(result, rows, atoms, mode)
    turned = result.intervene(rows, atoms, mode=mode)
    assert isinstance(turned, np.ndarray) and turned.dtype == rows.dtype
    assert_allclose(turned, expected, atol=2e-5)
    same = ~changed.any(axis=1)
    assert_array_equal(turned[same], rows[same])  # bit for bit
    assert mode != "scale" or 0 < same.sum() < N


def test_lazy_rows_have_the_same_bits(results, rows):
    result = results["whitened"]
    whole = result.intervene(rows, {2: 1.5})
    lazy = result.intervene(da.from_array(rows, chunks=(70, 5)), {2: 1.5})
    assert isinstance(lazy, da.Array) and lazy.shape == rows.shape and lazy.dtype == rows.dtype
    assert_array_equal(lazy.compute(scheduler="synchronous"), whole)
    assert_array_equal(lazy[40:90].compute(scheduler="synchronous"), whole[40:90])


def test_what_the_code_leaves_unexplained_stays(results, rows):
    result = results["centred"]
    off = result.intervene(rows, dict.fromkeys(range(M), 0.0))
    left = rows - result.decode(result.encode(rows)).compute(scheduler="synchronous")
    assert_allclose(off, left + result.mean, atol=2e-5)


def test_dtypes_of_rows(results, rows):
    for dtype, expected in (("float16", "float32"), ("float64", "float64"), ("int16", "float32")):
        turned = results["plain"].intervene(rows.astype(dtype), {0: 1.0})
        assert turned.dtype == expected


def test_one_product_and_a_refit(results, rows):
    result = daskksvd.fit(
        rows, n_components=M, n_nonzero_coefs=4, max_passes=1, random_state=0, n_threads=1
    ).fit_encoder(rows)
    uses = result.encode(rows, method="oneshot").compute(scheduler="synchronous").todense()[:, 5] != 0
    turned = result.intervene(rows, {5: 0.0}, method="oneshot")
    assert_array_equal((turned != rows).any(axis=1), uses)


@pytest.mark.parametrize(
    ("atoms", "how", "error", "said"),
    [
        ({}, {}, TypeError, "atoms is {}; it must be a dict from atoms to numbers"),
        ([3], {}, TypeError, r"atoms is \[3\]"),
        ({M: 0.0}, {}, ValueError, f"key {M}; it must be an atom from 0 to {M - 1}"),
        ({-1: 0.0}, {}, ValueError, "key -1"),
        ({"3": 0.0}, {}, TypeError, "key '3'; atoms are whole numbers"),
        ({True: 0.0}, {}, TypeError, "key True"),
        ({3: "much"}, {}, TypeError, "value 'much' for atom 3; it must be a number"),
        ({3: np.nan}, {}, ValueError, "value nan for atom 3; it must be finite"),
        ({3: 0.0}, {"mode": "off"}, ValueError, "mode='off'; it must be one of 'set', 'add', 'scale'"),
        ({3: 0.0}, {"method": "oneshot"}, ValueError, "call fit_encoder first"),
    ],
)
def test_refusals(results, rows, atoms, how, error, said):
    with pytest.raises(error, match=said):
        results["plain"].intervene(rows, atoms, **how)


def test_no_negative_coefficients_in_codes_without(results, rows):
    for mode in ("set", "scale"):
        with pytest.raises(ValueError, match="have no negative coefficients; it must be 0 or more"):
            results["nonnegative"].intervene(rows, {3: -1.0}, mode=mode)
    with pytest.raises(ValueError, match="array has 5 features; the dictionary was learned on 12"):
        results["plain"].intervene(rows[:, :5], {3: 0.0})
    with pytest.raises(ValueError, match="row 7"):
        bad = rows.copy()
        bad[7, 2] = np.nan
        results["plain"].intervene(bad, {3: 0.0})
