"""Arrays that lie in files of other libraries: read in chunks, never whole."""

import threading

import numpy as np
import pytest
import routes
from distributed import Client, LocalCluster
from numpy.testing import assert_array_equal

from daskksvd.rows import as_source, source

X = routes.samples()


@pytest.fixture(scope="module")
def result():
    return routes.learned(X)


@pytest.fixture(scope="module")
def cluster():
    with LocalCluster(n_workers=2, threads_per_worker=1, dashboard_address=":0") as cluster:
        yield cluster.scheduler_address


class Lying:
    """An array that takes slices, and notes how many rows were asked for at a time."""

    def __init__(self, values, chunks):
        self._values = values
        self.shape, self.dtype, self.ndim, self.chunks = values.shape, values.dtype, values.ndim, chunks
        self.most = 0

    def __getitem__(self, index):
        block = self._values[index]
        self.most = max(self.most, len(block))
        return block

    def __array__(self, dtype=None, copy=None):
        raise AssertionError("it was read whole")


@pytest.fixture
def small_chunks(monkeypatch):
    monkeypatch.setattr(source, "MEMORY_CHUNK_BYTES", 4 * 60 * 6 * 8)


@pytest.mark.parametrize("chunks", [(20, 3), (60, 6), None])
@pytest.mark.parametrize("route", routes.ROUTES)
def test_what_takes_slices_is_read_in_chunks(route, chunks, small_chunks, result, tmp_path):
    import dask.array as da

    array = Lying(X, chunks)
    rows = as_source(array)
    assert array.most == 0
    if chunks is not None:
        assert rows.chunk_rows == (60,) * 4
    expected = routes.ROUTES[route](da.from_array(X, chunks=(rows.chunk_rows, 6)), result, tmp_path)
    assert_array_equal(routes.ROUTES[route](array, result, tmp_path), expected)
    assert 0 < array.most <= max(rows.chunk_rows)


def test_masks_shapes_and_byte_orders_of_such_arrays_are_checked(small_chunks):
    mask = np.zeros(X.shape, bool)
    mask[70, 1] = True
    with pytest.raises(ValueError, match="1 row with masked values, the first is row 70"):
        routes.learned(Lying(np.ma.array(X, mask=mask), (60, 6)))
    assert_array_equal(as_source(Lying(X.astype(">f4"), (60, 6))).array.compute(), X.astype("f4"))
    wrong = Lying(X, (60, 6))
    wrong.shape = (200, 6)  # more rows than it says are no matter, fewer are
    as_source(wrong).array.compute()
    wrong.shape = (300, 6)
    with pytest.raises(ValueError, match=r"has a block \(number \d, rows"):
        as_source(wrong).array.compute()
    with pytest.raises(TypeError, match="dtype object"):
        as_source(Lying(X.astype(object), (60, 6)))
    with pytest.raises(ValueError, match="3 dimensions"):
        as_source(Lying(X[None], (1, 60, 6)))


def test_what_cannot_be_sent_to_workers_says_so(cluster):
    array = Lying(X, (60, 6))
    array.lock = threading.Lock()  # as of an open file
    with Client(cluster) as client:
        for persist in (True, False):
            with pytest.raises(TypeError, match="cannot be sent to the workers"):
                routes.learned(array, client=client, persist=persist)


# -------------------------------------------------------------------------- HDF5


@pytest.fixture
def data_set(tmp_path):
    h5py = pytest.importorskip("h5py")
    with h5py.File(tmp_path / "x.h5", "w") as file:
        file.create_dataset("inner/x", data=X, chunks=(60, 4))
        file.create_dataset("big", data=X.astype(">f4"))
        packed = file.create_dataset("packed", data=np.round(X * 100).astype("i2"))
        packed.attrs["scale_factor"] = np.array([0.01])
    with h5py.File(tmp_path / "x.h5", "r") as file:
        yield file


@pytest.mark.parametrize("route", routes.ROUTES)
def test_a_data_set_of_hdf5_is_read_in_chunks(route, data_set, small_chunks, result, tmp_path):
    import dask.array as da

    expected = routes.ROUTES[route](da.from_array(X, chunks=(60, 6)), result, tmp_path)
    assert_array_equal(routes.ROUTES[route](data_set["inner/x"], result, tmp_path), expected)


def test_data_sets_of_hdf5_on_a_cluster_are_opened_by_name(data_set, result, cluster, tmp_path):
    for name in ("fit", "encode", "write_codes", "score"):
        found = routes.on_cluster(cluster)[name](data_set["inner/x"], result, tmp_path)
        assert_array_equal(found, routes.ROUTES[name](data_set["inner/x"], result, tmp_path))


def test_packed_and_swapped_data_sets_of_hdf5(data_set):
    assert_array_equal(as_source(data_set["big"]).array.compute(), X.astype("f4"))
    found = as_source(data_set["packed"]).array.compute()
    np.testing.assert_allclose(found, np.round(X * 100) * 0.01, atol=1e-5)


def test_variables_of_netcdf_are_unpacked_and_their_masks_seen(tmp_path):
    netcdf = pytest.importorskip("netCDF4")
    with netcdf.Dataset(tmp_path / "x.nc", "w") as file:
        file.createDimension("a", len(X))
        file.createDimension("b", routes.D)
        variable = file.createVariable("x", "i2", ("a", "b"), fill_value=-99)
        variable.scale_factor = 0.01
        variable[:] = X
        masked = file.createVariable("y", "f4", ("a", "b"))
        masked[:] = X
        masked[70, 1] = np.ma.masked
    with netcdf.Dataset(tmp_path / "x.nc") as file:
        found = as_source(file["x"]).array.compute()
        np.testing.assert_allclose(found, np.round(X * 100) * 0.01, atol=1e-5)
        with pytest.raises(ValueError, match="1 row with masked values, the first is row 70"):
            routes.learned(file["y"])
