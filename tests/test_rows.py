"""Arrays of every kind as rows, how they are cut and read, the survey, and preprocessing."""

import pathlib
from concurrent.futures import ThreadPoolExecutor

import dask
import dask.array as da
import numpy as np
import pandas as pd
import pytest
import reference
import scipy.sparse
import sparse
import xarray as xr
import zarr
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.testing import assert_allclose, assert_array_equal
from reference import products_of

import daskksvd
from daskksvd.coding import code_block
from daskksvd.rows import (
    Transform,
    as_source,
    cut_jobs,
    cut_pieces,
    cut_waves,
    make_transform,
    run_survey,
    source,
    split_holdout,
)
from daskksvd.rows.graph import take_apart
from daskksvd.rows.transform import EIGENVALUE_FLOOR

DTYPES = ["float16", "float32", "float64", "int8", "int32", "int64", "uint8", "uint64", "bool"]
sizes = st.lists(st.integers(1, 60), min_size=1, max_size=20)


def values(n=40, d=6, dtype="float64", seed=0):
    return (np.random.default_rng(seed).standard_normal((n, d)) * 20).astype(dtype)


def read(array):
    """All rows, as tasks read them."""
    executor, reader, jobs = reference.prepared(array)
    parts = [part for job in jobs for _, part in job.read(reader.inputs(job))]
    executor.close()
    return np.concatenate(parts)


def store_array(tmp_path, X, **options):
    store = zarr.create_array(tmp_path / "array.zarr", shape=X.shape, dtype=X.dtype, **options)
    store[:] = X
    return store


# ------------------------------------------------------------------ what comes in


def stored_group(path, **arrays):
    group = zarr.open_group(path, mode="w")
    for name, array in arrays.items():
        group.create_array(name, data=array)
    return str(path)


def npy_file(path, X):
    np.save(path, X)
    return path


INPUTS = {
    "numpy": lambda X, _: X,
    "list": lambda X, _: X.tolist(),
    "fortran": lambda X, _: np.asfortranarray(X),
    "every other": lambda X, _: np.repeat(X, 2, axis=0)[::2],
    "dask": lambda X, _: da.from_array(X, chunks=(9, 6)),
    "dask, features in chunks": lambda X, _: da.from_array(X, chunks=(9, 4)),
    "dask, one row a chunk": lambda X, _: da.from_array(X, chunks=(1, 6)),
    "dask, uneven": lambda X, _: da.from_array(X, chunks=((1, 20, 3, 16), (5, 1))),
    "dask, empty chunks": lambda X, _: da.from_array(X, chunks=((0, 20, 0, 20, 0), 6)),
    "dask, persisted": lambda X, _: da.from_array(X, chunks=(9, 6)).persist(),
    "dask, transposed": lambda X, _: da.from_array(X.T.copy(), chunks=(4, 11)).T,
    "xarray": lambda X, _: xr.DataArray(X, dims=("sample", "feature")),
    "xarray of dask": lambda X, _: xr.DataArray(X, dims=("sample", "feature")).chunk(sample=13),
    "pandas": lambda X, _: pd.DataFrame(X),
    "zarr": lambda X, folder: store_array(folder, X, chunks=(7, 4)),
    "path": lambda X, folder: str(store_array(folder, X, chunks=(7, 4)).store.root),
    "Path": lambda X, folder: pathlib.Path(store_array(folder, X, chunks=(7, 4)).store.root),
    "path of a .npy file": lambda X, folder: npy_file(folder / "array.npy", X),
    "group of one": lambda X, folder: stored_group(folder / "g", anything=X, labels=np.arange(len(X))),
    "group with embeddings": lambda X, folder: stored_group(folder / "g", embeddings=X, others=X + 1),
}


@pytest.mark.parametrize("kind", INPUTS)
def test_every_kind_of_array_gives_its_rows(tmp_path, kind):
    X = values()
    array = INPUTS[kind](X, tmp_path)
    rows = as_source(array)
    assert (rows.n, rows.d, rows.dtype) == (*X.shape, X.dtype)
    assert sum(rows.chunk_rows) == len(X) and min(rows.chunk_rows) > 0
    assert rows.array.numblocks[1] == 1
    assert_array_equal(read(array), X)


