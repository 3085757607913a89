"""Rows of patches keep to their images: orders that a Dask array tells of, and codes beside captions."""

import dask.array as da
import numpy as np
import pytest
import sparse
import xarray as xr
import zarr
from PIL import Image
from small_texts import encode

import daskksvd
from daskksvd.activations import open_activations
from daskksvd.coding.by_image import image_codes, rows_per_image_of
from daskksvd.evaluation import score_labels
from daskksvd.naming.images import rows_of_image
from daskksvd.naming.inputs import gather
from daskksvd.naming.tokens.inputs import open_material
from daskksvd.rows.source import as_source
from daskksvd.view import gallery, open_view
from daskksvd.view.data.heat import crop, heat_map
from daskksvd.view.data.turning_patches import PatchSpace

N, EACH = 96, 6

WORDS = ["red", "blue", "square", "circle"]


@pytest.fixture(scope="module")
def tokens(tmp_path_factory):
    """A Zarr array whose rows are tokens of images, and its folder."""
    path = tmp_path_factory.mktemp("tokens") / "group"
    group = zarr.open_group(path, mode="w")
    array = group.create_array("x", shape=(N, 4), chunks=(16, 4), dtype="f4", dimension_names=("row", "d"))
    array[:] = np.random.default_rng(0).random((N, 4))
    array.attrs["rows_per_image"] = EACH
    return array, path


def test_order_of_rows_is_kept(tokens):
    """Work by blocks, other chunks and statistics beside them leave rows where they are."""
    array, path = tokens
    inline = da.from_array(array, chunks=(16, 4), inline_array=True)
    for name, rows in {
        "from_zarr": da.from_zarr(array),
        "float": inline.astype("f8"),
        "chunks": inline.rechunk((10, 2)),
        "centred": (inline - inline.mean(axis=0)).rechunk((10, 4)),
        "unit": inline / da.linalg.norm(inline, axis=1, keepdims=True),
        "noise": inline + np.ones((N, 4)),
        "xarray": xr.open_zarr(path, consolidated=False)["x"],
        "xarray, not in chunks": xr.open_zarr(path, consolidated=False, chunks=None)["x"],
    }.items():
        assert as_source(rows).rows_per_image == EACH, name


def test_other_orders_of_rows_have_no_images(tokens):
    """As many rows, but others or in another order: they are of no images that anyone knows."""
    array, path = tokens
    order = np.random.default_rng(1).permutation(N)
    inline = da.from_array(array, chunks=(16, 4), inline_array=True)
    for name, rows in {
        "shuffled": da.from_zarr(array)[order],
        "shuffled, then more": inline[order].rechunk((10, 4)) * 2,
        "reversed": inline[::-1],
        "joined": da.concatenate([inline[:40], inline[-56:]]),
        "blocks": inline.blocks[[1, 0, 2, 3, 4, 5]],
        "xarray": xr.open_zarr(path, consolidated=False)["x"][order],
        "xarray, not in chunks": xr.open_zarr(path, consolidated=False, chunks=None)["x"][order],
        "xarray, reversed": xr.open_zarr(path, consolidated=False, chunks=None)["x"][::-1],
    }.items():
        assert as_source(rows).rows_per_image is None, name


@pytest.fixture(scope="module")
def coded(tmp_path_factory):
    """A store of patches, a store of their codes, and a result."""
    folder = tmp_path_factory.mktemp("coded")
    scenes = daskksvd.datasets.make_scenes(40, random_state=0)
    store = daskksvd.embed(scenes, folder / "store", model="scenes", tokens="patches", patch_share=0.2)
    result = daskksvd.fit(store, n_components=16, n_nonzero_coefs=3, max_passes=1, random_state=0)
    result.write_codes(store, folder / "codes.zarr")
    return store, folder / "codes.zarr", result


def test_shuffled_rows_are_written_without_images(coded, tmp_path):
    store, codes, result = coded
    order = np.random.default_rng(1).permutation(len(store))
    result.write_codes(store.array[order], tmp_path / "shuffled.zarr")
    assert rows_per_image_of(codes) == store.layout.rows_per_image
    assert rows_per_image_of(tmp_path / "shuffled.zarr") is None


@pytest.mark.parametrize("kind", ["memory", "dense", "lazy", "by image", "store"])
def test_captions_go_with_images(coded, kind):
    """Codes of patches in any form, beside captions of a store, are codes by image."""
    store, path, result = coded
    expected = image_codes(path).compute()
    codes = {
        "memory": lambda: result.encode(store).compute(),
        "dense": lambda: result.encode(store).compute().todense(),
        "lazy": lambda: result.encode(store),
        "by image": lambda: expected,
        "store": lambda: path,
    }[kind]()
    for captions in (store.path, store.path + "/captions", store.captions):
        found = gather(codes, captions, vocabulary=WORDS)
        np.testing.assert_array_equal(found.codes.toarray(), expected.todense()[found.rows])
        assert len(found.rows) + found.n_left_out == store.n_images
    material = open_material(codes, store.path, None, encodings=np.ones((store.n_images, 2)))
    assert material.codes.n == store.n_images
    if kind == "memory":
        assert daskksvd.label(codes, store.captions, vocabulary=WORDS).attrs["n_rows"] == store.n_images


