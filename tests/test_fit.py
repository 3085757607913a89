"""`daskksvd.fit` on small data: the same bits from any input, clear refusals, defined results."""

import dask.array as da
import numpy as np
import pytest
import reference
import xarray as xr
import zarr
from numpy.testing import assert_allclose, assert_array_equal
from small import D, K, M, N, assert_same_bits, fit, samples, stop_at_once

import daskksvd
from daskksvd.datasets import make_planted, recovered_atoms
from daskksvd.fitting import statistics as moments
from daskksvd.fitting.updates.batch import BATCH_SWEEPS
from daskksvd.rows import source


@pytest.fixture(scope="module")
def Y():
    return samples()


# ------------------------------------------------------------------- the same bits


@pytest.mark.parametrize(
    "options",
    [
        {},
        {"dtype": "float64", "center": True, "update": "batch"},
        {"scale": True, "holdout": 0.1, "pursuit": "mp", "init": "k-means++"},
        {"whiten": 0.25, "rtol": 0.3, "n_nonzero_coefs": None},
    ],
    ids=str,
)
def test_the_kind_of_input_and_the_threads_change_no_bit(Y, options, tmp_path, monkeypatch):
    monkeypatch.setattr(source, "MEMORY_CHUNK_BYTES", 150 * D * 8)
    store = zarr.create_array(tmp_path / "Y.zarr", shape=Y.shape, dtype="f8", chunks=(150, D))
    store[:] = Y
    lazy = da.from_array(Y, chunks=(150, D))
    expected = fit(Y, **options)
    others = {
        "again": fit(Y, **options),
        "dask": fit(lazy, **options),
        "dask, features in chunks": fit(da.from_array(Y, chunks=(150, 3)), **options),
        "dask, not kept": fit(lazy, persist=False, **options),
        "dask, kept": fit(lazy, persist=True, **options),
        "xarray": fit(xr.DataArray(Y, dims=("sample", "feature")), **options),
        "xarray of dask": fit(xr.DataArray(lazy, dims=("sample", "feature")), **options),
        "zarr": fit(store, **options),
        "path": fit(str(tmp_path / "Y.zarr"), **options),
        "one thread": fit(lazy, **options, n_threads=1),
        "four threads": fit(lazy, **options, n_threads=4),
        "threads by default": fit(Y, **options, n_threads=None),
    }
    assert store.chunks == (150, D)
    for name, result in others.items():
        try:
            assert_same_bits(result, expected)
        except AssertionError as error:
            raise AssertionError(name) from error


def test_values_decide_and_not_their_dtype(Y):
    half, whole, flags = Y.astype(np.float16), (Y * 30).round(), Y > 1
    for array, others in (
        (half.astype(np.float64), [half, half.astype(np.float32)]),
        (whole, [whole.astype(np.int16), whole.astype(np.int64)]),
        (flags.astype(np.float64), [flags, flags.astype(np.uint8)]),
    ):
        expected = fit(array)
        for other in others:
            found = fit(other)
            assert_array_equal(found.dictionary, expected.dictionary)
            assert_array_equal(found.history.relative_error, expected.history.relative_error)


def test_seeds_of_every_kind_repeat(Y):
    expected = fit(Y, random_state=5)
    assert_same_bits(fit(Y, random_state=np.int64(5)), expected)
    assert not np.array_equal(fit(Y, random_state=6).dictionary, expected.dictionary)
    for make in (np.random.default_rng, np.random.RandomState):
        assert_same_bits(fit(Y, random_state=make(3)), fit(Y, random_state=make(3)))
    drawn = fit(Y, random_state=None)
    assert_same_bits(fit(Y, random_state=drawn.settings["random_state"]), drawn)