@pytest.mark.parametrize("dtype", DTYPES)
def test_every_real_dtype_is_kept_and_coded(dtype, tmp_path):
    X = values(dtype=dtype)
    for array in (X, da.from_array(X, chunks=(11, 2)), store_array(tmp_path, X, chunks=(9, 6))):
        assert as_source(array).dtype == X.dtype
        assert_array_equal(read(array), X)
        prepared = Transform().apply(read(array), np.float32)
        assert prepared.dtype == np.float32 and prepared.flags.c_contiguous


def test_names_of_features_are_kept():
    X = values(5, 3)
    frame = pd.DataFrame(X, columns=["a", "b", "c"])
    assert as_source(frame).feature_names == ["a", "b", "c"]
    named = xr.DataArray(X, dims=("sample", "feature"), coords={"feature": [10, 20, 30]})
    assert as_source(named).feature_names == [10, 20, 30]
    assert as_source(X).feature_names is None


def test_rows_are_rows_already():
    rows = as_source(values())
    assert as_source(rows) is rows


def test_tiny_chunks_of_a_store_are_read_together_and_shards_whole(tmp_path, monkeypatch):
    monkeypatch.setattr(source, "MEMORY_CHUNK_BYTES", 4 * 30 * 6 * 8)  # reads of about 30 rows
    X = values(200)
    stored = store_array(tmp_path, X, chunks=(7, 6))
    assert as_source(stored).chunk_rows == (28,) * 7 + (4,)
    assert_array_equal(read(stored), X)
    sharded = zarr.create_array(tmp_path / "s.zarr", shape=X.shape, dtype="f8", chunks=(5, 6), shards=(50, 6))
    sharded[:] = X
    assert as_source(sharded).chunk_rows == (50, 50, 50, 50)
    assert_array_equal(read(sharded), X)
    assert as_source(X).chunk_rows == (120, 80)


def test_arrays_of_this_process_are_not_copied(monkeypatch):
    """`dask.array.from_array` would."""
    monkeypatch.setattr(source, "MEMORY_CHUNK_BYTES", 15 * 6 * 8)
    X = values()
    executor, reader, jobs = reference.prepared(X)
    parts = [part for job in jobs for _, part in job.read(executor.gather(reader.inputs(job)))]
    executor.close()
    assert len(reader.source.chunk_rows) == 3
    assert_array_equal(np.concatenate(parts), X)
    assert all(np.shares_memory(part, X) for part in parts)


# ------------------------------------------------------------------- what is refused


def lazy(X):
    return da.from_array(X, chunks=(10, 6))


def text_file(folder):
    (folder / "text").write_text("no store")
    return folder / "text"


def npz_file(folder):
    np.savez(folder / "arrays.npz", values())
    return folder / "arrays.npz"


