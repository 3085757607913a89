"""`daskksvd.plan` knows the schedule of a fit, and its arithmetic is right; no test looks at a time."""

import functools
import importlib
import json
import math
import pathlib

import dask.array as da
import numpy as np
import pytest
import reference
import small
import zarr
from distributed import Client, LocalCluster

import daskksvd
from daskksvd.coding.how import Answer
from daskksvd.execution import ThreadExecutor
from daskksvd.fitting.initial import sample_size
from daskksvd.fitting.needs import memory_needed
from daskksvd.fitting.settings import check_settings
from daskksvd.machine.memory import PROCESS_BYTES
from daskksvd.planning import planner
from daskksvd.planning.model import (
    Cost,
    Network,
    Round,
    Scaling,
    Seconds,
    Traffic,
    predict,
    round_seconds,
    traffic,
    tree_of,
    where_scaling_stops,
)
from daskksvd.rows import Reader, as_source
from daskksvd.tracking import PassFinished, PassStarted

SIZE = {"n_components": small.M, "n_nonzero_coefs": small.K}


def plan(array, **options):
    return daskksvd.plan(array, **{**SIZE, "n_threads": 2, **options})


# ------------------------------------------------------------- the arithmetic


@pytest.mark.parametrize(
    ("tasks", "calls", "leaves", "sums"),
    [(1, 1, 1, 0), (8, 1, 8, 0), (9, 3, 5, 2), (10, 3, 5, 2), (64, 15, 8, 6), (65, 17, 8, 6)],
)
def test_tree(tasks, calls, leaves, sums):
    """As counted by hand; and as many additions as the executor makes."""
    tree = tree_of(tasks)
    assert (tree.calls, tree.way) == (calls, leaves + sums)
    assert tree.far == tree.moved == 0  # on one worker
    added = []

    def combine(parts):
        added.append(len(parts))
        return sum(parts)

    executor = ThreadExecutor(1)
    root = executor.tree(combine, [executor.submit(int, 1) for _ in range(tasks)], tasks)
    assert executor.gather([root]) == [tasks]
    executor.close()
    assert len(added) == calls
    assert sum(added) == tasks + calls - 1


COST = Cost(
    row=0.002,
    read=0.02,
    share=0.5,
    add=0.01,
    driver=0.7,
    end=5.0,
    sent=1000,
    part=100,
    result=150,
)
ROUNDS = (Round(10, 1000, 20),) * 3


def test_round_on_threads_by_hand():
    """Ten tasks on four threads take three turns; the last seven additions wait for each other."""
    found = round_seconds(ROUNDS[0], COST, None, 1, 4)
    assert found == pytest.approx(
        Seconds(
            reading=3 * 2 * 0.02,
            coding=3 * 100 * 0.002,
            preparing=0.5,
            adding=(12 - 7) / 4 * 0.01 + 7 * 0.01,
            driver=0.7,
        )
    )
    assert found.total == pytest.approx(sum(found))


def test_additions_beside_the_coding():
    """Of 64 tasks' 78 additions, 14 are on the way from the last task to the end."""
    found = round_seconds(Round(64, 64, 0), Cost(add=1.0), None, 1, 4)
    assert found.adding == pytest.approx((78 - 14) / 4 + 14)


def test_round_on_workers_by_hand():
    network = Network(latency=0.04, bandwidth=1e4, dispatch=0.001)
    found = round_seconds(ROUNDS[0], COST, network, 2, 2)
    # dictionary: to the first worker, and from there to the other. Each adds up its five tasks
    moved = 0.04 + 2 * 1000 / 1e4 + 150 / 1e4 + 100 / 1e4
    assert found.network == pytest.approx(moved)
    assert found.sending == 0  # done beside the coding
    slow = round_seconds(ROUNDS[0], COST, network._replace(dispatch=1.0), 2, 2)
    assert slow.sending == pytest.approx(13 * 1.0 - slow.reading - slow.coding - 5 / 4 * 0.01)
    assert traffic(ROUNDS[0], COST, 2) == Traffic(2000, 100, 150)
    assert traffic(ROUNDS[0], COST, 1) == Traffic(1000, 0, 150)
    # each sum of five begins with one of them where it is made; one of the two sums moves
    assert traffic(ROUNDS[0], COST, 100) == Traffic(100_000, 900, 150)


