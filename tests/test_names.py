"""Names of features: what is allowed, and what is refused by one sentence."""

import datetime

import numpy as np
import pandas as pd
import pytest
import xarray as xr
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.testing import assert_array_equal

import daskksvd
from daskksvd.rows.names import check_names

ALLOWED = {
    "text": np.array(["a", "", "ü", "ab"]),
    "int": np.arange(4) * 10,
    "int16": np.array([-1, 2, 3, 4], "int16"),
    "uint64": np.array([0, 1, 2, 2**64 - 1], "uint64"),
    "float": np.array([0.5, -0.0, np.inf, 1e-300]),
    "float16": np.array([0.5, 1, 2, 3], "float16"),
    "bool": np.array([True, False, True, True]),
    "seconds": np.array(["0001-01-01", "1969-12-31T23:59:59", "2024-02-29", "9999-12-31"], "datetime64[s]"),
    "nanoseconds": np.array([0, 1, -1, 10**18], "datetime64[ns]"),
    "duration": np.array([0, 1, -1, 10**9], "timedelta64[ns]"),
}

REFUSED = {
    "of several kinds": (["a", 1], ["feature 1", "1 (int)", "strings"]),
    "numbers of several kinds": ([1, 2.5], ["feature 1", "2.5 (float)", "integers"]),
    "True after a number": ([1, True], ["feature 1", "True (bool)"]),
    "None": (["a", None], ["feature 1", "None"]),
    "NaN": (np.array([1.0, np.nan]), ["feature 1", "nan"]),
    "NaN of objects": ([np.nan, 1.0], ["feature 0", "nan"]),
    "NaT": (np.array(["NaT", "2024-01-01"], "datetime64[s]"), ["feature 0", "NaT"]),
    "pandas' NA": (["a", pd.NA], ["feature 1", "NA"]),
    "bytes": (np.array([b"a", b"b"]), ["feature 0", "b'a'", "bytes"]),
    "tuples": (pd.MultiIndex.from_product([["x"], [0, 1]]).values, ["feature 0", "('x', 0)", "tuple"]),
    "lists of tuples": ([("x", 0), ("x", 1)], ["feature 0", "('x', 0)", "tuple"]),
    "complex": (np.array([1j, 2]), ["feature 0", "complex"]),
    "long integers": ([1, 2**70], ["feature 0", "not kept exactly"]),
    "NUL": (["a", "b\0"], ["feature 1", "not kept exactly"]),
    "half a character": (["a", "\ud800"], ["feature 1", "half a character"]),
    "zoned": ([pd.Timestamp("2024-01-01", tz="UTC")], ["feature 0", "time zone"]),
    "dates": ([datetime.date(2024, 1, 1)], ["feature 0", "date"]),
}


@pytest.mark.parametrize("names", ALLOWED.values(), ids=ALLOWED)
def test_allowed_names_stay_what_they_are(names):
    for given_ in (names, names.astype(names.dtype.newbyteorder(">"))):
        found = check_names(given_)
        assert found.dtype == names.dtype and found.dtype.isnative
        assert_array_equal(found, names)
    assert_array_equal(check_names(list(names)), names)
    if names.dtype != "datetime64[ns]" and names.dtype.kind != "m":  # of which NumPy makes integers
        assert_array_equal(check_names(names.astype(object)), names)
    if names.dtype != "float16":  # which pandas does not have
        assert_array_equal(check_names(pd.Index(names)), names)


@pytest.mark.parametrize("names, told", REFUSED.values(), ids=REFUSED)
def test_other_names_are_refused_by_one_sentence(names, told):
    with pytest.raises((TypeError, ValueError)) as caught:
        check_names(names, "Y")
    text = str(caught.value)
    assert text.startswith("Y has names of features that cannot be stored") and "\n" not in text
    for part in [*told, "all strings"]:
        assert part in text, text


def test_times_of_python_and_pandas_are_kept_to_the_nanosecond():
    times = [pd.Timestamp(1), pd.Timestamp(10**18 + 1)]
    assert check_names(times).astype("datetime64[ns]").astype(int).tolist() == [1, 10**18 + 1]
    assert check_names([datetime.datetime(2024, 1, 1, 0, 0, 0, 1)])[0] == np.datetime64(
        "2024-01-01T00:00:00.000001"
    )
    assert check_names([datetime.timedelta(microseconds=1), pd.Timedelta(1)])[1] == np.timedelta64(1, "ns")


@settings(max_examples=200, deadline=None)
@given(
    st.lists(
        st.one_of(st.none(), st.text(max_size=3), st.integers(), st.floats(), st.booleans(), st.binary())
    )
)
def test_lists_are_kept_exactly_or_refused(names):
    try:
        found = check_names(names)
    except (TypeError, ValueError) as error:
        assert "names of features" in str(error)
        return
    assert found.tolist() == names and len({type(name) for name in names}) <= 1


@pytest.mark.parametrize("names", ALLOWED.values(), ids=ALLOWED)
def test_results_give_names_back_exactly(names, tmp_path):
    samples = np.random.default_rng(0).standard_normal((40, 4))
    options = {"n_components": 5, "n_nonzero_coefs": 1, "max_passes": 1, "random_state": 0}
    if names.dtype == "float16":  # which coordinates of xarray are not
        names = names.astype("float32")
    given_ = xr.DataArray(samples, dims=("sample", "feature"), coords={"feature": names})
    result = daskksvd.fit(given_, **options)
    kept = result.dictionary.feature.values
    assert kept.dtype.kind == names.dtype.kind
    assert_array_equal(kept, names)
    result.save(tmp_path / "result.zarr")
    for _ in range(2):
        found = daskksvd.load(tmp_path / "result.zarr")
        assert found.dictionary.feature.dtype == kept.dtype
        assert_array_equal(found.dictionary.feature.values, names)
        found.save(tmp_path / "result.zarr", overwrite=True)
    if names.dtype == "datetime64[s]":  # of years that xarray does not decode by itself
        return
    plain = xr.open_zarr(tmp_path / "result.zarr", consolidated=False, decode_timedelta=True)
    assert_array_equal(plain.feature.values.astype(names.dtype), names)


def test_names_that_cannot_be_stored_are_refused_before_a_fit():
    stacked = xr.DataArray(np.ones((9, 2, 2)), dims=("sample", "x", "y")).stack(feature=("x", "y"))
    for columns in (stacked, pd.DataFrame(np.ones((9, 2)), columns=["a", 1])):
        with pytest.raises((TypeError, ValueError), match="names of features"):
            daskksvd.fit(columns, n_components=2, n_nonzero_coefs=1)
