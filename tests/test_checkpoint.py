"""Stopping and going on: the same dictionary, bit for bit."""

import json
import os
import signal
import threading

import dask.array as da
import numpy as np
import pytest
from small_programs import programs

import daskksvd
from daskksvd.datasets import make_planted
from daskksvd.stores.checkpoint import Checkpointer, load_checkpoint
from daskksvd.tracking import AtomsReplaced, CheckpointWritten, PassFinished, WaveFinished

SIZE = {"n_components": 48, "n_nonzero_coefs": 3, "random_state": 11}


@pytest.fixture(scope="module")
def samples():
    return make_planted(6000, 24, 48, 3, random_state=4).array.compute()


class StopAfter:
    """Callback that ends a fit after so many events of a kind."""

    def __init__(self, kind, count):
        self.kind, self.count = kind, count

    def __call__(self, event):
        if isinstance(event, self.kind):
            self.count -= 1
            if self.count <= 0:
                raise daskksvd.StopFit


@pytest.mark.parametrize("update", ["online", "batch", "ksvd"])
@pytest.mark.parametrize("stop", [StopAfter(PassFinished, 1), StopAfter(WaveFinished, 3)])
def test_resumed_fit_ends_at_the_same_dictionary(samples, tmp_path, update, stop):
    stop = StopAfter(stop.kind, stop.count)
    settings = {**SIZE, "update": update, "max_passes": 4, "checkpoint_every": 1}
    whole = daskksvd.fit(samples, **settings)
    path = tmp_path / "state.ckpt"
    first = daskksvd.fit(samples, **settings, checkpoint=path, callbacks=[stop])
    assert first.stop_reason == "callback"
    rest = daskksvd.fit(samples, **settings, checkpoint=path)
    np.testing.assert_array_equal(rest.dictionary.values, whole.dictionary.values)
    assert rest.stop_reason == whole.stop_reason
    for name in ("relative_error", "used_atoms", "replaced_atoms", "kind"):
        np.testing.assert_array_equal(rest.history[name], whole.history[name])
    np.testing.assert_array_equal(rest.history.wave_relative_error, whole.history.wave_relative_error)


@pytest.mark.parametrize("update", ["batch", "ksvd"])
def test_stopped_between_update_and_end_of_pass(samples, tmp_path, update):
    """The update of a pass is neither lost nor made twice."""
    init = samples[:48] / np.linalg.norm(samples[:48], axis=1, keepdims=True)
    init[1] = init[0]  # one of them is replaced after the second pass
    settings = {**SIZE, "update": update, "max_passes": 5, "init": init, "holdout": 0.1, "tol": 0}
    whole = daskksvd.fit(samples, **settings)
    path = tmp_path / "state.ckpt"
    stop = StopAfter(AtomsReplaced, 1)
    first = daskksvd.fit(samples, **settings, checkpoint=path, callbacks=[stop])
    assert first.stop_reason == "callback"
    rest = daskksvd.fit(samples, **settings, checkpoint=path)
    np.testing.assert_array_equal(rest.dictionary.values, whole.dictionary.values)
    np.testing.assert_array_equal(rest.history.relative_error, whole.history.relative_error)
    np.testing.assert_array_equal(rest.history.replaced_atoms, whole.history.replaced_atoms)


def test_resume_with_transform_holdout_and_seed_from_the_checkpoint(samples, tmp_path):
    settings = {"n_components": 48, "rtol": 0.3, "whiten": 0.25, "holdout": 0.1, "max_passes": 3}
    path = tmp_path / "state.ckpt"
    daskksvd.fit(samples, **settings, checkpoint=path, callbacks=[StopAfter(PassFinished, 1)])
    rest = daskksvd.fit(samples, **settings, checkpoint=path)
    whole = daskksvd.fit(samples, **settings, random_state=rest.settings["random_state"])
    np.testing.assert_array_equal(rest.dictionary.values, whole.dictionary.values)
    np.testing.assert_array_equal(rest.history.holdout_error, whole.history.holdout_error)


def test_finished_checkpoint_gives_the_result_at_once(samples, tmp_path):
    path = tmp_path / "state.ckpt"
    whole = daskksvd.fit(samples, **SIZE, max_passes=2, checkpoint=path)
    events = []
    again = daskksvd.fit(samples, **SIZE, max_passes=2, checkpoint=path, callbacks=[events.append])
    np.testing.assert_array_equal(again.dictionary.values, whole.dictionary.values)
    assert not any(isinstance(event, WaveFinished) for event in events)


def test_other_problem_is_refused(samples, tmp_path):
    path = tmp_path / "state.ckpt"
    daskksvd.fit(samples, **SIZE, max_passes=1, checkpoint=path)
    before = path.read_bytes()
    with pytest.raises(ValueError, match=r"another problem: n_components differ \(48 there, 40 here\)"):
        daskksvd.fit(samples, **{**SIZE, "n_components": 40}, max_passes=1, checkpoint=path)
    with pytest.raises(ValueError, match="the rows or their chunks differ"):
        daskksvd.fit(samples + 1, **SIZE, max_passes=1, checkpoint=path)
    with pytest.raises(ValueError, match="the rows or their chunks differ"):
        daskksvd.fit(da.from_array(samples, chunks=(999, 24)), **SIZE, max_passes=1, checkpoint=path)
    assert path.read_bytes() == before


