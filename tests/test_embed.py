"""Captioned images to a store: nothing lost, nothing twice, however often the work is cut off."""

import itertools
import json
import os
import pathlib
import shutil
import signal
import sys
import time

import numpy as np
import pandas as pd
import pytest
import small_models
import xarray as xr
import zarr
from distributed import Client, LocalCluster
from PIL import Image
from small_programs import programs

import daskksvd
from daskksvd.embedding import run, writer
from daskksvd.embedding.models import check_spec, load_encoder
from daskksvd.embedding.models.base import Encoder

N, CHUNK, BATCH = 60, 16, 8


class Pictures:
    """Images made where they are asked for; some are broken, some have no caption."""

    def __init__(self, n=N):
        self.n = n

    def __len__(self):
        return self.n

    def __getitem__(self, i):
        if i >= self.n:
            raise IndexError(i)
        if i % 11 == 3:
            return b"no image", [f"caption {i}"]
        image = np.random.default_rng(i).integers(0, 256, (20 + i % 5, 30, 3), np.uint8)
        return image, [] if i % 13 == 6 else [f"caption {i}", f"another {i}"][: 1 + i % 2]


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    folder = tmp_path_factory.mktemp("clip")
    small_models.save_model("clip", folder)
    return folder


@pytest.fixture(scope="module")
def whole(model, tmp_path_factory):
    """A store made without interruption."""
    return embed(model, tmp_path_factory.mktemp("whole") / "out")


def embed(model, out, pictures=None, **settings):
    pictures = Pictures() if pictures is None else pictures
    settings = {"chunk_rows": CHUNK, "batch_size": BATCH, "thumbnails": 24, "device": "cpu", **settings}
    return daskksvd.embed(pictures, out, model=model, **settings)


def contents(store):
    """Everything in a store that a reader can see."""
    group = zarr.open_group(os.path.join(store.path, "embeddings.zarr"), mode="r")
    captions = store.captions.compute().reset_index(drop=True)
    arrays = {name: np.asarray(array[:]) for name, array in group.arrays()}
    return arrays, captions.values.tolist(), store.rejects.values.tolist(), dict(group.attrs)


def assert_same(one, other):
    (arrays, *rest), (arrays2, *rest2) = contents(one), contents(other)
    assert arrays.keys() == arrays2.keys()
    for name in arrays:
        np.testing.assert_array_equal(arrays[name], arrays2[name])
    assert rest == rest2
    assert not list(pathlib.Path(other.path).rglob("*.partial"))


# ----------------------------------------------------------------- contents


