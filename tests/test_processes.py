"""Where a program runs us: in forked processes, in tasks of a cluster, on arrays that live there."""

import os
import subprocess
import sys

import dask.array as da
import numpy as np
import pytest
from distributed import Client, LocalCluster, get_client, worker_client
from numpy.testing import assert_array_equal

import daskksvd

LIMIT = 300
"""Seconds in which everything ends, however busy the machine; what hangs never does."""

FORKED = """
import multiprocessing, threading, numpy as np, dask.array as da, daskksvd
Y = np.random.default_rng(0).standard_normal((3000, 32)).astype("float32")
model = daskksvd.KSVD(64, n_nonzero_coefs=3, max_passes=1, random_state=0).fit(Y)
ways = {
    "transform": lambda: model.transform(Y),
    "encode": lambda: model.result_.encode(da.from_array(Y, chunks=(500, 32))).compute().todense(),
    "fit": lambda: model.fit(Y).components_,
    "evaluate": lambda: np.array(model.result_.evaluate(Y)["fvu"]),
}
expected = {name: way() for name, way in ways.items()}
stop, held = threading.Event(), threading.Event()
def hold():
    from daskksvd.rows import sharing
    from daskksvd.execution import executor
    from daskksvd.machine import blas
    import importlib
    tokenising = importlib.import_module("dask.tokenize").tokenize_lock
    with blas.single_threaded_blas(), executor._making, sharing._lock, tokenising:
        held.set()
        stop.wait()
if HELD:
    threading.Thread(target=hold).start()
    held.wait()
def child():
    for name, way in ways.items():
        np.testing.assert_array_equal(way(), expected[name])
fork = multiprocessing.get_context("fork")
try:
    process = fork.Process(target=child, daemon=True)
    process.start()
    process.join(200)
    assert process.exitcode == 0, process.exitcode
finally:
    stop.set()
np.testing.assert_array_equal(ways["transform"](), expected["transform"])
print("all of it")
"""


@pytest.mark.skipif(not hasattr(os, "fork"), reason="processes are not forked here")
@pytest.mark.parametrize("held", [False, True], ids=["at rest", "locks held"])
def test_a_forked_process_goes_on(held):
    code = FORKED.replace("HELD", str(held))
    done = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", code], capture_output=True, text=True, timeout=LIMIT
    )
    assert done.stdout == "all of it\n", done.stderr


@pytest.fixture(scope="module")
def samples():
    return np.random.default_rng(1).standard_normal((600, 16)).astype("float32")


@pytest.fixture
def client():
    with (
        LocalCluster(n_workers=1, threads_per_worker=1, processes=False, dashboard_address=":0") as cluster,
        Client(cluster) as client,
    ):
        yield client


HOW = {"n_components": 32, "n_nonzero_coefs": 3, "max_passes": 1, "random_state": 0}


@pytest.mark.parametrize("way", ["get_client", "worker_client", "twice"])
def test_a_task_of_a_worker_with_one_thread_may_fit(client, samples, way):
    def task():
        if way == "worker_client":
            with worker_client() as inner:
                return daskksvd.fit(da.from_array(samples, chunks=(200, 16)), client=inner, **HOW)
        inner = get_client()
        result = daskksvd.fit(da.from_array(samples, chunks=(200, 16)), client=inner, **HOW)
        if way == "twice":
            assert result.evaluate(samples, client=inner)["n_samples"] == 600
        return result

    found = client.submit(task, pure=False).result(timeout=LIMIT).dictionary.values
    expected = daskksvd.fit(da.from_array(samples, chunks=(200, 16)), **HOW).dictionary.values
    assert_array_equal(found, expected)
    assert client.submit(sum, [1, 2]).result(timeout=LIMIT) == 3  # the worker has its thread


def test_an_array_on_a_cluster_needs_its_client(client, samples, tmp_path):
    there = client.persist(da.from_array(samples, chunks=(200, 16)))
    result = daskksvd.fit(there, client=client, **HOW)
    ways = [
        lambda array: daskksvd.fit(array, **HOW),
        lambda array: daskksvd.fit(array, persist=True, **HOW),
        lambda array: daskksvd.fit(array, persist=False, **HOW),
        lambda array: daskksvd.KSVD(**HOW).fit(array),
        lambda array: daskksvd.KSVD(32, n_nonzero_coefs=3).partial_fit(array),
        lambda array: result.evaluate(array),
        lambda array: result.score(array),
        lambda array: result.write_codes(array, tmp_path / "codes"),
    ]
    for way in ways:
        for array in (there, there * 2, there[150:] - there.mean(axis=0)):
            with pytest.raises(ValueError, match=r"lives on a Dask cluster.*pass client="):
                way(array)
    assert not list(tmp_path.iterdir())
    here = daskksvd.fit(da.from_array(samples, chunks=(200, 16)), **HOW)
    assert_array_equal(result.dictionary.values, here.dictionary.values)
