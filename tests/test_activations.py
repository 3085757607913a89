"""Activations of other tools: read as they are, and refused where they lie."""

import base64
import json
import os
import pickle
import tracemalloc

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

import daskksvd
from daskksvd.activations import open_activations
from daskksvd.view import open_view

N, LAYERS, PATCHES, D = 10, [5, 11], 6, 8


class Bomb:
    """What must never be unpickled."""

    def __reduce__(self):
        return os.mkdir, ("exploded",)


@pytest.fixture(scope="module")
def values():
    return np.random.default_rng(0).standard_normal((N, len(LAYERS), 1 + PATCHES, D)).astype(np.float32)


def write_saev(folder, values, counts=(4, 4, 2), full=4, metadata=None, shards=None):
    """As saev's disk layout describes it: shards are of one size, the last one is not full."""
    folder.mkdir()
    said = {
        "family": "dinov2", "ckpt": "dinov2_vits14", "layers": LAYERS, "content_tokens_per_example": PATCHES,
        "cls_token": True, "d_model": D, "n_examples": N, "max_tokens_per_shard": 4 * 2 * 7,
        "data": base64.b64encode(pickle.dumps(Bomb())).decode(), "dataset": "/data", "pixel_agg": "majority",
        "dtype": "float32", "protocol": "2.1",
    }  # fmt: skip
    (folder / "metadata.json").write_text(json.dumps({**said, **(metadata or {})}))
    listed, start = [], 0
    for number, count in enumerate(counts):
        shard = np.zeros((full, *values.shape[1:]), np.float32)
        shard[:count] = values[start : start + count]
        shard.tofile(folder / f"acts{number:06}.bin")
        listed.append({"name": f"acts{number:06}.bin", "n_examples": count})
        start += count
    (folder / "shards.json").write_text(json.dumps(listed if shards is None else shards))
    return folder


def test_saev(values, tmp_path, monkeypatch):
    """Every layer and choice of tokens; nothing is unpickled; fitted, coded and seen by image."""
    monkeypatch.chdir(tmp_path)
    folder = write_saev(tmp_path / "shards", values)
    for place, layer in enumerate(LAYERS):
        for tokens, cut in (
            ("patches", slice(1, None)),
            ("cls", slice(0, 1)),
            ("cls+patches", slice(0, None)),
        ):
            found = open_activations(
                folder, layer=layer, tokens=tokens, grid=None if tokens == "cls" else (2, 3)
            )
            expected = values[:, place, cut].reshape(-1, D)
            np.testing.assert_array_equal(found.array.compute(), expected)
            np.testing.assert_array_equal(found.array[3:17].compute(), expected[3:17])
            assert found.n_images == N and found.attrs["model"]["name"] == "dinov2_vits14"
    assert found.positions(3).tolist() == [-1, 0, 1, 2, 3, 4, 5] and found.layout.grid == (2, 3)
    patches = open_activations(folder, layer=5, grid=(2, 3), images=[f"{i}.jpg" for i in range(N)])
    assert "10 images x 6 tokens x 8 float32" in repr(patches)
    result = daskksvd.fit(patches, n_components=12, n_nonzero_coefs=2, max_passes=1, random_state=0)
    result.save("result.zarr")
    result.write_codes(patches, "result-codes.zarr")
    assert daskksvd.image_codes("result-codes.zarr").shape == (N, 12)
    labels = daskksvd.label("result-codes.zarr", ["a dog"] * 5 + ["a cat"] * 5, min_df=1, min_uses=1)
    assert labels.attrs["n"] == N
    view = open_view("result.zarr", embeddings=patches)
    assert view.n == N and view.patches.heat(0, 3).shape == (2, 3)
    assert not os.path.exists("exploded")


def test_arrays(values, tmp_path):
    """Arrays in files, of two and three dimensions, in the order of their names."""
    flat = values[:, 0].reshape(-1, D)
    folder = tmp_path / "npy"
    folder.mkdir()
    np.save(folder / "a.npy", flat[:30].astype(np.float16))
    np.save(folder / "b.npy", flat[30:].astype(np.float16))
    found = open_activations(folder)
    assert found.layout is None and found.n_images == 70 and found.array.dtype == np.float16
    np.testing.assert_array_equal(found.array.compute(), flat.astype(np.float16))
    tokens = open_activations(folder, rows_per_image=7, cls_token=True, grid=(3, 2))
    np.testing.assert_array_equal(tokens.array.compute(), values[:, 0, 1:].reshape(-1, D).astype(np.float16))

    save = pytest.importorskip("safetensors.torch").save_file
    torch = pytest.importorskip("torch")
    for kind in ("float32", "bfloat16"):
        folder = tmp_path / kind
        folder.mkdir()
        tensors = torch.tensor(values[:, 1]).to(getattr(torch, kind))
        for number in range(2):
            part = tensors[5 * number : 5 * number + 5].contiguous()
            save({"other": torch.zeros(3), "x": part}, folder / f"{number}.safetensors")
        found = open_activations(folder, key="x", cls_token=True, grid=(2, 3), ids=np.arange(N) + 100)
        np.testing.assert_array_equal(found.array.compute(), tensors[:, 1:].float().reshape(-1, D).numpy())
        assert found.sample.tolist() == list(range(100, 110))
        with pytest.raises(ValueError, match="has the tensors 'other', 'x'; name one with key="):
            open_activations(folder)


