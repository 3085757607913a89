"""Tokens of a model: its own, at their places, of images of every size."""

import io
import shutil
import zipfile

import numpy as np
import pytest
import real
import small_models
import torch
import transformers
from PIL import Image

import daskksvd
from daskksvd.embedding.layout import Layout, frame_of, seen_box
from daskksvd.embedding.models import check_spec, load_encoder
from daskksvd.embedding.models.huggingface import HuggingFaceEncoder

N_PREFIX = {"clip": 1, "siglip": 0, "registers": 4, "dinov2": 1}
GRID = small_models.SIZE // small_models.PATCH


@pytest.fixture(scope="module")
def saved(tmp_path_factory):
    """Folder and model by kind."""
    folders = {kind: tmp_path_factory.mktemp(kind) for kind in N_PREFIX}
    return {kind: (folder, small_models.save_model(kind, folder)) for kind, folder in folders.items()}


@pytest.fixture(scope="module")
def images():
    rng = np.random.default_rng(0)
    return [Image.fromarray(rng.integers(0, 256, (40, 50, 3), np.uint8)) for _ in range(3)]


@pytest.mark.parametrize("tokens", ["patches", "cls+patches"])
@pytest.mark.parametrize("kind", N_PREFIX)
def test_tokens_are_those_of_the_model(kind, tokens, saved, images):
    """Patches in the order of the grid; registers left out; several layers side by side."""
    folder, model = saved[kind]
    pixels = small_models.pixels_of(images)
    with torch.inference_mode():
        hidden = getattr(model, "vision_model", model)(pixels, output_hidden_states=True).hidden_states
    if tokens == "cls+patches" and not N_PREFIX[kind]:
        with pytest.raises(ValueError, match="has no class token; use 'patches'"):
            load_encoder(check_spec(folder, tokens=tokens))
        return
    encoder = load_encoder(check_spec(folder, tokens=tokens, layer=[2, -3]))
    found = encoder.encode([encoder.prepare(image) for image in images])
    kept = list(range(N_PREFIX[kind], N_PREFIX[kind] + GRID**2))
    kept = [0, *kept] if tokens == "cls+patches" else kept
    expected = np.concatenate([hidden[2][:, kept].numpy(), hidden[1][:, kept].numpy()], axis=-1)
    assert found.shape == expected.shape and encoder.grid == (GRID, GRID) and encoder.d == found.shape[-1]
    np.testing.assert_allclose(found, expected, rtol=1e-5, atol=1e-5)


def test_position_is_where_the_patch_is(saved):
    """What is changed in one patch of an image changes that row most, before any attention."""
    encoder = load_encoder(check_spec(saved["dinov2"][0], tokens="patches", layer=0))
    pixels = np.zeros((3, small_models.SIZE, small_models.SIZE), np.float32)
    changed = pixels.copy()
    changed[
        :, 2 * small_models.PATCH : 3 * small_models.PATCH, small_models.PATCH : 2 * small_models.PATCH
    ] = 1
    before, after = encoder.encode([pixels, changed])
    rows = np.flatnonzero(np.abs(after - before).max(1) > 1e-6)
    assert rows.tolist() == [2 * GRID + 1]


