"""A checkpoint knows its rows, and a fit that was finished can be extended."""

import warnings

import dask.array as da
import numpy as np
import pytest
from numpy.testing import assert_array_equal
from small import D, N, assert_same_bits, fit, samples

import daskksvd
from daskksvd.rows.checksums import checksum
from daskksvd.stores.checkpoint import Checkpointer, load_checkpoint
from daskksvd.stores.keys import crc32c
from daskksvd.tracking import CheckpointWritten, PassFinished, WaveFinished


@pytest.fixture(scope="module")
def Y():
    return samples()


def chunked(Y, rows=100):
    return da.from_array(Y, chunks=(rows, D))


def stop_after(kind, count):
    seen = []

    def callback(event):
        seen.append(isinstance(event, kind))
        if sum(seen) == count:
            raise daskksvd.StopFit

    return callback


# --------------------------------------------------------------------- other rows


@pytest.mark.parametrize("options", [{}, {"center": True}, {"update": "ksvd"}, {"persist": False}], ids=str)
@pytest.mark.parametrize("finished", [True, False])
def test_other_rows_are_refused_wherever_they_differ(Y, tmp_path, options, finished):
    path = tmp_path / "state.ckpt"
    stop = [] if finished else [stop_after(WaveFinished, 2)]
    fit(chunked(Y), checkpoint=path, callbacks=stop, **options)
    before = path.read_bytes()
    other = Y.copy()
    other[333, 5] = np.nextafter(other[333, 5], 9)
    with pytest.raises(
        ValueError, match=r"another problem: rows 300 to 399 of array differ from those it was"
    ):
        fit(chunked(other), checkpoint=path, **options)
    other[650] += 1
    with pytest.raises(ValueError, match=r"rows 300 to 399 of array and those of 1 more chunk"):
        fit(chunked(other), checkpoint=path, **options)
    swapped = Y.copy()
    swapped[[690, 691]] = swapped[[691, 690]]
    with pytest.raises(ValueError, match=r"rows 600 to 699 of array differ"):
        fit(chunked(swapped), checkpoint=path, **options)
    assert path.read_bytes() == before
    assert_same_bits(fit(chunked(Y), checkpoint=path, **options), fit(chunked(Y), **options))


def test_threads_and_forms_of_the_same_rows_do_not_matter(Y, tmp_path):
    path = tmp_path / "state.ckpt"
    fit(chunked(Y), checkpoint=path, callbacks=[stop_after(PassFinished, 1)], n_threads=3)
    for array in (chunked(np.asfortranarray(Y)), chunked(Y).map_blocks(np.asfortranarray)):
        assert_same_bits(fit(array, checkpoint=path, n_threads=1), fit(chunked(Y)))


def test_a_checksum_is_of_the_bytes_in_order():
    for dtype in ("float32", "float64", "float16", "int8", "bool", ">f4"):
        rows = np.random.default_rng(0).integers(0, 2, (9001, 7)).astype(dtype)
        assert checksum(rows) == crc32c(rows.tobytes())
        assert checksum(np.asfortranarray(rows)) == checksum(rows)
        assert checksum(rows[::-1]) != checksum(rows)


def test_a_checkpoint_of_before_checksums_is_gone_on_from(Y, tmp_path):
    path = tmp_path / "state.ckpt"
    fit(chunked(Y), checkpoint=path, callbacks=[stop_after(PassFinished, 1)])
    header, arrays = load_checkpoint(path)
    del arrays["chunk_checksums"], header["format"]
    Checkpointer(path).write(header, arrays)
    assert_same_bits(fit(chunked(Y), checkpoint=path), fit(chunked(Y)))


# ---------------------------------------------------------------------- extending


def test_a_finished_fit_called_again_returns_its_result(Y, tmp_path):
    path = tmp_path / "state.ckpt"
    for options in ({"tol": 0}, {"max_passes": None, "tol": 0.02}):
        whole = fit(Y, checkpoint=path, **options)
        events = []
        assert_same_bits(fit(Y, checkpoint=path, callbacks=[events.append], **options), whole)
        assert not any(isinstance(event, (WaveFinished, PassFinished)) for event in events)
        path.unlink()


@pytest.mark.parametrize("update", ["batch", "ksvd"])
def test_more_passes_are_those_of_a_longer_fit(Y, tmp_path, update):
    options = {"update": update, "tol": 0, "replace_atoms": False}
    path = tmp_path / "state.ckpt"
    fit(Y, checkpoint=path, max_passes=2, **options)
    fit(Y, checkpoint=path, max_passes=3, **options)
    assert_same_bits(fit(Y, checkpoint=path, max_passes=6, **options), fit(Y, max_passes=6, **options))


