"""The command line: same results as the Python API, plain errors, honest exit codes."""

import inspect
import io
import json
import os
import signal
import subprocess
import sys
import time
import warnings

import click
import numpy as np
import pytest
import zarr
from small_cli import K, M, assert_same, error_of, learn, make_samples, run, run_fit, write_stores

import daskksvd
from daskksvd import cli
from daskksvd.fitting import settings, stopping
from daskksvd.fitting.fit import FitInterrupted, fit


@pytest.fixture(scope="module")
def samples():
    return make_samples()


@pytest.fixture(scope="module")
def stores(samples, tmp_path_factory):
    return write_stores(tmp_path_factory.mktemp("stores"), samples)


# ------------------------------------------------------------------- fit


@pytest.mark.parametrize("name", ["samples.zarr", "group.zarr", "group.zarr/others", "samples.npy"])
def test_fit_equals_python(name, stores, samples, tmp_path):
    output = run_fit(stores / name, tmp_path / "r.zarr")
    assert_same(tmp_path / "r.zarr", learn(samples))
    assert "2,000 with 16 features" in output
    assert "max_passes" in output
    assert f"daskksvd encode {tmp_path}/r.zarr" in output


@pytest.mark.parametrize(
    ("options", "arguments"),
    [
        (
            "--update batch --init random --no-replace-atoms --center --scale",
            {"update": "batch", "init": "random", "replace_atoms": False, "center": True, "scale": True},
        ),
        (
            "--update ksvd --n-blocks 4 --pursuit mp --dtype float64",
            {"update": "ksvd", "n_blocks": 4, "pursuit": "mp", "dtype": "float64"},
        ),
        (
            "--whiten 0.25 --holdout 0.2 --rtol 0.1 --tol 0.01 --init k-means++",
            {"whiten": 0.25, "holdout": 0.2, "rtol": 0.1, "tol": 0.01, "init": "k-means++"},
        ),
        ("--nonnegative --threshold 0.3", {"nonnegative": True, "threshold": 0.3}),
        ("--threshold mean", {"threshold": "mean"}),
        (
            "--no-persist --threads 1 --checkpoint-every 2 --max-time 1000",
            {"persist": False, "n_threads": 1, "checkpoint_every": 2, "max_time": 1000},
        ),
    ],
)
def test_options_reach_fit(options, arguments, stores, samples, tmp_path):
    output = run_fit(stores / "samples.zarr", tmp_path / "r.zarr", *options.split())
    expected = learn(samples, **arguments)
    assert_same(tmp_path / "r.zarr", expected)
    found = daskksvd.load(tmp_path / "r.zarr").settings
    assert {**found, "seconds": 0} == {**expected.settings, "seconds": 0}
    assert ("held out" in output) == ("holdout" in arguments)


def test_options_agree_with_fit():
    arguments = ["store", "--out", "out", "--n-components", "8"]
    values = cli.fit_command.make_context("fit", arguments).params
    renamed = {"array": "store", "client": "scheduler", "n_threads": "threads"}
    for name, parameter in inspect.signature(fit).parameters.items():
        if name != "callbacks":
            value = values.pop(renamed.get(name, name))
            # progress is on where there is a terminal
            assert name in ("array", "n_components", "progress") or value == parameter.default, name
    assert set(values) == {"out", "overwrite", "consensus"} and values["consensus"] is None
    choices = {option.name: getattr(option.type, "choices", None) for option in cli.fit_command.params}
    for name in ("pursuit", "update", "init"):
        allowed = stopping if name == "pursuit" else settings
        assert tuple(choices[name]) == getattr(allowed, f"{name.upper()}S")


def test_a_consensus_of_two_fits(stores, samples, tmp_path):
    output = run_fit(stores / "samples.zarr", tmp_path / "r.zarr", "--consensus", "2")
    assert "fits agree" in output
    how = {"n_components": M, "n_nonzero_coefs": K, "random_state": 1, "max_passes": 3}
    expected = daskksvd.consensus(samples, n_fits=2, **how)
    assert_same(tmp_path / "r.zarr", expected)
    assert daskksvd.load(tmp_path / "r.zarr").stability.identical(expected.stability)


def test_progress_bar(stores, tmp_path):
    assert "pass 3" in run_fit(stores / "samples.zarr", tmp_path / "a.zarr", "--progress")
    assert "pass 3" not in run_fit(stores / "samples.zarr", tmp_path / "b.zarr")


def test_out_is_refused_before_any_work(stores, tmp_path, monkeypatch):
    monkeypatch.setattr("daskksvd.fitting.fit.fit", lambda *_, **__: pytest.fail("fit was called"))
    store = stores / "samples.zarr"
    assert "exists already" in error_of(run_fit(store, stores / "result.zarr", code=2))
    assert "is no result" in error_of(run_fit(store, store, "--overwrite", code=2))
    assert "is not a directory" in error_of(run_fit(store, stores / "samples.npy" / "x", code=2))
    assert "exists already" in error_of(run_fit(store, f"file://{stores}/result.zarr", code=2))
    assert zarr.open_array(store, mode="r").shape == (2_000, 16)


