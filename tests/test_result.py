"""What a fit leaves: coding, decoding, scores, and stores."""

import json
import pathlib
import warnings

import dask.array as da
import numpy as np
import pandas as pd
import pytest
import reference
import scipy.sparse
import sparse
import xarray as xr
import zarr
from numpy.testing import assert_allclose, assert_array_equal

import daskksvd

N, D, M, K = 300, 10, 24, 3
PREPROCESSING = {
    "plain": {},
    "center": {"center": True},
    "scale": {"center": True, "scale": True},
    "scale only": {"scale": True},
    "whiten": {"whiten": 0.25},
}


@pytest.fixture(scope="module")
def Y():
    planted = daskksvd.datasets.make_planted(N, D, M, K, dtype="float64", random_state=4)
    return planted.array.compute() * np.linspace(0.5, 3, D) + np.linspace(-2, 2, D)


@pytest.fixture(scope="module")
def results(Y):
    return {kind: fit(Y, **options) for kind, options in PREPROCESSING.items()}


def fit(Y, **options):
    arguments = {
        "n_components": M, "n_nonzero_coefs": K, "max_passes": 4, "dtype": "float64", "random_state": 0,
        "n_threads": 2, **options,
    }  # fmt: skip
    return daskksvd.fit(Y, **arguments)


def dense_map(Y, kind):
    """Mean, basis and scale of the data as NumPy has them."""
    mean = Y.mean(axis=0) if kind not in ("plain", "scale only") else np.zeros(D)
    basis, scale = np.eye(D), np.ones(D)
    if kind.startswith("scale"):
        scale = Y.std(axis=0)
    if kind == "whiten":
        eigenvalues, basis = np.linalg.eigh(np.cov(Y.T, bias=True))
        scale = eigenvalues**0.25
    return mean, basis, scale


def reference_codes(Y, result, kind, new=None, k=K, rtol=0.0):
    """Codes by textbook pursuit of the samples ``new``, mapped as the fit on ``Y`` maps them."""
    mean, basis, scale = dense_map(Y, kind)
    rows = ((Y if new is None else new) - mean) @ basis / scale
    return reference.code_all(rows, result.dictionary.values @ basis, k, rtol), rows


# ------------------------------------------------------------------------ coding


@pytest.mark.parametrize("kind", PREPROCESSING)
def test_codes_are_those_of_textbook_omp(Y, results, kind):
    expected, _ = reference_codes(Y, results[kind], kind)
    codes = results[kind].encode(Y).compute()
    assert isinstance(codes, sparse.COO) and codes.fill_value == 0
    assert_allclose(codes.todense(), expected, atol=1e-8)


@pytest.mark.parametrize("chunks", [(N, D), (1, D), (77, 3), ((1, 200, 99), (4, 6))])
def test_encode_is_lazy_and_keeps_the_chunks(Y, results, chunks):
    counted = reference.Counted(Y, 60)
    codes = results["center"].encode(counted.array)
    assert not counted.reads
    assert codes[70:80].compute().shape == (10, M) and counted.reads == {1: 1}
    codes = results["center"].encode(da.from_array(Y, chunks=chunks))
    assert isinstance(codes, da.Array) and codes.shape == (N, M) and codes.dtype == np.float64
    assert codes.chunks == (da.from_array(Y, chunks=chunks).chunks[0], (M,))
    assert isinstance(codes._meta, sparse.COO) and isinstance(codes.blocks[0].compute(), sparse.COO)
    expected = results["center"].encode(Y).compute()
    assert_array_equal(codes.compute().coords, expected.coords)
    assert_allclose(codes.compute().data, expected.data)


@pytest.mark.parametrize("dtype", ["float16", "float32", "int16"])
def test_codes_of_other_dtypes_are_those_of_their_values(Y, results, dtype):
    rounded = (Y * 50).astype(dtype)
    expected, _ = reference_codes(Y, results["center"], "center", new=rounded.astype(np.float64))
    assert_allclose(results["center"].encode(rounded).compute().todense(), expected, atol=1e-8)


