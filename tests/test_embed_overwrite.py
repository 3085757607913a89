"""overwrite=True replaces what embed has written, and deletes nothing else."""

import json
import os
import shutil

import numpy as np
import pytest
import zarr

import daskksvd
from daskksvd.embedding.outcomes import Outcome
from daskksvd.embedding.writer import Writer

IDENTITY = {"model": {"library": "x"}, "source": {"kind": "y"}, "form": {}}


def tree(folder):
    """All files below a folder with their contents, besides the lock."""
    return {
        os.path.relpath(os.path.join(where, name), folder): open(os.path.join(where, name), "rb").read()
        for where, _, files in os.walk(folder)
        for name in files
        if name != ".lock"
    }


def write(path, complete=True, **settings):
    """A store of four rows and two rejects."""
    writer = Writer(str(path), IDENTITY, **settings)
    writer.settle(chunk_rows=2, thumbnails=None)
    outcomes = [
        Outcome(
            k, f"#{k}", ("a", "b"), "broken" if k % 3 == 1 else None, np.full(3, k, np.float16), lost=k % 2
        )
        for k in range(6)
    ]
    writer.add(0, 6, outcomes)
    if complete:
        writer.finish()
    writer.close()


def progress_of_another_program(path):
    write(path)
    (path / "progress.json").write_text('{"epoch": 3}')


def a_list_for_progress(path):
    (path / "journal").mkdir()
    (path / "progress.json").write_text("[1]")


def another_zarr(path):
    write(path)
    shutil.rmtree(path / "embeddings.zarr")
    group = zarr.open_group(path / "embeddings.zarr", mode="w")
    group.create_array("embeddings", shape=(3,), dtype="f4")
    group.attrs["title"] = "of another program"


def zarr_array(path):
    zarr.create_array(path / "embeddings.zarr", shape=(3,), dtype="f4")


def zarr_2(path):
    zarr.create_array(path / "embeddings.zarr", shape=(3,), dtype="f4", zarr_format=2)


def zarr_of_arrays(path):
    """Of the same names, and nothing that says whose they are."""
    zarr.open_group(path / "embeddings.zarr", mode="w").create_array("embeddings", shape=(3,), dtype="f4")


def another_array(path):
    write(path)
    zarr.open_group(path / "embeddings.zarr", mode="a").create_array("mine", shape=(3,), dtype="f4")


def captions_of_images(path):
    (path / "captions").mkdir()
    (path / "captions" / "1.txt").write_text("a dog")
    (path / "1.jpg").write_bytes(b"x")


def only(*names):
    def make(path):
        for name in names:
            (path / name).parent.mkdir(exist_ok=True)
            (path / name).write_bytes(b"mine")

    make.__name__ = "only " + ", ".join(names)
    return make


def notes_beside(path):
    write(path)
    (path / "notes.txt").write_text("mine")


def notes_within(path):
    write(path)
    (path / "captions" / "mine.parquet").write_text("mine")


def links(path):
    away = path.parent / "away"
    away.mkdir()
    (away / "rows-000000000000.parquet").write_text("mine")
    write(path)
    shutil.rmtree(path / "captions")
    (path / "captions").symlink_to(away)


FOREIGN = [
    progress_of_another_program, a_list_for_progress, another_zarr, zarr_array, zarr_2, zarr_of_arrays,
    another_array, captions_of_images, notes_beside, notes_within, links, only("thesis.txt"),
    only("progress.json"), only("captions/rows-000000000000.parquet"), only("journal/notes"),
    only("rejects/x.csv"), only("journal/000000000000-000000000008.arrow"), only("captions"),
]  # fmt: skip


@pytest.mark.parametrize("make", FOREIGN, ids=lambda make: make.__name__)
def test_what_is_not_of_embed_stays(tmp_path, make):
    out = tmp_path / "out"
    out.mkdir()
    make(out)
    before = tree(tmp_path)
    with pytest.raises(
        FileExistsError, match=r"is not empty \(.+\), and overwrite=True replaces only"
    ) as found:
        Writer(str(out), IDENTITY, overwrite=True)
    assert "name another folder" in str(found.value)
    assert tree(tmp_path) == before


def damaged_progress(path):
    write(path)
    (path / "progress.json").write_text('{"format": "dask')


def no_progress(path):
    write(path)
    os.remove(path / "progress.json")


def damaged_group(path):
    write(path)
    (path / "embeddings.zarr" / "zarr.json").write_text("{")


def group_without_attributes(path):
    write(path, complete=False)
    zarr.open_group(path / "embeddings.zarr", mode="a").attrs.clear()


def cut_off(path):
    write(path, complete=False)
    (path / "progress.json.part").write_text("{")
    (path / "journal" / "000000000006-000000000012.arrow.part").write_text("")
    (path / "captions" / "rows-000000000004.parquet.part").write_text("")


def just_begun(path):
    (path / "journal").mkdir()
    (path / "progress.json.part").write_text("{")


OURS = [
    write, damaged_progress, no_progress, damaged_group, group_without_attributes, cut_off, just_begun,
    lambda path: None,
]  # fmt: skip


