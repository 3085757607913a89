"""Prefixes that are dictionaries, growth, twins and atoms moved apart; and the world that they are for."""

import dataclasses

import dask.array as da
import numpy as np
import pytest
import reference
import scipy.optimize
from distributed import Client, LocalCluster
from numpy.testing import assert_allclose, assert_array_equal
from small import assert_same_bits, fit, stop_at_once
from worlds import nonnegative_world

import daskksvd
from daskksvd.cli.fit import Groups
from daskksvd.coding import SparseCoder, SparsityTarget
from daskksvd.coding.how import How
from daskksvd.fitting import shaping
from daskksvd.fitting.state import State
from daskksvd.fitting.statistics import Moments, memberships
from daskksvd.fitting.updates.descent import sweep
from daskksvd.kernels.moments import add_prefix_moments, subtract_reconstruction
from daskksvd.rows import Transform
from daskksvd.tracking import WaveFinished

ALL = {"groups": [4, 10], "prefix_sums": 0.5, "twins": 0.8, "growth": 5, "incoherence": 0.05}


@pytest.fixture(scope="module")
def Y():
    rng = np.random.default_rng(4)
    return rng.standard_normal((700, 8)) * np.linspace(0.5, 2, 8)


# ---------------------------------------------------------------- pursuit over prefixes


def nested_pursuit(y, atoms, k, threshold, ends, rooms, positive):
    """Prefix after prefix, all coefficients fitted anew after each atom."""
    support, x, stage, left = [], np.empty(0), 0, y
    while len(support) < k:
        strength = atoms @ left if positive else np.abs(atoms @ left)
        strength[support] = -1
        least = max(threshold, 1e-9)
        while stage + 1 < len(ends) and (
            len(support) >= rooms[stage] or strength[: ends[stage]].max() < least
        ):
            stage += 1
        atom = int(strength[: ends[stage]].argmax())
        if strength[atom] < least:
            break
        support.append(atom)
        if positive:
            x, _ = scipy.optimize.nnls(atoms[support].T, y)
            support, x = [s for s, value in zip(support, x, strict=True) if value > 0], x[x > 0]
        else:
            x = np.linalg.lstsq(atoms[support].T, y, rcond=None)[0]
        left = y - x @ atoms[support]
    code = np.zeros(len(atoms))
    code[support] = x
    return code


@pytest.mark.parametrize("threshold", [0.0, 1.2])
@pytest.mark.parametrize(
    ("case", "positive"), [("plain", False), ("plain", True), ("rounded", True), ("rounded gram", True)]
)
def test_prefixes_come_one_after_the_other(monkeypatch, positive, threshold, case):
    rng = np.random.default_rng(1)
    atoms = reference.unit_atoms(rng, 150, 20)
    rows = rng.standard_normal((60, 20))
    if case == "rounded gram":
        monkeypatch.setattr("daskksvd.coding.products.FLOAT_GRAM_ATOMS", 0)
    target = SparsityTarget(6, nonnegative=positive, threshold=threshold)
    prefixes = (5, 30, 70)
    how = How("avx512") if case == "rounded" else None
    coder = SparseCoder(atoms.astype("float32"), Transform(), target, how=how, prefixes=prefixes)
    found = coder.encode(rows.astype("float32")).todense()
    ends, rooms = target.stages(prefixes, 150, 150)
    assert rooms.tolist() == ([6] * 4 if threshold else [2, 3, 5, 6])
    expected = np.array([nested_pursuit(y, atoms, 6, threshold, ends, rooms, positive) for y in rows])
    same = ((found != 0) == (expected != 0)).all(axis=1)
    assert same.mean() >= (0.95 if "rounded" in case else 1)
    assert_allclose(found[same], expected[same], atol=1e-4)
    plain = dataclasses.replace(coder, prefixes=()).encode(rows.astype("float32")).todense()
    assert not np.array_equal(found, plain)


