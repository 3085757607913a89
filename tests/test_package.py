"""What people expect of a package: versions, logs, completion, and objects that notebooks show."""

import io
import json
import logging
import re
from html.parser import HTMLParser

import numpy as np
import pandas as pd
import pytest
from click.testing import CliRunner
from PIL import Image
from small import N, fit, samples
from small_texts import encode

import daskksvd
from daskksvd import cards, versions
from daskksvd.cli import main
from daskksvd.tracking import EventLogger, WaitingForWorkers, WorkersReturned

# ------------------------------------------------------------------- versions


def test_versions_are_those_of_the_packages(capsys):
    facts = daskksvd.show_versions(as_dict=True)
    assert capsys.readouterr().out == ""
    assert facts["daskksvd"] == daskksvd.__version__ and json.loads(json.dumps(facts)) == facts
    assert 0 < facts["memory_free_bytes"] <= facts["memory_bytes"] and facts["cores"] >= 1
    assert any("openblas" in line or "mkl" in line for line in facts["blas"])
    daskksvd.show_versions()
    text = capsys.readouterr().out
    assert re.search(rf"^daskksvd +{re.escape(daskksvd.__version__)}$", text, re.MULTILINE)


def test_versions_and_extras_in_words(monkeypatch):
    """Extras that name others have their packages, and the text says what is lacking."""
    lines = [
        "numpy>=1.26", "dask[array]>=2025.4", "absent-one>=1; extra == 'a'", "numpy; extra == 'b'",
        "daskksvd[a,b]; extra == 'c'", "pandas>=2; extra == 'c'",
    ]  # fmt: skip
    monkeypatch.setattr(versions.importlib.metadata, "requires", lambda name: lines)
    needs, extras = versions.required()
    assert needs == ["dask", "numpy"]
    assert extras == {"a": ["absent-one"], "b": ["numpy"], "c": ["absent-one", "numpy", "pandas"]}
    facts = daskksvd.show_versions(as_dict=True)
    assert facts["extras"]["c"] == {"absent-one": None, "numpy": np.__version__, "pandas": pd.__version__}
    text = versions.versions_text(facts)
    assert re.search(r"^extras +b$", text, re.MULTILINE) and "not c, without absent-one" in text


def test_a_package_on_the_path_only_has_versions(monkeypatch):
    def missing(name):
        raise versions.importlib.metadata.PackageNotFoundError(name)

    monkeypatch.setattr(versions.importlib.metadata, "requires", missing)
    assert versions.required() == ([], {})
    assert "packages" not in versions.versions_text(daskksvd.show_versions(as_dict=True))


def test_the_command_says_the_same():
    done = CliRunner().invoke(main, ["versions", "--json"])
    assert done.exit_code == 0
    clock = ("memory_free_bytes", "blas")  # other tests hold BLAS's threads
    here = daskksvd.show_versions(as_dict=True)
    assert [json.loads(done.output)[name] for name in here if name not in clock] == [
        value for name, value in here.items() if name not in clock
    ]
    text = CliRunner().invoke(main, ["versions"]).output
    assert "processor" in text and daskksvd.__version__ in text


# ----------------------------------------------------------------- completion


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_scripts_for_shells(shell):
    done = CliRunner().invoke(main, ["completion", shell])
    assert done.exit_code == 0, done.output
    assert f"_DASKKSVD_COMPLETE={shell}_complete" in done.output and "daskksvd" in done.output


@pytest.mark.parametrize(
    "words, found",
    [("daskksvd emb", {"embed", "embed-captions"}), ("daskksvd fit --n-comp", {"--n-components"})],
)
def test_what_the_script_asks_for_is_completed(words, found, monkeypatch, capsys):
    for name, value in {
        "_DASKKSVD_COMPLETE": "bash_complete", "COMP_WORDS": words, "COMP_CWORD": str(words.count(" ")),
    }.items():  # fmt: skip
        monkeypatch.setenv(name, value)
    with pytest.raises(SystemExit):
        main.main(args=[], prog_name="daskksvd")
    assert {line.rpartition(",")[2] for line in capsys.readouterr().out.split()} == found


# -------------------------------------------------------------------- logging


def test_a_fit_logs_its_passes(caplog, tmp_path):
    with caplog.at_level(logging.INFO, logger="daskksvd"):
        result = fit(samples(), checkpoint=tmp_path / "c", max_passes=2)
    assert {record.name for record in caplog.records} == {"daskksvd.fit"}
    assert {record.levelname for record in caplog.records} == {"INFO"}
    passes = [record.getMessage() for record in caplog.records if "took" in record.msg]
    assert len(passes) == 2
    assert f"relative error {float(result.history.relative_error[-1]):.4f}" in passes[-1]
    assert any("checkpoint written" in record.msg for record in caplog.records)
    assert caplog.messages[-1].startswith("fit ended by max_passes after 2 passes")


