"""Statistics of coded rows, and the dictionary updates made from them, against dense algebra."""

from dataclasses import replace as succeed
from unittest import mock

import dask.array as da
import numpy as np
import pytest
import reference
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.testing import assert_allclose, assert_array_equal
from reference import products_of

from daskksvd.fitting import replacement
from daskksvd.fitting.replacement import (
    IDLE,
    REDUNDANT,
    find_mixtures,
    find_redundant,
    most_replaced,
    replace,
)
from daskksvd.fitting.state import State
from daskksvd.fitting.statistics import COUPLED, MOMENTS, SEPARATE, Moments, Wanted, add_all
from daskksvd.fitting.updates.descent import error_at_fixed_codes, sweep
from daskksvd.fitting.updates.online import DEAD_USES, ONLINE_SWEEPS, WINDOW, update_after_wave
from daskksvd.rows import Transform

N, D, M, K = 240, 10, 25, 3
AS_THEY_ARE = Transform()


@pytest.fixture(scope="module")
def problem():
    rng = np.random.default_rng(0)
    spread = np.linspace(0.2, 4, D)
    return rng.standard_normal((N, D)) * spread + 2, reference.unit_atoms(rng, M, D)


def moments_of(Y, atoms, transform, chunks, wanted, most=None, rtol=0.0):
    """What the blueprint makes of all rows, added up in two levels."""
    products = products_of(atoms, K, rtol, transform=transform)
    executor, reader, jobs = reference.prepared(da.from_array(Y, chunks=(chunks, Y.shape[1])), most=most)
    parts = [MOMENTS.chunk(job, reader.inputs(job), products, wanted) for job in jobs]
    executor.close()
    return MOMENTS.combine([MOMENTS.combine(parts[i : i + 3]) for i in range(0, len(parts), 3)])


def transforms(Y):
    mean = Y.mean(axis=0)
    values, basis = np.linalg.eigh(np.cov(Y.T, bias=True))
    return {
        "none": AS_THEY_ARE,
        "center": Transform(mean, None, None),
        "scale": Transform(None, None, Y.std(axis=0)),
        "center and scale": Transform(mean, None, Y.std(axis=0)),
        "whiten": Transform(mean, basis, values**0.25),
    }


# --------------------------------------------------------------------- sums


@pytest.mark.parametrize("kind", ["none", "center", "scale", "center and scale", "whiten"])
@pytest.mark.parametrize("rtol", [0.0, 0.5])
def test_moments_are_those_of_dense_algebra(problem, kind, rtol):
    Y, atoms = problem
    transform = transforms(Y)[kind]
    found = moments_of(Y, atoms, transform, 50, Wanted(COUPLED, 6), rtol=rtol)

    mean = 0 if transform.mean is None else transform.mean
    basis = np.eye(D) if transform.basis is None else transform.basis
    scale = np.ones(D) if transform.scale is None else transform.scale
    rows = (Y - mean) @ basis / scale
    X = reference.code_all(rows, atoms, K, rtol)
    R = rows - X @ atoms
    original = Y - mean - X @ (atoms * scale @ basis.T)
    assert found.count == N
    assert found.nonzeros == (X != 0).sum()
    assert_array_equal(found.uses, (X != 0).sum(axis=0))
    assert_allclose(found.XX, X.T @ X, atol=1e-9)
    assert_allclose(found.XY, X.T @ rows, atol=1e-9)
    separate = moments_of(Y, atoms, transform, 50, Wanted(SEPARATE, 6), rtol=rtol)
    assert_allclose(separate.XX, (X**2).sum(axis=0), atol=1e-9)
    for atom in range(len(atoms)):  # what all other atoms leave of the rows
        E = R + np.outer(X[:, atom], atoms[atom])
        assert_allclose(separate.XY[atom], X[:, atom] @ E, atol=1e-9)
    for name, value in separate._asdict().items():
        if name not in ("XX", "XY"):
            assert_allclose(value, getattr(found, name), atol=1e-12, err_msg=name)
    assert_allclose(found.energy, (rows**2).sum())
    assert_allclose(found.residual, (R**2).sum())
    assert_allclose(found.energy_original, ((Y - mean) ** 2).sum())
    assert_allclose(found.residual_original, (original**2).sum())

    left = (R**2).sum(axis=1)
    worst = np.argsort(-left)[:6]
    assert_allclose(found.worst, rows[worst])
    assert_allclose(found.worst_residual, left[worst])