@pytest.mark.parametrize("positive", [False, True])
def test_atoms_nearly_alike_are_told_prefix_after_prefix(positive):
    """Where single steps cannot tell atoms, rows are gone on with from themselves, prefixes included."""
    rng = np.random.default_rng(2)
    atoms = reference.unit_atoms(rng, 40, 12)
    atoms[20:] = atoms[:20] + 1e-3 * rng.standard_normal((20, 12))
    atoms /= np.linalg.norm(atoms, axis=1, keepdims=True)
    rows = np.abs(rng.standard_normal((50, 4))) @ atoms[[0, 3, 20, 23]]
    target = SparsityTarget(4, nonnegative=positive)
    coder = SparseCoder(atoms.astype("float32"), Transform(), target, prefixes=(10,))
    found = coder.encode(rows.astype("float32")).todense()
    ends, rooms = target.stages((10,), 40, 40)
    expected = np.array([nested_pursuit(y, atoms, 4, 0, ends, rooms, positive) for y in rows])
    left = [np.linalg.norm(rows - X @ atoms, axis=1) for X in (found, expected)]
    assert (left[0] <= left[1] + 1e-3 * np.linalg.norm(rows, axis=1)).all()
    assert ((found[:, :10] != 0).sum(axis=1) >= 1).all()


# ----------------------------------------------------------------------------- updates


def test_moments_of_prefixes_are_those_of_what_each_leaves():
    rng = np.random.default_rng(3)
    atoms, rows = reference.unit_atoms(rng, 9, 5), rng.standard_normal((20, 5))
    X = np.where(rng.random((20, 9)) < 0.3, rng.standard_normal((20, 9)), 0)
    indices, values = np.full((20, 9), -1, np.int32), np.zeros((20, 9))
    for row, x in enumerate(X):
        support = rng.permutation(np.flatnonzero(x))
        indices[row, : len(support)], values[row, : len(support)] = support, x[support]
    stages = np.array([2, 5, 9])
    power, XR, uses, left = np.zeros(9), np.zeros((9, 5)), np.zeros(9, np.int64), rows.copy()
    subtract_reconstruction(left, atoms, indices, values)
    add_prefix_moments(left, atoms, indices, values, stages, power, XR, uses)
    expected = np.zeros((9, 5))
    for end in stages:
        expected[:end] += X[:, :end].T @ (rows - X[:, :end] @ atoms[:end])
    assert_allclose(XR, expected, atol=1e-12)
    assert_allclose(power, (X**2).sum(axis=0))
    assert_array_equal(uses, (X != 0).sum(axis=0))
    assert memberships(stages, 9).tolist() == [3, 3, 2, 2, 2, 1, 1, 1, 1]


def test_coupled_statistics_lower_the_sum_of_the_errors_of_prefixes():
    rng = np.random.default_rng(5)
    atoms, rows = reference.unit_atoms(rng, 6, 4), rng.standard_normal((200, 4))
    X, many = rng.standard_normal((200, 6)), memberships(np.array([2, 6]), 6)
    shared = np.minimum.outer(many, many)

    def errors(D):
        return sum(((rows - X[:, :end] @ D[:end]) ** 2).sum() for end in (2, 6))

    found = sweep(atoms, X.T @ X * shared, X.T @ rows * many[:, None], 50)
    assert errors(found) < errors(sweep(atoms, X.T @ X, X.T @ rows, 50)) - 1
    for j in range(6):  # each atom is the best unit vector, the others given
        for step in 1e-3 * rng.standard_normal((5, 4)):
            other = found.copy()
            other[j] += step
            other[j] /= np.linalg.norm(other[j])
            assert errors(other) >= errors(found) - 1e-9


def test_twins_leave_the_more_used_one():
    e = np.eye(4)
    atoms = np.stack([e[0], e[0] + 0.5 * e[1], -e[0] + 0.1 * e[2], e[3], e[0] + 1.2 * e[1]])
    atoms /= np.linalg.norm(atoms, axis=1, keepdims=True)
    uses = np.array([5.0, 9.0, 1.0, 0.0, 3.0])
    # 0 is a twin of 1, which is more used; 2 of 0 alone, which is gone; 4 of 1
    assert shaping.twins(atoms, uses, 0.85, True) == [4, 0]
    assert shaping.twins(atoms, uses, 0.85, None) == [2, 4, 0]
    assert shaping.twins(atoms, uses, 0.999, None) == []
    assert shaping.rare(np.array([9.0, 0.1, 8.0, 0.0])) == [3, 1]


