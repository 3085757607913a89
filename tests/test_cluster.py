"""On a cluster: the same bits as on threads, whatever happens to workers."""

import itertools
import os
import signal
import threading
import time
import typing
import weakref

import dask
import dask.array as da
import numpy as np
import pytest
import zarr
from distributed import Client, LocalCluster

import daskksvd
from daskksvd.datasets import make_planted
from daskksvd.execution import Blueprint
from daskksvd.execution import executor as base
from daskksvd.execution.cluster import ClusterExecutor
from daskksvd.machine.buffers import lender
from daskksvd.tracking import WaveFinished

SIZE = {"n_components": 64, "n_nonzero_coefs": 3, "random_state": 5, "max_passes": 2}
LIMIT = "1500MB"


@pytest.fixture(scope="module")
def client():
    # some seconds after a worker is lost, LocalCluster closes the one in its place
    # for good if it is not there at that moment, having been killed, too
    with (
        dask.config.set({"distributed.deploy.lost-worker-timeout": "1 hour"}),
        LocalCluster(
            n_workers=2, threads_per_worker=1, memory_limit=LIMIT, dashboard_address=":0"
        ) as cluster,
        Client(cluster) as client,
    ):
        yield client


@pytest.fixture(scope="module")
def samples():
    return make_planted(12_000, 32, 64, 3, random_state=8).array.compute()


@pytest.fixture(scope="module")
def store(samples, tmp_path_factory):
    path = tmp_path_factory.mktemp("cluster") / "samples.zarr"
    array = zarr.create_array(path, shape=samples.shape, chunks=(1700, 32), dtype="float32")
    array[:] = samples
    return path


def chunked(samples):
    return da.from_array(samples, chunks=(1700, 32))


@pytest.mark.parametrize("kind", ["path", "numpy", "dask", "persisted", "shared mean"])
def test_cluster_equals_threads(client, samples, store, kind):
    arrays = {
        "path": (store, store),
        "numpy": (samples, samples),
        "dask": (chunked(samples), chunked(samples)),
        "persisted": (client.persist(chunked(samples)), chunked(samples)),
        "shared mean": (chunked(samples) - chunked(samples).mean(axis=0),) * 2,
    }
    there, here = arrays[kind]
    found = daskksvd.fit(there, client=client, persist=False, **SIZE)
    expected = daskksvd.fit(here, persist=False, **SIZE)
    np.testing.assert_array_equal(found.dictionary.values, expected.dictionary.values)
    np.testing.assert_array_equal(found.history.relative_error, expected.history.relative_error)


@pytest.mark.parametrize(
    "settings", [{"update": "ksvd"}, {"update": "batch"}, {"whiten": 0.25, "holdout": 0.1}]
)
def test_cluster_equals_threads_in_other_modes(client, store, settings):
    found = daskksvd.fit(store, client=client, **SIZE, **settings)
    expected = daskksvd.fit(store, **SIZE, **settings)
    np.testing.assert_array_equal(found.dictionary.values, expected.dictionary.values)


def test_number_of_workers_does_not_matter(store):
    found = []
    for n_workers, threads in ((1, 1), (1, 3)):
        with (
            LocalCluster(
                n_workers=n_workers, threads_per_worker=threads, processes=False, dashboard_address=":0"
            ) as cluster,
            Client(cluster) as one,
        ):
            found.append(daskksvd.fit(store, client=one, **SIZE).dictionary.values)
    expected = daskksvd.fit(store, n_threads=1, **SIZE).dictionary.values
    np.testing.assert_array_equal(found[0], expected)
    np.testing.assert_array_equal(found[1], expected)


@pytest.mark.parametrize(("count", "shares"), [(2, [1, 1]), (3, [2, 1]), (8, [4, 4]), (52, [26, 26])])
def test_neighbours_run_on_the_same_worker(client, count, shares):
    """In equal shares; so that most of what they return is added up where it is."""
    places = ClusterExecutor(client).places(count)
    assert [len(list(run)) for _, run in itertools.groupby(places)] == shares
    assert set(places) == set(client.nthreads())


def test_scheduler_tells_kinds_of_tasks_apart(client, store):
    """Else rows seem to take as long as the adding of two sums, and an idle worker takes none over."""
    daskksvd.fit(store, client=client, update="ksvd", **SIZE)
    kinds = client.run_on_scheduler(lambda dask_scheduler: list(dask_scheduler.task_prefixes))
    assert {"daskksvd-job-moments", "daskksvd-add-all", "daskksvd-code-job", "daskksvd-same"} <= set(kinds)


