"""Paths as people write them, and what is said where the disk is full."""

import errno
import os
import pathlib
import re

import numpy as np
import pytest

from daskksvd.machine import files


def test_paths_with_a_tilde_and_file_urls_are_local_paths(tmp_path, monkeypatch):
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.chdir(tmp_path)
    spaced = tmp_path / "a b.zarr"
    for written, meant in {
        "~/r.zarr": tmp_path / "r.zarr",
        "~": tmp_path,
        pathlib.Path("~") / "r.zarr": tmp_path / "r.zarr",
        "r.zarr": tmp_path / "r.zarr",
        b"r.zarr": tmp_path / "r.zarr",
        f"file://{tmp_path}/r.zarr": tmp_path / "r.zarr",
        f"file://localhost{tmp_path}/r.zarr": tmp_path / "r.zarr",
        f"file:{tmp_path}/r.zarr": tmp_path / "r.zarr",
        f"local://{tmp_path}/r.zarr": tmp_path / "r.zarr",
        "file://r.zarr": tmp_path / "r.zarr",
        "file://~/r.zarr": tmp_path / "r.zarr",
        spaced.as_uri(): spaced,
        f"file://{spaced}": spaced,
    }.items():
        assert files.absolute(written) == str(meant), written
    for url in ("s3://bucket/~/r.zarr", "memory://r", "https://host/file://x"):
        assert files.absolute(url) == url
    (tmp_path / "100%20").mkdir()
    assert files.absolute(f"file://{tmp_path}/100%20") == str(tmp_path / "100%20")  # it is there
    assert files.exists("~") and files.exists("file://localhost/") and not files.exists("~/nowhere")


class Remote(OSError):
    """As libraries raise them, without a number."""


@pytest.mark.parametrize(
    "error",
    [
        OSError(errno.ENOSPC, "No space left on device"),
        OSError(errno.EDQUOT, "Disk quota exceeded"),
        Remote("[Errno 28] Error writing bytes to file. Detail: [errno 28] No space left on device"),
        OSError("1048576 requested and 4096 written"),
    ],
    ids=str,
)
def test_a_full_disk_is_told_with_path_and_bytes(error, tmp_path):
    path = str(tmp_path / "new" / "r.zarr")
    for raised in (error, RuntimeError("a task failed")):
        raised.__cause__ = None if raised is error else error
        with pytest.raises(files.DiskFull) as caught, files.telling_disk_full(path, 3 * 2**20):
            raise raised
        text = str(caught.value)
        assert caught.value.errno in (errno.ENOSPC, errno.EDQUOT) and isinstance(caught.value, OSError)
        assert repr(path) in text and re.search(r"[\d.]+ [kMGT]iB free, about 3.00 MiB needed", text), text
        assert ("quota" in text) == ("quota" in str(error)) and "another disk" in text
    with (
        pytest.raises(files.DiskFull, match=re.escape(repr(path))),
        files.telling_disk_full("/elsewhere"),
        files.telling_disk_full(path),
    ):
        raise error


def test_other_errors_are_not_taken_for_a_full_disk(tmp_path):
    for error in (OSError(errno.EACCES, "Permission denied"), ValueError("no space left"), KeyError(28)):
        with pytest.raises(type(error)) as caught, files.telling_disk_full(str(tmp_path)):
            raise error
        assert caught.value is error


@pytest.mark.skipif(not os.path.exists("/dev/full"), reason="no device that is always full")
def test_a_device_that_is_full_is_told_of():
    for write in (
        lambda file: (file.write(b"x"), file.flush()),
        lambda file: np.arange(10**6).tofile(file),
        lambda file: np.savez(file, x=np.arange(10**6)),
    ):
        with (
            pytest.raises(files.DiskFull, match="'/dev/full'"),
            files.telling_disk_full("/dev/full"),
            open("/dev/full", "wb") as file,
        ):
            write(file)
