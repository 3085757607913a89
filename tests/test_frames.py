"""Tables of pandas, Polars, Arrow and Dask, tensors and lists: one door for function and estimator."""

import threading

import numpy as np
import pandas as pd
import pytest
import routes
from distributed import LocalCluster
from numpy.testing import assert_array_equal

from daskksvd.rows import as_source

dd = pytest.importorskip("dask.dataframe")

X = (routes.samples() * 100).round()
NAMES = list("abcdef")


@pytest.fixture(scope="module")
def result():
    return routes.learned(X)


def frame(dtype="float64", values=X):
    return pd.DataFrame(values, columns=NAMES).astype(dtype)


def mixed():
    """Integers beside booleans, floats and nullable columns."""
    table = frame()
    table["a"], table["b"] = table["a"].astype("int32"), table["b"] > 0
    table["c"], table["d"] = table["c"].astype("Int64"), (table["d"] > 0).astype("boolean")
    table["e"] = table["e"].astype("Float32")
    return table


def arrow(table):
    return pytest.importorskip("pyarrow").table(table)


def polars(table):
    return pytest.importorskip("polars").DataFrame({name: table[name].to_numpy() for name in table})


FRAMES = {
    "float64": frame,
    "float32": lambda: frame("float32"),
    "int64": lambda: frame("int64"),
    "Int64": lambda: frame("Int64"),
    "Int8 and Float64": lambda: frame({name: "Int16" if name < "d" else "Float64" for name in NAMES}),
    "Float32": lambda: frame("Float32"),
    "Arrow columns": lambda: frame("double[pyarrow]"),
    "int beside bool": lambda: frame("int64").assign(b=X[:, 1] > 0),
    "mixed": mixed,
    "Arrow": lambda: arrow(frame("float32")),
    "Arrow, mixed": lambda: arrow(frame("int16").assign(b=X[:, 1] > 0)),
    "Polars": lambda: polars(frame("float32")),
    "Polars, mixed": lambda: polars(frame("int16").assign(b=X[:, 1] > 0)),
    "unnamed": lambda: frame().set_axis(range(6), axis=1),
}


def numbers(table):
    """The slow obvious way: one number after the other."""
    columns = [np.array(list(map(float, table[name])), float) for name in table.columns]
    return np.stack(columns, axis=1)


@pytest.mark.parametrize("kind", FRAMES)
def test_a_table_is_its_numbers_and_names(kind):
    table = FRAMES[kind]()
    plain = table.to_pandas() if hasattr(table, "to_pandas") and kind.startswith("Arrow,") else None
    rows = as_source(table)
    assert rows.dtype.kind in "fi" and rows.dtype.isnative
    if plain is not None or isinstance(table, pd.DataFrame):
        expected = numbers(table if plain is None else plain)
        assert_array_equal(rows.array.compute(scheduler="synchronous").astype(float), expected)
    assert rows.feature_names == (None if kind == "unnamed" else NAMES)


@pytest.mark.parametrize("route", routes.ROUTES)
@pytest.mark.parametrize("kind", ["Int64", "Arrow columns", "int beside bool", "mixed", "Arrow", "Polars"])
def test_tables_come_in_by_one_door(kind, route, result, tmp_path):
    table = FRAMES[kind]()
    plain = as_source(table).array.compute(scheduler="synchronous")
    expected = routes.ROUTES[route](plain, result, tmp_path)
    assert_array_equal(routes.ROUTES[route](table, result, tmp_path), expected)


@pytest.mark.parametrize("dtype", ["Int64", "Float64", "double[pyarrow]"])
@pytest.mark.parametrize("route", routes.ROUTES)
def test_a_missing_value_is_refused_with_row_and_column(dtype, route, result, tmp_path):
    table = frame(dtype)
    table.iloc[[17, 90], 2] = pd.NA
    for given in (table, dd.from_pandas(table, npartitions=3)):
        with pytest.raises(ValueError, match=r"no value \(NA\) in row (17|90) of column 'c'") as caught:
            routes.ROUTES[route](given, result, tmp_path)
        assert "\n" not in str(caught.value)


def test_missing_values_of_arrow_and_polars_are_refused():
    table = frame("Int64")
    table.iloc[17, 2] = pd.NA
    with pytest.raises(ValueError, match=r"row 17 of column 'c' \(1 missing"):
        as_source(arrow(table))
    polars_frame = pytest.importorskip("polars").DataFrame({"a": [1, None], "b": [2, 3]})
    with pytest.raises(ValueError, match=r"row 1 of column 'a' \(1 missing"):
        as_source(polars_frame)


