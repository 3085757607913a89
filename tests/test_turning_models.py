"""Turned atoms inside models: against states caught on the way, turned by hand, and the rest of the model."""

import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal

import daskksvd

torch = pytest.importorskip("torch", reason="models are of PyTorch")
pytest.importorskip("transformers", reason="models are of transformers")

from small_models import MAKERS, PATCH, SIZE, SMALL  # noqa: E402

WIDTH, LAYERS, PATCHES = SMALL["hidden_size"], SMALL["num_hidden_layers"], (SIZE // PATCH) ** 2
ATOMS = {2: 3.0, 9: 0.0}


@pytest.fixture(scope="module")
def pixels():
    return torch.randn(5, 3, SIZE, SIZE, generator=torch.Generator().manual_seed(0))


@pytest.fixture(scope="module")
def models():
    torch.manual_seed(0)
    return {kind: MAKERS[kind]().eval() for kind in ("clip", "siglip", "vit-without-pooler", "registers")}


def fitted(d):
    rows = np.random.default_rng(0).standard_normal((200, d)).astype(np.float32) + 1
    return daskksvd.fit(
        rows, n_components=2 * d, n_nonzero_coefs=3, whiten=0.25, max_passes=1, random_state=0, n_threads=1
    )


@pytest.fixture(scope="module")
def results():
    return {d: fitted(d) for d in (WIDTH, 2 * WIDTH)}


def tower(model):
    return getattr(model, "vision_model", model)


def states(model, pixels):
    with torch.inference_mode():
        return [s.numpy() for s in tower(model)(pixels, output_hidden_states=True).hidden_states]


def turned_by_hand(result, tokens, which, prefix):
    """Tokens (images, tokens, width) as they should be."""
    tokens, flat = tokens.copy(), lambda part: part.reshape(-1, part.shape[-1])
    if which == "all":
        return result.intervene(flat(tokens), ATOMS).reshape(tokens.shape)
    if which == "cls":
        tokens[:, 0] = result.intervene(np.ascontiguousarray(tokens[:, 0]), ATOMS)
    elif which in ("patches", "cls+patches"):
        if which == "cls+patches":
            tokens[:, 0] = result.intervene(np.ascontiguousarray(tokens[:, 0]), ATOMS)
        patches = tokens[:, prefix:]
        tokens[:, prefix:] = result.intervene(flat(patches), ATOMS).reshape(patches.shape)
    else:
        rows = tokens[:, prefix:].mean(1)
        rows = np.hstack([tokens[:, 0], rows]) if which == "cls+mean" else rows
        change = result.intervene(rows, ATOMS) - rows
        tokens[:, prefix:] += change[:, None, -WIDTH:]
        if which == "cls+mean":
            tokens[:, 0] += change[:, :WIDTH]
    return tokens


@pytest.mark.parametrize("which", ["all", "cls", "patches", "cls+patches", "mean", "cls+mean"])
@pytest.mark.parametrize(
    ("kind", "prefix"), [("clip", 1), ("siglip", 0), ("vit-without-pooler", 1), ("registers", 4)]
)
def test_states_of_a_layer_are_turned(models, results, pixels, kind, prefix, which):
    model, result = models[kind], results[2 * WIDTH if which == "cls+mean" else WIDTH]
    if not prefix and which.startswith("cls"):
        with pytest.raises(ValueError, match="the model has no class token; use 'patches' or 'mean'"):
            result.intervening(model, 1, ATOMS, tokens=which)
        return
    before = states(model, pixels)
    for layer in (0, 2):
        with result.intervening(model, layer, ATOMS, tokens=which) as turned:
            after = states(model, pixels)
        expected = turned_by_hand(result, before[layer], which, prefix)
        assert not np.allclose(before[layer], expected, atol=1e-3)
        # the layer after it has seen the change
        following = after[layer + 1]
        assert not np.allclose(following, before[layer + 1], atol=1e-3)
        # as if the block had been given those tokens
        endings = (f"layer.{layer}", f"layers.{layer}")
        block = next(part for name, part in tower(model).named_modules() if name.endswith(endings))
        more = (None,) if kind in ("clip", "siglip") else ()
        with torch.inference_mode():
            found = block(torch.from_numpy(expected), *more)
        found = found[0] if isinstance(found, tuple) else found
        assert_allclose(following, found.numpy(), atol=2e-4)
        assert turned.calls == 1 and turned.rows == {
            "all": 5 * (prefix + PATCHES), "patches": 5 * PATCHES, "cls+patches": 5 * (1 + PATCHES)
        }.get(which, 5) and 0 < turned.changed <= turned.rows  # fmt: skip
    assert_array_equal(states(model, pixels)[2], before[2])  # afterwards all is as it was


def test_some_patches_are_turned(models, results, pixels):
    """Those that are named, in any order and more than once; register tokens are counted apart."""
    model, result, some = models["registers"], results[WIDTH], [9, 2, 3, 9]
    caught = []
    block = tower(model).encoder.layer[1]
    handle = block.register_forward_pre_hook(lambda module, given: caught.append(given[0].numpy()))
    try:
        with torch.inference_mode():
            model(pixels)
            with result.intervening(model, 1, ATOMS, tokens="patches", patches=some) as turned:
                model(pixels)
    finally:
        handle.remove()
    before, after = caught
    expected = before.copy()
    places = np.unique(some) + 4
    expected[:, places] = turned_by_hand(result, before, "patches", 4)[:, places]
    assert_allclose(after, expected, atol=1e-6)
    assert turned.rows == 5 * 3 and np.ptp(expected - before, axis=1).any()
    for patches, tokens, said in (
        ([0], "all", "patches goes with tokens='patches' or 'cls\\+patches', not with tokens='all'"),
        ([-1], "patches", r"patches is \[-1\]; it must be numbers of patches in the grid"),
        ([], "patches", r"patches is \[\]"),
        ([0.5], "patches", r"patches is \[0\.5\]"),
    ):
        with pytest.raises(ValueError, match=said):
            result.intervening(model, 1, ATOMS, tokens=tokens, patches=patches)
    with (
        pytest.raises(ValueError, match=r"patches has 99, but layer .* gives 16 patches"),
        result.intervening(model, 1, ATOMS, tokens="patches", patches=[99]),
    ):
        model(pixels)


def test_negative_numbers_names_and_modules_are_the_same_layer(models, results, pixels):
    model, result = models["clip"], results[WIDTH]
    found = []
    for layer in (
        LAYERS,
        -1,
        f"vision_model.encoder.layers.{LAYERS - 1}",
        model.vision_model.encoder.layers[-1],
    ):
        with result.intervening(model, layer, ATOMS), torch.inference_mode():
            found.append(model.get_image_features(pixel_values=pixels).pooler_output.numpy())
    for one in found[1:]:
        assert_array_equal(one, found[0])


def test_a_row_an_image(models, pixels):
    model, result = models["clip"], fitted(20)
    read = lambda: model.get_image_features(pixel_values=pixels).pooler_output.numpy()  # noqa: E731
    with torch.inference_mode():
        before = read()
        with result.intervening(model, "visual_projection", ATOMS):
            after = read()
    assert_allclose(after, result.intervene(before, ATOMS), atol=1e-5)


def test_gradients_pass(models, results, pixels):
    model, given = models["vit-without-pooler"], pixels.clone().requires_grad_()
    with results[WIDTH].intervening(model, 1, ATOMS):
        model(given).last_hidden_state.sum().backward()
    assert given.grad.abs().sum() > 0


def test_refusals(models, results, pixels):
    model, result = models["vit-without-pooler"], results[WIDTH]
    for layer, error, said in (
        (9, ValueError, f"layer=9, but the model has {LAYERS} blocks"),
        ("no.such", ValueError, "layer='no.such'; the model has no such module"),
        (1.5, TypeError, "layer is 1.5; it must be a number, the name of a module, or a module"),
    ):
        with pytest.raises(error, match=said):
            result.intervening(model, layer, ATOMS)
    with pytest.raises(TypeError, match=r"model is a str; it must be a torch\.nn\.Module"):
        result.intervening("vit", 1, ATOMS)
    with pytest.raises(ValueError, match="no list of transformer blocks is found"):
        result.intervening(torch.nn.Linear(2, 2), 1, ATOMS)
    with pytest.raises(ValueError, match="tokens='some'; it must be one of"):
        result.intervening(model, 1, ATOMS, tokens="some")
    wrong = "gives rows of 24 features; the dictionary was learned on 48"
    with pytest.raises(ValueError, match=wrong), results[2 * WIDTH].intervening(model, 1, ATOMS):
        model(pixels)
    with (
        pytest.warns(UserWarning, match="did not run in the with block"),
        result.intervening(model, 1, ATOMS),
    ):
        pass
