"""Zarr stores as samples: packed numbers, labels, chunks never written, and stores written anew."""

import os
import shutil
import time

import click.testing
import dask.array as da
import numpy as np
import pytest
import routes
import xarray as xr
import zarr
from distributed import Client, LocalCluster
from numpy.testing import assert_array_equal

from daskksvd.cli import main
from daskksvd.cli.info import describe
from daskksvd.rows import as_source

X = routes.samples()
NAMES = [f"f{i}" for i in range(routes.D)]


@pytest.fixture(scope="module")
def result():
    return routes.learned(X)


# ---------------------------------------------------------------- packed numbers

PACKED = {
    "scaled": {"dtype": "i2", "scale_factor": 0.001, "add_offset": 0.5},
    "scaled, some may be missing": {"dtype": "i2", "scale_factor": 0.001, "_FillValue": -32768},
    "shifted only": {"dtype": "i4", "add_offset": 10.0},
    "some may be missing": {"dtype": "i2", "_FillValue": -99},
    "two marks of missing": {"dtype": "i2", "scale_factor": 0.01, "missing_value": -99},
    "unsigned": {"dtype": "i2", "scale_factor": 0.001, "add_offset": -30.0, "_Unsigned": "true"},
    "floats": {"dtype": "f4", "scale_factor": 0.5, "_FillValue": 1e20},
}


def packed(folder, kind, zarr_format, values=X):
    """A group as xarray writes it, and its numbers as xarray reads them."""
    encoding = {**PACKED[kind], "chunks": (60, 4)}
    unsigned = encoding.pop("_Unsigned", None)
    array = xr.DataArray(values, dims=("sample", "feature"), coords={"feature": NAMES}, name="x")
    path = folder / f"packed-{zarr_format}"
    array.to_dataset().to_zarr(path, encoding={"x": encoding}, zarr_format=zarr_format, consolidated=False)
    if unsigned:
        zarr.open_group(path)["x"].attrs["_Unsigned"] = unsigned
    return path, xr.open_zarr(path, consolidated=False)["x"].values


OPENED = {
    "path of the group": lambda path: str(path),
    "path of the array": lambda path: path / "x",
    "group": lambda path: zarr.open_group(path, mode="r"),
    "array": lambda path: zarr.open_group(path, mode="r")["x"],
}


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("opened", OPENED)
@pytest.mark.parametrize("zarr_format", [2, 3])
@pytest.mark.parametrize("kind", PACKED)
def test_packed_numbers_are_decoded_as_xarray_does(kind, zarr_format, opened, tmp_path):
    path, expected = packed(tmp_path, kind, zarr_format)
    rows = as_source(OPENED[opened](path))
    assert rows.dtype == expected.dtype
    assert_array_equal(rows.array.compute(scheduler="synchronous"), expected)
    assert rows.feature_names == NAMES and rows.dims == ("sample", "feature")
    facts = describe(str(path))
    assert facts["dtype"] == str(expected.dtype) and facts["packed"].startswith("as ")


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("route", routes.ROUTES)
def test_packed_numbers_are_decoded_on_every_way(route, result, tmp_path):
    path, expected = packed(tmp_path, "scaled", 3)
    run = routes.ROUTES[route]
    assert_array_equal(run(str(path), result, tmp_path), run(expected, result, tmp_path))


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("zarr_format", [2, 3])
@pytest.mark.parametrize("kind", ["scaled, some may be missing", "floats", "some may be missing"])
def test_rows_with_missing_values_are_refused_with_their_number(kind, zarr_format, result, tmp_path):
    values = X.copy()
    values[[77, 101], 2] = np.nan
    path, expected = packed(tmp_path, kind, zarr_format, values)
    assert np.isnan(expected).sum() == 2
    with pytest.raises(ValueError, match="2 rows with NaN or infinite values, the first is row 77"):
        routes.learned(path)
    with pytest.raises(ValueError, match="row 77"):
        result.encode(path).compute(scheduler="synchronous")


def test_nan_as_fill_value_and_plain_fill_values_change_nothing(tmp_path):
    xr.DataArray(X, dims=("a", "b"), name="x").to_dataset().to_zarr(tmp_path / "nan", consolidated=False)
    zeros = np.where(X > 0, X, 0)
    plain = zarr.create_array(tmp_path / "plain", data=zeros, chunks=(60, 6), fill_value=0, zarr_format=2)
    for array, expected in ((tmp_path / "nan", X), (plain, zeros)):
        assert_array_equal(as_source(array).array.compute(scheduler="synchronous"), expected)


# ------------------------------------------------------------------------ labels