@pytest.mark.parametrize("kind", ["vit", "siglip"])
def test_images_larger_than_learned(kind, images, tmp_path):
    """Places of patches are interpolated, as transformers does it where it is asked to."""
    model = small_models.save_model(kind, tmp_path / kind)
    side = 2 * small_models.SIZE
    found = daskksvd.embed(
        [(image, "a") for image in images], tmp_path / "out", model=tmp_path / kind, tokens="patches",
        layer=2, resize=side, dtype="float32",
    )  # fmt: skip
    assert found.layout.grid == (2 * GRID, 2 * GRID)
    size = {"height": side, "width": side}
    read = transformers.AutoImageProcessor.from_pretrained(tmp_path / kind, backend="pil", size=size)
    pixels = read(images=images, return_tensors="pt")["pixel_values"]
    with torch.inference_mode():
        tower = getattr(model, "vision_model", model)
        said = tower(pixels, output_hidden_states=True, interpolate_pos_encoding=True)
    states = said.hidden_states[2][:, -4 * GRID**2 :]
    expected = states.reshape(-1, small_models.SMALL["hidden_size"]).numpy()
    np.testing.assert_allclose(found.array.compute(), expected, atol=1e-4)
    pooled = load_encoder(check_spec(tmp_path / kind, resize=side))
    vectors = pooled.encode([pooled.prepare(image) for image in images])
    np.testing.assert_allclose(vectors, said.pooler_output.numpy(), atol=1e-4)


def test_one_patch_is_not_spread_over_all_places(images, tmp_path):
    """Of a single patch the place is interpolated, too; it would fit all of those that were learned."""
    model = small_models.save_model("siglip", tmp_path / "siglip")
    encoder = load_encoder(check_spec(tmp_path / "siglip", resize=small_models.PATCH, tokens="patches"))
    pixels = encoder.prepare(images[0])[None]
    assert encoder.grid == (1, 1)
    with torch.inference_mode():
        said = model.vision_model(torch.from_numpy(pixels), interpolate_pos_encoding=True)
    np.testing.assert_allclose(encoder.encode(pixels), said.last_hidden_state.numpy(), atol=1e-5)


@pytest.mark.parametrize("kind", ["vit", "siglip", "dinov2"])
def test_images_of_several_sizes(kind, tmp_path):
    """Without resizing and tokens every image is encoded as it is; less than a patch is refused."""
    model = small_models.save_model(kind, tmp_path / kind)
    rng = np.random.default_rng(1)
    sizes = (32, 32), (40, 32), (64, 48), (32, 32), (40, 32), (4, 32)
    images = [Image.fromarray(rng.integers(0, 256, (*size, 3), np.uint8)) for size in sizes]
    encoder = load_encoder(check_spec(tmp_path / kind, resize=False))
    assert encoder.shape is None
    pixels = [encoder.prepare(image) for image in images[:5]]
    with pytest.raises(ValueError, match="it is 32 x 4 pixels as the model sees it, less than a patch of 8"):
        encoder.prepare(images[5])
    more = {} if kind == "dinov2" else {"interpolate_pos_encoding": True}
    tower = getattr(model, "vision_model", model)
    with torch.inference_mode():
        expected = [tower(torch.from_numpy(one[None]), **more).pooler_output[0].numpy() for one in pixels]
    np.testing.assert_allclose(encoder.encode(pixels), expected, atol=1e-4)


def test_images_of_a_size_that_the_model_cannot_read(tmp_path, monkeypatch):
    """They are counted, and others go on."""
    small_models.save_model("vit", tmp_path / "vit")
    monkeypatch.setattr(HuggingFaceEncoder, "_takes", lambda self, pixels: False)
    images = [Image.new("RGB", size, "red") for size in ((32, 32), (40, 32), (32, 32))]
    found = daskksvd.embed(
        [(image, "a") for image in images], tmp_path / "out", model=tmp_path / "vit", resize=False
    )
    assert found.sample.tolist() == [0, 2]
    assert found.attrs["n_rejected"] == 1


def test_a_model_that_reads_other_inputs(images, tmp_path):
    """SigLIP 2 of any shape takes patches, not images."""
    config = transformers.Siglip2VisionConfig(num_patches=16, patch_size=8, **small_models.SMALL)
    transformers.Siglip2VisionModel(config).save_pretrained(tmp_path / "naflex")
    small_models.processor().save_pretrained(tmp_path / "naflex")
    with pytest.raises(ValueError, match=r"naflex.* does not read images of 32 x 32 \(") as caught:
        daskksvd.embed([(images[0], "a")], tmp_path / "out", model=tmp_path / "naflex", tokens="patches")
    assert "\n" not in str(caught.value)


