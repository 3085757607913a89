"""Atoms turned in the patches of an image: against codes and means by hand, and the model hooked by hand."""

import contextlib
import json
from types import SimpleNamespace

import numpy as np
import pytest
import small_models
import torch
import transformers
from numpy.testing import assert_allclose, assert_array_equal
from PIL import Image

import daskksvd
from daskksvd.activations import open_activations
from daskksvd.datasets.scenes import MODEL_FOLDER
from daskksvd.embedding.models import ModelSpec, check_spec, load_encoder
from daskksvd.evaluation import turned_texts
from daskksvd.view import open_view
from daskksvd.view.data.heat import heat_over
from daskksvd.view.data.running import recorded_weights
from daskksvd.view.data.turning_patches import PatchSpace, turn_patches

pytest.importorskip("panel", reason='the dashboard needs Panel: pip install "daskksvd[view]"')

from daskksvd.view.server.turn_patches import TurnPatches, others_of
from daskksvd.view.server.window import Window

N, GRID, LAYER = 40, 8, 2


@pytest.fixture(scope="module")
def scenes():
    return daskksvd.datasets.make_scenes(N, random_state=3)


@pytest.fixture(scope="module")
def store(scenes, tmp_path_factory):
    """Rows of patches after the class token, a result, codes and labels."""
    where = tmp_path_factory.mktemp("turning")
    found = daskksvd.embed(
        scenes, where / "patches", model="scenes", tokens="cls+patches", layer=LAYER, thumbnails=32
    )
    result = daskksvd.fit(found.array, n_components=32, n_nonzero_coefs=3, center=True, max_passes=2,
                          random_state=0, n_threads=1)  # fmt: skip
    result.save(where / "words.zarr")
    result.write_codes(where / "patches", where / "words-codes.zarr")
    labels = daskksvd.label(where / "words-codes.zarr", where / "patches", min_df=3)
    daskksvd.naming.save_labels(labels, where / "words-labels.zarr")
    return found, where / "words.zarr"


@pytest.fixture(scope="module")
def view(store, scenes):
    return open_view(store[1], embeddings=store[0], images=scenes, encoder="scenes")


