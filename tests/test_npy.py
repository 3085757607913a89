""".npy files as samples: the same rows, chunks and results as the array in memory."""

import pickle

import dask
import numpy as np
import pytest

import daskksvd
from daskksvd.datasets import make_planted
from daskksvd.rows import as_source, source


@pytest.fixture(scope="module")
def samples():
    return make_planted(2_000, 16, 32, 3, random_state=0).array.compute(scheduler="synchronous")


@pytest.mark.parametrize(
    "change",
    [
        lambda X: X,
        np.asfortranarray,
        lambda X: X.astype(">f8"),
        lambda X: X.astype("float16"),
        lambda X: (9 * X).astype("int8"),
    ],
)
def test_rows_and_chunks_are_those_of_the_array(change, samples, tmp_path, monkeypatch):
    monkeypatch.setattr(source, "MEMORY_CHUNK_BYTES", 30_000)
    X = change(samples)
    np.save(tmp_path / "x.npy", X)
    rows = as_source(tmp_path / "x.npy")
    assert rows.chunk_rows == as_source(X).chunk_rows
    assert len(rows.chunk_rows) > 1
    assert rows.dtype == X.dtype.newbyteorder("=")
    np.testing.assert_array_equal(rows.array.compute(scheduler="synchronous"), X)


def test_fit_and_encode_take_a_path(samples, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    np.save("x.npy", samples)
    settings = {"n_components": 32, "n_nonzero_coefs": 3, "max_passes": 2, "random_state": 1}
    expected = daskksvd.fit(samples, **settings)
    for persist in (True, False):
        result = daskksvd.fit("x.npy", **settings, persist=persist)
        np.testing.assert_array_equal(result.dictionary.values, expected.dictionary.values)
    codes = result.encode("x.npy").compute(scheduler="synchronous")
    np.testing.assert_array_equal(
        codes.todense(), expected.encode(samples).compute(scheduler="synchronous").todense()
    )


def test_what_travels_is_a_path(samples, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    np.save("x.npy", samples)
    array = as_source("x.npy").array
    travelling = pickle.dumps(dict(array.dask))
    assert len(travelling) < samples.nbytes / 10
    monkeypatch.chdir("/")
    np.testing.assert_array_equal(dask.get(pickle.loads(travelling), (array.name, 0, 0)), samples)


def test_a_file_written_anew_is_read_anew(samples, tmp_path):
    np.save(tmp_path / "x.npy", samples)
    before = as_source(tmp_path / "x.npy").array
    np.save(tmp_path / "x.npy", -samples)
    after = as_source(tmp_path / "x.npy").array
    assert before.name != after.name
    np.testing.assert_array_equal(after.compute(scheduler="synchronous"), -samples)


@pytest.mark.parametrize(
    ("array", "error", "words"),
    [
        (np.array([[None]]), ValueError, "no .npy file of plain numbers"),
        (np.zeros((3, 2), "complex64"), TypeError, "must be real"),
        (np.zeros((3, 2), "U3"), TypeError, "dtype <U3"),
        (np.zeros(3), ValueError, "1 dimension"),
        (np.float64(1), ValueError, "0 dimensions"),
        (np.zeros((0, 2)), ValueError, "is empty"),
    ],
)
def test_what_is_refused(array, error, words, tmp_path):
    np.save(tmp_path / "x.npy", array)
    with pytest.raises(error, match=words) as caught:
        as_source(tmp_path / "x.npy")
    assert str(caught.value).startswith("array ")


def test_a_broken_file_is_refused(samples, tmp_path):
    np.save(tmp_path / "whole.npy", samples)
    whole = (tmp_path / "whole.npy").read_bytes()
    for content in (b"", b"text", whole[:1000]):
        (tmp_path / "cut.npy").write_bytes(content)
        with pytest.raises(ValueError, match=r"no \.npy file of plain numbers"):
            as_source(tmp_path / "cut.npy")


def test_an_address_is_told_from_a_path():
    with pytest.raises(ValueError, match=r"array is 'memory://x\.npy', an address; \.npy files are read"):
        daskksvd.fit("memory://x.npy", n_components=4, n_nonzero_coefs=1)
    with pytest.raises(ValueError, match=r"array is 'memory://x\.zarr', which is no Zarr store \("):
        daskksvd.fit("memory://x.zarr", n_components=4, n_nonzero_coefs=1)