@pytest.mark.parametrize("make", OURS, ids=lambda make: make.__name__)
def test_what_is_of_embed_is_replaced(tmp_path, make):
    out = tmp_path / "out"
    out.mkdir()
    make(out)
    write(out, overwrite=True)
    write(tmp_path / "fresh")
    assert tree(out).keys() == tree(tmp_path / "fresh").keys()
    assert len(daskksvd.open_embeddings(out)) == 4


def test_progress_of_another_program_is_not_gone_on_with(tmp_path):
    for text in ('{"epoch": 3}', '{"format": "other", "version": 1}'):
        (tmp_path / "progress.json").write_text(text)
        with pytest.raises(FileExistsError, match=r"has a progress\.json that is not of embed"):
            Writer(str(tmp_path), IDENTITY)


def test_counts(tmp_path):
    write(tmp_path / "out")
    found = daskksvd.open_embeddings(tmp_path / "out")
    expected = {
        "images": {"seen": 6, "stored": 4, "rejected": 2},
        "captions": {"seen": 15, "stored": 8, "rejected": 7},
    }
    assert found.counts == expected == found.attrs["counts"]
    # of a store that an earlier release has made
    del found.attrs["counts"]
    assert found.counts["images"] == expected["images"]
    assert found.counts["captions"] == {"seen": None, "stored": 8, "rejected": None}
    shutil.rmtree(tmp_path / "out" / "embeddings.zarr" / "closing_record")
    group = zarr.open_group(tmp_path / "out" / "embeddings.zarr", mode="a")
    attrs = {name: value for name, value in group.attrs.items() if name not in ("counts", "closing_record")}
    group.attrs.put(attrs)
    assert len(daskksvd.open_embeddings(tmp_path / "out")) == 4


def test_a_revision_that_could_not_be_read_once(tmp_path):
    """What is not known is not compared, and what is known is kept."""
    one, other = "1" * 40, "2" * 40

    def begin(revision, kind="dataset", library="transformers", model=one):
        source = {"kind": kind, "name": "a/b", "revision": revision}
        Writer(
            str(tmp_path / kind), {"model": {"library": library, "revision": model}, "source": source}
        ).close()
        with open(tmp_path / kind / "progress.json") as file:
            found = json.load(file)["identity"]
        return found["source"]["revision"], found["model"]["revision"]

    assert begin(None) == (None, one)
    assert begin(one) == (one, one)
    for unknown in (None, "main"):
        assert begin(unknown) == (one, one)
    assert begin(one, model=None) == (one, one)
    with pytest.raises(ValueError, match=f"was begun with source revision '{one}', not '{other}'"):
        begin(other)
    with pytest.raises(ValueError, match=f"was begun with model revision '{one}', not '{other}'"):
        begin(one, model=other)
    # a tag of weights is no revision of the Hub, and None are other weights
    begin(None, kind="table", library="open_clip", model="laion")
    with pytest.raises(ValueError, match="was begun with model revision 'laion', not None"):
        begin(None, kind="table", library="open_clip", model=None)


def test_the_order_is_kept_without_asserts(tmp_path):
    writer = Writer(str(tmp_path / "out"), IDENTITY)
    with pytest.raises(RuntimeError, match="elements from 3 on came where those from 0 on were due"):
        writer.add(3, 4, [])
    writer.close()


def test_everything_is_on_the_disk_before_what_replaces_it(tmp_path, monkeypatch):
    """Files are synced before the record of progress is put in place, and that before journals go."""
    events = []
    opened, fsync, replace, remove = os.open, os.fsync, os.replace, os.remove
    names = {}

    def open_(path, *arguments, **options):
        handle = opened(path, *arguments, **options)
        names[handle] = os.path.relpath(path, tmp_path)
        return handle

    monkeypatch.setattr(os, "open", open_)
    monkeypatch.setattr(os, "fsync", lambda h: events.append(("sync", names.get(h))) or fsync(h))
    monkeypatch.setattr(
        os, "replace", lambda a, b: events.append(("put", os.path.relpath(b, tmp_path))) or replace(a, b)
    )
    monkeypatch.setattr(
        os, "remove", lambda a: events.append(("remove", os.path.relpath(a, tmp_path))) or remove(a)
    )
    write(tmp_path / "out")
    monkeypatch.undo()
    counted = [place for place, event in enumerate(events) if event == ("put", "out/progress.json")]
    last = counted[-1]
    assert events[last - 1] == ("sync", "out/progress.json.part")
    assert events[last + 1] == ("sync", "out")
    synced = [name for event, name in events[:last] if event == "sync"]
    chunks = [
        name for name in tree(tmp_path / "out") if name.startswith(("embeddings", "captions", "rejects"))
    ]
    for name in chunks:
        if "closing_record" in name:
            continue
        assert {f"out/{name}", f"out/{name}.part"} & set(synced), name
    for place, (event, name) in enumerate(events):
        if event == "remove":
            assert "journal" in name and ("sync", "out") in events[counted[0] : place]