BAD_INPUTS = {
    "1-d": (lambda X, _: X[0], ValueError, ["1 dimension", "(6,)", "n x d", "reshape(1, -1)"]),
    "0-d": (lambda X, _: 3.0, ValueError, ["0 dimensions", "n x d"]),
    "None": (lambda X, _: None, ValueError, ["0 dimensions", "n x d"]),
    "3-d": (lambda X, _: X[None], ValueError, ["3 dimensions", "(1, 40, 6)", "n x d"]),
    "3-d dask": (lambda X, _: lazy(X)[None], ValueError, ["3 dimensions", "(1, 40, 6)", "n x d"]),
    "1-d zarr": (lambda X, folder: store_array(folder, X[0], chunks=4), ValueError, ["1 dimension", "(6,)"]),
    "unknown chunks": (
        lambda X, _: lazy(X)[lazy(X)[:, 0] > 0],
        ValueError,
        ["unknown chunk sizes", "compute_chunk_sizes()"],
    ),
    "complex": (lambda X, _: X + 1j, TypeError, ["complex", "must be real"]),
    "complex dask": (lambda X, _: lazy(X) + 1j, TypeError, ["complex", "must be real"]),
    "no rows": (lambda X, _: X[:0], ValueError, ["empty", "(0, 6)", "at least one"]),
    "no features": (lambda X, _: X[:, :0], ValueError, ["empty", "(40, 0)", "at least one"]),
    "objects": (lambda X, _: X.astype(object), TypeError, ["dtype object", "float32"]),
    "strings": (lambda X, _: X.astype(str), TypeError, ["dtype <U", "float32"]),
    "dates": (lambda X, _: X.astype("datetime64[s]"), TypeError, ["datetime64", "float32"]),
    "ragged": (lambda X, _: [[1.0, 2.0], [3.0]], ValueError, ["no array", "n x d"]),
    "mixed frame": (lambda X, _: pd.DataFrame({"a": [1.0], "b": ["x"]}), TypeError, ["dtype object"]),
    "Dataset": (lambda X, _: xr.Dataset({"left": ("x", [1])}), TypeError, ["Dataset", "variables: left"]),
    "COO": (lambda X, _: sparse.COO(X), TypeError, ["sparse", "dense"]),
    "CSR": (lambda X, _: scipy.sparse.csr_array(X), TypeError, ["sparse", "dense"]),
    "COO in dask": (lambda X, _: lazy(X).map_blocks(sparse.COO), TypeError, ["sparse", "dense"]),
    "no path": (lambda X, folder: folder / "nowhere", FileNotFoundError, ["nowhere", "no such path"]),
    "text file": (lambda X, folder: text_file(folder), ValueError, ["text", "no Zarr store"]),
    "npz file": (lambda X, folder: npz_file(folder), ValueError, ["arrays.npz", "no Zarr store"]),
    "folder": (lambda X, folder: str(folder), ValueError, ["no Zarr store"]),
    "group of two": (
        lambda X, folder: stored_group(folder / "g", left=X, right=X),
        ValueError,
        ["2 two-dimensional arrays", "left, right", "path of the array"],
    ),
    "group of none": (
        lambda X, folder: stored_group(folder / "g", flat=X[0]),
        ValueError,
        ["0 two-dimensional arrays", "path of the array"],
    ),
}


@pytest.mark.parametrize("kind", BAD_INPUTS)
def test_what_cannot_be_rows_is_refused_in_one_sentence(tmp_path, kind):
    make, error, words = BAD_INPUTS[kind]
    array = make(values(), tmp_path)
    with pytest.raises(error) as caught:
        as_source(array)
    message = str(caught.value)
    assert message.startswith("array ") and "\n" not in message
    for word in words:
        assert word in message
    with pytest.raises(error):
        daskksvd.fit(array, n_components=2, n_nonzero_coefs=1)


# ------------------------------------------------------------------ cutting


@given(sizes, st.integers(1, 100), st.floats(0, 0.9))
def test_pieces_cover_every_row_once_and_are_even(chunk_rows, most, share):
    kept = split_holdout(chunk_rows, share)
    learned = cut_pieces(chunk_rows, most, end=kept)
    held = cut_pieces(chunk_rows, most, begin=kept)
    offsets = np.concatenate([[0], np.cumsum(chunk_rows)])
    for piece in learned + held:
        assert 0 < piece.n_rows <= 1.5 * most
        assert piece.offset == offsets[piece.index] + piece.start
    numbers = [np.arange(piece.offset, piece.offset + piece.n_rows) for piece in learned + held]
    assert_array_equal(np.sort(np.concatenate(numbers)), np.arange(sum(chunk_rows)))
    assert abs(sum(piece.n_rows for piece in held) - share * sum(chunk_rows)) <= 0.5 + 1e-9
    for index in range(len(chunk_rows)):
        of_chunk = [piece.n_rows for piece in learned if piece.index == index]
        assert not of_chunk or max(of_chunk) - min(of_chunk) <= 1
        assert all(piece.start >= kept[index] for piece in held if piece.index == index)


