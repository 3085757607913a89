"""Coding by PyTorch: the same codes as those of the kernels, up to ties and rounding.

On the processor, or on the device that DASKKSVD_TEST_DEVICE names.
"""

import os
import warnings

import dask
import numpy as np
import pytest
import reference
from numpy.testing import assert_allclose, assert_array_equal
from reference import products_of

import daskksvd
from daskksvd.coding import OneShot, SparseCoder, SparsityTarget, code_blocks, code_rows, how, make_products
from daskksvd.coding.how import How
from daskksvd.fitting.statistics import COUPLED, SEPARATE, Wanted, job_moments
from daskksvd.rows import Transform

torch = pytest.importorskip("torch", reason="it codes")
DEVICE = os.environ.get("DASKKSVD_TEST_DEVICE", "cpu")
ON_DEVICE = How(device=DEVICE)
M, D, K = 150, 48, 5
SETTINGS = {"n_components": 24, "n_nonzero_coefs": 3, "random_state": 1}


@pytest.fixture
def atoms():
    return reference.unit_atoms(np.random.default_rng(0), M, D)


def make_rows(atoms, n=700, noise=0.1, seed=1):
    rng = np.random.default_rng(seed)
    used = rng.integers(0, len(atoms), (n, 4))
    rows = (rng.standard_normal((n, 4, 1)) * atoms[used]).sum(1) + noise * rng.standard_normal((n, D))
    rows[3], rows[4], rows[5] = 0, 7 * atoms[9], atoms[2] - 2 * atoms[3]
    return rows


def assert_same_codes(ours, theirs, dtype, least=1.0):
    alike = (ours.indices == theirs.indices).all(axis=1)
    assert alike.mean() >= least
    assert ours.indices.dtype == theirs.indices.dtype and ours.values.dtype == theirs.values.dtype
    atol = 200 * np.finfo(dtype).eps * max(1, np.abs(theirs.values).max())
    assert_allclose(ours.values[alike], theirs.values[alike], atol=atol)


@pytest.mark.parametrize("dtype", ["f4", "f8"])
@pytest.mark.parametrize("pursuit", ["omp", "mp"])
@pytest.mark.parametrize(("k", "rtol"), [(K, 0.0), (K, 0.3), (1, 0.0), (D, 0.2)])
def test_the_same_codes(atoms, dtype, pursuit, k, rtol):
    rows, atoms = make_rows(atoms).astype(dtype), atoms.astype(dtype)
    ours = code_rows(rows, products_of(atoms, k, rtol, pursuit, how=ON_DEVICE))
    theirs = code_rows(rows, products_of(atoms, k, rtol, pursuit, how=How()))
    assert_same_codes(ours, theirs, dtype, 0.995 if k == D else 1.0)
    assert_array_equal(ours.indices[3], -1)
    assert ours.indices[4, 0] == 9 and (ours.indices[4, 1:] == -1).all()


@pytest.mark.parametrize("dtype", ["f4", "f8"])
def test_energies(atoms, dtype):
    rows, atoms = make_rows(atoms, noise=0).astype(dtype), atoms.astype(dtype)
    [block] = code_blocks(rows, products_of(atoms, K, how=ON_DEVICE))
    left = rows - reference.dense(block.codes, M) @ atoms.astype(float)
    assert_allclose(block.energy, (rows.astype(float) ** 2).sum(axis=1), rtol=1e-12)
    scale = np.finfo(dtype).eps * block.energy + 1e-300
    # of rows that are coded but for rounding, what is left is measured
    assert np.all(np.abs(block.energy - block.explained - (left**2).sum(axis=1)) <= 20 * scale)


def test_atoms_nearly_alike_are_gone_on_with_in_double_precision(atoms):
    rng = np.random.default_rng(3)
    close = atoms + 1e-3 * reference.unit_atoms(rng, M, D)
    atoms = np.concatenate([atoms, close / np.linalg.norm(close, axis=1, keepdims=True)]).astype("f4")
    rows = (atoms[rng.integers(0, M, 300)] - atoms[M + rng.integers(0, M, 300)]).astype("f4")
    found = [code_rows(rows, products_of(atoms, 4, how=way)) for way in (ON_DEVICE, How())]
    # which of two atoms is taken that fit alike but for rounding is open; what is left is not
    left = [np.linalg.norm(rows - reference.dense(codes, 2 * M) @ atoms, axis=1) for codes in found]
    assert_allclose(*(np.median(part) for part in left), rtol=0.1)
    assert max(part.max() for part in left) < 2e-3