def test_baselines_by_image(coded):
    store, path, result = coded
    codes = result.encode(store).compute()
    how = {"vocabulary": WORDS, "n_permutations": 0, "n_resamples": 0, "random_state": 0}
    found = score_labels(codes, store.path, baselines={"same": codes}, **how)
    expected = score_labels(path, store.path, baselines={"same": path}, **how)
    np.testing.assert_array_equal(found.word.values, expected.word.values)
    assert found.identical(expected)
    # of a share of the patches, as labels are
    some = image_codes(path, used_by=0.3)
    found = score_labels(codes, store.path, baselines={"same": path}, used_by=0.3, **how)
    expected = score_labels(some, store.path, baselines={"same": some}, **how)
    assert found.attrs.pop("used_by") == 0.3 and "used_by" not in expected.attrs
    assert found.identical(expected)
    found = score_labels(codes, store.path, baselines={"same": some}, used_by=0.3, **how)  # by image already
    found.attrs.pop("used_by")
    assert found.identical(expected)
    with pytest.raises(ValueError, match=r"used_by=0\.3 is for codes of patches; neither codes nor"):
        score_labels(some, store.path, used_by=0.3)


def test_rows_of_neither_are_refused(coded):
    store = coded[0]
    each = store.layout.rows_per_image
    some = sparse.COO(np.ones((5 * each, 16)))
    with pytest.raises(ValueError, match=rf"codes has {5 * each} rows; there are 40 images of {each} rows"):
        daskksvd.label(some, store.path)
    assert rows_of_image(some, store.path, sample_ids=np.arange(5)) == each
    assert rows_of_image(some, store.path, sample_ids=np.arange(5 * each)) == 1
    assert rows_of_image(some, store.captions.compute()) == 1


def test_atoms_are_turned_in_rows_that_are_samples(coded, tmp_path):
    """In patches where codes are theirs, not without codes or with those of images; and in whole images."""
    store, path, result = coded
    for codes, kind in ((None, type(None)), (path, PatchSpace), (image_codes(path).compute(), type(None))):
        assert type(open_view(result, codes=codes, embeddings=store).space) is kind
    np.save(tmp_path / "pooled.npy", np.ones((40, store.array.shape[1]), "f4"))
    assert open_view(result, codes=path, embeddings=open_activations(tmp_path)).space.n == 40


def test_encodings_of_captions_of_patches(coded, tmp_path):
    """A row an image, that of a list of its captions."""
    store = coded[0]
    captions = store.captions.compute().groupby("row")["caption"].apply(list).tolist()
    expected = daskksvd.embed_captions(captions, tmp_path / "list.zarr", model=encode).array.compute()
    assert len(expected) == store.n_images
    for name, more in (("own", {}), ("named", {"embeddings": store}), ("path", {"embeddings": store.path})):
        found = daskksvd.embed_captions(store.path, tmp_path / f"{name}.zarr", model=encode, **more)
        np.testing.assert_array_equal(found.array.compute(), expected)


def test_no_crop_where_only_the_class_token_uses_an_atom(coded, tmp_path):
    np.save(tmp_path / "tokens.npy", np.ones((3, 5, 2), "f4"))
    found = open_activations(tmp_path, tokens="cls+patches", cls_token=True)
    codes = np.zeros((15, 16), np.float32)
    codes[0, 7], codes[5, 7], codes[7, 7] = 3, 2, 1  # class tokens of two images, and the second patch of one
    pictures = [Image.new("RGB", (64, 64), "gray")] * 3
    view = open_view(coded[2], codes=sparse.COO(codes), embeddings=found, images=pictures)
    assert crop(view, 7, 0)[1:] == (0, False) and crop(view, 7, 1)[1:] == (1, True)
    panels = {panel.key: [sample.row for sample in panel.samples] for panel in gallery(view, 7)}
    assert panels["top"] == [0, 1] and panels["heat"] == panels["crops"] == [1]
    assert heat_map(view, 7, 1).largest == 1  # of patches, not of class tokens
    used = view.patches.atoms_of(1).loc[7]
    assert (used.coefficient, used.patches, used.class_token) == (1, 1, 2)
    codes[6:, 7] = 0  # no patch uses it in any image
    view = open_view(coded[2], codes=sparse.COO(codes), embeddings=found, images=pictures)
    where = next(panel for panel in gallery(view, 7) if panel.key == "heat")
    assert not where.samples and where.note.startswith("In none of these images does a patch use the atom")
    codes[0, 8], codes[6, 8] = 3, 0.25
    view = open_view(coded[2], codes=sparse.COO(codes), embeddings=found, images=pictures)
    assert view.patches.largest(view.index, 7) == 0 and view.patches.largest(view.index, 8) == 0.25
    view.patches.largest = lambda index, atom: 0.0  # as where only other images, not looked at, use it so
    assert heat_map(view, 8, 1).largest == 0.25
