"""One dictionary of several fits."""

import itertools

import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal
from small import assert_same_bits, samples

import daskksvd
from daskksvd.evaluation.agreement import agree

HOW = {"n_components": 20, "n_nonzero_coefs": 3, "max_passes": 4, "n_fits": 3, "random_state": 5}


@pytest.fixture(scope="module")
def Y():
    return samples()


@pytest.fixture(scope="module")
def result(Y):
    return daskksvd.consensus(Y, n_threads=1, **HOW)


def units(m, d, seed=0):
    atoms = np.random.default_rng(seed).standard_normal((m, d))
    return atoms / np.linalg.norm(atoms, axis=1, keepdims=True)


def slow(dictionaries, signed):
    """Means and likeness, all orders of the atoms tried, atom by atom."""
    means = dictionaries[0]
    for _ in range(3):
        partners = []
        for other in dictionaries:
            cosines = means @ other.T
            near = cosines if signed else np.abs(cosines)
            orders = itertools.permutations(range(len(other)))
            best = max(orders, key=lambda order: sum(near[j, order[j]] for j in range(len(order))))
            partners.append(
                [
                    np.sign(cosines[j, i]) * cosines[j, i] ** 2 * other[i]
                    if not signed or cosines[j, i] > 0
                    else 0 * other[i]
                    for j, i in enumerate(best)
                ]
            )
        sums = np.sum(partners, axis=0)
        means = sums / np.linalg.norm(sums, axis=1, keepdims=True)
    likeness = np.zeros((len(dictionaries), len(means)))
    for f, j in np.ndindex(likeness.shape):
        one, others = partners[f][j], sums[j] - partners[f][j]
        if one.any() and others.any():
            likeness[f, j] = one @ others / np.linalg.norm(one) / np.linalg.norm(others)
    return means, likeness


@pytest.mark.parametrize("signed", [False, True])
def test_means_and_likeness_are_those_of_the_slow_way(signed):
    truth, rng = units(5, 4), np.random.default_rng(1)
    dictionaries = []
    for spread in (0.1, 0.3, 0.5):
        atoms = (truth + spread * rng.standard_normal(truth.shape))[rng.permutation(5)]
        atoms = atoms * (1 if signed else rng.choice([-1, 1], (5, 1)))
        dictionaries.append(atoms / np.linalg.norm(atoms, axis=1, keepdims=True))
    found = agree(dictionaries, signed=signed)
    means, likeness = slow(dictionaries, signed)
    assert_allclose(found.atoms, means, atol=1e-12)
    assert_allclose(found.likeness, likeness, atol=1e-12)
    assert_array_equal(found.recurrence, (likeness >= 0.8).mean(axis=0))


def test_atoms_of_fewer_fits_are_told_from_those_of_all():
    """Six atoms of ten are in every dictionary, permuted and turned; others are noise of each."""
    shared, rng = units(6, 30), np.random.default_rng(2)
    dictionaries = []
    for seed in range(4):
        atoms = np.concatenate([shared + 0.02 * rng.standard_normal(shared.shape), units(4, 30, seed + 9)])
        dictionaries.append(atoms[rng.permutation(10)] * rng.choice([-1, 1], (10, 1)))
    found = agree(dictionaries)
    recur = found.recurrence == 1
    assert recur.sum() == 6 and (found.recurrence[~recur] == 0).all()
    assert (np.abs(found.atoms[recur] @ shared.T).max(axis=0) > 0.99).all()


def test_a_smaller_dictionary_has_no_part_in_some_atoms():
    atoms = units(8, 10)
    found = agree([atoms[:5], atoms, atoms[::-1]])
    assert_allclose(found.atoms, atoms, atol=1e-12)
    assert (found.likeness[0, 5:] == 0).all()
    assert_allclose(found.likeness[1:], 1)


def test_true_atoms_recur_and_the_surplus_does_not():
    planted = daskksvd.datasets.make_planted(3_000, 16, 24, 3, noise=0.1, random_state=0)
    how = {"n_nonzero_coefs": 3, "n_fits": 3, "random_state": 1, "n_threads": 1}
    result = daskksvd.consensus(planted.array, n_components=32, min_recurrence=1, **how)
    near = np.abs(planted.dictionary @ result.dictionary.values.T)
    assert (near.max(axis=1) > 0.95).mean() > 0.9  # the truth is found
    assert (near.max(axis=0) > 0.95).mean() > 0.9  # and little else
    assert (result.stability.recurrence == 1).all()
    assert result.settings["n_components"] == len(result.dictionary) < 30


def test_atoms_come_in_the_order_in_which_fits_agree(result):
    assert result.dictionary.shape == (20, 8)
    likeness = result.stability.likeness.values
    assert_array_equal(likeness, np.sort(likeness)[::-1])
    assert_array_equal(result.first(7).stability.likeness, likeness[:7])
    assert result.with_target(n_nonzero_coefs=2).stability is result.stability
    about = result.settings["consensus"]
    assert about["n_fits"] == 3 == len(set(about["seeds"])) and about["update"] == "online"


def test_means_are_refitted_as_a_fit_from_them_does(Y, result):
    fits = [
        daskksvd.fit(Y, n_components=20, n_nonzero_coefs=3, max_passes=4, random_state=seed, n_threads=1)
        for seed in result.settings["consensus"]["seeds"]
    ]
    found = agree([fit.dictionary.values for fit in fits])
    order = np.argsort(-found.likeness.mean(axis=0), kind="stable")
    again = daskksvd.fit(
        Y, n_components=20, n_nonzero_coefs=3, init=found.atoms[order], update="batch", max_passes=1,
        replace_atoms=False, random_state=5,
    )  # fmt: skip
    assert_same_bits(result, again)