def test_single_precision_sums_are_close_and_stay_so(problem):
    Y, atoms = problem
    exact = moments_of(Y, atoms, AS_THEY_ARE, 50, Wanted(COUPLED, 3))
    found = moments_of(Y.astype("f4"), atoms.astype("f4"), AS_THEY_ARE, 50, Wanted(COUPLED, 3))
    assert found.XX.dtype == found.XY.dtype == np.float32
    assert found.worst.dtype == np.float32
    assert_array_equal(found.uses, exact.uses)
    assert_allclose(found.XX, exact.XX, atol=1e-4 * np.abs(exact.XX).max())
    assert_allclose(found.XY, exact.XY, atol=1e-4 * np.abs(exact.XY).max())
    assert_allclose(found.residual, exact.residual, rtol=1e-4)


@settings(max_examples=30)
@given(
    st.lists(st.integers(1, 90), min_size=1, max_size=40),
    st.integers(1, 100),
    st.sampled_from(["none", "whiten"]),
)
def test_moments_do_not_depend_on_how_rows_are_cut(sizes, most, kind):
    rng = np.random.default_rng(sum(sizes))
    Y = rng.standard_normal((sum(sizes), 6))
    atoms = reference.unit_atoms(rng, 9, 6)
    transform = transforms(Y)[kind] if len(Y) > 20 else AS_THEY_ARE
    wanted = Wanted(COUPLED, 5)
    once = moments_of(Y, atoms, transform, len(Y), wanted)
    cut = moments_of(Y, atoms, transform, tuple(sizes), wanted, most=most)
    for name, expected in once._asdict().items():
        assert_allclose(getattr(cut, name), expected, rtol=1e-9, atol=1e-9, err_msg=name)
    assert cut.n_worst == 5 and len(cut.worst) == min(5, len(Y))


def test_without_statistics_the_rest_is_the_same(problem):
    Y, atoms = problem
    full = moments_of(Y, atoms, AS_THEY_ARE, 50, Wanted(COUPLED, 4))
    bare = moments_of(Y, atoms, AS_THEY_ARE, 50, Wanted(None, 0))
    assert bare.XX is None and bare.XY is None and bare.worst.shape == (0, D)
    for name in ("count", "nonzeros", "energy", "residual"):
        assert getattr(bare, name) == getattr(full, name)
    assert_array_equal(bare.uses, full.uses)
    dropped = full.without_statistics()
    assert dropped.XX is None and len(dropped.worst) == 0 and dropped.residual == full.residual


def test_added_parts_keep_the_worst_rows_of_all(problem):
    Y, atoms = problem
    parts = [moments_of(part, atoms, AS_THEY_ARE, 60, Wanted(None, 7)) for part in np.split(Y, 4)]
    whole = moments_of(Y, atoms, AS_THEY_ARE, 60, Wanted(None, 7))
    together = add_all(parts)
    assert_allclose(together.worst, whole.worst)
    assert_allclose(together.worst_residual, whole.worst_residual)
    assert (np.diff(together.worst_residual) <= 0).all()
    assert add_all([together]).worst_residual.tolist() == together.worst_residual.tolist()


# -------------------------------------------------------------------- sweeps


def coded(seed, n=300, d=8, m=40, k=3, dtype="float64"):
    """Rows, atoms, codes and their statistics; the last two atoms have no use."""
    rng = np.random.default_rng(seed)
    atoms = reference.unit_atoms(rng, m, d, common=0.3)
    Y = rng.standard_normal((n, d))
    X = reference.code_all(Y, atoms, k)
    X[:, -2:] = 0
    return Y, atoms.astype(dtype), X, X.T @ X, X.T @ Y


@given(st.integers(0, 10**6), st.sampled_from([1, 5, 40, 70]), st.integers(1, 3))
def test_a_sweep_is_the_plain_loop(seed, m, n_sweeps):
    _, atoms, _, XX, XY = coded(seed, n=60, m=m, k=min(3, m))
    expected = reference.sweep(atoms, XX, XY, n_sweeps)
    assert_allclose(sweep(atoms, XX, XY, n_sweeps), expected, atol=1e-8)


def test_a_sweep_in_single_precision_is_close():
    _, atoms, _, XX, XY = coded(1)
    found = sweep(atoms.astype("f4"), XX, XY, 2)
    assert found.dtype == np.float32
    assert_allclose(found, reference.sweep(atoms, XX, XY, 2), atol=1e-4)