def test_new_atoms_are_what_is_left_of_many_rows():
    rng = np.random.default_rng(6)
    truth = reference.unit_atoms(rng, 3, 30)
    left = 3 * np.repeat(truth, 40, axis=0) + 0.1 * rng.standard_normal((120, 30))
    found = shaping.directions(left, 3, np.random.default_rng(0))
    assert_allclose((found @ truth.T).max(axis=0), 1, atol=0.03)
    assert len(shaping.directions(np.zeros((5, 30)), 3, rng)) == 0
    assert shaping.directions(np.empty((0, 30)), 3, rng).shape == (0, 30)


def test_atoms_are_moved_apart_and_orthogonal_ones_are_not():
    atoms = np.array([[1.0, 0, 0], [0.8, 0.6, 0], [0, 0.1, np.sqrt(0.99)]])
    for uses, shares in (
        ([5, 5, 9], [1, 1]),
        ([30, 10, 9], [0.5, 1.5]),
        ([0, 0, 0], [1, 1]),
        ([0, 4, 0], [2, 0]),
    ):
        moved = shaping.apart(atoms, np.array(uses), 0.05)
        assert_array_equal(moved[2], atoms[2])
        expected = atoms[:2] - 0.05 * 0.8 * np.array(shares)[:, None] * atoms[1::-1]
        assert_allclose(moved[:2], expected / np.linalg.norm(expected, axis=1, keepdims=True))
        assert moved[0] @ moved[1] < 0.8


def test_incoherent_fits_have_atoms_further_apart(Y):
    def coherence(result):
        return ((result.dictionary.values @ result.dictionary.values.T) ** 2).sum()

    assert coherence(fit(Y, incoherence=0.1)) < 0.97 * coherence(fit(Y))


def test_the_command_line_takes_numbers_or_a_word():
    assert Groups().convert("16,64", None, None) == [16, 64]
    assert Groups().convert("nested", None, None) == "nested"


def test_placed_atoms_begin_without_statistics():
    rng = np.random.default_rng(7)
    atoms, left = reference.unit_atoms(rng, 6, 5), rng.standard_normal((20, 5))
    X, rows = rng.standard_normal((30, 6)), rng.standard_normal((30, 5))
    nothing = np.empty(0)
    moments = Moments(30, 90, 1.0, 0.5, 1.0, 0.5, np.full(6, 9), None, None, left, nothing, left, nothing, 20)
    state = State(atoms, X.T @ X, X.T @ rows, np.ones(6), "wave", recent=np.arange(6.0))
    new, placed = shaping.placed(state, moments, [1, 4], rng)
    others = [0, 2, 3, 5]
    assert placed == [1, 4] and new.replaced == 2
    assert_array_equal(new.dictionary[others], atoms[others])
    assert not new.XX[placed].any() and not new.XX[:, placed].any() and not new.XY[placed].any()
    without = X.T @ (rows - X[:, placed] @ atoms[placed])
    assert_allclose(new.XY[others], without[others])
    assert_allclose(new.recent[placed], shaping.CREDIT * shaping.RARE * 15 / 6)


# -------------------------------------------------------------------------------- fits


@pytest.mark.parametrize("options", [ALL, {"groups": "nested", "update": "batch"}, {"growth": 3}], ids=str)
def test_bits_do_not_depend_on_threads_nor_on_stops(Y, tmp_path, options):
    options = {"max_passes": 6, "tol": 0, **options}
    whole = fit(Y, n_threads=1, **options)
    assert_same_bits(fit(da.from_array(Y, chunks=(700, 8)), n_threads=3, **options), whole)
    for count in (3, 17) if "twins" in options else (5,):
        seen = []

        def stop(event, seen=seen, count=count):
            seen.append(isinstance(event, WaveFinished))
            if sum(seen) == count:
                raise daskksvd.StopFit

        path = tmp_path / f"{count}.checkpoint"
        fit(Y, checkpoint=path, checkpoint_every=1, callbacks=[stop], **options)
        assert_same_bits(fit(Y, checkpoint=path, **options), whole)
    name, other = ("growth", 4) if "growth" in options else ("groups", [7])
    with pytest.raises(ValueError, match=f"{name} differ"):
        fit(Y, checkpoint=path, **{**options, name: other})


