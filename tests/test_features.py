"""Names of features: those learned, in their order, on every way by which samples come in."""

import numpy as np
import pandas as pd
import pytest
import routes
import xarray as xr
import zarr
from numpy.testing import assert_array_equal

import daskksvd

dd = pytest.importorskip("dask.dataframe")

X = routes.samples()
NAMES = list("abcdef")
SWAPPED = list("abdcef")
TAKING = {name: route for name, route in routes.ROUTES.items() if name in ("encode", "write_codes", "score")}


def frame(names=NAMES):
    return pd.DataFrame(X, columns=NAMES)[list(names)]


def labelled(names=NAMES, dims=("sample", "feature")):
    array = xr.DataArray(X, dims=dims, coords={dims[1]: NAMES}, name="x")
    return array.sel({dims[1]: list(names)})


def stored(folder, names):
    path = folder / "".join(map(str, names))
    labelled(names).to_dataset().to_zarr(path, consolidated=False, mode="w")
    return path


HOLDERS = {
    "pandas": lambda folder, names: frame(names),
    "nullable": lambda folder, names: frame(names).astype("Float64"),
    "xarray": lambda folder, names: labelled(names),
    "xarray of dask": lambda folder, names: labelled(names).chunk(sample=60),
    "dask.dataframe": lambda folder, names: dd.from_pandas(frame(names), npartitions=4),
    "path of Zarr": stored,
    "group of Zarr": lambda folder, names: zarr.open_group(stored(folder, names), mode="r"),
    "Arrow": lambda folder, names: pytest.importorskip("pyarrow").table(frame(names)),
    "Polars": lambda folder, names: pytest.importorskip("polars").DataFrame(dict(frame(names))),
}


@pytest.mark.parametrize("holder", HOLDERS)
def test_names_are_learned_and_compared(holder, tmp_path):
    make = HOLDERS[holder]
    result = routes.learned(make(tmp_path, NAMES))
    assert result.dictionary.feature.values.tolist() == NAMES
    expected = routes.dense(routes.learned(X).encode(X)) if holder in ("pandas", "Arrow") else None
    for route in TAKING.values():
        route(make(tmp_path, NAMES), result, tmp_path)
        route(X, result, tmp_path)  # without names none are compared
        with pytest.raises(ValueError, match="feature 2 is 'd', and 'c' was learned") as caught:
            route(make(tmp_path, SWAPPED), result, tmp_path)
        assert "the same names in another order" in str(caught.value)
    if expected is not None:
        assert_array_equal(routes.dense(result.encode(make(tmp_path, NAMES))), expected)


@pytest.mark.parametrize("holder", HOLDERS)
@pytest.mark.parametrize("start", ["fit", "partial_fit"])
def test_the_estimator_compares_names(holder, start, tmp_path):
    make = HOLDERS[holder]
    model = getattr(routes.estimator(), start)(make(tmp_path, NAMES))
    assert model.feature_names_in_.tolist() == NAMES
    assert model.result_.dictionary.feature.values.tolist() == NAMES
    for other in HOLDERS:
        if other in ("pandas", "xarray", "dask.dataframe"):
            model.score(HOLDERS[other](tmp_path, NAMES))
            for method in (model.transform, model.score, model.partial_fit):
                with pytest.raises(ValueError, match="feature names should match"):
                    method(HOLDERS[other](tmp_path, SWAPPED))


def test_missing_and_unexpected_names_are_said():
    result = routes.learned(frame())
    with pytest.raises(ValueError, match=r"feature 1 is 'x', and 'b' was learned") as caught:
        result.encode(frame().rename(columns={"b": "x"}))
    assert "missing: 'b'; unexpected: 'x'" in str(caught.value)
    with pytest.raises(ValueError, match="feature 3 is 'e', and 'd' was learned") as caught:
        result.encode(frame(list("abcef")))
    assert "missing: 'd'" in str(caught.value)
    with pytest.raises(ValueError, match="array has 5 features"):
        result.encode(X[:, :5])


@pytest.mark.parametrize("saved", [False, True])
@pytest.mark.parametrize("learned_from", ["array", "frame", "DataArray", "DataArray with numbers"])
def test_numbers_in_another_order_are_refused_and_numbers_for_no_names_are_not(learned_from, saved, tmp_path):
    numbered = xr.DataArray(X, dims=("s", "f"), coords={"f": range(routes.D)})
    given = {
        "array": X, "frame": pd.DataFrame(X), "DataArray": xr.DataArray(X, dims=("s", "f")),
        "DataArray with numbers": numbered,
    }  # fmt: skip
    result = routes.learned(given[learned_from])
    if saved:
        result.save(tmp_path / "result")
        result = daskksvd.load(tmp_path / "result")
    for array in given.values():
        result.encode(array)
    if learned_from != "DataArray with numbers":
        result.encode(frame())
    order = [0, 1, 3, 2, 4, 5]
    for swapped in (numbered[:, order], pd.DataFrame(X)[order], pd.DataFrame(X)[order].astype("Float64")):
        with pytest.raises(ValueError, match="feature 2 is '3', and '2' was learned"):
            result.encode(swapped)
    with pytest.raises(ValueError, match="feature 2 is '3', and '2' was learned"):
        routes.estimator().fit(given[learned_from]).transform(pd.DataFrame(X)[order])


