"""Bars of calls that make passes: they count all parts once, change nothing, and leave nothing."""

import contextlib
import inspect
import io
import subprocess
import sys
import threading

import dask
import numpy as np
import pandas as pd
import pytest
from distributed import Client, LocalCluster
from public import members

import daskksvd
from daskksvd.execution import Blueprint, make_executor
from daskksvd.execution.counting import Count
from daskksvd.tracking.parts import counted_by, each_counted, parts_counted, parts_shown


@pytest.fixture(scope="module")
def client():
    quiet = {"dashboard_address": None, "silence_logs": 50}
    cluster = LocalCluster(n_workers=1, threads_per_worker=2, processes=False, **quiet)
    with cluster, Client(cluster) as client:
        yield client


@pytest.fixture
def counts(monkeypatch):
    """What bars were told: ``[total, done]`` of each pass."""
    found = []

    class Bar:
        def __init__(self, total, **how):
            found.append([total, 0])

        def reset(self, total):
            found.append([total, 0])

        def update(self, number):
            found[-1][1] += number

        def close(self):
            found.append("closed")

    import tqdm.auto

    monkeypatch.setattr(tqdm.auto, "tqdm", Bar)
    return found


SUM = Blueprint(lambda value: value, sum)


@pytest.mark.parametrize("n", [2, 30])
def test_a_reduction_counts_its_leaves(counts, n):
    executor = make_executor(n_threads=2)
    with contextlib.closing(executor), parts_shown(True, "sums"):
        for _ in range(2):
            assert executor.reduce(SUM, lambda: ((i,) for i in range(n))) == sum(range(n))
    assert counts == [[n, n], [n, n], "closed"]


def test_delayed_values_count_their_tasks(counts):
    parts = [dask.delayed(abs)(-i) for i in range(5)]
    seen = []
    from dask.callbacks import Callback

    with (
        contextlib.closing(make_executor(n_threads=2)) as executor,
        parts_shown(True, "sums"),
        Callback(posttask=lambda *task: seen.append(task)),  # somebody else's
    ):
        assert executor.compute(dask.delayed(sum)(parts)) == 10
    [(total, done), closed] = counts
    assert closed == "closed" and total >= done >= 5
    assert len(seen) == done


def test_nothing_is_counted_unless_somebody_looks(counts):
    with contextlib.closing(make_executor(n_threads=2)) as executor, parts_shown(False, "sums"):
        assert executor.reduce(SUM, lambda: ((i,) for i in range(3))) == 3
        assert list(each_counted("ab")) == ["a", "b"]
    assert counts == []


def test_parts_of_parts_are_not_counted(counts):
    with parts_shown(True, "outer"):
        for _ in each_counted(range(2)):
            list(each_counted(range(5)))
            with parts_counted(7) as tick:
                assert tick is None
        assert list(counted_by([3, 4], 7, lambda one: one)) == [3, 4]
    assert counts == [[2, 2], [7, 7], "closed"]


def test_the_bar_closes_with_an_error(counts):
    with pytest.raises(KeyboardInterrupt), parts_shown(True, "sums"), parts_counted(3) as tick:
        tick(1)
        raise KeyboardInterrupt
    tick(1)  # of a task that still ran
    assert counts == [[3, 1], "closed"]
    with parts_counted(3) as tick:
        assert tick is None


def test_other_threads_see_no_bar(counts):
    found = []

    def look():
        with parts_counted(3) as tick:
            found.append(tick)

    with parts_shown(True, "sums"):
        thread = threading.Thread(target=look)
        thread.start()
        thread.join()
    assert found == [None]


def test_states_of_a_scheduler_are_counted_once():
    told = []
    count = Count(told.append, [])
    assert count.waited() == []
    count.keys.extend("abc")
    assert count.waited() == ["a", "b", "c"]
    count.look(dict.fromkeys("abc"))  # it has not heard of them yet
    assert told == []
    count.look({"a": "memory", "b": "processing", "c": "waiting"})
    assert told == [1] and count.waited() == ["b", "c"]
    count.keys.append("d")
    assert count.waited() == ["b", "c", "d"]
    count.look({"b": None, "c": "released", "d": None})  # b was let go of, d is on its way
    assert told == [1, 2] and count.waited() == ["d"]
    assert Count(None, ["a"]).waited() == []


