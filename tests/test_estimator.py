"""`daskksvd.KSVD` against scikit-learn, plain NumPy and `daskksvd.fit`."""

import importlib
import inspect
import pickle
import sys

import dask.array as da
import numpy as np
import pandas as pd
import pytest
import scipy.sparse
import sparse
import xarray as xr
import zarr
from distributed import Client
from numpy.testing import assert_allclose, assert_array_equal
from sklearn.base import clone
from sklearn.exceptions import NotFittedError
from sklearn.linear_model import orthogonal_mp_gram
from sklearn.model_selection import GridSearchCV
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.utils import estimator_checks
from sklearn.utils.estimator_checks import parametrize_with_checks

import daskksvd
from daskksvd import KSVD
from daskksvd.datasets import make_planted
from daskksvd.datasets.planted import recovered_atoms
from daskksvd.fitting.updates.online import ONLINE_SWEEPS

N, D, M, K = 600, 12, 20, 3
QUICK = {"n_components": M, "n_nonzero_coefs": K, "max_passes": 3, "random_state": 0, "n_threads": 2}


@pytest.fixture(scope="module")
def X():
    return make_planted(N, D, M, K, dtype="float64", random_state=0).array.compute() + 0.5


@pytest.fixture(scope="module")
def fitted(X):
    return KSVD(**QUICK).fit(X)


# ---------------------------------------------------------------- scikit-learn


@parametrize_with_checks(
    [
        KSVD(),
        KSVD(n_components=4, n_nonzero_coefs=2, max_passes=2),
        KSVD(n_components=3, update="ksvd", max_passes=2, center=True),
        KSVD(update="ksvd", n_blocks=2, max_passes=2),
        KSVD(holdout=0.1, max_passes=2),
        KSVD(rtol=0.3, update="batch", pursuit="mp", init="k-means++", max_passes=2, scale=True),
    ]
)
def test_follows_the_conventions_of_scikit_learn(estimator, check):
    check(estimator)


@pytest.mark.filterwarnings("ignore:X (does not have valid|has) feature names")
@pytest.mark.parametrize(
    "check",
    [
        "check_transformer_get_feature_names_out",
        "check_transformer_get_feature_names_out_pandas",
        "check_set_output_transform",
        "check_set_output_transform_pandas",
        "check_global_output_transform_pandas",
        "check_n_features_in_after_fitting",
        "check_dataframe_column_names_consistency",
    ],
)
def test_passes_the_checks_that_scikit_learn_keeps_for_its_own(check):
    getattr(estimator_checks, check)("KSVD", KSVD(max_passes=2, n_threads=2))


def test_has_the_parameters_of_fit_with_its_defaults():
    own = dict(inspect.signature(KSVD).parameters)
    for name, parameter in inspect.signature(daskksvd.fit).parameters.items():
        if name == "array":
            continue
        found = own.pop(name)
        if name not in ("n_components", "dtype"):
            assert found.default == parameter.default, name
    assert list(own) == ["sparse_output"]


def test_in_pipeline_and_grid_search(X):
    pipeline = make_pipeline(StandardScaler(), KSVD(**QUICK))
    codes = pipeline.fit_transform(X)
    assert codes.shape == (N, M) and (np.count_nonzero(codes, axis=1) <= K).all()
    assert_allclose(pipeline.inverse_transform(codes), X, atol=3 * X.std())
    search = GridSearchCV(pipeline, {"ksvd__n_nonzero_coefs": [1, K]}, cv=2)
    search.fit(X)
    assert search.best_params_ == {"ksvd__n_nonzero_coefs": K}
    assert (search.cv_results_["std_test_score"] < 0.2).all()


def test_clone_and_pickle(X, fitted):
    again = clone(fitted)
    assert not hasattr(again, "components_") and again.get_params() == fitted.get_params()
    assert_array_equal(again.fit(X).components_, fitted.components_)
    copied = pickle.loads(pickle.dumps(fitted))
    assert_array_equal(copied.transform(X), fitted.transform(X))
    assert copied.score(X) == fitted.score(X)


def test_client_is_shared_by_clones_and_left_out_of_pickles(X, fitted):
    options = {"n_workers": 1, "threads_per_worker": 2, "processes": False, "dashboard_address": ":0"}
    with Client(**options) as client:
        model = clone(KSVD(**QUICK, client=client))
        assert model.client is client
        model.fit(X)
        assert_array_equal(model.components_, fitted.components_)
        assert_array_equal(model.transform(X), fitted.transform(X))
        assert model.score(X) == pytest.approx(fitted.score(X))
        streamed = clone(model).partial_fit(X)
        saved = pickle.dumps(model)
    assert_array_equal(streamed.components_, KSVD(**QUICK).partial_fit(X).components_)
    copied = pickle.loads(saved)
    assert copied.client is None
    assert_array_equal(copied.transform(X), fitted.transform(X))


