"""A fit that comes up to its number of nonzeros."""

import numpy as np
import pytest
from numpy.testing import assert_allclose
from sklearn.datasets import load_digits
from small import assert_same_bits, fit, samples

import daskksvd
from daskksvd.fitting.schedule import ramped
from daskksvd.stores.checkpoint import Checkpointer, load_checkpoint
from daskksvd.tracking import PassFinished, WaveFinished

K = 8


@pytest.fixture(scope="module")
def Y():
    return samples()


@pytest.fixture(scope="module")
def whole(Y):
    return fit(Y, n_nonzero_coefs=K, ramp=True, max_passes=12, tol=0, n_threads=1)


def test_nonzeros_rise_by_eighths(whole):
    history = whole.history
    assert history.kind.values.tolist() == ["wave"] * 9 + ["full"] * 3
    # fewer where a row is finished
    assert_allclose(history.mean_nonzeros, [1, 2, 3, 4, 5, 6, 7, *[8] * 5], atol=0.02)
    assert whole.coder.target.n_nonzero_coefs == K and whole.settings["ramp"] is True


@pytest.mark.parametrize("k", [1, 3, 5, 6, 10, 20, 33])
def test_a_ramp_is_an_even_rise_above_five(k):
    expected = [min(k, int(np.ceil(k * (i + 1) / 8))) if k > 5 else k for i in range(12)]
    assert [ramped(k, i) for i in range(12)] == expected


def test_waves_do_not_end_before_the_top(Y):
    result = fit(Y, n_nonzero_coefs=K, ramp=True, max_passes=None, tol=0.5)
    assert result.history.kind.values.tolist().count("wave") >= 8
    assert result.history.mean_nonzeros.values[-1] == K


def test_a_ramp_is_the_same_on_any_threads_and_from_a_checkpoint(Y, whole, tmp_path):
    options = {"n_nonzero_coefs": K, "ramp": True, "max_passes": 12, "tol": 0}
    seen = []

    def stop(event):
        seen.append(event)
        if sum(isinstance(event, WaveFinished) for event in seen) == 30:
            raise daskksvd.StopFit

    fit(Y, checkpoint=tmp_path / "state.ckpt", callbacks=[stop], **options)
    assert 0 < sum(isinstance(event, PassFinished) for event in seen) < 8
    assert_same_bits(fit(Y, checkpoint=tmp_path / "state.ckpt", **options), whole)


def test_a_checkpoint_of_before_ramps_is_gone_on_from(Y, tmp_path):
    path = tmp_path / "state.ckpt"
    whole = fit(Y, checkpoint=path)
    header, arrays = load_checkpoint(path)
    del header["identity"]["ramp"], header["format"]
    Checkpointer(path).write(header, arrays)
    assert_same_bits(fit(Y, checkpoint=path), whole)
    with pytest.raises(ValueError, match=r"belongs to another problem: ramp differ \(False there, True"):
        fit(Y, checkpoint=path, ramp=True, max_passes=12)


def test_less_is_left_of_digits_that_were_not_learned_from():
    rows = load_digits().data[np.random.default_rng(0).permutation(1797)].astype(np.float32)
    how = {"n_components": 128, "n_nonzero_coefs": 10, "center": True}
    left = [
        [
            daskksvd.fit(rows[:1400], random_state=seed, ramp=ramp, **how).evaluate(rows[1400:])["fvu"]
            for seed in (0, 1)
        ]
        for ramp in (False, True)
    ]
    assert np.mean(left[1]) < 0.98 * np.mean(left[0])  # .0526 and .0562


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"update": "batch"}, "ramp=True was given with update='batch'; it goes with update='online'"),
        ({"n_nonzero_coefs": None, "rtol": 0.1}, "ramp=True was given without n_nonzero_coefs"),
        ({"max_passes": 9}, "it takes 8 passes in waves, so that max_passes must be at least 10"),
        ({"ramp": "yes"}, "ramp"),
    ],
)
def test_what_it_does_not_go_with(Y, options, said):
    with pytest.raises((ValueError, TypeError), match=said):
        fit(Y, **{"ramp": True, "max_passes": 12, **options})