def test_rounds_are_logged_where_asked_for(caplog):
    with caplog.at_level(logging.DEBUG, logger="daskksvd"):
        result = fit(samples(), max_passes=1)
    rounds = [record for record in caplog.records if ", round " in record.getMessage()]
    assert len(rounds) == result.history.sizes["wave"] and {one.levelname for one in rounds} == {"DEBUG"}
    replaced = [record.args[1] for record in caplog.records if "atoms replaced:" in record.msg]
    assert sum(replaced) == int(result.history.replaced_atoms.sum())


def test_a_wait_is_logged_once(caplog):
    log = EventLogger()
    with caplog.at_level(logging.INFO, logger="daskksvd"):
        for seconds in (3.0, 4.0, 5.0):
            log(WaitingForWorkers("workers: there are none", seconds, None))
        log(WorkersReturned(6.0))
        log(WaitingForWorkers("workers: there are none", 3.0, None))
    assert [message.split()[0] for message in caplog.messages] == ["waiting", "workers", "waiting"]


def test_nothing_is_printed_by_default(capfd):
    logging.getLogger("daskksvd").warning("of which nobody asked to hear")
    fit(samples(), max_passes=1)
    assert capfd.readouterr() == ("", "")


# ---------------------------------------------------------------------- cards


class Text(HTMLParser):
    """Text of HTML, and whether every element is closed."""

    def __init__(self, html):
        super().__init__()
        self.open, self.found = [], []
        self.feed(html)
        self.close()
        assert not self.open
        self.text = " ".join(self.found)

    def handle_starttag(self, tag, attrs):
        self.open.append(tag)

    def handle_startendtag(self, tag, attrs):
        pass

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        if self.open[-1] != "style":
            self.found.append(data)


def test_a_result_is_shown():
    result = fit(samples(), whiten=0.25)
    html = result._repr_html_()
    text = Text(html).text
    assert "20 atoms of 8 features, float32" in text and "3 atoms (omp)" in text
    assert "centred, whitened" in text and f"{float(result.history.relative_error[-1]):.4f}" in text
    assert html.count("<polyline") == 1 and "n_nonzero_coefs" in text


def test_a_plan_is_shown():
    plan = daskksvd.plan((2_000, 8), n_components=20, n_nonzero_coefs=3, n_threads=1)
    words = Text(plan._repr_html_()).text.split()
    assert set(str(plan).split()) <= {*words, "Plan"}
    assert "survey" in words


def test_embeddings_and_encodings_are_shown(tmp_path):
    scenes = daskksvd.datasets.make_scenes(8, random_state=0)
    images = [(scenes[i].image, f"a <b>dog</b> & {i}") for i in range(8)]
    store = daskksvd.embed(images, tmp_path / "<i>", model="scenes", thumbnails=16)
    text = Text(store._repr_html_()).text
    files = store.thumbnail_files([5, 0, 5])
    for file, row in zip(files, (5, 0, 5), strict=True):
        assert Image.open(io.BytesIO(file)).tobytes() == store.thumbnail(row).tobytes()
    assert "8 x 128 float16" in text and "8 seen, 8 stored, 0 rejected" in text and "<i>" in text
    encodings = daskksvd.embed_captions(
        pd.DataFrame({"row": range(N), "caption": "a dog"}), tmp_path / "e.zarr", model=encode, n=N
    )
    assert f"{N} seen, {N} encoded" in Text(encodings._repr_html_()).text


def test_what_is_shown_is_escaped():
    html = cards.card("<v>", {"<w>": "<x> & <y>", "left out": None}, fallback='"<z>')
    assert not re.search(r"<[v-z]>", html) and "left out" not in html
    assert Text(html).text.split() == ["<v>", "<w>", "<x>", "&", "<y>"]
    assert cards.curve([1.0]) == cards.curve([float("nan")] * 3) == cards.curve([2.0, 2.0]) == ""
    assert cards.details("settings", {}) == ""


# ---------------------------------------------------------------- distributions


def test_what_distributions_must_hold():
    import distributions

    expected = distributions.files_of_package(distributions.ROOT)
    for name in ("py.typed", "__init__.pyi", "view/templates/report.js", "datasets/scenes/model/config.json"):
        assert f"daskksvd/{name}" in expected
    whole = {*expected, "daskksvd-0.1.0.dist-info/METADATA", "daskksvd-0.1.0.dist-info/licenses/LICENSE"}
    assert distributions.check_wheel(whole, expected) == []
    wrong = whole - {"daskksvd/py.typed"} | {"tests/test_fit.py"}
    assert distributions.check_wheel(wrong, expected) == [
        "the wheel lacks daskksvd/py.typed",
        "the wheel has tests/test_fit.py, which is not of the package",
    ]
    packed = {f"daskksvd-0.1.0/{name}" for name in (*expected, *distributions.WITH_SOURCE)}
    assert distributions.check_source(packed, expected) == []
    assert distributions.check_source(packed - {"daskksvd-0.1.0/LICENSE"}, expected) == [
        "the source lacks LICENSE"
    ]
