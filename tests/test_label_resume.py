"""Labelling goes on after a kill, to the same labels, and leaves nothing behind."""

import os
import pathlib
import signal
import subprocess
import sys
import textwrap
import time

import dask
import dask.array as da
import numpy as np
import pandas as pd
import pytest
import xarray as xr
from click.testing import CliRunner
from hypothesis import given
from hypothesis import strategies as st
from small_view import M, N, scene_captions

import daskksvd
from daskksvd import cli
from daskksvd.captions.words.tokens import Tokenizer
from daskksvd.naming import counting as counts_module
from daskksvd.naming import resuming
from daskksvd.naming.counting import tree
from daskksvd.naming.resuming import OtherCheckpoint, Progress
from daskksvd.naming.store import open_labels, save_labels

ROWS = 64
"""Rows of a range: few, so that there are many."""


@pytest.fixture(autouse=True)
def small_ranges(monkeypatch):
    monkeypatch.setattr("daskksvd.coding.nonzeros.COUNT_ROWS", ROWS)
    monkeypatch.setattr(resuming, "SAVE_SECONDS", 0)


@pytest.fixture(scope="module")
def captions():
    return scene_captions()


@pytest.fixture
def place(tmp_path):
    """A folder of its own for each test, with nothing else in it."""
    (tmp_path / "out").mkdir()
    return tmp_path / "out"


def left(folder):
    return sorted(os.listdir(folder))


class Cut(BaseException):
    """Stands for an end of the process of which Python is told."""


def cut_after(monkeypatch, number):
    """Let counting break off after so many parts; returns how many were counted."""
    counted, whole = [], counts_module.count_joined

    def counting(*arguments):
        if len(counted) >= number:
            raise Cut
        counted.append(1)
        return whole(*arguments)

    monkeypatch.setattr(counts_module, "count_joined", counting)
    return counted


# ------------------------------------------------------------------- the sums


@given(
    n_parts=st.integers(1, 200),
    threads=st.integers(1, 40),
    cuts=st.lists(st.integers(0, 30), max_size=4),
    seed=st.integers(0, 99),
)
def test_sums_are_those_of_the_tree_wherever_they_break_off(tmp_path_factory, n_parts, threads, cuts, seed):
    values = (
        np.random.default_rng(seed).standard_normal((n_parts, 3)) * 10.0 ** np.arange(n_parts)[:, None] ** 0.3
    )

    def combine(several):
        total = several[0].copy()
        for value in several[1:]:
            total += value
        return total

    blueprint = combine, lambda value: {"value": value}, lambda arrays: arrays["value"]
    expected = tree(combine, [dask.delayed(value) for value in values]).compute(scheduler="sync")
    path = tmp_path_factory.mktemp("sums") / "checkpoint"
    for allowed in [*cuts, None]:
        asked = []

        def part(place, asked=asked, allowed=allowed):
            asked.append(place)
            if allowed is not None and len(asked) > allowed:
                raise Cut
            return values[place]

        parts = [dask.delayed(part, pure=False)(place) for place in range(n_parts)]
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(resuming.os, "cpu_count", lambda: threads)
            try:
                found = Progress(path, {"of": "a test"}).reduce("pass", blueprint, parts, None)
            except Cut:
                continue
        np.testing.assert_array_equal(found, expected)  # every bit
        break
    assert len(set(asked)) == len(asked) <= n_parts
    asked.clear()
    np.testing.assert_array_equal(
        Progress(path, {"of": "a test"}).reduce("pass", blueprint, parts, None), expected
    )
    assert asked == []


# ----------------------------------------------------------------- the labels