def test_slow_network_is_waited_for():
    """Partial results that arrive slower than they are made."""
    network = Network(latency=0.0, bandwidth=10.0, dispatch=0.0)
    found = round_seconds(Round(64, 64, 0), Cost(row=0.1, part=100), network, 16, 1)
    # four tasks a worker: half of each group of eight moves, and of each two sums one
    tail = (4 + 3) * 100 / 10
    stream = (8 * 4 + 7) * 100 / 16 / 10
    assert found.network == pytest.approx(tail + stream - 4 * 0.1)


def test_pass_by_hand():
    """Rounds add up, and what happens once a pass happens once."""
    one = round_seconds(ROUNDS[0], COST, None, 1, 4)
    steps = [(round_, COST) for round_ in ROUNDS]
    found = predict(steps, None, 1, 4)
    assert found == pytest.approx(Seconds(*(3 * part for part in one[:-1]), 3 * 0.7 + 5))
    more = predict([*steps, (ROUNDS[0], Cost(row=0.1))], None, 1, 4)
    assert more.coding == pytest.approx(found.coding + 30)


def test_more_workers_never_code_slower():
    network = Network(0.03, 4e8, 0.002)
    cost = COST._replace(sent=10**6, part=10**6, result=10**6)
    found = [predict([(Round(100, 10_000, 100), cost)] * 2, network, n, 2) for n in range(1, 120)]
    for name in ("reading", "coding", "adding"):
        values = [getattr(seconds, name) for seconds in found]
        assert values == sorted(values, reverse=True)
    for name in ("preparing", "driver"):
        assert len({getattr(seconds, name) for seconds in found}) == 1
    assert found[99].coding == found[49].coding  # no more slots than tasks


def test_where_scaling_stops():
    units, gain, part = where_scaling_stops(lambda n: Seconds(coding=1 / n, driver=0.01))
    assert 1 / units + 0.01 == pytest.approx(0.01 / 0.9, rel=0.01)
    assert 0.09 < gain < 0.1
    assert part == "driver"
    four_tasks = where_scaling_stops(lambda n: Seconds(coding=math.ceil(4 / n), driver=0.1))
    assert four_tasks == (4, 0, "coding")
    # a second worker brings a network with it, more of them are worth it
    assert where_scaling_stops(lambda n: Seconds(coding=8 / n, network=6 * (n > 1)))[0] > 8


# ------------------------------------------------------------------ the facts


@pytest.mark.parametrize(
    "options", [{}, {"holdout": 0.2, "center": True}, {"update": "batch"}, {"n_blocks": 3}]
)
def test_schedule_is_that_of_the_fit(options, monkeypatch):
    if "n_blocks" in options:
        options = {**options, "update": "ksvd"}
    array = da.from_array(np.tile(small.samples(), (5, 1)), chunks=(900, small.D))
    rounds, events = [], []
    reduce = Reader.reduce

    def count(self, blueprint, jobs, *shared):
        pieces = [job.pieces for job in jobs]
        reads = sum(len({piece.index for piece in job}) for job in pieces)
        rounds.append(Round(len(jobs), sum(piece.n_rows for job in pieces for piece in job), reads))
        return reduce(self, blueprint, jobs, *shared)

    with monkeypatch.context() as patch:
        patch.setattr(Reader, "reduce", count)
        small.fit(array, tol=0, persist=False, callbacks=[events.append], **options)
    found = plan(array, max_passes=4, persist=False, **options)
    passes = {}
    for event in events:
        if isinstance(event, PassStarted):
            passes.setdefault(event.kind, []).append(event.n_rounds)
    assert {part.kind: part.count for part in found.passes} == {kind: len(n) for kind, n in passes.items()}
    assert tuple(rounds[:1]) == found.survey.rounds
    if found.ksvd is not None:
        assert found.ksvd.n_rounds == passes["ksvd"][0] + 1  # and the coding
        return
    assert {part.kind: part.n_rounds for part in found.passes} == {kind: n[0] for kind, n in passes.items()}
    [first] = [part for part in found.passes if part.kind in (events[1].kind,)]
    done = rounds[1 : 1 + first.n_rounds]
    assert tuple(done) == first.rounds
    assert first.tasks_per_round == max(round_.tasks for round_ in done)
    finished = [event for event in events if isinstance(event, PassFinished)]
    assert finished[0].n_samples == found.n_samples == sum(round_.rows for round_ in first.rounds)
    assert found.n_waves == (passes["wave"][0] if "wave" in passes else 0)
    held = rounds[1 + first.n_rounds].reads if "holdout" in options else 0
    row_bytes = array.nbytes // len(array.chunks[0])
    assert first.read_bytes == (first.chunk_reads + held) * row_bytes


