"""Atoms of two fits matched, and their names compared."""

import itertools

import numpy as np
import pytest
import xarray as xr
from numpy.testing import assert_allclose, assert_array_equal

import daskksvd
from daskksvd.evaluation import matching
from daskksvd.evaluation.matching import match_atoms
from daskksvd.evaluation.stability import compare_fits, recurrence


def units(m, d, seed=0):
    atoms = np.random.default_rng(seed).standard_normal((m, d))
    return atoms / np.linalg.norm(atoms, axis=1, keepdims=True)


@pytest.mark.parametrize("sizes", [(6, 6), (4, 6), (6, 4)])
def test_the_matching_is_the_best_of_all(sizes):
    first, second = units(sizes[0], 3), units(sizes[1], 3, 1)
    cosines = np.abs(first @ second.T)
    if sizes[0] <= sizes[1]:
        best = max(
            cosines[np.arange(sizes[0]), order].sum()
            for order in map(list, itertools.permutations(range(sizes[1]), sizes[0]))
        )
    else:
        best = max(
            cosines[order, np.arange(sizes[1])].sum()
            for order in map(list, itertools.permutations(range(sizes[0]), sizes[1]))
        )
    match = match_atoms(first, second)
    assert len(match.first) == min(sizes) == len(set(match.second))
    assert np.abs(match.cosines).sum() == pytest.approx(best)
    assert_allclose(match.cosines, (first[match.first] * second[match.second]).sum(axis=1))


def test_permuted_and_flipped_atoms_are_found_again():
    atoms = units(50, 20)
    order, signs = np.random.default_rng(1).permutation(50), np.where(np.arange(50) % 3, 1.0, -1.0)
    match = match_atoms(atoms, atoms[order] * signs[:, None] * 7)  # of any norm
    assert_array_equal(order[match.second], np.arange(50))
    assert_allclose(match.cosines, signs[match.second])


@pytest.mark.parametrize("sizes", [(120, 120), (90, 120), (120, 90)])
def test_many_atoms_are_matched_as_well_by_their_nearest(monkeypatch, sizes):
    """Of dictionaries that share atoms, the nearest are enough; what is left gets a partner too."""
    rng = np.random.default_rng(0)
    first = units(sizes[0], 12)
    second = np.concatenate([first[: min(sizes) - 20] + 0.2 * rng.standard_normal((min(sizes) - 20, 12))])
    second = np.concatenate([second, units(sizes[1] - len(second), 12, 3)])[rng.permutation(sizes[1])]
    exact = match_atoms(first, second)
    monkeypatch.setattr(matching, "MATCHED_ATOMS", 60)
    monkeypatch.setattr(matching, "MATCH_CANDIDATES", 10)
    near = match_atoms(first, second)
    assert len(near.first) == min(sizes) == len(set(near.second.tolist())) == len(set(near.first.tolist()))
    assert_array_equal(near.first, np.sort(near.first))
    assert np.abs(near.cosines).sum() >= 0.98 * np.abs(exact.cosines).sum()
    sure = np.abs(exact.cosines) > 0.9
    if sizes[0] <= sizes[1]:
        assert (near.second[sure] == exact.second[sure]).mean() >= 0.95


def test_names_are_compared_over_matched_atoms():
    atoms = units(5, 8)
    order = np.array([2, 0, 1, 4, 3])
    noisy = atoms[order].copy()
    noisy[4] = units(1, 8, 9)  # atom 3 is not found again
    first = ["dog", "snow", "water", "ball", ""]
    second = {0: ["water", "lake"], 1: "dog", 2: ["ice", "snow"], 3: "grass", 4: "tree"}
    agreement = compare_fits(atoms, noisy, first_names=[[w] if w else [] for w in first], second_names=second)
    by_atom = dict(zip(agreement["first"].values.tolist(), agreement.same_word.values.tolist(), strict=True))
    assert by_atom == {0: True, 1: False, 2: True, 3: False, 4: False}
    a = agreement.attrs
    assert a["n_pairs"] == 5 and a["n_named"] == 4  # one has no name
    assert a["share_same_word"] == 0.5 and a["share_same_word_of_same_atoms"] == pytest.approx(2 / 3)
    assert a["median_cosine"] == pytest.approx(1) and a["share_same_atom"] == 0.8
    assert a["mean_common_words"] == pytest.approx((1 + 0.5 + 0.5 + 0) / 4)
    plain = compare_fits(atoms, noisy)
    assert "same_word" not in plain and plain.attrs["median_cosine"] == a["median_cosine"]