@pytest.mark.parametrize("occurrence", ["any", "share"])
@pytest.mark.parametrize("missing", ["exclude", "empty"])
def test_labels_are_the_same_after_a_break(dense, captions, place, monkeypatch, occurrence, missing):
    codes = da.from_array(dense, chunks=(100, M))
    options = {"occurrence": occurrence, "missing": missing, "min_df": 1}
    expected = daskksvd.label(codes, captions, **options)
    file = place / "checkpoint"
    total = 0
    for number in (0, 5, 9):
        with monkeypatch.context() as patch:
            counted = cut_after(patch, number)
            with pytest.raises(Cut) as stop:
                daskksvd.label(codes, captions, checkpoint=file, **options)
        total += len(counted)
        assert stop.value.__notes__ == [f"What was counted is in {file}; the same call goes on from there"]
    with monkeypatch.context() as patch:
        counted = cut_after(patch, 10_000)
        found = daskksvd.label(codes, captions, checkpoint=file, **options)
    assert 0 < len(counted) < -(-N // 100)
    xr.testing.assert_identical(found, expected)
    save_labels(found, place / "labels.zarr")
    assert left(place) == ["labels.zarr"]
    xr.testing.assert_identical(open_labels(place / "labels.zarr").load(), open_labels(place / "labels.zarr"))


def test_options_that_choose_among_words_may_change(dense, captions, place):
    file = place / "checkpoint"
    daskksvd.label(dense, captions, checkpoint=file)
    for options in (
        {"top": 1, "rank_by": "lift"},
        {"min_df": 40},
        {"words": ["fish", "whale"]},
        {"alpha": 0.5},
    ):
        found = daskksvd.label(dense, captions, checkpoint=file, **options)
        xr.testing.assert_identical(found, daskksvd.label(dense, captions, **options))


def test_other_data_and_settings_are_refused(dense, captions, place):
    file = place / "checkpoint"
    daskksvd.label(dense, captions, checkpoint=file)
    changed = dense.copy()
    changed[-1, -1] += 1
    others = {
        "codes": ((changed, captions), {}),
        "captions": ((dense, [*captions[:-1], ["a whale"]]), {}),
        "sample_ids": ((dense, captions), {"sample_ids": np.arange(N)[::-1].copy()}),
        "tokenizer": ((dense, captions), {"tokenizer": Tokenizer(stop_words=["fish"])}),
        "occurrence": ((dense, captions), {"occurrence": "share"}),
        "missing": ((dense, captions), {"missing": "empty"}),
    }
    for name, (arguments, options) in others.items():
        with pytest.raises(OtherCheckpoint, match=f"is of other {name}; remove it to start anew"):
            daskksvd.label(*arguments, checkpoint=file, **options)


def test_files_that_changed_are_other_captions(paths, dense, captions, place):
    table = pd.DataFrame({"row": np.arange(N), "captions": captions})
    table.to_parquet(place / "captions.parquet")
    daskksvd.label(dense, place / "captions.parquet", checkpoint=place / "checkpoint")
    table.iloc[:-1].to_parquet(place / "captions.parquet")
    with pytest.raises(OtherCheckpoint, match="is of other captions"):
        daskksvd.label(dense, place / "captions.parquet", checkpoint=place / "checkpoint")


def test_labels_lie_where_captions_do(paths, place, monkeypatch):
    """The checkpoint is no part of the captions that it is of."""
    table = pd.read_parquet(paths["captions"])
    for start in range(0, N, 500):
        table[start : start + 500].to_parquet(place / f"{start:04}.parquet")
    arguments = [
        "label",
        paths["result"],
        str(place),
        "--codes",
        paths["codes"],
        "--out",
        str(place / "l.zarr"),
    ]
    with monkeypatch.context() as patch:
        cut_after(patch, 6)
        with pytest.raises(Cut):
            CliRunner().invoke(cli.main, arguments)
    counted = cut_after(monkeypatch, 10_000)
    assert CliRunner().invoke(cli.main, arguments).exit_code == 0
    assert 0 < len(counted) < -(-N // ROWS)
    assert left(place) == ["0000.parquet", "0500.parquet", "1000.parquet", "l.zarr"]


def test_what_is_no_checkpoint_of_labels(dense, captions, place):
    fitted, text = place / "fit", place / "text"
    daskksvd.fit(dense, n_components=4, n_nonzero_coefs=1, max_passes=1, checkpoint=fitted)
    text.write_text("hello")
    wrong = {
        place: (ValueError, "is a directory"),
        place / "nowhere" / "file": (PermissionError, "is not a directory that can be written to"),
        "s3://bucket/file": (ValueError, "is a URL"),
        fitted: (ValueError, "is not one of label"),
        text: (ValueError, "is not a checkpoint of daskksvd"),
    }
    for path, (kind, said) in wrong.items():
        with pytest.raises(kind, match=f"^checkpoint=.*{said}"):
            daskksvd.label(dense, captions, checkpoint=path)
    assert text.read_text() == "hello"


def test_a_checkpoint_that_cannot_be_written_ends_nothing(dense, captions, place, monkeypatch):
    def full(*arguments, **arrays):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(resuming.np, "savez", full)
    with pytest.warns(UserWarning, match=r"could not be written \(.*No space left") as told:
        found = daskksvd.label(dense, captions, checkpoint=place / "checkpoint")
    assert len(told) == 1 and left(place) == []
    xr.testing.assert_identical(found, daskksvd.label(dense, captions))


# ------------------------------------------------------------------ the command


def run_command(paths, out, *more):
    arguments = [
        "label",
        paths["result"],
        paths["captions"],
        "--codes",
        paths["codes"],
        "--out",
        str(out),
        *more,
    ]
    done = CliRunner().invoke(cli.main, arguments)
    assert done.exit_code == 0, done.output
    return done.output


def killed(paths, out):
    """Run the command in a process of its own, slowly, and kill it when it has counted something."""
    script = f"""
        import time
        from daskksvd import cli
        from daskksvd.coding import nonzeros
        from daskksvd.naming import counting, resuming
        nonzeros.COUNT_ROWS, resuming.SAVE_SECONDS = {ROWS}, 0
        whole = counting.count_joined
        counting.count_joined = lambda *arguments: time.sleep(0.3) or whole(*arguments)
        cli.main(["label", {paths["result"]!r}, {paths["captions"]!r}, "--codes", {paths["codes"]!r},
                  "--out", {str(out)!r}])
    """
    file = pathlib.Path(cli.label.checkpoint_path(str(out)))
    with subprocess.Popen(
        [sys.executable, "-c", textwrap.dedent(script)], stdout=subprocess.DEVNULL
    ) as process:
        while process.poll() is None and not counted_in(file):
            time.sleep(0.01)
        process.send_signal(signal.SIGKILL)
    assert process.returncode == -signal.SIGKILL
    return file


def counted_in(file):
    """Whether joins have been counted by a run that is going on."""
    return file.exists() and resuming.load_checkpoint(file)[0]["passes"].get("counts", [0, 0])[1] > 0


def test_a_killed_command_goes_on(paths, place, monkeypatch):
    run_command(paths, place / "whole.zarr")
    file = killed(paths, place / "fit.zarr")
    assert left(place) == [file.name, "whole.zarr"] or left(place) == [
        file.name,
        file.name + ".partial",
        "whole.zarr",
    ]
    done = resuming.load_checkpoint(file)[0]["passes"]["counts"][1]
    (place / (file.name + ".partial")).write_bytes(b"what a kill left")
    counted = cut_after(monkeypatch, 10_000)
    run_command(paths, place / "fit.zarr")
    assert left(place) == ["fit.zarr", "whole.zarr"]
    assert len(counted) + done == -(-N // ROWS) or len(counted) < N // ROWS
    xr.testing.assert_identical(
        open_labels(place / "fit.zarr").load(), open_labels(place / "whole.zarr").load()
    )


def test_a_command_with_other_options_starts_anew(paths, place):
    killed(paths, place / "fit.zarr")
    run_command(paths, place / "fit.zarr", "--missing", "empty")
    run_command(paths, place / "whole.zarr", "--missing", "empty")
    assert left(place) == ["fit.zarr", "whole.zarr"]
    xr.testing.assert_identical(
        open_labels(place / "fit.zarr").load(), open_labels(place / "whole.zarr").load()
    )