@given(sizes, st.integers(1, 30), st.integers(1, 200), st.integers(1, 12), st.integers(0, 99))
def test_jobs_and_waves_deal_out_every_piece_once(chunk_rows, most, rows_a_job, n_waves, seed):
    pieces = cut_pieces(chunk_rows, most)
    jobs = cut_jobs(pieces, rows_a_job)
    assert all(jobs)
    rows = [(piece.index, row) for job in jobs for piece in job for row in range(piece.start, piece.stop)]
    assert rows == [(piece.index, row) for piece in pieces for row in range(piece.start, piece.stop)]
    offsets = np.concatenate([[0], np.cumsum(chunk_rows)])
    assert all(piece.offset == offsets[piece.index] + piece.start for job in jobs for piece in job)
    waves = cut_waves(pieces, n_waves, np.random.default_rng(seed))
    assert sorted(piece for wave in waves for piece in wave) == pieces
    assert len(waves) <= n_waves and all(wave == sorted(wave) for wave in waves)
    rows = [sum(piece.n_rows for piece in wave) for wave in waves]
    assert max(rows) <= sum(chunk_rows) / n_waves + 2 * max(piece.n_rows for piece in pieces)
    assert waves == cut_waves(pieces, n_waves, np.random.default_rng(seed))


@pytest.mark.parametrize("multiple", [1, 4])
def test_jobs_are_of_equal_size(multiple):
    jobs = cut_jobs(cut_pieces([1000, 300, 50, 700], 400), 250, multiple)
    sizes = [sum(piece.n_rows for piece in job) for job in jobs]
    assert len(jobs) == 8 and sum(sizes) == 2050
    assert max(sizes) - min(sizes) <= 1
    # chunks of less than an eighth of a job stay whole
    jobs = cut_jobs(cut_pieces([10] * 40, 10), 130, multiple)
    assert all(piece.n_rows == 10 for job in jobs for piece in job)


# ------------------------------------------------------------------- reading


def test_tasks_side_by_side_read_a_chunk_once():
    counted = reference.Counted(values(60), 30)
    executor, reader, _ = reference.prepared(counted.array)
    pieces = cut_pieces(reader.source.chunk_rows, 10)
    reads = [reader.job([piece]).read([]) for piece in pieces]
    with ThreadPoolExecutor(4) as pool:  # all hold on to what they have read
        found = list(pool.map(next, reads))
    assert_array_equal(np.concatenate([part for _, part in found]), values(60))
    assert counted.reads == {0: 1, 1: 1}
    del found
    for read in reads:
        read.close()
    list(reader.job(pieces[:1]).read([]))
    assert counted.reads == {0: 2, 1: 1}  # nothing was kept
    executor.close()


def test_nothing_is_computed_before_rows_are_read():
    counted = reference.Counted(values(60), 10)
    for array in (counted.array, xr.DataArray(counted.array, dims=("x", "y"))):
        executor, reader, jobs = reference.prepared(array)
        assert not counted.reads
    assert_array_equal(
        np.concatenate([part for _, part in jobs[2].read(reader.inputs(jobs[2]))]), values(60)[20:30]
    )
    assert counted.reads == {2: 1}
    executor.close()


