"""K-SVD proper against a textbook loop with numpy.linalg.svd."""

import dask.array as da
import numpy as np
import pytest
from sklearn.linear_model import orthogonal_mp_gram

import daskksvd
from daskksvd.datasets import make_planted, recovered_atoms
from daskksvd.fitting.updates.ksvd import Spread, add_spreads, dominant_directions


def textbook_ksvd(Y, dictionary, k, n_iterations):
    """Aharon, Elad, Bruckstein (2006): code, then every atom with its coefficients."""
    D = dictionary.copy()
    for _ in range(n_iterations):
        X = orthogonal_mp_gram(D @ D.T, D @ Y.T, n_nonzero_coefs=k).T
        for j in range(len(D)):
            users = np.flatnonzero(X[:, j])
            if len(users):
                E = Y[users] - X[users] @ D + np.outer(X[users, j], D[j])
                U, S, V = np.linalg.svd(E, full_matrices=False)
                side = 1.0 if V[0] @ D[j] >= 0 else -1.0
                D[j] = side * V[0]
                X[users, j] = side * S[0] * U[:, 0]
    return D


def problem(n, d, m, k, seed):
    Y = make_planted(n, d, m, k, noise=0.1, dtype="float64", random_state=seed).array.compute()
    D = np.random.default_rng(seed).standard_normal((m, d))
    return Y, D / np.linalg.norm(D, axis=1, keepdims=True)


KSVD = {"update": "ksvd", "tol": 0, "dtype": "float64", "replace_atoms": False}


@pytest.mark.parametrize("chunks", [(600,), (50,), (599, 1)])
@pytest.mark.parametrize(("d", "m"), [(16, 24), (210, 20)])  # both ways to solve for an eigenvector
def test_one_atom_a_block_is_the_textbook_algorithm(chunks, d, m):
    Y, D = problem(600, d, m, 3, seed=3)
    array = da.from_array(Y, chunks=(chunks if len(chunks) > 1 else chunks[0], d))
    found = daskksvd.fit(array, n_components=m, n_nonzero_coefs=3, init=D, n_blocks=m, max_passes=2, **KSVD)
    np.testing.assert_allclose(found.dictionary.values, textbook_ksvd(Y, D, 3, 2), atol=1e-6)


def test_blocks_end_near_the_textbook_error():
    Y, D = problem(3000, 24, 48, 3, seed=5)
    T = textbook_ksvd(Y, D, 3, 10)
    X = orthogonal_mp_gram(T @ T.T, T @ Y.T, n_nonzero_coefs=3).T
    textbook = np.linalg.norm(Y - X @ T) / np.linalg.norm(Y)
    found = daskksvd.fit(Y, n_components=48, n_nonzero_coefs=3, init=D, max_passes=10, **KSVD)
    assert found.evaluate(Y)["relative_error"] < 1.03 * textbook


def test_unused_atoms_stay_without_replacement_and_go_with_it():
    Y, D = problem(500, 16, 20, 2, seed=1)
    Y[:, 15] = 0.0
    D[:, 15] = 0.0
    D[7] = 0.0
    D[7, 15] = 1.0  # orthogonal to all samples
    common = {"n_components": 20, "n_nonzero_coefs": 2, "init": D, "max_passes": 3}
    kept = daskksvd.fit(Y, **common, **KSVD)
    np.testing.assert_allclose(kept.dictionary.values[7], D[7], atol=1e-12)
    replaced = daskksvd.fit(Y, **common, **{**KSVD, "replace_atoms": True})
    assert abs(replaced.dictionary.values[7, 15]) < 0.5
    assert replaced.history.replaced_atoms.sum() >= 1


def test_ksvd_recovers_a_planted_dictionary():
    planted = make_planted(6000, 24, 32, 2, random_state=12)
    found = daskksvd.fit(
        planted.array, n_components=32, n_nonzero_coefs=2, update="ksvd", max_passes=15, random_state=2
    )
    assert recovered_atoms(found.dictionary.values, planted.dictionary) >= 0.9


def test_spread_forms_agree():
    """Rows, Gram matrices and mixtures of both give the same directions."""
    rng = np.random.default_rng(0)
    atoms = rng.standard_normal((3, 8))
    atoms /= np.linalg.norm(atoms, axis=1, keepdims=True)
    E = [rng.standard_normal((n, 8)) for n in (4, 0, 30)]
    counts = np.array([4, 0, 30])
    rows = Spread(np.concatenate(E), counts, None)
    grams = Spread(None, counts, np.stack([e.T @ e for e in E]))
    half = Spread(np.concatenate([E[0][:1], E[2][:5]]), np.array([1, 0, 5]), None)
    rest = Spread(np.concatenate([E[0][1:], E[2][5:]]), np.array([3, 0, 25]), None)
    mixed = Spread(
        None,
        np.array([3, 0, 25]),
        np.stack([E[0][1:].T @ E[0][1:], 0 * grams.grams[0], E[2][5:].T @ E[2][5:]]),
    )
    expected = atoms.copy()
    for j in (0, 2):
        v = np.linalg.svd(E[j])[2][0]
        expected[j] = v * np.sign(v @ atoms[j])
    for spread in (rows, grams, add_spreads([half, rest]), add_spreads([half, mixed])):
        np.testing.assert_allclose(dominant_directions(spread, atoms), expected, atol=1e-10)
