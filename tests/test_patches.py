"""Rows of patches: stored by image, resumed exactly, and taken together for captions."""

import numpy as np
import pytest
import scipy.sparse as sp
import sparse
import zarr

import daskksvd
from daskksvd.cli.label import summary
from daskksvd.coding.by_image import image_codes, least_rows
from daskksvd.embedding.layout import Layout
from daskksvd.evaluation import localization, localization_summary
from daskksvd.evaluation.localization import covered
from daskksvd.view import open_view
from daskksvd.view.data.facts import atom_facts


@pytest.fixture(scope="module")
def scenes(patches):
    return patches.scenes


@pytest.fixture(scope="module")
def store(patches):
    return patches.store


@pytest.fixture(scope="module")
def fitted(patches):
    return patches.fitted


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
