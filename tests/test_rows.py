"""Arrays of every kind as rows, how they are cut, and how they are read."""

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
from hypothesis import given
from hypothesis import strategies as st
from numpy.testing import assert_allclose, assert_array_equal
from small_rows import DTYPES, sizes, values

import daskksvd
from daskksvd.rows import Transform, as_source, cut_jobs, cut_pieces, cut_waves, source, split_holdout
from daskksvd.rows.graph import take_apart


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


def test_nothing_runs_on_a_global_scheduler_by_mistake():
    """Reading goes through the executor and never through the scheduler that is set."""

    def forbidden(*_, **__):
        raise AssertionError("a scheduler was called")

    x = da.from_array(values(60), chunks=(10, 6))
    array = x - x.mean(0)
    with dask.config.set(scheduler=forbidden):
        assert_allclose(read(array), values(60) - values(60).mean(0), atol=1e-12)
