"""Folders, files of captions and tables: every image and every line is there, whole or as a failure."""

import json
import os
import zipfile

import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st
from real import CAPTIONS, FLICKR, PHOTOGRAPHS
from small_sources import by_source, listed, number_of, png

from daskksvd.captions.files.separated import Separated
from daskksvd.embedding.errors import Rejected
from daskksvd.embedding.loading import load
from daskksvd.embedding.sources import Failure, Url, open_source

# --- folders --------------------------------------------------------------------------------


def test_a_folder_is_read_in_the_order_of_its_names(photos):
    items = listed(photos)
    assert [item.source for item in items] == ["a.png", "b.PNG", "d.jpg", "sub/c.png"]
    assert [number_of(item) for item in items] == [0, 1, 3, 2]
    source = open_source(photos)
    assert not source.has_captions and "captions" in source.captions_hint and source.n == 4
    assert open_source(photos, n_samples=3).n == 3 and len(listed(photos, n_samples=3)) == 3


CAPTION_FILES = {
    "captions.csv": 'file_name,caption\na.png,"a dog, running"\nsub/c.png,a ""cat""\na.png,two\n',
    "captions.tsv": 'image\ttext\na.png\ta dog, running\nsub/c.png\ta "cat"\na.png\ttwo\n',
    "captions.txt": 'image,caption\na.png,a dog, running\nsub/c.png,a "cat"\na.png,two\n',
    "results.csv": "image_name| comment_number| comment\na.png| 0| a dog, running\n"
    'sub/c.png|0|a "cat"\na.png|1|two\n',
    "token.txt": 'a.png#0\ta dog, running\nsub/c.png#0\ta "cat"\na.png#1\ttwo\n',
    "plain.csv": 'a.png,"a dog, running"\nsub/c.png,a "cat"\na.png,two\n',
    "windows.csv": '\ufefffilename;caption\r\na.png;a dog, running\r\nsub/c.png;a "cat"\r\n\r\na.png;two\r\n',
    "metadata.jsonl": '{"file_name": "a.png", "text": ["a dog, running", "two"]}\n\n'
    '{"file_name": "sub/c.png", "text": "a \\"cat\\""}\n',
    "numbered.csv": 'id,caption_0,caption_1\na,"a dog, running",two\nc,"a ""cat""",\n',
}


@pytest.mark.parametrize("name", CAPTION_FILES)
def test_files_of_captions(photos, name):
    path = photos / name
    path.write_text(CAPTION_FILES[name], encoding="utf-8", newline="")
    detected = name.split(".")[0] in ("captions", "metadata")
    options = {} if detected else {"captions": path}
    found = by_source(photos, **options)
    if name == "captions.csv":  # what follows a bare field is no quoting
        assert found["sub/c.png"].captions == ('a ""cat""',)
    else:
        assert found["sub/c.png"].captions == ('a "cat"',)
    assert sorted(found["a.png"].captions) == ["a dog, running", "two"]
    assert found["b.PNG"].captions == found["d.jpg"].captions == ()
    assert set(found) == {"a.png", "b.PNG", "d.jpg", "sub/c.png"}
    assert open_source(photos, **options).has_captions


def test_captions_in_parquet_and_elsewhere(photos, tmp_path):
    table = pd.DataFrame({"sample": [0, 1], "file": ["a.png", "c.png"], "captions": [["x", "y"], ["z"]]})
    table.to_parquet(tmp_path / "words.parquet")
    found = by_source(photos, captions=tmp_path / "words.parquet")
    assert found["a.png"].captions == ("x", "y")
    assert found["sub/c.png"].captions == ("z",)  # found by its name alone
    table.to_parquet(photos / "captions.parquet")
    assert by_source(photos) == found


def test_a_captions_file_in_every_folder(photos):
    (photos / "metadata.csv").write_text("file_name,text\na.png,here\n")
    (photos / "sub" / "metadata.csv").write_text("file_name,text\nc.png,there\n")
    found = by_source(photos)
    assert found["a.png"].captions == ("here",) and found["sub/c.png"].captions == ("there",)


