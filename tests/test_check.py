"""``daskksvd check`` and ``info``: whether all of a store is what was written."""

import json
import os
import shutil

import numpy as np
import pytest
import zarr
from click.testing import CliRunner
from test_damage import KINDS, as_before, files_of, result, samples, stores  # noqa: F401

import daskksvd
from daskksvd.cli import main


def run(*arguments, code=0):
    found = CliRunner().invoke(main, list(map(str, arguments)))
    assert found.exit_code == code, found.output
    return found.output


@pytest.mark.parametrize("kind", KINDS)
def test_a_whole_store_is_whole_and_every_damaged_file_is_listed(kind, stores, tmp_path):  # noqa: F811
    store, _ = stores[kind]
    text = run("check", store)
    assert "is whole" in text and "their checksums are right" in text
    copy = tmp_path / "copy"
    shutil.copytree(store, copy)
    rng = np.random.default_rng(3)
    files = [path for path in files_of(copy) if "closing_record" not in path.parts]
    root = copy / ("embeddings.zarr" if kind == "embeddings" else "") / "zarr.json"
    files.remove(root)  # without which nothing else is found
    gone, changed = files[1::3], files[2::3]
    for path in gone:
        path.unlink()
    for path in changed:
        content = bytearray(path.read_bytes())
        content[rng.integers(len(content))] ^= 64
        path.write_bytes(content)
    lines = run("check", copy, code=1).splitlines()
    for path in files:
        told = [line for line in lines if line.startswith(f"{path}: ")]
        assert len(told) == (path in gone or path in changed), path
        assert path not in gone or told[0].endswith("missing")
    assert f"is damaged: {len(gone) + len(changed)} of " in lines[-1]
    root.unlink()
    assert str(root) in run("check", copy, code=1)


@pytest.mark.parametrize("kind", KINDS)
def test_a_lost_record_is_told_and_an_earlier_store_has_none(kind, stores, tmp_path):  # noqa: F811
    store, _ = stores[kind]
    copy = tmp_path / "copy"
    shutil.copytree(store, copy)
    inner = copy / ("embeddings.zarr" if kind == "embeddings" else "")
    shutil.move(inner / "closing_record", tmp_path / "record")
    assert "closing_record/zarr.json: missing" in run("check", copy, code=1)
    shutil.move(tmp_path / "record", inner / "closing_record")
    as_before(inner)
    assert "they carry no checksums" in run("check", copy)
    chunk = next(path for path in files_of(inner) if path.name == "0")
    chunk.write_bytes(chunk.read_bytes()[:-3])
    assert f"{chunk}: not readable" in run("check", copy, code=1)


def test_info_says_whether_a_store_is_whole(stores, tmp_path):  # noqa: F811
    for kind in ("result", "codes", "labels", "embeddings"):
        store, _ = stores[kind]
        assert json.loads(run("info", store, "--json"))["checksums"] is True
        assert "no file is missing" in run("info", store)
        copy = tmp_path / kind
        shutil.copytree(store, copy)
        chunk = next(path for path in files_of(copy) if path.name == "0")
        chunk.unlink()
        text = run("info", copy, code=2)
        assert f"'{chunk}' is missing" in text and "Traceback" not in text
        shutil.rmtree(copy)
    shutil.copytree(stores["codes"][0], tmp_path / "codes")
    as_before(tmp_path / "codes")
    assert "none: an earlier version's" in run("info", tmp_path / "codes")


def test_plain_zarr_npy_files_and_checkpoints_are_checked(tmp_path):
    values = np.random.default_rng(0).standard_normal((400, 6))
    for name in ("array.zarr", "group.zarr/array"):
        array = zarr.create_array(tmp_path / name, shape=(400, 6), chunks=(100, 6), dtype="f8")
        array[:300] = values[:300]
    zarr.open_group(tmp_path / "group.zarr", mode="a")
    for name in ("array.zarr", "group.zarr"):
        text = run("check", tmp_path / name, code=1)
        assert "c/3/0: missing: never written, or lost" in text and "1 of 4 files" in text
    zarr.open_array(tmp_path / "array.zarr")[300:] = 1
    assert "is whole (samples): 4 files, they can be read" in run("check", tmp_path / "array.zarr")
    chunk = tmp_path / "array.zarr" / "c" / "1" / "0"
    chunk.write_bytes(chunk.read_bytes()[:20])
    assert f"{chunk}: not readable" in run("check", tmp_path / "array.zarr", code=1)
    np.save(tmp_path / "rows.npy", values)
    assert "is whole" in run("check", tmp_path / "rows.npy")
    os.truncate(tmp_path / "rows.npy", 1000)
    assert "rows.npy" in run("check", tmp_path / "rows.npy", code=1)
    options = {"n_components": 8, "n_nonzero_coefs": 2, "max_passes": 2, "random_state": 0}
    daskksvd.fit(values, checkpoint=tmp_path / "fit.ckpt", **options)
    assert "is whole (checkpoint)" in run("check", tmp_path / "fit.ckpt")
    content = bytearray((tmp_path / "fit.ckpt").read_bytes())
    content[len(content) // 2] ^= 1
    (tmp_path / "fit.ckpt").write_bytes(content)
    assert "fit.ckpt" in run("check", tmp_path / "fit.ckpt", code=1)
    (tmp_path / "notes.txt").write_text("no store")
    for name, words in (("notes.txt", "neither a Zarr store"), ("nowhere", "no such path")):
        assert words in run("check", tmp_path / name, code=2)
