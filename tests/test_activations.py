"""Activations of other tools: read as they are, and refused where they lie."""

import base64
import json
import os
import pickle

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

    def header(entry, data=b"\0" * 64):
        text = json.dumps({"x": entry}).encode()
        return len(text).to_bytes(8, "little") + text + data

    right = {"dtype": "F32", "shape": [2, 8], "data_offsets": [0, 64]}
    refused("has 64 bytes, and its shape", "a.safetensors", header({**right, "shape": [4, 8]}))
    refused("it is cut off", "a.safetensors", header({**right, "shape": [4, 8], "data_offsets": [0, 128]}))
    refused("an offset in .* is -8", "a.safetensors", header({**right, "data_offsets": [-8, 56]}))
    refused("is 'I64'; it must be one of", "a.safetensors", header({**right, "dtype": "I64"}))
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
        ("tokens='all'; it must be one of", {"layer": 5, "tokens": "all"}),
        ("rows_per_image=5, but .* has 7 tokens", {"layer": 5, "rows_per_image": 5}),
        ("ids has shape", {"layer": 5, "grid": (2, 3), "ids": [1, 1]}),
        ("images must be 10 names", {"layer": 5, "grid": (2, 3), "images": ["a"]}),
    ):
        with pytest.raises(ValueError, match=words):
            open_activations(folder, **settings)
    with pytest.raises(FileNotFoundError, match="there is no such folder or file"):
        open_activations(tmp_path / "nothing")
