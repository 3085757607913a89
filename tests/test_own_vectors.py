"""Vectors and captions of one's own: captions in the order of the vectors, and every "Next" leads on."""

import json
import logging
import re
import shlex
import warnings

import numpy as np
import pandas as pd
import pytest
from bokeh.server.connection import ServerConnection
from click.testing import CliRunner
from small_sources import png
from tornado.websocket import WebSocketClosedError

import daskksvd
from daskksvd import cli
from daskksvd.captions.by_sample import open_captions
from daskksvd.view import open_view
from daskksvd.view.server.app import beside, not_of_leaving

N = 240
WORDS = ["dog", "cat", "boat", "tree"]
FORMS = {
    "names.csv": lambda table: table.explode("captions").rename(columns={"captions": "caption"}),
    "names.jsonl": lambda table: table,
    "names.parquet": lambda table: table,
    "lines.csv": lambda table: pd.DataFrame({"caption": table.captions.str.join(" ")}),
    "lines.parquet": lambda table: table[["captions"]],
    "rows.csv": lambda table: (
        table.assign(row=range(N)).explode("captions").rename(columns={"captions": "caption"}).iloc[::-1]
    ),
}


def write(frame, path):
    if path.suffix == ".parquet":
        frame.to_parquet(path)
    elif path.suffix == ".jsonl":
        frame.to_json(path, orient="records", lines=True)
    else:
        frame.to_csv(path, index=False)


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """Vectors of two atoms each, images, and captions that say which, in files of every form."""
    folder = tmp_path_factory.mktemp("own")
    rng = np.random.default_rng(0)
    atoms = np.linalg.qr(rng.standard_normal((8, 8)))[0][:4]
    used = np.argsort(rng.random((N, 4)), axis=1)[:, :2]
    codes = np.zeros((N, 4))
    np.put_along_axis(codes, used, rng.uniform(1, 2, (N, 2)), axis=1)
    np.save(folder / "vectors.npy", codes @ atoms + 0.01 * rng.standard_normal((N, 8)))
    (folder / "photos").mkdir()
    names = [f"{number:03d}.png" for number in rng.permutation(N)]  # their order is no alphabet's
    for number, name in enumerate(names):
        (folder / "photos" / name).write_bytes(png(number % 200))
    table = pd.DataFrame({"file": names, "captions": [[f"a {WORDS[a]}", f"the {WORDS[b]}"] for a, b in used]})
    for name, form in FORMS.items():
        write(form(table), folder / name)
    fitted = daskksvd.fit(
        folder / "vectors.npy", n_components=4, n_nonzero_coefs=2, init=atoms, random_state=0
    )
    fitted.save(folder / "own.zarr")
    fitted.write_codes(folder / "vectors.npy", folder / "own-codes.zarr")
    return folder


def run(folder, *arguments, code=0):
    found = CliRunner().invoke(cli.main, [str(argument) for argument in arguments], catch_exceptions=False)
    assert found.exit_code == code, found.output
    return found.output


@pytest.mark.parametrize("name", FORMS)
def test_captions_of_every_form_are_of_the_same_rows(folder, name):
    vocabulary = WORDS if name != "lines.parquet" else None
    labels = daskksvd.label(folder / "own-codes.zarr", folder / name, vocabulary=vocabulary, min_df=2)
    expected = daskksvd.label(folder / "own-codes.zarr", folder / "rows.csv", vocabulary=vocabulary, min_df=2)
    assert labels.attrs["captions_by"] == ("row" if name == "rows.csv" else "order")
    assert labels.word.equals(expected.word)
    np.testing.assert_array_equal(labels.joint, expected.joint)


def test_frames_are_taken_in_order_too(folder):
    frame = pd.read_json(folder / "names.jsonl", lines=True)
    for table in (frame, frame.explode("captions"), frame[["captions"]]):
        opened = open_captions(table, n=N)
        assert opened.by == "order"
        assert opened.in_memory().sample.tolist() == np.repeat(range(N), 2).tolist()
    assert open_captions(frame, n=N).names == frame.file.tolist()
    assert open_captions(frame[["captions"]], n=N).names is None


