"""What blocks turn out to be when they are read: masked, of other shapes or types, of other byte orders."""

import dask
import dask.array as da
import numpy as np
import pandas as pd
import pytest
import routes
import scipy.sparse
import sparse
import xarray as xr
import zarr
from distributed import Client, LocalCluster
from numpy.testing import assert_array_equal

import daskksvd
from daskksvd.rows import as_source

X = routes.samples()
MASK = np.zeros(X.shape, bool)
MASK[[70, 71, 200], [0, 3, 5]] = True


@pytest.fixture(scope="module")
def result():
    return routes.learned(X)


@pytest.fixture(scope="module")
def cluster():
    with LocalCluster(n_workers=2, threads_per_worker=1, dashboard_address=":0") as cluster:
        yield cluster.scheduler_address


def lazy(values, width=routes.D):
    return da.from_array(values, chunks=(routes.CHUNK, width))


def blocks(function, **declared):
    return lazy(X).map_blocks(function, **{"dtype": X.dtype, "meta": np.empty((0, 0)), **declared})


# ------------------------------------------------------------------------ masks


MASKED = {
    "in memory": lambda: np.ma.array(X, mask=MASK),
    "integers": lambda: np.ma.array(X.astype(int), mask=MASK),
    "dask": lambda: da.ma.masked_array(lazy(X), lazy(MASK)),
    "dask, features in chunks": lambda: da.ma.masked_array(lazy(X, 4), lazy(MASK, 4)),
    "dask, chunks that it does not know of": lambda: blocks(
        lambda block, block_info: np.ma.array(block, mask=MASK[slice(*block_info[0]["array-location"][0])])
    ),
    "dask, merged": lambda: da.ma.masked_array(lazy(X), lazy(MASK)).rechunk((90, 5)),
    "dask, persisted": lambda: da.ma.masked_array(lazy(X), lazy(MASK)).persist(scheduler="threads"),
    "delayed": lambda: da.from_delayed(
        dask.delayed(np.ma.array)(X, mask=MASK), shape=X.shape, dtype=X.dtype, meta=np.empty((0, 0))
    ),
}


@pytest.mark.parametrize("route", routes.ROUTES)
@pytest.mark.parametrize("kind", MASKED)
def test_masked_rows_are_refused_with_their_number(kind, route, result, tmp_path):
    whole = kind in ("in memory", "integers") or route in (
        "fit", "fit, reading anew", "score", "KSVD.fit", "KSVD.partial_fit", "KSVD.score",
    )  # fmt: skip
    with pytest.raises(ValueError, match="masked values") as caught:
        routes.ROUTES[route](MASKED[kind](), result, tmp_path)
    message = str(caught.value)
    assert "leave these rows out" in message and "\n" not in message
    if whole:  # else the chunk that is met first tells
        assert "3 rows with masked values, the first is row 70;" in message
    else:
        assert "the first is row 70" in message or "the first is row 200" in message


@pytest.mark.parametrize("route", ["fit", "fit, reading anew", "encode", "write_codes", "score", "KSVD.fit"])
@pytest.mark.parametrize("kind", ["dask", "dask, merged", "dask, persisted"])
def test_masks_are_seen_on_a_cluster(kind, route, result, cluster, tmp_path):
    with pytest.raises(ValueError, match="masked values"):
        routes.on_cluster(cluster)[route](MASKED[kind](), result, tmp_path)


def test_masks_are_seen_where_a_cluster_has_the_chunks(result, cluster):
    with Client(cluster) as client:
        array = client.persist(MASKED["dask"]())
        for read in (
            lambda: routes.learned(array, client=client),
            lambda: routes.learned(array, client=client, persist=False),
            lambda: result.score(array, client=client),
            lambda: result.encode(array).compute(),
            lambda: result.encode(array.rechunk((100, 6))).compute(),
        ):
            with pytest.raises(ValueError, match="masked values"):
                read()


@pytest.mark.parametrize("route", routes.ROUTES)
@pytest.mark.parametrize("mask", [np.zeros(X.shape, bool), np.ma.nomask])
def test_a_mask_of_nothing_changes_no_bit(route, mask, result, tmp_path):
    array = lazy(X).map_blocks(lambda block: np.ma.array(block), meta=np.ma.empty((0, 0)))
    expected = routes.ROUTES[route](lazy(X), result, tmp_path)
    assert_array_equal(routes.ROUTES[route](array, result, tmp_path), expected)
    if mask is not np.ma.nomask:
        in_memory = routes.ROUTES[route](np.ma.array(X, mask=mask), result, tmp_path)
        assert_array_equal(in_memory, routes.ROUTES[route](X, result, tmp_path))


