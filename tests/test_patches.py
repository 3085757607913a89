"""Rows of patches: the model's own tokens, by image for captions and pictures, and resumed exactly."""

import io
import shutil
import zipfile

import numpy as np
import pandas as pd
import pytest
import real
import scipy.sparse as sp
import small_models
import sparse
import torch
import transformers
import zarr
from click.testing import CliRunner
from PIL import Image

import daskksvd
from daskksvd import cli
from daskksvd.cli.label import summary
from daskksvd.coding.by_image import image_codes, least_rows
from daskksvd.embedding.layout import Layout, frame_of, seen_box
from daskksvd.embedding.models import check_spec, load_encoder
from daskksvd.embedding.models.huggingface import HuggingFaceEncoder
from daskksvd.evaluation import localization, localization_summary
from daskksvd.evaluation.localization import covered
from daskksvd.view import gallery, open_view, plots, report
from daskksvd.view.data import heat
from daskksvd.view.data.facts import atom_facts
from daskksvd.view.data.listing import best_atoms

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


@pytest.fixture(scope="module")
def scenes():
    return daskksvd.datasets.make_scenes(60, random_state=3)


@pytest.fixture(scope="module")
def store(scenes, tmp_path_factory):
    where = tmp_path_factory.mktemp("patches") / "store"
    return daskksvd.embed(
        scenes, where, model="scenes", tokens="patches", layer=3, thumbnails=64, chunk_rows=32
    )


@pytest.fixture(scope="module")
def fitted(store, tmp_path_factory):
    """A result, saved, with codes of patches beside it."""
    path = tmp_path_factory.mktemp("fitted") / "words.zarr"
    result = daskksvd.fit(store.path, n_components=48, n_nonzero_coefs=3, max_passes=2, random_state=0)
    result.save(path)
    result.write_codes(store.path, path.parent / "words-codes.zarr")
    return path


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


def test_store_knows_images_and_positions(scenes, store, tmp_path):
    """Rows by image; captions, sources and thumbnails an image; fewer rows where a share is drawn."""
    each = 64
    assert len(store) == 60 * each and store.n_images == 60 and store.layout.grid == (8, 8)
    assert store.array.shape == (60 * each, 128) and len(store.sample) == len(store.source) == 60
    assert store.captions.compute()["row"].max() == 59 and store.thumbnail(59).size == (64, 64)
    assert store.positions(7).tolist() == list(range(each)) and store.image_rows(2) == slice(128, 192)
    assert daskksvd.open_embeddings(store.path).layout == store.layout

    settings = {"model": "scenes", "layer": 3, "tokens": "cls+patches", "patch_share": 0.25}
    drawn = daskksvd.embed(scenes, tmp_path / "drawn", random_state=5, **settings)
    again = daskksvd.embed(scenes, tmp_path / "again", random_state=5, batch_size=7, **settings)
    other = daskksvd.embed(scenes, tmp_path / "other", random_state=6, **settings)
    assert drawn.layout.rows_per_image == 17
    rows, whole = drawn.array.compute().reshape(60, 17, 128), store.array.compute().reshape(60, each, 128)
    for image in (0, 31, 59):
        places = drawn.positions(image)
        assert places[0] == -1 and (np.diff(places) > 0).all() and len(places) == 17
        assert places.tolist() == again.positions(image).tolist() != other.positions(image).tolist()
        np.testing.assert_allclose(rows[image, 1:], whole[image, places[1:]], atol=2e-3)
    assert drawn.positions(0).tolist() != drawn.positions(1).tolist()


def test_layers_of_one_pass(scenes, store, tmp_path):
    both = daskksvd.embed(scenes[:20], tmp_path / "both", model="scenes", tokens="patches", layer=[1, 3])
    assert both.layers == [1, 3] and both.array.shape == (20 * 64, 256)
    np.testing.assert_array_equal(both.layer(3).compute(), store.array[: 20 * 64].compute())
    with pytest.raises(ValueError, match="layer=2; the store has 1, 3"):
        both.layer(2)
    result = daskksvd.fit(both.layer(1), n_components=16, n_nonzero_coefs=2, max_passes=1, random_state=0)
    result.write_codes(both.layer(1), tmp_path / "codes.zarr")
    assert image_codes(tmp_path / "codes.zarr").shape == (20, 16)