def test_other_numbers_of_images_or_lines_are_refused(folder, tmp_path):
    short = pd.read_csv(folder / "names.csv").iloc[:-2]
    short.to_csv(tmp_path / "short.csv", index=False)
    with pytest.raises(ValueError, match=r"names 239 images and no rows, and there are 240 rows.*embeddings"):
        daskksvd.label(folder / "own-codes.zarr", tmp_path / "short.csv")
    short[["caption"]].iloc[:7].to_csv(tmp_path / "lines.csv", index=False)
    with pytest.raises(ValueError, match="has 7 lines and no rows, and there are 240 rows"):
        daskksvd.label(folder / "own-codes.zarr", tmp_path / "lines.csv")
    with pytest.raises(ValueError, match="the columns a, b; it must have a column row or sample"):
        write(pd.DataFrame({"a": [1], "b": [2]}), tmp_path / "none.csv")
        daskksvd.label(folder / "own-codes.zarr", tmp_path / "none.csv")


def test_images_are_those_that_captions_name(folder):
    view = open_view(folder / "own.zarr", captions=folder / "names.csv", images=folder / "photos")
    names = pd.read_json(folder / "names.jsonl", lines=True).file
    for row in (0, 17, N - 1):
        image, found = view.images.get(row)
        assert found and view.images.sources[row] == names[row]
        assert image.tobytes() == _png_of(folder, names[row])
    assert open_view(folder / "own.zarr", captions=folder / "rows.csv", images=folder / "photos").images.get(
        17
    )[1]


def _png_of(folder, name):
    from PIL import Image

    return Image.open(folder / "photos" / name).convert("RGB").tobytes()


@pytest.mark.parametrize("key", ["row", "sample"])
@pytest.mark.parametrize("name", ["named.parquet", "named.csv", None])
def test_images_are_found_where_captions_name_them_beside_rows(folder, tmp_path, key, name):
    table = FORMS["rows.csv"](pd.read_parquet(folder / "names.parquet")).rename(columns={"row": key})
    if name is not None:
        write(table, tmp_path / name)
    view = open_view(
        folder / "own.zarr", captions=table if name is None else tmp_path / name, images=folder / "photos"
    )
    first = open_view(folder / "own.zarr", captions=folder / "names.csv", images=folder / "photos")
    for row in (0, 17, N - 1):
        assert view.images_of([row])[0][1]
        assert view.image(row).tobytes() == first.image(row).tobytes()
    numbered = table.drop(columns="file").assign(id=range(len(table)))  # numbers that name no image
    with pytest.raises(ValueError, match="that are in the folder"):
        open_view(folder / "own.zarr", captions=numbered, images=folder / "photos")
    far = pd.concat([table, table.head(1).assign(**{key: 10**12}), table.head(1).assign(**{key: 0})])
    with pytest.warns(UserWarning, match="several images for 1 rows, such as 0; the first counts"):
        wide = open_view(folder / "own.zarr", captions=far.assign(id=7), images=folder / "photos")
    assert wide.image(0).tobytes() == first.image(0).tobytes() and not wide.images.get(10**9)[1]
    bare = table[[key, "caption"]]
    with pytest.raises(ValueError, match="give captions, in one table, a column file"):
        open_view(folder / "own.zarr", captions=bare, images=folder / "photos")


def test_a_second_result_shows_the_same_images(folder):
    view = open_view(
        folder / "own.zarr",
        codes=folder / "own-codes.zarr",
        captions=folder / "names.csv",
        images=folder / "photos",
    )
    alone = view.result.first(3)
    assert beside(view, alone).images is None  # how many samples it has is not known
    alone.write_codes(np.load(folder / "vectors.npy"), folder / "few-codes.zarr")
    alone.save(folder / "few.zarr")
    other = beside(view, folder / "few.zarr")
    assert other.n == N and other.image(5).tobytes() == view.image(5).tobytes()
    assert other.captions_of([5]) == view.captions_of([5])