def test_codes_stop_at_rtol_where_the_fit_did(Y):
    result = fit(Y, n_nonzero_coefs=None, rtol=0.4)
    expected, rows = reference_codes(Y, result, "plain", k=D, rtol=0.4)
    codes = result.encode(Y).compute().todense()
    assert_allclose(codes, expected, atol=1e-8)
    left = np.linalg.norm(rows - codes @ result.dictionary.values, axis=1)
    assert (left <= 0.4 * np.linalg.norm(rows, axis=1)).all()


@pytest.mark.filterwarnings("ignore:invalid value:RuntimeWarning")
@pytest.mark.parametrize("bad", [np.nan, np.inf])
def test_rows_that_are_not_finite_are_refused_by_number(Y, results, bad, tmp_path):
    Y = Y.copy()
    Y[217, 3] = bad
    array = da.from_array(Y, chunks=(50, D))
    with pytest.raises(ValueError, match=r"array has a row with NaN.*row 217\)"):
        results["plain"].encode(array).compute()
    with pytest.raises(ValueError, match=r"array has a row with NaN.*row 217\)"):
        results["plain"].write_codes(array, tmp_path / "codes")
    with pytest.raises(ValueError, match=r"array has 1 rows? with NaN.* row 217"):
        results["plain"].evaluate(array)
    assert results["plain"].encode(array)[:200].compute().shape == (200, M)


@pytest.mark.parametrize("method", ["encode", "evaluate", "score"])
def test_samples_of_other_features_are_refused(results, method):
    with pytest.raises(ValueError, match="array has 9 features; the dictionary was learned on 10"):
        getattr(results["plain"], method)(np.zeros((4, 9)))
    with pytest.raises(ValueError, match="array has 1 dimension"):
        getattr(results["plain"], method)(np.zeros(10))


# ---------------------------------------------------------------------- decoding


@pytest.mark.parametrize("kind", PREPROCESSING)
def test_decode_undoes_the_map_of_the_codes(Y, results, kind):
    result = results[kind]
    X, _ = reference_codes(Y, result, kind)
    mean, basis, scale = dense_map(Y, kind)
    expected = (X @ (result.dictionary.values @ basis)) * scale @ basis.T + mean
    codes = result.encode(da.from_array(Y, chunks=(70, D)))
    forms = {
        "dask of COO": codes,
        "dask, atoms in chunks": codes.rechunk((50, 7)),
        "COO": codes.compute(),
        "GCXS": sparse.GCXS(codes.compute()),
        "csr matrix": scipy.sparse.csr_matrix(X),
        "csc array": scipy.sparse.csc_array(X),
        "dense": X,
        "dask of dense": da.from_array(X, chunks=(110, 8)),
    }
    for name, form in forms.items():
        samples = result.decode(form)
        assert isinstance(samples, da.Array) == isinstance(form, da.Array), name
        assert samples.shape == (N, D) and samples.dtype == np.float64, name
        assert type(np.asarray(samples)) is np.ndarray
        assert_allclose(np.asarray(samples), expected, atol=1e-8, err_msg=name)
    if result.mean is None:
        assert kind in ("plain", "scale only")
    assert_allclose(X @ result.decoder + mean, expected, atol=1e-8)


def test_decode_is_lazy(Y, results):
    counted = reference.Counted(Y, 60)
    samples = results["plain"].decode(results["plain"].encode(counted.array))
    assert not counted.reads
    assert samples.chunks == ((60,) * 5, (D,))
    samples[:10].compute()
    assert counted.reads == {0: 1}


@pytest.mark.parametrize("codes", [np.zeros((5, M + 1)), np.zeros(M), 3, None, sparse.zeros((4, D))])
def test_codes_of_other_atoms_are_refused(results, codes):
    with pytest.raises(ValueError, match=f"codes has shape .*; it must be n x {M}"):
        results["plain"].decode(codes)


