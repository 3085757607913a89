"""Memory that is lent to readers comes back when the last view of it goes, not before."""

import gc
import pickle
import threading
import weakref

import numpy as np
import pytest
import zarr
from numpy.testing import assert_array_equal

import daskksvd
from daskksvd.machine.buffers import Lender, lender
from daskksvd.rows.inputs.zarr_rows import ZarrRows


def address(array):
    return array.ctypes.data


def test_memory_is_lent_again_only_when_no_view_of_it_is_left():
    lending = Lender()
    rows = lending.array((100, 8), np.float32)
    first = address(rows)
    part = rows[3:7].T[1:]
    bits = part.view(np.uint32)
    del rows, part
    gc.collect()
    assert address(lending.array((100, 8), np.float32)) != first  # and gives that one back at once
    bits[:] = 7
    other = lending.array((100, 8), np.float32)
    other[:] = 0
    assert (bits == 7).all()
    del bits
    gc.collect()
    another = lending.array((50, 16), np.float32)
    assert address(another) == first
    assert address(other) != first


def test_memory_of_another_size_is_not_lent():
    lending = Lender()
    rows = lending.array((10, 8), np.float64)
    del rows
    assert lending.array((10, 4), np.float64).size == 40
    assert lending.array((0, 4), np.float64).size == 0


def test_threads_never_share_what_is_lent():
    lending = Lender()
    wrong = []

    def use(number):
        for _ in range(400):
            rows = lending.array((64, 5), np.int64)
            rows[:] = number
            view = rows[::2]
            del rows
            if (view != number).any():
                wrong.append(number)

    threads = [threading.Thread(target=use, args=(number,)) for number in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not wrong


@pytest.mark.parametrize("options", [{"compressors": None}, {}, {"shards": (40, 6)}, {"zarr_format": 2}])
@pytest.mark.parametrize("dtype", ["f2", "f4", ">f8", "i2"])
def test_rows_read_from_zarr(tmp_path, options, dtype):
    values = np.random.default_rng(0).integers(-99, 99, (95, 6)).astype(dtype)
    array = zarr.create_array(
        tmp_path / "rows.zarr", shape=values.shape, chunks=(20, 6), dtype=dtype, fill_value=5, **options
    )
    array[:70] = values[:70]  # the last chunks are not there
    values[70:] = 5
    reader = ZarrRows(array)
    kept = [reader[slice(start, start + 33), slice(0, 6)] for start in range(0, 95, 33)]
    assert_array_equal(np.concatenate(kept), values)
    found = daskksvd.rows.as_source(str(tmp_path / "rows.zarr"), missing_chunks="fill").array
    assert_array_equal(found.compute(), values)
    assert found.name == daskksvd.rows.as_source(array, missing_chunks="fill").array.name


def test_rows_that_travelled_are_opened_once(tmp_path):
    def write(rows):
        values = np.random.default_rng(rows).standard_normal((rows, 6)).astype("f4")
        array = zarr.create_array(
            tmp_path / "rows.zarr", shape=values.shape, chunks=(20, 6), dtype="f4", overwrite=True
        )
        array[:] = values
        return values, pickle.dumps(ZarrRows(array))

    def read(travelled):
        reader = pickle.loads(travelled)
        return reader[slice(0, reader.shape[0]), slice(0, 6)]

    values, travelled = write(50)
    assert pickle.loads(travelled) is pickle.loads(travelled)
    assert pickle.loads(pickle.dumps(pickle.loads(travelled))) is pickle.loads(travelled)
    assert_array_equal(read(travelled), values)
    zarr.open_array(tmp_path / "rows.zarr")[7] = values[7] = 3  # what is in the files is read every time
    assert_array_equal(read(travelled), values)
    for rows in (70, 30):  # another array at the same place
        values, travelled = write(rows)
        assert_array_equal(read(travelled), values)


def test_a_damaged_chunk_is_told(tmp_path):
    array = zarr.create_array(
        tmp_path / "rows.zarr", shape=(40, 6), chunks=(20, 6), dtype="f4", compressors=None
    )
    array[:] = 1
    chunk = tmp_path / "rows.zarr" / "c" / "1" / "0"
    chunk.write_bytes(chunk.read_bytes()[:100])
    with pytest.raises(ValueError):
        ZarrRows(array)[slice(0, 40), slice(0, 6)]


def test_a_fit_keeps_no_memory(tmp_path):
    array = zarr.create_array(tmp_path / "rows.zarr", shape=(900, 6), chunks=(300, 6), dtype="f4")
    array[:] = np.random.default_rng(0).standard_normal((900, 6))
    daskksvd.fit(array, n_components=8, n_nonzero_coefs=2, max_passes=1)
    gc.collect()
    first = lender.array((300, 6), np.float32)
    assert not lender._free
    lender.forget()
    del first
    assert not lender._free


def test_what_is_forgotten_is_gone_while_something_is_still_lent():
    lending = Lender()
    still = lending.array((100, 8), np.float32)
    other = lending.array((100, 8), np.float32)
    memory = weakref.ref(other.base.base.obj)  # an array over the bytes
    gone = weakref.ref(lending.array((100, 8), np.float32).base.base.obj)
    assert len(lending._free) == 1 and gone() is not None
    lending.forget()
    assert gone() is None
    del other
    assert memory() is None
    assert still.shape == (100, 8)


def test_no_more_is_kept_than_was_lent_at_one_time():
    """Files of compressed chunks are all of different sizes."""
    lending = Lender()
    for size in np.random.default_rng(0).integers(1_000_000, 9_000_000, 60):
        pair = [lending.array((size,), "B"), lending.array((size // 2,), "B")]
        del pair
    kept = sum(memory.nbytes for memory in lending._free)
    assert 1_000_000 < kept <= 2 * 1.25 * 13_500_000  # what was kept, and the last loans


def test_nearly_equal_sizes_share_memory():
    lending = Lender()
    places = {address(lending.array((size,), "B")) for size in range(9_000_000, 9_400_000, 50_000)}
    assert len(places) == 1