def test_chunks_change_the_order_of_sums_only_slightly(Y):
    """Full passes see all rows at once: any chunks give the same, but for rounding."""
    options = {"update": "batch", "dtype": "float64", "replace_atoms": False, "init": Y[:M], "max_passes": 3}
    expected = fit(Y, **options)
    for chunks in ((1, D), (33, 5), ((1, 400, 9, 290), D)):
        found = fit(da.from_array(Y, chunks=chunks), **options)
        assert_allclose(found.dictionary, expected.dictionary, atol=1e-9)
        assert_allclose(found.history.relative_error, expected.history.relative_error)


# ------------------------------------------------------- against dense computation


def mapped(Y, options):
    """Rows in the coding space, basis and scale, by NumPy."""
    mean, basis, scale = np.zeros(D), np.eye(D), np.ones(D)
    if options.get("center") or "whiten" in options:
        mean = Y.mean(axis=0)
    if options.get("scale"):
        scale = Y.std(axis=0)
    if "whiten" in options:
        eigenvalues, basis = np.linalg.eigh(np.cov(Y.T, bias=True))
        scale = eigenvalues ** options["whiten"]
    return (Y - mean) @ basis / scale, mean, basis, scale


@pytest.mark.parametrize(
    "options",
    [
        {},
        {"center": True},
        {"scale": True},
        {"center": True, "scale": True},
        {"whiten": 0.25},
        {"whiten": 0.5, "pursuit": "mp"},
        {"pursuit": "mp"},
        {"rtol": 0.4, "n_nonzero_coefs": None},
        {"rtol": 0.4},
    ],
    ids=str,
)
def test_one_pass_is_pursuit_and_a_sweep_by_plain_loops(Y, options):
    rows, mean, basis, scale = mapped(Y, options)
    start = reference.unit_atoms(np.random.default_rng(0), M, D)
    k = options.get("n_nonzero_coefs", K) or D
    textbook = reference.mp if options.get("pursuit") == "mp" else reference.omp
    X = reference.code_all(rows, start @ basis, k, options.get("rtol", 0.0), textbook)
    left = rows - X @ start @ basis
    swept = reference.sweep(start @ basis, X.T @ X, X.T @ rows, BATCH_SWEEPS)

    result = fit(
        da.from_array(Y, chunks=(130, D)), update="batch", max_passes=1, init=start * 3, dtype="float64",
        **options,
    )  # fmt: skip
    last = result.history.isel({"pass": 0})
    assert_allclose(last.relative_error, np.linalg.norm(left) / np.linalg.norm(rows))
    original = np.linalg.norm(left * scale)
    assert_allclose(last.relative_error_original, original / np.linalg.norm(Y - mean))
    assert_allclose(last.fvu, original**2 / ((Y - Y.mean(axis=0)) ** 2).sum())
    assert_allclose(last.mean_nonzeros, (X != 0).sum() / N)
    assert last.used_atoms == (X != 0).any(axis=0).sum()
    assert last.replaced_atoms == 0 and np.isnan(last.holdout_error) and last.kind == "full"
    assert_allclose(result.dictionary, swept @ basis.T, atol=1e-8)
    assert_allclose(np.linalg.norm(result.dictionary, axis=1), 1)


@pytest.mark.parametrize("options", [{"center": True}, {"scale": True}, {"whiten": 0.25}], ids=str)
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_errors_in_the_metric_of_the_data_are_those_of_decoded_codes(Y, options, dtype):
    result = fit(Y, dtype=dtype, **options)
    assert result.dictionary.dtype == dtype
    left = Y - result.decode(result.encode(Y)).compute()
    found = result.evaluate(Y)
    mean = mapped(Y, options)[1]
    assert_allclose(
        found["relative_error_original"], np.linalg.norm(left) / np.linalg.norm(Y - mean), rtol=1e-4
    )
    assert_allclose(found["fvu"], (left**2).sum() / ((Y - Y.mean(axis=0)) ** 2).sum(), rtol=1e-3)


# ----------------------------------------------------------------------- the start