@pytest.mark.parametrize("kind", ["npy", "parquet"])
def test_some_tokens_of_many_take_little_memory(kind, tmp_path, monkeypatch):
    """What is read at once is bounded by what is stored, not by what is kept of it."""
    monkeypatch.setattr("daskksvd.activations.parts.PIECE_BYTES", 2**17)
    monkeypatch.setattr("daskksvd.activations.parts.BATCH_BYTES", 2**14)
    stored = np.random.default_rng(0).standard_normal((400, 65, 16)).astype(np.float32)  # 1.7 MB
    if kind == "npy":
        np.save(tmp_path / "a.npy", stored)
    else:
        column = pa.FixedSizeListArray.from_arrays(pa.array(stored.ravel()), 16)
        pq.write_table(pa.table({"x": column}), tmp_path / "a.parquet")
    for tokens, cut in (("cls", slice(0, 1)), ("patches", slice(1, None))):
        found = open_activations(tmp_path, tokens=tokens, rows_per_image=65, cls_token=True)
        np.testing.assert_array_equal(found.array.compute(), stored[:, cut].reshape(-1, 16))
        np.testing.assert_array_equal(found.array[70:91].compute(), stored[:, cut].reshape(-1, 16)[70:91])
    block = open_activations(tmp_path, tokens="cls", rows_per_image=65, cls_token=True).array.blocks[0]
    tracemalloc.start()
    block.compute(scheduler="synchronous")
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 2**19


def test_part_of_a_row_group(tmp_path, monkeypatch):
    """Arrow decodes no more of it than comes before the last row asked for, in small batches."""
    monkeypatch.setattr("daskksvd.activations.parts.BATCH_BYTES", 2**14)
    values = np.random.default_rng(0).standard_normal((200_000, 8))  # 12.8 MB
    column = pa.FixedSizeListArray.from_arrays(pa.array(values.ravel()), 8)
    pq.write_table(pa.table({"x": column}), tmp_path / "a.parquet", use_dictionary=False, compression="none")
    del column
    rows = open_activations(tmp_path)
    pool, usual = pa.system_memory_pool(), pa.default_memory_pool()
    try:
        pa.set_memory_pool(pool)
        found = rows.array[1_000:2_000].compute(scheduler="synchronous")
    finally:
        pa.set_memory_pool(usual)
    np.testing.assert_array_equal(found, values[1_000:2_000])
    assert pool.max_memory() < 6e6


def test_files_follow_by_number(values, tmp_path):
    for folder, save in (
        ("npy", lambda part, path: np.save(f"{path}.npy", part)),
        ("parquet", lambda part, path: pq.write_table(pa.table({"x": part.tolist()}), f"{path}.parquet")),
    ):
        (tmp_path / folder).mkdir()
        for number in range(11):
            save(np.full((2, 3), number, float), tmp_path / folder / f"part{number}")
        found = open_activations(tmp_path / folder).array.compute()
        np.testing.assert_array_equal(found[:, 0], np.repeat(np.arange(11), 2))


@pytest.mark.parametrize("kind", ["list", "fixed"])
def test_parquet(kind, values, tmp_path):
    flat = values[:, 0].reshape(-1, D)
    kinds = {"list": pa.list_(pa.float32()), "fixed": pa.list_(pa.float32(), D)}
    table = pa.table({"id": range(70), "vector": pa.array(flat.tolist(), kinds[kind])})
    pq.write_table(table, tmp_path / "rows.parquet", row_group_size=16)
    found = open_activations(tmp_path / "rows.parquet")
    np.testing.assert_array_equal(found.array.compute(), flat)
    np.testing.assert_array_equal(open_activations(tmp_path).array[10:40].compute(), flat[10:40])
    uneven = pa.table({"vector": [[1.0, 2.0], [1.0, 2.0], [3.0]]})
    pq.write_table(uneven, tmp_path / "uneven.parquet")
    with pytest.raises(ValueError, match="has vectors of 1, 2 numbers; all must have 2"):
        open_activations(tmp_path / "uneven.parquet").array.compute()