def test_rejects_and_resume(scenes, tmp_path):
    """A run that was stopped anywhere ends at the same store, with what could not be read left out."""

    class Source:
        def __init__(self, stop=None):
            self.stop = stop

        def __len__(self):
            return 60

        def __getitem__(self, i):
            if i >= 60:
                raise IndexError(i)
            if i == self.stop:
                raise KeyboardInterrupt
            return (b"no image" if i == 9 else scenes[i].image), scenes[i].captions

    settings = {
        "model": "scenes", "tokens": "cls+patches", "layer": 2, "patch_share": 0.2, "chunk_rows": 16,
        "batch_size": 8, "thumbnails": 24, "random_state": 1,
    }  # fmt: skip
    whole = daskksvd.embed(Source(), tmp_path / "whole", **settings)
    for stop in (20, 45):
        with pytest.raises(KeyboardInterrupt):
            daskksvd.embed(Source(stop), tmp_path / "cut", **settings)
    cut = daskksvd.embed(Source(), tmp_path / "cut", **settings)
    assert cut.rejects["sample"].tolist() == [9] and cut.n_images == 59
    one, other = (zarr.open_group(f"{each.path}/embeddings.zarr", mode="r") for each in (whole, cut))
    for name, array in one.arrays():
        np.testing.assert_array_equal(array[:], other[name][:])
    assert dict(one.attrs) == dict(other.attrs)
    with pytest.raises(ValueError, match="was begun with form tokens"):
        daskksvd.embed(Source(), tmp_path / "cut", **{**settings, "random_state": 2})


def test_images_of_another_grid_are_rejected(saved, tmp_path):
    rng = np.random.default_rng(0)
    sizes = [(32, 32), (32, 40), (32, 32)]
    pictures = [(Image.fromarray(rng.integers(0, 256, (*size, 3), np.uint8)), "a") for size in sizes]
    found = daskksvd.embed(
        pictures, tmp_path / "out", model=saved["dinov2"][0], tokens="patches", resize=False, batch_size=1
    )
    assert found.n_images == 2 and "another grid of patches" in found.rejects["reason"][0]


@pytest.mark.parametrize("kind", [sp.csr_matrix, sparse.COO, np.asarray, "dask"])
@pytest.mark.parametrize("used_by", ["any", 0.5, 1.0])
def test_codes_by_image(kind, used_by):
    """Against a loop over images; chunks need not end where an image does."""
    rng = np.random.default_rng(0)
    dense = np.where(rng.random((60, 7)) < 0.5, rng.integers(-3, 4, (60, 7)), 0).astype(np.float32)
    least = {"any": 1, 0.5: 3, 1.0: 5}[used_by]
    expected = np.zeros((12, 7), np.float32)
    for image in range(12):
        for atom in range(7):
            values = dense[image * 5 : image * 5 + 5, atom]
            if (values != 0).sum() >= least:
                expected[image, atom] = values.max() if values.max() >= -values.min() else values.min()
    if kind == "dask":
        import dask.array as da

        codes = da.from_array(dense, chunks=(13, 4)).map_blocks(sparse.COO)
        found = image_codes(codes, 5, used_by=used_by).compute()
    else:
        found = image_codes(kind(dense), 5, used_by=used_by)
    np.testing.assert_array_equal(found.todense(), expected)


def test_codes_by_image_refuse():
    codes = np.ones((12, 3), np.float32)
    for words, settings in (
        ("must be a multiple of rows_per_image=5", {"rows_per_image": 5}),
        ("rows_per_image is needed", {}),
        ("used_by='all'; it must be 'any'", {"rows_per_image": 4, "used_by": "all"}),
        ("used_by=0; it must be", {"rows_per_image": 4, "used_by": 0}),
        ("used_by=1.5; it must be", {"rows_per_image": 4, "used_by": 1.5}),
    ):
        with pytest.raises(ValueError, match=words):
            image_codes(codes, **settings)


