"""One dictionary of images and texts: rows, codes and text vectors against plain algebra."""

import dask.array as da
import numpy as np
import pandas as pd
import pytest
import reference
import scipy.sparse as sp
import zarr
from distributed import Client, LocalCluster
from numpy.testing import assert_allclose, assert_array_equal
from real import CAPTIONS, FEATURES
from sklearn.feature_extraction.text import CountVectorizer
from small import assert_same_bits
from small_cluster import assert_nothing_left

import daskksvd
from daskksvd.execution import make_executor
from daskksvd.fitting.ridge import PENALTIES, Products, ridge
from daskksvd.joint import fit_joint, load_joint
from daskksvd.joint.halves import make_halves, survey_pairs
from daskksvd.joint.pairs import as_pairs

N, D, E, M, K = 900, 10, 7, 16, 2
SETTINGS = {"n_components": M, "n_nonzero_coefs": K, "random_state": 0, "max_passes": 4, "n_threads": 2}


def planted(n=N, seed=0, d=D, e=E, m=M, k=K, noise=0.05):
    """Pairs of which each uses the same atoms for image and text, far from the origin and of odd scales."""
    rng = np.random.default_rng(seed)
    atoms = np.random.default_rng(99).standard_normal((m, d + e))
    codes = np.zeros((n, m))
    for row in codes:
        row[rng.choice(m, k, replace=False)] = rng.standard_normal(k)
    rows = codes @ atoms + noise * rng.standard_normal((n, d + e))
    return rows[:, :d] * np.linspace(1, 3, d) + 4, rows[:, d:] * 0.1 - 2


@pytest.fixture(scope="module")
def data():
    return planted()


@pytest.fixture(scope="module", params=["captions", "predicted"])
def result(request, data):
    return fit_joint(*data, texts_as=request.param, whiten=0.25, **SETTINGS)


def half_by_hand(rows, weight, whiten=None):
    """Centred, whitened and scaled to a total variance of ``weight``."""
    rows = rows - rows.mean(axis=0)
    if whiten is not None:
        values, vectors = np.linalg.eigh(rows.T @ rows / len(rows))
        rows = rows @ vectors / values**whiten
    return rows * np.sqrt(weight * len(rows) / (rows**2).sum())


def explained(predicted, texts):
    return 1 - ((predicted - texts) ** 2).sum() / ((texts - texts.mean(axis=0)) ** 2).sum()


def surveyed(images, texts, whiten, predicted, **options):
    pairs = as_pairs(images, texts, **options)
    return pairs, survey_pairs(pairs, make_executor(None, 2), whiten, predicted)


@pytest.mark.parametrize("chunks", [(N,), (400, 100, 399, 1)])
@pytest.mark.parametrize("whiten", [None, 0.25])
def test_rows_are_halves_of_unit_variance(data, chunks, whiten):
    images, texts = data
    lazy = da.from_array(images, chunks=(chunks, 4))
    pairs, facts = surveyed(lazy, da.from_array(texts, chunks=(250, -1)), whiten, False)
    rows = make_halves(facts, 0.3, whiten).joined(pairs, np.float64).compute()
    expected = np.hstack([half_by_hand(images, 0.7, whiten), half_by_hand(texts, 0.3)])
    # the axes of whitening are in any order and of any sign
    assert_allclose(rows @ rows.T, expected @ expected.T, atol=1e-6)
    assert_allclose(rows[:, D:], expected[:, D:], atol=1e-6)


@pytest.mark.parametrize("whiten", [None, 0.25])
def test_predicted_texts_are_those_of_ridge(data, whiten):
    images, texts = data
    pairs, facts = surveyed(images, texts, whiten, True)
    rows = make_halves(facts, 0.3, whiten).joined(pairs, np.float64).compute()
    y, t = images - images.mean(axis=0), texts - texts.mean(axis=0)
    learn = np.arange(N) < 675
    best, least = None, np.inf
    for penalty in PENALTIES * np.trace(y[learn].T @ y[learn]) / 675 / D:
        trial = np.linalg.solve(y[learn].T @ y[learn] + 675 * penalty * np.eye(D), y[learn].T @ t[learn])
        left = ((t - y @ trial)[~learn] ** 2).sum()
        if left < least:
            best, least = penalty, left
    predicted = y @ np.linalg.solve(y.T @ y + N * best * np.eye(D), y.T @ t)
    assert_allclose(rows[:, D:], half_by_hand(predicted, 0.3), atol=1e-5)
    assert_allclose(facts.predicted_share, 1 - least / (t[~learn] ** 2).sum(), atol=1e-6)