def test_masks_of_embeddings_that_labels_are_tried_on_are_seen():
    from daskksvd.evaluation.features import Dense

    with pytest.raises(ValueError, match="embeddings has 2 rows with masked values in rows 60 to 119"):
        list(Dense(MASKED["dask"]()).blocks())


@pytest.mark.parametrize("dtype", [float, int])
def test_xarray_has_nan_where_values_were_masked(dtype, result):
    array = xr.DataArray(da.ma.masked_array(lazy(X.astype(dtype)), lazy(MASK)), dims=("sample", "feature"))
    for read in (routes.learned, result.score, result.evaluate):
        with pytest.raises(ValueError, match=r"3 rows with (NaN|masked)"):
            read(array)


# ----------------------------------------------------------------------- shapes


def double(block):
    return np.concatenate([block, block + 1])


def halve(block):
    return block[: len(block) // 2]


def longer_in_one_column(block, block_info):
    return double(block) if block_info[0]["chunk-location"] == (2, 1) else block


OTHER_SHAPES = {
    "longer": (lambda: blocks(double), ["(120, 6)", "(60, 6) was declared"]),
    "shorter": (lambda: blocks(halve), ["(30, 6)", "(60, 6) was declared"]),
    "wider": (lambda: blocks(lambda block: np.hstack([block, block])), ["(60, 12)", "(60, 6) was declared"]),
    "flat": (lambda: blocks(lambda block: block[:, 0]), ["(60,)", "(60, 6) was declared"]),
    "one of two columns": (
        lambda: lazy(X, 4).map_blocks(longer_in_one_column, dtype=float, meta=np.empty((0, 0))),
        ["number (2, 1)", "(120, 2)", "(60, 2) was declared", "rows 120 to 179"],
    ),
    "a list": (lambda: blocks(lambda block: block[:1].tolist()), ["(1, 6)", "(60, 6) was declared"]),
    "a frame": (lambda: blocks(lambda block: pd.DataFrame(block[:7])), ["(7, 6)", "(60, 6) was declared"]),
    "xarray": (
        lambda: xr.DataArray(blocks(double), dims=("sample", "feature")),
        ["(120, 6)", "(60, 6) was declared"],
    ),
    "seen by rechunk": (lambda: blocks(double), ["(120, 6)"]),
}
OTHER_KINDS = {
    "COO": (lambda: blocks(sparse.COO), ["sparse (COO)", "todense"]),
    "GCXS": (lambda: blocks(sparse.GCXS), ["sparse (GCXS)", "todense"]),
    "CSR": (lambda: blocks(scipy.sparse.csr_array), ["sparse (csr_array)", "todense"]),
    "CSR matrix": (lambda: blocks(scipy.sparse.csr_matrix), ["sparse (csr_matrix)", "todense"]),
    "objects": (lambda: blocks(lambda block: block.astype(object)), ["dtype object", "float64 was declared"]),
    "complex": (lambda: blocks(lambda block: block + 1j), ["dtype complex128", "float64 was declared"]),
    "text": (lambda: blocks(lambda block: block.astype(str)), ["dtype <U", "float64 was declared"]),
    "longdouble": (lambda: blocks(lambda block: block.astype(np.longdouble)), ["dtype float128"]),
    "dates": (lambda: blocks(lambda block: block.astype("M8[s]")), ["dtype datetime64"]),
}
WRONG = {**OTHER_SHAPES, **OTHER_KINDS}


@pytest.mark.parametrize("route", routes.ROUTES)
@pytest.mark.parametrize("kind", WRONG)
def test_a_block_that_is_not_as_declared_is_refused_with_its_number(kind, route, result, tmp_path):
    make, words = WRONG[kind]
    with pytest.raises((TypeError, ValueError), match=r"has a block \(number") as caught:
        routes.ROUTES[route](make(), result, tmp_path)
    for word in [*words, "rows "]:
        assert word in str(caught.value)


def test_a_block_that_is_not_as_declared_is_refused_on_a_cluster(result, cluster, tmp_path):
    for name in ("fit", "encode", "write_codes", "score"):
        with pytest.raises(ValueError, match=r"\(120, 6\), where \(60, 6\) was declared"):
            routes.on_cluster(cluster)[name](blocks(double), result, tmp_path)


SAME = {
    "lists": lambda: blocks(lambda block: block.tolist()),
    "frames": lambda: blocks(pd.DataFrame),
    "Fortran order": lambda: blocks(np.asfortranarray),
    "matrices": lambda: blocks(np.matrix),
    "float64 for float32": lambda: blocks(lambda block: block, dtype="f4", meta=np.empty((0, 0), "f4")),
    "big-endian": lambda: blocks(lambda block: block.astype(">f8")),
}


@pytest.mark.parametrize("route", routes.ROUTES)
@pytest.mark.parametrize("kind", SAME)
def test_blocks_of_the_right_numbers_give_the_same_bits(kind, route, result, tmp_path):
    expected = routes.ROUTES[route](lazy(X), result, tmp_path)
    assert_array_equal(routes.ROUTES[route](SAME[kind](), result, tmp_path), expected)


# ------------------------------------------------------------------ byte orders


def saved(folder, values):
    np.save(folder / "x.npy", values)
    return folder / "x.npy"


def mapped(folder, values):
    return np.load(saved(folder, values), mmap_mode="r")


def stored(folder, values, zarr_format):
    options = {"chunks": (routes.CHUNK, 4), "zarr_format": zarr_format, "overwrite": True}
    return zarr.create_array(folder / f"x{zarr_format}", data=values, **options)


def stored_big_endian(folder, values):
    """Numbers of any order, with bytes swapped by the codec."""
    array = zarr.create_array(
        folder / "swapped", shape=values.shape, dtype=values.dtype.newbyteorder("="),
        chunks=(routes.CHUNK, 6), serializer=zarr.codecs.BytesCodec(endian="big"), overwrite=True,
    )  # fmt: skip
    array[:] = values
    return array


HOLDERS = {
    "NumPy": lambda folder, values: values,
    "memory-mapped": mapped,
    ".npy": saved,
    "Zarr 2": lambda folder, values: stored(folder, values, 2),
    "Zarr 3": lambda folder, values: stored(folder, values, 3),
    "Zarr 3, swapped by its codec": stored_big_endian,
    "dask": lambda folder, values: lazy(values),
    "dask, features in chunks": lambda folder, values: lazy(values, 4),
    "xarray": lambda folder, values: xr.DataArray(values, dims=("a", "b")),
    "dask of Zarr": lambda folder, values: da.from_zarr(stored(folder, values, 2)),
    "pandas": lambda folder, values: pd.DataFrame(values),
}


@pytest.mark.parametrize("dtype", ["f2", "f4", "f8", "i2", "i8", "u4"])
@pytest.mark.parametrize("holder", HOLDERS)
def test_byte_orders_are_turned_when_rows_are_read(holder, dtype, tmp_path):
    values = (X * 20).astype(dtype) if dtype != "u4" else np.abs(X * 20).astype(dtype)
    make = HOLDERS[holder]
    native = as_source(make(tmp_path, values))
    (tmp_path / "swapped-bytes").mkdir()
    rows = as_source(make(tmp_path / "swapped-bytes", values.astype(f">{dtype}")))
    assert rows.dtype == native.dtype == values.dtype and rows.dtype.isnative
    assert rows.chunk_rows == native.chunk_rows
    found = rows.array.compute(scheduler="synchronous")
    assert found.dtype == values.dtype
    assert_array_equal(found, values)


@pytest.mark.parametrize("route", routes.ROUTES)
@pytest.mark.parametrize("holder", ["NumPy", "memory-mapped", ".npy", "Zarr 2", "dask", "pandas"])
def test_byte_orders_change_no_bit(holder, route, result, tmp_path):
    values = X.astype("f4")
    expected = routes.ROUTES[route](HOLDERS[holder](tmp_path, values), result, tmp_path)
    swapped = HOLDERS[holder](tmp_path, values.astype(">f4"))
    assert_array_equal(routes.ROUTES[route](swapped, result, tmp_path), expected)


def test_byte_orders_change_no_bit_on_a_cluster(result, cluster, tmp_path):
    for name in ("fit", "encode", "write_codes", "score"):
        for holder in ("NumPy", ".npy", "Zarr 2", "dask"):
            route = routes.on_cluster(cluster)[name]
            expected = route(HOLDERS[holder](tmp_path, X), result, tmp_path)
            assert_array_equal(route(HOLDERS[holder](tmp_path, X.astype(">f8")), result, tmp_path), expected)


def test_the_precision_of_the_estimator_does_not_depend_on_byte_order():
    for values in (X, X.astype(">f8"), lazy(X.astype(">f8"))):
        assert daskksvd.KSVD(4, n_nonzero_coefs=1, max_passes=1).fit(values).components_.dtype == np.float64
