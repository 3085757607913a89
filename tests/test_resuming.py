"""What a killed run left: the next one goes on with it, or removes it; nothing is lost on the way."""

import contextlib
import dataclasses
import errno
import multiprocessing
import os
import re
import signal
import time

import dask.array as da
import numpy as np
import pytest
import zarr
from click.testing import CliRunner
from small_programs import programs

import daskksvd
from daskksvd.cli import main
from daskksvd.machine import placing
from daskksvd.machine.files import DiskFull, exists, replaced, written_whole

N, D, M, CHUNK = 12_000, 16, 24, 1024


@pytest.fixture(scope="module", autouse=True)
def small_chunks():
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("daskksvd.rows.source.MEMORY_CHUNK_BYTES", CHUNK * D * 4)
        yield


@pytest.fixture(scope="module")
def folder(tmp_path_factory, small_chunks):
    """A folder with a store of samples and a result."""
    folder = tmp_path_factory.mktemp("resuming")
    samples = np.random.default_rng(0).standard_normal((N, D)).astype("float32")
    store = zarr.create_array(folder / "samples.zarr", shape=(N, D), chunks=(CHUNK, D), dtype="float32")
    store[:] = samples
    np.save(folder / "samples.npy", samples)
    options = {"n_components": M, "n_nonzero_coefs": 3, "max_passes": 1, "random_state": 0}
    daskksvd.fit(samples, **options).save(folder / "result.zarr")
    daskksvd.load(folder / "result.zarr").write_codes(folder / "samples.zarr", folder / "whole.zarr")
    return folder


@pytest.fixture
def result(folder):
    return daskksvd.load(folder / "result.zarr")


def contents(store):
    """All files of a store and what is in them."""
    return {
        path.relative_to(store).as_posix(): path.read_bytes() for path in store.rglob("*") if path.is_file()
    }


def hidden(folder):
    return sorted(path.name for path in folder.iterdir() if path.name.startswith("."))


IMPORTS = """
import itertools, time
import daskksvd, daskksvd.coding.writing as writing, daskksvd.rows.source as source
from daskksvd import load, fit
"""

SCRIPT = """
source.MEMORY_CHUNK_BYTES = int(sys.argv[4])
job, begun = writing._write_job, itertools.count(1)
def slow(*arguments):
    number = next(begun)
    os.write(1, b"chunk\\n")  # whole, from whatever thread
    if number >= int(sys.argv[5]):
        time.sleep(600)  # it is killed now, or soon on a busy machine
    return job(*arguments)
writing._write_job = slow
daskksvd.load(sys.argv[1]).write_codes(sys.argv[2], sys.argv[3])
print("end", flush=True)
"""


@pytest.fixture(scope="module")
def coding():
    """What codes samples in another process, and is to be killed there."""
    with programs(IMPORTS, SCRIPT) as running:
        yield running


def start_and_kill(coding, folder, out, samples, chunks):
    """Start coding in another process, and kill it after so many chunks were begun."""
    number = coding.start(folder / "result.zarr", folder / samples, out, CHUNK * D * 4, chunks)
    for _, line in zip(range(chunks), coding.lines(), strict=False):
        assert line == "chunk\n"
    os.kill(number, signal.SIGKILL)
    assert coding.end() == -signal.SIGKILL


@pytest.mark.parametrize("samples", ["samples.zarr", "samples.npy"])
def test_a_killed_run_goes_on_and_writes_the_same_bits(coding, folder, result, samples, tmp_path):
    out, told = tmp_path / "codes.zarr", []
    for chunks in (3, 6):
        start_and_kill(coding, folder, out, samples, chunks)
        assert not out.exists() and hidden(tmp_path) == [".daskksvd-codes.zarr.partial"]
    result.write_codes(folder / samples, out, told=lambda *numbers: told.append(numbers))
    assert contents(out) == contents(folder / "whole.zarr")
    assert told and 1 <= told[0][0] < told[0][1] == 12
    assert hidden(tmp_path) == []


