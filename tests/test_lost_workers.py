"""Workers that are gone: said, waited for, and no longer than asked for; nothing is left on a cluster."""

import contextlib
import os
import signal
import threading
import time

import dask
import dask.array as da
import numpy as np
import pytest
import zarr
from distributed import Client, LocalCluster
from small_cluster import assert_nothing_left

import daskksvd
from daskksvd.datasets import make_planted
from daskksvd.execution import watching
from daskksvd.tracking import FitStarted, WaitingForWorkers, WaveFinished, WorkersReturned

SIZE = {"n_components": 48, "n_nonzero_coefs": 3, "random_state": 5, "max_passes": 2, "tol": 0}


@pytest.fixture(scope="module")
def samples():
    return make_planted(6000, 24, 48, 3, random_state=8).array.compute()


@pytest.fixture(scope="module")
def store(samples, tmp_path_factory):
    path = tmp_path_factory.mktemp("lost") / "samples.zarr"
    array = zarr.create_array(path, shape=samples.shape, chunks=(1700, 24), dtype="float32")
    array[:] = samples
    return path


@contextlib.contextmanager
def cluster_of(**options):
    # see the fixture of test_cluster.py
    with (
        dask.config.set({"distributed.deploy.lost-worker-timeout": "1 hour"}),
        LocalCluster(threads_per_worker=1, dashboard_address=":0", **options) as cluster,
        Client(cluster) as client,
    ):
        yield client


@pytest.fixture(scope="module")
def processes():
    with cluster_of(n_workers=2, memory_limit="1500MB") as client:
        yield client


@pytest.fixture
def workers(processes):
    """A client with both its workers, whatever happened to those before."""
    processes.wait_for_workers(2, timeout=300)
    return processes


@pytest.fixture
def client():
    """A client of threads of this process."""
    with cluster_of(n_workers=1, processes=False) as client:
        yield client


def chunked(samples):
    return da.from_array(samples, chunks=(1700, 24))


def pids(client):
    return list(client.run(os.getpid).values())


class Once:
    """Callback that calls something from another thread during the second pass; keeps events of waits."""

    def __init__(self, act, in_the_midst=True):
        self.act, self.thread, self.waits = act, None, []
        self.in_the_midst = in_the_midst

    def __call__(self, event):
        if isinstance(event, (WaitingForWorkers, WorkersReturned)):
            self.waits.append(event)
        if isinstance(event, WaveFinished) and event.pass_index == 1 and event.index == 2 and not self.thread:
            self.thread = threading.Thread(target=self.act)
            self.thread.start()
            if not self.in_the_midst:
                self.thread.join()


def kill_all(client):
    for pid in pids(client):
        os.kill(pid, signal.SIGKILL)


@pytest.mark.filterwarnings("ignore:waiting since:RuntimeWarning")
@pytest.mark.parametrize(
    ("act", "kind", "update"),
    [
        (Client.restart, "path", "online"),
        (Client.restart, "read once", "online"),
        (Client.restart, "numpy", "ksvd"),
        (kill_all, "numpy", "online"),
        (kill_all, "path", "ksvd"),
    ],
)
def test_all_workers_lost_changes_nothing(workers, samples, store, act, kind, update):
    array = {"path": store, "numpy": samples, "read once": chunked(samples)}[kind]
    lose = Once(lambda: act(workers))
    found = daskksvd.fit(
        array, client=workers, callbacks=[lose], persist=kind == "read once", update=update, **SIZE
    )
    lose.thread.join()
    expected = daskksvd.fit(array, persist=False, update=update, **SIZE)
    np.testing.assert_array_equal(found.dictionary.values, expected.dictionary.values)
    np.testing.assert_array_equal(found.history.wave_relative_error, expected.history.wave_relative_error)
    workers.wait_for_workers(2, timeout=300)
    assert_nothing_left(workers)