HOLD, STARTED = threading.Event(), []


def held(i):
    """The value; after the first calls, once they are let go."""
    STARTED.append(i)
    if len(STARTED) > 4:
        HOLD.wait(10)
    return i


def test_a_cluster_is_asked_how_far_it_is(client, counts, monkeypatch):
    from daskksvd.execution import watching

    monkeypatch.setattr(watching, "_LOOK", 0.02)
    monkeypatch.setattr(watching, "_LOOK_SHARE", 1)

    def release():  # once some are counted
        while not (counts and counts[-1][1]):
            threading.Event().wait(0.02)
        HOLD.set()

    for begin in ("reduce", "compute"):
        counts.clear()
        HOLD.clear()
        STARTED.clear()
        thread = threading.Thread(target=release)
        thread.start()
        with contextlib.closing(make_executor(client)) as executor, parts_shown(True, "sums"):
            if begin == "reduce":
                found = executor.reduce(Blueprint(held, sum), lambda: ((i,) for i in range(12)))
            else:
                found = executor.compute(dask.delayed(sum)([dask.delayed(held)(i) for i in range(12)]))
        HOLD.set()
        thread.join()
        assert found == 66
        total, done = counts[0]
        assert 1 <= done <= total, counts
        assert total == 12 if begin == "reduce" else total >= 12
        assert counts[-1] == "closed"


@pytest.fixture(scope="module")
def world():
    rows = daskksvd.datasets.make_planted(2100, 16, 24, 3, random_state=0).array.rechunk((1050, 16))
    result = daskksvd.fit(rows, n_components=24, n_nonzero_coefs=3, max_passes=2, random_state=1)
    words = np.array(["dog", "cat", "boat", "tree", "house"])
    rng = np.random.default_rng(0)
    captions = pd.DataFrame(
        {"row": np.arange(2100), "caption": [" ".join(rng.choice(words, 2)) for _ in range(2100)]}
    )
    return rows, result, captions


def test_calls_show_bars_and_return_the_same(world, tmp_path, capsys):
    rows, result, captions = world
    threads = set(threading.enumerate())
    found = {}
    for shown in (False, True):
        path = tmp_path / f"codes-{shown}.zarr"
        result.write_codes(rows, path, progress=shown)
        labels = daskksvd.label(str(path), captions, progress=shown)
        kept = daskksvd.label(str(path), captions, progress=shown, checkpoint=tmp_path / f"labels-{shown}")
        scores = daskksvd.evaluation.score_labels(
            str(path), captions, n_permutations=2, n_resamples=2, random_state=0, progress=shown
        )
        mapping = daskksvd.naming.map_tokens(str(path), captions, encode, random_state=0, progress=shown)
        found[shown] = daskksvd.open_codes(path).compute().todense(), labels, kept, scores, mapping
        error = capsys.readouterr().err
        for title in ("coding", "words of captions", "words and atoms", "resamples", "words of atoms"):
            assert (title in error) == shown, (title, error)
    np.testing.assert_array_equal(found[False][0], found[True][0])
    for plain, barred in zip(found[False][1:], found[True][1:], strict=True):
        assert plain.identical(barred)
    left = [thread for thread in set(threading.enumerate()) - threads if "tqdm" in type(thread).__module__]
    assert not left


def encode(texts):
    """Numbers of some letters: vectors of texts that need no model."""
    return np.array([[text.count(letter) + 0.1 for letter in "dogcatbehus"] for text in texts], np.float32)


def whole(counts):
    """Whether every pass was counted, Dask's but for tasks that it makes one of, and the bar closed."""
    passes = [one for one in counts if one != "closed"]
    return bool(passes) and counts[-1] == "closed" and all(0 < done <= total for total, done in passes)