def test_label_by_image(store, fitted):
    """Codes of patches, as a store or not, are named as codes by image are."""
    codes = fitted.parent / "words-codes.zarr"
    by_image = image_codes(codes).compute()
    expected = daskksvd.label(by_image, store.path, min_uses=5, min_df=5)
    lazy = daskksvd.load(fitted).encode(store.path)
    for given, settings in ((codes, {}), (lazy, {}), (lazy, {"embeddings": store}), (by_image, {})):
        found = daskksvd.label(given, store.path, min_uses=5, min_df=5, **settings)
        assert found.attrs["n"] == 60
        for name in ("correlation", "top_word", "use_count", "q_value"):
            np.testing.assert_array_equal(found[name].values, expected[name].values)
    some = daskksvd.label(codes, store.path, min_uses=5, min_df=5, used_by=0.1)
    assert (some.use_count <= expected.use_count).all() and (some.use_count < expected.use_count).any()
    assert some.attrs["used_by"] == 0.1 and some.attrs["rows_per_image"] == 64
    atom, view = int(some.use_count.values.argmax()), open_view(fitted, embeddings=store, labels=some)
    told = f"by any patch; named by those in which 10 % of the patches use it: {int(some.use_count[atom])}"
    assert atom_facts(view, atom)["used by"].endswith(told)
    assert "by any" not in atom_facts(open_view(fitted, embeddings=store, labels=found), atom)["used by"]
    assert "0.1 of the 64 rows of an image" in summary(some)["used by"]
    for each in (2, 17, 50, 64, 256):
        crowded = expected.assign_attrs(rows_per_image=each, used_by="any", mean_nonzeros=40)
        share = float(summary(crowded)["used by"].split("--used-by ")[1].split()[0])
        assert least_rows(share, each) > 1 and share <= max(0.02, 1 / each + 0.01)
    with pytest.raises(ValueError, match=r"used_by=0\.1 is for codes of patches"):
        daskksvd.label(by_image, list(store.captions.compute()["caption"][:60]), used_by=0.1)


def test_view_by_image(store, fitted):
    """Samples are images; heat is the code of each patch in its place."""
    view = open_view(fitted, embeddings=store)
    codes = daskksvd.open_codes(fitted.parent / "words-codes.zarr").compute().todense().reshape(60, 64, -1)
    atom = int(np.argmax((codes != 0).sum((0, 1))))
    assert view.n == 60 and view.index.uses[atom] == (codes[..., atom] != 0).any(1).sum()
    rows, values = view.top_rows(atom, 1, 3)
    for image, value in zip(rows, values, strict=True):
        heat = view.patches.heat(atom, int(image))
        np.testing.assert_array_equal(heat, codes[image, :, atom].reshape(8, 8))
        assert heat.max() == value
    lazy = open_view(daskksvd.load(fitted), codes=daskksvd.load(fitted).encode(store.path), embeddings=store)
    np.testing.assert_array_equal(lazy.patches.heat(atom, 5), view.patches.heat(atom, 5))
    np.testing.assert_array_equal(lazy.index.uses, view.index.uses)


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


@pytest.fixture(scope="module")
def dashboard_of(view):
    pytest.importorskip("panel", reason='the dashboard needs Panel: pip install "daskksvd[view]"')
    from daskksvd.view.server.app import dashboard

    with dashboard(view, port=0) as running:
        yield running