def moments_bytes(m, d, k, itemsize, n_worst=0, coupled=True):
    """Of the fields of `Moments` after enough rows."""
    worst = n_worst * (2 * d * itemsize + 8 + 4 * k)
    return 8 * m + ((m * m if coupled else m) + m * d) * itemsize + worst


def test_bytes_are_those_of_the_arrays():
    m, d, k = small.M, small.D, small.K
    found = plan((2_000_000, d), n_threads=None, n_workers=3, center=True, scale=True, max_passes=4)
    tasks = found.wave.tasks_per_round
    out, tree, back = found.wave.traffic
    assert out == 3 * (m * d * 4 + d * (8 + 4))  # dictionary, mean in float64, scales
    # of so many rows without the m x m matrix; and whether an atom is dead can be told after each
    # of so large waves, so that 64 of the worst rows come back
    each = moments_bytes(m, d, k, 4, n_worst=64, coupled=False)
    assert back == each
    moved = tree_of(tasks, 3)
    assert tree == moved.moved * each
    assert 0 < moved.moved < tasks
    assert found.full.traffic.back == moments_bytes(m, d, k, 4)
    assert found.survey.traffic.out == 0
    # with these, atoms are replaced after a pass, and 64 of the worst rows come back for it
    found = plan((20_000, d), n_threads=None, n_workers=3, update="batch")
    assert found.full.traffic.back == moments_bytes(m, d, k, 4, n_worst=64)


def test_nothing_moves_between_threads():
    found = plan((5_000, 8))
    assert all(part.traffic == Traffic(0, 0, 0) for part in (found.survey, *found.passes))
    assert all(part.parts.network == part.parts.sending == 0 for part in found.passes)
    assert found.n_workers is None
    assert found.scaling.n_workers is None


@pytest.mark.parametrize("update", ["online", "batch", "ksvd"])
def test_memory_is_at_least_what_tasks_take(update):
    array = da.zeros((20_000, 8), chunks=(5_000, 8)) + np.arange(8)
    settings = check_settings(
        **SIZE, rtol=None, pursuit="omp", update=update, init="rows", max_passes=None, tol=0, max_time=None,
        random_state=0, center=False, scale=False, whiten=None, holdout=0.0, n_blocks=None,
        replace_atoms=True, dtype="float32",
    )  # fmt: skip
    per_task, per_process = memory_needed(as_source(array), settings)
    few, many = (
        plan(array, update=update, persist=False, n_workers=2, n_threads=n_threads) for n_threads in (1, 4)
    )
    assert few.worker_bytes >= PROCESS_BYTES + per_process + per_task
    assert many.worker_bytes - few.worker_bytes == 3 * per_task
    assert few.driver_bytes >= PROCESS_BYTES + 8 * sample_size(settings, 20_000) * 8
    kept = plan(array, update=update, persist=True, n_workers=2, n_threads=1)
    assert kept.worker_bytes - few.worker_bytes == array.nbytes
    assert all(part.chunk_reads == 0 for part in kept.passes)


# ------------------------------------------------------------------ the whole


@pytest.fixture(scope="module")
def store(tmp_path_factory):
    path = tmp_path_factory.mktemp("planning") / "samples.zarr"
    samples = np.tile(small.samples(), (5, 1))
    zarr.create_array(path, shape=samples.shape, chunks=(700, small.D), dtype="float64")[:] = samples
    return path


def test_inputs(store):
    """Shapes, arrays and paths of the same size give the same schedule."""
    samples = zarr.open_array(store)[:]
    inputs = {
        "shape": samples.shape,
        "NumPy": samples,
        "Dask": da.from_array(samples, chunks=samples.shape),
        "path": store,
        "shared mean": da.from_array(samples, chunks=(1000, small.D)) - samples.mean(0),
        "depends on all": (lambda x: x - x.mean(0))(da.from_array(samples, chunks=(1000, small.D))),
    }
    found = {name: plan(array, persist=False) for name, array in inputs.items()}
    for name in ("NumPy", "Dask"):
        assert found[name].wave.rounds[0].tasks == found["shape"].wave.rounds[0].tasks
        assert found[name].n_waves == found["shape"].n_waves
    assert found["NumPy"].wave.chunk_reads == 0  # there already
    assert found["path"].wave.chunk_reads > 0
    assert found["path"].wave.parts.reading > 0
    assert "random" in " ".join(found["shape"].notes)
    assert "whole array" in " ".join(found["depends on all"].notes)
    assert "random" not in " ".join(found["path"].notes + found["shared mean"].notes)