@pytest.fixture(scope="module")
def turned(view):
    """An atom, an image that uses it in several patches, and what turning it off there does."""
    atom = int(np.argsort(view.index.uses)[len(view.index.uses) // 2])
    row = int(view.top_rows(atom, int(view.sides[atom]), 1)[0][0])
    return atom, row, turn_patches(view, {atom: 0.0}, row)


def codes_of(result, rows):
    return result.encode(rows).compute(scheduler="synchronous").todense()


def test_rows_are_turned_and_coded_again(view, store, turned):
    atom, row, found = turned
    rows = store[0].array[store[0].image_rows(row)].compute(scheduler="synchronous").astype(np.float32)
    after = rows.copy()
    after[1:] = view.result.intervene(rows[1:], {atom: 0.0})  # the class token comes first, and stays
    codes = [codes_of(view.result, one)[1:] for one in (rows, after)]
    assert (found.asked, found.rows) == (GRID**2, GRID**2)
    assert found.changed == (after != rows).any(axis=1).sum() == (codes[0][:, atom] != 0).sum() > 0
    own, *others = found.atoms
    assert own.atom == atom and own.turned and not any(one.turned for one in others)
    moved = np.abs(codes[1] - codes[0]).sum(axis=0)
    moved[atom] = 0
    assert found.n_others == (moved != 0).sum()
    assert_array_equal([one.atom for one in others], np.argsort(-moved, kind="stable")[: len(others)])
    for one in found.atoms:
        for use, some in zip((one.before, one.after), codes, strict=True):
            values = some[:, one.atom]
            assert use.patches == (values != 0).sum()
            assert_allclose(use.largest, values[np.abs(values).argmax()], rtol=1e-5)
            heat = values.reshape(GRID, GRID).astype(np.float32)
            drawn = np.asarray(heat_over(view, one.atom, row, heat, 160).image, int)
            assert np.abs(np.asarray(use.image, int) - drawn).max() <= 1


def test_near_by_means_of_patches(view, store, turned):
    atom, row, found = turned
    tokens = store[0].array.compute(scheduler="synchronous").astype(np.float32).reshape(N, GRID**2 + 1, -1)
    means = tokens[:, 1:].mean(axis=1)
    after = view.result.intervene(tokens[row, 1:], {atom: 0.0}).mean(axis=0)
    centre = means.mean(axis=0)
    length = np.linalg.norm(means[row] - centre)
    assert_allclose(found.share, np.linalg.norm(after - means[row]) / length, rtol=1e-3)
    [own] = found.panels[0].samples
    assert own.row == row and (
        own.value == found.atoms[0].before.largest or not found.atoms[0].before.patches
    )
    for panel, vector in zip(found.panels[1:], (means[row], after), strict=True):
        cosines = (means - centre) @ (vector - centre)
        cosines /= np.linalg.norm(means - centre, axis=1) * np.linalg.norm(vector - centre)
        cosines[row] = -np.inf
        assert_array_equal([one.row for one in panel.samples], np.argsort(-cosines, kind="stable")[:8])
        assert_allclose([one.value for one in panel.samples], np.sort(cosines)[::-1][:8], atol=1e-4)


def test_a_region(view, store, turned):
    atom, row, _ = turned
    found = turn_patches(view, {atom: 4.0, (atom + 1) % 32: 0.0}, row, down=(2, 4), across=(5, 6), run=False)
    assert (found.asked, found.rows, found.changed, found.output) == (6, 6, 6, None)
    own = found.atoms[0]
    rows = store[0].array[store[0].image_rows(row)].compute(scheduler="synchronous").astype(np.float32)
    places = 1 + np.add.outer(GRID * np.arange(2, 5), [5, 6]).ravel()
    rows[places] = view.result.intervene(rows[places], {atom: 4.0, (atom + 1) % 32: 0.0})
    assert own.after.patches == (codes_of(view.result, rows)[1:, atom] != 0).sum()


def test_through_the_model(view, scenes, turned):
    """What leaves the layer is turned patch by patch; the rest of the model sees that."""
    atom, row, found = turned
    encoder = load_encoder(check_spec("scenes"))
    pixels = torch.from_numpy(encoder.prepare(scenes[row].image)[None])
    block = encoder.model.vision_model.encoder.layers[LAYER - 1]

    def turn(module, inputs, output):
        tokens = (output[0] if isinstance(output, tuple) else output).clone()
        tokens[0, 1:] = torch.from_numpy(view.result.intervene(tokens[0, 1:].numpy(), {atom: 0.0}))
        return (tokens, *output[1:]) if isinstance(output, tuple) else tokens

    with torch.inference_mode():
        before = encoder.model.get_image_features(pixel_values=pixels).pooler_output.numpy()
        handle = block.register_forward_hook(turn)
        after = encoder.model.get_image_features(pixel_values=pixels).pooler_output.numpy()
        handle.remove()
    share = np.linalg.norm(after - before) / np.linalg.norm(before)
    assert found.output.likeness > 0.999 and share > 0
    assert_allclose(found.output.share, share, rtol=0.02)  # on rows of float32, the store's are of float16
    words = view.words.index.tolist()
    expected = turned_texts(before, after, words, encoder.encode_texts(words), top=8)
    assert found.output.words.before.tolist() == expected.before.tolist()
    assert_allclose(found.output.words.score_after, expected.score_after, atol=1e-3)


def test_the_output_is_found(store, scenes, tmp_path):
    """Of rows of the output, the layer is that which gives them, whatever norm comes after the blocks."""
    few = scenes[:3]
    some = daskksvd.embed(few, tmp_path / "out", model="scenes", tokens="patches", dtype="float32")
    result = daskksvd.fit(
        some.array, n_components=16, n_nonzero_coefs=2, max_passes=1, random_state=0, n_threads=1
    )
    result.save(tmp_path / "some.zarr")
    result.write_codes(some.array, tmp_path / "some-codes.zarr")
    view = open_view(tmp_path / "some.zarr", embeddings=some, images=few, encoder=str(MODEL_FOLDER))
    found = turn_patches(view, {0: 2.0}, 1)
    assert found.changed == GRID**2 and found.output.likeness > 0.999
    assert found.output.share == 0  # CLIP pools the class token, which patches of the last layer do not reach
    assert found.output.words is None  # there are no labels


def test_refusals(view, store, scenes, tmp_path):
    with pytest.raises(ValueError, match=f"row={N}; it must be an image from 0 to {N - 1}"):
        turn_patches(view, {0: 0.0}, N)
    with pytest.raises(ValueError, match=r"down=\(3, 8\); it must be first and last of 8"):
        turn_patches(view, {0: 0.0}, 0, down=(3, 8))
    with pytest.raises(ValueError, match="key 99; it must be an atom from 0 to 31"):
        turn_patches(view, {99: 0.0}, 0)
    without = open_view(store[1], embeddings=store[0], images=scenes)
    assert isinstance(without.space, PatchSpace) and turn_patches(without, {0: 0.0}, 0).output is None
    both = daskksvd.embed(scenes[:3], tmp_path / "both", model="scenes", tokens="patches", layer=[1, 2])
    result = daskksvd.fit(
        both.array, n_components=16, n_nonzero_coefs=2, max_passes=1, random_state=0, n_threads=1
    )
    codes = result.encode(both.array)
    with pytest.raises(ValueError, match="rows are of the layers 1, 2 side by side"):
        open_view(result, codes=codes, embeddings=both, encoder="scenes")
    for text, said in (
        ("4=", {4: 0.0}),
        (" 4 = 1.5,, 7", {4: 1.5, 7: 0.0}),
        ("", {}),
        ("x=1", "“x=1” is no atom and value"),
        ("4=1,4=2", "Atom 4 is named twice"),
        ("3", "Atom 3 is named twice"),
    ):
        if isinstance(said, dict):
            assert others_of(text, 3) == said
        else:
            with pytest.raises(ValueError, match=said):
                others_of(text, 3)


@pytest.fixture(scope="module")
def small(tmp_path_factory):
    """Folder, model and a few images, their rows of patches, and what was learned on them."""
    where = tmp_path_factory.mktemp("small")
    model = small_models.save_model("vit", where / "vit")
    rng = np.random.default_rng(0)
    images = [
        Image.fromarray(rng.integers(0, 256, (4, 4, 3), np.uint8)).resize((32, 32), Image.Resampling.NEAREST)
        for _ in range(12)
    ]
    rows = daskksvd.embed(
        [(image, "a") for image in images], where / "rows", model=where / "vit", tokens="patches", layer=2,
        dtype="float32", thumbnails=16,
    )  # fmt: skip
    return where, model, images, rows, *learned(rows.array)


def learned(array):
    """A small dictionary and the codes of an array."""
    result = daskksvd.fit(
        array, n_components=16, n_nonzero_coefs=2, max_passes=1, random_state=0, n_threads=1
    )
    return result, result.encode(array)


@pytest.mark.parametrize(("block", "number"), [(0, 0), (1, 1), (1, -2)])
def test_the_layer_that_saev_recorded(block, number, small, tmp_path):
    """Its layer 0 is what leaves the first block."""
    where, model, images, *_ = small
    pixels = small_models.pixels_of(images)
    with torch.inference_mode():
        states = model(pixels, output_hidden_states=True).hidden_states[block + 1].numpy()
    states[:, None].astype("<f4").tofile(tmp_path / "acts000000.bin")
    metadata = {
        "n_examples": 12, "content_tokens_per_example": 16, "d_model": 24, "layers": [number],
        "cls_token": True, "dtype": "float32", "max_tokens_per_shard": 12 * 17,
    }  # fmt: skip
    (tmp_path / "metadata.json").write_text(json.dumps(metadata))
    (tmp_path / "shards.json").write_text(json.dumps([{"name": "acts000000.bin", "n_examples": 12}]))
    rows = open_activations(tmp_path)
    result, codes = learned(rows.array)
    view = open_view(result, codes=codes, embeddings=rows, images=images, encoder=where / "vit")

    def turn(module, inputs, output):
        tokens = (output[0] if isinstance(output, tuple) else output).clone()
        tokens[0, 1:] = torch.from_numpy(result.intervene(tokens[0, 1:].numpy(), {3: 1.0}))
        return (tokens, *output[1:]) if isinstance(output, tuple) else tokens

    blocks = next(part for part in model.modules() if isinstance(part, torch.nn.ModuleList))
    with torch.inference_mode():
        before = model(pixels[:1]).pooler_output.numpy()
        handle = blocks[block].register_forward_hook(turn)
        after = model(pixels[:1]).pooler_output.numpy()
        handle.remove()
    output = turn_patches(view, {3: 1.0}, 0).output
    assert output.likeness > 0.999
    assert_allclose(output.share, np.linalg.norm(after - before) / np.linalg.norm(before), rtol=1e-4)


def test_what_is_wrong_with_the_model_hides_no_rows(small, tmp_path):
    where, _, images, rows, result, codes = small
    settings = {"image_size": small_models.SIZE, "patch_size": small_models.PATCH, **small_models.SMALL}
    wide = transformers.ViTModel(transformers.ViTConfig(**{**settings, "hidden_size": 32}))
    for name, model in (("wide", wide), ("again", small_models.make_vit())):
        model.save_pretrained(tmp_path / name)
        small_models.processor().save_pretrained(tmp_path / name)
    small_models.save_model("siglip", tmp_path / "siglip")
    (tmp_path / "empty").mkdir()
    np.save(tmp_path / "empty" / "some.npy", rows.array.compute().reshape(12, 16, 24))
    files = open_activations(tmp_path / "empty")
    alone = turn_patches(open_view(result, codes=codes, embeddings=rows), {3: 1.0}, 0)
    assert alone.output is None and alone.trouble is None
    for encoder, embeddings, pictures, words in (
        (where / "vit", rows, images, None),
        (tmp_path / "again", rows, images, None),
        (tmp_path / "wide", rows, images, "another number of features than .* (32, not 24)"),
        (tmp_path / "siglip", rows, images, "another architecture than .* (SiglipModel, not ViTModel)"),
        (tmp_path / "empty", rows, images, "config.json is missing"),
        (where / "vit", files, images, "do not tell of which layer"),
        (where / "vit", rows, [None] * 12, "there is no picture of image 0"),
        (where / "vit", rows, [image.resize((40, 32)) for image in images], None),
    ):
        view = open_view(result, codes=codes, embeddings=embeddings, images=pictures, encoder=encoder)
        found = turn_patches(view, {3: 1.0}, 0)
        assert found.changed == alone.changed and found.share == alone.share
        assert (found.output is None) == (found.trouble is not None) == (words is not None)
        if words is not None:
            assert all(part in found.trouble for part in words.split(" .* ")), found.trouble
        else:
            other = encoder.name == "again"
            assert ("it is not the same model" in (found.output.doubt or "")) == other
    screen = TurnPatches(
        open_view(result, codes=codes, embeddings=rows, images=images, encoder=tmp_path / "empty"), print
    )
    screen.show("3-0")
    assert "patches of image 0" in screen.said.object and "The model was not run:" in screen.said.object
    with pytest.raises(FileNotFoundError, match="nosuch': there is no such folder"):
        open_view(result, codes=codes, embeddings=rows, encoder=tmp_path / "nosuch")


def test_a_screen_that_cannot_be_shown_says_why(small, monkeypatch):
    """It is no dead one: what it said is there, and nothing says that it opens."""
    _, _, images, rows, result, codes = small
    monkeypatch.setattr("daskksvd.view.server.window.at_once", contextlib.nullcontext)
    monkeypatch.setattr(Window, "start", lambda self: None)  # there is no browser

    def broken(self, argument):
        raise OSError("the disk is away")

    monkeypatch.setattr(TurnPatches, "show", broken)
    view = open_view(result, codes=codes, embeddings=rows, images=images)
    window = Window(SimpleNamespace(view=view, other=None))
    window.name = "turn"
    window.open("turn", "3-0")
    assert not window.opening.visible and "the disk is away" in window.body[-1].object
    assert window.screens["turn"].layout is window.body[-1]


def test_a_thumbnail_of_another_size(small, tmp_path):
    where, _, images, *_ = small
    rows = daskksvd.embed(
        [(image, "a") for image in images], tmp_path / "kept", model=where / "vit", tokens="patches", layer=2,
        resize=False, thumbnails=16,
    )  # fmt: skip
    result, codes = learned(rows.array)
    view = open_view(result, codes=codes, embeddings=rows, encoder=where / "vit")
    found = turn_patches(view, {3: 1.0}, 0)
    assert "of image 0, which may be a thumbnail, is 16 x 16 pixels" in found.trouble and found.changed


def test_weights_of_open_clip_from_a_file(small, monkeypatch):
    """They are not replaced by random ones."""
    _, _, images, rows, result, codes = small
    made = {"library": "open_clip", "name": "ViT-B-32", "revision": "mine.pt (6051 bytes)", "layer": 11}
    monkeypatch.setitem(rows.attrs, "model", made)
    named = SimpleNamespace(spec=ModelSpec("open_clip", "ViT-B-32"))  # as text encoders have it
    with pytest.raises(ValueError, match=r"ViT-B-32' names no weights, .* \(mine.pt \(6051 bytes\)\)"):
        open_view(result, codes=codes, embeddings=rows, images=images, encoder=named)


@pytest.mark.parametrize(
    "made, encoder, weights",
    [
        (("open_clip", "ViT-B-32", "laion2b"), "open_clip:ViT-B-32", {"pretrained": "laion2b"}),
        (("open_clip", "ViT-B-32", "laion2b"), "open_clip:ViT-L-14", {}),
        (("open_clip", "ViT-B-32", "mine.pt (6051 bytes)"), "open_clip:ViT-B-32", {}),
        (("transformers", "google/siglip", "3c1ad"), "google/siglip", {"revision": "3c1ad"}),
        (("transformers", "google/siglip", "3c1ad"), "google/other", {}),
        (("files", None, None), "google/other", {}),
        (("transformers", "mine", "sha256:3c1ad"), "mine", {}),
        (("transformers", "mine", "3c1ad"), len, {}),
    ],
)
def test_weights_that_the_store_tells_of(made, encoder, weights):
    """Of the same model alone."""
    record = dict(zip(("library", "name", "revision"), made, strict=True))
    assert recorded_weights(encoder, SimpleNamespace(attrs={"model": record})) == weights


def test_a_huge_coefficient(small):
    """Squares beyond float32 are no infinite change."""
    _, _, images, rows, result, codes = small
    view = open_view(result, codes=codes, embeddings=rows, images=images)
    screen = TurnPatches(view, print)
    screen.show("3-0")
    screen.value.value = 1e30
    assert 1e28 < turn_patches(view, {3: 1e30}, 0).share < 1e34
    assert "e+3" in screen.said.object and "inf" not in screen.said.object


def test_in_the_browser(browser, view, turned):
    from daskksvd.view.server.app import dashboard

    atom, row, found = turned
    with dashboard(view, port=0) as running:
        page = browser.new_page(viewport={"width": 1300, "height": 900})
        page.set_default_timeout(60_000)
        wrong = []
        page.on("pageerror", lambda error: wrong.append(str(error)))
        page.goto(f"{running.url}#turn={atom}-{row}")
        page.locator(f"h2[data-turned='{atom}']").wait_for()
        said = page.locator(".dk-turned")
        said.get_by_text(f"Atom {atom} is set to").wait_for()
        text = said.inner_text()
        assert f"64 of the 64 patches of image {row}" in text and f": {found.changed} change, and" in text
        assert f"moves by {found.output.share:.1%} of its length" in text
        links = page.locator("[data-panel=changes] a[data-when=after]")
        shown = links.evaluate_all("all => all.map(a => Number(a.dataset.atom))")
        assert shown == [one.atom for one in found.atoms]
        assert page.locator("[data-panel=before] .dk-value").count() == 8
        cells = page.locator(".dk-words-turned tbody tr").first.locator("td").all_inner_texts()
        assert [cells[0], cells[2]] == found.output.words[["before", "after"]].iloc[0].tolist()
        other = found.atoms[1].atom
        field = page.get_by_label("Turn too")
        field.fill(f"{other}=0")
        field.press("Enter")
        page.get_by_text("and what is named beside it as asked").wait_for()
        field.fill("what")
        field.press("Enter")
        page.get_by_text("“what” is no atom and value").wait_for()
        field.fill("")
        field.press("Enter")
        page.locator(".dk-turned").wait_for()
        page.locator(".noUi-handle-lower").nth(1).focus()  # the first is of the coefficient
        page.keyboard.press("ArrowRight")
        page.keyboard.press("ArrowRight")
        page.get_by_text(f"48 of the 64 patches of image {row}").wait_for()
        page.close()
        assert wrong == []
