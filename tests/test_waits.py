"""Schedulers that hang, drivers that are killed, and fits at the same time on the same workers."""

import concurrent.futures
import contextlib
import itertools
import math
import os
import signal
import subprocess
import sys
import textwrap
import threading
import time
import types

import numpy as np
import pytest
import xarray as xr
import zarr
from distributed import Client, LocalCluster
from small_cluster import assert_nothing_left

import daskksvd
from daskksvd.coding import nonzeros
from daskksvd.datasets import make_planted
from daskksvd.execution import watching
from daskksvd.naming import resuming
from daskksvd.tracking import WaveFinished

SIZE = {"n_components": 48, "n_nonzero_coefs": 3, "random_state": 5, "max_passes": 2, "tol": 0}
N, ROWS = 6000, 256


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """Samples, codes of them, and captions."""
    folder = tmp_path_factory.mktemp("waits")
    samples = make_planted(N, 24, 48, 3, random_state=8).array.compute()
    array = zarr.create_array(folder / "samples.zarr", shape=samples.shape, chunks=(1700, 24), dtype="f4")
    array[:] = samples
    daskksvd.fit(samples, **SIZE).write_codes(samples, folder / "codes.zarr")
    return folder


@pytest.fixture(scope="module")
def captions():
    return [f"red{i % 17} blue{i % 5} green{i % 31}" for i in range(N)]


@pytest.fixture(autouse=True)
def small_ranges(monkeypatch):
    monkeypatch.setattr(nonzeros, "COUNT_ROWS", ROWS)
    monkeypatch.setattr(resuming, "SAVE_SECONDS", 0)


@pytest.fixture(scope="module")
def cluster():
    """Threads of this process, which others can reach."""
    options = {"threads_per_worker": 1, "processes": False, "protocol": "tcp", "dashboard_address": ":0"}
    with LocalCluster(n_workers=2, **options) as cluster:
        yield cluster


@contextlib.contextmanager
def scheduler_process(folder):
    """A scheduler and a worker in processes of their own: the scheduler's process, and a client."""
    file = folder / "scheduler.json"
    silent = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}
    run = [sys.executable, "-m"]
    options = ["--no-dashboard", "--scheduler-file", str(file)]
    with contextlib.ExitStack() as stack:

        def start(name, *more):
            process = subprocess.Popen([*run, f"distributed.cli.dask_{name}", *options, *more], **silent)
            stack.callback(process.wait)
            stack.callback(process.kill)
            return process

        scheduler = start("scheduler", "--port", "0")
        while not file.exists() and scheduler.poll() is None:
            time.sleep(0.05)
        start("worker", "--nthreads", "1", "--no-nanny", "--local-directory", str(folder))
        client = stack.enter_context(Client(scheduler_file=str(file)))
        client.wait_for_workers(1, timeout=300)
        yield scheduler, client
        scheduler.send_signal(signal.SIGCONT)


@pytest.mark.filterwarnings("ignore:waiting since:RuntimeWarning")
def test_a_scheduler_that_hangs_is_waited_for_as_long_as_asked(folder, captions, tmp_path, monkeypatch):
    """The checkpoint is written, and the same call goes on."""
    samples, codes = folder / "samples.zarr", folder / "codes.zarr"
    expected = daskksvd.fit(samples, **SIZE)
    with scheduler_process(tmp_path) as (scheduler, client):
        hangs = threading.Event()
        # a busy machine may be slow, too, so only then
        limit = property(lambda watch: 3 if hangs.is_set() else math.inf, lambda watch, value: None)
        monkeypatch.setattr(watching.Watch, "timeout", limit, raising=False)

        def hang(event=None):
            if event is None or (isinstance(event, WaveFinished) and event.pass_index == 1):
                scheduler.send_signal(signal.SIGSTOP)
                hangs.set()

        def go_on():
            scheduler.send_signal(signal.SIGCONT)
            hangs.clear()

        how = {"client": client}
        calls = {
            "fit": lambda **more: daskksvd.fit(
                samples, checkpoint=tmp_path / "fit.ckpt", persist=False, **SIZE, **how, **more
            ),
            "write": lambda: expected.write_codes(samples, tmp_path / "codes.zarr", **how),
            "embed": lambda: daskksvd.embed(
                daskksvd.datasets.make_scenes(8, random_state=0), tmp_path / "embedded", model="scenes", **how
            ),
            "label": lambda: daskksvd.label(codes, captions, checkpoint=tmp_path / "labels.ckpt", **how),
        }
        with pytest.raises(daskksvd.WorkersLost, match=r"does not answer.*state is in .*goes on") as caught:
            calls["fit"](callbacks=[hang])
        assert caught.value.result.history.sizes["pass"] == 1
        for name in ("write", "embed"):
            with pytest.raises(daskksvd.WorkersLost, match="does not answer"):
                calls[name]()
        # in the midst of labelling
        go_on()
        keep = resuming.Progress._keep
        with monkeypatch.context() as patch:
            patch.setattr(resuming.Progress, "_keep", lambda *arguments: keep(*arguments) or hang())
            with pytest.raises(daskksvd.WorkersLost, match="does not answer") as caught:
                calls["label"]()
        assert "goes on from there" in caught.value.__notes__[0]
        go_on()
        found = {name: call() for name, call in calls.items()}
        np.testing.assert_array_equal(found["fit"].dictionary.values, expected.dictionary.values)
        xr.testing.assert_identical(found["label"], daskksvd.label(codes, captions))
        there, here = (daskksvd.open_codes(path).compute() for path in (tmp_path / "codes.zarr", codes))
        np.testing.assert_array_equal(there.todense(), here.todense())
        assert len(found["embed"]) == 8