HOSTILE = {
    "a path that leads out": (
        {"shards": [{"name": "../acts000000.bin", "n_examples": N}]}, "names the shard '../acts000000.bin'",
    ),
    "another file": ({"shards": [{"name": "/etc/passwd", "n_examples": N}]}, "names the shard '/etc/passwd'"),
    "a shard twice": (
        {"shards": [{"name": "acts000000.bin", "n_examples": 4}] * 2}, "names a shard twice",
    ),
    "a missing shard": ({"shards": [{"name": "acts000009.bin", "n_examples": N}]}, "there is no such file"),
    "more examples than bytes": (
        {"shards": [{"name": "acts000000.bin", "n_examples": N}]}, "it is cut off, or of another shape",
    ),
    "a shard that is not listed": (
        {"shards": [{"name": "acts000000.bin", "n_examples": 4}], "metadata": {"n_examples": 4}},
        "does not list the shard 'acts000001.bin', which lies beside it",
    ),
    "no list": ({"shards": {"a": 1}}, "must be a list of objects"),
    "negative": ({"metadata": {"n_examples": -3}}, "n_examples in .* is -3; it must be a whole number"),
    "immense": ({"metadata": {"d_model": 2**60}}, "d_model in .* it must be a whole number"),
    "large": ({"metadata": {"d_model": 2**40}}, "it is cut off, or of another shape"),
    "small": ({"metadata": {"d_model": 4}}, "it is of another shape than the metadata say"),
    "true": ({"metadata": {"n_examples": True}}, "n_examples in .* is True"),
    "text": ({"metadata": {"content_tokens_per_example": "6"}}, "is '6'; it must be a whole number"),
    "other examples": ({"metadata": {"n_examples": 7}}, "lists 10 examples, and the metadata say 7"),
    "objects": ({"metadata": {"dtype": "object"}}, "dtype in .* is 'object'; saev writes 'float32'"),
    "no layers": ({"metadata": {"layers": []}}, "must be a list of different whole numbers"),
    "a layer twice": ({"metadata": {"layers": [5, 5]}}, "must be a list of different whole numbers"),
    "no class": ({"metadata": {"cls_token": 1}}, "cls_token in .* is 1; it must be true or false"),
}  # fmt: skip


@pytest.mark.parametrize("name", HOSTILE)
def test_hostile_shards(name, values, tmp_path):
    changes, words = HOSTILE[name]
    folder = write_saev(tmp_path / "shards", values, **changes)
    with pytest.raises(ValueError, match=words) as caught:
        open_activations(folder, layer=5, grid=(2, 3))
    assert "\n" not in str(caught.value)