def test_columns_by_name(photos):
    (photos / "captions.csv").write_text("file,caption,extra,title\na.png,x,y,z\n")
    assert by_source(photos)["a.png"].captions == ("x",)
    assert by_source(photos, caption_columns="title")["a.png"].captions == ("z",)
    found = by_source(photos, image_column="file", caption_columns=["extra", "caption"])
    assert found["a.png"].captions == ("y", "x")
    with pytest.raises(ValueError, match=r"caption_columns='words'; .* columns file, caption, extra, title"):
        open_source(photos, caption_columns="words")
    with pytest.raises(ValueError, match=r"image_column='img'; .* columns file, caption"):
        open_source(photos, image_column="img")
    (photos / "captions.csv").write_text("one,two\na.png,x\n")
    with pytest.raises(ValueError, match=r"no column that looks like the name .* one, two"):
        open_source(photos)
    with pytest.raises(ValueError, match=r"no column that looks like captions.* one, two"):
        open_source(photos, image_column="one")
    with pytest.raises(ValueError, match="without a captions file"):
        open_source(photos / "sub", caption_columns="x")
    with pytest.raises(FileNotFoundError, match="no such file"):
        open_source(photos, captions=photos / "none.csv")
    (photos / "words.doc").write_text("a")
    with pytest.raises(ValueError, match=r"must end in .csv"):
        open_source(photos, captions=photos / "words.doc")
    (photos / "bad.parquet").write_text("PAR1")
    with pytest.raises(ValueError, match="cannot be read"):
        open_source(photos, captions=photos / "bad.parquet")


def test_names_without_a_file_and_files_without_a_name(photos, tmp_path):
    (tmp_path / "secret.png").write_bytes(png())
    (photos / "sub" / "a.png").write_bytes(png(9))
    (photos / "sub" / "e.png").write_bytes(png(9))
    (photos / "e.png.d").mkdir()
    (photos / "e.png.d" / "e.png").write_bytes(png(9))
    (photos / "note.xyz").write_text("no image")
    lines = {
        "gone.png": "there is no such file",
        "../secret.png": "outside the folder",
        "sub/../../secret.png": "outside the folder",
        str(tmp_path / "secret.png"): "outside the folder",
        "/etc/passwd": "outside the folder",
        "http://example.com/a.png": "has a URL here",
        "e.png": "2 files have the name",
    }
    text = "file\tcaption\n" + "".join(f"{name}\tx\n" for name in lines)
    (photos / "captions.tsv").write_text(
        text + f"{photos}/b.PNG\tabsolute\nsub/../d.jpg\tround\nnote.xyz\tread\n"
    )
    found = by_source(photos)
    for name, reason in lines.items():
        assert isinstance(found[name].image, Failure) and reason in found[name].image.reason, name
        assert found[name].captions == ("x",)
    assert found["b.PNG"].captions == ("absolute",) and found["d.jpg"].captions == ("round",)
    with pytest.raises(Rejected, match="none of the formats"):  # it was named, so it is there
        load(found["note.xyz"])
    assert found["a.png"].captions == () and found["sub/e.png"].captions == ()


def test_a_folder_by_way_of_a_link(photos, tmp_path):
    (tmp_path / "link").symlink_to(photos)
    (photos / "captions.csv").write_text(f"file,caption\n{tmp_path}/link/a.png,x\n{photos}/b.PNG,y\n")
    found = by_source(tmp_path / "link")
    assert found["a.png"].captions == ("x",) and found["b.PNG"].captions == ("y",) and len(found) == 4