def test_an_image_is_picked_in_the_browser(browser, dashboard_of, view):
    """From an atom's gallery to the atoms of one of its images, to a map of another, and by numbers."""
    atom, row = used_most(view)
    table = view.patches.atoms_of(row)
    codes = view.patches.codes_of(row).toarray()
    assert sorted(table.index) == np.flatnonzero(codes.any(0)).tolist()
    assert table.patches[atom] == (codes[:, atom] != 0).sum()
    page = browser.new_page(viewport={"width": 1300, "height": 900})
    page.set_default_timeout(60_000)
    wrong = []
    page.on("pageerror", lambda error: wrong.append(str(error)))
    page.goto(f"{dashboard_of.url}#atom={atom}")
    page.locator("[data-panel=heat] a").first.click()
    page.locator(f"h2[data-image='{row}'][data-shown='{atom}']").wait_for()
    assert page.url.endswith(f"#image={row}-{atom}")
    page.get_by_text(
        f"coefficient here is {table.coefficient[atom]:+.3g}; {table.patches[atom]} of 64"
    ).wait_for()
    links = page.locator("[data-panel=atoms] a")
    shown = links.evaluate_all("all => all.map(a => Number(a.dataset.atom))")
    assert shown == table.index[:24].tolist()
    title = (
        "[...Bokeh.documents[0]._all_models.values()].some(m => m.type == 'Title' && m.text.startsWith(%r))"
    )
    page.wait_for_function(title % f"Atom {atom} in image {row}: strongest {table.coefficient[atom]:+.3g}")
    other = next(one for one in shown if one != atom)
    page.locator(f"[data-panel=atoms] a[data-atom='{other}']").click()
    page.locator(f"h2[data-image='{row}'][data-shown='{other}']").wait_for()
    page.go_back()
    page.locator(f"h2[data-image='{row}'][data-shown='{atom}']").wait_for()

    field = page.get_by_label("Find an image")
    field.fill("59")
    page.locator(".dk-found a[href='#image=59']").first.wait_for()
    page.get_by_text("image 59", exact=True).wait_for()
    page.keyboard.press("Enter")
    page.locator("h2[data-image='59']").wait_for()
    for text, said in (("60", "There are images from 0 to 59."), ("qqqq", "No atom goes with “qqqq”.")):
        field.fill(text)
        page.get_by_text(said).wait_for()
    page.goto(f"{dashboard_of.url}#image={row}")  # in the same window: what was looked for is gone
    page.locator(f"h2[data-image='{row}']").wait_for()
    page.get_by_text("24 of 60 images, drawn at random").wait_for()
    assert field.input_value() == ""
    numbers = "There is no image “%s”; they are from 0 to 59."
    for what, said in (
        ("999", numbers % "999"),
        ("-1", numbers % "-1"),
        ("qqqq", "No atom goes with “qqqq”."),
        ("5-999", "There is no atom “999”; they are from 0 to 47."),
        ("5-4-3", "There is no atom “4-3”; they are from 0 to 47."),
    ):
        page.goto(f"{dashboard_of.url}#image={what}")
        page.locator("[data-note]").get_by_text(said).wait_for()
        place = page.locator("h2[data-image]").get_attribute("data-image")
        first = page.locator(".dk-found a").first.get_attribute("href")
        assert place == ("5" if what.startswith("5") else first.removeprefix("#image=")), what
    page.goto(f"{dashboard_of.url}#image=5-4")
    page.locator("h2[data-image='5'][data-shown='4']").wait_for()
    assert page.locator("[data-note]").count() == 0
    word = next(name for names in view.names for name in names)
    named = int(view.find(word, 1).atom.iloc[0])
    best = int(view.top_rows(named, int(view.sides[named]), 1)[0][0])
    page.goto(f"{dashboard_of.url}#image={word}-4")
    page.locator(f"h2[data-image='{best}'][data-shown='4']").wait_for()
    page.set_viewport_size({"width": 420, "height": 900})
    assert page.evaluate("document.documentElement.scrollWidth") <= 420
    page.get_by_role("link", name="Turn", exact=True).click()
    page.locator("h2[data-turned]").wait_for()
    page.close()
    assert wrong == []


@pytest.mark.skipif(not real.PHOTOGRAPHS.exists(), reason="the photographs are not here")
def test_photographs_by_commands(tmp_path, monkeypatch):
    """Embedded, fitted, coded, named by image and drawn, as a user does it."""
    monkeypatch.chdir(tmp_path)
    captions = pd.read_parquet(real.CAPTIONS).set_index("file")["captions"]
    with zipfile.ZipFile(real.PHOTOGRAPHS) as archive:
        names = [name for name in sorted(archive.namelist()) if name.endswith(".jpg")][:20]
        archive.extractall("photos", names)
    pd.DataFrame({"image": names, "caption": [captions[name][0] for name in names]}).to_csv(
        "photos.csv", index=False
    )
    model = str(real.DATA / "vit_small_14")
    for command in (
        ["embed", "photos", "--captions", "photos.csv", "--model", model, "--layer", "11",
         "--tokens", "patches", "--thumbnails", "112", "--device", "cpu", "--out", "patches"],
        ["fit", "patches", "-m", "48", "-k", "4", "--max-passes", "2", "--random-state", "0",
         "-o", "words.zarr"],
        ["encode", "words.zarr", "patches"],
        ["label", "words.zarr", "patches", "--min-df", "3", "--used-by", "0.05"],
        ["report", "words.zarr", "--embeddings", "patches", "--n-atoms", "2", "-o", "page.html"],
    ):  # fmt: skip
        done = CliRunner().invoke(cli.main, command)
        assert done.exit_code == 0, done.output
    view = open_view("words.zarr", embeddings="patches")
    assert view.n == 20 and view.patches.layout.grid == (16, 16)
    labels = view.labels
    assert labels.attrs["n"] == 20 and labels.attrs["used_by"] == 0.05 and view.images.get(3)[1]
    atom, row = used_most(view)
    found = heat.heat_map(view, atom, row)
    codes = daskksvd.open_codes("words-codes.zarr")[row * 256 : (row + 1) * 256].compute().todense()
    np.testing.assert_array_equal(found.heat.ravel(), codes[:, atom])
    text = (tmp_path / "page.html").read_text()
    assert "Where in the image" in text and text.count('data-row="heat-') > 8


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


