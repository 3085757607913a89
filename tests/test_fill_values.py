"""Codes on a cluster: what is made of them there is what threads and dense NumPy arrays make."""

import pickle
import subprocess
import sys

import dask
import dask.array as da
import numpy as np
import pytest
import sparse
import xarray as xr
from distributed import Client, LocalCluster
from distributed.protocol import deserialize, serialize
from numpy.testing import assert_allclose

import daskksvd

N, D, M = 300, 16, 40


@pytest.fixture(scope="module")
def client():
    """Workers in processes of their own."""
    with (
        LocalCluster(n_workers=2, threads_per_worker=1, processes=True, dashboard_address=":0") as cluster,
        Client(cluster) as client,
    ):
        yield client


@pytest.fixture(scope="module")
def near():
    """Workers that send over sockets, too, but compile what `sparse` needs only once, in this process."""
    options = {"threads_per_worker": 1, "processes": False, "protocol": "tcp", "dashboard_address": ":0"}
    with LocalCluster(n_workers=2, **options) as cluster, Client(cluster, set_as_default=False) as client:
        yield client


@pytest.fixture(scope="module")
def samples():
    return np.random.default_rng(4).standard_normal((N, D))


@pytest.fixture(scope="module")
def result(samples):
    return daskksvd.fit(
        samples, n_components=M, n_nonzero_coefs=3, max_passes=1, random_state=0, dtype="float64"
    )


@pytest.fixture(scope="module")
def dense(result, samples):
    return result.encode(samples).compute(scheduler="threads").todense()


@pytest.fixture(scope="module")
def stored(result, samples, tmp_path_factory):
    path = tmp_path_factory.mktemp("sending") / "codes"
    result.write_codes(samples, path)
    return path


def all_kinds(client, result, samples, path):
    """Codes in all forms that they come in, of a client."""
    lazy = result.encode(da.from_array(samples, chunks=(70, D)))
    gathered = client.compute(lazy).result()
    assert isinstance(gathered, sparse.COO) and gathered.fill_value == 0
    return {
        "encoded": lazy,
        "stored": daskksvd.open_codes(path).rechunk((70, -1)),
        "persisted": client.persist(lazy),
        "in two directions": lazy.rechunk((110, 13)),
        "gathered": da.from_array(gathered, chunks=(70, M)),
    }


@pytest.fixture(scope="module")
def codes(client, result, samples, stored):
    return all_kinds(client, result, samples, stored)


def count(array, axis=None):
    return (array != 0).sum(axis=axis)


def labelled(array):
    return xr.DataArray(array, dims=("sample", "atom"))


MATRIX = np.random.default_rng(5).standard_normal((M, 3))

WAYS = {
    "as they are": lambda C: C,
    "sum": lambda C: C.sum(),
    "sum of columns": lambda C: C.sum(axis=0),
    "sum of rows": lambda C: C.sum(axis=1),
    "mean": lambda C: C.mean(),
    "mean of columns": lambda C: C.mean(axis=0),
    "max": lambda C: C.max(),
    "max of rows": lambda C: C.max(axis=1),
    "min": lambda C: C.min(axis=0),
    "var": lambda C: C.var(axis=0),
    "std": lambda C: C.std(),
    "equal to itself": lambda C: C == C,
    "all equal": lambda C: (C == C).all(),
    "equal to zero": lambda C: (C == 0).sum(axis=1),
    "different": lambda C: C != 0,
    "different, added": lambda C: (C != 0).sum(axis=0),
    "larger": lambda C: C > -0.1,
    "larger, added": lambda C: (C > -0.1).sum(),
    "any": lambda C: (C > 0).any(axis=1),
    "all": lambda C: (C < 100).all(axis=0),
    "plus one": lambda C: C + 1,
    "plus one, added": lambda C: (C + 1).sum(axis=0),
    "exponential": lambda C: np.exp(C),
    "exponential, mean": lambda C: np.exp(C).mean(axis=1),
    "absolute": lambda C: abs(C).max(),
    "cosine": lambda C: np.cos(C)[17:211, ::3],
    "slice": lambda C: C[20:200, 3:30].sum(axis=0),
    "column": lambda C: (C[:, 7] + 2).sum(),
    "product": lambda C: C @ MATRIX,
    "transposed": lambda C: (C.T - 1).sum(axis=1),
    "reshaped": lambda C: (C + 1).reshape(-1)[:5],
}


