"""What is held out and told of a fit, and how it ends."""

import dask.array as da
import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal
from small import D, M, N, assert_same_bits, fit, samples, stop_at_once

import daskksvd
from daskksvd.tracking import AtomsReplaced, FitFinished, FitStarted, PassFinished, PassStarted, WaveFinished


@pytest.fixture(scope="module")
def Y():
    return samples()


# ------------------------------------------------------------------------ hold-out


@pytest.mark.parametrize("options", [{}, {"update": "batch"}, {"whiten": 0.25}], ids=str)
def test_the_holdout_error_is_that_of_the_rows_held_out(Y, options):
    array = da.from_array(Y, chunks=(100, D))
    result = fit(array, holdout=0.2, dtype="float64", **options)
    assert result.history.holdout_error.notnull().all()
    held = np.arange(N) % 100 >= 80
    assert_allclose(result.history.holdout_error[-1], result.evaluate(Y[held])["relative_error"])
    assert result.history.wave_n_samples.groupby(result.history.wave_pass).sum().values.tolist() == [560] * 4


def test_rows_held_out_are_not_learned_from(Y):
    array = Y.copy()
    expected = fit(da.from_array(array, chunks=(100, D)), holdout=0.2)
    array[np.arange(N) % 100 >= 80] = np.random.default_rng(0).standard_normal((140, D)) * 10
    found = fit(da.from_array(array, chunks=(100, D)), holdout=0.2)
    assert_array_equal(found.dictionary, expected.dictionary)
    assert_array_equal(found.history.relative_error, expected.history.relative_error)
    assert (found.history.holdout_error != expected.history.holdout_error).all()


def test_tiny_chunks_are_held_out_evenly(Y):
    result = fit(da.from_array(Y, chunks=(3, D)), holdout=0.1, max_passes=1)
    assert result.history.wave_n_samples.sum() == 630


# --------------------------------------------------------------- history and events


def test_the_history_has_a_line_a_pass_and_a_wave(Y):
    result = fit(Y, max_passes=8, tol=0)
    history = result.history
    assert history.kind.values.tolist() == ["wave"] * 6 + ["full"] * 2
    assert history["pass"].values.tolist() == list(range(1, 9))
    assert history.wave.values.tolist() == list(range(1, history.sizes["wave"] + 1))
    assert set(history.data_vars) == {
        "relative_error", "relative_error_original", "fvu", "mean_nonzeros", "used_atoms", "replaced_atoms",
        "holdout_error", "seconds", "rows_per_second", "kind", "wave_relative_error", "wave_fvu",
        "wave_mean_nonzeros", "wave_used_atoms", "wave_replaced_atoms", "wave_n_samples", "wave_seconds",
        "wave_rows_per_second", "wave_pass",
    }  # fmt: skip
    assert all(variable.attrs["long_name"] for variable in history.data_vars.values())
    assert (np.diff(history.wave_pass) >= 0).all() and set(history.wave_pass.values) == set(range(8))
    for index in range(8):
        waves = history.isel(wave=history.wave_pass.values == index)
        last = history.isel({"pass": index})
        assert waves.wave_n_samples.sum() == N
        assert waves.wave_used_atoms.max() <= last.used_atoms <= M
        assert_allclose((waves.wave_fvu * waves.wave_n_samples).sum() / N, last.fvu)
        assert waves.wave_replaced_atoms.sum() == last.replaced_atoms
        assert waves.wave_relative_error.min() <= last.relative_error <= waves.wave_relative_error.max()
        assert_allclose((waves.wave_mean_nonzeros * waves.wave_n_samples).sum() / N, last.mean_nonzeros)
        assert waves.wave_seconds.sum() <= last.seconds
        assert_allclose(last.rows_per_second * last.seconds, N)
    assert (history.relative_error == history.relative_error_original).all()  # nothing was scaled
    assert_allclose(
        history.fvu, history.relative_error**2 * (Y**2).sum() / ((Y - Y.mean(0)) ** 2).sum(), rtol=1e-4
    )
    assert history.seconds.sum() <= result.settings["seconds"]
    assert result.settings["n_components"] == M and result.settings["update"] == "online"


@pytest.mark.parametrize("options, kind", [({}, "wave"), ({"update": "batch", "n_components": 40}, "full")])
def test_a_pass_counts_the_atoms_that_were_replaced_in_it(Y, options, kind):
    replaced = [0] * 6

    def note(event):
        if isinstance(event, AtomsReplaced):
            replaced[event.pass_index] += len(event.atoms)

    history = fit(Y, callbacks=[note], max_passes=6, tol=0, **options).history
    assert history.replaced_atoms.values.tolist() == replaced
    assert any(number and of == kind for number, of in zip(replaced, history.kind.values, strict=True))