def test_the_same_bits_on_any_threads_and_from_a_checkpoint(Y, result, tmp_path):
    state, finished = tmp_path / "state", []

    def stop(event):
        finished.append(isinstance(event, daskksvd.tracking.FitFinished))
        if sum(finished) == 1 and isinstance(event, daskksvd.tracking.WaveFinished):
            raise KeyboardInterrupt

    with pytest.raises(daskksvd.FitInterrupted):
        daskksvd.consensus(Y, checkpoint=state, callbacks=[stop], n_threads=2, **HOW)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["state.0", "state.1"]
    again = daskksvd.consensus(Y, checkpoint=state, n_threads=2, **HOW)
    assert_same_bits(again, result)
    assert again.stability.identical(result.stability)
    passes = []
    once_more = daskksvd.consensus(Y, checkpoint=state, callbacks=[passes.append], **HOW)
    assert not any(isinstance(event, daskksvd.tracking.PassFinished) for event in passes)
    assert_same_bits(once_more, result)


def test_stability_is_saved_and_shown(result, tmp_path):
    result.save(tmp_path / "result.zarr")
    again = daskksvd.load(tmp_path / "result.zarr")
    assert again.stability.identical(result.stability)
    assert again.settings == result.settings
    assert "found by all fits" in again._repr_html_()


def test_bars_say_which_fit_it_is(Y, capfd):
    how = HOW | {"n_fits": 2, "max_passes": 1, "progress": True}
    daskksvd.consensus(Y, n_threads=1, **how)
    told = capfd.readouterr().err
    firsts = [
        told.index(title) for title in ("fit 1 of 2, pass 1 of", "fit 2 of 2, pass 1 of", "refit, pass 1 of")
    ]
    assert firsts == sorted(firsts)


def test_results_of_one_fit_have_none(Y, tmp_path):
    one = daskksvd.fit(Y, n_components=20, n_nonzero_coefs=3, max_passes=1, random_state=0)
    one.save(tmp_path / "one.zarr")
    again = daskksvd.load(tmp_path / "one.zarr")
    assert again.stability is None and "found by all fits" not in again._repr_html_()


@pytest.mark.parametrize(
    "more, message",
    [
        ({"n_fits": 1}, "n_fits"),
        ({"min_recurrence": 1.5}, "min_recurrence=1.5"),
        ({"refit_passes": 0}, "refit_passes"),
        ({"groups": [8]}, "groups=.8. was given"),
        ({"init": np.eye(20, 8)}, "init was given as an array"),
        ({"n_components": 900}, "fewer than n_components=900"),
    ],
)
def test_bad_arguments_are_named(Y, more, message):
    with pytest.raises(ValueError, match=message):
        daskksvd.consensus(Y, **(HOW | more))


def test_so_many_are_kept_as_a_row_may_use():
    noise = np.random.default_rng(0).standard_normal((300, 40))
    how = {"n_components": 50, "n_nonzero_coefs": 3, "max_passes": 2, "n_fits": 3, "random_state": 0}
    with pytest.warns(UserWarning, match="min_recurrence.*the 3 that fits agree on most are kept"):
        result = daskksvd.consensus(noise, min_recurrence=1, **how)
    assert len(result.dictionary) == 3


@pytest.mark.parametrize("more", [{"n_fits": 3}, {"max_passes": 3}, {"min_recurrence": 0.5}])
def test_a_finished_one_goes_on_with_more(Y, tmp_path, more):
    """Only what there is not yet is made, and nothing of an earlier refit is left."""
    few = HOW | {"n_fits": 2, "max_passes": 2}
    daskksvd.consensus(Y, checkpoint=tmp_path / "state", **few)
    again = daskksvd.consensus(Y, checkpoint=tmp_path / "state", **(few | more))
    if "max_passes" not in more:  # a fit that is made longer has learned otherwise from the start
        assert_same_bits(again, daskksvd.consensus(Y, **(few | more)))
    assert len(list(tmp_path.glob("state.refit-*"))) == 1
    assert len(list(tmp_path.iterdir())) == 1 + (few | more)["n_fits"]


def test_growth_that_was_cut_short(Y):
    """Fewer atoms than a row may use."""
    result = daskksvd.consensus(Y, **(HOW | {"n_fits": 2, "growth": 2, "max_time": 1e-9}))
    assert len(result.dictionary) == 2
    assert result.settings["consensus"]["stop_reasons"] == ["max_time"] * 2


def test_an_error_bounds_the_atoms_that_are_kept_by_none(Y):
    result = daskksvd.consensus(
        Y, n_components=12, rtol=0.1, max_passes=3, n_fits=2, min_recurrence=1, random_state=0
    )
    assert (result.stability.recurrence == 1).all() or len(result.dictionary) == 1


def test_an_interrupt_gives_the_last_fit_that_was_finished(Y):
    begun = []

    def stop(event):
        begun.append(isinstance(event, daskksvd.tracking.FitFinished))
        if any(begun[:-1]):
            raise KeyboardInterrupt

    with pytest.raises(daskksvd.FitInterrupted) as caught:
        daskksvd.consensus(Y, callbacks=[stop], **HOW)
    assert caught.value.result is not None and "in fit 2 of 3" in caught.value.__notes__[-1]