def test_ridge_without_rows_kept_back():
    rng = np.random.default_rng(0)
    a, c = rng.standard_normal((50, 4)), rng.standard_normal((50, 2))
    found = ridge([Products(50, a.T @ a / 50, a.T @ c / 50, float((c**2).sum()) / 50)])
    expected = np.linalg.solve(a.T @ a / 50 + found.penalty * np.eye(4), a.T @ c / 50)
    assert_allclose(found.coefficients, expected)
    assert np.isnan(found.explained)


def test_codes_are_those_of_pursuit_by_hand(data, result):
    images, texts = data
    d = result.n_image_features
    rows = result.both.coder.transformed(np.hstack(data).astype(np.float64)).astype(np.float64)
    atoms = result.both.coder.dictionary.astype(np.float64)
    if result.text_map is None:
        image_rows, image_atoms = rows[:, :d], atoms[:, :d]
    else:  # images with the texts that they predict
        text = (images - images.mean(axis=0)) @ result.text_map / result.text_scale
        image_rows, image_atoms = np.hstack([rows[:, :d], text]), atoms
    cases = [
        (result.encode(images, texts), rows, atoms),
        (result.encode(images), image_rows, image_atoms),
        (result.encode(texts=texts), rows[:, d:], atoms[:, d:]),
    ]
    for codes, given, dictionary in cases:
        codes = codes.compute().todense()
        unit = dictionary / np.linalg.norm(dictionary, axis=1, keepdims=True)
        alike = 0
        for row, code in zip(given[:60], codes, strict=False):
            support, values = reference.omp(row, unit, K)
            alike += set(support) == set(np.flatnonzero(code))
            if set(support) == set(np.flatnonzero(code)):
                assert_allclose(code[support], values, rtol=2e-3, atol=1e-4)
        assert alike >= 58  # others are ties but for rounding


def test_text_vectors_are_ridge_on_codes_of_images(data, result):
    images, texts = data
    codes = result.encode(images).compute().todense().astype(float)
    assert explained(result.predict_texts(codes), texts) > 0.9
    x, t = codes - codes.mean(axis=0), texts - texts.mean(axis=0)
    # what is left is orthogonal to codes, but for the penalty
    left = t - x @ result.text_vectors
    products, vectors = x.T @ left / N, result.text_vectors
    penalty = (products * vectors).sum() / (vectors**2).sum()
    assert PENALTIES[0] / 2 <= penalty / (np.trace(x.T @ x) / N / M) <= PENALTIES[-1] * 2
    assert np.linalg.norm(products - penalty * vectors) < 1e-4 * np.linalg.norm(x.T @ t / N)
    assert_allclose(
        result.predict_texts(result.encode(images)).compute(), result.predict_texts(codes), atol=1e-6
    )
    assert_allclose(result.predict_texts(codes), texts.mean(axis=0) + x @ result.text_vectors, atol=1e-6)


def test_atoms_are_found_in_both_halves(data, result):
    images, texts = data
    assert_allclose(np.square(result.norms).sum(axis=1), 1, atol=1e-5)
    assert result.images.evaluate(images)["fvu"] < 0.05
    assert result.figures["text_explained"] > 0.9
    if result.texts_as == "captions":
        assert result.texts.evaluate(texts)["fvu"] < 0.05
        assert result.both.evaluate(np.hstack(data))["fvu"] < 0.05
        decoded = result.images.decode(result.encode(images)).compute()
        assert explained(decoded, images) > 0.95