def test_a_finished_online_fit_is_extended_by_full_passes(Y, tmp_path):
    path = tmp_path / "state.ckpt"
    first = fit(Y, checkpoint=path, max_passes=4, tol=0)
    copy = tmp_path / "copy.ckpt"
    copy.write_bytes(path.read_bytes())
    more = fit(Y, checkpoint=path, max_passes=9, tol=0)
    assert more.history.kind.values.tolist() == ["wave"] * 3 + ["full"] * 6
    assert_array_equal(more.history.relative_error[:4], first.history.relative_error)
    assert float(more.history.relative_error[-1]) < float(first.history.relative_error[-1])
    fit(Y, checkpoint=copy, max_passes=9, tol=0, callbacks=[stop_after(PassFinished, 2)])
    assert_same_bits(fit(Y, checkpoint=copy, max_passes=9, tol=0, n_threads=1), more)


def test_a_fit_in_waves_goes_on_as_the_longer_one(Y, tmp_path):
    path = tmp_path / "state.ckpt"
    fit(Y, checkpoint=path, max_passes=4, tol=0, callbacks=[stop_after(PassFinished, 1)])
    assert_same_bits(fit(Y, checkpoint=path, max_passes=8, tol=0), fit(Y, max_passes=8, tol=0))


@pytest.mark.parametrize("update", ["batch", "ksvd"])
def test_a_smaller_tol_goes_on_where_the_larger_one_ended(Y, tmp_path, update):
    options = {"update": update, "max_passes": 20, "replace_atoms": False}
    path = tmp_path / "state.ckpt"
    first = fit(Y, checkpoint=path, tol=0.05, **options)
    assert first.stop_reason == "tol" and first.history.sizes["pass"] < 20
    for tol in (0.02, 0.005):
        assert_same_bits(fit(Y, checkpoint=path, tol=tol, **options), fit(Y, tol=tol, **options))
    # a larger one cannot take passes back
    last = fit(Y, checkpoint=path, tol=0.5, **options)
    assert_array_equal(last.dictionary, fit(Y, tol=0.005, **options).dictionary)


def test_a_smaller_tol_extends_an_online_fit(Y, tmp_path):
    options = {"max_passes": None, "replace_atoms": False}
    path = tmp_path / "state.ckpt"
    first = fit(Y, checkpoint=path, tol=0.05, **options)
    more = fit(Y, checkpoint=path, tol=0, **options)
    assert first.stop_reason == "tol" and more.stop_reason == "max_passes"
    passes = first.history.sizes["pass"]
    assert set(more.history.kind.values[passes:]) == {"full"}
    assert_array_equal(more.history.relative_error[:passes], first.history.relative_error)


def test_what_would_change_the_past_is_refused_by_name(Y, tmp_path):
    path = tmp_path / "state.ckpt"
    fit(Y, checkpoint=path)
    before = path.read_bytes()
    for options, match in (
        ({"random_state": 1}, r"random_state differ \(0 there, 1 here\)"),
        ({"max_passes": 3}, r"max_passes=3, but checkpoint=.* is in pass 4 already"),
        ({"update": "batch"}, "update differ"),
        ({"holdout": 0.1}, "holdout differ"),
    ):
        with pytest.raises(ValueError, match=match):
            fit(Y, checkpoint=path, **options)
    assert path.read_bytes() == before


def test_max_time_and_callbacks_may_change(Y, tmp_path):
    path = tmp_path / "state.ckpt"
    assert fit(Y, checkpoint=path, max_time=1e-6, checkpoint_every=1).stop_reason == "max_time"
    assert_same_bits(fit(Y, checkpoint=path, max_time=1e6, checkpoint_every=7), fit(Y))


# ---------------------------------------------------------- checkpoints that fail


@pytest.fixture
def failing(monkeypatch):
    """Writes of checkpoints fail while the list has an error."""
    errors = []
    write = np.savez

    def savez(file, **arrays):
        write(file, **arrays)
        if errors:
            raise errors[0]

    monkeypatch.setattr("daskksvd.stores.checkpoint.np.savez", savez)
    return errors


