"""Code on the pages of the documentation does what they say; links lead somewhere; no name is left out."""

import importlib
import pathlib
import re
import types

import pytest
from click.testing import CliRunner
from pages import commands, run_python

from daskksvd import cli

ROOT = pathlib.Path(__file__).parents[1]
DOCS = ROOT / "ci" / "docs"
PAGES = [
    DOCS / f"{name}.md"
    for name in (
        "start", "cluster", "results", "choose", "coming-from", "own-vectors", "images", "patches", "names",
        "text-encoders", "joint", "autoencoders", "turn", "uses", "look", "command-line", "how-it-learns",
        "how-sure", "speed", "house", "stores", "index",
    )
]  # fmt: skip
"""In the order in which their code goes on from that of others."""


def test_all_pages_are_run():
    assert set(PAGES) == set(DOCS.glob("*.md"))


@pytest.fixture(scope="module")
def ran(tmp_path_factory):
    """Where the code of all pages was run, and what it printed and was to print by page."""
    folder = tmp_path_factory.mktemp("docs")
    return folder, *run_python(PAGES, folder)


@pytest.mark.parametrize("number", range(len(PAGES)), ids=[page.stem for page in PAGES])
def test_pages_say_what_is_printed(number, ran):
    _, printed, shown = ran
    assert printed[number] == shown[number]


@pytest.mark.parametrize(
    "page", [page for page in PAGES if commands(page, ("embed", "view"))], ids=lambda p: p.stem
)
def test_commands_run(page, ran, monkeypatch):
    """On what the code has left. What fetches a model or data is not run here."""
    monkeypatch.chdir(ran[0])
    for arguments in commands(page, ("embed", "view")):
        run = CliRunner().invoke(cli.main, arguments, catch_exceptions=False)
        assert run.exit_code == 0, (arguments, run.output)


@pytest.mark.parametrize("page", [*PAGES, ROOT / "README.md"], ids=lambda page: page.stem)
def test_links_and_files_are_there(page):
    text = page.read_text(encoding="utf-8")
    for target in re.findall(r"\]\((?!https?:)([^)#]+)\)", text):
        target = target.replace("tutorials/", "../../notebooks/") if page.parent == DOCS else target
        assert (page.parent / target).exists(), target
    for name in re.findall(r"(?:`|python |bash )((?:daskksvd|benchmarks|ci|notebooks|tests)/[\w./-]+)", text):
        assert (ROOT / name.rstrip(".")).exists(), name


def public_names():
    for room in ("", ".captions", ".datasets", ".evaluation", ".joint", ".naming", ".view", ".view.plots"):
        module = importlib.import_module(f"daskksvd{room}")
        for name in module.__all__:
            value = getattr(module, name)
            if not isinstance(value, types.ModuleType):
                yield name, value


def test_every_public_name_is_shown():
    """In an example of its own, on a page, or in a notebook."""
    places = [*DOCS.glob("*.md"), ROOT / "README.md", *(ROOT / "notebooks").glob("*.ipynb")]
    shown = set(re.findall(r"\w+", " ".join(place.read_text(encoding="utf-8") for place in places)))
    without = [
        name for name, value in public_names() if name not in shown and ">>>" not in (value.__doc__ or "")
    ]
    assert not without