@pytest.mark.parametrize("init", ["rows", "k-means++"])
@pytest.mark.parametrize("center", [False, True])
def test_a_fit_starts_at_distinct_samples(Y, init, center):
    result = fit(Y, init=init, center=center, callbacks=[stop_at_once], dtype="float64")
    rows = Y - Y.mean(axis=0) if center else Y
    directions = rows / np.linalg.norm(rows, axis=1, keepdims=True)
    cosines = result.dictionary.values @ directions.T
    assert_allclose(cosines.max(axis=1), 1)
    middle = np.median(directions, axis=0)  # random ones, not the first of some order
    assert ((result.dictionary.values > middle).mean(axis=0) > 0.1).all()
    assert ((result.dictionary.values < middle).mean(axis=0) > 0.1).all()
    assert len(set(cosines.argmax(axis=1))) == M


def test_random_directions_are_of_unit_norm_and_no_samples(Y):
    result = fit(Y, init="random", callbacks=[stop_at_once])
    assert_allclose(np.linalg.norm(result.dictionary, axis=1), 1, rtol=1e-6)
    cosines = result.dictionary.values @ (Y / np.linalg.norm(Y, axis=1, keepdims=True)).T
    assert cosines.max() < 1 - 1e-6
    assert np.abs(result.dictionary.values.mean(axis=0)).max() < 0.4


@pytest.mark.parametrize("options", [{}, {"whiten": 0.25}, {"scale": True, "center": True}], ids=str)
def test_a_given_start_is_set_to_unit_norm_on_the_original_features(Y, options):
    start = np.random.default_rng(0).standard_normal((M, D))
    result = fit(Y, init=start, callbacks=[stop_at_once], dtype="float64", **options)
    assert_allclose(result.dictionary, start / np.linalg.norm(start, axis=1, keepdims=True), atol=1e-12)


def test_the_norms_of_a_given_start_do_not_matter(Y):
    rng = np.random.default_rng(0)
    start = rng.standard_normal((M, D))
    expected = fit(Y, init=start)
    assert_same_bits(fit(Y, init=start * 2.0 ** rng.integers(-9, 9, (M, 1))), expected)
    assert_same_bits(fit(Y, init=xr.DataArray(start, dims=("atom", "feature"))), expected)
    assert_same_bits(fit(Y, init=start.tolist()), expected)
    again = fit(Y, init=expected.dictionary)
    assert again.history.relative_error[0] < expected.history.relative_error[0]


# ------------------------------------------------------------------------ refusals

