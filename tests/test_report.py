"""The page: it stands alone, shows captions as text, and a person finds an atom in it."""

import base64
import gzip
import html.parser
import itertools
import json
import os
import re

import pandas as pd
import pytest
from click.testing import CliRunner
from small_view import M

import daskksvd
from daskksvd import cli
from daskksvd.view.data.finding import search_table
from daskksvd.view.data.listing import listed
from daskksvd.view.page import report as page
from daskksvd.view.page.report import report

pytest.importorskip("holoviews", reason='pictures need HoloViews: pip install "daskksvd[view]"')

N_ATOMS = 12


@pytest.fixture(scope="module")
def path(view, tmp_path_factory):
    return report(view, tmp_path_factory.mktemp("page") / "report.html", n_atoms=N_ATOMS)


@pytest.fixture(scope="module")
def text(path):
    with open(path, encoding="utf-8") as file:
        return file.read()


def packed(text):
    [data] = re.findall(r'<script type="application/gzip" id="data">(.*?)</script>', text)
    return json.loads(gzip.decompress(base64.b64decode(data)))


class Tags(html.parser.HTMLParser):
    """All elements of a page with their attributes."""

    def __init__(self, text):
        super().__init__()
        self.found = []
        self.feed(text)

    def handle_starttag(self, tag, attributes):
        self.found.append((tag, dict(attributes)))


# ----------------------------------------------------------------- content


def test_the_page_asks_nobody_for_anything(text):
    for tag, attributes in Tags(text).found:
        for name in ("src", "href", "action", "data", "poster", "srcset"):
            value = attributes.get(name) or ""
            assert not value or value.startswith(("#", "data:")), (tag, name, value)
        assert not any(name.startswith("on") for name in attributes), (tag, attributes)
    assert "default-src 'none'" in text
    assert len(text.encode()) < 15e6


def test_captions_are_text_in_the_page(text):
    tags = Tags(text).found
    # the only scripts are our own: Bokeh's, the data's and the page's
    assert sum(tag == "script" for tag, _ in tags) == text.count("<script")
    assert "window.hacked" in text and "&lt;script&gt;window.hacked=1&lt;/script&gt;" in text
    assert not any(attributes.get("src") == "x" for _, attributes in tags)


def test_the_table_and_the_words_are_those_of_the_view(text, view):
    data = packed(text)
    assert len(data["atoms"]) == M
    for line in data["atoms"][:10]:
        row = view.atoms.loc[line[0]]
        assert line[1] == row.names and line[3] == row.uses
        assert line[5] == pytest.approx(row.correlation, rel=1e-3)
    strengths = [view.atoms.g[line[0]] for line in data["atoms"]]
    named = [value for value in strengths if value == value]
    assert named == sorted(named, reverse=True)
    for word in ("fish", "purple"):
        found = view.find(word, n=M)
        atoms, correlations, _ = data["search"]["words"][word]
        assert atoms == found.atom.tolist()
        assert correlations == pytest.approx(found.correlation.tolist(), abs=5.01e-4)


def test_every_detailed_atom_has_its_images_and_pictures(text, view):
    data = packed(text)
    templates = re.findall(r'<template id="atom-(\d+)"', text)
    assert len(templates) == N_ATOMS == len(data["figures"])
    rows = set(re.findall(r'data-row="(\d+)"', text))
    assert rows == set(data["images"])
    for source in list(data["images"].values())[:5]:
        assert source.startswith("data:image/webp;base64,")
    assert len(data["kinds"]) == 2 and all(len(figures) == 2 for figures in data["figures"].values())


def test_images_stay_within_what_a_page_may_weigh(view, monkeypatch):
    monkeypatch.setattr(page, "REPORT_MEGABYTES", 0.6)
    atoms = page.best_atoms(view)[:10]
    galleries, images = page.gather_images(view, atoms)
    assert sum(map(len, images["data"].values())) <= 0.6e6 * 1.2
    assert len(galleries) == 10 and len(images["top"]) == 10


def test_a_page_of_a_result_alone(paths, tmp_path, capsys):
    path = report(
        daskksvd.load(paths["result"]), tmp_path / "r.html", title="<b>Bold</b> & plain", progress=True
    )
    shown = capsys.readouterr().err
    assert "atoms: " in shown and f"/{M} [" in shown
    with open(path, encoding="utf-8") as file:
        text = file.read()
    assert "&lt;b&gt;Bold&lt;/b&gt; &amp; plain" in text
    assert packed(text)["search"]["words"] == {} and len(packed(text)["atoms"]) == M