LABELS = {
    "text": NAMES,
    "numbers": list(range(10, 10 + routes.D)),
    "floats": [0.5 * i for i in range(routes.D)],
    "days": np.arange("2020-01-01", "2020-01-07", dtype="M8[D]").astype("M8[ns]"),
}


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("opened", OPENED)
@pytest.mark.parametrize("zarr_format", [2, 3])
@pytest.mark.parametrize("kind", LABELS)
def test_a_store_that_xarray_wrote_brings_its_labels(kind, zarr_format, opened, tmp_path):
    array = xr.DataArray(X, dims=("a", "b"), coords={"b": LABELS[kind]}, name="x")
    array.to_dataset().to_zarr(tmp_path / "s", zarr_format=zarr_format, consolidated=False)
    found, expected = as_source(OPENED[opened](tmp_path / "s")), as_source(array)
    assert_array_equal(np.array(found.feature_names), np.array(expected.feature_names))
    assert found.dims == expected.dims == ("a", "b")
    learned = routes.learned(OPENED[opened](tmp_path / "s"))
    assert_array_equal(learned.dictionary.feature, array.b)


def test_an_array_opened_by_xarray_without_chunks_is_not_read_whole(tmp_path):
    xr.DataArray(X, dims=("a", "b"), name="x").to_dataset().to_zarr(
        tmp_path / "s", consolidated=False, encoding={"x": {"chunks": (60, 6)}}
    )
    array = xr.open_dataset(tmp_path / "s", engine="zarr", consolidated=False)["x"]
    rows = as_source(array)
    assert not array.variable._in_memory
    assert_array_equal(rows.array.compute(scheduler="synchronous"), X)


# ------------------------------------------------------------ chunks never written


def partly_written(path, **options):
    """Rows 120 to 179 lack."""
    array = zarr.create_array(path, shape=X.shape, dtype="f8", **{"chunks": (30, 6), **options})
    array[:120], array[180:] = X[:120], X[180:]
    return array


FILLED = np.concatenate([X[:120], np.zeros((60, routes.D)), X[180:]])
STORES = {
    "Zarr 3": ({}, "2 of 8 chunks", "c/4/0"),
    "Zarr 2": ({"zarr_format": 2}, "2 of 8 chunks", "4.0"),
    "two columns": ({"chunks": (60, 3)}, "2 of 8 chunks", "c/2/0"),
    "shards": ({"chunks": (10, 3), "shards": (60, 6)}, "1 of 4 shards", "c/2/0"),
}
GIVEN = {
    "path": lambda array: str(array.store.root),
    "array": lambda array: array,
    "array in memory": lambda array: in_memory(array),
    "dask": lambda array: da.from_zarr(array),
    "dask of a path": lambda array: da.from_zarr(str(array.store.root)),
    "dask, inlined": lambda array: da.from_zarr(array, inline_array=True) * 1,
    "xarray of dask": lambda array: xr.DataArray(da.from_zarr(array), dims=("a", "b")),
}


def in_memory(array):
    """The same files in a store that is no folder."""
    root = str(array.store.root)
    content = {}
    for folder, _, files in os.walk(root):
        for name in files:
            path = os.path.join(folder, name)
            with open(path, "rb") as file:
                key = os.path.relpath(path, root).replace(os.sep, "/")
                content[key] = zarr.core.buffer.cpu.Buffer.from_bytes(file.read())
    return zarr.open_array(zarr.storage.MemoryStore(content), mode="r")


@pytest.mark.parametrize("given", GIVEN)
@pytest.mark.parametrize("kind", STORES)
def test_chunks_never_written_are_refused_unless_allowed(kind, given, tmp_path):
    options, count, first = STORES[kind]
    array = GIVEN[given](partly_written(tmp_path / "x", **options))
    with pytest.raises(ValueError, match=f"of which {count} were never written") as caught:
        as_source(array)
    assert f"the first is {first!r}" in str(caught.value) and "missing_chunks='fill'" in str(caught.value)
    rows = as_source(array, missing_chunks="fill")
    assert_array_equal(rows.array.compute(scheduler="synchronous"), FILLED)


@pytest.mark.parametrize("route", routes.ROUTES)
def test_chunks_never_written_are_refused_on_every_way_unless_allowed(route, result, tmp_path):
    path = str(partly_written(tmp_path / "x").store.root)
    run = routes.ROUTES[route]
    with pytest.raises(ValueError, match="2 of 8 chunks were never written"):
        run(path, result, tmp_path)
    # whole, but for what is written there being zeros
    zarr.create_array(tmp_path / "zeros", data=FILLED, chunks=(30, 6), config={"write_empty_chunks": True})
    expected = run(tmp_path / "zeros", result, tmp_path)
    assert_array_equal(run(path, result, tmp_path, missing_chunks="fill"), expected)