@contextlib.contextmanager
def counted(stop_after=None):
    """Count the blocks that are coded; stop as Ctrl-C does after some."""
    import daskksvd.coding.writing as writing

    original, calls = writing.code_rows, []

    def code_rows(*arguments):
        calls.append(arguments[-1])
        if stop_after is not None and len(calls) > stop_after:
            raise KeyboardInterrupt
        return original(*arguments)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(writing, "code_rows", code_rows)
        yield calls


def interrupted(result, samples, out):
    with counted(5), pytest.raises(KeyboardInterrupt) as caught:
        result.write_codes(samples, out)
    assert "goes on from there" in "".join(caught.value.__notes__)
    time.sleep(0.1)  # what still runs may end


@pytest.mark.parametrize("kind", ["store", "dask", "memory"])
def test_only_what_is_missing_is_coded_again(folder, result, kind, tmp_path):
    values = zarr.open_array(folder / "samples.zarr")[:]
    samples = {
        "store": folder / "samples.zarr",
        "dask": da.from_array(values, chunks=(CHUNK, D)) * 1,
        "memory": da.from_array(values, chunks=(CHUNK, D)),
    }[kind]
    out = tmp_path / "codes.zarr"
    interrupted(result, samples, out)
    with counted() as calls:
        result.write_codes(samples, out)
    assert 0 < len(calls) <= 12 - 4
    assert contents(out) == contents(folder / "whole.zarr")


@pytest.mark.parametrize("what", ["samples", "one sample", "transform", "target", "damaged", "identity"])
def test_of_something_else_nothing_is_taken_over(folder, result, what, tmp_path):
    values = zarr.open_array(folder / "samples.zarr")[:]
    path, out = tmp_path / "samples.zarr", tmp_path / "codes.zarr"
    store = zarr.create_array(path, shape=(N, D), chunks=(CHUNK, D), dtype="float32")
    store[:] = values
    interrupted(result, path, out)
    coder = result.coder
    place = tmp_path / ".daskksvd-codes.zarr.partial"
    if what == "samples":
        store[:] = values = values[::-1]
    elif what == "one sample":
        values[5] += 1
        store[:] = values
    elif what == "transform":
        result.coder = dataclasses.replace(coder, transform=coder.transform._replace(mean=np.ones(D)))
    elif what == "target":
        result.coder = dataclasses.replace(coder, target=coder.target._replace(rtol=0.5))
    elif what == "damaged":
        for chunk in (place / "store" / "values" / "c").glob("*/0"):
            chunk.write_bytes(chunk.read_bytes()[:-1] + b"?")
    else:
        (place / "identity.json").write_text("{")
    with counted() as calls:
        result.write_codes(path, out)
    assert len(calls) == 12 or what == "one sample"
    fresh = tmp_path / "fresh.zarr"
    result.write_codes(values, fresh)
    same = daskksvd.open_codes(out).compute() != daskksvd.open_codes(fresh).compute()
    assert same.nnz == 0 and hidden(tmp_path) == []


def test_the_command_says_that_it_goes_on(folder, result, tmp_path):
    out = tmp_path / "codes.zarr"
    interrupted(result, folder / "samples.zarr", out)
    command = ["encode", folder / "result.zarr", folder / "samples.zarr", "--out", out]
    found = CliRunner().invoke(main, list(map(str, command)))
    assert found.exit_code == 0, found.output
    assert re.search(r"Going on: [1-5] of 12 chunks were written before", found.output), found.output
    assert contents(out) == contents(folder / "whole.zarr")


def test_another_process_that_writes_there_is_told_of(folder, result, tmp_path):
    out = tmp_path / "codes.zarr"
    with (
        placing.Place(str(out)),
        pytest.raises(FileExistsError, match=r"codes\.zarr' is being written by another process"),
    ):
        result.write_codes(folder / "samples.zarr", out)
    result.write_codes(folder / "samples.zarr", out)
    assert hidden(tmp_path) == []


def save_forever(result, path):
    while True:
        result.save(path, overwrite=True)


