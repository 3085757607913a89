"""Atoms that images and texts share: counts by hand, planted pairs found, nothing of shuffled texts."""

import dask.array as da
import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal
from scipy.stats import hypergeom
from test_joint import SETTINGS, planted

import daskksvd
from daskksvd.execution import make_executor
from daskksvd.joint import align, fit_joint
from daskksvd.joint.aligning import RIDGE
from daskksvd.joint.pairs import as_pairs
from daskksvd.joint.use import LEAST_USES, count_uses

N, M, D, E, K = 1600, 24, 20, 16, 2
CHUNKS = [(0, 500), (500, 500), (1000, 500), (1500, 100)]
OPTIONS = {**SETTINGS, "n_components": M, "max_passes": 8}


@pytest.fixture(scope="module")
def data():
    images, texts = planted(N, seed=1, d=D, e=E, m=M, k=K)
    return da.from_array(images, chunks=(500, -1)), da.from_array(texts, chunks=(500, -1))


@pytest.fixture(scope="module")
def joint(data):
    return fit_joint(*data, text_weight=0.4, **OPTIONS)


@pytest.fixture(scope="module")
def two(data):
    return tuple(daskksvd.fit(rows, center=True, **OPTIONS) for rows in data)


@pytest.fixture(scope="module")
def shuffled(data):
    return data[1].compute()[np.random.default_rng(0).permutation(N)]


def sides(codes):
    """Which sides each row uses, dense booleans (n, 2 m)."""
    codes = codes.compute().todense()
    return np.hstack([codes > 0, codes < 0])


def test_counts_are_those_by_hand(data, two):
    images, texts = (sides(result.encode(rows)) for result, rows in zip(two, data, strict=True))
    pairs = as_pairs(*data)
    found = count_uses(pairs, *(result.coder for result in two), make_executor(None, 2), shuffles=[0, 1])
    assert found.count == N
    assert_array_equal(found.images, images.sum(axis=0))
    assert_array_equal(found.texts, texts.sum(axis=0))
    assert_array_equal(found.together, images.astype(int).T @ texts)
    assert found.common == (images & texts).any(axis=1).sum()
    assert_array_equal(found.shuffled[0].sum(axis=1), found.together.sum(axis=1))
    assert (found.shuffled[0] != found.shuffled[1]).any() and (found.shuffled[0] != found.together).any()
    energy = np.square(two[0].encode(data[0]).compute().todense()).sum(axis=0)
    assert_allclose(found.image_energy, energy, rtol=1e-5)
    a, b = 3, 7
    assert found.images[a] >= LEAST_USES <= found.texts[b]
    assert_allclose(found.phi[a, b], np.corrcoef(images[:, a], texts[:, b])[0, 1])


def test_atoms_of_one_dictionary(data, joint, shuffled):
    found = daskksvd.shared_atoms(joint, *data)
    images, texts = sides(joint.encode(data[0])), sides(joint.encode(texts=data[1]))
    assert_allclose(found.image_use, images.sum(axis=0).reshape(2, M).sum(axis=0) / N)
    assert_allclose(found.together, (images & texts).sum(axis=0).reshape(2, M).sum(axis=0) / N)
    assert found.attrs["pairs_with_common_atom"] == (images & texts).any(axis=1).mean()
    atom = 5
    p_values = [
        hypergeom.sf((images & texts)[:, side].sum() - 1, N, images[:, side].sum(), texts[:, side].sum())
        for side in (atom, atom + M)
    ]
    assert float(found.q_value[atom]) >= min(1, 2 * min(p_values))
    assert found.attrs["share_shared"] > 0.9
    assert found.attrs["pairs_with_common_atom"] > 0.9 > found.attrs["chance_with_common_atom"] + 0.5
    assert_allclose(found.image_norm**2 + found.text_norm**2, 1, atol=1e-5)
    for name in ("image_energy", "text_energy"):
        assert_allclose(found[name].sum(), 1)
    nothing = daskksvd.shared_atoms(joint, data[0], shuffled)
    assert nothing.attrs["share_shared"] < 0.1
    assert_allclose(
        nothing.attrs["pairs_with_common_atom"], nothing.attrs["chance_with_common_atom"], atol=0.05
    )