def test_broken_lines_are_elements(photos):
    (photos / "captions.jsonl").write_text(
        '{"file_name": "a.png", "text": "x"}\n{broken\n[1, 2]\n{"text": "who?"}\n' + "[" * 10**5 + "\n"
    )
    found = by_source(photos)
    assert found["a.png"].captions == ("x",)
    for number, reason in ((2, "is no JSON"), (3, "is a list"), (4, "names no image"), (5, "is no JSON")):
        assert reason in found[f"captions.jsonl: line {number}"].image.reason


def test_quotes_that_do_not_match_swallow_no_line(photos):
    (photos / "captions.csv").write_text(
        'file,caption\na.png,"never closed\nb.PNG,"well"\nd.jpg,"said" he\nsub/c.png,"two\nlines"\n'
    )
    found = by_source(photos)
    assert found["a.png"].captions == ("never closed",)
    assert found["b.PNG"].captions == ("well",)
    assert found["d.jpg"].captions == ("said he",)
    assert found["sub/c.png"].captions == ("two lines",)


@given(
    st.lists(
        st.tuples(
            st.integers(0, 99), st.text(st.characters(codec="utf-8", exclude_characters="\0\r"), max_size=20)
        ),
        max_size=20,
    )
)
def test_csv_of_any_text_is_read_as_pandas_writes_it(tmp_path_factory, rows):
    path = tmp_path_factory.mktemp("csv") / "captions.csv"
    table = pd.DataFrame({"file": [f"{n}.png" for n, _ in rows], "caption": [text for _, text in rows]})
    table.to_csv(path, index=False, lineterminator="\n")
    found = Separated(str(path), "captions").rows(["file", "caption"], ["caption"])
    assert [row for _, row in found] == [(f"{n}.png", text) for n, text in rows]


def test_links_that_leave_the_folder(photos, tmp_path):
    outside = tmp_path / "outside"
    outside.mkdir()
    (outside / "z.png").write_bytes(png())
    (photos / "link.png").symlink_to(outside / "z.png")
    (photos / "links").symlink_to(outside)
    (photos / "inside.png").symlink_to("a.png")
    (photos / "dangling.png").symlink_to("nothing.png")
    (photos / "sub" / "up").symlink_to("..")  # a loop
    (photos / "captions.csv").write_text("file,caption\nlinks/z.png,x\n")
    found = by_source(photos)
    assert "leaves the folder" in found["link.png"].image.reason
    assert "leaves the folder" in found["links"].image.reason
    assert "outside the folder" in found["links/z.png"].image.reason
    assert "cannot be read" in found["dangling.png"].image.reason
    assert number_of(found["inside.png"]) == 0
    assert len(found) == 4 + 5


def test_what_looks_like_an_image_is_listed(photos):
    (photos / "photo").write_bytes(png(5))  # without an ending
    (photos / "drawing.svg").write_text("<svg/>")
    (photos / "README.md").write_text("about")
    (photos / "empty.jpg").write_bytes(b"")
    (photos / "folder.jpg").mkdir()
    (photos / "folder.jpg" / "in.png").write_bytes(png(6))
    os.mkfifo(photos / "pipe.png")
    os.mkfifo(photos / "pipe")
    found = by_source(photos)
    assert set(found) == {
        *("a.png", "b.PNG", "d.jpg", "sub/c.png", "photo", "drawing.svg", "empty.jpg"),
        *("folder.jpg", "folder.jpg/in.png", "pipe.png"),
    }
    assert number_of(found["photo"]) == 5 and number_of(found["folder.jpg/in.png"]) == 6
    for name in ("drawing.svg", "empty.jpg", "folder.jpg", "pipe.png"):
        with pytest.raises(Rejected):
            load(found[name])


def test_names_that_are_no_unicode(photos):
    name = os.fsencode(photos) + b"/caf\xe9.png"
    try:
        with open(name, "wb") as file:
            file.write(png(8))
    except OSError:
        pytest.skip("the file system takes only names in Unicode")
    found = by_source(photos)
    assert number_of(found["caf?.png"]) == 8
    json.dumps(open_source(photos).identity())