@pytest.mark.parametrize("dtype", ["f4", "f8"])
@pytest.mark.parametrize("pursuit", ["omp", "mp"])
@pytest.mark.parametrize(
    "more", [{"nonnegative": True}, {"threshold": 0.8}, {"nonnegative": True, "rtol": 0.4}]
)
def test_positive_codes_and_thresholds(atoms, dtype, pursuit, more):
    rows, atoms = make_rows(atoms, noise=0.2).astype(dtype), atoms.astype(dtype)
    ours, theirs = (
        code_rows(rows, products_of(atoms, 8, pursuit=pursuit, how=way, **more)) for way in (ON_DEVICE, How())
    )
    used = (theirs.indices >= 0).sum(axis=1)
    assert used.max() > used[used > 0].min()  # some rows end before others
    if more.get("nonnegative"):
        assert (ours.values[ours.indices >= 0] > 0).all()
    assert_same_codes(sorted_codes(ours), sorted_codes(theirs), dtype, 0.995)


def sorted_codes(codes):
    """The same with every row's atoms in ascending order: those that left and came back lie elsewhere."""
    order = np.argsort(np.where(codes.indices < 0, M, codes.indices), axis=1)
    return type(codes)(*(np.take_along_axis(part, order, 1) for part in codes))


@pytest.mark.parametrize("nonnegative", [False, True])
@pytest.mark.parametrize("threshold", [0.0, 0.5])
def test_codes_by_an_encoder(atoms, nonnegative, threshold):
    rng = np.random.default_rng(6)
    rows, atoms = make_rows(atoms).astype("f4"), atoms.astype("f4")
    noise = 0.1 * rng.standard_normal((M, D))
    encoder = OneShot((atoms + noise).astype("f4"), 0.1 * rng.standard_normal(M), np.ones(M), 0.3)
    target = SparsityTarget(K, nonnegative=nonnegative, threshold=threshold)
    ours, theirs = (
        code_rows(rows, make_products(SparseCoder(atoms, Transform(), target, encoder, how=way)))
        for way in (ON_DEVICE, How())
    )
    assert_same_codes(ours, theirs, "f4", 0.99)


def test_blocks_of_any_size(atoms, monkeypatch):
    rows, atoms = make_rows(atoms).astype("f4"), atoms.astype("f4")
    products = products_of(atoms, K, how=ON_DEVICE)
    whole = code_rows(rows, products)
    monkeypatch.setattr("daskksvd.coding.device.products.BLOCK_ROWS", (100, 100))
    assert_same_codes(code_rows(rows, products), whole, "f4")
    starts = [block.start for block in code_blocks(rows, products)]
    assert starts == list(range(0, 700, 100))


@pytest.mark.parametrize("stored", ["f2", "f4", "f8", ">f4", "i4", "u1", "u2"])
@pytest.mark.parametrize("center", [False, True])
def test_rows_as_they_are_stored(atoms, stored, center):
    rng = np.random.default_rng(4)
    rows = (20 * np.abs(make_rows(atoms, 60))).astype(stored)
    basis = np.linalg.qr(rng.standard_normal((D, D)))[0]
    scale = rng.uniform(0.5, 2, D)
    transform = Transform(rows.mean(axis=0, dtype=float) if center else None, basis, scale)
    atoms = atoms.astype("f4")
    found = [
        code_rows(rows, products_of(atoms, K, transform=transform, how=way)) for way in (ON_DEVICE, How())
    ]
    assert_same_codes(*found, "f4", 0.98)


def test_bad_rows_are_told(atoms):
    rows = make_rows(atoms).astype("f4")
    rows[17, 3] = np.nan
    with pytest.raises(ValueError, match="row 1017"):
        code_rows(rows, products_of(atoms.astype("f4"), K, how=ON_DEVICE), offset=1000)


class Job:
    """Pieces of rows in memory, as `rows.Job` reads them."""

    def __init__(self, *pieces):
        self.pieces = pieces

    def read(self, inputs):
        return enumerate(self.pieces)


