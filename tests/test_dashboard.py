"""The dashboard as people see it: headless Chromium searches, clicks, goes back, and reads the page."""

import os
import re
import signal
import subprocess
import sys
import time
import urllib.request

import numpy as np
import pytest
from click.testing import CliRunner
from small_view import HOSTILE, M, N

import daskksvd
from daskksvd import cli
from daskksvd.view.data.opening import open_view
from daskksvd.view.server.app import dashboard

pytest.importorskip("panel", reason='the dashboard needs Panel: pip install "daskksvd[view]"')

WAIT = 60_000
"""Milliseconds: only a page that is wrong takes as long."""


@pytest.fixture(scope="module")
def order():
    return np.random.default_rng(5).permutation(M)


@pytest.fixture(scope="module")
def other(paths, order):
    """The same atoms in another order, half of them turned around, without names and codes."""
    result = daskksvd.load(paths["result"])
    signs = np.where(np.arange(M) % 2, 1, -1)[:, None].astype(result.dictionary.dtype)
    result.dictionary.values[:] = result.dictionary.values[order] * signs
    return open_view(result)


@pytest.fixture(scope="module")
def served(view, other):
    with dashboard(view, compare=other, port=0) as running:
        yield running


@pytest.fixture
def visit(browser, served):
    """Opens an address of the dashboard; no page may fail, or ask anybody else for anything."""
    pages, wrong = [], []

    def visit(address="", url=served.url, **size):
        page = browser.new_page(viewport={"width": 1300, "height": 900, **size})
        page.set_default_timeout(WAIT)
        page.on("pageerror", lambda error: wrong.append(str(error)))
        page.on("request", lambda request: foreign(request.url, url) and wrong.append(request.url))
        page.goto(url + address)
        pages.append(page)
        return page

    yield visit
    for page in pages:
        page.close()
    assert wrong == []


def foreign(asked, url):
    return not asked.startswith((url, "data:", "blob:", url.replace("http", "ws")))


def opened(page, atom, wait=WAIT):
    """Wait until an atom is open."""
    page.locator(f"h2.dk-atom[data-atom='{atom}']").first.wait_for(timeout=wait)


def listed(page):
    """Atoms in the list, in order."""
    hrefs = page.locator(".dk-list a").evaluate_all("all => all.map(a => a.getAttribute('href'))")
    return [int(href.rpartition("=")[2]) for href in hrefs]


def wait_for_list(page, atoms):
    """Wait until the list begins with these atoms."""
    first = f".dk-list li:first-child a[href='#atom={atoms[0]}']"
    page.locator(first).wait_for()
    assert listed(page)[: len(atoms)] == list(atoms)


def titles(page):
    """Titles of all pictures."""
    return page.evaluate(
        "[...Bokeh.documents[0]._all_models.values()].filter(m => m.type == 'Title').map(m => m.text)"
    )


def wait_for_title(page, start, wait=WAIT):
    page.wait_for_function(
        "start => window.Bokeh && Bokeh.documents.length && "
        "[...Bokeh.documents[0]._all_models.values()].some("
        "m => m.type == 'Title' && String(m.text).startsWith(start))",
        arg=start,
        timeout=wait,
    )


def test_search_finds_the_atom_for_a_word(visit, view):
    found = view.find("fish")
    page = visit("#atoms")
    page.get_by_label("Find a word or an atom").fill("fishes")  # in any form
    wait_for_list(page, found.atom.tolist())
    assert page.locator("[role=status]:visible").inner_text() == f"{len(found)} atoms for “fishes” (fish)"
    page.keyboard.press("Enter")
    opened(page, found.atom[0])
    assert page.url.endswith(f"#atom={found.atom[0]}")
    assert "fish" in page.locator("h2.dk-atom").inner_text()
    row = view.atoms.loc[found.atom[0]]
    facts = page.locator(".dk-facts").inner_text()
    assert f"{int(row.uses):,} samples" in facts and row["names"] in facts
    wait_for_title(page, f"Words that go with atom {found.atom[0]}: fish")
    wait_for_title(page, f"Coefficients of atom {found.atom[0]}")