def test_other_chunks_learn_as_much(data, result):
    images, texts = data
    lazy = da.from_array(images, chunks=(130, 3)), da.from_array(texts, chunks=(400, -1))
    other = fit_joint(*lazy, texts_as=result.texts_as, whiten=0.25, **SETTINGS)
    assert abs(other.images.score(images) - result.images.score(images)) < 0.03


def test_shuffled_texts_give_nothing(data):
    images, texts = data
    shuffled = texts[np.random.default_rng(1).permutation(N)]
    for kind in ("captions", "predicted"):
        found = fit_joint(images, shuffled, texts_as=kind, **SETTINGS)
        assert found.figures["text_explained"] < 0.05
        assert explained(found.predict_texts(found.encode(images).compute()), shuffled) < 0.1


def test_saved_and_loaded(result, data, tmp_path):
    path = tmp_path / "joint.zarr"
    result.save(path)
    loaded = load_joint(path)
    assert_same_bits(loaded.both, result.both)
    for name in ("text_vectors", "text_offset", "text_map"):
        assert_array_equal(getattr(loaded, name), getattr(result, name))
    assert loaded.figures == result.figures and repr(loaded) == repr(result)
    assert_array_equal(loaded.images.dictionary, result.images.dictionary)
    assert (loaded.encode(data[0]) != result.encode(data[0])).sum().compute() == 0
    with pytest.raises(FileExistsError, match="overwrite=True"):
        result.save(path)
    result.save(path, overwrite=True)
    with pytest.raises(ValueError, match="not a result of daskksvd"):
        daskksvd.load(path)
    result.images.save(tmp_path / "images.zarr")  # which is a result as any other
    assert_array_equal(daskksvd.load(tmp_path / "images.zarr").dictionary, result.images.dictionary)
    with pytest.raises(ValueError, match="not a joint result of daskksvd"):
        load_joint(tmp_path / "images.zarr")
    with pytest.raises(ValueError, match="not a result of daskksvd"):
        result.both.save(path, overwrite=True)


def test_a_checkpoint_is_gone_on_with(data, tmp_path):
    class Stop:
        def __init__(self, after):
            self.left = after

        def __call__(self, event):
            self.left -= 1
            if self.left == 0:
                raise KeyboardInterrupt

    path = tmp_path / "fit.ckpt"
    with pytest.raises(daskksvd.FitInterrupted) as stopped:
        fit_joint(*data, checkpoint=path, callbacks=[Stop(25)], **SETTINGS)
    assert stopped.value.result.images.encode(data[0]).shape == (N, M)
    assert_same_bits(fit_joint(*data, checkpoint=path, **SETTINGS).both, fit_joint(*data, **SETTINGS).both)


def test_cluster_gives_the_same(data, tmp_path):
    """Rows without text as well, which are coded to be filled; from stores, in chunks of their own."""
    stores = []
    for name, rows, height in zip(("images", "texts"), data, (300, 200), strict=True):
        chunks = (height, rows.shape[1])
        stores.append(zarr.create_array(tmp_path / name, shape=rows.shape, chunks=chunks, dtype="float32"))
        stores[-1][:] = rows
    settings = {**SETTINGS, "whiten": 0.25, "max_passes": 1, "n_rounds": 1, "paired": np.arange(N) % 5 > 0}
    expected = fit_joint(*stores, **settings)
    with (
        LocalCluster(
            n_workers=2, threads_per_worker=1, processes=False, protocol="tcp://", dashboard_address=":0"
        ) as cluster,
        Client(cluster) as client,
    ):
        paths = [tmp_path / "images", tmp_path / "texts"]
        found = fit_joint(*paths, client=client, **{**settings, "n_threads": None})
        assert_same_bits(found.both, expected.both)
        assert_array_equal(found.text_vectors, expected.text_vectors)
        assert_nothing_left(client)