def test_needs_scikit_learn(monkeypatch):
    for name in [name for name in sys.modules if name.split(".")[0] == "sklearn"]:
        monkeypatch.setitem(sys.modules, name, None)
    monkeypatch.delitem(sys.modules, "daskksvd.estimator")
    with pytest.raises(ImportError, match=r'pip install "daskksvd\[sklearn\]"'):
        importlib.import_module("daskksvd.estimator")


# -------------------------------------------------------------------- learning


@pytest.mark.parametrize(
    "options",
    [
        {},
        {"center": True, "update": "ksvd", "n_blocks": 4},
        {"whiten": 0.25, "update": "batch", "holdout": 0.1},
        {"init": np.eye(M, D) + 0.1, "pursuit": "mp", "rtol": 0.2},
    ],
)
def test_learns_what_fit_learns(X, options):
    arguments = {**QUICK, **options}
    model = KSVD(**arguments).fit(X)
    result = daskksvd.fit(X, **arguments, dtype="float64")
    assert_array_equal(model.components_, result.dictionary.values)
    assert_array_equal(model.error_, result.history.relative_error.values)
    assert model.n_iter_ == len(model.error_) == result.history.sizes["pass"]
    assert model.n_steps_ == 0
    if result.mean is None:
        assert model.mean_ is None
    else:
        assert_allclose(model.mean_, X.mean(axis=0))


def test_defaults_follow_the_number_of_features(X):
    model = KSVD(max_passes=1, random_state=0).fit(X)
    assert model.components_.shape == (D, D)
    assert np.count_nonzero(model.transform(X), axis=1).max() == 1  # a tenth of 12
    # an error bound alone puts no limit on the nonzeros
    model = KSVD(rtol=0.01, max_passes=1, random_state=0).fit(X)
    assert np.count_nonzero(model.transform(X), axis=1).max() > 1
    # and the limit is never more than there are atoms
    model = KSVD(2, n_nonzero_coefs=5, max_passes=1).fit(X)
    assert np.count_nonzero(model.transform(X), axis=1).max() == 2


@pytest.mark.parametrize(
    ("given", "dtype", "expected"),
    [
        ("float64", None, "float64"),
        ("float32", None, "float32"),
        ("float16", None, "float32"),
        ("int16", None, "float32"),
        ("float64", "float32", "float32"),
        ("float32", "float64", "float64"),
    ],
)
@pytest.mark.parametrize("chunked", [False, True])
def test_dtypes(X, given, dtype, expected, chunked):
    X = (10 * X).astype(given)
    samples = da.from_array(X, chunks=(200, D)) if chunked else X
    model = KSVD(**{**QUICK, "max_passes": 1}, dtype=dtype).fit(samples)
    codes = model.transform(samples)
    assert model.components_.dtype == codes.dtype == model.inverse_transform(codes).dtype == expected


# ------------------------------------------------------------ coding and back


def test_transform_agrees_with_scikit_learn(X, fitted):
    D = fitted.components_
    expected = orthogonal_mp_gram(D @ D.T, D @ X.T, n_nonzero_coefs=K).T
    codes = fitted.transform(X)
    assert isinstance(codes, np.ndarray)
    assert_allclose(codes, expected, atol=1e-9)


def test_transform_with_an_error_bound_agrees_with_scikit_learn(X):
    rtol = 0.3
    model = KSVD(M, rtol=rtol, max_passes=2, random_state=0).fit(X)
    D = model.components_
    norms = (X**2).sum(axis=1)
    rows = [
        orthogonal_mp_gram(D @ D.T, D @ x[:, None], tol=rtol**2 * norm, norms_squared=[norm])
        for x, norm in zip(X[:50], norms, strict=False)
    ]
    assert_allclose(model.transform(X[:50]), rows, atol=1e-9)


def test_sparse_output(X, fitted):
    dense = fitted.transform(X)
    codes = clone(fitted).set_params(sparse_output=True).fit(X).transform(X)
    assert scipy.sparse.issparse(codes) and codes.format == "csr"
    assert codes.indices.dtype == np.int32
    assert_array_equal(codes.toarray(), dense)


