"""Codes by one product: the encoder against textbook ridge and least squares, and what is coded by it."""

import dask.array as da
import numpy as np
import pytest
import reference
import small
from numpy.testing import assert_allclose, assert_array_equal

import daskksvd
from daskksvd.coding import OneShot, SparseCoder, SparsityTarget
from daskksvd.execution import ThreadExecutor
from daskksvd.fitting.encoder import fit_encoder
from daskksvd.fitting.ridge import PENALTIES
from daskksvd.rows import Transform, as_source

K = small.K


@pytest.fixture(scope="module")
def Y():
    return small.samples()


@pytest.fixture(scope="module")
def fitted(Y):
    return small.fit(Y, whiten=0.25).fit_encoder(Y)


def mapped(result, Y):
    """Rows as they are coded, by the definition of the transform."""
    transform = result.coder.transform
    return (Y - transform.mean) @ transform.basis / transform.scale


def plain_ridge(rows, targets, penalty):
    """Ridge regression with a free offset, by least squares on rows put below."""
    y, t = rows.mean(axis=0), targets.mean(axis=0)
    below = np.sqrt(penalty * len(rows)) * np.eye(rows.shape[1])
    design = np.concatenate([rows - y, below])
    wanted = np.concatenate([targets - t, np.zeros((rows.shape[1], targets.shape[1]))])
    B = np.linalg.lstsq(design, wanted, rcond=None)[0]
    return B, t - y @ B


def scores_of(result, Y):
    return mapped(result, Y) @ result.encoder.weights.T + result.encoder.bias


def test_scores_are_ridge_regression_of_evened_codes(Y, fitted):
    rows, codes = mapped(fitted, Y), fitted.encode(Y).compute().todense()
    evened = np.sign(codes) * np.sqrt(np.abs(codes))
    kept = int(0.9 * len(Y) + 0.5)
    unit = (rows[:kept] - rows[:kept].mean(axis=0)).var(axis=0).mean() * PENALTIES
    errors = []
    centre, mean = rows.mean(axis=0), evened.mean(axis=0)
    for penalty in unit:
        # the penalty is chosen with the means of all rows
        learn, held = rows[:kept] - centre, rows[kept:] - centre
        gram = learn.T @ learn / kept + penalty * np.eye(rows.shape[1])
        B = np.linalg.solve(gram, learn.T @ (evened[:kept] - mean) / kept)
        errors.append(((evened[kept:] - mean - held @ B) ** 2).sum())
    B, offset = plain_ridge(rows, evened, unit[np.argmin(errors)])
    even = np.sqrt((rows @ B).std(axis=0))
    assert_allclose(fitted.encoder.weights, (B / even).T, rtol=0, atol=1e-4 * np.abs(B / even).max())
    assert_allclose(scores_of(fitted, Y), (rows @ B + offset) / even, atol=1e-4)


def refitted(y, atoms, scores, k):
    """Least squares on twice as many atoms as wanted, on those but for two thirds of the excess, and on k."""
    support = np.argsort(-np.abs(scores))[: 2 * k]
    for size in (2 * k - int(np.ceil(2 / 3 * k)), k):
        x = np.linalg.lstsq(atoms[support].T, y, rcond=None)[0]
        support = support[np.argsort(-np.abs(x))[:size]]
    code = np.zeros(len(atoms))
    code[support] = np.linalg.lstsq(atoms[support].T, y, rcond=None)[0]
    return code


def test_codes_are_least_squares_on_the_largest_scores_but_for_the_least(Y, fitted):
    rows, scores, D = mapped(fitted, Y), scores_of(fitted, Y), fitted.coder.dictionary
    expected = np.array([refitted(y, D, values, K) for y, values in zip(rows, scores, strict=True)])
    codes = fitted.encode(da.from_array(Y, chunks=(150, 3)), method="oneshot").compute().todense()
    assert_allclose(codes, expected, atol=2e-3)
    error = fitted.evaluate(Y, method="oneshot")
    left = ((rows - expected @ D) ** 2).sum() / (rows**2).sum()
    assert error["relative_error"] == pytest.approx(np.sqrt(left), rel=1e-3)
    assert error["relative_error"] > fitted.evaluate(Y)["relative_error"]


