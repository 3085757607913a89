"""One vector an image: every pooling and layer against the model called by hand."""

import numpy as np
import pytest
import small_models
import torch
from PIL import Image

from daskksvd.embedding.models import check_spec, load_encoder

N_PREFIX = {"clip": 1, "siglip": 0, "vit": 1, "vit-without-pooler": 1, "dinov2": 1, "registers": 4}


@pytest.fixture(scope="module")
def saved(tmp_path_factory):
    """Folder and model by kind."""
    found = {}
    for kind in small_models.MAKERS:
        folder = tmp_path_factory.mktemp(kind)
        found[kind] = folder, small_models.save_model(kind, folder)
    return found


@pytest.fixture(scope="module")
def images():
    rng = np.random.default_rng(0)
    return [Image.fromarray(rng.integers(0, 256, (40, 50 + i, 3), np.uint8)) for i in range(3)]


def by_hand(kind, model, images, pooling, layer):
    """The vectors, from the tokens of all hidden layers."""
    pixels = small_models.pixels_of(images)
    tower = getattr(model, "vision_model", model)
    with torch.inference_mode():
        out = tower(pixels, output_hidden_states=True)
        if pooling == "pooled":
            if kind == "clip":
                return model.visual_projection(out.pooler_output).numpy()
            return out.pooler_output.numpy()
        tokens = (out.last_hidden_state if layer is None else out.hidden_states[layer]).numpy()
    patches = (small_models.SIZE // small_models.PATCH) ** 2
    assert tokens.shape[1] == patches + N_PREFIX[kind]
    cls, mean = tokens[:, 0], tokens[:, -patches:].mean(1)
    return {"cls": cls, "mean": mean, "cls+mean": np.hstack([cls, mean])}[pooling]


@pytest.mark.parametrize("layer", [None, 0, 2, -1, -3])
@pytest.mark.parametrize("pooling", ["pooled", "cls", "mean", "cls+mean"])
@pytest.mark.parametrize("kind", small_models.MAKERS)
def test_vectors(kind, pooling, layer, saved, images):
    folder, model = saved[kind]
    if pooling == "pooled" and layer is not None:
        with pytest.raises(ValueError, match=f"layer={layer} goes with pooling 'cls'"):
            check_spec(folder, pooling=pooling, layer=layer)
        return
    spec = check_spec(folder, pooling=pooling, layer=layer)
    if "cls" in pooling and not N_PREFIX[kind]:
        with pytest.raises(ValueError, match="has no class token; use 'pooled' or 'mean'"):
            load_encoder(spec)
        return
    if pooling == "pooled" and kind == "vit-without-pooler":
        with pytest.raises(ValueError, match="no weights of a pooling layer; use 'cls'"):
            load_encoder(spec)
        return
    encoder = load_encoder(spec)
    vectors = encoder.encode([encoder.prepare(image) for image in images])
    expected = by_hand(kind, model, images, pooling, layer)
    assert vectors.shape == (3, encoder.d) == expected.shape and vectors.dtype == np.float32
    np.testing.assert_allclose(vectors, expected, rtol=1e-5, atol=1e-5)


def test_resize(saved):
    """Images that are prepared already are not touched; a short side is what it says."""
    folder, _ = saved["vit"]
    image = Image.fromarray(np.random.default_rng(0).integers(0, 256, (32, 32, 3), np.uint8))
    kept = load_encoder(check_spec(folder, resize=False)).prepare(image)
    np.testing.assert_allclose(kept, np.asarray(image, np.float32).transpose(2, 0, 1) / 127.5 - 1, atol=1e-6)
    larger = load_encoder(check_spec(folder, resize=64))  # the model has places for 32 pixels: interpolated
    assert larger.prepare(image).shape == (3, 64, 64) and larger.d == load_encoder(check_spec(folder)).d


def test_half_of_a_batch_that_does_not_fit(saved, images):
    """Out of memory is met by smaller batches, down to one image."""
    encoder = load_encoder(check_spec(saved["vit"][0]))
    prepared = [encoder.prepare(image) for image in images] * 3
    expected = encoder.encode(prepared)
    sizes, vectors = [], encoder.vectors

    def at_most_two(pixels):
        sizes.append(len(pixels))
        if len(pixels) > 2:
            raise torch.OutOfMemoryError("out of memory")
        return vectors(pixels)

    encoder.vectors = at_most_two
    np.testing.assert_allclose(encoder.encode(prepared), expected, rtol=1e-5, atol=1e-6)
    assert max(sizes) == 9 and min(sizes) >= 1
    encoder.vectors = lambda pixels: at_most_two(torch.empty(3))
    with pytest.raises(torch.OutOfMemoryError):
        encoder.encode(prepared)


def test_bfloat16_is_close(saved, images):
    single = load_encoder(check_spec(saved["clip"][0], device="cpu"))
    half = load_encoder(check_spec(saved["clip"][0], device="cpu", precision="bfloat16"))
    prepared = [single.prepare(image) for image in images]
    one, other = single.encode(prepared), half.encode(prepared)
    assert other.dtype == np.float32 and not np.array_equal(one, other)
    cosine = (one * other).sum(1) / np.linalg.norm(one, axis=1) / np.linalg.norm(other, axis=1)
    assert (cosine > 0.99).all()
    assert half.identity()["precision"] == "bfloat16"


def test_identity_knows_the_weights(saved, tmp_path):
    """Another checkpoint under the same name is another model."""
    first = load_encoder(check_spec(saved["vit"][0])).identity()
    small_models.save_model("vit", tmp_path)
    assert load_encoder(check_spec(tmp_path)).identity()["revision"] == first["revision"]
    changed = small_models.MAKERS["vit"]()
    changed.save_pretrained(tmp_path)
    assert load_encoder(check_spec(tmp_path)).identity()["revision"] != first["revision"]


@pytest.mark.parametrize(
    "arguments, error, message",
    [
        ({"model": 3}, TypeError, "model is a int"),
        ({"model": ""}, ValueError, "model is empty"),
        ({"model": "timm:vit"}, ValueError, "before the colon it must be one of transformers, open_clip"),
        ({"model": "x", "pooling": "max"}, ValueError, "pooling='max'; it must be one of 'pooled', 'cls'"),
        ({"model": "x", "precision": "int8"}, ValueError, "precision='int8'"),
        ({"model": "x", "pretrained": "openai"}, ValueError, "pretrained='openai' goes with open_clip"),
        ({"model": "x", "pooling": "cls", "layer": 1.5}, TypeError, "layer is 1.5"),
        ({"model": "x", "resize": 0}, ValueError, "resize=0"),
        ({"model": "x", "resize": True}, ValueError, "resize=True"),
    ],
)
def test_names_that_are_refused(arguments, error, message):
    with pytest.raises(error, match=message):
        check_spec(**arguments)


def test_models_that_are_refused(saved, tmp_path):
    folder, _ = saved["dinov2"]
    with pytest.raises(ValueError, match=r"layer=4, but model .* has 3 blocks"):
        load_encoder(check_spec(folder, pooling="cls", layer=4))
    with pytest.raises(ValueError, match="device='gpu' cannot be used here"):
        load_encoder(check_spec(folder, device="gpu"))
    with pytest.raises((OSError, ValueError), match="cannot be loaded"):
        load_encoder(check_spec(tmp_path))
    with pytest.raises(ValueError, match="reads no text"):
        load_encoder(check_spec(folder)).encode_texts(["a dog"])