def test_what_is_waited_for_is_said(client, store):
    """Without a progress bar too; and the fit goes on when workers return."""
    lose = Once(lambda: client.cluster.scale(0))

    def return_them(event):
        if isinstance(event, WaitingForWorkers):
            client.cluster.scale(1)

    with pytest.warns(RuntimeWarning, match=r"waiting since .* for workers: the cluster at .* has none"):
        found = daskksvd.fit(store, client=client, callbacks=[lose, return_them], progress=True, **SIZE)
    assert isinstance(lose.waits[0], WaitingForWorkers) and lose.waits[0].timeout == 300
    assert "workers" in lose.waits[0].reason
    assert isinstance(lose.waits[-1], WorkersReturned)
    expected = daskksvd.fit(store, **SIZE)
    np.testing.assert_array_equal(found.dictionary.values, expected.dictionary.values)


@pytest.mark.filterwarnings("ignore:waiting since:RuntimeWarning")
def test_workers_that_hang_are_waited_for(workers, store, monkeypatch):
    monkeypatch.setattr(watching, "_SILENT", 3)
    stopped = pids(workers)
    lose = Once(lambda: [os.kill(pid, signal.SIGSTOP) for pid in stopped], in_the_midst=False)

    def go_on(event):
        if isinstance(event, WaitingForWorkers):
            for pid in stopped:
                os.kill(pid, signal.SIGCONT)

    found = daskksvd.fit(store, client=workers, callbacks=[lose, go_on], **SIZE)
    assert "nothing was heard" in lose.waits[0].reason
    expected = daskksvd.fit(store, **SIZE)
    np.testing.assert_array_equal(found.dictionary.values, expected.dictionary.values)


@pytest.mark.filterwarnings("ignore:waiting since:RuntimeWarning")
def test_workers_that_do_not_return_end_it_with_what_there_is(client, store, tmp_path):
    path = tmp_path / "state.ckpt"
    lose = Once(lambda: client.cluster.scale(0), in_the_midst=False)
    options = {"client": client, "worker_timeout": 3, "checkpoint": path, **SIZE}
    with pytest.raises(
        daskksvd.WorkersLost, match=r"waited .* for workers.*state is in .*the same call"
    ) as caught:
        daskksvd.fit(store, callbacks=[lose], **options)
    assert caught.value.result.stop_reason == "workers lost"
    assert caught.value.result.history.sizes["pass"] == 1
    result = caught.value.result
    for call in (
        lambda: result.evaluate(store, client=client, worker_timeout=2),
        lambda: result.write_codes(store, tmp_path / "codes.zarr", client=client, worker_timeout=2),
        lambda: daskksvd.fit(store, client=client, worker_timeout=2, **SIZE),
    ):
        with pytest.raises(daskksvd.WorkersLost, match="waited"):
            call()
    client.cluster.scale(1)
    found = daskksvd.fit(store, **options)
    expected = daskksvd.fit(store, **SIZE)
    np.testing.assert_array_equal(found.dictionary.values, expected.dictionary.values)
    np.testing.assert_array_equal(found.history.wave_relative_error, expected.history.wave_relative_error)
    assert_nothing_left(client)


@pytest.mark.filterwarnings("ignore:waiting since:RuntimeWarning")
def test_lost_data_that_only_the_cluster_had(workers, samples, tmp_path):
    path = tmp_path / "state.ckpt"
    lose = Once(workers.restart)
    persisted = workers.persist(chunked(samples))
    options = {"client": workers, "persist": False, "checkpoint": path, **SIZE}
    with pytest.raises(daskksvd.WorkersLost, match=r"persisted on the cluster is lost.*state is in"):
        daskksvd.fit(persisted, callbacks=[lose], **options)
    lose.thread.join()
    with pytest.raises(daskksvd.WorkersLost, match="persist it again"):
        daskksvd.fit(persisted, **options)
    found = daskksvd.fit(workers.persist(chunked(samples)), **options)
    expected = daskksvd.fit(chunked(samples), persist=False, **SIZE)
    np.testing.assert_array_equal(found.dictionary.values, expected.dictionary.values)