BAD_ARGUMENTS = [
    ({"n_components": 701}, ValueError, ["array has 700 samples", "n_components=701", "fewer atoms"]),
    ({"n_components": 0}, ValueError, ["n_components=0", "at least 1"]),
    ({"n_components": -3}, ValueError, ["n_components=-3", "at least 1"]),
    ({"n_components": 4.0}, TypeError, ["n_components is 4.0", "whole number"]),
    ({"n_components": "20"}, TypeError, ["n_components is '20'", "whole number"]),
    ({"n_components": None}, TypeError, ["n_components is None", "whole number"]),
    ({"n_components": True}, TypeError, ["n_components is True", "whole number"]),
    ({"n_nonzero_coefs": 0}, ValueError, ["n_nonzero_coefs=0", "at least 1"]),
    ({"n_nonzero_coefs": 2.5}, TypeError, ["n_nonzero_coefs is 2.5", "whole number"]),
    ({"n_nonzero_coefs": 21}, ValueError, ["n_nonzero_coefs=21", "n_components=20"]),
    ({"n_nonzero_coefs": 9}, ValueError, ["n_nonzero_coefs=9", "8 features"]),
    ({"n_nonzero_coefs": None}, ValueError, ["neither n_nonzero_coefs nor rtol", "or several"]),
    ({"rtol": 0}, ValueError, ["rtol=0", "more than 0 and less than 1"]),
    ({"rtol": 1.0}, ValueError, ["rtol=1.0", "more than 0 and less than 1"]),
    ({"rtol": np.nan}, ValueError, ["rtol=nan", "more than 0"]),
    ({"rtol": "small"}, TypeError, ["rtol is 'small'", "more than 0"]),
    ({"pursuit": "lasso"}, ValueError, ["pursuit='lasso'", "'omp', 'mp'"]),
    ({"update": "svd"}, ValueError, ["update='svd'", "'online', 'batch', 'ksvd'"]),
    ({"init": "zeros"}, ValueError, ["init='zeros'", "'rows', 'random', 'k-means++'", "array"]),
    ({"init": None}, ValueError, ["init has shape ()", "(20, 8)"]),
    (
        {"init": np.ones((8, 20))},
        ValueError,
        ["init has shape (8, 20)", "n_components x n_features", "(20, 8)"],
    ),
    ({"init": np.ones(20)}, ValueError, ["init has shape (20,)", "(20, 8)"]),
    ({"init": np.eye(20, 8)}, ValueError, ["init has 12 zero atoms", "first: atom 8"]),
    ({"init": np.full((20, 8), np.nan)}, ValueError, ["init has NaN", "atom 0"]),
    ({"init": np.full((20, 8), 1j)}, TypeError, ["init has dtype complex128", "real"]),
    ({"init": np.full((20, 8), "x")}, TypeError, ["init has dtype <U1", "real"]),
    ({"max_passes": 0}, ValueError, ["max_passes=0", "at least 1"]),
    ({"max_passes": 1.5}, TypeError, ["max_passes is 1.5", "whole number"]),
    ({"tol": -0.1}, ValueError, ["tol=-0.1", "from 0 to 1"]),
    ({"tol": np.inf}, ValueError, ["tol=inf", "from 0 to 1"]),
    ({"max_time": 0}, ValueError, ["max_time=0", "seconds above 0"]),
    ({"max_time": "1h"}, TypeError, ["max_time is '1h'", "seconds above 0"]),
    ({"holdout": 0.95}, ValueError, ["holdout=0.95", "from 0 to 0.9"]),
    ({"holdout": -0.1}, ValueError, ["holdout=-0.1", "from 0 to 0.9"]),
    ({"holdout": 0.9, "n_components": 100}, ValueError, ["holdout=0.9 leaves 70 of 700", "n_components=100"]),
    ({"whiten": 1.5}, ValueError, ["whiten=1.5", "0.25 is half-whitening"]),
    ({"whiten": -0.5}, ValueError, ["whiten=-0.5", "0.25 is half-whitening"]),
    ({"whiten": "half"}, TypeError, ["whiten is 'half'", "0.25 is half-whitening"]),
    ({"whiten": 0.5, "scale": True}, ValueError, ["scale=True and whiten", "leave one of them out"]),
    ({"n_blocks": 4}, ValueError, ["n_blocks", "update='online'", "update='ksvd'"]),
    ({"n_blocks": 21, "update": "ksvd"}, ValueError, ["n_blocks=21", "n_components=20"]),
    ({"n_blocks": 0, "update": "ksvd"}, ValueError, ["n_blocks=0", "at least 1"]),
    ({"dtype": "abc"}, ValueError, ["dtype is abc", "'float32' or 'float64'"]),
    ({"dtype": None}, ValueError, ["dtype is None", "'float32' or 'float64'"]),
    ({"dtype": 3}, ValueError, ["dtype is 3", "'float32' or 'float64'"]),
    ({"dtype": "float16"}, ValueError, ["dtype is float16", "'float32' or 'float64'"]),
    ({"dtype": "int32"}, ValueError, ["dtype is int32", "'float32' or 'float64'"]),
    ({"dtype": ">f4"}, ValueError, ["dtype is >f4", "'float32' or 'float64'"]),
    ({"dtype": "f4,f4"}, ValueError, ["dtype is f4,f4", "'float32' or 'float64'"]),
    ({"random_state": -1}, ValueError, ["random_state=-1", "at least 0"]),
    ({"random_state": 0.5}, TypeError, ["random_state is 0.5", "whole number"]),
    ({"n_threads": 0}, ValueError, ["n_threads=0", "at least 1"]),
    ({"checkpoint_every": 0}, ValueError, ["checkpoint_every=0", "at least 1"]),
    ({"client": "tcp://host"}, TypeError, ["client is a str", "distributed.Client"]),
]