def test_arguments(saved, images, tmp_path):
    vit = saved["clip"][0]
    for words, settings in (
        ("tokens='patch'; it must be one of", {"tokens": "patch"}),
        ("with tokens='patches' leave it out", {"tokens": "patches", "pooling": "mean"}),
        ("patch_share=0.5 goes with", {"patch_share": 0.5}),
        ("patch_share=0; it must be", {"tokens": "patches", "patch_share": 0}),
        ("names a layer of .* twice", {"tokens": "patches", "layer": [1, -3]}),
        ("layer is empty", {"tokens": "patches", "layer": []}),
    ):
        with pytest.raises(ValueError, match=words):
            daskksvd.embed([(images[0], "a")], tmp_path / "out", model=vit, **settings)
    with pytest.raises(TypeError, match="a whole number, several, or None"):
        daskksvd.embed([(images[0], "a")], tmp_path / "out", model=vit, tokens="patches", layer=[1, "2"])


def test_images_of_another_grid_are_rejected(saved, tmp_path):
    rng = np.random.default_rng(0)
    sizes = [(32, 32), (32, 40), (32, 32)]
    pictures = [(Image.fromarray(rng.integers(0, 256, (*size, 3), np.uint8)), "a") for size in sizes]
    found = daskksvd.embed(
        pictures, tmp_path / "out", model=saved["dinov2"][0], tokens="patches", resize=False, batch_size=1
    )
    assert found.n_images == 2 and "another grid of patches" in found.rejects["reason"][0]


def test_what_a_model_sees():
    """The middle of an image that is resized by its short side; all of one that is squeezed."""
    assert seen_box(frame_of({"shortest_edge": 256}, (224, 224)), 512, 256) == (
        0.28125,
        0.0625,
        0.71875,
        0.9375,
    )
    assert seen_box(frame_of({"height": 224, "width": 224}, (224, 224)), 500, 300) == (0, 0, 1, 1)
    assert seen_box(frame_of({"longest_edge": 224}, (224, 224)), 448, 224) == (0, -0.5, 1, 1.5)
    for copy in ((100, 100), (32, 32), (224, 224)):  # not resized: all of it, whatever copy is looked at
        assert seen_box(frame_of(None, (100, 100)), *copy) == (0, 0, 1, 1)
    assert seen_box(frame_of(None, (32, 32)), 64, 128, copied=False) == (0.25, 0.375, 0.75, 0.625)
    assert seen_box(None, 10, 20) == (0, 0, 1, 1)
    assert Layout((2, 3), 6, cls=True).positions(4).tolist() == [-1, 0, 1, 2, 3, 4, 5]