def test_bits_are_those_of_a_cluster(Y):
    array = da.from_array(Y, chunks=(100, 8))
    cluster = LocalCluster(2, threads_per_worker=1, processes=False, dashboard_address=None)
    with cluster, Client(cluster) as client:
        assert_same_bits(fit(array, client=client, **ALL), fit(array, **ALL))


def test_a_dictionary_grows_by_doubling(Y):
    sizes = []
    result = fit(Y, growth=4, max_passes=8, tol=0, callbacks=[lambda event: sizes.append(event)])
    used = [event.used_atoms for event in sizes if isinstance(event, WaveFinished) and event.kind == "wave"]
    assert used[0] <= 4 and max(used) == 20 and result.dictionary.shape == (20, 8)
    settings = result.settings
    assert settings["growth"] == 4 and settings["twins"] is None
    stopped = fit(Y, growth=4, max_passes=8, tol=0, callbacks=[_after_one_wave])
    assert stopped.dictionary.shape == (4, 8)
    assert_allclose(np.linalg.norm(stopped.dictionary, axis=1), 1, rtol=1e-5)


def _after_one_wave(event):
    if isinstance(event, WaveFinished):
        raise daskksvd.StopFit


def test_prefixes_of_nested_fits_are_better_dictionaries(Y):
    rows = daskksvd.datasets.make_planted(2_000, 16, 40, 3, random_state=2).array.compute()
    options = {"n_components": 40, "n_nonzero_coefs": 3, "max_passes": 6, "random_state": 1}
    plain = daskksvd.fit(rows, **options)
    for sums in (0.0, 1.0):
        result = daskksvd.fit(rows, groups=[8], prefix_sums=sums, **options)
        first = result.first(8)
        assert first.dictionary.shape == (8, 16) and first.settings["n_components"] == 8
        assert_array_equal(first.dictionary, result.dictionary[:8])
        assert first.evaluate(rows)["fvu"] < 0.9 * plain.first(8).evaluate(rows)["fvu"]
        assert result.coder.prefixes == ()  # codes of the result choose from all
    with pytest.raises(ValueError, match="n_atoms=41 is more than the 40 atoms there are"):
        plain.first(41)


def test_twins_make_room_for_what_is_left(tmp_path):
    """Half of the atoms are missing at first, and the others are there twice, |cos| .8."""
    rows, _, truth = nonnegative_world(2000, 20, 24, 3, noise=0.1, seed=0)
    rng = np.random.default_rng(1)
    aside = reference.unit_atoms(rng, 10, 24)
    twins = 0.8 * truth[:10] + 0.6 * aside
    init = np.concatenate([truth[:10], twins / np.linalg.norm(twins, axis=1, keepdims=True)])
    options = {"nonnegative": True, "threshold": 0.5, "max_passes": 6, "random_state": 0, "init": init}
    result = daskksvd.fit(rows, n_components=20, twins=0.6, **options)
    assert result.history.replaced_atoms.sum() >= 2
    assert daskksvd.datasets.recovered_atoms(result.dictionary, truth, 0.95) >= 0.9
    result.save(tmp_path / "result.zarr")
    assert daskksvd.load(tmp_path / "result.zarr").settings["twins"] == 0.6


def test_the_estimator_goes_on_in_prefixes(Y):
    model = daskksvd.KSVD(10, n_nonzero_coefs=2, groups=[4], max_passes=2, random_state=0)
    plain = daskksvd.KSVD(10, n_nonzero_coefs=2, max_passes=2, random_state=0)
    for one in (model, plain):
        one.partial_fit(Y[:300]).partial_fit(Y[300:])
    assert not np.array_equal(model.components_, plain.components_)
    model.fit(Y).partial_fit(Y)
    for name, value in (("growth", 4), ("twins", 0.5), ("incoherence", 0.1)):
        with pytest.raises(ValueError, match=f"{name}={value} goes with fit only"):
            daskksvd.KSVD(10, n_nonzero_coefs=2, **{name: value}).partial_fit(Y)