def test_events_come_in_order(Y):
    events = []
    result = fit(Y, callbacks=[events.append], holdout=0.1, max_passes=6, tol=0)
    assert events[0] == FitStarted(630, D, M, 6, 0)
    assert isinstance(events[-1], FitFinished)
    assert (events[-1].stop_reason, events[-1].n_passes) == ("max_passes", 6)
    inner = iter(events[1:-1])
    replaced = [0] * 6
    for index in range(6):
        begun = next(inner)
        assert isinstance(begun, PassStarted) and (begun.index, begun.first_round) == (index, 0)
        waves = []
        for event in inner:
            if isinstance(event, PassFinished):
                break
            if isinstance(event, AtomsReplaced):
                assert event.pass_index == index
                replaced[index] += len(event.atoms)
                assert len(set(event.atoms)) == len(event.atoms) and max(event.atoms) < M
            else:
                waves.append(event)
        assert all(isinstance(wave, WaveFinished) for wave in waves)
        assert [wave.index for wave in waves] == list(range(begun.n_rounds))
        assert {(wave.pass_index, wave.kind) for wave in waves} == {(index, begun.kind)}
        assert sum(wave.n_samples for wave in waves) == 630
        assert (event.index, event.kind, event.n_samples) == (index, begun.kind, 630)
        assert event.replaced_atoms == replaced[index]
        line = result.history.isel({"pass": index})
        assert (event.relative_error, event.holdout_error) == (line.relative_error, line.holdout_error)
    assert next(inner, None) is None
    assert sum(replaced) > 0


def test_several_callbacks_are_called_in_turn(Y):
    calls = []
    fit(Y, max_passes=1, callbacks=[lambda event: calls.append("a"), lambda event: calls.append("b")])
    assert calls == ["a", "b"] * (len(calls) // 2)


# ---------------------------------------------------------------------- how it ends


def test_it_ends_after_max_passes(Y):
    for passes in (1, 2, 5):
        result = fit(Y, max_passes=passes, tol=0)
        assert result.stop_reason == "max_passes" and result.history.sizes["pass"] == passes


@pytest.mark.parametrize("update", ["online", "batch"])
def test_it_ends_when_a_pass_gains_less_than_tol(Y, update):
    result = fit(Y, update=update, tol=0.003, max_passes=None, replace_atoms=False)
    assert result.stop_reason == "tol"
    errors = result.history.relative_error.where(result.history.kind == "full", drop=True).values
    gains = 1 - errors[1:] / errors[:-1]
    assert len(gains) >= 2 and gains[-1] <= 0.003
    assert (gains[:-1] > 0.003).all()
    longer = fit(Y, update=update, tol=0, max_passes=result.history.sizes["pass"] + 2)
    assert longer.stop_reason == "max_passes"


def test_one_full_pass_is_enough_where_its_update_promises_next_to_nothing(Y):
    result = fit(Y, tol=0.05, max_passes=None, replace_atoms=False)
    assert result.stop_reason == "tol" and result.history.kind.values.tolist() == ["wave"] * 3 + ["full"]


def test_it_ends_after_max_time_with_what_it_has(Y):
    result = fit(Y, max_time=1e-6)
    assert result.stop_reason == "max_time"
    assert result.history.sizes == {"pass": 0, "wave": 1}
    start = fit(Y, callbacks=[stop_at_once])
    assert not np.array_equal(result.dictionary, start.dictionary)
    assert np.isfinite(result.evaluate(Y)["relative_error"])
    assert fit(Y, max_time=1e6).stop_reason == "max_passes"


def test_a_callback_ends_it_with_what_it_has(Y):
    def third_wave(event):
        if isinstance(event, WaveFinished) and event.index == 2:
            raise daskksvd.StopFit

    result = fit(Y, callbacks=[third_wave])
    assert result.stop_reason == "callback"
    assert result.history.sizes == {"pass": 0, "wave": 3}

    def second_pass(event):
        if isinstance(event, PassFinished) and event.index == 1:
            raise daskksvd.StopFit

    result = fit(Y, callbacks=[second_pass])
    assert result.history.sizes["pass"] == 2
    assert_array_equal(result.history.relative_error, fit(Y).history.relative_error[:2])

    def at_the_end(event):
        if isinstance(event, FitFinished):
            raise daskksvd.StopFit

    assert_same_bits(fit(Y, callbacks=[at_the_end]), fit(Y))


def test_other_errors_of_callbacks_are_not_hidden(Y):
    def fails(event):
        raise RuntimeError("mine")

    with pytest.raises(RuntimeError, match="mine"):
        fit(Y, callbacks=[fails])


def test_an_interrupt_leaves_what_was_learned(Y):
    def interrupt(event):
        if isinstance(event, PassFinished) and event.index == 1:
            raise KeyboardInterrupt

    with pytest.raises(daskksvd.FitInterrupted, match="interrupted in pass 3") as caught:
        fit(Y, callbacks=[interrupt])
    assert isinstance(caught.value, KeyboardInterrupt)
    assert caught.value.result.stop_reason == "interrupted"
    assert_array_equal(caught.value.result.history.relative_error, fit(Y).history.relative_error[:2])