def test_overwrite(stores, samples, tmp_path):
    out = tmp_path / "r.zarr"
    run_fit(stores / "samples.zarr", out)
    run_fit(stores / "samples.zarr", out, "--update", "batch", "--overwrite")
    assert_same(out, learn(samples, update="batch"))


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ("samples.zarr -m 8", "--n-nonzero-coefs"),
        ("samples.zarr -m 8 -k 9", "--n-nonzero-coefs=9 is more than --n-components=8"),
        ("samples.zarr -m 9999 -k 2", "fewer than --n-components=9999"),
        ("samples.zarr -m 8 -k 2 --scale --whiten 0.5", "--scale and --whiten"),
        ("samples.zarr -m 8 -k 2 --tol -1", "--tol=-1"),
        ("samples.zarr -m 8 -k 2 --threads 0", "--threads=0"),
        ("samples.zarr -m 8 -k 2 --threads 1 --scheduler a:1", "without --scheduler"),
        ("samples.zarr -m 8 -k 2 --scheduler nowhere", "missing port number"),
        ("samples.zarr -m 8 -k 2 --checkpoint text", "is not a checkpoint"),
        ("samples.zarr -m 8 -k 2 --checkpoint .", "is a directory"),
        ("nowhere.zarr -m 8 -k 2", "there is no such path"),
        ("result.zarr/history.zarr -m 8 -k 2", "there is no such path"),
        ("nan.npy -m 8 -k 2", "first is row 7"),
        ("objects.npy -m 8 -k 2", "no .npy file of plain numbers"),
        ("complex.npy -m 8 -k 2", "must be real"),
        ("flat.npy -m 8 -k 2", "1 dimension"),
        ("cut.npy -m 8 -k 2", "no .npy file of plain numbers"),
        ("archive.npz -m 8 -k 2", "numpy.save"),
        ("text -m 8 -k 2", "no Zarr store and no .npy file"),
    ],
)
def test_errors_are_one_line(options, words, stores, samples, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for name in ("samples.zarr", "samples.npy", "result.zarr"):
        os.symlink(stores / name, name)
    bad = samples.copy()
    bad[7, 3] = np.nan
    np.save("nan.npy", bad)
    np.save("objects.npy", np.array([[None]]), allow_pickle=True)
    np.save("complex.npy", samples + 1j)
    np.save("flat.npy", samples[0])
    np.savez("archive.npz", samples)
    with open("samples.npy", "rb") as whole, open("cut.npy", "wb") as cut:
        cut.write(whole.read(1000))
    with open("text", "w") as file:
        file.write("text")
    assert words in error_of(run("fit", *options.split(), "--out", "r.zarr", code=2))
    assert not os.path.exists("r.zarr")


def test_unknown_choice_is_a_usage_error(stores, tmp_path):
    assert "'--init'" in run_fit(stores / "samples.zarr", tmp_path / "r.zarr", "--init", "best", code=2)


def test_failures_on_the_way_exit_with_1(stores, tmp_path, monkeypatch):
    def fail(*_, **__):
        raise OSError("no space left\non device")

    monkeypatch.setattr("daskksvd.fitting.fit.fit", fail)
    output = run_fit(stores / "samples.zarr", tmp_path / "r.zarr", code=1)
    assert error_of(output) == "Error: no space left on device"
    with pytest.raises(OSError, match="no space"):
        run("--traceback", "fit", stores / "samples.zarr", "-m", 8, "-k", 2, "--out", tmp_path / "r.zarr")


# ----------------------------------------------- checkpoints and interrupts


def test_checkpoint_of_a_stopped_fit_goes_on(stores, samples, tmp_path):
    out, checkpoint = tmp_path / "r.zarr", tmp_path / "checkpoint"
    more = ("--checkpoint", checkpoint)
    output = run_fit(stores / "samples.zarr", out, *more, "--max-time", 1e-6)
    assert "max_time" in output
    assert "goes on" in output
    output = run_fit(stores / "samples.zarr", out, *more, "--overwrite")
    assert "Going on" in output
    assert "no longer needed" in output
    assert_same(out, learn(samples))


def test_interrupt_saves_what_was_learned(stores, samples, tmp_path, monkeypatch):
    out = tmp_path / "r.zarr"
    partial = learn(samples, max_passes=1)
    partial.stop_reason = "interrupted"

    def interrupted(*_, **__):
        raise FitInterrupted("interrupted in pass 2", partial)

    monkeypatch.setattr("daskksvd.fitting.fit.fit", interrupted)
    output = run_fit(stores / "samples.zarr", out, code=130)
    assert "1 finished pass" in output
    assert f"saved at {out}" in output
    assert_same(out, partial)


@pytest.mark.parametrize("error", [FitInterrupted("before the first wave"), KeyboardInterrupt()])
def test_interrupt_before_anything_was_learned(error, stores, tmp_path, monkeypatch):
    def interrupted(*_, **__):
        raise error

    monkeypatch.setattr("daskksvd.fitting.fit.fit", interrupted)
    assert "Interrupted" in run_fit(stores / "samples.zarr", tmp_path / "r.zarr", code=130)
    assert not (tmp_path / "r.zarr").exists()


@pytest.mark.skipif(sys.platform == "win32", reason="sends SIGINT")
def test_ctrl_c(stores, tmp_path):
    """A real process and a real signal."""
    out, checkpoint = tmp_path / "r.zarr", tmp_path / "checkpoint"
    arguments = [
        *(sys.executable, "-m", "daskksvd", "fit", str(stores / "samples.zarr"), "--out", str(out)),
        *("-m", str(M), "-k", str(K), "--random-state", "1", "--tol", "0", "--max-passes", "2000"),
        *("--checkpoint", str(checkpoint)),
    ]
    process = subprocess.Popen(
        arguments,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        # a test run in the background may be ignoring SIGINT, and would pass that on
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.default_int_handler),
    )
    deadline = time.monotonic() + 120
    while not checkpoint.exists() and process.poll() is None and time.monotonic() < deadline:
        time.sleep(0.05)
    process.send_signal(signal.SIGINT)
    _, errors = process.communicate(timeout=60)
    assert process.returncode == 130, errors
    assert "Traceback" not in errors
    assert f"saved at {out}" in errors
    assert "--overwrite goes on" in errors
    partial = daskksvd.load(out)
    assert partial.stop_reason == "interrupted"
    assert json.loads(run("info", checkpoint, "--json"))["seconds"] > 0