@pytest.mark.parametrize("n_chunks", [1, 2, 3, 7, 20])
@pytest.mark.parametrize("kind", ["mean", "mean and deviation", "largest norm"])
def test_what_all_chunks_share_is_computed_once_and_no_chunk_is_kept(n_chunks, kind):
    X = values(60 // n_chunks * n_chunks)
    counted = reference.Counted(X, len(X) // n_chunks)
    x = counted.array
    array, expected = {
        "mean": (x - x.mean(0), X - X.mean(0)),
        "mean and deviation": ((x - x.mean(0)) / x.std(0), (X - X.mean(0)) / X.std(0)),
        "largest norm": (x / da.sqrt((x**2).sum(1)).max(), X / np.sqrt((X**2).sum(1)).max()),
    }[kind]
    layout = take_apart(array, move_arrays=False)
    assert not counted.reads
    for chunk in layout.chunks:
        names = {key[0] for key in chunk.graph}
        assert n_chunks == 1 or not any("aggregate" in name for name in names)
    executor, reader, jobs = reference.prepared(array)
    shared = 0 if n_chunks == 1 else 1
    assert counted.reads == ({} if n_chunks == 1 else dict.fromkeys(range(n_chunks), 1))
    for passes in (1, 2):
        parts = [part for job in jobs for _, part in job.read(reader.inputs(job))]
        assert_allclose(np.concatenate(parts), expected, atol=1e-12)
        del parts  # or it would be shared
        assert counted.reads == dict.fromkeys(range(n_chunks), shared + passes)
    executor.close()


def test_overlapping_and_merged_chunks_are_read_right():
    X = values(50)
    x = da.from_array(X, chunks=(10, 6))
    moving = da.map_overlap(lambda block: block + 1, x, depth={0: 2}, boundary="reflect", dtype=x.dtype)
    assert_array_equal(read(moving), X + 1)
    assert_array_equal(read(x.rechunk((17, 3))), X)
    assert_array_equal(
        read(da.concatenate([x[3:17], x[::2], x[-1:]])), np.concatenate([X[3:17], X[::2], X[-1:]])
    )
    assert_allclose(read(x.cumsum(axis=0)), X.cumsum(axis=0))
    assert_allclose(read(x @ da.from_array(np.eye(6) * 2, chunks=3)), 2 * X)


def test_a_fit_reads_every_chunk_once_a_pass():
    rng = np.random.default_rng(0)
    counted = reference.Counted(rng.standard_normal((3000, 8)), 30)
    for update, holdout in (("batch", 0.0), ("online", 0.0), ("batch", 0.2)):
        counted.reads.clear()
        result = daskksvd.fit(
            counted.array, n_components=12, n_nonzero_coefs=2, update=update, max_passes=4, tol=0,
            persist=False, n_threads=2, random_state=0, holdout=holdout,
        )  # fmt: skip
        assert result.history.sizes["pass"] == 4
        reads = 1 + 4 * (2 if holdout else 1)  # the survey, and passes
        assert counted.reads == dict.fromkeys(range(100), reads), update


def test_small_arrays_are_read_once_for_a_whole_fit():
    counted = reference.Counted(values(300), 50)
    daskksvd.fit(counted.array, n_components=8, n_nonzero_coefs=2, max_passes=3, n_threads=2)
    assert counted.reads == dict.fromkeys(range(6), 1)


# ------------------------------------------------------------------- survey


def survey_of(array, index=(), with_covariance=False, most=None):
    executor, reader, jobs = reference.prepared(array, most=most)
    found = run_survey(reader, jobs, np.array(index, np.int64), with_covariance)
    executor.close()
    return found


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("with_covariance", [False, True])
def test_the_survey_has_the_dense_moments(dtype, with_covariance):
    X = values(5000, dtype=dtype)
    X[17] = 0
    exact = X.astype(np.float64)
    found = survey_of(da.from_array(X, chunks=(1300, 6)), [0, 17, 1300, 4999], with_covariance)
    scale = np.abs(exact).max()
    assert found.count == 5000 and found.n_bad == 0 and found.first_bad == -1
    assert found.n_zero == (exact == 0).all(axis=1).sum()
    assert found.largest == scale
    assert_allclose(found.mean, exact.mean(axis=0), atol=1e-7 * scale)
    assert_allclose(found.variance, exact.var(axis=0), rtol=1e-5)
    if with_covariance:
        assert_allclose(found.covariance, np.cov(exact.T, bias=True), atol=1e-5 * exact.var())
    assert_array_equal(found.sample_index, [0, 17, 1300, 4999])
    assert_array_equal(found.sample, X[[0, 17, 1300, 4999]])
    assert found.sample.dtype == X.dtype


@pytest.mark.parametrize("dtype", ["float16", "float32", "float64"])
def test_a_large_mean_does_not_drown_the_variance(dtype):
    X = (np.random.default_rng(0).standard_normal((20_000, 4)) * 3 + 2000).astype(dtype)
    exact = X.astype(np.float64)
    for with_covariance in (False, True):
        found = survey_of(da.from_array(X, chunks=(6000, 4)), with_covariance=with_covariance)
        assert_allclose(found.mean, exact.mean(axis=0), rtol=1e-9)
        assert_allclose(found.variance, exact.var(axis=0), rtol=1e-5)
    assert_allclose(found.covariance, np.cov(exact.T, bias=True), atol=2e-4)


@pytest.mark.parametrize(("dtype", "large"), [("uint16", 60_000), ("int32", 2**24 + 1), ("int64", 2**40 + 1)])
@pytest.mark.parametrize("with_covariance", [False, True])
def test_a_few_steps_on_a_large_constant_are_seen(dtype, large, with_covariance):
    X = np.full((4000, 2), large, dtype)
    X[::1000, 0] += 1
    found = survey_of(X, with_covariance=with_covariance)
    assert_allclose(found.mean, [large + 0.001, large], rtol=1e-12)
    assert_allclose(found.variance, [0.001 * 0.999, 0], rtol=1e-5, atol=1e-12)


@pytest.mark.parametrize("dtype", ["float16", "float32", "float64"])
def test_rows_that_are_not_finite_are_counted_across_chunks(dtype):
    X = values(9000, dtype=dtype)
    X[4500, 2], X[8200, 1], X[8200, 5], X[8999, 0] = np.nan, np.inf, -np.inf, np.nan
    for chunks, most in ((1000, None), (9000, None), (4501, 123)):
        found = survey_of(da.from_array(X, chunks=(chunks, 6)), most=most)
        assert (found.n_bad, found.first_bad, found.n_zero) == (3, 4500, 0)


def test_values_that_only_add_up_to_infinity_are_not_bad():
    X = np.full((10, 8), 6e4, np.float16)
    X = np.concatenate([X, np.full((10, 8), -6e4, np.float16)])
    assert survey_of(X).n_bad == 0
    assert survey_of(np.full((5, 4), 3e38, np.float32)).n_bad == 0


@settings(max_examples=30)
@given(sizes, st.integers(1, 70), st.booleans(), st.sampled_from(["float16", "float64"]), st.data())
def test_the_survey_does_not_depend_on_chunks(chunk_rows, most, with_covariance, dtype, data):
    n = sum(chunk_rows)
    X = values(n, 5, dtype, seed=n)
    index = sorted(data.draw(st.sets(st.integers(0, n - 1), max_size=8)))
    once = survey_of(X, index, with_covariance)
    cut = survey_of(da.from_array(X, chunks=(tuple(chunk_rows), 5)), index, with_covariance, most)
    for name, expected in once._asdict().items():
        assert_allclose(getattr(cut, name), expected, rtol=1e-5, atol=1e-6 * n * 400, err_msg=name)
    if dtype == "float64":
        assert_allclose(cut.scatter, once.scatter, rtol=1e-9, atol=1e-9 * n * 400)
    assert_array_equal(cut.sample, X[index])


# -------------------------------------------------------------- preprocessing

KINDS = [(False, False, None), (True, False, None), (False, True, None), (True, True, None),
         (False, False, 0.25), (True, False, 0.5), (False, False, 1.0)]  # fmt: skip


def mixed(n=3000, d=8):
    rng = np.random.default_rng(1)
    return rng.standard_normal((n, d)) @ rng.standard_normal((d, d)) * np.linspace(1, 20, d) + 5


@pytest.mark.parametrize(("center", "scale", "whiten"), KINDS)
def test_undo_is_the_inverse_of_apply(center, scale, whiten):
    Y = mixed()
    mapping = make_transform(survey_of(Y, with_covariance=whiten is not None), center, scale, whiten)
    rows = mapping.apply(Y, np.float64)
    assert_allclose(mapping.undo(rows), Y, atol=1e-8)
    single = mapping.cast(np.dtype("f4"))
    assert single.apply(Y, np.float32).dtype == np.float32
    assert_allclose(single.undo(single.apply(Y, np.float32)), Y, atol=2e-4 * np.abs(Y).max())
    atoms = reference.unit_atoms(np.random.default_rng(2), 11, 8)
    assert_allclose(mapping.from_coding(mapping.to_coding(atoms)), atoms, atol=1e-12)
    assert_allclose(np.linalg.norm(mapping.from_coding(atoms), axis=1), 1)
    if center or whiten is not None:
        assert_allclose(rows.mean(axis=0), 0, atol=1e-10)


@pytest.mark.parametrize("offset", [0, 1e5, 1e9])
@pytest.mark.parametrize("dtype", ["float64", "int64", "int32"])
def test_what_single_precision_cannot_hold_is_centred_first(offset, dtype):
    Y = (mixed(200) * 100 + offset).astype(dtype)
    exact = Y.astype(np.float64)
    mapping = Transform(exact.mean(axis=0), None, exact.std(axis=0)).cast(np.dtype("f4"))
    expected = (exact - exact.mean(axis=0)) / exact.std(axis=0)
    for array in (Y, np.asfortranarray(Y), Y[::2]):
        rows = mapping.apply(array, np.float32)
        assert rows.dtype == np.float32 and rows.flags.c_contiguous
        assert_allclose(rows, expected[:: len(Y) // len(rows)], atol=1e-5)
    assert_array_equal(Y.astype(np.float64), exact)


@pytest.mark.parametrize("power", [0.25, 0.5, 1.0])
def test_whitening_leaves_powers_of_the_eigenvalues(power):
    Y = mixed()
    mapping = make_transform(survey_of(Y, with_covariance=True), False, False, power)
    eigenvalues = np.linalg.eigvalsh(np.cov(Y.T, bias=True))[::-1]
    covariance = np.cov(mapping.apply(Y, np.float64).T, bias=True)
    assert_allclose(covariance, np.diag(eigenvalues ** (1 - 2 * power)), atol=1e-8 * max(1, covariance.max()))
    largest = np.abs(mapping.basis).argmax(axis=0)
    assert (mapping.basis[largest, np.arange(8)] > 0).all()


def test_directions_without_variance_are_not_blown_up():
    Y = mixed(400, 6)
    Y = np.concatenate([Y, Y[:, :2] + Y[:, 2:4]], axis=1)  # rank 6 of 8
    mapping = make_transform(survey_of(Y, with_covariance=True), False, False, 0.5)
    assert mapping.scale.min() >= np.sqrt(EIGENVALUE_FLOOR) * mapping.scale.max() * 0.999
    rows = mapping.apply(Y, np.float64)
    assert np.abs(rows[:, 6:]).max() < 1e-3
    assert_allclose(mapping.undo(rows), Y, atol=1e-8)


def test_scaling_divides_by_deviations_and_leaves_constant_features_alone():
    Y = mixed()
    Y[:, 3], Y[:, 5] = 7.3, 0
    mapping = make_transform(survey_of(da.from_array(Y, chunks=(700, 8))), True, True, None)
    varying = [0, 1, 2, 4, 6, 7]
    assert_allclose(mapping.scale[varying], Y.std(axis=0)[varying])
    assert_array_equal(mapping.scale[[3, 5]], 1)
    assert_allclose(mapping.apply(Y, np.float64).std(axis=0)[varying], 1)
    assert_allclose(mapping.apply(Y, np.float64)[:, [3, 5]], 0, atol=1e-9)


@pytest.mark.parametrize(("center", "scale", "whiten"), KINDS)
def test_the_decoder_takes_codes_to_samples(center, scale, whiten):
    Y = mixed(200)
    mapping = make_transform(survey_of(Y, with_covariance=whiten is not None), center, scale, whiten)
    D = reference.unit_atoms(np.random.default_rng(3), 14, 8)  # on the original features
    coding = mapping.to_coding(D)
    assert_allclose(np.linalg.norm(coding, axis=1), 1)
    codes, *_ = code_block(mapping.apply(Y, np.float64), products_of(coding, 3))
    X = reference.dense(codes, 14)
    mean = 0 if mapping.mean is None else mapping.mean
    assert_allclose(X @ mapping.decoder(D) + mean, mapping.undo(X @ coding), atol=1e-9)
    # and distances in the coding space, weighted, are those of the data
    left = mapping.apply(Y, np.float64) - X @ coding
    weights = 1 if mapping.scale is None else mapping.scale
    assert_allclose(((left * weights) ** 2).sum(), ((Y - X @ mapping.decoder(D) - mean) ** 2).sum())


def test_nothing_runs_on_a_global_scheduler_by_mistake():
    """Reading goes through the executor and never through the scheduler that is set."""

    def forbidden(*_, **__):
        raise AssertionError("a scheduler was called")

    x = da.from_array(values(60), chunks=(10, 6))
    array = x - x.mean(0)
    with dask.config.set(scheduler=forbidden):
        assert_allclose(read(array), values(60) - values(60).mean(0), atol=1e-12)