@pytest.mark.parametrize("statistics", [COUPLED, SEPARATE, None])
@pytest.mark.parametrize("scaled", [False, True])
def test_moments(atoms, statistics, scaled):
    rows, atoms = make_rows(atoms).astype("f4"), atoms.astype("f4")
    scale = np.random.default_rng(5).uniform(0.5, 2, D) if scaled else None
    job = Job(rows[:300], rows[300:])
    found = []
    for way in (ON_DEVICE, How()):
        codes = []
        products = products_of(atoms, K, transform=Transform(scale=scale), how=way)
        found.append((job_moments(job, [], products, Wanted(statistics, 6), codes), codes))
    (ours, our_codes), (theirs, their_codes) = found
    for mine, other in zip(our_codes, their_codes, strict=True):
        assert_same_codes(mine, other, "f4")
    for name, mine, other in zip(ours._fields, ours, theirs, strict=True):
        if other is None:
            assert mine is None
        else:
            assert np.asarray(mine).dtype == np.asarray(other).dtype, name
            assert_allclose(mine, other, rtol=1e-4, atol=1e-4 * np.abs(other).max(initial=0), err_msg=name)


@pytest.mark.parametrize("settings", [{}, {"update": "ksvd"}, {"update": "batch"}, {"whiten": 0.25}])
def test_fits_learn_the_same(settings):
    planted = daskksvd.datasets.make_planted(3_000, 16, 24, 3, random_state=0).array.compute()
    how = {**SETTINGS, "max_passes": 4, **settings}
    ours, theirs = (daskksvd.fit(planted, device=device, **how) for device in (DEVICE, None))
    assert_allclose(
        ours.history.relative_error.values[-1], theirs.history.relative_error.values[-1], rtol=0.02
    )
    assert ours.settings["device"] == DEVICE and theirs.settings["device"] is None


def test_fits_are_the_same_bits_with_any_number_of_threads_and_workers(tmp_path):
    from distributed import Client

    array = daskksvd.datasets.make_planted(4_000, 16, 24, 3, random_state=0).array.rechunk((500, 16))
    settings = {**SETTINGS, "max_passes": 3, "device": DEVICE}
    one = daskksvd.fit(array, n_threads=1, **settings)
    two = daskksvd.fit(array, n_threads=2, checkpoint=tmp_path / "kept", **settings)
    assert_array_equal(one.dictionary, two.dictionary)
    with Client(n_workers=2, threads_per_worker=1, processes=False, dashboard_address=None) as client:
        assert_array_equal(one.dictionary, daskksvd.fit(array, client=client, **settings).dictionary)
    # a checkpoint goes on as it was begun
    with pytest.raises(ValueError, match="device differ"):
        daskksvd.fit(array, checkpoint=tmp_path / "kept", **{**settings, "device": None})
    again = daskksvd.fit(array, checkpoint=tmp_path / "kept", **settings)
    assert_array_equal(one.dictionary, again.dictionary)


@pytest.fixture(scope="module")
def learned():
    planted = daskksvd.datasets.make_planted(2_000, 16, 24, 3, random_state=0).array.rechunk((400, 16))
    return planted, daskksvd.fit(planted, max_passes=2, **SETTINGS)


def test_encode_and_write_codes(learned, tmp_path):
    rows, result = learned
    expected = result.encode(rows).compute().todense()
    lazy = result.encode(rows, device=DEVICE)
    assert_allclose(lazy.compute().todense(), expected, atol=1e-5)
    with dask.config.set(scheduler="processes"):  # what is on a device is made anew in each
        assert_allclose(lazy.compute().todense(), expected, atol=1e-5)
    result.write_codes(rows, tmp_path / "codes", device=DEVICE)
    assert_allclose(daskksvd.open_codes(tmp_path / "codes").compute().todense(), expected, atol=1e-5)


def test_the_estimator(learned):
    rows = learned[0].compute()
    models = [
        daskksvd.KSVD(24, n_nonzero_coefs=3, random_state=1, max_passes=2, device=device).fit(rows)
        for device in (DEVICE, None)
    ]
    codes = [model.transform(rows) for model in models]
    assert_allclose(*codes, atol=2e-2)
    for model in models:
        model.partial_fit(rows[:500])
    assert_allclose(*(model.components_ for model in models), atol=2e-2)