# ------------------------------------------------------------------------ scores


@pytest.mark.parametrize("kind", PREPROCESSING)
def test_scores_are_those_of_dense_algebra(Y, results, kind):
    result = results[kind]
    new = daskksvd.datasets.make_planted(150, D, M, K, dtype="float64", random_state=5).array.compute() * 2
    X, rows = reference_codes(Y, result, kind, new=new)
    mean, basis, _ = dense_map(Y, kind)
    left = rows - X @ result.dictionary.values @ basis
    original = new - result.decode(X)
    found = result.evaluate(da.from_array(new, chunks=(40, 4)))
    expected = {
        "relative_error": np.linalg.norm(left) / np.linalg.norm(rows),
        "relative_error_original": np.linalg.norm(original) / np.linalg.norm(new - mean),
        "fvu": (original**2).sum() / ((new - new.mean(axis=0)) ** 2).sum(),
        "mean_nonzeros": (X != 0).sum() / len(X),
        "used_atoms": (X != 0).any(axis=0).sum(),
        "n_samples": len(X),
    }
    assert found.keys() == expected.keys()
    for name, value in expected.items():
        assert_allclose(found[name], value, rtol=1e-8, err_msg=name)
    assert_allclose(result.score(new), 1 - expected["fvu"])


def test_scores_do_not_depend_on_chunks(Y, results):
    whole = results["whiten"].evaluate(Y)
    for chunks in (1, 17, 250):
        found = results["whiten"].evaluate(da.from_array(Y, chunks=(chunks, D)))
        for name, value in whole.items():
            assert_allclose(found[name], value, rtol=1e-9, err_msg=name)


def test_scores_of_rows_without_variance_or_energy_are_defined(results):
    zeros = results["plain"].evaluate(np.zeros((5, D)))
    assert zeros["relative_error"] == 0 and zeros["mean_nonzeros"] == 0 and zeros["used_atoms"] == 0
    assert np.isnan(zeros["fvu"])
    assert np.isnan(results["plain"].score(np.ones((5, D))))


# ------------------------------------------------------------- saving and loading


def same(one, other):
    xr.testing.assert_identical(one.dictionary, other.dictionary)
    xr.testing.assert_identical(one.history, other.history)
    assert one.dictionary.dtype == other.dictionary.dtype
    assert (one.stop_reason, one.settings) == (other.stop_reason, other.settings)
    assert_array_equal(one.coder.dictionary, other.coder.dictionary)
    for part, same in zip(one.coder.transform, other.coder.transform, strict=True):
        assert_array_equal(part, same)
    assert one.coder.target == other.coder.target
    assert repr(one) == repr(other)


@pytest.mark.parametrize("kind", PREPROCESSING)
def test_a_saved_result_is_the_same(Y, results, kind, tmp_path):
    result = results[kind]
    result.save(tmp_path / "result.zarr")
    loaded = daskksvd.load(str(tmp_path / "result.zarr"))
    same(loaded, result)
    assert_array_equal(loaded.encode(Y).compute().todense(), result.encode(Y).compute().todense())
    assert loaded.evaluate(Y) == result.evaluate(Y)
    loaded.save(tmp_path / "again" / "result.zarr")
    same(daskksvd.load(tmp_path / "again" / "result.zarr"), result)


def test_results_in_single_precision_and_of_other_settings_are_the_same(Y, tmp_path):
    for number, options in enumerate(
        [
            {"dtype": "float32", "pursuit": "mp"},
            {"rtol": 0.3, "n_nonzero_coefs": None, "update": "batch"},
            {"rtol": 0.3, "holdout": 0.2, "init": np.random.default_rng(0).standard_normal((M, D))},
            {"whiten": True, "random_state": None, "max_time": 100.0},
        ]
    ):
        result = fit(Y, **options)
        result.save(tmp_path / f"{number}")
        same(daskksvd.load(tmp_path / f"{number}"), result)