@pytest.fixture(scope="module")
def view(store, scenes, fitted):
    labels = daskksvd.label(fitted.parent / "words-codes.zarr", store.path, min_uses=5, min_df=5)
    return open_view(fitted, embeddings=store, images=scenes, labels=labels)


def used_most(view):
    """An atom with both signs if there is one, and an image that uses it."""
    atom = int(np.argmax(view.index.uses))
    return atom, int(view.top_rows(atom, int(view.sides[atom]), 1)[0][0])


def test_heat_is_painted_where_the_patches_are(view):
    """Colour where a patch is used, of its sign, and none elsewhere; outside of what the model sees none."""
    image = Image.new("RGB", (200, 100), (120, 120, 120))
    values = np.array([[0, 0, 0, 0], [2, 0, 0, -1], [0, 0, np.nan, 0], [0, 0, 0, 0]], np.float32)
    made = np.asarray(heat.painted(image, values, (0.25, 0, 0.75, 1), 2.0)).astype(int)
    grey, positive, negative = made[5, 5], made[37, 62], made[37, 137]
    assert (made[:, :50] == grey).all() and (made[:, 150:] == grey).all() and (made[88:] == grey).all()
    assert positive[2] - positive[0] > 100 and negative[0] - negative[2] > 60
    assert np.abs(positive - grey).sum() > np.abs(negative - grey).sum()
    atom, row = used_most(view)
    found = heat.heat_map(view, atom, row)
    assert found.image.size == (224, 224) and found.box == (0, 0, 1, 1)
    assert np.nanmax(np.abs(found.heat)) <= found.largest == np.abs(view.activations(atom)[1]).max()


def test_heat_map_element(view):
    """An element with a coefficient for every patch, at its place."""
    hv = pytest.importorskip("holoviews")
    atom, row = used_most(view)
    element = plots.heat_map(view, atom)
    cells = element.Rectangles.I
    expected = view.patches.heat(atom, row)
    np.testing.assert_array_equal(cells.dimension_values("coefficient"), expected.ravel())
    np.testing.assert_allclose(cells.dimension_values("y1")[::8], 224 - 28 * np.arange(8))
    tools = [tool for tool in hv.render(element).tools if type(tool).__name__ == "HoverTool"]
    assert "coefficient" in dict(tools[0].tooltips)
    assert len(plots.heat_maps(view, atom, 2)) == 2
    assert "Where in the image" in plots.for_atom(view, atom)
    with pytest.raises(ValueError, match="there are no codes of patches"):
        plots.heat_map(open_view(view.result, codes=np.eye(48)), 0, 0)


def test_galleries_and_report_show_heat(view, tmp_path):
    atom, _ = used_most(view)
    panels = {panel.key: panel for panel in gallery(view, atom, top=3)}
    assert list(panels)[:3] == ["top", "heat", "crops"]
    keys = [sample.key for panel in panels.values() for sample in panel.samples]
    assert keys[3].startswith(f"heat-{atom}-") and keys[6].startswith(f"crop-{atom}-")
    assert panels["crops"].samples[0].image.size == (112, 112)
    path = report(view, tmp_path / "page.html", n_atoms=2)
    with open(path) as file:
        text = file.read()
    assert "Where in the image" in text and f'data-row="heat-{best_atoms(view)[0]}-' in text