def plain(value):
    return value.todense() if isinstance(value, sparse.SparseArray) else np.asarray(value)


FUNCTIONS = {
    "count_nonzero": (da.count_nonzero, np.count_nonzero),
    "count_nonzero of rows": (lambda C: da.count_nonzero(C, axis=1), lambda C: np.count_nonzero(C, axis=1)),
    "concatenate": (lambda C: da.concatenate([C, -C]), lambda C: np.concatenate([C, -C])),
    "concatenate others": (
        lambda C: da.concatenate([C, C + 1, C * 2 - 1], axis=1).sum(axis=0),
        lambda C: np.hstack([C, C + 1, C * 2 - 1]).sum(axis=0),
    ),
    "stack": (lambda C: da.stack([C + 3, C + 3]).max(axis=0), lambda C: C + 3),
    "rechunk": (lambda C: (C + 1).rechunk((41, 9)), lambda C: C + 1),
    "map_blocks": (lambda C: C.map_blocks(lambda block: block + 5, dtype=C.dtype), lambda C: C + 5),
    "astype": (lambda C: C.astype("float32") + 1, lambda C: C.astype("float32") + 1),
    "xarray count": (lambda C: labelled(C).count("sample").data, lambda C: np.full(M, N)),
    "xarray sum": (lambda C: labelled(C).sum("sample").data, lambda C: C.sum(axis=0)),
    "xarray mean": (lambda C: labelled(C).mean("atom").data, lambda C: C.mean(axis=1)),
    "xarray max": (lambda C: (labelled(C) + 1).max("atom").data, lambda C: C.max(axis=1) + 1),
    "xarray any": (lambda C: (labelled(C) > 0).any("sample").data, lambda C: (C > 0).any(axis=0)),
}


EVERY_WAY = {**{name: (way, way) for name, way in WAYS.items()}, **FUNCTIONS}

FAR = [
    "as they are", "sum", "equal to itself", "all equal", "plus one", "plus one, added", "exponential, mean",
    "product", "count_nonzero", "concatenate others", "xarray count",
]  # fmt: skip
"""What other processes make, too: each of them compiles a second or two for each."""


@pytest.mark.parametrize("where", ["a cluster", "processes"])
def test_what_workers_make_of_codes(where, near, client, result, samples, stored, dense):
    asked = near if where == "a cluster" else client
    ways = EVERY_WAY if where == "a cluster" else {name: EVERY_WAY[name] for name in FAR}
    for kind, C in all_kinds(asked, result, samples, stored).items():
        if where == "processes" and kind not in ("encoded", "in two directions"):
            continue  # others come to workers in the same form
        lazy = [lazily(C) for lazily, _ in ways.values()]
        found = {where: asked.gather(asked.compute(lazy))}
        if where == "a cluster" and kind in ("encoded", "in two directions"):
            found["threads"] = dask.compute(*lazy, scheduler="threads")
        if where == "a cluster" and kind == "encoded":
            found["a cluster, persisted"] = asked.gather(asked.compute(asked.persist(lazy)))
        for place, values in found.items():
            for (name, (_, at_once)), value in zip(ways.items(), values, strict=True):
                expected = at_once(dense)
                tolerance = 1e-6 if value.dtype == np.float32 else 1e-9
                assert_allclose(
                    plain(value), expected, rtol=tolerance, atol=1e-12, err_msg=f"{name} of {kind} on {place}"
                )
                assert isinstance(value, sparse.COO | np.ndarray | np.generic) or name == "product"


