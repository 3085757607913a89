"""Patches looked at: where in an image an atom is, by heat and in the browser."""

import zipfile

import numpy as np
import pandas as pd
import pytest
import real
from click.testing import CliRunner
from PIL import Image

import daskksvd
from daskksvd import cli
from daskksvd.view import gallery, open_view, plots, report
from daskksvd.view.data import heat
from daskksvd.view.data.listing import best_atoms


@pytest.fixture(scope="module")
def scenes(patches):
    return patches.scenes


@pytest.fixture(scope="module")
def store(patches):
    return patches.store


@pytest.fixture(scope="module")
def fitted(patches):
    return patches.fitted


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