def test_boxes_are_where_things_are(scenes):
    """Without a group, what changes lies in its boxes; captions and images are as they were."""
    boxes, description = scenes.boxes(3), scenes.describe(3)
    image = np.asarray(scenes[3].image).astype(int)
    for group in description.groups:
        assert len(boxes[group.object]) == group.count and set(boxes[group.object]) <= set(
            boxes[group.colour]
        )
        for left, upper, right, lower in boxes[group.object]:
            assert 0 <= left < right <= 1 and 0 <= upper < lower <= 1
            x, y = int(32 * (left + right)), int(32 * (upper + lower))
            assert np.abs(image[y, x] - image[0, 0]).sum() > 0


def test_localization():
    """Against heat made by hand: an atom that lies in its object's boxes, and one that does not."""

    class Store:
        layout, n_images, sample = Layout((4, 4), 16, cls=True), 80, np.arange(80)

        @staticmethod
        def positions(image):
            return Store.layout.positions(image)

    rng = np.random.default_rng(0)
    codes, regions, inside = np.zeros((80, 17, 3), np.float32), [], []
    for image in range(80):
        x, y = rng.integers(0, 3, 2)
        has = image % 2 == 0
        regions.append({"cat": [(x / 4, y / 4, (x + 2) / 4, (y + 2) / 4)]} if has else {})
        cover = np.zeros((4, 4), bool)
        cover[y : y + 2, x : x + 2] = has
        codes[image, 1:, 0] = np.where(cover.ravel(), -rng.random(16), 0)
        codes[image, 1, 1] = float(has)  # goes with the cat, in a corner
        codes[image, 0, 2] = 1  # the class token alone
        inside.append(cover)
        np.testing.assert_array_equal(covered(regions[-1].get("cat", ()), (4, 4)), cover)
    flat = sp.csr_matrix(codes.reshape(-1, 3))
    table = localization(flat, Store, regions)
    row = table.loc["cat"]
    assert row.atom == 0 and row.side == -1 and row.phi == pytest.approx(1) and row.inside == row.hit == 1
    assert row.chance == row.hit_chance == 0.25 and 10 <= row.images <= 30
    corner = localization(flat[:, 1:], Store, regions.__getitem__, choose="images").loc["cat"]
    assert corner.atom == 0 and corner.phi == pytest.approx(1) and corner.inside == corner.hit < 0.6
    summary = localization_summary(table)
    assert summary["lift"] == (4.0, 4.0, 4.0) and summary["concepts"] == 1
    for words, given, settings in (
        ("train is 'a'; it must be a share between 0 and 1", flat, {"train": "a"}),
        ("concepts has no concept", flat, {"concepts": []}),
        ("concepts='cat' is one text", flat, {"concepts": "cat"}),
        ("codes has shape .1360, 0.; it must be n x m", flat[:, :0], {}),
    ):
        with pytest.raises((TypeError, ValueError), match=words):
            localization(given, Store, regions, **settings)
    with pytest.raises(ValueError, match="regions has no concept"):
        localization(flat, Store, [{}] * 80)
    with pytest.raises(ValueError, match="choose='all'; it must be"):
        localization(flat, Store, regions, choose="all")
    with pytest.raises(ValueError, match="codes has 10 rows; embeddings has 80 images of 17"):
        localization(flat[:10], Store, regions)


def test_plan_says_bytes_and_hours(store):
    """The bytes are those of a store; a million images say so in a sentence."""
    settings = {"model": "scenes", "layer": 3}
    patches = daskksvd.plan_embed(60, tokens="patches", **settings)
    assert (patches.rows, patches.n_features) == store.array.shape and patches.n_bytes == store.array.nbytes
    assert (
        patches.seconds == pytest.approx(60 * patches.image_seconds / patches.n_threads)
        and patches.seconds > 0
    )
    many = daskksvd.plan_embed(10**6, tokens="cls+patches", patch_share=0.25, thumbnails=64, **settings)
    assert many.rows == 17 * 10**6 and str(many).startswith("1,000,000 images: 17,000,000 rows x 128 float16")
    with pytest.raises(ValueError, match=r"patch_share=0\.5 goes with"):
        daskksvd.plan_embed(10, patch_share=0.5, model="scenes")