def test_looks_at_the_cluster_are_not_far_apart_where_answers_take_long(monkeypatch):
    clock, pauses, future = [0.0], [], concurrent.futures.Future()
    watch = watching.Watch(types.SimpleNamespace(scheduler=None), 20, set)

    def wait(futures, seconds):
        clock[0] += seconds
        pauses.append(seconds)
        if len(pauses) == 5:
            future.set_result(1)

    def look(keys, future):
        clock[0] += 4

    monkeypatch.setattr(watching.concurrent.futures, "wait", wait)
    monkeypatch.setattr(watching, "time", types.SimpleNamespace(monotonic=lambda: clock[0]))
    monkeypatch.setattr(watch, "look", look)
    assert watch.until(future).result() == 1
    assert max(pauses) <= 5


@pytest.mark.parametrize("clients", [1, 2])
@pytest.mark.parametrize("update", ["online", "ksvd"])
def test_fits_at_the_same_time_are_right_and_leave_nothing(cluster, folder, clients, update):
    samples = folder / "samples.zarr"
    seeds, met = (5, 6), threading.Barrier(2, timeout=300)

    def meet(event):
        """Neither gets on without the other, for as long as both have waves to learn from."""
        if isinstance(event, WaveFinished) and event.pass_index == 0:
            with contextlib.suppress(threading.BrokenBarrierError):
                met.wait()

    with contextlib.ExitStack() as stack:
        opened = [stack.enter_context(Client(cluster, set_as_default=False)) for _ in range(clients)]

        def run(seed, client):
            options = {**SIZE, "random_state": seed, "update": update}
            return daskksvd.fit(samples, client=client, callbacks=[meet], **options)

        with concurrent.futures.ThreadPoolExecutor(2) as pool:
            found = list(pool.map(run, seeds, itertools.islice(itertools.cycle(opened), 2)))
        for seed, result in zip(seeds, found, strict=True):
            expected = daskksvd.fit(samples, **{**SIZE, "random_state": seed}, update=update)
            np.testing.assert_array_equal(result.dictionary.values, expected.dictionary.values)
            np.testing.assert_array_equal(result.history.relative_error, expected.history.relative_error)
        assert_nothing_left(opened[0])


def test_labelling_on_a_cluster_goes_on_after_a_kill(cluster, folder, captions, tmp_path):
    file, codes = tmp_path / "labels.ckpt", folder / "codes.zarr"
    script = f"""
        import time
        from distributed import Client
        import daskksvd
        from daskksvd.coding import nonzeros
        from daskksvd.naming import resuming
        nonzeros.COUNT_ROWS, resuming.SAVE_SECONDS = {ROWS}, 0
        keep = resuming.Progress._keep
        def slowly(*arguments):
            keep(*arguments)
            time.sleep(0.2)
        resuming.Progress._keep = slowly
        captions = [f"red{{i % 17}} blue{{i % 5}} green{{i % 31}}" for i in range({N})]
        with Client({cluster.scheduler_address!r}) as client:
            daskksvd.label({os.fspath(codes)!r}, captions, client=client, checkpoint={os.fspath(file)!r})
    """

    def counted():
        """Parts of the second pass that are in the checkpoint."""
        return file.exists() and resuming.load_checkpoint(file)[0]["passes"].get("counts", [0, 0])[1]

    with subprocess.Popen([sys.executable, "-c", textwrap.dedent(script)]) as process:
        while process.poll() is None and not counted():
            time.sleep(0.01)
        process.send_signal(signal.SIGKILL)
    assert process.returncode == -signal.SIGKILL and 0 < counted() < -(-N // ROWS)
    with Client(cluster, set_as_default=False) as client:
        found = daskksvd.label(codes, captions, client=client, checkpoint=file)
        xr.testing.assert_identical(found, daskksvd.label(codes, captions))
        assert_nothing_left(client)