def test_xarray_opens_a_result_without_warnings(Y, tmp_path):
    names = [f"feature {i}" for i in range(D)]
    result = fit(pd.DataFrame(Y, columns=names), whiten=0.5)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        result.save(tmp_path / "result.zarr")
        dataset = xr.open_zarr(tmp_path / "result.zarr", consolidated=False).load()
        daskksvd.load(tmp_path / "result.zarr")
    assert dataset.dictionary.dims == ("atom", "feature")
    assert dataset.preprocessing_mean.dims == ("feature",)
    assert dataset.preprocessing_basis.dims == ("feature", "component")
    assert dataset.preprocessing_scale.dims == ("component",)
    assert dataset.feature.values.tolist() == names
    assert dataset.atom.values.tolist() == list(range(M))
    for name in result.history:
        assert dataset[name].dims in (("pass",), ("wave",))
    for name, variable in dataset.data_vars.items():
        assert variable.attrs["long_name"], name
    assert json.loads(dataset.attrs["settings"])["n_components"] == M
    meanings = dataset.kind.attrs["flag_meanings"].split()
    assert set(meanings) == {"wave", "full"}
    assert [meanings[i] for i in dataset.kind.values] == result.history.kind.values.tolist()


def test_stores_hold_plain_numbers_and_text_only(Y, results, tmp_path):
    results["whiten"].save(tmp_path / "result.zarr")
    results["whiten"].write_codes(Y, tmp_path / "codes.zarr")
    metadata = list(tmp_path.rglob("zarr.json"))
    assert len(metadata) > 10
    for path in metadata:
        text = path.read_text()
        assert "pickle" not in text
        found = json.loads(text)
        if found["node_type"] == "array":
            assert found["data_type"] in ("int8", "int32", "int64", "float64"), path
    others = [path for path in tmp_path.rglob("*") if path.is_file() and path.name != "zarr.json"]
    assert all("c" in path.relative_to(tmp_path).parts for path in others)  # chunks


def test_names_of_features_are_kept(Y, tmp_path):
    named = xr.DataArray(Y, dims=("image", "channel"), coords={"channel": np.arange(D) * 10})
    result = fit(named.chunk(image=100))
    assert result.dictionary.feature.values.tolist() == list(range(0, 10 * D, 10))
    result.save(tmp_path / "result")
    assert daskksvd.load(tmp_path / "result").dictionary.feature.values.tolist() == list(range(0, 10 * D, 10))
    assert fit(Y).dictionary.feature.values.tolist() == list(range(D))


def test_a_result_without_passes_is_saved(Y, tmp_path):
    def stop(event):
        raise daskksvd.StopFit

    result = fit(Y, callbacks=[stop])
    assert result.stop_reason == "callback" and result.history.sizes == {"pass": 0, "wave": 0}
    assert "0 passes" in repr(result)
    result.save(tmp_path / "result")
    same(daskksvd.load(tmp_path / "result"), result)
    assert result.evaluate(Y)["n_samples"] == N


def test_only_a_result_is_replaced_and_only_when_asked(Y, results, tmp_path):
    path = tmp_path / "result.zarr"
    results["plain"].save(path)
    with pytest.raises(FileExistsError, match=r"result\.zarr' exists; pass overwrite=True"):
        results["center"].save(path)
    same(daskksvd.load(path), results["plain"])
    results["center"].save(path, overwrite=True)
    same(daskksvd.load(path), results["center"])
    (tmp_path / "photos").mkdir()
    (tmp_path / "photos" / "one.jpg").write_text("dear")
    results["plain"].write_codes(Y, tmp_path / "codes")
    for other in ("photos", "codes"):
        with pytest.raises(ValueError, match=other):
            results["plain"].save(tmp_path / other, overwrite=True)
    assert (tmp_path / "photos" / "one.jpg").read_text() == "dear"
    assert daskksvd.open_codes(tmp_path / "codes").shape == (N, M)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["codes", "photos", "result.zarr"]