def test_hostile_files(values, tmp_path):
    """Links, pickles, cut and mixed files, headers that lie."""
    folder = write_saev(tmp_path / "linked", values)
    (folder / "acts000001.bin").rename(tmp_path / "outside.bin")
    (folder / "acts000001.bin").symlink_to(tmp_path / "outside.bin")
    with pytest.raises(ValueError, match="a link that leads out"):
        open_activations(folder, layer=5, grid=(2, 3))
    pq.write_table(pa.table({"x": values[:, 0, 0].tolist()}), tmp_path / "outside.parquet")
    (tmp_path / "tables").mkdir()
    (tmp_path / "tables" / "a.parquet").symlink_to(tmp_path / "outside.parquet")
    with pytest.raises(ValueError, match=r"a link that leads out .* download with local_dir="):
        open_activations(tmp_path / "tables")
    assert len(open_activations(tmp_path / "outside.parquet")) == N
    (folder / "metadata.json").write_text("[" * 100_000)
    with pytest.raises(ValueError, match="is no JSON"):
        open_activations(folder)

    def refused(words, name, content, **settings):
        where = tmp_path / f"case {name}{len(os.listdir(tmp_path))}"
        where.mkdir()
        if callable(content):
            content(where / name)
        else:
            (where / name).write_bytes(content)
        with pytest.raises(ValueError, match=words) as caught:
            open_activations(where, **settings)
        assert "\n" not in str(caught.value)

    flat = values[:, 0].reshape(-1, D)
    refused(
        "Python objects, which are never unpickled", "a.npy", lambda path: np.save(path, np.array([Bomb()]))
    )
    refused("is stored column by column", "a.npy", lambda path: np.save(path, np.asfortranarray(flat)))
    refused("vectors must be float16", "a.npy", lambda path: np.save(path, np.ones((3, 4), int)))
    refused("it must be rows x features", "a.npy", lambda path: np.save(path, np.ones(3)))
    refused("is no .npy file", "a.npy", pickle.dumps(Bomb()))
    refused("path=.* has nothing of the kind", "a.pt", pickle.dumps(Bomb()))

    def cut(path):
        np.save(path, flat)
        os.truncate(path, 300)

    refused("it is cut off, or of another shape", "a.npy", cut)

    def longer(path):
        with open(path, "wb") as file:
            np.save(file, flat)
            np.save(file, flat)

    refused("there is more in it than it says", "a.npy", longer)
    nested = b"\x93NUMPY\x01\x00" + (900).to_bytes(2, "little") + b"(" * 900
    refused("is no .npy file", "a.npy", nested)
    deep = b"\x93NUMPY\x01\x00" + (9000).to_bytes(2, "little") + b"-" * 9000
    refused("is no .npy file", "a.npy", deep)

    def header(entry, data=b"\0" * 64):
        text = json.dumps({"x": entry}).encode()
        return len(text).to_bytes(8, "little") + text + data

    right = {"dtype": "F32", "shape": [2, 8], "data_offsets": [0, 64]}
    refused("has 64 bytes, and its shape", "a.safetensors", header({**right, "shape": [4, 8]}))
    refused("it is cut off", "a.safetensors", header({**right, "shape": [4, 8], "data_offsets": [0, 128]}))
    refused("an offset of 'x' in .* is -8", "a.safetensors", header({**right, "data_offsets": [-8, 56]}))
    refused("is 'I64'; it must be one of", "a.safetensors", header({**right, "dtype": "I64"}))
    refused("is .'F32'.; it must be one of", "a.safetensors", header({**right, "dtype": ["F32"]}))
    refused(
        "have 32 bytes of 64", "a.safetensors", header({**right, "shape": [1, 8], "data_offsets": [0, 32]})
    )

    def two(first, second):
        entries = {"x": {**right, "shape": [1, 8], "data_offsets": first}, "y": {"data_offsets": second}}
        text = json.dumps(entries).encode()
        return len(text).to_bytes(8, "little") + text + b"\0" * 64

    for spans, words in (
        (([0, 32], [16, 64]), "tensor 'y' begins at byte 16, and those before it end at 32"),
        (([0, 32], [40, 64]), "tensor 'y' begins at byte 40"),
        (([32, 64], [0, 16]), "tensor 'x' begins at byte 32, and those before it end at 16"),
        (([0, 32], [64, 32]), "before it begins"),
        (([0, 32], 5), "its entry 'y' is not as it should be"),
    ):
        refused(words, "a.safetensors", two(*spans), key="x")
    twice = json.dumps({"x": right})[:-1] + f', "x": {json.dumps(right)}' + "}"
    twice = len(twice).to_bytes(8, "little") + twice.encode() + b"\0" * 64
    refused("its header has 'x' twice", "a.safetensors", twice)
    refused("is said to take", "a.safetensors", (2**60).to_bytes(8, "little"))
    refused("its header is no JSON", "a.safetensors", (4).to_bytes(8, "little") + b"abcd")
    refused("is no Parquet file", "a.parquet", b"PAR1 and no more")

    mixed = tmp_path / "mixed"
    mixed.mkdir()
    np.save(mixed / "a.npy", flat)
    np.save(mixed / "b.npy", flat[:, :4])
    with pytest.raises(ValueError, match="has arrays of 4 <f4 and of 8 <f4; all must be alike"):
        open_activations(mixed)
    assert not os.path.exists("exploded")


def test_arguments(values, tmp_path):
    folder = write_saev(tmp_path / "shards", values)
    for words, settings in (
        ("layer is needed: .* has the layers 5, 11", {}),
        ("layer=3; .* has the layers 5, 11", {"layer": 3}),
        ("the 6 patches of an image in .* form no square", {"layer": 5}),
        ("images in .* have 6 patches", {"layer": 5, "grid": (2, 2)}),
        ("grid=64; it must be two numbers", {"layer": 5, "grid": 64}),
        ("grid='23'; it must be two numbers", {"layer": 5, "grid": "23"}),
        ("grid is 2.0; it must be a whole number", {"layer": 5, "grid": (2.0, 3)}),
        ("tokens='all'; it must be one of", {"layer": 5, "tokens": "all"}),
        ("rows_per_image=5, but .* has 7 tokens", {"layer": 5, "rows_per_image": 5}),
        ("ids has shape", {"layer": 5, "grid": (2, 3), "ids": [1, 1]}),
        ("images must be 10 names", {"layer": 5, "grid": (2, 3), "images": ["a"]}),
    ):
        with pytest.raises(ValueError, match=words):
            open_activations(folder, **settings)
    with pytest.raises(TypeError, match=r"key is .'x'.; it must be the name"):
        open_activations(folder, layer=5, grid=(2, 3), key=["x"])
    found = open_activations(folder, layer=5, grid=np.array([2, 3]), rows_per_image=np.int64(7))
    assert found.layout.rows_per_image == 6 and type(found.layout.rows_per_image) is int
    with pytest.raises(FileNotFoundError, match="there is no such folder or file"):
        open_activations(tmp_path / "nothing")