@pytest.mark.parametrize("saved", [False, True])
@pytest.mark.parametrize("holder", ["xarray", "xarray of dask", "Zarr"])
def test_a_square_array_with_its_dimensions_exchanged_is_refused(holder, saved, tmp_path):
    square = X[: routes.D]
    array = xr.DataArray(square, dims=("sample", "feature"), name="x")
    if holder == "xarray of dask":
        array = array.chunk(sample=3)
    learned_from = array
    if holder == "Zarr":
        array.to_dataset().to_zarr(tmp_path / "x", consolidated=False)
        learned_from = tmp_path / "x"
    settings = {"n_components": 4, "n_nonzero_coefs": 1, "max_passes": 1, "random_state": 0}
    result = daskksvd.fit(learned_from, **settings)
    model = daskksvd.KSVD(4, n_nonzero_coefs=1, max_passes=1).fit(learned_from)
    if saved:
        result.save(tmp_path / "result")
        result = daskksvd.load(tmp_path / "result")
    for route in (
        result.encode,
        result.score,
        result.evaluate,
        model.transform,
        model.score,
        model.partial_fit,
    ):
        route(array)
        route(array.rename(sample="other"))
        with pytest.raises(ValueError, match=r"dimensions \(feature, sample\).*transpose it"):
            route(array.T)


def test_codes_with_labels_are_decoded_and_their_order_is_checked():
    result = routes.learned(X)
    codes = routes.dense(result.encode(X))
    expected = result.decode(codes)
    atoms = np.arange(routes.M)
    array = xr.DataArray(codes, dims=("sample", "atom"), coords={"atom": atoms})
    lazy = xr.DataArray(result.encode(X), dims=("sample", "atom"), coords={"atom": atoms})
    sparse = pd.DataFrame.sparse.from_spmatrix(__import__("scipy.sparse").sparse.csr_matrix(codes))
    for given in (array, lazy, sparse, pd.DataFrame(codes), array.rename(atom="a"), codes.tolist()):
        found = result.decode(given)
        assert hasattr(found, "compute") == (given is lazy)
        np.testing.assert_allclose(np.asarray(found), expected, rtol=1e-6, atol=1e-6)
    order = [1, 0, *range(2, routes.M)]
    for wrong in (array[:, order], lazy[:, order], pd.DataFrame(codes)[order]):
        with pytest.raises(ValueError, match="column 0 is atom 1"):
            result.decode(wrong)
    with pytest.raises(ValueError, match="transpose it"):
        result.decode(array.T)
    model = routes.estimator().fit(X)
    np.testing.assert_allclose(model.inverse_transform(array), model.inverse_transform(codes))


BAD_NAMES = {
    "of mixed types": ["a", 1, "c", "d", "e", "f"],
    "MultiIndex": pd.MultiIndex.from_product([["a", "b"], [1, 2, 3]]),
    "missing": ["a", "b", None, "d", "e", "f"],
}


@pytest.mark.parametrize("kind", BAD_NAMES)
def test_names_that_cannot_be_stored_are_refused_before_any_work(kind, monkeypatch):
    monkeypatch.setattr("daskksvd.fitting.fit.make_executor", None)  # nothing runs
    with pytest.raises((TypeError, ValueError), match="names of features that cannot be stored"):
        routes.learned(pd.DataFrame(X, columns=BAD_NAMES[kind]))
    if kind == "MultiIndex":
        array = xr.DataArray(X.reshape(-1, 2, 3), dims=("s", "a", "b"), coords={"a": [0, 1], "b": [0, 1, 2]})
        with pytest.raises(TypeError, match="names of features that cannot be stored"):
            routes.learned(array.stack(f=("a", "b")))


@pytest.mark.parametrize("kind", ["M8[ns]", "M8[s]", "m8[ns]"])
def test_names_that_are_times_stay_times(kind, tmp_path):
    names = np.arange(routes.D).astype(kind)
    array = xr.DataArray(X, dims=("s", "f"), coords={"f": names})
    result = routes.learned(array)
    assert result.dictionary.feature.dtype.kind == kind[0]
    assert_array_equal(result.dictionary.feature, names)
    result.encode(array)
    with pytest.raises(ValueError, match="the same names in another order"):
        result.encode(array[:, ::-1])