@pytest.mark.parametrize(("arguments", "error", "words"), BAD_ARGUMENTS, ids=lambda value: str(value)[:40])
def test_arguments_that_cannot_work_are_refused_before_any_row_is_read(Y, arguments, error, words):
    counted = reference.Counted(Y, 100)
    with pytest.raises(error) as caught:
        fit(counted.array, **arguments)
    assert not counted.reads
    message = str(caught.value)
    assert "\n" not in message
    for word in words:
        assert word in message


def changed(Y, **values):
    Y = Y.copy()
    for row, value in values.items():
        Y[int(row[3:]), 2] = value
    return Y


BAD_DATA = {
    "one NaN": (lambda Y: changed(Y, row401=np.nan), {}, ["has 1 row with NaN", "the first is row 401"]),
    "many": (
        lambda Y: changed(Y, row699=np.nan, row250=-np.inf, row251=np.inf),
        {},
        ["has 3 rows with NaN or infinite values", "the first is row 250"],
    ),
    "held out": (lambda Y: changed(Y, row699=np.nan), {"holdout": 0.1}, ["has 1 row", "row 699"]),
    "all zero": (lambda Y: Y * 0, {}, ["only zeros"]),
    "constant, centred": (lambda Y: Y * 0 + 3.3, {"center": True}, ["constant", "after centring"]),
    "constant, whitened": (lambda Y: Y * 0 + 3.3, {"whiten": 0.5}, ["constant", "after centring"]),
    "equal rows, centred": (lambda Y: Y * 0 + Y[3], {"center": True}, ["constant", "after centring"]),
    "too large": (lambda Y: Y * 1e20, {}, ["too large for float32", "rescale", "dtype='float64'"]),
    "too small": (lambda Y: Y * 1e-20, {}, ["too small for float32", "rescale", "dtype='float64'"]),
}


@pytest.mark.parametrize("kind", BAD_DATA)
def test_data_from_which_nothing_can_be_learned_are_refused(Y, kind):
    make, options, words = BAD_DATA[kind]
    for array in (make(Y), da.from_array(make(Y), chunks=(60, D))):
        with pytest.raises(ValueError) as caught:
            fit(array, **options)
        message = str(caught.value)
        assert message.startswith("array ") and "\n" not in message
        for word in words:
            assert word in message


@pytest.mark.parametrize("factor", [1e12, 1e-12])
def test_other_scales_are_learned_alike(Y, factor):
    expected = fit(Y, center=True)
    found = fit(Y * factor, center=True)
    assert_allclose(found.history.relative_error, expected.history.relative_error, rtol=0.05)
    double = fit(Y * factor**3, dtype="float64", max_passes=2)
    assert_allclose(
        double.evaluate(Y * factor**3)["relative_error"], double.history.relative_error[-1], atol=0.1
    )


def test_a_large_mean_in_double_precision_is_taken_out_before_rounding_to_single(Y):
    expected = fit(Y, center=True, max_passes=1)
    for offset in (1e3, 1e5):
        found = fit(Y + offset, center=True, max_passes=1)
        assert_allclose(found.history.relative_error, expected.history.relative_error, rtol=1e-3)
        X = found.encode(Y + offset).compute().todense().astype(np.float64)
        left = Y - Y.mean(axis=0) - X @ found.dictionary.values
        assert_allclose(
            found.evaluate(Y + offset)["fvu"], (left**2).sum() / ((Y - Y.mean(axis=0)) ** 2).sum(), rtol=1e-3
        )