@pytest.mark.parametrize(
    "change, error, message",
    [
        (
            {"text_weight": 1.0},
            ValueError,
            "text_weight=1.0; it must be a number above 0 and below 1, or 'auto'",
        ),
        ({"text_weight": "half"}, TypeError, "text_weight is 'half'"),
        ({"texts_as": "words"}, ValueError, "texts_as='words'; it must be one of 'captions', 'predicted'"),
        ({"init": "random"}, TypeError, r"fit_joint\(\) has no argument 'init'"),
        ({"n_components": 0}, ValueError, "n_components=0; it must be at least 1"),
        ({"n_nonzero_coefs": None}, ValueError, "neither n_nonzero_coefs nor rtol"),
        ({"whiten": 2}, ValueError, "whiten=2; it must be an exponent above 0"),
        ({"callbacks": 3}, TypeError, "callbacks is 3"),
        ({"n_components": 1000, "n_nonzero_coefs": 3}, ValueError, "fewer than n_components=1000"),
        ({"paired": np.zeros(N, bool)}, ValueError, "no row has both an image and a text"),
        ({"paired": np.ones(4, bool)}, ValueError, r"paired has shape \(4,\) and dtype bool; it must be 900"),
    ],
)
def test_arguments_are_refused(data, change, error, message):
    with pytest.raises(error, match=message):
        fit_joint(*data, **{**SETTINGS, **change})


def test_data_are_refused(data):
    images, texts = data
    with pytest.raises(ValueError, match="texts has 899 rows, images has 900; row i of both"):
        fit_joint(images, texts[1:], **SETTINGS)
    wrong = images.copy()
    wrong[17, 3] = np.nan
    with pytest.raises(ValueError, match="1 row with NaN or infinite values, the first is row 17"):
        fit_joint(wrong, texts, **SETTINGS)
    with pytest.raises(ValueError, match="all rows of texts are equal"):
        fit_joint(images, np.ones_like(texts), **SETTINGS)
    masked = np.ma.masked_array(texts, np.zeros_like(texts, bool))
    masked[5, 2] = np.ma.masked
    with pytest.raises(ValueError, match="texts has 1 row with masked values, the first is row 5"):
        fit_joint(images, masked, **SETTINGS)
    with pytest.raises(ValueError, match="neither images nor texts were given"):
        fit_joint(images, texts, **SETTINGS).encode()


needs_photographs = pytest.mark.skipif(
    not (FEATURES.exists() and CAPTIONS.exists()),
    reason=f"there is no {FEATURES.name} in {FEATURES.parent}; DASKKSVD_TEST_DATA may name its folder",
)


@pytest.fixture(scope="module")
def photographs():
    """Features, which half is learned from, and shares of their captions that have each frequent word."""
    features = np.load(FEATURES)
    captions = pd.read_parquet(CAPTIONS).captions
    train = np.zeros(len(features), bool)
    train[np.random.default_rng(0).permutation(len(features))[: len(features) // 2]] = True
    counts = CountVectorizer(max_features=300, stop_words="english", binary=True)
    words = counts.fit_transform([caption for texts in captions for caption in texts])
    row = np.repeat(np.arange(len(captions)), captions.map(len))
    sums = sp.csr_array((np.ones(len(row)), (row, np.arange(len(row))))) @ words
    return features, train, np.asarray(sums.todense() / captions.map(len).to_numpy()[:, None], np.float32)


@needs_photographs
def test_photographs(photographs):
    """A little text costs images next to nothing; predicted texts say most of captions; shuffled nothing."""
    features, train, texts = photographs
    settings = {"n_components": 128, "n_nonzero_coefs": 5, "whiten": 0.25, "random_state": 0, "max_passes": 8}
    alone = daskksvd.fit(features[train], **settings).evaluate(features[~train])["fvu"]
    shuffled = texts[train][np.random.default_rng(1).permutation(train.sum())]
    fvu, said = {}, {}
    for name, given, kind, weight in (
        ("captions", texts[train], "captions", 0.2),
        ("predicted", texts[train], "predicted", 0.2),
        ("shuffled", shuffled, "captions", 0.2),
    ):
        found = fit_joint(features[train], given, text_weight=weight, texts_as=kind, **settings)
        fvu[name] = found.images.evaluate(features[~train])["fvu"] / alone - 1
        said[name] = explained(found.predict_texts(found.encode(features[~train]).compute()), texts[~train])
    assert fvu["captions"] < 0.05
    assert said["predicted"] > said["captions"] > 0.05
    assert said["shuffled"] < 0.01