@pytest.mark.parametrize("match_by", ["use", "cca", "procrustes"])
def test_atoms_of_two_dictionaries(data, two, shuffled, match_by):
    """Partners are those that stand for the same planted atom, of the right signs."""
    planted_atoms = np.random.default_rng(99).standard_normal((M, D + E))
    image_atoms = planted_atoms[:, :D] * np.linspace(1, 3, D)
    truth = []
    for result, atoms in zip(two, (image_atoms, planted_atoms[:, D:]), strict=True):
        unit = atoms / np.linalg.norm(atoms, axis=1, keepdims=True)
        cosines = result.dictionary.values @ unit.T
        best = np.abs(cosines).argmax(axis=1)
        truth.append((best, np.sign(cosines[np.arange(M), best]), np.abs(cosines).max(axis=1) > 0.9))
    found = daskksvd.shared_atoms(two, *data, match_by=match_by)
    first, second = found["first"].values, found["second"].values
    known = truth[0][2][first] & truth[1][2][second]
    right = truth[0][0][first] == truth[1][0][second]
    assert known.mean() > 0.7
    assert right[known].mean() > {"use": 0.9, "cca": 0.6, "procrustes": 0.4}[match_by]
    signs = found.first_sign.values * truth[0][1][first] == found.second_sign.values * truth[1][1][second]
    assert signs[known & right].all()
    assert found.holds.values[known & right].all()
    if match_by == "use":
        assert found.significant.values[known & right].all() and found.attrs["threshold"] < 0.5
        nothing = daskksvd.shared_atoms(two, data[0], shuffled)
        assert nothing.attrs["share_significant"] <= 2 / M and nothing.holds.values.mean() < 0.1


def by_hand(data, method):
    """Centred learning rows, and the maps that `align` should find but for scale, from them."""
    images, texts = (rows.compute() for rows in data)
    learn = np.concatenate([np.arange(low, low + size) < low + 0.75 * size for low, size in CHUNKS])
    y, t = (rows[learn] - rows[learn].mean(axis=0) for rows in (images, texts))
    n = len(y)
    if method == "ridge":
        return y, t, np.eye(D), np.linalg.lstsq(t, y, rcond=None)[0]
    cross, own = y.T @ t / n, (y.T @ y / n, t.T @ t / n)
    maps = []
    for covariance in own:
        values, vectors = np.linalg.eigh(covariance)
        whitened = vectors / np.sqrt(values + RIDGE * values.mean())
        maps.append(whitened if method == "cca" else vectors[:, ::-1][:, :5])
    left, _, right = np.linalg.svd(maps[0].T @ cross @ maps[1])
    return y, t, maps[0] @ left[:, :5], maps[1] @ right.T[:, :5]


@pytest.mark.parametrize("method", ["ridge", "cca", "procrustes"])
def test_alignments_are_those_by_hand(data, method):
    found = align(*data, method=method, n_dims=5)
    y, t, image_map, text_map = by_hand(data, method)
    for rows, own, expected, mean in (
        (y, found.image_map, image_map, found.image_mean),
        (t, found.text_map, text_map, found.text_mean),
    ):
        scores, wanted = rows @ own, rows @ expected
        assert_allclose((scores**2).sum() / len(rows), 1, rtol=1e-5)
        norms = np.linalg.norm(scores, axis=0) * np.linalg.norm(wanted, axis=0)
        cosines = (scores * wanted).sum(axis=0) / norms
        assert_allclose(np.abs(cosines), 1, atol=0.02 if method == "ridge" else 1e-3)  # ridge has a penalty
        given = data[0] if own is found.image_map else data[1]
        mapped = found.images(given) if own is found.image_map else found.texts(given)
        assert_allclose(mapped[:50].compute(), (given[:50].compute() - mean) @ own, atol=1e-4)
    assert (found.correlations[:3] > 0.2).all()
    assert found.union(*data).shape == (2 * N, image_map.shape[1])


def test_rows_of_either_kind_share_atoms_in_one_space_only(data, shuffled):
    options = {**OPTIONS, "n_components": M}
    found = align(*data, method="cca")
    result = daskksvd.fit(found.union(*data), **options)
    shared = daskksvd.shared_atoms(result, found.images(data[0]), found.texts(data[1]))
    assert "image_norm" not in shared and shared.attrs["share_shared"] > 0.5
    with pytest.raises(ValueError, match="images has 20 features and texts 16: they are of different spaces"):
        align(*data, method="none")
    with pytest.warns(UserWarning, match=r"correlate by -?0.0\d on average: they are not of one space"):
        plain = align(data[0][:, :E], shuffled, method="none")
    with pytest.raises(ValueError, match="rows have 20 features; those aligned have 16"):
        plain.images(data[0])
    with pytest.raises(ValueError, match="method='union'; it must be one of 'ridge', 'cca'"):
        align(*data, method="union")


def test_what_is_no_dictionary_of_these_is_refused(data, two, joint):
    with pytest.raises(TypeError, match="result is a list; it must be a JointResult, a Result of rows"):
        daskksvd.shared_atoms(list(two), *data)
    with pytest.raises(ValueError, match="texts has 16 features; the dictionary was learned on 20"):
        daskksvd.shared_atoms(two[0], *data)
    with pytest.raises(ValueError, match="images has 20 features; the dictionary was learned on 16"):
        daskksvd.shared_atoms(two[::-1], *data)
    with pytest.raises(ValueError, match="match_by='names'; it must be one of 'use', 'cca', 'procrustes'"):
        daskksvd.shared_atoms(two, *data, match_by="names")
    with pytest.raises(ValueError, match="alpha=2; it must be a level above 0 and below 1"):
        daskksvd.shared_atoms(joint, *data, alpha=2)