def test_saves_that_are_killed_leave_a_result_and_their_remains_go(result, tmp_path):
    path = tmp_path / "result.zarr"
    result.save(path)
    expected = result.dictionary.values
    rng = np.random.default_rng(1)
    for _ in range(4):
        process = multiprocessing.get_context("fork").Process(target=save_forever, args=(result, path))
        process.start()
        time.sleep(0.3 + rng.random() / 3)
        process.kill()
        process.join()
        assert (daskksvd.load(path).dictionary.values == expected).all()
        assert set(hidden(tmp_path)) <= {".daskksvd-result.zarr.partial"}
    (tmp_path / ".daskksvd-other").mkdir()  # of another path, or another version: not ours to remove
    result.save(path, overwrite=True)
    assert hidden(tmp_path) == [".daskksvd-other"]


@pytest.mark.parametrize("can_exchange", [True, False])
@pytest.mark.parametrize("stop", [KeyboardInterrupt, OSError])
def test_a_move_that_is_cut_off_loses_neither_store(can_exchange, stop, tmp_path, monkeypatch):
    path = tmp_path / "store"
    path.mkdir()
    (path / "old").touch()
    if not can_exchange:
        monkeypatch.setattr(placing, "_exchange", lambda *_: False)
    rename = os.rename

    for number in range(3):

        def stopped(one, other, left=[number]):  # noqa: B006
            left[0] -= 1
            if left[0] == -1:
                raise stop
            rename(one, other)

        with contextlib.suppress(stop), pytest.MonkeyPatch.context() as patch:
            patch.setattr(os, "rename", stopped)
            with written_whole(str(path)) as place:
                os.mkdir(place)
                open(os.path.join(place, f"new {number}"), "w").close()
        assert len(os.listdir(path)) == 1 and hidden(tmp_path) == []
    assert os.listdir(path) == ["new 2"]


def test_a_process_that_ended_between_two_renames_is_made_up_for(tmp_path):
    path = tmp_path / "store"
    place = tmp_path / ".daskksvd-store.partial"
    (place / "old").mkdir(parents=True)
    (place / "old" / "before").touch()
    assert exists(path) and os.listdir(path) == ["before"]
    os.rename(path, place / "old")
    (place / "new").mkdir()
    (place / "new" / "after").touch()
    assert exists(path) and os.listdir(path) == ["after"]
    with written_whole(str(path)) as inner:
        os.mkdir(inner)
    assert os.listdir(path) == [] and hidden(tmp_path) == []


def test_a_full_disk_leaves_what_was_there(folder, result, tmp_path, monkeypatch):
    result.save(tmp_path / "result.zarr")
    result.write_codes(folder / "samples.zarr", tmp_path / "codes.zarr")
    before = contents(tmp_path)

    def full(*_, **__):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr("zarr.storage._local._put", full)
    with pytest.raises(DiskFull, match=r"result\.zarr' could not be written: the disk is full"):
        result.save(tmp_path / "result.zarr", overwrite=True)
    with pytest.raises(DiskFull, match=r"codes\.zarr' could not be written: the disk is full"):
        result.write_codes(folder / "samples.zarr", tmp_path / "codes.zarr", overwrite=True)
    monkeypatch.undo()
    after = contents(tmp_path)
    assert {name: after.get(name) for name in before} == before
    result.write_codes(folder / "samples.zarr", tmp_path / "codes.zarr", overwrite=True)
    assert hidden(tmp_path) == []


def test_files_are_replaced_whole_and_remains_go(tmp_path):
    path = tmp_path / "page.html"
    place = tmp_path / ".daskksvd-page.html.partial"
    place.mkdir()
    (place / "new").write_text("left by a killed process")
    with replaced(str(path)) as temporary, open(temporary, "x") as file:
        file.write("whole")
    assert path.read_text() == "whole" and hidden(tmp_path) == []
    with pytest.raises(KeyError), replaced(str(path)):
        raise KeyError
    assert path.read_text() == "whole" and hidden(tmp_path) == []
    with replaced(str(tmp_path / ("a" * 250))) as temporary, open(temporary, "x"):
        pass
    assert exists(tmp_path / ("a" * 250))
