"""How long a dashboard takes to open, and to answer a click.

Makes a result of the size of a large data set (codes and captions at random,
with words that go with atoms), and opens it as people do: the command is
started, Chromium loads the page, and atoms are clicked:

    python benchmarks/viewing.py --samples 800000 --atoms 1536 --out benchmarks/results

leaves ``viewing.json`` and ``viewing.md``. Images are left out, as where they
come from decides how long they take; a Chromium and Playwright are needed.
"""

import argparse
import os
import pathlib
import re
import subprocess
import sys
import tempfile
import time

import common
import labelling
import numpy as np
import pandas as pd
import zarr

import daskksvd
from daskksvd.naming.store import save_labels

sys.path.append(str(pathlib.Path(__file__).parents[1] / "ci"))
import chromium

TABLE = common.Table(("what", "what", "<44", ""), ("seconds", "seconds", ">8", ".2f"))

NOTES = """{n:,} samples, {m:,} atoms, {k} nonzeros a sample, {words:,} words. The index of codes by atom
is made once, the first time; opening is from the start of the command to the atom on the page, in a
browser that runs already. An atom is on the page, and a click answered, when its facts, words and the
captions of its own strongest samples can be read there; its four pictures follow. Before it began, {load}
processes of others wanted the {cores} cores on average."""


def make_data(folder, options):
    """A result, codes, captions that name atoms, and labels, in a folder; returns the paths."""
    rng = np.random.default_rng(0)
    rows = rng.standard_normal((4 * options.atoms, options.features), np.float32)
    shape = {"n_components": options.atoms, "n_nonzero_coefs": options.nonzeros}
    result = daskksvd.fit(rows, **shape, max_passes=1, random_state=0)
    path = folder / "viewed.zarr"
    result.save(path)
    labelling.make_data(folder, options.samples, options.words, options)
    (folder / "codes.zarr").rename(folder / "viewed-codes.zarr")
    name_atoms(folder, options)
    labels = daskksvd.label(folder / "viewed-codes.zarr", folder / "captions", min_df=1, max_df=1.0)
    save_labels(labels, folder / "viewed-labels.zarr")
    return path, folder / "captions", float(labels.significant.mean())


def name_atoms(folder, options):
    """Add to each caption words of two of the sample's atoms; an atom has two words."""
    words = labelling.make_words(options.words)
    indices = zarr.open_group(folder / "viewed-codes.zarr", mode="r")["indices"]
    for path in sorted((folder / "captions").glob("*.parquet")):
        table = pd.read_parquet(path)
        rows = table.row.to_numpy()
        atoms = indices[rows[0] : rows[-1] + 1][:, :2]
        said = words[(atoms * 2 + rows[:, None] % 2) % len(words)]
        table["caption"] = [
            f"{old} {a} {b}" for old, (a, b) in zip(table.caption, said.tolist(), strict=True)
        ]
        table.to_parquet(path, index=False)


def serve(path, captions):
    """Start the command; returns the process and the address it prints."""
    command = [sys.executable, "-m", "daskksvd", "view", str(path), "--captions", str(captions)]
    process = subprocess.Popen([*command, "--port", "0", "--no-browser"], stdout=subprocess.PIPE, text=True)
    line = process.stdout.readline()
    return process, re.match(r"http://\S+", line)[0]


ON_PAGE = """([atom, row]) => {
    const seek = (root, selector) => root.querySelector(selector) || [...root.querySelectorAll("*")].reduce(
        (found, part) => found || (part.shadowRoot && seek(part.shadowRoot, selector)), null);
    const value = seek(document, "[data-panel=top] li .dk-value");
    return Boolean(value && value.checkVisibility() && value.textContent.endsWith(`#${row}`)
        && seek(document, `h2.dk-atom[data-atom="${atom}"]`));
}"""
"""Whether the heading of an atom and its strongest sample, which has captions, are there. Looked at before
each frame is drawn: what Playwright calls waiting looks every half second in the end."""


def first_row(view, atom):
    """The strongest sample of an atom."""
    return int(view.top_rows(atom, view.sides[atom], 1)[0][0])