# --------------------------------------------------------------- schedulers


def test_scheduler(stores, samples, tmp_path, monkeypatch):
    from distributed import LocalCluster

    monkeypatch.chdir(stores)  # paths are relative here, and workers may be elsewhere
    quiet = {"processes": False, "threads_per_worker": 2, "dashboard_address": "127.0.0.1:0"}
    with LocalCluster(n_workers=1, host="127.0.0.1", protocol="tcp", **quiet) as cluster:
        more = ("--scheduler", cluster.scheduler_address)
        for name in ("samples.zarr", "samples.npy"):
            run_fit(name, tmp_path / f"{name}.r", *more)
            assert_same(tmp_path / f"{name}.r", learn(samples))
        run("encode", "result.zarr", "samples.npy", "--out", tmp_path / "codes.zarr", *more)
        run("encode", "result.zarr", "samples.npy", "--out", tmp_path / "threads.zarr")
        by_cluster = daskksvd.open_codes(tmp_path / "codes.zarr").compute(scheduler="synchronous")
        by_threads = daskksvd.open_codes(tmp_path / "threads.zarr").compute(scheduler="synchronous")
        np.testing.assert_array_equal(by_cluster.todense(), by_threads.todense())
        worker = cluster.workers[0].address
        output = run_fit("samples.zarr", tmp_path / "r.zarr", "--scheduler", worker, code=2)
        assert "Dask Worker" in error_of(output)
    monkeypatch.setattr("daskksvd.cli.shared.CONNECT_SECONDS", 1)
    with LocalCluster(n_workers=0, host="127.0.0.1", protocol="tcp", **quiet) as cluster:
        address = cluster.scheduler_address
        output = run_fit("samples.zarr", tmp_path / "r.zarr", "--scheduler", address, code=2)
        assert "has no workers" in error_of(output)
    start = time.monotonic()
    output = run_fit("samples.zarr", tmp_path / "r.zarr", "--scheduler", address, code=2)
    assert "no Dask scheduler answered" in error_of(output)
    assert time.monotonic() - start < 10
    assert not (tmp_path / "r.zarr").exists()


# --------------------------------------------------------------------- help


@pytest.mark.parametrize("command", ["embed", "fit", "encode", "info", "demo"])
def test_help_teaches(command):
    text = run(command, "--help")
    assert f"daskksvd {command} " in text.split("Examples:")[1]
    for parameter in cli.main.commands[command].params:
        if isinstance(parameter, click.Option):
            assert parameter.help, parameter.name


def test_help_is_quick():
    heavy = {"dask", "numba", "numpy", "torch", "zarr"}
    code = f"import sys, daskksvd.cli; print(sorted({heavy} & set(sys.modules)))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
    text = run("--help")
    assert all(f"  {name} " in text for name in ("embed", "fit", "encode", "info", "demo"))
    assert daskksvd.__version__ in run("--version")


def test_warnings_are_lines_of_their_own(capsys, monkeypatch):
    """Each once; those for a file of somebody's go there."""
    others, file = [], io.StringIO()
    with warnings.catch_warnings():
        warnings.simplefilter("always")
        monkeypatch.setattr(warnings, "showwarning", lambda *shown: others.append(shown))
        with cli.warnings_told(lambda text: text.replace("min_df", "--min-df")):
            for _ in range(2):
                warnings.warn("min_df is\n  large", stacklevel=1)
            warnings.showwarning("elsewhere", UserWarning, "x.py", 3, file)
    told = capsys.readouterr().err
    assert told == "Warning: --min-df is large\n"
    assert others == [("elsewhere", UserWarning, "x.py", 3, file, None)]