def test_nothing_found_is_said(visit, view):
    page = visit("#atoms=qqqq")
    page.get_by_text("No atom goes with “qqqq”.").wait_for()
    assert listed(page) == []
    page.get_by_label("Find a word or an atom").fill("")
    page.get_by_text(f"{M} atoms", exact=True).wait_for()


def open_in_list(page):
    """Which atoms of the list are marked as open."""
    shades = page.locator(".dk-list a").evaluate_all("all => all.map(a => getComputedStyle(a).boxShadow)")
    return [shade != "none" for shade in shades]


def test_orders_next_and_previous(visit, view):
    by_use = view.atoms.uses.sort_values(ascending=False, kind="stable").index.tolist()
    page = visit("#atoms")
    page.get_by_label("Order").select_option("use")
    wait_for_list(page, by_use[:10])
    page.locator(".dk-list a").first.click()
    opened(page, by_use[0])
    previous, following = (page.get_by_role("button", name=name) for name in ("Previous", "Next"))
    page.wait_for_function("b => b.disabled", arg=previous.element_handle())
    following.focus()
    for atom in by_use[1:3]:  # with the keyboard; the button keeps the focus
        page.keyboard.press("Enter")
        opened(page, atom)
    previous.click()
    opened(page, by_use[1])
    page.go_back()
    opened(page, by_use[2])
    page.go_back()
    opened(page, by_use[1])
    page.go_forward()
    opened(page, by_use[2])
    # the list shows which one is open
    wanted, end = [False, False, True, False], time.monotonic() + WAIT / 1000
    while open_in_list(page)[:4] != wanted and time.monotonic() < end:
        page.wait_for_timeout(50)  # the heading comes before the list
    assert open_in_list(page)[:4] == wanted


def test_orders_are_those_that_are_known(visit, view):
    page = visit("#atoms")
    page.get_by_label("Order").wait_for()
    orders = page.get_by_label("Order").locator("option").all_inner_texts()
    assert "correlation" in orders and "held-out correlation" not in orders  # there are no scores


@pytest.mark.parametrize("address", ["?atom=7", "#atom=7", "?atom=3#atom=7"])
def test_links_to_an_atom(visit, view, address):
    page = visit(address)
    opened(page, 7)
    title = page.locator("h2.dk-atom").inner_text()
    assert title == view.title(7).capitalize() or title.lower() == view.title(7).lower()
    near = view.neighbours(7, 8).by_cosine.atom[0]
    page.locator(f".dk-columns a[href='#atom={near}']").first.click()
    opened(page, near)


@pytest.mark.parametrize(
    ("address", "said"),
    [
        ("?atom=4000", "No atom goes with “4000”."),
        ("#atom=x<b>", "No atom goes with “x<b>”."),
        ("#no=1", "fit"),
    ],
)
def test_wrong_links(visit, address, said):
    visit(address).locator("main").get_by_text(said, exact=True).first.wait_for()


def test_images_and_hostile_captions(visit, view):
    atom = int(view.find("fish").atom[0])
    page = visit(f"?atom={atom}")
    opened(page, atom)
    top = page.locator("[data-panel=top] .dk-sample")
    rows, values = view.top_rows(atom, view.sides[atom], 12)
    assert top.count() == len(rows)
    assert top.first.locator(".dk-value").inner_text().split("\n") == [f"{values[0]:+.3g}", f"#{rows[0]}"]
    assert top.first.locator("img").evaluate("image => image.naturalWidth") > 32
    # every caption in which somebody says <script>: shown as it was written
    top.first.locator("summary").click()
    assert HOSTILE in top.first.inner_text().replace("\n", " ")
    assert page.locator("[data-panel=top] mark").first.inner_text().lower() in {"fish", "fishes"}
    page.locator("[data-panel=controls] .dk-sample").first.wait_for()
    assert page.locator("[data-panel=controls] .dk-sample").count() == 6
    assert page.evaluate("window.hacked") is None
    assert page.locator("img[src=x]").count() == 0