@pytest.mark.parametrize(
    ("arguments", "error", "message"),
    [
        ({"out": "page.txt"}, ValueError, "it must end with .html"),
        ({"n_atoms": 0}, ValueError, "n_atoms=0; it must be an integer, 1 or more"),
        ({"out": "there.html"}, FileExistsError, "exists; pass overwrite=True"),
        ({"out": "none/page.html"}, FileNotFoundError, "there is no directory"),
        ({"codes": "codes.zarr"}, ValueError, "codes was given with a view"),
    ],
)
def test_bad_arguments_are_refused_before_any_work(arguments, error, message, view, tmp_path, monkeypatch):
    (tmp_path / "there.html").write_text("mine")
    monkeypatch.setattr(page, "page_html", lambda *_, **__: pytest.fail("work was begun"))
    out = tmp_path / arguments.pop("out", "page.html")
    with pytest.raises(error, match=message):
        report(view, out, **arguments)
    assert (tmp_path / "there.html").read_text() == "mine"


def test_the_command_writes_the_page(paths, tmp_path):
    out = tmp_path / "page.html"
    arguments = ["report", paths["result"], "--out", str(out), "--captions", paths["captions"]]
    arguments += ["--n-atoms", "2"]
    done = CliRunner().invoke(cli.main, arguments)
    assert done.exit_code == 0, done.output
    assert "Without images" in done.output and f"MB are in {out}" in done.output
    assert "<template id=" in out.read_text(encoding="utf-8")
    again = CliRunner().invoke(cli.main, arguments)
    assert again.exit_code == 2 and "--overwrite" in again.output


# ------------------------------------------------------------ in a browser


@pytest.fixture
def opened(browser, path):
    """The page in a browser; the test fails on errors of scripts and on requests."""
    context = browser.new_context(viewport={"width": 1300, "height": 900})
    found = context.new_page()
    problems = []
    found.on("pageerror", lambda error: problems.append(str(error)))
    found.on("console", lambda line: problems.append(line.text) if line.type == "error" else None)
    found.on(
        "request", lambda request: problems.append(request.url) if request.url.startswith("http") else None
    )
    found.goto(f"file://{path}")
    found.wait_for_selector("body[data-ready]", timeout=30_000)
    yield found
    assert problems == []
    context.close()


def test_a_person_types_a_word_and_sees_its_atom(opened, view):
    atom = int(view.find("fish").atom[0])
    opened.get_by_label("Find an atom by a word").fill("fishes")
    first = opened.locator("#atoms tbody tr").first
    assert first.get_attribute("data-atom") == str(atom)
    assert first.locator("mark").inner_text() == "fish"
    opened.keyboard.press("Enter")
    opened.wait_for_function(f"location.hash === '#atom={atom}'")
    assert opened.locator("#detail-title").inner_text() == view.title(atom).replace("atom", "Atom", 1)
    assert opened.locator("#detail mark", has_text="fish").count() > 3
    images = opened.locator("#detail-gallery img")
    assert images.count() >= 4
    assert images.evaluate_all("all => all.every(image => image.complete ? image.naturalWidth > 0 : true)")
    assert opened.evaluate("window.hacked") is None


QUERIES = """
    fish|fishes|FISHES |the fishes|fishing|fish's|two  dogs|fish purple|purple fish|red circle
    circles and squares|fi|f|s|re|pur|bl|gree|fissh|purpel|tringle|sqare|qqqq|zzzzzz|17|atom 17|#3|Atom #4
    47|48|999|17 fish|the|of|snowy|trees|houses|running|cars|boats|suns|stars|<b>|%|"|a fish & a dog
    swordfish|ﬁsh|reddish|bluest|fish-like
"""


def test_the_page_finds_what_the_dashboard_finds_in_the_same_order(opened, view):
    common = view.words.index[:40].tolist()
    typed = [text for line in QUERIES.strip("\n").split("\n") for text in line.strip().split("|")]
    typed += [f"{word}{end}" for word in common for end in ("", "s", "es", "ing", "x")]
    typed += (
        [word[:-1] for word in common] + [word[1:] for word in common] + [word.upper() for word in common]
    )
    typed += [f"{one} {two}s" for one, two in zip(common, common[7:], strict=False)]
    for text in typed:
        opened.fill("#search", text)
        lines = opened.locator("#atoms tbody tr").evaluate_all(
            "all => all.map(line => Number(line.dataset.atom))"
        )
        found = view.find(text, n=M).atom.tolist() if text.strip() else listed(view)[0].index.tolist()
        assert lines == found, text


@pytest.mark.parametrize("n", [1, 3])
def test_a_page_that_knows_few_atoms_of_a_word_has_the_first_of_several_words(n, view):
    table = search_table(view, n)
    for one, two in itertools.pairwise(view.words.index[:12]):
        pairs = sorted(
            (-strength, place, atom)
            for place, word in enumerate((one, two))
            for atom, _, strength in zip(*table["words"][word], strict=True)
        )
        both = pd.concat([view.find(word, n=M) for word in (one, two)])
        both = both.sort_values("g", ascending=False, kind="stable").drop_duplicates("atom")
        assert list(dict.fromkeys(atom for *_, atom in pairs))[:n] == both.atom.tolist()[:n]