def test_results_and_labels_are_understood():
    planted = daskksvd.datasets.make_planted(2_000, 16, 20, 3, random_state=0)
    fits = [
        daskksvd.fit(planted.array, n_components=20, n_nonzero_coefs=3, random_state=seed, n_threads=1)
        for seed in (1, 2)
    ]
    agreement = compare_fits(*fits)
    assert agreement.attrs["share_same_atom"] > 0.9  # both found the truth
    words = np.array([[f"w{atom}", ""] for atom in range(20)], object)
    labels = xr.Dataset({"top_word": (("atom", "rank"), words)})
    itself = compare_fits(fits[0], fits[0], first_names=labels, second_names=[f"w{j}" for j in range(20)])
    assert itself.attrs["share_same_word"] == 1


@pytest.mark.parametrize(
    "arguments, message",
    [
        ((np.ones((3, 2)), np.ones((3, 4))), "first has 2 features, second has 4"),
        ((np.ones(3), np.ones((3, 4))), r"first has shape \(3,\)"),
        ((np.full((3, 4), np.nan), np.ones((3, 4))), "first has NaN"),
    ],
)
def test_bad_dictionaries_are_named(arguments, message):
    with pytest.raises(ValueError, match=message):
        match_atoms(*arguments)


def test_bad_names_are_named():
    atoms = units(3, 4)
    with pytest.raises(ValueError, match="one is missing"):
        compare_fits(atoms, atoms, first_names=["a", "b", "c"])
    with pytest.raises(ValueError, match="second_names has names for 2 atoms"):
        compare_fits(atoms, atoms, first_names=["a", "b", "c"], second_names=["a", "b"])


def test_recurrence_is_that_of_the_best_of_all_matchings():
    first, others = units(5, 3), [units(5, 3, 1), units(6, 3, 2), units(4, 3, 3)]
    found = recurrence(first, others, least=0.7)
    likeness = np.zeros((3, 5))
    for fit, other in enumerate(others):
        cosines = np.abs(first @ other.T)
        if len(other) >= 5:
            orders = itertools.permutations(range(len(other)), 5)
            best = max(orders, key=lambda order: cosines[np.arange(5), order].sum())
            atoms, partners = np.arange(5), np.array(best)
        else:
            orders = itertools.permutations(range(5), len(other))
            best = max(orders, key=lambda order: cosines[order, np.arange(len(other))].sum())
            atoms, partners = np.array(best), np.arange(len(other))
        likeness[fit, atoms] = cosines[atoms, partners]
        assert_array_equal(found.partner[fit, atoms], partners)
        assert_allclose(found.cosine[fit, atoms], (first[atoms] * other[partners]).sum(axis=1))
    assert (found.partner[2] == -1).sum() == 1 == np.isnan(found.cosine[2]).sum()
    assert_allclose(found.likeness, likeness.mean(axis=0))
    assert_allclose(found.share, (likeness >= 0.7).mean(axis=0))
    assert found.attrs == {"mean_likeness": pytest.approx(likeness.mean()), "n_fits": 3, "least": 0.7}


def test_what_recurs_in_some_fits_recurs_in_another(tmp_path):
    """Half of the atoms are shared by all dictionaries; and what was found can be stored."""
    shared = units(20, 30)
    fits = [np.concatenate([shared, units(20, 30, seed)]) for seed in range(1, 6)]
    found = recurrence(fits[0], fits[1:4])
    assert_array_equal(found.share, np.repeat([1.0, 0.0], 20))
    assert_array_equal(np.sort(np.argsort(-found.likeness.values)[:20]), np.arange(20))
    new = recurrence(fits[0], fits[4:]).likeness
    assert np.corrcoef(found.likeness, new)[0, 1] > 0.9
    found.to_zarr(tmp_path / "recurrence.zarr", consolidated=False)
    xr.testing.assert_identical(
        xr.open_zarr(tmp_path / "recurrence.zarr", consolidated=False).compute(), found
    )
    with pytest.raises(ValueError, match="others is empty"):
        recurrence(fits[0], [])
    with pytest.raises(ValueError, match="least=2; it must be a likeness from 0 to 1"):
        recurrence(fits[0], fits[1:], least=2)
    with pytest.raises(ValueError, match="first has 30 features, second has 3"):
        recurrence(fits[0], [units(4, 3)])