def test_images_that_are_cropped_and_not_resized(saved, tmp_path):
    """Their sizes are stored, and heat lies in the middle that the model saw; a drafted JPEG is no image."""
    sizes = [(64, 40), (32, 32), (96, 128)]
    images = []
    for size in sizes:
        image = Image.new("RGB", size, "gray")
        image.paste("red", (size[0] // 2 - 16, size[1] // 2 - 16, size[0] // 2 - 8, size[1] // 2 - 8))
        buffer = io.BytesIO()
        image.save(buffer, "JPEG", quality=100, subsampling=0)
        images.append((buffer.getvalue(), "a"))
    model = shutil.copytree(saved["clip"][0], tmp_path / "model")
    crop = {"size": {"shortest_edge": 32}, "crop_size": {"height": 32, "width": 32}, "do_center_crop": True}
    transformers.CLIPImageProcessor(**crop).save_pretrained(model)
    settings = {"model": model, "tokens": "patches", "layer": 0, "thumbnails": 32, "chunk_rows": 2}
    found = daskksvd.embed(images, tmp_path / "crop", resize=False, **settings)
    assert found.group["size"][:].tolist() == [list(size) for size in sizes]
    assert "size" not in daskksvd.embed(images, tmp_path / "resized", **settings).group
    # the red patch is the first that each model saw, wherever it lies in the image
    rows = found.array.compute().reshape(3, GRID**2, -1)
    np.testing.assert_allclose(rows, rows[[1] * 3], atol=0.02)
    for row, (width, height) in enumerate(sizes):
        seen = np.array(found.seen(row, *found.thumbnail(row).size)) * [width, height, width, height]
        middle = np.array([width, height, width, height]) / 2
        np.testing.assert_allclose(seen, middle + np.array([-16, -16, 16, 16]))


def test_large_images_are_not_decoded_smaller_where_none_is_resized(saved, tmp_path):
    """Whoever says so, the call or the checkpoint: a JPEG is seen as the same picture in a PNG."""
    noise = np.random.default_rng(0).integers(0, 256, (25, 40, 3), np.uint8).repeat(10, 0).repeat(10, 1)
    files = []
    for kind, how in (("JPEG", {"quality": 100, "subsampling": 0}), ("PNG", {})):
        buffer = io.BytesIO()
        Image.fromarray(noise).save(buffer, kind, **how)
        files.append((buffer.getvalue(), "a"))
    model = shutil.copytree(saved["clip"][0], tmp_path / "model")
    size = {"size": {"shortest_edge": 32}, "crop_size": {"height": 32, "width": 32}, "do_center_crop": True}
    transformers.CLIPImageProcessor(**size).save_pretrained(model)
    assert load_encoder(check_spec(model)).short_side == 32
    assert load_encoder(check_spec(model, resize=64)).short_side == 64  # cropped after that
    transformers.CLIPImageProcessor(**size, do_resize=False).save_pretrained(model)
    assert load_encoder(check_spec(model, resize=64)).short_side == 64
    found = daskksvd.embed(files, tmp_path / "out", model=model, tokens="patches", layer=0, dtype="float32")
    assert found.group["size"][:].tolist() == [[400, 250]] * 2
    jpeg, png = found.array.compute().reshape(2, GRID**2, -1)
    assert np.corrcoef(jpeg.ravel(), png.ravel())[0, 1] > 0.99


@pytest.mark.skipif(not real.PHOTOGRAPHS.exists(), reason="the photographs are not here")
def test_photographs_through_a_real_model(tmp_path):
    """A real ViT's patches of photographs, against its own hidden states."""
    folder = real.DATA / "vit_small_14"
    with zipfile.ZipFile(real.PHOTOGRAPHS) as archive:
        names = [name for name in sorted(archive.namelist()) if name.endswith(".jpg")][:3]
        pictures = [Image.open(io.BytesIO(archive.read(name))).convert("RGB") for name in names]
    found = daskksvd.embed(
        [(picture, "a") for picture in pictures], tmp_path / "out", model=folder, tokens="patches",
        layer=[8, 11], device="cpu", resize=224,
    )  # fmt: skip
    model = transformers.Dinov2Model.from_pretrained(folder, local_files_only=True, dtype=torch.float32)
    processor = transformers.AutoImageProcessor.from_pretrained(folder, backend="pil")
    assert {picture.size for picture in pictures} == {(224, 224)}
    pixels = processor(images=pictures, return_tensors="pt", do_resize=False)["pixel_values"]
    with torch.inference_mode():
        hidden = model.eval()(pixels, output_hidden_states=True).hidden_states
    assert found.layout.grid == (16, 16) and found.layout.rows_per_image == 256
    for layer in (8, 11):
        rows = found.layer(layer).compute().astype(np.float32)
        expected = hidden[layer][:, 1:].reshape(-1, 384).numpy()
        cosine = (rows * expected).sum(1) / np.linalg.norm(rows, axis=1) / np.linalg.norm(expected, axis=1)
        assert cosine.min() > 0.999