def test_a_chunk_is_read_once_at_most():
    counted = reference.Counted(np.tile(small.samples(), (5, 1)), 100)
    plan(counted.array, persist=False, n_threads=4)
    assert 1 < len(counted.reads) <= 9 and set(counted.reads.values()) == {1}


def test_a_shape_has_no_more_chunks_than_are_soon_planned(monkeypatch):
    monkeypatch.setattr(planner, "MOST_CHUNKS", 20)
    found = plan((10**8, 8))
    assert found.survey.rounds[0].rows == 10**8 and found.survey.rounds[0].reads == 20
    assert found.wave.tasks_per_round <= 640


def test_parts_add_up():
    found = plan((20_000, 8), max_passes=4)
    for part in (found.survey, *found.passes):
        assert part.parts.total == pytest.approx(part.seconds)
        assert part.seconds > 0
    total = found.survey.seconds + sum(part.count * part.seconds for part in found.passes)
    assert found.seconds == pytest.approx(total)
    assert (found.wave.count, found.full.count, found.ksvd) == (3, 1, None)
    most = plan((20_000, 8))
    assert (most.wave.count, most.full.count) == (12, 10)
    assert plan((20_000, 8), max_passes=1).full is None


def test_words():
    found = plan((20_000, 8), n_threads=None, n_workers=3, rtol=0.1)
    text = str(found)
    assert repr(found) == text
    for words in (
        "Plan of a fit on 3 workers x 1 thread",
        "20,000 rows x 8 features, 20 atoms, at most 3 nonzeros a row",
        "pass in waves",
        "full pass",
        "rounds in a pass",
        "between workers",
        "In all",
        "22 passes, the most there can be",
        "a worker",
        "Beyond",
        "No rows were given",
    ):
        assert words in text
    assert max(map(len, text.splitlines())) < 160
    assert "2 threads of this process" in str(plan((20_000, 8), update="ksvd"))
    values = json.loads(json.dumps(found.to_dict()))
    assert values["wave"]["n_rounds"] == found.n_waves
    assert values["full"]["parts"]["coding"] == found.full.parts.coding
    assert values["ksvd"] is None
    assert Scaling(**values["scaling"]) == found.scaling
    with pytest.raises(AttributeError):
        found.seconds = 1.0


@pytest.mark.parametrize(
    "options",
    [
        {"n_nonzero_coefs": None, "rtol": 0.3},
        {"whiten": 0.25, "pursuit": "mp"},
        {"update": "ksvd", "n_blocks": 1},
        {"update": "ksvd", "holdout": 0.1, "dtype": "float64"},
        {"update": "batch", "rtol": 0.2, "replace_atoms": False},
        {"groups": (4, 8), "prefix_sums": 0.5},
        {"n_nonzero_coefs": 6, "ramp": True, "incoherence": 0.01},
        {"nonnegative": True, "twins": 0.8, "growth": 5, "threshold": "noise"},
        {"threshold": "mean", "max_passes": 1},
    ],
)
def test_settings(store, options):
    found = plan(store, persist=False, **options)
    assert 0 < found.seconds < math.inf
    assert ("rtol alone" in str(found)) == (options.get("n_nonzero_coefs", 0) is None)


def test_on_a_cluster(store):
    with (
        LocalCluster(n_workers=2, threads_per_worker=3, processes=False, dashboard_address=":0") as cluster,
        Client(cluster) as client,
    ):
        for array in (store, zarr.open_array(store)[:], client.persist(da.from_zarr(store))):
            found = plan(array, n_threads=None, client=client, persist=False)
            assert (found.n_workers, found.n_threads) == (2, 3)
            assert (found.wave.parts.reading > 0) == (array is store)
        with pytest.raises(ValueError, match="n_threads was given with client"):
            plan(store, client=client)
        with pytest.raises(ValueError, match="n_workers was given with client"):
            plan(store, client=client, n_threads=None, n_workers=2)