@pytest.mark.parametrize("seed", range(3))
def test_separate_updates_are_one_power_step_of_each_atom(seed):
    Y, atoms, X, _, _ = coded(seed)
    X[:, 3] = 0  # an atom that nobody uses stays
    power = (X**2).sum(axis=0)
    direction = np.stack(
        [x @ (Y - X @ atoms + np.outer(x, atom)) for x, atom in zip(X.T, atoms, strict=True)]
    )
    found = sweep(atoms, power, direction, 1)
    for j, atom in enumerate(atoms):
        step = (Y - X @ atoms + np.outer(X[:, j], atom)).T @ X[:, j]
        expected = step / np.linalg.norm(step) if X[:, j].any() else atom
        assert_allclose(found[j], expected, atol=1e-12)
    # with one atom in use the power step is all there is to do
    alone = np.zeros_like(X)
    alone[:, 5] = X[:, 5]
    coupled = sweep(atoms, alone.T @ alone, alone.T @ Y, 1)
    assert_allclose(sweep(atoms, (alone**2).sum(axis=0), alone.T @ Y, 1), coupled, atol=1e-10)


def test_sweeps_lower_the_error_at_fixed_codes():
    Y, atoms, X, XX, XY = coded(2)
    energy = (Y**2).sum()
    errors = []
    for n_sweeps in range(6):
        D = sweep(atoms, XX, XY, n_sweeps)
        errors.append(error_at_fixed_codes(D, XX, XY, energy))
        assert_allclose(errors[-1], ((Y - X @ D) ** 2).sum())
        assert_allclose(np.linalg.norm(D, axis=1), 1)
    assert (np.diff(errors) <= 0).all()
    assert errors[-1] < 0.9 * errors[0]


def test_a_sweep_leaves_unused_atoms_and_its_input_alone():
    _, atoms, _, XX, XY = coded(3)
    before = atoms.copy()
    after = sweep(atoms, XX, XY, 2)
    assert_array_equal(atoms, before)
    assert_array_equal(after[-2:], atoms[-2:])
    assert (after[:-2] != atoms[:-2]).any(axis=1).all()
    assert_array_equal(sweep(atoms, 0 * XX, 0 * XY, 2), atoms)


# ---------------------------------------------------------- redundant atoms


def remainders(atoms):
    """What one and two others leave of every atom, by least squares, and which they are."""
    remainder, support = np.ones((len(atoms), 2)), np.full((len(atoms), 2), -1)
    for atom, y in enumerate(atoms):
        residual = y
        for step in range(2):
            correlation = np.abs(atoms @ residual)
            for other in range(len(atoms)):
                chosen = atoms[support[atom, :step]]
                free = atoms[other]
                if step:
                    free = free - chosen[0] * (chosen[0] @ free)
                if other == atom or other in support[atom, :step] or free @ free <= 1e-4:
                    correlation[other] = -1
            if correlation.max() <= 0:
                remainder[atom, step:] = residual @ residual
                break
            support[atom, step] = np.argmax(correlation)
            chosen = atoms[support[atom, : step + 1]]
            residual = y - np.linalg.lstsq(chosen.T, y, rcond=None)[0] @ chosen
            remainder[atom, step] = residual @ residual
    return remainder, support