def test_what_is_no_checkpoint_is_refused_and_left_alone(samples, tmp_path):
    path = tmp_path / "notes.txt"
    path.write_text("my notes")
    with pytest.raises(ValueError, match="is not a checkpoint of daskksvd"):
        daskksvd.fit(samples, **SIZE, checkpoint=path)
    assert path.read_text() == "my notes"
    with pytest.raises(ValueError, match="is a directory"):
        daskksvd.fit(samples, **SIZE, checkpoint=tmp_path)


def test_truncated_checkpoint_is_refused(samples, tmp_path):
    path = tmp_path / "state.ckpt"
    daskksvd.fit(samples, **SIZE, max_passes=1, checkpoint=path)
    path.write_bytes(path.read_bytes()[:-100])
    with pytest.raises(ValueError, match="is not a checkpoint of daskksvd"):
        daskksvd.fit(samples, **SIZE, max_passes=1, checkpoint=path)


def test_every_written_checkpoint_is_whole_and_no_other_file_is_left(samples, tmp_path):
    path = tmp_path / "state.ckpt"
    seen = []

    def look(event):
        if isinstance(event, CheckpointWritten):
            header, arrays = load_checkpoint(path)
            seen.append((header["state"]["pass_index"], header["state"]["round_index"]))
            assert np.isfinite(arrays["dictionary"]).all()
            assert os.listdir(tmp_path) == ["state.ckpt"]

    daskksvd.fit(samples, **SIZE, max_passes=2, checkpoint=path, checkpoint_every=3, callbacks=[look])
    assert len(seen) > 4
    assert seen == sorted(seen)


def test_a_write_that_fails_leaves_what_was_there(tmp_path, monkeypatch):
    def fail(*_, **__):
        raise OSError("No space left on device")

    path = tmp_path / "state.ckpt"
    checkpointer = Checkpointer(path)
    checkpointer.write({"count": 1}, {"found": np.ones(3)})
    assert path.stat().st_mode & 0o777 == 0o600
    for step in ("numpy.savez", "os.fsync", "os.replace"):
        with monkeypatch.context() as patch, pytest.raises(OSError, match="the disk is full"):
            patch.setattr(step, fail)
            checkpointer.write({"count": 2}, {"found": np.zeros(3)})
        assert os.listdir(tmp_path) == ["state.ckpt"]
        assert load_checkpoint(path)[0]["count"] == 1


def test_max_time_stops_between_rounds_and_resumes(samples, tmp_path):
    path = tmp_path / "state.ckpt"
    whole = daskksvd.fit(samples, **SIZE, max_passes=2)
    part = daskksvd.fit(samples, **SIZE, max_passes=2, checkpoint=path, max_time=1e-9)
    assert part.stop_reason == "max_time"
    rest = daskksvd.fit(samples, **SIZE, max_passes=2, checkpoint=path)
    np.testing.assert_array_equal(rest.dictionary.values, whole.dictionary.values)


@pytest.fixture
def heeds_interrupts():
    """Python's own reaction to Ctrl-C, also where tests run in the background."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


def test_interrupt_in_this_process_keeps_the_result(samples, heeds_interrupts):
    def interrupt(event):
        if isinstance(event, WaveFinished) and event.index == 3:
            threading.Timer(0.0, signal.raise_signal, (signal.SIGINT,)).start()

    with pytest.raises(daskksvd.FitInterrupted) as caught:
        daskksvd.fit(samples, **SIZE, callbacks=[interrupt], max_passes=50, tol=0)
    assert isinstance(caught.value, KeyboardInterrupt)
    assert caught.value.result.stop_reason == "interrupted"
    assert caught.value.result.dictionary.shape == (48, 24)


IMPORTS = "import signal, numpy as np, daskksvd; from daskksvd import fit"

PROGRAM = """
    signal.signal(signal.SIGINT, signal.default_int_handler)  # the background may ignore it
    samples = np.load(sys.argv[1])
    def told(event):
        print(type(event).__name__, flush=True)
    result = daskksvd.fit(samples, n_components=48, n_nonzero_coefs=3, random_state=11, tol=0,
                          max_passes=6, checkpoint=sys.argv[2], checkpoint_every=2, callbacks=[told])
    np.save(sys.argv[3], result.dictionary.values)
"""


@pytest.mark.parametrize("kind", [signal.SIGINT, signal.SIGKILL])
def test_killed_program_goes_on(samples, tmp_path, kind):
    """Whatever ends the program, the checkpoint lets it end where it would have."""
    np.save(tmp_path / "samples.npy", samples)
    names = [tmp_path / name for name in ("samples.npy", "state.ckpt", "found.npy")]
    with open(tmp_path / "errors", "w+") as errors, programs(IMPORTS, PROGRAM, errors) as running:
        for count in (4, 11):
            number = running.start(*names)
            for line in running.lines():
                if line == "CheckpointWritten\n":
                    count -= 1
                    if count == 0:
                        os.kill(number, kind)
            assert line != 0  # which is the exit status
        if kind == signal.SIGINT:
            errors.seek(0)
            assert errors.read().count("FitInterrupted: interrupted in pass") == 2
        running.start(*names)
        assert running.end() == 0
    whole = daskksvd.fit(samples, **SIZE, tol=0, max_passes=6)
    np.testing.assert_array_equal(np.load(names[2]), whole.dictionary.values)


def test_checkpoint_holds_plain_data_only(samples, tmp_path):
    path = tmp_path / "state.ckpt"
    daskksvd.fit(samples, **SIZE, max_passes=1, checkpoint=path)
    with np.load(path, allow_pickle=False) as file:
        header = json.loads(file["header"].tobytes())
        assert all(file[name].dtype.kind in "fiu" for name in file.files)
    assert header["identity"]["n_components"] == 48
