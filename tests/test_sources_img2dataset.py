"""Folders as img2dataset writes them, in each of its formats."""

import json

import pandas as pd
import pytest
from small_sources import listed, number_of, png, write_tar

from daskksvd.embedding.sources import Url, open_source

SHARDS, EACH = 3, 4


def facts(shard, number):
    """What the program notes of an image."""
    return {
        "url": f"http://a.test/{shard}/{number}.jpg", "caption": f"caption {shard}.{number}",
        "key": f"{shard:05d}{number:04d}", "status": "success", "error_message": None,
        "width": 16, "height": 12, "original_width": 99, "original_height": 80, "exif": "{}", "sha256": "x",
    }  # fmt: skip


def write(folder, form, shards=range(SHARDS), described=True):
    folder.mkdir(parents=True, exist_ok=True)
    for shard in shards:
        rows = [facts(shard, number) for number in range(EACH)]
        images = [png(EACH * shard + number) for number in range(EACH)]
        name = f"{shard:05d}"
        if form == "webdataset":
            members = []
            for row, image in zip(rows, images, strict=True):
                members += [(f"{row['key']}.jpg", image), (f"{row['key']}.json", json.dumps(row).encode())]
                members.append((f"{row['key']}.txt", row["caption"].encode()))
            write_tar(folder / f"{name}.tar", members)
        elif form == "files":
            (folder / name).mkdir()
            for row, image in zip(rows, images, strict=True):
                (folder / name / f"{row['key']}.jpg").write_bytes(image)
                (folder / name / f"{row['key']}.txt").write_text(row["caption"])
                (folder / name / f"{row['key']}.json").write_text(json.dumps(row))
        elif form == "tfrecord":
            (folder / f"{name}.tfrecord").write_bytes(b"x")
        table = pd.DataFrame(rows)
        if form == "parquet":
            table["jpg"] = images
        if described:
            table.to_parquet(folder / f"{name}.parquet")
            (folder / f"{name}_stats.json").write_text(json.dumps({"count": EACH, "successes": EACH}))
    return folder


def check(items, shards=SHARDS):
    assert [number_of(item) for item in items] == list(range(shards * EACH))
    assert [item.captions for item in items] == [
        (f"caption {shard}.{number}",) for shard in range(shards) for number in range(EACH)
    ]


@pytest.mark.parametrize("form", ["webdataset", "files", "parquet"])
def test_what_it_fetched_is_not_fetched_again(tmp_path, form):
    check(listed(write(tmp_path / form, form)))


def test_shards_in_subfolders(tmp_path):
    write(tmp_path / "set" / "a", "webdataset", [0])
    write(tmp_path / "set" / "b", "webdataset", [1])
    write(tmp_path / "set" / "b" / "c", "webdataset", [2])
    items = listed(tmp_path / "set")
    check(items)
    assert [item.source for item in items[::EACH]] == [
        "a/00000.tar::000000000", "b/00001.tar::000010000", "b/c/00002.tar::000020000"
    ]  # fmt: skip


def test_shards_beside_whatever_else(tmp_path):
    folder = write(tmp_path / "set", "webdataset")
    (folder / "preview.png").write_bytes(png())
    (folder / "_tmp").mkdir()
    (folder / "_tmp" / "0.feather").write_bytes(b"x")
    check(listed(folder))
    # shards with a table of another name, and a data set of Parquet files with a shard
    folder = write(tmp_path / "other", "webdataset", described=False)
    pd.DataFrame([facts(0, 0)]).to_parquet(folder / "all.parquet")
    check(listed(folder))
    folder = write(tmp_path / "set2", "parquet")
    write_tar(folder / "source-code.tar", [("a.py", b"x")])
    check(listed(folder))


def test_images_beside_shards_that_nothing_describes(tmp_path):
    folder = write(tmp_path / "set", "webdataset", described=False)
    (folder / "a.png").write_bytes(png())
    with pytest.warns(UserWarning, match=r"without the 3 tar files in it; for these name .*\*\.tar"):
        assert open_source(folder).identity()["kind"] == "folder"


def test_formats_that_hold_no_images(tmp_path):
    items = listed(write(tmp_path / "dummy", "dummy"))
    assert [item.image for item in items[:2]] == [Url("http://a.test/0/0.jpg"), Url("http://a.test/0/1.jpg")]
    assert items[0].captions == ("caption 0.0",)
    with pytest.raises(ValueError, match="is a folder of TFRecord files, which are not read; have them"):
        open_source(write(tmp_path / "tf", "tfrecord", described=False))
    with pytest.raises(ValueError, match="is a folder of TFRecord files"):
        open_source(write(tmp_path / "tf2", "tfrecord"))


@pytest.mark.parametrize("form", ["webdataset", "files", "parquet"])
def test_other_json_beside_it(tmp_path, form):
    """More files of JSON than of anything else make no data set of JSON."""
    folder = write(tmp_path / "out 1.x", form)
    for shard in range(SHARDS):
        (folder / f"{shard:05d}.json").write_text('{"note": 1}')
    check(listed(folder))