@pytest.mark.parametrize("route", routes.ROUTES)
@pytest.mark.parametrize(
    ("column", "word"),
    [(["x"] * len(X), "'b' is"), (pd.Timestamp("2020-01-01"), "'b' is datetime64"), (1j, "must be real")],
)
def test_a_column_of_other_things_is_named(column, word, route, result, tmp_path):
    table = frame().assign(b=column)
    for given in (table, dd.from_pandas(table, npartitions=2)):
        with pytest.raises((TypeError, ValueError), match=word):
            routes.ROUTES[route](given, result, tmp_path)


@pytest.mark.parametrize("route", routes.ROUTES)
def test_lists_and_tensors_are_arrays(route, result, tmp_path):
    expected = routes.ROUTES[route](X, result, tmp_path)
    torch = pytest.importorskip("torch")
    for given in (X.tolist(), torch.from_numpy(X)):
        assert_array_equal(routes.ROUTES[route](given, result, tmp_path), expected)


def test_tensors_that_are_no_plain_arrays_are_refused():
    torch = pytest.importorskip("torch")
    for tensor in (torch.from_numpy(X).requires_grad_(), torch.ones(3, 2, dtype=torch.bfloat16)):
        with pytest.raises(ValueError, match="array is no array"):
            as_source(tensor)


# ---------------------------------------------------------------- frames of Dask


class Reads:
    """Partitions made one by one; which, and how many are in memory at a time."""

    def __init__(self, table, height):
        self.parts = [table[start : start + height] for start in range(0, len(table), height)]
        self.read = []
        self._lock = threading.Lock()

    def __call__(self, number):
        with self._lock:
            self.read.append(number)
        return self.parts[number]

    def __dask_tokenize__(self):
        return id(self)

    def frame(self):
        return dd.from_map(self, range(len(self.parts)), meta=self.parts[0].iloc[:0])


@pytest.mark.parametrize("route", routes.ROUTES)
@pytest.mark.parametrize("kind", ["float64", "Int64", "mixed"])
def test_a_frame_of_dask_gives_the_bits_of_its_chunks(kind, route, result, tmp_path):
    import dask.array as da

    table = FRAMES[kind]()
    plain = as_source(table).array.compute(scheduler="synchronous")
    expected = routes.ROUTES[route](da.from_array(plain, chunks=(60, 6)), result, tmp_path)
    lazy = Reads(table, 60).frame()
    assert_array_equal(routes.ROUTES[route](lazy, result, tmp_path), expected)


def test_a_frame_of_dask_stays_lazy_and_its_lengths_are_found_once(result):
    reads = Reads(frame(), 60)
    lazy = reads.frame()
    codes = result.encode(lazy)
    assert sorted(reads.read) == [0, 1, 2, 3]  # for the lengths
    assert codes.chunks[0] == (60,) * 4 and as_source(lazy).feature_names == NAMES
    result.encode(lazy)
    model = routes.estimator().fit(X)
    assert hasattr(model.transform(lazy), "compute")
    assert len(reads.read) == 4
    codes.blocks[1].compute(scheduler="synchronous")
    assert reads.read[4:] == [1]


def test_empty_partitions_and_filters_of_a_frame_of_dask(result):
    table = frame()
    lazy = dd.from_pandas(table, npartitions=5)
    kept = lazy[lazy["a"] > 100]
    expected = table[table["a"] > 100].to_numpy()
    assert_array_equal(as_source(kept).array.compute(scheduler="synchronous"), expected)
    with pytest.raises(ValueError, match="array is empty"):
        as_source(lazy[lazy["a"] > 1e9])
    with pytest.raises(ValueError, match="1 dimension"):
        as_source(lazy["a"])


def test_a_frame_of_dask_on_a_cluster(result, tmp_path):
    lazy = dd.from_pandas(frame(), npartitions=4)
    with LocalCluster(n_workers=2, threads_per_worker=1, dashboard_address=":0") as cluster:
        for name in ("fit", "encode", "write_codes", "score"):
            found = routes.on_cluster(cluster.scheduler_address)[name](lazy, result, tmp_path)
            assert_array_equal(found, routes.ROUTES[name](lazy, result, tmp_path))