def test_pictures_follow_the_atom(opened, view):
    shown = "[...Bokeh.documents].flatMap(d => d.roots()).map(r => r.title.text)"
    for atom in page.best_atoms(view)[:3]:
        opened.evaluate(f"location.hash = 'atom={atom}'")
        opened.wait_for_function(
            f"{shown}.some(t => t.startsWith('Words that go with atom {atom}:')) && "
            f"{shown}.includes('Coefficients of atom {atom}')"
        )
    opened.wait_for_selector("#detail-figures canvas")


def test_next_previous_sort_and_numbers(opened, view):
    order = page.best_atoms(view)
    opened.click("#next")
    opened.wait_for_function(f"location.hash === '#atom={order[1]}'")
    opened.click("#previous")
    opened.wait_for_function(f"location.hash === '#atom={order[0]}'")
    opened.keyboard.press("ArrowRight")
    opened.wait_for_function(f"location.hash === '#atom={order[1]}'")
    opened.keyboard.press("ArrowLeft")
    opened.wait_for_function(f"location.hash === '#atom={order[0]}'")
    opened.focus("#search")
    opened.keyboard.press("ArrowRight")  # moves in the text
    assert opened.evaluate("location.hash") == f"#atom={order[0]}"
    opened.get_by_role("button", name="samples").click()
    uses = [
        int(cell.replace(",", ""))
        for cell in opened.locator("#atoms tbody td:nth-child(4)").all_inner_texts()
    ]
    assert uses == sorted(uses, reverse=True) and len(uses) == M
    assert opened.locator("th[aria-sort=descending]").inner_text().startswith("samples")
    opened.fill("#search", "17")
    assert opened.locator("#atoms tbody tr").count() == 1
    opened.fill("#search", "qqqq")
    assert "No atom for" in opened.locator("#count").inner_text()


def test_an_address_names_an_atom_and_the_graph_is_drawn(opened, path, view):
    atom = page.best_atoms(view)[4]
    opened.goto("about:blank")
    opened.goto(f"file://{path}#atom={atom}")
    opened.wait_for_function(f"document.getElementById('detail-title').textContent.startsWith('Atom {atom}')")
    opened.locator("#graph").scroll_into_view_if_needed()
    opened.wait_for_selector("#graph canvas", timeout=30_000)
    # a click on an atom in it opens that atom
    chosen = opened.evaluate("""() => {
      const models = Bokeh.documents.flatMap((one) => [...one._all_models.values()]);
      const source = models.find((one) => one.data && one.data.degree && one.data.atom[0] >= 0);
      source.selected.indices = [3];
      return source.data.atom[3];
    }""")
    opened.wait_for_function(f"location.hash === '#atom={chosen}'")


def test_a_narrow_window_has_no_sideways_scrolling(opened):
    opened.set_viewport_size({"width": 390, "height": 800})
    opened.wait_for_timeout(500)
    wide = opened.evaluate("document.documentElement.scrollWidth")
    assert wide <= 391
    assert opened.get_by_label("Find an atom by a word").is_visible()


# ------------------------------------------------------------ where it cannot be


def test_a_full_disk_keeps_the_old_page(view, tmp_path, monkeypatch):
    out = tmp_path / "report.html"
    out.write_text("the old one")
    monkeypatch.setattr(
        page, "open", lambda path, mode: os.fdopen(os.open("/dev/full", os.O_WRONLY), mode), raising=False
    )
    with pytest.raises(
        OSError, match=r"report\.html' could not be written: the disk is full \(.* free, about"
    ):
        report(view, out, n_atoms=1, overwrite=True)
    assert out.read_text() == "the old one" and [path.name for path in tmp_path.iterdir()] == ["report.html"]


def test_places_that_cannot_be_written_are_refused_before_any_work(view, paths, tmp_path, monkeypatch):
    (tmp_path / "folder.html").mkdir()
    with pytest.raises(ValueError, match=r"folder\.html' is a directory; it must be the path of a file"):
        report("nothing.zarr", tmp_path / "folder.html", overwrite=True)
    monkeypatch.setattr(page.os, "access", lambda path, mode: False)  # root may write anywhere
    with pytest.raises(PermissionError, match=r"^out=.*report\.html': .* cannot be written to$"):
        report("nothing.zarr", tmp_path / "report.html")
    done = CliRunner().invoke(cli.main, ["report", "nothing.zarr", "--out", str(tmp_path / "report.html")])
    assert done.exit_code == cli.REFUSED and "cannot be written to" in done.output