def test_store(whole, model):
    """Rows, ids, captions and rejects against a loop over the pictures."""
    encoder = load_encoder(check_spec(model))
    rows, samples, captions, rejects = [], [], [], []
    for i, (image, texts) in enumerate(Pictures()):
        if isinstance(image, bytes) or not texts:
            rejects.append(i)
            continue
        captions += [(i, len(rows), text) for text in texts]
        samples.append(i)
        rows.append(encoder.encode([encoder.prepare(Image.fromarray(image))])[0])
    found = whole.array.compute()
    assert found.dtype == np.float16
    np.testing.assert_allclose(found, rows, rtol=2e-3, atol=2e-3)
    assert whole.sample.tolist() == samples and whole.sample.dtype == np.int64
    assert whole.source.tolist() == [f"#{i}" for i in samples]
    lines = whole.captions.compute()
    assert lines.astype(object).values.tolist() == [list(line) for line in captions]
    assert whole.rejects["sample"].tolist() == rejects
    assert set(whole.rejects["reason"][[i % 11 != 3 for i in rejects]]) == {"there is no caption"}
    # captions lie in files by the chunks of the rows
    assert whole.array.chunks[0] == (16, 16, 16, len(rows) - 48)
    parts = [whole.captions.get_partition(i).compute()["row"] for i in range(4)]
    assert [(part.min() // CHUNK, part.max() // CHUNK) for part in parts] == [(i, i) for i in range(4)]
    thumbnail = whole.thumbnail(0)
    assert thumbnail.format == "JPEG" and max(thumbnail.size) == 24
    attrs = whole.attrs
    assert attrs["complete"] and attrs["n_samples"] == len(rows) and attrs["n_rejected"] == len(rejects)
    assert attrs["n_captions"] == len(captions) and attrs["model"]["pooling"] == "pooled"
    wide = found.astype(np.float64)
    np.testing.assert_allclose(attrs["mean"], wide.mean(0), atol=1e-12)
    np.testing.assert_allclose(attrs["scale"], wide.std(0), rtol=1e-9)
    assert repr(whole) == f"<daskksvd.Embeddings: {len(rows)} x 20 float16, {len(rejects)} rejected>"
    assert repr(daskksvd.open_embeddings(whole.path)) == repr(whole)
    assert xr.open_zarr(whole.path + "/embeddings.zarr", consolidated=False)["embeddings"].dims == (
        "sample",
        "feature",
    )


def test_fit_reads_it(whole):
    settings = {"n_components": 24, "n_nonzero_coefs": 2, "random_state": 0, "max_passes": 1}
    one = daskksvd.fit(whole.path, **settings)
    other = daskksvd.fit(whole.path + "/embeddings.zarr/embeddings", **settings)
    np.testing.assert_array_equal(one.dictionary, other.dictionary)


def test_float32_and_images_without_captions(model, tmp_path):
    store = embed(model, tmp_path / "out", dtype="float32", captions_required=False, thumbnails=None)
    assert store.array.dtype == np.float32 and store.thumbnail(0) is None
    assert len(store) == sum(i % 11 != 3 for i in range(N))
    assert 6 in store.sample and 6 not in store.captions.compute()["sample"].tolist()


def test_vectors_that_float16_cannot_hold(model, tmp_path, monkeypatch):
    encode = Encoder.encode

    def with_an_outlier(self, prepared):
        vectors = encode(self, prepared)
        if len(vectors) > 1:
            vectors[1, 0] = 1e6
        return vectors

    monkeypatch.setattr(Encoder, "encode", with_an_outlier)
    store = embed(model, tmp_path / "out", Pictures(3))
    assert store.rejects["reason"].tolist() == ["its vector has values that float16 cannot hold"]
    assert store.sample.tolist() == [0, 2]


# -------------------------------------------------------------- interruption


class Cut(BaseException):
    """Stands for the end of the process."""


def test_cut_off_at_every_step(whole, model, tmp_path, monkeypatch):
    """Before and after every file that is put in place or removed."""
    embedded, encode = [], Encoder.encode

    def counting(self, prepared):
        embedded.append(len(prepared))
        return encode(self, prepared)

    monkeypatch.setattr(Encoder, "encode", counting)
    calls, cut = itertools.count(), None

    def counted(function):
        def call(*arguments):
            number = next(calls)
            if cut is not None and (number > cut or (number == cut and number % 2)):
                raise Cut  # and nothing is tidied up after the end
            value = function(*arguments)
            if number == cut:
                raise Cut
            return value

        return call

    monkeypatch.setattr(writer.os, "replace", counted(os.replace))
    monkeypatch.setattr(writer.os, "remove", counted(os.remove))
    assert_same(embed(model, tmp_path / "uncut"), whole)
    steps = next(calls)
    assert steps > 40
    once = sum(embedded)
    # before the first of them
    cut = -1
    with pytest.raises(Cut):
        embed(model, tmp_path / "begun")
    assert os.listdir(tmp_path / "begun")
    cut = None
    assert_same(embed(model, tmp_path / "begun"), whole)
    embedded.clear()
    # all steps, a few in one run
    for first in range(7):
        out = tmp_path / f"cut-{first}"
        embedded.clear()
        cuts = 0
        for cut in range(first, steps, 7):  # noqa: B007
            calls = itertools.count()
            try:
                store = embed(model, out)
                break
            except Cut:
                cuts += 1
        else:
            cut = None
            store = embed(model, out)
        assert cuts
        assert_same(store, whole)
        # only the batch that was not in the journal yet is done again
        assert once < sum(embedded) <= once + BATCH * cuts + len(embedded)


def test_killed(model, tmp_path, whole):
    """SIGKILL at random, and the store is the same."""
    imports = f"""
        import sys, time
        sys.path.insert(0, {os.path.dirname(__file__)!r})
        import test_embed
        from transformers import CLIPModel, ViTImageProcessor
        from daskksvd.embedding.models.base import Encoder
    """
    program = f"""
        encode = Encoder.encode
        Encoder.encode = lambda self, prepared: time.sleep(0.05) or encode(self, prepared)
        test_embed.embed({str(model)!r}, {str(tmp_path / "out")!r})
    """
    rng = np.random.default_rng(0)
    kills = 0
    journal = tmp_path / "out" / "journal"
    with programs(imports, program) as running:
        for _ in range(3):
            before = len(os.listdir(journal)) if journal.exists() else -1
            number = running.start()
            end = time.monotonic() + 60
            while time.monotonic() < end:
                if journal.exists() and len(os.listdir(journal)) not in (before, 0):
                    break
                time.sleep(0.005)
            time.sleep(rng.uniform(0, 0.2))
            os.kill(number, signal.SIGKILL)
            kills += running.end() == -signal.SIGKILL
    assert kills
    assert_same(embed(model, tmp_path / "out"), whole)


def test_a_torn_journal_is_done_again(model, tmp_path, whole, monkeypatch):
    """What the end of a machine cut off, a rename notwithstanding."""
    stop_after(monkeypatch, 2)
    out = tmp_path / "out"
    with pytest.raises(Cut):
        embed(model, out)
    torn = sorted((out / "journal").glob("*.arrow"))[-1]
    torn.write_bytes(torn.read_bytes()[:-200])
    (out / "journal" / "left.part").write_bytes(b"")
    monkeypatch.undo()
    assert_same(embed(model, out), whole)


def stop_after(monkeypatch, batches):
    """Cut off a run after so many batches."""
    add, count = writer.Writer.add, itertools.count(1)

    def counting(self, *arguments):
        add(self, *arguments)
        if next(count) == batches:
            raise Cut

    monkeypatch.setattr(writer.Writer, "add", counting)


def test_it_can_be_looked_at_before_it_is_complete(model, tmp_path, monkeypatch, whole):
    stop_after(monkeypatch, 5)
    out = tmp_path / "out"
    with pytest.raises(Cut):
        embed(model, out)
    store = daskksvd.open_embeddings(out)
    assert "not complete" in repr(store) and 0 < len(store) < len(whole)
    np.testing.assert_array_equal(store.array, whole.array[: len(store)])
    assert store.captions.compute()["row"].max() == len(store) - 1


@pytest.mark.parametrize("first", [1, 30, 47, 59])
def test_more_samples_later(model, tmp_path, whole, first):
    pictures = Pictures()
    store = embed(model, tmp_path / "out", pictures, n_samples=first)
    assert len(store) + len(store.rejects) == first
    assert_same(embed(model, tmp_path / "out", pictures, n_samples=first), store)
    store = embed(model, tmp_path / "out", pictures)
    assert_same(store, whole)


def test_a_complete_store_is_not_touched(model, tmp_path, monkeypatch):
    out = tmp_path / "out"
    embed(model, out)
    monkeypatch.setattr(Pictures, "__getitem__", lambda self, i: pytest.fail("the source was read"))
    embed(model, out)


# ---------------------------------------------------------------- elsewhere


def test_cluster(model, tmp_path, whole):
    """Two workers make the same store, and one that dies costs a retry."""
    with (
        LocalCluster(n_workers=2, threads_per_worker=1, dashboard_address=":0") as cluster,
        Client(cluster) as client,
    ):
        # workers import Pictures from here
        client.register_worker_callbacks(add_tests_to_path)
        threads = client.run(watch_encoders)
        store = embed(model, tmp_path / "out", client=client)
        loaded = client.run(loaded_and_kept)
    (arrays, *rest), (expected, *others) = contents(store), contents(whole)
    # batches are the same, but a worker has another number of threads
    np.testing.assert_allclose(arrays.pop("embeddings"), expected.pop("embeddings"), atol=2e-3)
    for name in expected:
        np.testing.assert_array_equal(arrays[name], expected[name])
    assert rest[:2] == others[:2]
    # each loaded the model once, none keeps it, and PyTorch has the threads that it had
    assert loaded == {worker: (1, 0, count) for worker, count in threads.items()}


def add_tests_to_path(dask_worker=None):
    sys.path.insert(0, os.path.dirname(__file__))


def watch_encoders():
    """Count how often this process loads an encoder; returns PyTorch's threads."""
    import torch

    from daskksvd.embedding.models import loading

    load = loading.load_encoder
    loading.times_loaded = 0

    def counted(spec):
        loading.times_loaded += 1
        return load(spec)

    loading.load_encoder = counted
    return torch.get_num_threads()


def loaded_and_kept():
    import torch

    from daskksvd.embedding.models import loading

    return loading.times_loaded, len(loading._loaded), torch.get_num_threads()


# ------------------------------------------------------------------ refusals


def test_refused_before_any_work(model, tmp_path, monkeypatch):
    monkeypatch.setattr(run, "open_source", lambda *_, **__: pytest.fail("work began"))
    for settings, message in (
        ({"dtype": "float64"}, "dtype='float64'; it must be 'float16' or 'float32'"),
        ({"thumbnails": 8}, "thumbnails=8; it must be"),
        ({"thumbnails": 2000}, "thumbnails=2000; it must be"),
        ({"batch_size": 0}, "batch_size=0; it must be at least 1"),
        ({"n_samples": 0}, "n_samples=0; it must be at least 1"),
        ({"timeout": -1}, "timeout=-1"),
        ({"max_pixels": 0}, "max_pixels=0"),
        ({"pooling": "sum"}, "pooling='sum'"),
    ):
        with pytest.raises(ValueError, match=message):
            embed(model, tmp_path / "out", **settings)
    with pytest.raises(ValueError, match="out='s3://bucket/x' is a URL"):
        embed(model, "s3://bucket/x")
    assert not os.listdir(tmp_path)


def test_out_that_cannot_be_used(model, tmp_path, whole, monkeypatch):
    (tmp_path / "file").write_text("")
    with pytest.raises(OSError, match="cannot be written to: Not a directory"):
        embed(model, tmp_path / "file" / "out")
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "thesis.txt").write_text("")
    for overwrite in (False, True):
        with pytest.raises(FileExistsError, match=r"is not empty \(thesis.txt\)"):
            embed(model, tmp_path / "mine", overwrite=overwrite)
    monkeypatch.setattr(writer.os, "open", refuse_to_write)
    with pytest.raises(PermissionError, match="cannot be written to: Read-only file system"):
        embed(model, tmp_path / "read-only")


def refuse_to_write(*_):
    import errno

    raise OSError(errno.EROFS, "Read-only file system")


def test_too_small_a_disk(model, tmp_path, monkeypatch):
    usage = shutil.disk_usage(tmp_path)
    monkeypatch.setattr(run.shutil, "disk_usage", lambda path: usage._replace(free=1000))
    with pytest.raises(OSError, match=r"has 0\.98 kiB free, and 60 images take about 242\.34 kiB; free"):
        embed(model, tmp_path / "out")


def test_a_disk_that_fills_up(model, tmp_path, whole, monkeypatch):
    """What was done is kept; the same call goes on when there is room."""
    table, count = writer.pq.write_table, itertools.count()

    def full(*arguments, **settings):
        if next(count) == 2:
            raise OSError(28, "No space left on device")
        return table(*arguments, **settings)

    monkeypatch.setattr(writer.pq, "write_table", full)
    with pytest.raises(
        OSError, match=r"out' could not be written: the disk is full \(.* free\); free some"
    ) as told:
        embed(model, tmp_path / "out")
    assert told.value.errno == 28 and "the same call goes on from there" in told.value.__notes__[0]
    assert_same(embed(model, tmp_path / "out"), whole)


def test_another_run_is_not_mixed_in(model, tmp_path, whole):
    out = tmp_path / "out"
    embed(model, out, n_samples=30)
    for settings, message in (
        ({"pooling": "mean"}, "was begun with model pooling 'pooled', not 'mean'"),
        ({"dtype": "float32"}, "was begun with form dtype 'float16', not 'float32'"),
        ({"pictures": Pictures(50)}, "was begun with source"),
        ({"batch_size": 9, "n_samples": 40}, r"batch_size=9, but out=.* was begun with 8"),
    ):
        with pytest.raises(ValueError, match=message):
            embed(model, out, **settings)
    assert embed(model, out, Pictures(50), overwrite=True).attrs["n_samples"] < 50
    held = writer.Writer(str(tmp_path / "held"), {})
    with pytest.raises(FileExistsError, match="is being written by another process"):
        embed(model, tmp_path / "held")
    held.close()


def test_sources_that_give_nothing(model, tmp_path):
    with pytest.raises(ValueError, match=r"gave no image that could be embedded; the first of 2 rejects: "):
        embed(model, tmp_path / "a", [(b"x", "y"), (b"x", "y")])
    with pytest.raises(ValueError, match="gave no image that could be embedded: it is empty"):
        embed(model, tmp_path / "b", [])


def test_stores_that_are_not_as_the_schema_says(model, tmp_path):
    with pytest.raises(FileNotFoundError, match=r"holds no embeddings: there is no embeddings\.zarr in it"):
        daskksvd.open_embeddings(tmp_path)
    store = embed(model, tmp_path / "out", Pictures(5))
    group = zarr.open_group(store.path + "/embeddings.zarr", mode="r+")
    attrs = dict(group.attrs)
    for key, value, message in (
        ("n_samples", 7, r"embeddings has shape \(4, 20\); it must have 7 rows"),
        ("version", 99, r"was written by a newer daskksvd \(version 99 of the format; this one reads 1\)"),
        ("format", "other", "but not of embeddings"),
    ):
        group.attrs.put({**attrs, key: value})
        with pytest.raises(ValueError, match=message):
            daskksvd.open_embeddings(store.path)
    del attrs["mean"]
    group.attrs.put(attrs)
    with pytest.raises(ValueError, match="lacks the attribute 'mean'"):
        daskksvd.open_embeddings(store.path)
    with open(store.path + "/progress.json", "w") as file:
        file.write("{")
    with pytest.raises(ValueError, match=r"its progress\.json cannot be read"):
        embed(model, store.path, Pictures(5))


def test_what_is_stored_is_plain(whole):
    """pandas and json read it without this package."""
    lines = pd.read_parquet(os.path.join(whole.path, "captions"))
    assert list(lines) == ["sample", "row", "caption"] and lines["sample"].dtype == np.int64
    with open(os.path.join(whole.path, "embeddings.zarr", "zarr.json")) as file:
        assert json.load(file)["attributes"]["model"]["library"] == "transformers"