def test_transform_is_the_same_over_many_tasks(fitted, X):
    many = np.tile(X, (20, 1))
    assert_allclose(fitted.transform(many), np.tile(fitted.transform(X), (20, 1)), atol=1e-12)


def test_inverse_transform_takes_all_kinds_of_codes(X, fitted):
    codes = fitted.transform(X)
    expected = codes @ fitted.components_
    lazy = fitted.transform(da.from_array(X, chunks=(250, D)))
    for kind in (
        codes,
        codes.tolist(),
        pd.DataFrame(codes),
        scipy.sparse.csr_matrix(codes),
        scipy.sparse.csc_array(codes),
        sparse.COO.from_numpy(codes),
        lazy,
    ):
        found = fitted.inverse_transform(kind)
        assert isinstance(found, da.Array if kind is lazy else np.ndarray)
        assert_allclose(np.asarray(found), expected, atol=1e-9)


@pytest.mark.parametrize("options", [{"center": True}, {"scale": True}, {"center": True, "scale": True}])
def test_inverse_transform_undoes_preprocessing(X, options):
    X = X * np.linspace(1, 5, D)
    model = KSVD(**QUICK, **options).fit(X)
    mean = X.mean(axis=0) if "center" in options else np.zeros(D)
    spread = X.std(axis=0) if "scale" in options else np.ones(D)
    D_ = model.components_
    codes = orthogonal_mp_gram(D_ @ D_.T, D_ @ ((X - mean) / spread).T, n_nonzero_coefs=K).T
    assert_allclose(model.transform(X), codes, atol=1e-9)
    assert_allclose(model.inverse_transform(codes), codes @ D_ * spread + mean, atol=1e-9)


def test_whitening_is_undone(X):
    X = X * np.linspace(1, 5, D)
    model = KSVD(M, n_nonzero_coefs=D, max_passes=1, whiten=True, random_state=0).fit(X)
    assert_allclose(model.inverse_transform(model.transform(X)), X, atol=1e-6)


@pytest.mark.parametrize("center", [False, True])
def test_score_is_the_explained_variance(X, center):
    model = KSVD(**QUICK, center=center).fit(X)
    left = X - model.inverse_transform(model.transform(X))
    expected = 1 - (left**2).sum() / ((X - X.mean(axis=0)) ** 2).sum()
    assert model.score(X) == pytest.approx(expected)
    assert model.score(X) == model.result_.score(X)


def test_set_output(X, fitted):
    frame = pd.DataFrame(X, columns=[f"f{i}" for i in range(D)], index=np.arange(N) + 7)
    model = clone(fitted).set_output(transform="pandas")
    codes = model.fit_transform(frame)
    assert isinstance(codes, pd.DataFrame)
    assert_array_equal(codes.index, frame.index)
    assert_array_equal(codes.columns, [f"ksvd{i}" for i in range(M)])
    assert_array_equal(codes.columns, model.get_feature_names_out())
    assert_array_equal(codes, fitted.transform(X))
    with pytest.raises(ValueError, match=r"set_output\(transform='pandas'\).*lazy"):
        model.transform(xr.DataArray(X, coords={"b": list(frame.columns)}, dims=("a", "b")))


# -------------------------------------------------------- chunked and labelled


@pytest.mark.parametrize("kind", ["dask", "xarray", "xarray of dask", "zarr", "path", "path object"])
def test_chunked_samples_equal_samples_in_memory(X, fitted, kind, tmp_path):
    if "xarray" in kind:
        samples = xr.DataArray(da.from_array(X) if "dask" in kind else X, dims=("sample", "feature"))
    elif kind == "dask":
        samples = da.from_array(X, chunks=(N, D))
    else:
        path = tmp_path / "samples.zarr"
        store = zarr.create_array(str(path), shape=X.shape, chunks=(N, D), dtype=X.dtype)
        store[:] = X
        samples = {"zarr": store, "path": str(path), "path object": path}[kind]
    model = KSVD(**QUICK).fit(samples)
    assert model.n_features_in_ == D and not hasattr(model, "feature_names_in_")
    assert_array_equal(model.components_, fitted.components_)
    codes = model.transform(samples)
    assert isinstance(codes, da.Array) and isinstance(codes._meta, sparse.COO)
    assert_array_equal(codes.compute().todense(), fitted.transform(X))
    assert model.score(samples) == pytest.approx(fitted.score(X))
    streamed = KSVD(**QUICK).partial_fit(samples)
    assert_array_equal(streamed.components_, KSVD(**QUICK).partial_fit(X).components_)
    with pytest.raises(ValueError, match=f"X has {D} features, but KSVD is expecting 3"):
        KSVD(**QUICK).fit(X[:, :3]).transform(samples)