def test_a_checkpoint_that_cannot_be_written_ends_no_fit(Y, tmp_path, failing):
    path = tmp_path / "state.ckpt"
    failing.append(OSError(28, "No space left on device"))
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        found = fit(Y, checkpoint=path, checkpoint_every=1)
    told = [str(one.message) for one in caught if one.category is RuntimeWarning]
    assert len(told) == 2  # at the first, and at the last
    assert all(str(path) in line and "disk is full" in line and "needed" in line for line in told)
    assert_same_bits(found, fit(Y))
    assert list(tmp_path.iterdir()) == []


def test_a_checkpoint_is_tried_again(Y, tmp_path, failing):
    path = tmp_path / "state.ckpt"
    failing.append(PermissionError(13, "Permission denied"))
    written = []

    def mend(event):
        if isinstance(event, PassFinished) and event.index == 1:
            failing.clear()
        if isinstance(event, CheckpointWritten):
            written.append(event.pass_index)

    with pytest.warns(RuntimeWarning, match=r"was not written: .*Permission denied.*tries again"):
        fit(Y, checkpoint=path, callbacks=[mend])
    assert written[0] == 2 and written[-1] == 4
    assert_same_bits(fit(Y, checkpoint=path), fit(Y))


def test_a_folder_that_vanished_is_told_of(Y, tmp_path):
    folder = tmp_path / "there"
    path = folder / "state.ckpt"

    def remove(event):
        if isinstance(event, CheckpointWritten):
            path.unlink()
            folder.rmdir()
            folder.write_text("a file in its place")

    with pytest.warns(RuntimeWarning, match=r"state\.ckpt' cannot be written \("):
        assert_same_bits(fit(Y, checkpoint=path, callbacks=[remove]), fit(Y))


def test_an_interrupt_while_no_checkpoint_can_be_written(Y, tmp_path, failing):
    def interrupt(event):
        if isinstance(event, PassFinished):
            failing.append(OSError(28, "No space left on device"))
            raise KeyboardInterrupt

    with (
        pytest.warns(RuntimeWarning, match="it was the last"),
        pytest.raises(daskksvd.FitInterrupted, match=r"interrupted in pass 2$") as caught,
    ):
        fit(Y, checkpoint=tmp_path / "state.ckpt", callbacks=[interrupt])
    assert caught.value.result is not None


# --------------------------------------------------------------------- interrupts


@pytest.mark.parametrize(
    "place",
    [
        "daskksvd.fitting.beginning.run_survey",
        "daskksvd.fitting.fit.as_source",
        "daskksvd.fitting.fit.load_checkpoint",
        "daskksvd.fitting.fit.problem_identity",
        "daskksvd.fitting.beginning.initial_dictionary",
        "daskksvd.rows.reader.take_apart",
    ],
)
def test_an_interrupt_before_learning_is_a_fit_interrupted(Y, tmp_path, monkeypatch, place):
    def interrupt(*arguments, **named):
        raise KeyboardInterrupt

    with monkeypatch.context() as patched:
        patched.setattr(place, interrupt)
        with pytest.raises(daskksvd.FitInterrupted, match="before anything was learned") as caught:
            fit(Y, checkpoint=tmp_path / "state.ckpt")
    assert caught.value.result is None
    assert fit(Y, checkpoint=tmp_path / "state.ckpt").dictionary.shape[1] == D


def test_an_interrupt_while_rows_are_read(Y):
    def interrupt(block):
        raise KeyboardInterrupt

    array = chunked(Y).map_blocks(interrupt, dtype=Y.dtype, meta=np.empty((0, 0)))
    for persist in (True, False):
        with pytest.raises(daskksvd.FitInterrupted):
            fit(array, persist=persist)


@pytest.mark.parametrize("kind", [WaveFinished, PassFinished])
def test_the_history_has_no_gap_wherever_it_was_stopped(tmp_path, kind):
    """Also between the news of replaced atoms and those of the round that replaced them."""
    from daskksvd.tracking import AtomsReplaced

    path = tmp_path / "state.ckpt"
    Y = samples()
    whole = fit(Y, max_passes=8, tol=0)
    assert whole.history.wave_replaced_atoms.sum() > 0
    for count in (1, 3):
        stop = [stop_after(AtomsReplaced, count), stop_after(kind, 6 * count)]
        fit(Y, max_passes=8, tol=0, checkpoint=path, callbacks=stop)
    assert_same_bits(fit(Y, max_passes=8, tol=0, checkpoint=path), whole)
    assert whole.history.wave_n_samples.sum() == 8 * N