def test_only_rows_that_are_read_are_looked_for(tmp_path):
    array = da.from_zarr(partly_written(tmp_path / "x"))
    assert_array_equal(as_source(array[:120]).array.compute(scheduler="synchronous"), X[:120])
    with pytest.raises(ValueError, match="1 of 5 chunks were never written"):
        as_source(array[:150])


def test_what_xarray_opened_is_looked_for_too(tmp_path):
    array = xr.DataArray((X * 100).astype("i4"), dims=("a", "b"), name="x").to_dataset()
    array.to_zarr(tmp_path / "s", consolidated=False, encoding={"x": {"chunks": (60, 6)}})
    os.remove(tmp_path / "s" / "x" / "c" / "1" / "0")
    opened = xr.open_zarr(tmp_path / "s", consolidated=False)["x"]
    for given in (opened, opened.data, tmp_path / "s"):
        with pytest.raises(ValueError, match="1 of 4 chunks"):
            as_source(given)


def test_a_value_that_is_no_choice_is_refused(result):
    with pytest.raises(ValueError, match="missing_chunks='zeros'; it must be one of 'error', 'fill'"):
        routes.learned(X, missing_chunks="zeros")


def test_commands_refuse_chunks_never_written_unless_allowed(result, tmp_path):
    path = str(partly_written(tmp_path / "x").store.root)
    result.save(tmp_path / "result")
    run = click.testing.CliRunner().invoke
    for command in (
        ["fit", path, "-m", "8", "-k", "2", "--max-passes", "1", "--out", str(tmp_path / "made")],
        ["encode", str(tmp_path / "result"), path, "--out", str(tmp_path / "codes")],
    ):
        refused = run(main, command)
        assert refused.exit_code != 0
        assert not os.path.exists(command[-1])
        allowed = run(main, [*command, "--missing-chunks", "fill"])
        assert allowed.exit_code == 0, allowed.output
    assert describe(path)["missing_chunks"] == 2


# ----------------------------------------------------------- stores written anew


def rewritten(path, values, kind):
    """Write other numbers over what lies at a path."""
    if kind == ".npy":
        np.save(path, values)
        return path
    if kind == "a chunk":
        zarr.open_array(path, mode="r+")[:] = values
        return path
    shutil.rmtree(path, ignore_errors=True)
    zarr.create_array(path, data=values, chunks=(60, 6), zarr_format=2 if kind == "Zarr 2" else 3)
    return path


@pytest.mark.parametrize("kind", ["Zarr 3", "Zarr 2", "a chunk", ".npy", "dask of Zarr"])
def test_a_store_written_anew_has_another_name(kind, tmp_path):
    path = str(tmp_path / "x.npy") if kind == ".npy" else str(tmp_path / "x")
    opened = (lambda: da.from_zarr(path)) if kind == "dask of Zarr" else (lambda: path)
    rewritten(path, X, ".npy" if kind == ".npy" else "Zarr 3")
    before = as_source(opened())
    assert as_source(opened()).array.name == before.array.name  # as long as nothing changes
    time.sleep(0.02)  # file systems count time in steps
    rewritten(path, -X, kind)
    after = as_source(opened())
    assert after.array.name != before.array.name
    assert_array_equal(after.array.compute(scheduler="synchronous"), -X)


def test_rows_kept_on_a_cluster_are_not_those_of_a_store_before(tmp_path):
    path = rewritten(str(tmp_path / "x"), X, "Zarr 3")
    with (
        LocalCluster(n_workers=1, threads_per_worker=1, processes=False, dashboard_address=":0") as cluster,
        Client(cluster) as client,
    ):
        kept = client.persist(as_source(path).array)  # as a fit does
        assert_array_equal(kept.compute(), X)
        time.sleep(0.02)
        rewritten(path, X * 3 + 1, "Zarr 3")
        found = routes.learned(path, client=client)
    assert_array_equal(found.dictionary, routes.learned(path).dictionary)


@pytest.mark.parametrize("begin", ["~/", "file://{}/", "file:{}/"])
@pytest.mark.parametrize("name", ["x.npy", "x.zarr"])
def test_home_and_urls_of_local_files_are_paths(begin, name, result, tmp_path, monkeypatch):
    monkeypatch.setenv("HOME", str(tmp_path))
    rewritten(str(tmp_path / name), X, ".npy" if name == "x.npy" else "Zarr 3")
    path = begin.format(tmp_path) + name
    for route in ("fit", "write_codes", "KSVD.score"):
        run = routes.ROUTES[route]
        assert_array_equal(run(path, result, tmp_path), run(str(tmp_path / name), result, tmp_path))
    assert describe(path)["shape"] == [routes.N, routes.D]
