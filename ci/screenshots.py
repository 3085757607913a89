"""Make the pictures of the README: the dashboard of concepts learned from drawn scenes.

    python ci/screenshots.py

draws scenes, embeds them with the model that comes along, learns, names
atoms, serves the dashboard to headless Chromium, and leaves three pictures in
``ci/screenshots``. It needs ``pip install ".[embed,view]" playwright`` and a
Chromium.
"""

import argparse
import pathlib
import tempfile

import chromium
from PIL import Image
from playwright.sync_api import sync_playwright

import daskksvd
from daskksvd.datasets import make_scenes
from daskksvd.naming.store import save_labels
from daskksvd.view.server.app import dashboard

MOST_BYTES = 400_000


def make_result(folder, n):
    """Scenes, embedded, learned from and named; returns the paths of the result and embeddings."""
    embedded = str(folder / "embedded")
    embeddings = daskksvd.embed(make_scenes(n), embedded, model="scenes", thumbnails=64)
    result = daskksvd.fit(
        embeddings.array, n_components=96, n_nonzero_coefs=8, center=True, whiten=0.25, random_state=0
    )
    path, codes = str(folder / "scenes.zarr"), str(folder / "scenes-codes.zarr")
    result.save(path)
    result.write_codes(embeddings.array, codes)
    save_labels(daskksvd.label(codes, embedded), str(folder / "scenes-labels.zarr"))
    return path, embedded


def shots(word):
    """Name of each picture, address, the start of a title to wait for, and the size of the window."""
    return (
        ("overview", "", "Words and atoms:", (1280, 960)),
        ("atom", f"#atoms={word}", "Map of atoms: atom", (1280, 960)),
        ("graph", "#graph", "Words and atoms:", (1280, 800)),
    )


def shoot(url, word, out):
    """Write the pictures of a dashboard to a folder."""
    ready = """start => window.Bokeh && Bokeh.documents.length && [...Bokeh.documents[0]._all_models.values()]
        .some(m => m.type == 'Title' && String(m.text).startsWith(start))"""
    with sync_playwright() as playwright:
        browser = chromium.launch(playwright)
        for name, address, title, (width, height) in shots(word):
            page = browser.new_page(viewport={"width": width, "height": height})
            page.set_default_timeout(120_000)
            page.goto(url + address)
            page.wait_for_function(ready, arg=title)
            page.wait_for_timeout(3_000)  # fonts and pictures settle
            path = out / f"{name}.png"
            page.screenshot(path=path)
            page.close()
            Image.open(path).convert("RGB").quantize(256).save(path, optimize=True)
            size = path.stat().st_size
            if size > MOST_BYTES:
                raise SystemExit(f"{path} has {size:,} bytes; it must have at most {MOST_BYTES:,}")
            print(f"{path}: {size / 1e3:.0f} kB")
        browser.close()


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--samples", type=int, default=4_000)
    parser.add_argument("--word", default="snow", help="word whose atom is shown")
    parser.add_argument("--out", type=pathlib.Path, default=pathlib.Path(__file__).parent / "screenshots")
    options = parser.parse_args()
    options.out.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix="screenshots-") as folder:
        path, embedded = make_result(pathlib.Path(folder), options.samples)
        with dashboard(path, embeddings=embedded, port=0) as served:
            shoot(served.url, options.word, options.out)


if __name__ == "__main__":
    main()