def test_what_reads_all_rows_counts_them(world, counts, monkeypatch):
    from daskksvd.execution import ThreadExecutor

    monkeypatch.setattr(ThreadExecutor, "runs_here", False)  # else passes of one task are not counted
    rows, result, captions = world
    codes = result.encode(rows).compute()
    labels, judged = np.random.default_rng(0).random((2100, 2)) < 0.5, daskksvd.evaluation
    calls = (
        lambda **how: result.evaluate(rows, **how),
        lambda **how: result.score(rows, **how),
        lambda **how: result.with_target(rows, threshold="mean", n_nonzero_coefs=2, **how).settings,
        lambda **how: result.fit_encoder(rows, **how).encoder.weights,
        lambda **how: judged.faithfulness(
            None, codes, captions, ks=1, embeddings=rows, random_state=0, **how
        ),
        lambda **how: judged.sparse_probes(codes, labels, ks=[1], random_state=0, **how).table,
        lambda **how: judged.concept_bottleneck(codes, labels[:, 0], random_state=0, **how).table,
        lambda **how: judged.retrieval(codes, labels, n_queries=9, random_state=0, **how).table,
        lambda **how: judged.monosemanticity(codes, rows, **how).table,
        lambda **how: daskksvd.shared_atoms(result, rows, rows, **how),
        lambda **how: daskksvd.joint.align(rows, rows, method="none", **how).correlations,
        lambda **how: daskksvd.view.build_atom_index(codes, **how).uses.tolist(),
        lambda **how: daskksvd.view.open_view(result, codes=codes, **how).index.uses.tolist(),
    )
    for call in calls:
        counts.clear()
        plain = call()
        assert counts == []
        shown = call(progress=True)
        assert whole(counts), counts
        assert repr(plain) == repr(shown)


def test_a_fit_shows_what_it_does_before_and_after_its_passes(world, counts, monkeypatch):
    from daskksvd.execution import ThreadExecutor

    monkeypatch.setattr(ThreadExecutor, "runs_here", False)
    rows = world[0]
    how = {"n_components": 24, "threshold": "mean", "n_nonzero_coefs": 3, "max_passes": 1, "random_state": 0}
    monkeypatch.setattr("daskksvd.fitting.fit.ProgressBar", Silent)
    daskksvd.fit(rows, progress=True, **how)
    assert counts.count("closed") == 2 and whole(counts), counts


class Silent:
    """In place of the bar of passes."""

    def __call__(self, event):
        pass

    def close(self):
        pass


def test_whatever_waits_for_a_cluster_can_show_a_bar():
    """All that runs on a client, but for what looks at some rows."""
    others = {"plan"}
    without = set()
    for module in (daskksvd, daskksvd.evaluation, daskksvd.joint, daskksvd.naming, daskksvd.view):
        for name in module.__all__:
            found = getattr(module, name)
            named = {name: found}
            if inspect.isclass(found):
                named = {f"{name}.{key}": value for key, value in members(found).items() if key[0] != "_"}
            for key, value in named.items():
                taken = inspect.signature(value).parameters if inspect.isfunction(value) else {}
                if "client" in taken and "progress" not in taken:
                    without.add(key)
    assert without == others


def test_an_error_leaves_a_clean_line(world, tmp_path):
    out = io.StringIO()
    seen = pytest.raises(ValueError, match="broken")
    with contextlib.redirect_stderr(out), seen, parts_shown(True, "coding"):
        for number in each_counted(range(3)):
            if number == 1:
                raise ValueError("broken")
    last = out.getvalue().rsplit("\r", 1)[-1]
    assert not last.strip(), out.getvalue()


def test_commands_show_no_bar_where_nobody_sees_it(world, tmp_path):
    rows, result, _ = world
    result.save(tmp_path / "result.zarr")
    np.save(tmp_path / "rows.npy", rows[:1050].compute())
    done = subprocess.run(
        [sys.executable, "-m", "daskksvd", "encode", "result.zarr", "rows.npy", "--out", "codes.zarr"],
        cwd=tmp_path, capture_output=True, text=True, check=True,
    )  # fmt: skip
    assert "parts" not in done.stderr and "\r" not in done.stderr


@pytest.mark.parametrize("wrong", ["no", 3, None])
def test_progress_is_true_or_false(wrong):
    rows = np.random.default_rng(0).standard_normal((40, 6))
    with pytest.raises(TypeError, match=f"progress is {wrong!r}; it must be True or False"):
        daskksvd.fit(rows, n_components=8, n_nonzero_coefs=2, progress=wrong)
    with pytest.raises(TypeError, match=f"progress is {wrong!r}; it must be True or False"):
        daskksvd.label(np.eye(8), ["a dog"] * 8, progress=wrong)