def test_a_device_that_is_not_there_is_told_in_one_sentence(learned, tmp_path, monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    rows, result = learned
    message = "device='cuda' cannot be used .*finds no CUDA device.*: rows are coded on processors"
    settings = {**SETTINGS, "max_passes": 1}
    with pytest.warns(RuntimeWarning, match=message) as told:
        found = daskksvd.fit(rows, device="cuda", **settings)
    assert len(told) == 1
    assert_array_equal(found.dictionary, daskksvd.fit(rows, **settings).dictionary)
    with pytest.warns(RuntimeWarning, match=message):
        result.write_codes(rows, tmp_path / "codes", device="cuda")
    with pytest.warns(RuntimeWarning, match=message):
        result.encode(rows, device="cuda").compute(scheduler="sync")
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        daskksvd.fit(rows, device="auto", **settings)


def test_without_pytorch(monkeypatch):
    monkeypatch.setitem(__import__("sys").modules, "torch", None)
    assert how.find_device("cuda").why.startswith("PyTorch is not installed")


@pytest.mark.parametrize(("device", "error"), [("gpu", ValueError), ("cuda:x", ValueError), (0, TypeError)])
def test_what_is_no_device(learned, device, error):
    rows, result = learned
    for call in (
        lambda: daskksvd.fit(rows, n_components=4, n_nonzero_coefs=1, device=device),
        lambda: result.encode(rows, device=device),
        lambda: result.write_codes(rows, "nowhere", device=device),
    ):
        with pytest.raises(error, match="device="):
            call()


def test_precision_is_held_and_given_back(atoms):
    torch.set_float32_matmul_precision("medium")
    try:
        code_rows(make_rows(atoms).astype("f4"), products_of(atoms.astype("f4"), K, how=ON_DEVICE))
        assert torch.get_float32_matmul_precision() == "medium"
        assert not torch.is_inference_mode_enabled()
    finally:
        torch.set_float32_matmul_precision("highest")


@pytest.mark.parametrize(("threshold", "nonnegative"), [("mean", False), ("noise", True), (0.4, True)])
def test_thresholds_are_found_by_fits_on_a_device(threshold, nonnegative):
    planted = daskksvd.datasets.make_planted(2_000, 16, 24, 3, random_state=0).array.compute()
    how = {**SETTINGS, "threshold": threshold, "nonnegative": nonnegative, "max_passes": 2, "holdout": 0.1}
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message=".*noise.*")
        ours, theirs = (daskksvd.fit(planted, device=device, **how) for device in (DEVICE, None))
    assert_allclose(ours.coder.target.threshold, theirs.coder.target.threshold, rtol=0.05)


def test_whole_numbers_keep_their_digits_until_they_are_centred(atoms):
    rng = np.random.default_rng(7)
    rows = (2**30 + rng.integers(-50, 51, (50, D))).astype("i4")
    transform = Transform(rows.mean(axis=0, dtype=float))
    atoms = atoms.astype("f4")
    ours, theirs = (
        code_rows(rows, products_of(atoms, K, transform=transform, how=way)) for way in (ON_DEVICE, How())
    )
    assert_same_codes(ours, theirs, "f4")


def test_evaluate_and_score(learned):
    rows, result = learned
    ours, theirs = result.evaluate(rows, device=DEVICE), result.evaluate(rows)
    assert ours.keys() == theirs.keys()
    assert_allclose(list(ours.values()), list(theirs.values()), rtol=1e-4)
    assert_allclose(result.score(rows, device=DEVICE), result.score(rows), rtol=1e-4)


@pytest.mark.parametrize("more", [{"nonnegative": True}, {"pursuit": "mp"}])
def test_rows_of_which_many_are_gone_on_with_by_the_processor(more):
    """As many nonzeros as features: near the end nothing can be told from rounding.

    The atoms are the same but for ties, and what is left is no more than normal equations in single
    precision leave: ``eps cond(A)^2 |A| |x|`` above least squares (Higham 2002, section 20.4), of which a
    tenth is allowed.
    """
    rows = np.asarray(daskksvd.datasets.make_planted(600, 24, 48, 4, noise=0.05, random_state=3).array, "f4")
    atoms = reference.unit_atoms(np.random.default_rng(2), 48, 24).astype("f4")
    ours, theirs = (
        code_rows(rows, products_of(atoms, 24, how=way, **{"pursuit": "omp", **more}))
        for way in (ON_DEVICE, How())
    )
    assert (np.sort(ours.indices) == np.sort(theirs.indices)).all(axis=1).mean() > 0.98
    for codes in (ours, theirs):
        for row, indices, values in zip(rows.astype(float), *codes, strict=True):
            A, x = atoms[indices[indices >= 0]].T.astype(float), values[indices >= 0]
            best = np.linalg.lstsq(A, row, rcond=None)[0]
            above = np.linalg.norm(row - A @ x) - np.linalg.norm(row - A @ best)
            bound = np.finfo("f4").eps * np.linalg.cond(A) ** 2 * np.linalg.norm(A, 2) * np.linalg.norm(best)
            assert above < 0.1 * bound + 1e-6