def test_feature_names(X):
    names = [f"f{i}" for i in range(D)]
    frame = pd.DataFrame(X, columns=names)
    labelled = xr.DataArray(X, coords={"feature": names}, dims=("sample", "feature"))
    for samples in (frame, labelled):
        for model in (KSVD(**QUICK).fit(samples), KSVD(**QUICK).partial_fit(samples)):
            assert_array_equal(model.feature_names_in_, names)
            assert_array_equal(model.result_.dictionary.feature, names)
            for other in (frame, labelled):
                model.transform(other)
                model.score(other)
            with pytest.raises(ValueError, match="feature names should match"):
                model.transform(labelled[:, ::-1])
            with pytest.warns(UserWarning, match="does not have valid feature names"):
                model.transform(X)
    unnamed = labelled.assign_coords(feature=np.arange(D))
    assert not hasattr(KSVD(**QUICK).fit(unnamed), "feature_names_in_")


# --------------------------------------------------------------------- streams


def test_partial_fit_recovers_a_planted_dictionary():
    planted = make_planted(24_000, 32, 64, 4, random_state=3)
    X = planted.array.compute()
    model = KSVD(64, n_nonzero_coefs=4, random_state=0, n_threads=2)
    for start in range(0, len(X), 200):
        model.partial_fit(X[start : start + 200])
    assert recovered_atoms(model.components_, planted.dictionary) > 0.95
    assert model.error_[-10:].mean() < 0.1 < model.error_[0]
    assert model.n_steps_ == 120 and model.n_iter_ == 0


def test_partial_fit_is_an_online_update(X):
    """Two batches, redone with scikit-learn's pursuit and plain sweeps."""
    D_ = np.random.default_rng(0).standard_normal((M, D))
    model = KSVD(**{**QUICK, "replace_atoms": False}, init=D_)
    D_ /= np.linalg.norm(D_, axis=1, keepdims=True)
    A, B = np.zeros((M, M)), np.zeros((M, D))
    for t, batch in enumerate((X[:400], X[400:]), start=1):
        model.partial_fit(batch)
        codes = orthogonal_mp_gram(D_ @ D_.T, D_ @ batch.T, n_nonzero_coefs=K).T
        fade = (1 - 1 / t) ** 2
        A = fade * A + codes.T @ codes
        B = fade * B + codes.T @ batch
        error = np.linalg.norm(batch - codes @ D_) / np.linalg.norm(batch)
        for atom in ONLINE_SWEEPS * [*range(M)]:
            direction = B[atom] - A[atom] @ D_ + A[atom, atom] * D_[atom]
            D_[atom] = direction / np.linalg.norm(direction)
        assert_allclose(model.components_, D_, atol=1e-8)
        assert model.error_[-1] == pytest.approx(error)


def test_partial_fit_takes_preprocessing_from_the_first_batch(X):
    model = KSVD(**QUICK, center=True).partial_fit(X[:100])
    assert_allclose(model.mean_, X[:100].mean(axis=0))
    model.partial_fit(X[100:])
    assert_allclose(model.mean_, X[:100].mean(axis=0))
    D_ = model.components_
    codes = orthogonal_mp_gram(D_ @ D_.T, D_ @ (X - model.mean_).T, n_nonzero_coefs=K).T
    assert_allclose(model.transform(X), codes, atol=1e-9)


@pytest.mark.parametrize("options", [{}, {"whiten": 0.25}, {"scale": True}])
def test_partial_fit_goes_on_from_fit(X, options):
    model = KSVD(**QUICK, **options).fit(X)
    before = model.components_.copy()
    error = model.result_.evaluate(X)["relative_error"]
    # a batch of nothing moves no atom, one with fewer rows than atoms not far
    if not options:
        model.partial_fit(np.zeros((5, D)))
        assert_array_equal(model.components_, before)
    model.partial_fit(X[:10])
    assert model.n_iter_ == 3 and model.n_steps_ == (1 if options else 2)
    assert not np.array_equal(model.components_, before)
    assert model.result_.evaluate(X)["relative_error"] < 1.05 * error
    assert_allclose(np.linalg.norm(model.components_, axis=1), 1)
    # and fit starts anew
    model.fit(X)
    assert model.n_steps_ == 0
    assert_array_equal(model.components_, before)