@pytest.mark.parametrize(
    ("array", "options", "error", "words"),
    [
        ((0, 8), {}, ValueError, r"array is the shape \(0, 8\); .* at least one sample"),
        ((10, 8), {}, ValueError, "array has 10 samples, fewer than n_components=20"),
        ((100, 2), {}, ValueError, "n_nonzero_coefs=3 is more than the 2 features"),
        ((100, 8), {"holdout": 0.9}, ValueError, "holdout=0.9 leaves 10 of 100 samples"),
        ((100, 8), {"n_workers": 0}, ValueError, "n_workers=0; it must be at least 1"),
        ((100, 8), {"n_workers": 2.0}, TypeError, "n_workers is 2.0; it must be a whole number"),
        ((100, 8), {"n_threads": 0}, ValueError, "n_threads=0; it must be at least 1"),
        ((100, 8), {"bandwidth": 0}, ValueError, "bandwidth=0; it must be bytes a second, more than 0"),
        ((100, 8), {"latency": -1}, ValueError, "latency=-1; it must be seconds, 0 or more"),
        ((100, 8), {"dispatch": "1"}, TypeError, "dispatch is '1'; it must be seconds"),
        ((100, 8), {"n_nonzero_coefs": None}, ValueError, "neither n_nonzero_coefs nor rtol"),
        ((100, 8), {"n_nonzero_coefs": None, "rtol": 0.1}, ValueError, "array is only a shape, and rtol"),
        ((100, 8), {"persist": 1}, TypeError, "persist is 1; it must be True or False"),
        ((100, 8), {"client": 3}, ValueError, "n_threads was given with client"),
        ((100, 8), {"client": 3, "n_threads": None}, TypeError, "client is a int; it must be"),
        ((100, 8, 2), {}, ValueError, "array has 1 dimension"),
        ("nowhere.zarr", {}, FileNotFoundError, "there is no such path"),
        (np.full((100, 8), np.nan), {}, ValueError, "NaN or infinite"),
        (np.zeros((100, 8)), {}, ValueError, "array has only zeros"),
    ],
)
def test_bad_input(array, options, error, words):
    with pytest.raises(error, match=words):
        plan(array, **options)


def test_on_a_device(monkeypatch):
    """Rows of a device come in its larger tasks; where there is none, processors are planned for."""
    pytest.importorskip("torch")
    found = plan((100_000, 8), device="cpu")
    assert found.full.tasks_per_round == 2
    assert "Rows are coded on cpu." in found.notes
    monkeypatch.setattr(planner, "find_device", lambda name: Answer(None))
    found = plan((100_000, 8), device="cuda:7")
    assert "device='cuda:7' is not everywhere: planned for processors." in found.notes
    assert found.full.tasks_per_round == plan((100_000, 8)).full.tasks_per_round > 2


def test_benchmark_smoke(tmp_path, monkeypatch):
    """It plans, fits and writes both tables."""
    monkeypatch.syspath_prepend(pathlib.Path(__file__).parents[1] / "benchmarks")
    script = importlib.import_module("planning")
    monkeypatch.setattr(script, "LocalCluster", functools.partial(LocalCluster, processes=False))
    sizes = ["--sizes", "2000,16,32,3", "--chunk-rows", "500", "--threads", "1", "--workers", "1"]
    script.main([*sizes, "--here", "--kinds", "full", "ksvd", "--out", str(tmp_path)])
    results = json.loads((tmp_path / "planning.json").read_text())
    assert [row["where"] for row in results["records"]] == ["1 threads"] * 2 + ["1 workers"] * 2
    for row in results["records"]:
        assert row["predicted_seconds"] > 0
        assert row["measured_mb"] > 0
    assert (tmp_path / "planning.md").read_text().count("full") >= 2


@pytest.mark.parametrize("update", ["online", "ksvd"])
def test_one_atom(update):
    assert daskksvd.plan((500, 4), n_components=1, n_nonzero_coefs=1, update=update).seconds > 0


@pytest.mark.parametrize("value", [0.0, 1.0, np.nan])
def test_rows_in_the_middle_that_tell_nothing(value):
    """A fit may have others, and says itself what is wrong with rows."""
    rows = np.random.default_rng(0).standard_normal((9_000, 8))
    rows[1_000:8_000] = value
    array = da.from_array(rows, chunks=(500, 8))
    assert daskksvd.plan(array, n_components=16, n_nonzero_coefs=2, center=True).seconds > 0