@pytest.mark.filterwarnings("ignore:waiting since:RuntimeWarning")
def test_rows_that_a_cluster_has_are_waited_for_no_longer(client, samples, tmp_path):
    """Workers are asked to keep masks before anything else; with the default, this would take 300 s."""
    result = daskksvd.fit(samples, **SIZE)
    persisted = client.persist(chunked(samples))
    client.cluster.scale(0)
    while client.scheduler_info()["workers"]:
        time.sleep(0.05)
    for call in (
        lambda **how: daskksvd.fit(persisted, client=client, **SIZE, **how),
        lambda **how: daskksvd.fit(persisted, **SIZE, **how),
        lambda **how: result.evaluate(persisted, client=client, **how),
        lambda **how: result.write_codes(persisted, tmp_path / "codes", client=client, **how),
    ):
        with pytest.raises(daskksvd.WorkersLost, match=r"waited [01] s for"):
            call(worker_timeout=0.4)


def test_a_scheduler_that_dies_ends_it(client, store, tmp_path):
    path = tmp_path / "state.ckpt"
    lose = Once(client.cluster.close, in_the_midst=False)
    with pytest.raises(daskksvd.WorkersLost, match=r"scheduler at .* state is in") as caught:
        daskksvd.fit(store, client=client, callbacks=[lose], checkpoint=path, **SIZE)
    assert caught.value.result is not None
    found = daskksvd.fit(store, checkpoint=path, **SIZE)
    np.testing.assert_array_equal(found.dictionary.values, daskksvd.fit(store, **SIZE).dictionary.values)


@pytest.mark.parametrize("value", [0, -1, "long", True])
def test_worker_timeout_is_checked(samples, value):
    with pytest.raises((TypeError, ValueError), match=r"worker_timeout.*must be seconds above 0, or None"):
        daskksvd.fit(samples, worker_timeout=value, **SIZE)


def failing(kind, error):
    def callback(event):
        if isinstance(event, kind):
            raise error

    return callback


@pytest.mark.parametrize("update", ["online", "ksvd"])
@pytest.mark.parametrize("persist", [True, False])
def test_nothing_is_left_on_the_cluster(client, samples, store, tmp_path, update, persist):
    options = {"client": client, "update": update, "persist": persist, **SIZE}
    for array in (samples, chunked(samples), chunked(samples) - chunked(samples).mean(axis=0)):
        result = daskksvd.fit(array, **options)
        assert_nothing_left(client)
    daskksvd.fit(store, callbacks=[failing(WaveFinished, daskksvd.StopFit())], **options)
    assert_nothing_left(client)
    for kind in (FitStarted, WaveFinished):
        with pytest.raises(OSError, match="mine") as caught:
            daskksvd.fit(store, callbacks=[failing(kind, OSError("mine"))], **options)
        assert_nothing_left(client)  # while the error has all frames
        with pytest.raises(daskksvd.FitInterrupted) as caught:
            daskksvd.fit(store, callbacks=[failing(kind, KeyboardInterrupt())], **options)
        assert_nothing_left(client)
    del caught
    result.evaluate(store, client=client)
    assert_nothing_left(client)
    result.write_codes(store, tmp_path / "codes.zarr", client=client)
    assert_nothing_left(client)


def test_what_the_user_persisted_stays(client, samples):
    persisted = client.persist(chunked(samples))
    daskksvd.fit(persisted, client=client, persist=True, **SIZE)
    assert_nothing_left(client, but=[persisted.name])
    np.testing.assert_array_equal(persisted.compute(), samples)


def _times_out(block):
    raise TimeoutError("the store did not answer")


@pytest.mark.parametrize("persist", [True, False])
def test_storage_that_times_out_is_no_lost_worker(client, samples, persist):
    array = chunked(samples).map_blocks(_times_out, dtype="float32", meta=np.empty((0, 0), "float32"))
    with pytest.raises(TimeoutError, match=r"^the store did not answer$"):
        daskksvd.fit(array, client=client, persist=persist, **SIZE)
    assert_nothing_left(client)