def test_what_is_no_array_is_told_what_to_do(folder, tmp_path):
    for path, advice in ((folder / "names.csv", "numpy.save"), (folder / "photos", "daskksvd embed")):
        with pytest.raises(ValueError, match=f"no Zarr store and no .npy file; .*{advice}"):
            daskksvd.fit(path, n_components=4, n_nonzero_coefs=1)
    np.save(tmp_path / "rows.npy", np.ones((3, 2)))
    with pytest.raises(ValueError, match="is no Zarr group, and not a result of daskksvd"):
        daskksvd.load(tmp_path / "rows.npy")


@pytest.mark.parametrize("codes", [None, "codes.zarr", "elsewhere.zarr"])
def test_every_next_leads_on(folder, tmp_path, monkeypatch, codes):
    """What each command advises is what comes next, and works as it stands."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "vectors.npy").symlink_to(folder / "vectors.npy")
    (tmp_path / "captions.csv").symlink_to(folder / "names.csv")

    def advised(output, verb, **values):
        [line] = [line for line in output.splitlines() if line.startswith(f"  daskksvd {verb} ")]
        line = re.sub(r"\b(CAPTIONS|WORD|NUMBER|FOLDER)\b", lambda found: values[found[0]], line)
        return shlex.split(line)[1:]

    output = run(folder, "fit", "vectors.npy", "-m", "4", "-k", "2", "-o", "one.zarr", "--random-state", "0")
    more = () if codes is None else ("--out", codes)
    output = run(folder, *advised(output, "encode"), *more)
    output = run(folder, *advised(output, "label", CAPTIONS="captions.csv"), "--vocabulary", _words(tmp_path))
    assert "in the order of the samples" in output
    run(folder, *advised(output, "words", WORD="dog"))
    run(folder, *advised(output, "atom", NUMBER="1"))
    command = advised(output, "view", FOLDER=str(folder / "photos"))
    assert command == ["view", "one.zarr", "--captions", "captions.csv", "--images", str(folder / "photos")]
    if codes != "elsewhere.zarr":  # which has to be named
        page = ["report", "one.zarr", *command[2:], "--out", "page.html", "--n-atoms", "1"]
        assert "Without" not in run(folder, *page)


def _words(folder):
    (folder / "words.txt").write_text("\n".join(WORDS))
    return folder / "words.txt"


@pytest.mark.parametrize("name", FORMS)
def test_info_knows_captions(folder, name):
    facts = json.loads(run(folder, "info", folder / name, "--json"))
    assert facts["kind"] == "captions" and facts["captions"] == (N if name == "lines.csv" else 2 * N)
    whose = {"names": "by the column file: 240 different images", "rows": "by the column row"}
    assert facts["whose"].startswith(whose.get(name.split(".")[0], "by line"))
    assert f"daskksvd label RESULT {folder / name}" in run(folder, "info", folder / name)


def test_a_page_that_is_left_while_it_is_drawn_is_no_fault():
    def record(message, error=None):
        info = None if error is None else (type(error), error, None)
        return logging.LogRecord("asyncio", logging.ERROR, "", 0, message, (), info)

    assert not not_of_leaving(record("Task exception was never retrieved", WebSocketClosedError()))
    assert not not_of_leaving(record("Failed sending message as connection was closed"))
    assert not_of_leaving(record("Task exception was never retrieved", ValueError("x")))
    assert not_of_leaving(record("Uncaught exception", AssertionError()))
    given_up = ServerConnection.__new__(ServerConnection)
    given_up._session = None
    with pytest.raises(AssertionError) as found:
        given_up.session  # noqa: B018
    assert not not_of_leaving(record("Uncaught exception", found.value))
    assert not_of_leaving(record("anything"))


def test_commands_tell_that_kernels_are_compiled(capsys):
    import numba
    from numba.core.errors import NumbaWarning

    from daskksvd.cli.shared import telling_compilation

    with warnings.catch_warnings():
        warnings.simplefilter("ignore", NumbaWarning)
        one, two = numba.njit(lambda x: x + 1), numba.njit(lambda x: x + 2)
        with telling_compilation():
            assert one(1) == 2 and two(1) == 3 and one(2) == 3
    assert capsys.readouterr().err.count("Compiling") == 1


def two_columns(name, numbers):
    return pd.DataFrame({name: numbers, "caption": [f"a {word}" for word in ("dog", "cat", "boat")]})


@pytest.mark.parametrize("name", ["id", "index", "image_id"])
def test_numbers_in_another_order_are_no_order_of_rows(tmp_path, name):
    """Who numbers lines means rows, or images, by these; taking the lines in their order would be silent."""
    table = two_columns(name, [2, 1, 0])
    for captions in (table, tmp_path / "t.csv", tmp_path / "t.parquet"):
        if captions is not table:
            write(table, captions)
        with pytest.raises(ValueError, match="in another order than theirs; call it row"):
            open_captions(captions, n=3)
    assert open_captions(two_columns(name, [0, 1, 2]), n=3).by == "order"
    assert open_captions(two_columns(name, [5, 9, 7]), n=3).by == "order"  # of something else
    with pytest.raises(ValueError, match="an index of whole numbers that are not in order"):
        open_captions(two_columns("other", list("abc")).set_axis([1, 0, 2]), n=3)


def test_names_that_are_not_sorted_are_told_of(tmp_path):
    captions = ["a dog", "a cat", "a boat"]
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        open_captions(pd.DataFrame({"file": ["2.jpg", "9.jpg", "10.jpg"], "caption": captions}), n=3)
        open_captions(pd.DataFrame({"file": ["10.jpg", "2.jpg", "9.jpg"], "caption": captions}), n=3)
    with pytest.warns(UserWarning, match="no rows, and names images in another order"):
        open_captions(pd.DataFrame({"file": ["b.jpg", "a.jpg", "c.jpg"], "caption": captions}), n=3)


def test_parts_of_a_table_are_read_in_the_order_of_their_numbers(tmp_path):
    lines = [f"caption {number}" for number in range(24)]
    for part in range(12):
        pd.DataFrame({"caption": lines[2 * part : 2 * part + 2]}).to_parquet(
            tmp_path / f"part.{part}.parquet"
        )
    opened = open_captions(tmp_path, n=24)
    assert opened.in_memory().caption.tolist() == lines
    with pytest.raises(ValueError, match="captions are of 24 rows in their order, and there are 25 rows"):
        opened.by_row(25)


def test_codes_under_another_name_are_of_the_only_result_there(folder, tmp_path):
    from daskksvd.coding.store import CODES

    result = daskksvd.load(folder / "own.zarr")
    result.save(tmp_path / "a.zarr")
    result.write_codes(folder / "vectors.npy", tmp_path / "codes.zarr")
    assert CODES.found_beside(tmp_path / "a.zarr") == str(tmp_path / "codes.zarr")
    (tmp_path / "samples.zarr").mkdir()  # of no format of ours
    assert CODES.found_beside(tmp_path / "a.zarr") == str(tmp_path / "codes.zarr")
    assert CODES.found_beside(tmp_path / "packed.zarr") == str(tmp_path / "codes.zarr")  # that says none
    result.save(tmp_path / "b.zarr")
    assert CODES.found_beside(tmp_path / "a.zarr") is None
    result.write_codes(folder / "vectors.npy", tmp_path / "b-codes.zarr")
    assert CODES.found_beside(tmp_path / "b.zarr") == str(tmp_path / "b-codes.zarr")