def wait_for_atom(page, atom, row):
    """Wait until an atom is on the page."""
    page.wait_for_function(ON_PAGE, arg=[atom, row])


def timed(call):
    began = time.perf_counter()
    call()
    return time.perf_counter() - began


def measure(path, captions, options):
    """Records of opening and of clicks."""
    from playwright.sync_api import sync_playwright

    from daskksvd.view.data.atom_index import build_atom_index
    from daskksvd.view.data.opening import open_view

    records = [("list codes by atom, once", timed(lambda: build_atom_index(options.codes)))]
    view = open_view(path)  # tells what must appear
    row = first_row(view, 7)
    rng = np.random.default_rng(1)
    with sync_playwright() as driver:
        browser = chromium.launch(driver)
        page = browser.new_page(viewport={"width": 1300, "height": 900})
        page.set_default_timeout(120_000)
        began = time.perf_counter()
        process, url = serve(path, captions)
        try:
            records.append(("command until it serves", time.perf_counter() - began))
            records.append(("page loaded", timed(lambda: page.goto(url + "?atom=7"))))
            wait_for_atom(page, 7, row)
            records.append(("command until an atom is on the page", time.perf_counter() - began))
            page.wait_for_timeout(options.pause * 2_000)
            clicks = []
            for place in rng.permutation(min(40, options.atoms))[: options.clicks].tolist():
                link = page.locator(".dk-list a").nth(place)
                atom = int(link.get_attribute("href").rpartition("=")[2])
                link.scroll_into_view_if_needed()
                sought = atom, first_row(view, atom)
                opens = lambda link=link, sought=sought: (link.click(), wait_for_atom(page, *sought))  # noqa: E731
                clicks.append(timed(opens))
                page.wait_for_timeout(options.pause * 1_000)  # its pictures
            records += [
                ("click on an atom, median", np.median(clicks)),
                ("click on an atom, longest", max(clicks)),
            ]
            word = str(labelling.make_words(options.words)[2])
            field = page.get_by_label("Find a word or an atom")
            said = page.get_by_text(re.compile(f"for “{word}”"))
            records.append(("search for a word", timed(lambda: (field.fill(word), said.wait_for()))))
        finally:
            process.terminate()
            process.wait()
        browser.close()
    return [{"what": what, "seconds": float(seconds)} for what, seconds in records]


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--samples", type=int, default=800_000)
    parser.add_argument("--words", type=int, default=1_500)
    parser.add_argument("--atoms", type=int, default=1_536)
    parser.add_argument("--features", type=int, default=768)
    parser.add_argument("--nonzeros", type=int, default=10)
    parser.add_argument("--length", type=int, default=6, help="words of a caption beside those of atoms")
    parser.add_argument("--clicks", type=int, default=10)
    parser.add_argument("--pause", type=float, default=4.0, help="seconds between clicks")
    parser.add_argument("--folder", help="where to make the stores; a temporary folder by default")
    parser.add_argument("--out", type=pathlib.Path, help="folder for viewing.json and viewing.md")
    options = parser.parse_args()

    facts, load = common.machine_facts(), os.getloadavg()[0]
    print("\n".join(common.describe(facts)), flush=True)
    with tempfile.TemporaryDirectory(dir=options.folder, prefix="viewing-") as temporary:
        path, captions, named = make_data(pathlib.Path(temporary), options)
        print(f"{named:.0%} of the atoms have a name", flush=True)
        options.codes = path.with_name("viewed-codes.zarr")
        records = measure(path, captions, options)
    sizes = {"n": options.samples, "m": options.atoms, "k": options.nonzeros, "words": options.words}
    notes = NOTES.format(**sizes, load=f"{load:.1f}", cores=facts["cores"])
    print(TABLE.text(records), notes, sep="\n")
    if options.out:
        results = {"machine": facts, "options": {**sizes, "load": load}, "records": records}
        described = "\n".join(f"- {line}" for line in common.describe(facts))
        text = f"# Looking at a large result\n\n{notes}\n\n{TABLE.markdown(records)}\n\n{described}"
        common.save(options.out, "viewing", results, text)


if __name__ == "__main__":
    main()