@pytest.mark.parametrize("update", ["online", "ksvd"])
@pytest.mark.parametrize("kind", ["path", "numpy"])
def test_killed_worker_changes_nothing(client, samples, store, kind, update):
    array = {"path": store, "numpy": samples}[kind]
    killed = []

    def kill(event):
        if isinstance(event, WaveFinished) and event.pass_index == 1 and event.index == 2 and not killed:
            pid = next(iter(client.run(os.getpid).values()))
            killed.append(pid)
            threading.Timer(0.02, os.kill, (pid, signal.SIGKILL)).start()

    found = daskksvd.fit(array, client=client, callbacks=[kill], persist=False, update=update, **SIZE)
    assert killed
    expected = daskksvd.fit(array, persist=False, update=update, **SIZE)
    np.testing.assert_array_equal(found.dictionary.values, expected.dictionary.values)
    np.testing.assert_array_equal(found.history.wave_relative_error, expected.history.wave_relative_error)
    client.wait_for_workers(2, timeout=120)


def test_encode_decode_score_and_write_on_the_cluster(client, samples, store, tmp_path):
    result = daskksvd.fit(store, **SIZE)
    lazy = result.encode(store)
    here = lazy.compute(scheduler="threads").todense()
    np.testing.assert_array_equal(client.compute(lazy).result().todense(), here)
    np.testing.assert_allclose(
        client.compute(result.decode(lazy)).result(), here @ result.dictionary.values, atol=1e-5
    )
    assert result.score(store, client=client) == pytest.approx(result.score(store), rel=1e-12)
    result.write_codes(store, tmp_path / "codes.zarr", client=client)
    np.testing.assert_array_equal(
        daskksvd.open_codes(tmp_path / "codes.zarr").compute(scheduler="threads").todense(), here
    )


def test_too_little_memory_is_said_before_starting(client, samples):
    with pytest.raises(MemoryError, match=r"worker tcp://.* needs about .* GiB .* and may use .* GiB"):
        daskksvd.fit(np.zeros((20_000, 64)), client=client, n_components=8000, n_nonzero_coefs=3)


def test_arrays_on_a_cluster_need_its_client(client, samples):
    persisted = client.persist(chunked(samples))
    with pytest.raises(ValueError, match="pass client="):
        daskksvd.fit(persisted, persist=False, **SIZE)


def test_client_of_the_wrong_kind():
    with pytest.raises(TypeError, match=r"client is a str; it must be a distributed\.Client"):
        daskksvd.fit(np.eye(4), n_components=2, n_nonzero_coefs=1, client="tcp://host:8786")


def test_relative_path_means_the_same_to_workers(client, store, monkeypatch):
    monkeypatch.chdir(store.parent)
    found = daskksvd.fit("samples.zarr", client=client, **SIZE)
    expected = daskksvd.fit(store, **SIZE)
    np.testing.assert_array_equal(found.dictionary.values, expected.dictionary.values)


class _Part:
    """A partial result that tells how many others there are."""

    alive: typing.ClassVar = weakref.WeakSet()
    most = 0

    def __init__(self, parts):
        self.sum = sum(parts)
        self.alive.add(self)
        _Part.most = max(self.most, len(self.alive))


def _part(job):
    time.sleep(0.02)  # for the messages that tell what is no longer needed
    return _Part([job])


def _add_parts(parts):
    return _Part([part.sum for part in parts])


def test_partial_results_are_let_go_once_they_are_added(monkeypatch):
    monkeypatch.setattr(_Part, "most", 0)
    with (
        LocalCluster(n_workers=1, threads_per_worker=1, processes=False, dashboard_address=":0") as cluster,
        Client(cluster) as client,
    ):
        executor = ClusterExecutor(client)
        total = executor.reduce(Blueprint(_part, _add_parts), lambda: ((number,) for number in range(64)))
        executor.close()
    assert total.sum == sum(range(64))
    assert _Part.most <= 32  # of the 64, and 15 sums


def test_workers_keep_no_memory_after_a_fit(store):
    with (
        LocalCluster(n_workers=1, threads_per_worker=1, processes=False, dashboard_address=":0") as cluster,
        Client(cluster) as client,
    ):
        freed = []
        kept = lambda: len(lender._free) + len(base._made)  # noqa: E731
        daskksvd.fit(store, client=client, callbacks=[lambda event: freed.append(kept())], **SIZE)
        assert max(freed) > 0
        end = time.monotonic() + 10
        while kept() and time.monotonic() < end:
            time.sleep(0.05)
        assert not kept()