@pytest.mark.parametrize(
    ("options", "error", "message"),
    [
        ({"groups": "some"}, ValueError, "groups='some'; it must be 'nested', or numbers of first atoms"),
        ({"groups": 3}, TypeError, "groups is 3; it must be 'nested'"),
        ({"groups": [8, 4]}, ValueError, r"groups=\[8, 4\]; numbers of first atoms must rise"),
        ({"groups": [4, 21]}, ValueError, "up to n_components=20 at most"),
        ({"groups": [4.5]}, TypeError, "groups is 4.5; it must be a whole number"),
        ({"groups": [4], "pursuit": "mp"}, ValueError, "groups was given with pursuit='mp'"),
        ({"groups": [4], "update": "ksvd"}, ValueError, "groups was given with update='ksvd'"),
        ({"groups": [4], "device": "cpu"}, ValueError, "groups was given with device='cpu'"),
        (
            {"groups": [4], "n_nonzero_coefs": None, "rtol": 0.1},
            ValueError,
            "groups was given with neither n_nonzero_coefs nor a number as threshold",
        ),
        ({"prefix_sums": 0.5}, ValueError, "prefix_sums was given without groups"),
        ({"groups": [4], "prefix_sums": 2}, ValueError, "prefix_sums=2; it must be a share"),
        ({"twins": 1.0}, ValueError, r"twins=1.0; it must be a \|cos\| above 0 and below 1"),
        ({"twins": 0.5, "update": "batch"}, ValueError, "twins was given with update='batch'"),
        ({"growth": 21}, ValueError, "growth=21 is more than n_components=20"),
        ({"growth": 0}, ValueError, "growth=0; it must be at least 1"),
        ({"incoherence": 0.2}, ValueError, "incoherence=0.2; it must be a step from 0 to 0.1"),
    ],
)
def test_what_cannot_be_is_refused(Y, options, error, message):
    with pytest.raises(error, match=message):
        fit(Y, callbacks=[stop_at_once], **options)


@pytest.mark.parametrize("k", [1, 2, 3, 4])
def test_every_group_takes_atoms(k):
    """With fewer nonzeros than prefixes nested ones begin with larger ones; without, most atoms were dead."""
    rows = daskksvd.datasets.make_planted(3_000, 32, 128, 3, noise=0.05, random_state=0).array
    result = daskksvd.fit(
        rows, n_components=128, n_nonzero_coefs=k, groups="nested", max_passes=2, random_state=0
    )
    used = np.unique(result.encode(rows).compute().coords[1])
    assert used.size > 120
    if k == 2:
        with pytest.raises(ValueError, match="3 groups, of which some would take no atom"):
            daskksvd.fit(rows, n_components=128, n_nonzero_coefs=k, groups=[8, 32])


@pytest.mark.parametrize("rare", [False, True])
@pytest.mark.parametrize("ratio", [8, 16])
def test_steps_apart_do_not_go_too_far(ratio, rare):
    """Where atoms are many, each correlates with many: the whole step scattered what was learned."""
    rng = np.random.default_rng(0)
    atoms = reference.unit_atoms(rng, 16 * ratio, 16)
    before = np.abs(atoms @ atoms.T - np.eye(len(atoms)))
    uses = rng.pareto(1, len(atoms)) * rare + (1 - rare)
    for _ in range(30):
        atoms = shaping.apart(atoms, uses, 0.1)
    after = np.abs(atoms @ atoms.T - np.eye(len(atoms)))
    assert (after**2).sum() <= (before**2).sum() and after.max() < 0.999
    inner = np.where(before > 0.15, atoms @ atoms.T, 0)
    inner = (inner + inner.T) / 2
    assert_allclose(shaping.largest_eigenvalue(inner), np.abs(np.linalg.eigvalsh(inner)).max(), rtol=0.2)


def test_growth_takes_no_given_dictionary(Y):
    with pytest.raises(ValueError, match="growth=3 was given with an array as init"):
        daskksvd.fit(Y, n_components=12, n_nonzero_coefs=2, init=Y[:12], growth=3)


def test_prefixes_have_no_rate_of_false_discoveries_of_the_whole(Y):
    result = daskksvd.fit(
        np.abs(Y), n_components=12, n_nonzero_coefs=3, nonnegative=True, threshold="noise", max_passes=2,
        random_state=0,
    )  # fmt: skip
    assert result.false_discovery_rate is not None and result.first(6).false_discovery_rate is None