def test_graph_around_a_word(visit, view):
    page = visit("#graph=fish")
    wait_for_title(page, "Around word fish")
    field = page.get_by_label("Around a word or an atom")
    assert field.input_value() == "fish"
    field.fill("qqqq")
    page.keyboard.press("Enter")
    page.get_by_text("No word or atom “qqqq” is in the graph.").wait_for()
    page.get_by_role("button", name="Whole graph").click()
    wait_for_title(page, f"Words and atoms: {view.graph.number_of_edges():,} links")
    page.get_by_label("Layout").select_option("spectral")
    page.get_by_label("Without links").select_option("left out")
    field.fill("7")
    page.keyboard.press("Enter")
    wait_for_title(page, "Around atom 7")
    page.wait_for_url(re.compile("#graph=7$"))  # the field may be read for a picture before the address


POINT = """([start, column, value]) => {
    const document_ = window.Bokeh && Bokeh.documents[0];
    if (!document_) return null;
    for (const figure of document_._all_models.values()) {
        if (figure.type != 'Figure' || !String(figure.title.text).startsWith(start)) continue;
        const view = Bokeh.index.find_one(figure);
        for (const renderer of view ? figure.renderers : []) {
            const data = renderer.data_source.data;
            if (!(column in data) || renderer.glyph.type != 'Scatter') continue;
            const place = [...data[column]].indexOf(value);
            if (place < 0) continue;
            view.el.scrollIntoView({block: "center"});
            const box = view.canvas_view.el.getBoundingClientRect();
            const x = view.frame.x_scale.compute(data[renderer.glyph.x.field][place]);
            const y = view.frame.y_scale.compute(data[renderer.glyph.y.field][place]);
            if (box.width && isFinite(x)) return {x: box.x + x, y: box.y + y};
        }
    }
    return null;
}"""
"""Where on the page the point is whose ``column`` has a ``value``, in the picture of a title."""


def click_point(page, start, column, value, happens):
    """Click on a point of a picture, once it is drawn and the page lies still, until ``happens(page, WAIT)``.

    On a busy machine what is loaded above moves it between the look and the click, which then hits nothing.
    """
    from playwright.sync_api import TimeoutError

    wait_for_title(page, start)
    for wait in (WAIT / 6, WAIT / 6, WAIT):
        where, before, end = None, None, time.monotonic() + WAIT / 1000
        while (where is None or where != before) and time.monotonic() < end:
            page.wait_for_timeout(200)
            before, where = where, page.evaluate(POINT, [start, column, value])
        page.mouse.click(where["x"], where["y"])
        try:
            return happens(page, wait)
        except TimeoutError:
            if wait == WAIT:
                raise
            if not any(title.startswith(start) for title in titles(page)):  # it is on its way
                return happens(page, WAIT)


def test_clicks_in_pictures_open_words_and_atoms(visit, view):
    page = visit("#graph=fish")
    atom = next(node[1] for node in view.graph["word", "fish"])
    word = next(node[1] for node in view.graph["atom", atom] if node[1] != "fish")
    around = f"Around word {word}"
    click_point(
        page, "Around word fish", "label", word, lambda page, wait: wait_for_title(page, around, wait)
    )
    assert page.url.endswith(f"#graph={word}")
    click_point(page, around, "atom", atom, lambda page, wait: opened(page, atom, wait))
    near = next(other[1] for other in view.graph["word", word] if other[1] != atom)
    click_point(page, f"Around atom {atom}", "atom", near, lambda page, wait: opened(page, near, wait))
    far = next(other for other in range(M) if other not in (atom, near))
    another = f"h2.dk-atom:not([data-atom='{near}'])"  # dots may hide one another
    click_point(
        page, f"Map of atoms: atom {near}", "atom", far,
        lambda page, wait: page.locator(another).wait_for(timeout=wait),
    )  # fmt: skip


def test_overview_shows_all_pictures(visit, view):
    page = visit()
    page.get_by_role("heading", name=view.name, level=2).wait_for()
    assert f"{N:,}" in page.locator("table:visible").first.inner_text()
    for title in ("Error while learning", "Use of atoms by rank", "Coherence", "Words and atoms:"):
        wait_for_title(page, title)
    page.get_by_role("link", name="Atoms", exact=True).focus()
    page.keyboard.press("Enter")
    page.locator("h2.dk-atom").wait_for()
    page.get_by_role("link", name="Overview").click()
    page.get_by_role("heading", name=view.name, level=2).wait_for()