def test_rows_chosen_by_their_codes(client, codes, dense):
    for C in codes.values():
        chosen = C[count(C, 1).compute().todense() > 2] + 1
        assert_allclose(plain(chosen.compute()), dense[count(dense, 1) > 2] + 1)


def test_futures_keep_fill_values(client, codes):
    whole = codes["gathered"].compute(scheduler="threads")
    here = client.scatter(whole + 1)
    workers = list(client.scheduler_info()["workers"])
    there = client.submit(lambda array: array * 2, here, workers=workers[:1])
    further = client.submit(lambda array: array + 1, there, workers=workers[1:])
    back = client.submit(lambda array: array - 3, further, workers=workers[:1])
    assert [future.result().fill_value for future in (here, there, further, back)] == [1, 2, 3, 0]
    assert client.submit(lambda: whole + 4).result().fill_value == 4
    several = client.submit(lambda array: {"a": [array, (array + 1,)]}, further).result()
    assert several["a"][0].fill_value == 3 and several["a"][1][0].fill_value == 4


@pytest.mark.parametrize("dtype", ["float32", "float64", "int64", "bool", "complex128"])
@pytest.mark.parametrize("fill", [0, 1, np.nan, np.inf])
@pytest.mark.parametrize("shape", [(), (0, 5), (7,), (3, 4), (2, 3, 4)])
def test_an_array_arrives_as_it_left(dtype, fill, shape):
    if not np.isfinite(fill) and dtype in ("int64", "bool"):
        return
    rng = np.random.default_rng(0)
    values = np.where(rng.random(shape) < 0.5, rng.integers(2, 9, shape), fill).astype(dtype)
    array = sparse.COO.from_numpy(values, fill_value=np.array(fill, dtype)[()])
    for found in (deserialize(*serialize(array)), pickle.loads(pickle.dumps(array))):
        assert type(found) is sparse.COO and found.shape == shape and found.dtype == dtype
        assert np.array_equal(found.fill_value, array.fill_value, equal_nan=dtype != "bool")
        np.testing.assert_array_equal(found.todense(), values)
        np.testing.assert_array_equal(found.coords, array.coords)
        assert (found + found).shape == shape  # it is whole


def test_who_gets_an_array_passes_it_on_whole():
    """A process in which nothing of ours was imported, and which gets an array pickled in another."""
    array = sparse.COO.from_numpy(np.eye(3)) + 1
    receive = (
        "import pickle, sys; from distributed.protocol import serialize, deserialize\n"
        "assert 'daskksvd' not in sys.modules\n"
        "array = pickle.load(sys.stdin.buffer)\n"
        "assert 'daskksvd.coding' not in sys.modules, 'all of the package is loaded'\n"
        "print(deserialize(*serialize(array + 1)).fill_value)"
    )
    done = subprocess.run([sys.executable, "-c", receive], input=pickle.dumps(array), capture_output=True)
    assert done.stdout.strip() == b"2.0", done.stderr.decode()


def test_spilled_codes_keep_their_fill_value(tmp_path, result, samples):
    with (
        dask.config.set({"temporary-directory": str(tmp_path)}),
        LocalCluster(n_workers=1, threads_per_worker=1, processes=False, dashboard_address=":0") as cluster,
        Client(cluster) as client,
    ):
        ones = client.persist(result.encode(da.from_array(samples, chunks=(70, D))) + 1)
        expected = plain(ones.sum().compute())
        worker = next(iter(cluster.workers.values()))

        def spill(dask_worker=None):
            while dask_worker.data.fast:
                dask_worker.data.evict()

        client.run(spill)
        assert len(worker.data.slow) >= ones.npartitions
        assert plain(ones.sum().compute()) == expected


def test_functions_of_sparse_are_compiled_once_a_machine(result, samples):
    """They come from files, or go there."""
    assert result.encode(samples)[3:7].compute().shape == (4, M)
    told = sys.modules["sparse.numba_backend._coo.indexing"]._compute_mask.stats
    assert told.cache_path and sum(told.cache_hits.values()) + sum(told.cache_misses.values()) > 0
