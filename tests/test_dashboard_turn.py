"""An atom turned in the dashboard, by Chromium, and what is near a sample before and after."""

import html
import re

import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal
from small_view import D, M, N, scenes

from daskksvd.evaluation import turned_texts
from daskksvd.view.data.opening import open_view
from daskksvd.view.data.turning import Space, turn

pytest.importorskip("panel", reason='the dashboard needs Panel: pip install "daskksvd[view]"')

from daskksvd.view.server.turn import Turn


def encode(words):
    """A direction for every word."""
    return np.array([np.random.default_rng(sum(map(ord, word))).standard_normal(D) for word in words])


@pytest.fixture(scope="module")
def samples(paths):
    return np.load(paths["samples"])


@pytest.fixture(scope="module")
def turning(paths, samples):
    view = open_view(paths["result"], captions=paths["captions"], images=scenes())
    view.space = Space(samples, encode)
    return view


def nearest(samples, vector, row):
    centred, vector = samples - samples.mean(axis=0), vector - samples.mean(axis=0)
    cosines = centred @ vector / np.linalg.norm(centred, axis=1) / np.linalg.norm(vector)
    cosines[row] = -np.inf
    return np.argsort(-cosines, kind="stable")[:8], np.sort(cosines)[::-1][:8]


def test_what_is_near_before_and_after(turning, samples):
    atom, result = 7, turning.result
    row = int(turning.top_rows(atom, int(turning.sides[atom]), 1)[0][0])
    found = turn(turning, atom, row, 0.0)
    after = result.intervene(samples[row : row + 1], {atom: 0.0})
    codes = result.encode(samples[row : row + 1]).compute(scheduler="synchronous").todense()
    assert_allclose(found.coefficient, codes[0, atom], rtol=1e-5)
    length = np.linalg.norm(samples[row] - samples.mean(axis=0))
    assert_allclose(found.share, np.linalg.norm(after - samples[row]) / length, rtol=1e-4)
    own, *panels = found.panels
    assert [sample.row for sample in own.samples] == [row] and len(own.samples[0].captions) > 1
    for panel, vector in zip(panels, (samples[row], after[0]), strict=True):
        rows, cosines = nearest(samples, vector, row)
        assert_array_equal([sample.row for sample in panel.samples], rows)
        assert_allclose([sample.value for sample in panel.samples], cosines, atol=1e-5)
    words = turning.words.index.tolist()
    assert found.words.equals(turned_texts(samples[row : row + 1], after, words, encode(words), top=8))


@pytest.mark.parametrize(
    "error, words", [(ValueError("it reads no texts"), "it reads no texts"), (KeyError("x"), "KeyError.*x")]
)
def test_samples_are_near_where_the_encoder_fails(turning, samples, error, words):
    """They need no words."""

    def fails(words):
        raise error

    plain, turning.space = turning.space, Space(samples, fails)
    try:
        found, screen = turn(turning, 7, 3, 0.0), Turn(turning, lambda *to: None)
        screen.show("7-3")
    finally:
        turning.space = plain
    assert found.words is None and re.search(words, found.trouble)
    assert [len(panel.samples) for panel in found.panels] == [1, 8, 8]
    assert f"Words were not looked for: {found.trouble}." in html.unescape(screen.said.object)
    assert "Nearest after" in screen.pictures.object and not screen.words.visible


def test_refusals(turning, view):
    with pytest.raises(ValueError, match="there are no vectors of the samples"):
        turn(view, 0, 0, 0.0)
    with pytest.raises(ValueError, match=f"row={N}; it must be a sample from 0 to {N - 1}"):
        turn(turning, 0, N, 0.0)
    with pytest.raises(ValueError, match=f"it must be an atom from 0 to {M - 1}"):
        turn(turning, M, 0, 0.0)


def test_a_sample_that_is_no_number_is_none(turning):
    """Digits that are no numbers, and numbers beyond any: the strongest sample, as where none is named."""
    screen = Turn(turning, lambda *where: None)
    screen.show("3")
    strongest = screen.shown
    for row in ("²", "9" * 5_000, "two", "-1", str(N)):
        screen.shown = None
        screen.show(f"3-{row}")
        assert screen.shown == strongest == (3, strongest[1])


def test_an_atom_is_turned_in_the_browser(browser, turning, view):
    from daskksvd.view.server.app import dashboard

    atom = 7
    row = int(turning.top_rows(atom, int(turning.sides[atom]), 1)[0][0])
    found = turn(turning, atom, row, 0.0)
    with dashboard(turning, port=0) as running:
        page = browser.new_page(viewport={"width": 1300, "height": 900})
        page.set_default_timeout(60_000)
        wrong = []
        page.on("pageerror", lambda error: wrong.append(str(error)))
        page.goto(f"{running.url}#atom={atom}")
        page.get_by_role("link", name="Turn it").click()  # from the page of the atom
        page.locator(f"h2[data-turned='{atom}']").wait_for()
        page.get_by_text(f"Sample {row} has the coefficient {found.coefficient:+.3g}; set to +0").wait_for()
        shown = lambda key: [  # noqa: E731
            text.split("#")[1] for text in page.locator(f"[data-panel={key}] .dk-value").all_inner_texts()
        ]
        wanted = {panel.key: [str(sample.row) for sample in panel.samples] for panel in found.panels}
        assert {key: shown(key) for key in wanted} == wanted
        cells = page.locator(".dk-words-turned tbody tr").first.locator("td").all_inner_texts()
        assert [cells[0], cells[2]] == found.words[["before", "after"]].iloc[0].tolist()

        value = -2 * found.coefficient
        field = page.get_by_label("Coefficient")
        field.fill(f"{value:.4f}")
        field.press("Enter")
        page.get_by_text(f"set to {float(f'{value:.4f}'):+.3g}").wait_for()
        again = turn(turning, atom, row, float(f"{value:.4f}"))
        assert shown("after") == [str(sample.row) for sample in again.panels[2].samples]
        page.get_by_label("Sample").fill("3")
        page.get_by_label("Sample").press("Enter")
        page.wait_for_function("location.hash === '#turn=7-3'")
        page.get_by_text("Sample 3 has the coefficient").wait_for()
        page.close()
        assert wrong == []
