"""What is not left behind: tasks of labels, settings of the process after a dashboard, further threads."""

import gc
import os
import signal
import sys
import threading
import time

import dask.array as da
import numpy as np
import pytest
from click.testing import CliRunner
from dask.distributed import Client, LocalCluster
from small_cluster import assert_nothing_left

import daskksvd
from daskksvd import cli
from daskksvd.execution import make_executor

N, M = 240, 8
CAPTIONS = [("a dog", "a cat", "a red cow")[n % 3] for n in range(N)]


def codes(end=None):
    """Codes of which the second chunk ends the computation in some way."""
    rng = np.random.default_rng(0)
    values = rng.standard_normal((N, M)) * (rng.random((N, M)) < 0.3)

    def block(chunk, block_info=None):
        if block_info[0]["chunk-location"][0] == 1 and end is not None:
            end()
        return chunk

    return da.from_array(values, chunks=(60, M)).map_blocks(block, dtype=float, meta=np.empty((0, 0)))


def broken():
    raise RuntimeError("a chunk that cannot be read")


def interrupted():
    """Ctrl-C; there is work left when it comes, however busy the machine is."""
    os.kill(os.getpid(), signal.SIGINT)
    time.sleep(1)


@pytest.fixture(scope="module")
def client():
    with (
        LocalCluster(n_workers=2, threads_per_worker=1, processes=False, dashboard_address=":0") as cluster,
        Client(cluster) as client,
    ):
        yield client


@pytest.fixture
def ctrl_c():
    """What Ctrl-C does in a program that was started in the foreground; in the background it is ignored."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


@pytest.mark.usefixtures("ctrl_c")
@pytest.mark.parametrize(
    "end, error", [(None, None), (broken, RuntimeError), (interrupted, KeyboardInterrupt)]
)
def test_no_tasks_of_labels(client, tmp_path, end, error):
    given = codes(end)
    options = {"client": client, "checkpoint": tmp_path / "counts"}
    if error is None:
        daskksvd.label(given, CAPTIONS, **options)
    else:
        with pytest.raises(error):
            daskksvd.label(given, CAPTIONS, **options)
    assert_nothing_left(client)
    expected = daskksvd.label(codes(), CAPTIONS)
    assert daskksvd.label(codes(), CAPTIONS, client=client).equals(expected)
    assert_nothing_left(client)


@pytest.mark.parametrize("n_threads", [1, 2])
def test_chunks_are_kept_by_so_many_threads(n_threads):
    inside, most, lock = set(), [], threading.Lock()

    def block(chunk):
        with lock:
            inside.add(threading.get_ident())
            most.append(len(inside))
        time.sleep(0.01)
        with lock:
            inside.remove(threading.get_ident())
        return chunk

    array = da.ones((64, 2), chunks=(2, 2)).map_blocks(block, meta=np.empty((0, 0)))
    executor = make_executor(None, n_threads=n_threads)
    try:
        kept = executor.persist(array)
    finally:
        executor.close()
    assert len(most) == 32 and max(most) <= n_threads
    np.testing.assert_array_equal(kept.compute(scheduler="sync"), np.ones((64, 2)))


def of_process():
    return sys.getswitchinterval(), gc.get_freeze_count() > 0, gc.isenabled()


@pytest.mark.parametrize("error", [None, KeyboardInterrupt, RuntimeError])
def test_the_command_view_gives_the_process_back(tmp_path, monkeypatch, error):
    pytest.importorskip("panel")
    result = daskksvd.fit(
        np.random.default_rng(0).standard_normal((100, 6)), n_components=8, n_nonzero_coefs=2, max_passes=1
    )
    result.save(tmp_path / "result.zarr")
    found = []

    def wait(served):
        found.append(of_process())
        served.stop()
        if error is not None:
            raise error

    monkeypatch.setattr("daskksvd.view.server.app.Dashboard.wait", wait)
    before = of_process()
    CliRunner().invoke(cli.main, ["view", str(tmp_path / "result.zarr"), "--port", "0", "--no-browser"])
    assert found and found[0] != before, "the command tunes its process, or this tests nothing"
    assert of_process() == before