def test_gains_are_joint_least_squares(Y, fitted):
    rows, scores, D = mapped(fitted, Y), scores_of(fitted, Y), fitted.coder.dictionary.astype(float)
    taken = np.zeros(scores.shape)
    for row, values in zip(taken, scores, strict=True):
        support = np.argsort(-np.abs(values))[:K]
        row[support] = values[support]
    design = (taken[:, :, None] * D[None]).transpose(0, 2, 1).reshape(-1, len(D))  # what each gain multiplies
    ridge = np.sqrt(1e-3) * np.diag(np.linalg.norm(design, axis=0))
    wanted = np.concatenate([rows.ravel(), np.zeros(len(D))])
    gains = np.linalg.lstsq(np.concatenate([design, ridge]), wanted, rcond=None)[0]
    assert_allclose(fitted.encoder.gains, gains, atol=1e-3 * np.abs(gains).max())


def test_as_many_scores_are_above_the_threshold_as_pursuit_takes(Y, fitted):
    above = (np.abs(scores_of(fitted, Y)) > fitted.encoder.threshold).sum()
    assert above == pytest.approx(K * len(Y), rel=0.02)


def test_an_encoder_does_not_depend_on_chunks_or_threads(Y, fitted):
    executors = [ThreadExecutor(n) for n in (1, 2)]
    chunked = as_source(da.from_array(Y, chunks=(64, -1)))
    one, other = (fit_encoder(chunked, fitted.coder, executor) for executor in executors)
    for executor in executors:
        executor.close()
    for some, same, whole in zip(one, other, fitted.encoder, strict=True):
        assert_array_equal(some, same)
        assert_allclose(some, whole, atol=0.1 * np.max(np.abs(whole)))  # other rows choose the penalty


def test_it_is_saved_with_the_result(Y, fitted, tmp_path):
    fitted.save(tmp_path / "result.zarr")
    loaded = daskksvd.load(tmp_path / "result.zarr")
    for saved, kept in zip(loaded.encoder, fitted.encoder, strict=True):
        assert_array_equal(saved, kept)
        assert np.asarray(saved).dtype == np.asarray(kept).dtype
    fitted.write_codes(Y, tmp_path / "codes.zarr", method="oneshot")
    codes = daskksvd.open_codes(tmp_path / "codes.zarr").compute()
    assert_array_equal(codes.todense(), loaded.encode(Y, method="oneshot").compute().todense())
    with pytest.raises(FileExistsError):
        fitted.write_codes(Y, tmp_path / "codes.zarr")


def test_what_cannot_be_done_is_said(Y, tmp_path):
    result = small.fit(Y)
    result.save(tmp_path / "result.zarr")
    assert daskksvd.load(tmp_path / "result.zarr").encoder is None
    with pytest.raises(ValueError, match=r"method='oneshot' takes an encoder.*call fit_encoder first"):
        result.encode(Y, method="oneshot")
    with pytest.raises(ValueError, match="method='omp'; it must be one of 'pursuit', 'oneshot'"):
        result.encode(Y, method="omp")
    with pytest.raises(ValueError, match="array has 3 features; the dictionary was learned on 8"):
        result.fit_encoder(Y[:, :3])
    Y = Y.copy()
    Y[41, 2] = np.nan
    with pytest.raises(ValueError, match=r"NaN, infinite or too large values \(row 41\)"):
        result.fit_encoder(Y)
    assert result.encoder is None