@settings(max_examples=60)
@given(st.integers(0, 10**6), st.integers(1, 30), st.sampled_from([0.0, 1.0]), st.booleans(), st.booleans())
def test_atoms_are_coded_by_the_two_others_that_omp_takes(seed, m, common, copies, in_blocks):
    rng = np.random.default_rng(seed)
    atoms = reference.unit_atoms(rng, m, 6, common)
    if copies:  # near ones, and so near that they must not be taken together
        few = -(-m // 3)
        atoms = atoms[rng.integers(few, size=m)] + rng.choice([0.1, 1e-3], (m, 1)) * rng.random((m, 6))
        atoms /= np.linalg.norm(atoms, axis=1, keepdims=True)
    with mock.patch.object(replacement, "_BLOCK", 7 if in_blocks else 2048):
        remainder, support = replacement.pursue_atoms(atoms)
    expected_remainder, expected_support = remainders(atoms)
    assert_array_equal(support, expected_support)
    assert_allclose(remainder, expected_remainder, atol=1e-10)


def redundant(atoms, power, count_idle):
    """`find_redundant` by sets and loops."""
    remainder, support = remainders(atoms)
    use = power * remainder[:, 1]
    needed, found = set(), []
    for atom in sorted(range(len(atoms)), key=lambda atom: use[atom]):
        if atom in needed:
            continue
        helpers = set(support[atom, :1] if remainder[atom, 0] <= REDUNDANT else support[atom])
        if not (count_idle and use[atom] < IDLE * np.median(use)):
            if remainder[atom, 1] > REDUNDANT or helpers & set(found):
                continue
            needed |= helpers
        found.append(atom)
    return found


@settings(max_examples=60)
@given(st.integers(0, 10**6), st.integers(3, 25), st.booleans())
def test_redundant_atoms_are_those_of_the_plain_loop(seed, m, count_idle):
    rng = np.random.default_rng(seed)
    atoms = reference.unit_atoms(rng, m, 7)
    for _ in range(m // 3):  # make copies and mixtures
        i, j, k = rng.choice(m, 3, replace=False)
        atoms[i] = atoms[j] + rng.choice([0, 1]) * atoms[k] + 0.02 * rng.standard_normal(7)
        atoms[i] /= np.linalg.norm(atoms[i])
    power = rng.exponential(size=m) * rng.choice([1, 1e-3], m, p=[0.8, 0.2])
    assert find_redundant(atoms, power, count_idle) == redundant(atoms, power, count_idle)


def test_a_copy_and_a_mixture_are_redundant_and_what_they_copy_is_not():
    atoms = np.eye(8)
    atoms[5] = [0.99, 0, 0, 0, 0, np.sqrt(1 - 0.99**2), 0, 0]  # a copy of atom 0
    atoms[6] = [0, 0.7, 0.7, 0, 0, 0, np.sqrt(0.02), 0]  # a mixture of atoms 1 and 2
    power = np.array([9, 9, 9, 9, 9, 5, 1, 9.0])
    assert find_redundant(atoms, power, False) == [6, 5]
    power[5] = 1000  # of two copies the one of less use goes
    assert find_redundant(atoms, power, False) == [6, 0]
    assert find_redundant(np.eye(8), power, False) == []


def test_idle_atoms_count_only_when_asked_to():
    power = np.array([1.0, 1, 1, 0.01, 1, 0])
    assert find_redundant(np.eye(6), power, True) == [5, 3]
    assert find_redundant(np.eye(6), power, False) == []


# -------------------------------------------------------------- replacement


def with_worst(worst, left=None, used=None):
    """Moments that carry nothing but worst rows, by default of no mixture."""
    worst = np.asarray(worst, float)
    left = worst if left is None else left
    used = np.full((len(worst), 1), -1) if used is None else used
    nothing = (len(worst), 0, 0.0, 0.0, 0.0, 0.0, np.zeros(0, int), None, None)
    return Moments(*nothing, worst, np.linalg.norm(left, axis=1) ** 2, left, used, len(worst))


@given(st.integers(0, 10**6), st.sets(st.integers(0, 19), min_size=1, max_size=6))
def test_replaced_atoms_leave_statistics_as_if_they_had_never_been_used(seed, atoms):
    atoms = sorted(atoms)
    Y, D, X, XX, XY = coded(seed, n=50, d=5, m=20)
    candidates = np.random.default_rng(seed).standard_normal((8, 5))
    found, XX_found, XY_found, replaced = replace(D, XX, XY, atoms, with_worst(candidates))
    assert replaced == atoms
    taken = np.zeros_like(X)
    taken[:, atoms] = X[:, atoms]
    left = Y - taken @ D
    X = X - taken
    assert_allclose(XX_found, X.T @ X, atol=1e-9)
    assert_allclose(XY_found, X.T @ left, atol=1e-9)
    expected = D.copy()
    expected[atoms] = candidates[: len(atoms)] / np.linalg.norm(candidates[: len(atoms)], axis=1)[:, None]
    assert_allclose(found, expected)


def test_replacement_passes_over_zero_rows_and_takes_no_more_than_there_are():
    _, D, _, XX, XY = coded(0)
    before = D.copy(), XX.copy(), XY.copy()
    candidates = np.zeros((4, 8))
    candidates[1, 0], candidates[3, 1] = 2, -3
    found, *_, replaced = replace(D, XX, XY, [4, 7, 9], with_worst(candidates))
    assert replaced == [4, 7]
    assert_array_equal(found[[4, 7]], [np.eye(8)[0], -np.eye(8)[1]])
    assert_array_equal(found[9], D[9])
    nothing = replace(D, XX, XY, [4], with_worst(np.zeros((3, 8))))
    assert nothing[0] is D and nothing[3] == []
    without = replace(D, None, None, [4], with_worst(candidates))
    assert without[1] is None and without[3] == [4]
    for array, copy in zip((D, XX, XY), before, strict=True):
        assert_array_equal(array, copy)


def mixed_rows(n=40, noise=0.02):
    """Rows of two true atoms, coded by their sum: what is left points along their difference."""
    rng = np.random.default_rng(5)
    truth = np.linalg.qr(rng.standard_normal((8, 8)))[0]
    dictionary = np.vstack([truth[0] + truth[1], truth[2:6], rng.standard_normal((1, 8))])
    dictionary /= np.linalg.norm(dictionary, axis=1, keepdims=True)
    rows = rng.choice([-1, 1], (n, 1)) * truth[rng.integers(0, 2, n)] + rng.choice([-1, 1], (n, 1)) * truth[2]
    rows = rows + noise * rng.standard_normal(rows.shape)
    used = np.tile([0, 1, -1], (n, 1))
    left = (
        rows - rows @ dictionary[0][:, None] * dictionary[0] - rows @ dictionary[1][:, None] * dictionary[1]
    )
    return truth, dictionary, rows, left, used


def test_a_mixture_is_split_into_the_atoms_it_stands_for():
    truth, dictionary, rows, left, used = mixed_rows()
    found, _, _, replaced = replace(dictionary, None, None, [5], with_worst(rows, left, used))
    assert sorted(replaced) == [0, 5]
    cosines = np.abs(truth[:2] @ found[[0, 5]].T)
    assert cosines.max(axis=1).min() > 0.99 and cosines.min(axis=1).max() < 0.1
    assert_array_equal(found[1:5], dictionary[1:5])
    # with no atom to spare nothing is split, and noise is no mixture
    assert replace(dictionary, None, None, [], with_worst(rows, left, used))[3] == []
    noise = np.random.default_rng(1).standard_normal(left.shape)
    assert find_mixtures(dictionary, noise, used) == []
    assert find_mixtures(dictionary, left[:3], used[:3]) == []


def test_at_most_a_tenth_of_the_atoms_but_one_at_least_is_replaced():
    assert [most_replaced(m) for m in (1, 9, 10, 25, 1000)] == [1, 1, 1, 2, 100]


# --------------------------------------------------------------------- waves


def test_waves_fade_the_statistics_of_those_before(problem):
    Y, atoms = problem
    n_waves = 8
    state = State.start(atoms, "wave", True)
    XX, XY, dictionary = np.zeros((M, M)), np.zeros((M, D)), atoms
    for t, part in enumerate(np.split(Y, 6), start=1):
        moments = moments_of(part, state.dictionary, AS_THEY_ARE, 40, Wanted(COUPLED, 3))
        state, replaced = update_after_wave(state, moments, n_waves, may_replace=False)
        fade = min((1 - 1 / t) ** 2, 1 - 1 / (WINDOW * n_waves))
        X = reference.code_all(part, dictionary, K)
        XX, XY = fade * XX + X.T @ X, fade * XY + X.T @ part
        dictionary = reference.sweep(dictionary, XX, XY, ONLINE_SWEEPS)
        assert_allclose(state.XX, XX, atol=1e-7)
        assert_allclose(state.dictionary, dictionary, atol=1e-7)
        assert replaced == [] and state.n_updates == t


def test_an_atom_that_is_never_used_is_replaced_by_the_worst_row(problem):
    Y, atoms = problem
    state = State.start(atoms, "wave", True)
    moments = moments_of(Y, atoms, AS_THEY_ARE, 40, Wanted(COUPLED, 3))
    uses = moments.uses.copy()
    uses[4] = 0
    moments = moments._replace(uses=uses)
    expected = moments.nonzeros / M
    early = succeed(state, idle=np.full(M, DEAD_USES - 1.01 * expected))
    late = succeed(state, idle=np.full(M, DEAD_USES - 0.99 * expected))
    assert update_after_wave(early, moments, 64, True)[1] == []
    after, replaced = update_after_wave(late, moments, 64, True)
    assert replaced == [4] and after.replaced == 1
    assert after.idle.tolist() == [0] * M
    assert_allclose(after.dictionary[4], moments.worst[0] / np.linalg.norm(moments.worst[0]))
    assert update_after_wave(late, moments, 64, False)[1] == []