# ----------------------------------------------------------------- defined results


def test_rows_that_repeat_are_learned_with_a_warning(Y):
    array = np.repeat(Y[:5], 40, axis=0)
    with pytest.warns(
        UserWarning, match=r"only 5 of 80 sampled rows are distinct.*other 15 of n_components=20"
    ):
        result = fit(array, max_passes=None)
    assert np.isfinite(result.dictionary.values).all()
    assert_allclose(np.linalg.norm(result.dictionary, axis=1), 1, rtol=1e-5)
    # what is really left: the captured energy itself is rounded in float32
    left = array - result.decode(result.encode(array)).compute()
    assert np.linalg.norm(left) < 1e-4 * np.linalg.norm(array)


def test_constant_data_are_learned_without_centring():
    array = np.full((60, 5), 7.0)
    with pytest.warns(UserWarning, match="only 1 of 12 sampled rows"):
        result = fit(array, n_components=3, n_nonzero_coefs=1)
    assert_allclose(np.abs(result.dictionary.values @ np.full(5, 5**-0.5)).max(), 1, rtol=1e-6)
    assert_allclose(result.decode(result.encode(array)).compute(), array, rtol=1e-5)


def test_zero_rows_use_no_atoms_and_are_no_start(Y):
    array = Y.copy()
    array[::2] = 0
    result = fit(da.from_array(array, chunks=(90, D)), init="rows")
    assert_allclose(result.history.mean_nonzeros, K / 2, atol=0.01)  # a row that is an atom needs but one
    codes = result.encode(array).compute().todense()
    assert (codes[::2] == 0).all() and (codes[1::2] != 0).any(axis=1).all()
    start = fit(array, callbacks=[stop_at_once])
    assert_allclose(np.linalg.norm(start.dictionary, axis=1), 1, rtol=1e-5)


def test_as_many_atoms_as_samples_and_one_atom_work(Y):
    result = fit(Y[:M])
    assert result.evaluate(Y[:M])["relative_error"] < 0.3
    one = fit(Y, n_components=1, n_nonzero_coefs=1, dtype="float64", max_passes=None)
    _, s, vectors = np.linalg.svd(Y, full_matrices=False)
    assert abs(one.dictionary.values[0] @ vectors[0]) > 0.9999
    error = one.evaluate(Y)["relative_error"]
    assert_allclose(error, np.sqrt((s[1:] ** 2).sum() / (s**2).sum()), rtol=1e-4)


def test_one_feature_works():
    array = np.random.default_rng(0).standard_normal((30, 1))
    with pytest.warns(UserWarning, match="distinct"):
        result = fit(array, n_components=3, n_nonzero_coefs=1)
    assert_allclose(np.abs(result.dictionary.values), 1)
    assert_allclose(result.decode(result.encode(array)).compute(), array, rtol=1e-5)


# ------------------------------------------------------------------- what it learns


@pytest.mark.parametrize("update", ["online", "batch"])
@pytest.mark.parametrize("pursuit", ["omp", "mp"])
def test_passes_lower_the_error(Y, update, pursuit):
    result = fit(Y, update=update, pursuit=pursuit, max_passes=10, tol=0, dtype="float64")
    errors = result.history.relative_error.values
    assert (errors[1:] <= 1.05 * errors[:-1]).all()
    assert errors[-1] < 0.9 * errors[0]
    assert result.evaluate(Y)["relative_error"] <= errors[-1] * 1.005