@pytest.mark.parametrize("target", [{"rtol": 0.5}, {"threshold": 2.0}, {"nonnegative": True}])
def test_other_ends_of_coding(Y, target):
    """A code may have fewer nonzeros than allowed, as many as pursuit on average, or no negative one."""
    rng = np.random.default_rng(0)
    atoms = rng.standard_normal((20, Y.shape[1]))
    atoms /= np.linalg.norm(atoms, axis=1, keepdims=True)
    coder = SparseCoder.of_atoms(atoms, Transform(Y.mean(axis=0)), SparsityTarget(K, **target))
    executor = ThreadExecutor(1)
    coded = coder.with_encoder(fit_encoder(as_source(Y), coder, executor)).encode(Y)
    executor.close()
    pursued = coder.encode(Y)
    assert coded.nnz <= K * len(Y)
    if "nonnegative" in target:
        assert coded.data.min() > 0 and pursued.data.min() > 0
    else:
        assert pursued.nnz < 0.95 * K * len(Y)
        assert coded.nnz == pytest.approx(pursued.nnz, rel=0.25)


def test_twins_and_rows_of_nothing(Y):
    atoms = np.eye(Y.shape[1])[[0, 0, 1, 2, 3, 4, 5, 6, 7]].astype(float)
    coder = SparseCoder.of_atoms(atoms, Transform(), SparsityTarget(3))
    rows = np.concatenate([Y, np.zeros((2, Y.shape[1]))])
    executor = ThreadExecutor(1)
    coder = coder.with_encoder(fit_encoder(as_source(rows), coder, executor))
    executor.close()
    codes = coder.encode(rows)
    assert np.abs(codes.data).max() < 2 * np.abs(Y).max()
    assert codes.todense()[-2:].any() == False  # noqa: E712
    left = np.linalg.norm(rows - coder.decode(codes), axis=1)
    assert (left <= np.linalg.norm(rows, axis=1) + 1e-9).all()


def test_a_map_finds_the_atoms_of_orthogonal_ones():
    """Of orthonormal atoms the codes are linear in the rows: scores choose as pursuit does."""
    rng = np.random.default_rng(5)
    basis = np.linalg.qr(rng.standard_normal((12, 12)))[0]
    codes = rng.standard_normal((600, 12)) * (rng.random((600, 12)) < 0.2)
    rows = codes @ basis
    coder = SparseCoder.of_atoms(basis, Transform(), SparsityTarget(4))
    executor = ThreadExecutor(1)
    once = coder.with_encoder(fit_encoder(as_source(rows), coder, executor)).encode(rows).todense()
    executor.close()
    pursued = coder.encode(rows).todense()
    assert ((once - pursued) ** 2).sum() < 0.02 * (pursued**2).sum()


@pytest.mark.filterwarnings("error")
def test_rows_that_tell_nothing(Y):
    """Zeros are refused; of equal rows all scores are the codes' mean."""
    result = small.fit(Y)
    with pytest.raises(ValueError, match="array has no row whose code has a coefficient"):
        result.fit_encoder(np.zeros((40, Y.shape[1])))
    same = np.tile(Y[3], (40, 1))
    result.fit_encoder(same)
    assert not result.encoder.weights.any() and np.isfinite(result.encoder.gains).all()
    once, pursued = (result.encode(same, method=name).compute().todense() for name in ("oneshot", "pursuit"))
    assert_allclose(once, pursued, atol=1e-3 * np.abs(pursued).max())


def test_atoms_without_a_score_are_not_taken():
    """Whichever of the equal scores of zero come first."""
    rng = np.random.default_rng(0)
    for _ in range(10):
        atoms = reference.unit_atoms(rng, 20, 8)
        some = rng.choice(20, 3, replace=False)
        bias = np.zeros(20)
        bias[some] = [3, -2, 1]
        encoder = OneShot(np.zeros((20, 8)), bias, np.ones(20), 0.0)
        coder = SparseCoder(atoms, Transform(), SparsityTarget(3)).with_encoder(encoder)
        row = rng.standard_normal(8)
        expected = np.zeros(20)
        expected[some] = np.linalg.lstsq(atoms[some].T, row, rcond=None)[0]
        assert_allclose(coder.encode(row[None]).todense()[0], expected, rtol=1e-4)