def test_partial_fit_goes_on_from_a_pickle(X, tmp_path):
    straight = KSVD(**QUICK).partial_fit(X[:300]).partial_fit(X[300:])
    copied = pickle.loads(pickle.dumps(KSVD(**QUICK).partial_fit(X[:300]))).partial_fit(X[300:])
    assert_array_equal(copied.components_, straight.components_)
    # what was learned is a result like any other
    result = straight.result_
    assert result.stop_reason == "partial_fit" and result.history.sizes["wave"] == 2
    result.save(tmp_path / "result.zarr")
    loaded = daskksvd.load(tmp_path / "result.zarr")
    assert_array_equal(loaded.encode(X).compute().todense(), straight.transform(X))


def test_partial_fit_refuses_what_it_cannot_learn_from(X):
    with pytest.raises(ValueError, match=f"10 samples, fewer than n_components={M}"):
        KSVD(**QUICK).partial_fit(X[:10])
    assert not hasattr(KSVD(**QUICK, holdout=0.2), "partial_fit")
    with pytest.raises(AttributeError) as caught:
        _ = KSVD(**QUICK, holdout=0.2).partial_fit
    assert "holdout=0.2 goes with fit only" in str(caught.value.__cause__)
    with pytest.raises(ValueError, match="checkpoint='here' goes with fit only"):
        KSVD(**QUICK, checkpoint="here").partial_fit(X)
    with pytest.raises(ValueError, match="n_threads=0; it must be at least 1"):
        KSVD(n_threads=0).partial_fit(X)
    assert not hasattr(KSVD(update="batch"), "partial_fit")
    model = KSVD(**QUICK, dtype="float32").partial_fit(X)
    before = model.components_
    for value in (np.nan, 1e30):
        bad = X.copy()
        bad[5] = value
        with pytest.raises(ValueError, match="X has NaN, infinite or too large values for float32"):
            model.partial_fit(da.from_array(bad))
        assert model.n_steps_ == 1 and model.components_ is before


# ---------------------------------------------------------------------- errors


@pytest.mark.parametrize(
    ("options", "error", "message"),
    [
        ({"n_components": 0}, ValueError, "n_components=0; it must be at least 1"),
        ({"n_components": "many"}, TypeError, "n_components is 'many'"),
        ({"n_components": 10_000}, ValueError, f"{N} samples, fewer than n_components=10000"),
        ({"n_nonzero_coefs": 0}, ValueError, "n_nonzero_coefs=0; it must be at least 1"),
        ({"rtol": 2}, ValueError, "rtol=2; it must be more than 0 and less than 1"),
        ({"update": "svd"}, ValueError, "update='svd'; it must be one of"),
        ({"dtype": "int32"}, ValueError, "dtype is int32"),
        ({"client": 3}, TypeError, r"client is a int; it must be a distributed\.Client"),
    ],
)
def test_errors_name_the_parameter(X, options, error, message):
    with pytest.raises(error, match=message):
        KSVD(**options).fit(X)


def test_errors_of_samples_and_codes(X, fitted):
    with pytest.raises(ValueError, match="array has only zeros"):
        KSVD().fit(np.zeros((20, 3)))
    with pytest.raises(ValueError, match="1 row with NaN"):
        KSVD().fit(da.from_array(np.where(np.arange(N)[:, None] == 7, np.nan, X)))
    with pytest.raises(FileNotFoundError, match="no such path"):
        fitted.transform("nowhere.zarr")
    with pytest.raises(ValueError, match=rf"codes has shape \({N}, {D}\); it must be n x {M}"):
        fitted.inverse_transform(X)
    for method in ("transform", "inverse_transform", "score"):
        with pytest.raises(NotFittedError):
            getattr(KSVD(), method)(X)
    assert not hasattr(KSVD(), "result_")


def test_models_that_an_earlier_version_pickled_have_the_parameters_of_now():
    model = KSVD(8, n_nonzero_coefs=2, random_state=0, max_passes=1)
    rows = np.random.default_rng(0).standard_normal((60, 6)).astype("f4")
    model.fit(rows)
    state = model.__getstate__()
    for name in ("device", "nonnegative", "threshold"):
        del state[name]
    older = KSVD.__new__(KSVD)
    older.__setstate__(state)
    assert older.get_params() == model.get_params()
    np.testing.assert_array_equal(older.transform(rows), model.transform(rows))