def test_rtol_alone_holds_for_every_row(Y):
    result = fit(Y, n_nonzero_coefs=None, rtol=0.25, dtype="float64")
    left = Y - result.decode(result.encode(Y)).compute()
    assert (np.linalg.norm(left, axis=1) <= 0.25 * np.linalg.norm(Y, axis=1)).all()
    assert 1 < result.history.mean_nonzeros[-1] < D
    # three passes in waves come down to it, then a full pass
    assert (result.history.relative_error.values <= 0.25 ** (np.array([1, 2, 3, 3]) / 3)).all()


def test_rtol_with_a_number_of_coefficients_holds_from_the_first_pass(Y):
    result = fit(Y, n_nonzero_coefs=D, rtol=0.25, dtype="float64")
    assert (result.history.relative_error <= 0.25).all()
    assert result.history.mean_nonzeros[-1] < result.history.mean_nonzeros[0]


@pytest.mark.parametrize("seed", [900, 901, 902])
@pytest.mark.parametrize("options", [{}, {"pursuit": "mp", "init": "random", "dtype": "float64"}], ids=str)
def test_a_planted_dictionary_is_found(seed, options):
    planted = make_planted(8000, 32, 64, 3, chunks=1500, random_state=seed)
    result = daskksvd.fit(
        planted.array, n_components=64, n_nonzero_coefs=3, random_state=seed, n_threads=2, **options
    )
    assert recovered_atoms(result.dictionary, planted.dictionary, 0.99) == 1
    rows = planted.array[:600].compute().astype(np.float64)
    textbook = reference.mp if options.get("pursuit") == "mp" else reference.omp
    X = reference.code_all(rows, planted.dictionary, 3, pursuit=textbook)
    floor = np.linalg.norm(rows - X @ planted.dictionary) / np.linalg.norm(rows)
    assert result.evaluate(rows)["relative_error"] < 1.05 * floor


def test_rows_to_replace_atoms_by_are_at_hand_whenever_atoms_are_replaced(monkeypatch):
    """An unused atom is given up as soon as it is found, one of two equal ones at the next look."""
    planted = make_planted(8000, 32, 64, 3, random_state=3)
    Y = np.concatenate([planted.array.compute(), np.zeros((8000, 1), np.float32)], axis=1)
    init = np.concatenate([planted.dictionary, np.zeros((64, 1))], axis=1)
    init[7] = np.eye(33)[32]
    init[9] = init[3]
    arguments = {"n_components": 64, "n_nonzero_coefs": 3, "init": init, "random_state": 0}
    found = daskksvd.fit(Y, **arguments)
    assert found.history.replaced_atoms.sum() >= 2
    monkeypatch.setattr("daskksvd.fitting.updates.online.may_find", lambda state, n_nonzero, n_waves: True)
    always = daskksvd.fit(Y, **arguments)
    assert_same_bits(found, always)


def test_large_dictionaries_need_no_matrix_of_atoms_by_atoms(monkeypatch):
    planted = make_planted(6_000, 16, 40, 2, random_state=4)
    arguments = {"n_components": 40, "n_nonzero_coefs": 2, "random_state": 5}
    small = daskksvd.fit(planted.array, **arguments)
    kinds = {"wave": 0, "full": 0}
    monkeypatch.setattr("daskksvd.fitting.schedule.COUPLED_ATOMS", kinds)
    monkeypatch.setattr("daskksvd.coding.products.FLOAT_GRAM_ATOMS", 0)
    monkeypatch.setattr("daskksvd.fitting.replacement.FLOAT_GRAM_ATOMS", 0)
    sizes = []
    add_all = moments.add_all

    def recorded(parts):
        sizes.extend(part.XX.shape for part in parts if part.XX is not None)
        return add_all(parts)

    monkeypatch.setattr("daskksvd.fitting.loop.MOMENTS", moments.MOMENTS._replace(combine=recorded))
    result = daskksvd.fit(planted.array, **arguments)
    assert set(sizes) == {(40,)}
    assert recovered_atoms(result.dictionary, planted.dictionary) == 1
    assert result.history.relative_error[-1] < 1.01 * small.history.relative_error[-1]