def test_compare_pairs_atoms_with_their_copies(visit, view, order):
    partner = {int(atom): place for place, atom in enumerate(order)}
    page = visit("#compare=9")
    page.get_by_text(
        f"Atom 9 and atom {partner[9]}: cosine {-1 if partner[9] % 2 == 0 else 1:.2f}"
    ).wait_for()
    page.get_by_text(f"{M} and {M} atoms, {M} pairs").wait_for()
    assert page.locator("h2.dk-atom").evaluate_all("all => all.map(h => Number(h.dataset.atom))") == [
        9,
        partner[9],
    ]
    page.get_by_label("With a word").fill("fish")
    first = page.locator(".dk-list a").first
    wanted = [atom for atom in range(M) if "fish" in ", ".join(view.names[atom])]
    page.get_by_text(f"{len(wanted)} pairs", exact=True).wait_for()
    assert sorted(listed(page)) == wanted
    atom = listed(page)[0]
    first.click()
    page.get_by_text(f"Atom {atom} and atom {partner[atom]}").wait_for()


def test_narrow_and_wide_windows(visit):
    for width in (390, 1300):
        page = visit("?atom=7", width=width)
        opened(page, 7)
        wait_for_title(page, "Map of atoms: atom 7")
        assert page.evaluate("document.documentElement.scrollWidth") <= width
        field, title = (
            page.locator(which).bounding_box() for which in ("input[type=text]:visible", "h2.dk-atom")
        )
        if width < 900:
            assert title["y"] > field["y"] + field["height"] and title["x"] < 40  # below
        else:
            assert title["x"] > field["x"] + field["width"]  # beside


def test_a_bare_result(browser, visit, paths):
    result = daskksvd.load(paths["result"])
    with dashboard(result, port=0) as running:
        page = visit("?atom=5", url=running.url)
        opened(page, 5)
        assert page.locator("h2.dk-atom").inner_text() == "Atom 5"
        page.get_by_text("There are no codes").wait_for()
        for screen, said in (("Graph", "daskksvd label"), ("Compare", "--compare")):
            page.get_by_role("link", name=screen, exact=True).click()
            page.get_by_text(said).wait_for()


# ------------------------------------------------------------- without a browser


def test_served_on_this_machine_only_until_stopped(view):
    with dashboard(view, port=0) as running:
        port = int(re.fullmatch(r"http://localhost:(\d+)/", running.url)[1])
        assert b"fit: daskksvd" in urllib.request.urlopen(running.url).read()
        with pytest.raises(ValueError, match=f"port={port}; 127.0.0.1 cannot be listened on"):
            dashboard(view, port=port)
        with dashboard(view) as another:  # 5006, or any
            assert another.url != running.url
    with pytest.raises(OSError):
        urllib.request.urlopen(running.url, timeout=5)


@pytest.mark.parametrize("port", [-1, 65536, "80", True])
def test_wrong_ports(view, port):
    with pytest.raises(ValueError, match="it must be a number from 0 to 65535"):
        dashboard(view, port=port)


def test_wrong_sources(view, paths):
    with pytest.raises(ValueError, match="codes was given with a View"):
        dashboard(view, codes=paths["codes"])
    with pytest.raises(FileNotFoundError, match=r"nothing\.zarr"):
        dashboard("nothing.zarr")


def test_command_refuses():
    result = CliRunner().invoke(cli.main, ["view", "nothing.zarr"])
    assert result.exit_code == cli.REFUSED and "nothing.zarr" in result.output


def test_command_serves_until_interrupted(paths):
    command = [sys.executable, "-m", "daskksvd", "view", paths["result"], "--captions", paths["captions"]]
    with subprocess.Popen(
        [*command, "--port", "0", "--no-browser"], text=True,
        stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
        env={**os.environ, "PYTHONUNBUFFERED": "1"},
        # where the tests run in the background it may be ignored, which children inherit
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.default_int_handler),
    ) as process:  # fmt: skip
        line = process.stdout.readline()
        assert "Stop with Ctrl-C" in line, line + process.stdout.read()
        assert urllib.request.urlopen(line.split()[0]).status == 200
        process.send_signal(signal.SIGINT)
        rest = process.stdout.read()
    assert process.returncode == 0 and "Traceback" not in rest, rest