def test_folders_that_cannot_be_entered(photos, monkeypatch):
    real = os.scandir

    def scandir(path="."):
        if str(path).endswith("sub"):
            raise PermissionError(13, "Permission denied", str(path))
        return real(path)

    monkeypatch.setattr(os, "scandir", scandir)
    found = by_source(photos)
    assert "the folder cannot be read (Permission denied)" in found["sub"].image.reason


def test_an_empty_folder(tmp_path):
    with pytest.raises(ValueError, match="folder without images"):
        open_source(tmp_path)


# --- tables ------------------------------------------------------------------------------------


def test_a_table_of_urls(tmp_path):
    path = tmp_path / "train.tsv"  # as Conceptual Captions: no header
    path.write_text('a "dog"\thttp://a.test/1.jpg\n"a\thttps://a.test/2.jpg\n\nbad line\nlast\t\n')
    items = listed(path)
    assert [item.image for item in items[:2]] == ["http://a.test/1.jpg", "https://a.test/2.jpg"]
    assert all(isinstance(item.image, Url) and item.source == item.image for item in items[:2])
    assert [item.captions for item in items] == [('a "dog"',), ('"a',), ("bad line",), ("last",)]
    for item, line in zip(items[2:], (4, 5), strict=True):
        assert item.source == f"train.tsv: line {line}" and "URL" in item.image.reason


def test_tables_of_files_and_urls(photos, tmp_path):
    (photos / "list.csv").write_text("path,title\na.png,x\n../secret.png,y\nhttp://a.test/1.jpg,z\n,w\n")
    items = listed(photos / "list.csv")
    assert number_of(items[0]) == 0 and "outside its folder" in items[1].image.reason
    assert items[2].image == Url("http://a.test/1.jpg") and "has not the name" in items[3].image.reason
    assert [item.captions for item in items] == [("x",), ("y",), ("z",), ("w",)]
    (photos / "list.jsonl").write_text('{"URL": "http://a.test/1.jpg", "TEXT": "x"}\n{bad\n{"TEXT": "y"}\n')
    items = listed(photos / "list.jsonl")
    assert items[0].image == "http://a.test/1.jpg" and items[0].captions == ("x",)
    assert "no JSON" in items[1].image.reason and items[2].captions == ("y",)
    with pytest.raises(ValueError, match=r"url_column='u'.* columns URL, TEXT"):
        open_source(photos / "list.jsonl", url_column="u")
    with pytest.raises(ValueError, match="only one of them"):
        open_source(photos / "list.jsonl", url_column="URL", image_column="TEXT")
    (photos / "odd.csv").write_text("p,q\n1,2\n")
    with pytest.raises(ValueError, match="name it with image_column or url_column: the columns are p, q"):
        open_source(photos / "odd.csv")
    (photos / "none.csv").write_text("file,caption\n")
    with pytest.raises(ValueError, match="no rows"):
        open_source(photos / "none.csv")


# --- real photographs -----------------------------------------------------------------------------


@pytest.mark.skipif(
    not PHOTOGRAPHS.exists(),
    reason=f"there is no {PHOTOGRAPHS.name} in {FLICKR}; DASKKSVD_TEST_DATA may name its parent folder",
)
def test_photographs_and_their_captions(tmp_path):
    with zipfile.ZipFile(PHOTOGRAPHS) as archive:
        archive.extractall(tmp_path / "photos")
    table = pd.read_parquet(CAPTIONS).set_index("file")["captions"]
    items = listed(tmp_path / "photos", captions=CAPTIONS)
    assert len(items) == len(table) == 6057
    there = [item for item in items if not isinstance(item.image, Failure)]
    assert len(there) == 199
    for item in there:
        wanted = [" ".join(caption.split()) for caption in table[os.path.basename(item.source)]]
        assert list(item.captions) == wanted
        assert min(load(item).size) >= 100
    assert {item.image.reason for item in items if item not in there} == {
        "the captions file names it, and there is no such file"
    }