def test_what_is_no_result_is_refused(Y, results, tmp_path):
    with pytest.raises(FileNotFoundError, match=r"nowhere.*no such path"):
        daskksvd.load(tmp_path / "nowhere")
    (tmp_path / "text").write_text("no store")
    with pytest.raises(ValueError, match="text' is no Zarr group"):
        daskksvd.load(tmp_path / "text")
    xr.Dataset({"dictionary": (("atom", "feature"), np.eye(3))}).to_zarr(
        tmp_path / "other", zarr_format=3, consolidated=False
    )
    with pytest.raises(ValueError, match="other' is a Zarr group, but not a result of daskksvd"):
        daskksvd.load(tmp_path / "other")
    results["plain"].write_codes(Y, tmp_path / "codes")
    with pytest.raises(ValueError, match="codes' is a Zarr group, but not a result"):
        daskksvd.load(tmp_path / "codes")
    results["plain"].save(tmp_path / "result")
    zarr.open_group(tmp_path / "result").attrs["version"] = 99
    with pytest.raises(ValueError, match=r"newer daskksvd \(version 99"):
        daskksvd.load(tmp_path / "result")


@pytest.mark.parametrize(
    ("value", "words"),
    [(0.0, "norm 0"), (2.0, "norm 2"), (np.nan, "norm nan"), (1.01, "norm 1.01"), (-1e200, "norm")],
)
def test_a_damaged_dictionary_is_refused(results, value, words, tmp_path):
    results["plain"].save(tmp_path / "result")
    stored = zarr.open_group(tmp_path / "result")["dictionary"]
    stored[[5, 7]] = stored[[5, 7]] * value
    with (
        np.errstate(over="ignore"),
        pytest.raises(ValueError, match="2 atoms that are not of unit norm") as caught,
    ):
        daskksvd.load(tmp_path / "result")
    assert "atom 5" in str(caught.value) and words in str(caught.value) and "result" in str(caught.value)


def test_a_store_without_a_part_or_of_other_dimensions_is_refused(results, tmp_path):
    results["whiten"].save(tmp_path / "result")
    dataset = xr.open_zarr(tmp_path / "result", consolidated=False).load()
    for number, damaged in enumerate(
        [
            dataset.drop_vars("dictionary"),
            dataset.assign(dictionary=(("feature", "atom2"), dataset.dictionary.values.T)),
            dataset.assign(preprocessing_mean=("component", dataset.preprocessing_mean.values)),
        ]
    ):
        damaged.to_zarr(tmp_path / f"{number}", zarr_format=3, consolidated=False)
        with pytest.raises(ValueError, match=r"dictionary|preprocessing_mean"):
            daskksvd.load(tmp_path / f"{number}")


# ------------------------------------------------------------------ codes on disk


@pytest.mark.parametrize("kind", ["plain", "whiten"])
@pytest.mark.parametrize(
    "chunks", [5000, 1024, 1000, 1, 37, (1, 2500, 3, 1496, 1000), (1500, 1500, 2000)], ids=str
)
def test_written_codes_are_those_of_encode(Y, results, kind, chunks, tmp_path):
    many = np.concatenate([Y * (1 + i / 7) for i in range(17)])[:5000]
    if chunks == 1:
        many = many[:60]
    array = da.from_array(many, chunks=(chunks, 4))
    results[kind].write_codes(array, tmp_path / "codes")
    codes = daskksvd.open_codes(tmp_path / "codes")
    expected = results[kind].encode(array)
    assert isinstance(codes, da.Array) and codes.shape == expected.shape and codes.dtype == np.float64
    assert isinstance(codes._meta, sparse.COO) and isinstance(codes.blocks[0].compute(), sparse.COO)
    found, expected = codes.compute(), expected.compute()
    assert_array_equal(found.coords, expected.coords)
    assert_allclose(found.data, expected.data)
    assert_allclose(results[kind].decode(codes).compute(), results[kind].decode(expected))


def test_a_store_of_codes_is_two_plain_arrays(Y, results, tmp_path):
    Y = Y.copy()
    Y[5] = 0
    results["plain"].write_codes(Y, tmp_path / "codes")
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        dataset = xr.open_zarr(tmp_path / "codes", consolidated=False, mask_and_scale=False).load()
    assert dataset.indices.dims == dataset["values"].dims == ("sample", "slot")
    assert dataset.indices.dtype == np.int32 and dataset["values"].dtype == np.float64
    assert (dataset.indices[5] == -1).all() and (dataset["values"][5] == 0).all()
    X = np.zeros((N, M))
    rows, slots = np.nonzero(dataset.indices.values >= 0)
    X[rows, dataset.indices.values[rows, slots]] = dataset["values"].values[rows, slots]
    assert_allclose(X, reference_codes(Y, results["plain"], "plain")[0], atol=1e-8)


def test_codes_come_from_any_kind_of_array(Y, results, tmp_path):
    store = zarr.create_array(tmp_path / "Y.zarr", shape=Y.shape, dtype="f8", chunks=(50, D))
    store[:] = Y
    expected = results["center"].encode(Y).compute().todense()
    for number, array in enumerate([Y, store, tmp_path / "Y.zarr", xr.DataArray(Y), pd.DataFrame(Y)]):
        results["center"].write_codes(array, tmp_path / f"{number}")
        found = daskksvd.open_codes(tmp_path / f"{number}").compute().todense()
        assert_allclose(found, expected, atol=1e-12)
        assert_allclose(results["center"].encode(array).compute().todense(), expected, atol=1e-12)


def test_a_failed_write_leaves_what_was_there_and_unfinished_codes_are_refused(Y, results, tmp_path):
    bad = Y.copy()
    bad[250] = np.nan
    result, path = results["plain"], tmp_path / "codes"
    with pytest.raises(ValueError, match="NaN"):
        result.write_codes(bad, path)
    assert list(tmp_path.iterdir()) == []
    result.write_codes(Y, path)
    with pytest.raises(ValueError, match="NaN"):
        result.write_codes(bad, path, overwrite=True)
    assert [item.name for item in tmp_path.iterdir()] == ["codes"]
    expected = result.encode(Y).compute().todense()
    assert_array_equal(daskksvd.open_codes(path).compute().todense(), expected)
    del zarr.open_group(path).attrs["complete"]
    with pytest.raises(ValueError, match="never finished"):
        daskksvd.open_codes(path)
    result.write_codes(Y, path, overwrite=True)
    assert_array_equal(daskksvd.open_codes(path).compute().todense(), expected)


def test_what_is_no_store_of_codes_is_refused_and_kept(Y, results, tmp_path):
    with pytest.raises(FileNotFoundError, match="no such path"):
        daskksvd.open_codes(tmp_path / "nowhere")
    results["plain"].save(tmp_path / "result")
    (tmp_path / "photos").mkdir()
    (tmp_path / "photos" / "one.jpg").write_text("dear")
    for name, words in (("result", "not one of codes"), ("photos", "no Zarr group")):
        with pytest.raises(ValueError, match=words):
            daskksvd.open_codes(tmp_path / name)
        with pytest.raises(FileExistsError, match="overwrite=True"):
            results["plain"].write_codes(Y, tmp_path / name)
        with pytest.raises(ValueError, match=words):
            results["plain"].write_codes(Y, tmp_path / name, overwrite=True)
    same(daskksvd.load(tmp_path / "result"), results["plain"])
    assert pathlib.Path(tmp_path / "photos" / "one.jpg").exists()
