"""Sources: every element has its number and is there, whole or as a failure."""

import gzip
import io
import itertools
import json
import os
import pathlib
import pickle
import sys
import tarfile
import types
import zipfile

import numpy as np
import pandas as pd
import PIL.Image
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from daskksvd.constants import SOURCE_FAILURES, STATE_EVERY
from daskksvd.embedding.errors import Rejected
from daskksvd.embedding.loading import load
from daskksvd.embedding.sources import Failure, Item, Source, Url, open_source
from daskksvd.embedding.sources.base import clean_captions
from daskksvd.embedding.sources.tables import read_text

FLICKR = (
    pathlib.Path(
        os.environ.get("DASKKSVD_TEST_DATA") or pathlib.Path(__file__).parents[2] / "shared" / "data"
    )
    / "flickr8k"
)


def png(number=0, size=(16, 12)):
    buffer = io.BytesIO()
    PIL.Image.new("RGB", size, (number % 256, number // 256, 7)).save(buffer, "PNG")
    return buffer.getvalue()


def number_of(item):
    """The number that `png` was given."""
    red, green, _ = load(item).getpixel((0, 0))
    return red + 256 * green


def listed(source, **options):
    """All items, whose positions must count from 0."""
    items = list(open_source(source, **options).items())
    assert [item.position for item in items] == list(range(len(items)))
    return items


def by_source(source, **options):
    items = listed(source, **options)
    found = {item.source: item for item in items}
    assert len(found) == len(items)
    return found


def comparable(item):
    image = item.image
    return (*item[:2], image if isinstance(image, (bytes, str, tuple)) else str(image), item.captions)


@pytest.fixture
def photos(tmp_path):
    folder = tmp_path / "photos"
    (folder / "sub").mkdir(parents=True)
    for number, name in enumerate(("a.png", "b.PNG", "sub/c.png", "d.jpg")):
        (folder / name).write_bytes(png(number))
    return folder


# --- base ------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "value, found",
    [
        (None, ()),
        ("", ()),
        ("  a  dog\n\truns ", ("a dog runs",)),
        (b"caf\xc3\xa9 \xff", ("café \ufffd",)),
        (["a", "", None, " b "], ("a", "b")),
        (np.array(["a", "b"], object), ("a", "b")),
        (("a", ["b", ["c"]]), ("a", "b", "c")),
        ({"raw": "a dog", "tokens": ["a", "dog"]}, ("a dog",)),
        ([{"raw": "a"}, {"caption": "b"}, {"tokens": ["c"]}], ("a", "b")),
        (float("nan"), ()),
        (3, ()),
        ("nul\0byte", ("nul byte",)),
        ("half a pair \ud800", ("half a pair ?",)),
    ],
)
def test_captions_are_cleaned(value, found):
    assert clean_captions(value) == found


@given(st.lists(st.text(st.characters(exclude_categories=()))))
def test_cleaned_captions_can_be_stored(texts):
    found = clean_captions(texts)
    for caption in found:
        assert caption.encode("utf-8").decode("utf-8") == caption and "\0" not in caption
        assert caption == caption.strip() != ""
    assert clean_captions(found) == found


def test_items_travel():
    item = Item(3, "a.jpg", Url("http://example.com/a.jpg"), ("a",), {"shard": 0})
    for value in (item, item._replace(image=Failure("broken"))):
        again = pickle.loads(pickle.dumps(value))
        assert again == value and type(again.image) is type(value.image)


def test_a_failure_is_rejected_with_its_reason():
    with pytest.raises(Rejected, match=r"^the sky fell$"):
        load(Item(0, "#0", Failure("the sky fell")))


# --- iterables ----------------------------------------------------------------------------


def test_pairs_objects_and_dicts():
    image = PIL.Image.new("RGB", (16, 16))
    array = np.zeros((16, 16, 3), np.uint8)
    elements = [
        (image, "one"),
        [png(), ["two", "too"]],
        (array, None),
        types.SimpleNamespace(image=png(), captions=["three"]),
        types.SimpleNamespace(image=png(), caption="four"),
        {"image": png(), "text": "five"},
        ("http://example.com/a.jpg", "six"),
        (pathlib.Path("a.jpg"), "seven"),
        ("a.jpg", "eight"),
        {"bytes": png(), "caption": "nine"},
        image,
        (array.tolist(), "ten"),
        ({"bytes": None, "path": "b.jpg"}, "eleven"),
    ]
    items = listed(elements)
    assert [item.source for item in items] == [f"#{number}" for number in range(13)]
    captions = [item.captions for item in items]
    assert captions[:6] == [("one",), ("two", "too"), (), ("three",), ("four",), ("five",)]
    assert captions[6:] == [("six",), ("seven",), ("eight",), ("nine",), (), ("ten",), ("eleven",)]
    assert items[0].image is image and isinstance(items[6].image, Url) and not isinstance(items[8].image, Url)
    # paths mean the same in other processes
    assert [items[number].image for number in (7, 8, 12)] == [os.path.abspath(f"{c}.jpg") for c in "aab"]
    for number in (0, 1, 2, 3, 4, 5, 9, 10, 11):
        assert load(items[number]).size in ((16, 16), (16, 12))


@pytest.mark.parametrize(
    "element, reason",
    [
        (3, "the element is a int"),
        (None, "the element is a NoneType"),
        ((1, 2, 3), "a tuple of 3"),
        ({"caption": "a"}, "a dict without an image; it has caption"),
        ((None, "a"), "there is no image"),
        (("", "a"), "there is no image"),
        ((3.5, "a"), "the image is a float"),
        (([[1, 2], [3]], "a"), "the image is no array"),
        ((np.full((9, 9), 300), "a"), "beyond 0 to 255"),
    ],
)
def test_elements_that_are_none(element, reason):
    first, broken, last = listed([(png(), "a"), element, (png(), "b")])
    assert isinstance(broken.image, Failure) and reason in broken.image.reason
    assert first.captions == ("a",) and last.captions == ("b",)


class Sequence:
    """Raises at some places, and remembers where it was asked."""

    def __init__(self, n, broken=()):
        self.n, self.broken, self.asked = n, broken, []

    def __len__(self):
        return self.n

    def __getitem__(self, position):
        self.asked.append(position)
        if position in self.broken:
            raise OSError("no such block\non the disk")
        return png(position), f"caption {position}"


def test_a_sequence_goes_on_after_a_broken_element():
    items = listed(Sequence(6, broken=(2, 5)))
    assert len(items) == 6
    for item in items:
        if item.position in (2, 5):
            assert item.image == Failure("the element cannot be read (OSError: no such block on the disk)")
        else:
            assert number_of(item) == item.position and item.captions == (f"caption {item.position}",)


def test_a_sequence_is_not_read_before_the_start():
    elements = Sequence(1_000)
    source = open_source(elements, n_samples=990)
    assert source.n == 990
    assert [item.position for item in source.items(988)] == [988, 989]
    assert elements.asked == [988, 989]


def test_a_generator_that_raises_has_lost_the_rest():
    def elements():
        yield png(), "a"
        raise RuntimeError("unplugged")

    items = listed(elements())
    assert len(items) == 2
    assert items[1].image.reason == (
        "the iterable raised RuntimeError: unplugged; a generator ends with that, the rest is lost"
    )


def test_an_iterator_may_go_on_after_it_raised_but_not_for_ever():
    class Elements:
        def __init__(self, bad):
            self.numbers, self.bad = itertools.count(), bad

        def __iter__(self):
            return self

        def __next__(self):
            number = next(self.numbers)
            if number == 7:
                raise StopIteration
            if number in self.bad:
                raise ValueError("bad")
            return png(number), "a"

    items = listed(Elements({1, 3}))
    assert [isinstance(item.image, Failure) for item in items] == [False, True, False, True] + [False] * 3

    class Broken(Elements):
        def __next__(self):
            raise ValueError("bad")

    items = listed(Broken({}))
    assert len(items) == SOURCE_FAILURES and "given up" in items[-1].image.reason


def test_an_iterator_is_read_once():
    source = open_source(iter([(png(), "a"), (png(1), "b")]))
    assert source.n is None
    assert [item.position for item in source.items(1)] == [1]
    with pytest.raises(ValueError, match="read before"):
        list(source.items())


def test_what_is_no_iterable():
    with pytest.raises(TypeError, match="source is a int"):
        open_source(3)
    with pytest.raises(TypeError, match="source is a dict"):
        open_source({"image": 1})


# --- folders --------------------------------------------------------------------------------


def test_a_folder_is_read_in_the_order_of_its_names(photos):
    items = listed(photos)
    assert [item.source for item in items] == ["a.png", "b.PNG", "d.jpg", "sub/c.png"]
    assert [number_of(item) for item in items] == [0, 1, 3, 2]
    source = open_source(photos)
    assert not source.has_captions and "captions" in source.captions_hint and source.n == 4
    assert open_source(photos, n_samples=3).n == 3 and len(listed(photos, n_samples=3)) == 3


CAPTIONS = {
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


@pytest.mark.parametrize("name", CAPTIONS)
def test_files_of_captions(photos, name):
    path = photos / name
    path.write_text(CAPTIONS[name], encoding="utf-8", newline="")
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
    _, found = read_text(str(path))
    assert [tuple(row.values()) for _, row in found] == [(f"{n}.png", text) for n, text in rows]


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


# --- shards ----------------------------------------------------------------------------------


def write_tar(path, members, mode="w"):
    with tarfile.open(path, mode) as tar:
        for name, data in members:
            info = tarfile.TarInfo(name)
            info.size = len(data)
            tar.addfile(info, io.BytesIO(data))
    return path


def sample(number):
    return [(f"{number:06d}.png", png(number)), (f"{number:06d}.txt", f"caption {number}".encode())]


def write_shards(folder, counts, mode="w", ending="tar"):
    folder.mkdir(exist_ok=True)
    numbers = itertools.count()
    return [
        write_tar(
            folder / f"{shard:05d}.{ending}", [m for _ in range(count) for m in sample(next(numbers))], mode
        )
        for shard, count in enumerate(counts)
    ]


@pytest.mark.parametrize(
    "mode, ending", [("w", "tar"), ("w:gz", "tar.gz"), ("w:xz", "tar.xz"), ("w:bz2", "tar.bz2")]
)
def test_shards(tmp_path, mode, ending):
    paths = write_shards(tmp_path / "shards", [3, 0, 4], mode, ending)
    for source in (
        tmp_path / "shards",
        paths,
        [str(path) for path in paths],
        f"{tmp_path}/shards/0*.{ending}",
    ):
        items = listed(source)
        assert [number_of(item) for item in items] == list(range(7))
        assert [item.captions for item in items] == [(f"caption {number}",) for number in range(7)]
        assert items[3].source == f"00002.{ending}::000003"
    assert [number_of(item) for item in listed(paths[2])] == [3, 4, 5, 6]
    assert open_source(paths).n is None


def test_captions_of_samples(tmp_path):
    path = write_tar(
        tmp_path / "a.tar",
        [
            ("0.jpg", png()),
            ("0.txt", b"one\n\n two \n"),
            ("0.json", b'{"caption": "not read"}'),
            ("./d/1.json", b'{"captions": ["three", "four"], "url": "x"}'),
            ("./d/1.seg.PNG", png()),
            ("2.caption", "caf\u00e9".encode()),
            ("2.webp", png()),
            ("3.png", png()),
            ("3.json", b"{broken"),
            ("4.png", png()),
            ("5.jpeg", png(1)),
            ("5.png", png(2)),
            ("5.cap", b"\xef\xbb\xbffive"),
            ("6.png", png()),
            ("6.json", b'{"text": "six"}'),
            ("7.png", png()),
            ("._7.txt", b"resource"),
            ("7.txt", b"seven"),
        ],
    )
    items = listed(path)
    captions = [("one", "two"), ("three", "four"), ("café",), (), (), ("five",), ("six",), ("seven",)]
    assert [item.captions for item in items] == captions
    assert items[1].source == "a.tar::d/1"
    assert number_of(items[5]) == 1  # the first image of a sample counts


def test_odd_members(tmp_path):
    with tarfile.open(tmp_path / "a.tar", "w") as tar:
        for name, kind in (("d", tarfile.DIRTYPE), ("0.png", tarfile.SYMTYPE), ("1.png", tarfile.CHRTYPE)):
            info = tarfile.TarInfo(name)
            info.type, info.linkname = kind, "/etc/passwd"
            tar.addfile(info)
        for name, data in (
            ("2.txt", b"no image"),
            ("plain", b"?"),
            (".png", png()),
            ("3.png", png(3)),
            ("3.txt", b"x"),
        ):
            info = tarfile.TarInfo(name)
            info.size = len(data)
            tar.addfile(info, io.BytesIO(data))
    items = listed(tmp_path / "a.tar")
    reasons = [item.image.reason if isinstance(item.image, Failure) else None for item in items]
    assert reasons[:2] == ["is no regular file in the shard"] * 2
    assert reasons[2] == "the sample has no image, only .txt"
    assert reasons[3] == "the sample has no image, only plain"
    assert reasons[4:] == [None, None]
    assert number_of(items[5]) == 3


def test_a_member_that_is_too_long(tmp_path, monkeypatch):
    from daskksvd.embedding.sources import shards

    monkeypatch.setattr(shards, "IMAGE_BYTES", 2_000)
    noise = os.urandom(3_000)
    path = write_tar(tmp_path / "a.tar", [("0.png", noise), ("0.txt", b"a"), *sample(1)])
    items = listed(path)
    assert items[0].image == Failure("has 3000 bytes; at most 2000 are read") and items[0].captions == ("a",)
    assert number_of(items[1]) == 1


def test_damaged_shards(tmp_path):
    paths = write_shards(tmp_path / "s", [4, 4, 4, 4, 4, 4, 4, 4, 2])
    block = tarfile.BLOCKSIZE
    assert len(sample(0)[0][1]) < block  # so every member is two blocks, and a sample four
    data = {number: bytearray(paths[number].read_bytes()) for number in range(8)}
    paths[0].write_bytes(data[0][: 9 * block + 20])  # within the third image
    paths[1].write_bytes(data[1][: 8 * block])  # after the second sample, without an end mark
    data[2][8 * block : 8 * block + 200] = b"\xff" * 200  # a header
    paths[2].write_bytes(data[2])
    paths[3].write_bytes(b"")
    paths[4].write_bytes(os.urandom(10_000))
    paths[5].write_bytes(data[5][: 6 * block + 100])  # within a header
    paths[6].write_bytes(gzip.compress(bytes(data[6]))[:150])
    paths[7].write_bytes(gzip.compress(bytes(data[7]))[:-6])  # without the checksum at the end
    items = listed(tmp_path / "s")
    found = {}
    for item in items:
        good = not isinstance(item.image, Failure)
        found.setdefault(item.source[:5], []).append(number_of(item) if good else item.image.reason)

    lost = "the rest of it is lost"
    assert found["00000"][:2] == [0, 1] and "20 of its" in found["00000"][2] and lost in found["00000"][3]
    assert found["00001"][:2] == [4, 5] and "no end mark" in found["00001"][2] and lost in found["00001"][2]
    assert found["00002"][:2] == [8, 9] and "there is no header" in found["00002"][2]
    assert len(found["00003"]) == len(found["00004"]) == 1
    assert lost in found["00003"][0] and lost in found["00004"][0]
    assert found["00005"][0] == 20 and any(item.source == "00005.tar::000021" for item in items)
    assert lost in found["00005"][-1]
    assert lost in found["00006"][-1]
    assert found["00007"][:4] == [28, 29, 30, 31]
    assert found["00008"] == [32, 33]


def test_a_header_that_claims_to_be_long(tmp_path):
    """As a bomb in a compressed shard: tarfile reads extended headers whole."""
    info = tarfile.TarInfo("pax")
    info.type, info.size = tarfile.XHDTYPE, 10**12
    (tmp_path / "a.tar.gz").write_bytes(gzip.compress(info.tobuf(tarfile.GNU_FORMAT) + bytes(10**6)))
    (item,) = listed(tmp_path / "a.tar.gz")
    assert "a header of 1000000000000 bytes" in item.image.reason


def test_a_size_that_leads_back(tmp_path):
    """A negative size would have tarfile read the same members for ever (CVE-2025-8194)."""
    good = write_tar(tmp_path / "a.tar", sample(0)).read_bytes()[: 4 * tarfile.BLOCKSIZE]
    info = tarfile.TarInfo("1.png")
    info.size = -5 * tarfile.BLOCKSIZE
    (tmp_path / "a.tar").write_bytes(good + info.tobuf(tarfile.GNU_FORMAT) + bytes(1024))
    items = listed(tmp_path / "a.tar")
    assert number_of(items[0]) == 0 and len(items) <= 3
    assert "the rest of it is lost" in items[-1].image.reason


@settings(max_examples=100, deadline=None)
@given(st.data())
def test_whatever_is_wrong_with_a_shard_nothing_is_lost_in_silence(tmp_path_factory, draw):
    folder = tmp_path_factory.mktemp("shard")
    mode, ending = draw.draw(st.sampled_from([("w", "tar"), ("w:gz", "tar.gz")]))
    (path,) = write_shards(folder, [4], mode, ending)
    data = bytearray(path.read_bytes())
    for _ in range(draw.draw(st.integers(1, 3))):
        # most of a plain shard is padding
        place = draw.draw(st.sampled_from([0, 512, 1024, 4096] if ending == "tar" else [0]))
        place = min(place + draw.draw(st.integers(0, 511)), len(data) - 1)
        data[place] = draw.draw(st.integers(0, 255))
    path.write_bytes(data[: draw.draw(st.one_of(st.none(), st.integers(0, len(data))))])
    items = listed(path)
    failed = any(isinstance(item.image, Failure) for item in items)
    assert failed or len(items) == 4


def test_shards_that_are_not_there(tmp_path):
    with pytest.raises(FileNotFoundError, match="no file is called like that"):
        open_source(f"{tmp_path}/*.tar")
    with pytest.raises(FileNotFoundError, match="no such file"):
        open_source([tmp_path / "a.tar"])
    with pytest.raises(ValueError, match=r"shards must end in .tar"):
        open_source([tmp_path / "a.jpg"])
    write_shards(tmp_path / "s", [1])
    with pytest.raises(ValueError, match="split='test'; it does not apply to a source of shards"):
        open_source(tmp_path / "s", split="test")


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


# --- Hugging Face data sets ------------------------------------------------------------------------

datasets = pytest.importorskip("datasets")


def image_features(**others):
    return datasets.Features({"image": datasets.Image(), **others})


def image_rows(start, stop):
    return {
        "image": [{"bytes": png(number), "path": f"{number}.png"} for number in range(start, stop)],
        "caption": [[f"caption {number}", "x"] for number in range(start, stop)],
    }


FEATURES = image_features(caption=datasets.Sequence(datasets.Value("string")))


def write_parquet(folder, counts):
    (folder / "data").mkdir(parents=True, exist_ok=True)
    start, paths = 0, []
    for part, count in enumerate(counts):
        rows = datasets.Dataset.from_dict(image_rows(start, start + count), features=FEATURES)
        paths.append(folder / "data" / f"train-{part:05d}.parquet")
        rows.to_parquet(paths[-1])
        start += count
    return paths


def check_numbers(items, numbers):
    assert [number_of(item) for item in items] == list(numbers)
    assert [item.captions for item in items] == [(f"caption {number}", "x") for number in numbers]


def test_data_sets_in_files(tmp_path):
    paths = write_parquet(tmp_path / "set", [5, 3])
    items = listed(tmp_path / "set")
    check_numbers(items, range(8))
    assert items[6].source == f"{tmp_path}/set[train]#6" and isinstance(items[6].image, bytes)
    check_numbers(listed(paths[1]), range(5, 8))
    check_numbers(listed(tmp_path / "set", n_samples=4), range(4))
    data = datasets.Dataset.from_dict(image_rows(0, 4), features=FEATURES)
    data.save_to_disk(tmp_path / "saved")
    (tmp_path / "arrow").mkdir()
    (file,) = (tmp_path / "saved").glob("*.arrow")
    file.rename(tmp_path / "arrow" / "train-0.arrow")
    check_numbers(listed(tmp_path / "arrow"), range(4))
    check_numbers(listed(tmp_path / "arrow" / "train-0.arrow"), range(4))
    (tmp_path / "urls.json").write_text('[{"url": "http://a.test/1.jpg", "caption": "x"}]')
    assert [(item.image, item.captions) for item in listed(tmp_path / "urls.json")] == [
        ("http://a.test/1.jpg", ("x",))
    ]


def test_without_the_package_datasets(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "datasets", None)
    with pytest.raises(ImportError, match=r"pip install 'daskksvd\[embed\]'"):
        open_source("owner/pictures")


def test_saved_data_sets_and_objects(tmp_path):
    data = datasets.Dataset.from_dict(image_rows(0, 6), features=FEATURES)
    data.save_to_disk(tmp_path / "saved")
    check_numbers(listed(tmp_path / "saved"), range(6))
    assert open_source(tmp_path / "saved").n == 6
    datasets.DatasetDict(train=data, test=data.select([4])).save_to_disk(tmp_path / "dict")
    check_numbers(listed(tmp_path / "dict"), range(6))
    check_numbers(listed(tmp_path / "dict", split="test"), [4])
    with pytest.raises(ValueError, match=r"split='val'; .* has the splits train, test"):
        open_source(tmp_path / "dict", split="val")
    check_numbers(listed(data), range(6))
    check_numbers(listed(data.to_iterable_dataset()), range(6))
    check_numbers(listed(datasets.DatasetDict(train=data)), range(6))
    generated = datasets.IterableDataset.from_generator(
        lambda: ({"image": PIL.Image.new("RGB", (9, 9)), "text": f"t{n}"} for n in range(3))
    )
    assert [item.captions for item in listed(generated)] == [("t0",), ("t1",), ("t2",)]


def test_broken_images_do_not_stop_a_data_set(tmp_path):
    rows = {
        "image": [
            png(0),
            b"no image",
            None,
            {"bytes": png(3), "path": None},
            {"bytes": None, "path": "a.png"},
        ],
        "caption": ["a", "b", "c", "d", "e"],
    }
    data = datasets.Dataset.from_dict(rows, features=image_features(caption=datasets.Value("string")))
    (tmp_path / "a.png").write_bytes(png(4))
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(tmp_path)
        data.to_parquet("a.parquet")
    for source in (tmp_path / "a.parquet", data):
        items = listed(source)
        assert len(items) == 5 and number_of(items[0]) == 0 and number_of(items[3]) == 3
        with pytest.raises(Rejected, match="none of the formats"):
            load(items[1])
        assert items[2].image == Failure("there is no image")
    items = listed(tmp_path / "a.parquet")
    assert number_of(items[4]) == 4


def test_images_that_a_data_set_only_names(tmp_path, monkeypatch):
    (tmp_path / "a.png").write_bytes(png(4))
    (tmp_path / "beside.png").write_bytes(png(5))
    names = [str(tmp_path / "a.png"), "beside.png", str(tmp_path / "gone.png"), "http://a.test/1.png"]
    data = datasets.Dataset.from_dict({"image": names, "text": list("abcd")})
    monkeypatch.chdir(tmp_path)
    items = listed(data.cast_column("image", datasets.Image()))
    monkeypatch.chdir("/")  # as another process may be
    assert [number_of(item) for item in items[:2]] == [4, 5]
    with pytest.raises(Rejected, match="no such file"):
        load(items[2])
    assert items[3].image == Url(names[3])


@pytest.mark.parametrize("broken", [0, 1, 2])
def test_a_damaged_file_loses_no_other(tmp_path, broken):
    paths = write_parquet(tmp_path / "set", [4, 4, 4])
    data = paths[broken].read_bytes()
    paths[broken].write_bytes(data[: len(data) // 2])
    items = listed(tmp_path / "set")
    assert len(items) == 9
    failed = items.pop(4 * broken)
    assert "the rest of it is lost" in failed.image.reason and failed.captions == ()
    check_numbers(items, [number for number in range(12) if number // 4 != broken])


def test_all_files_damaged(tmp_path):
    (path,) = write_parquet(tmp_path / "set", [4])
    path.write_bytes(b"PAR1")
    with pytest.raises(ValueError, match=r"cannot be opened"):
        open_source(tmp_path / "set")


def test_columns_of_urls_and_captions(tmp_path):
    rows = {
        "user_id": ["http://users.test/1"] * 3,
        "image_url": ["http://a.test/1.jpg", "ftp://a.test/2.jpg", None],
        "caption": ["a", "b", "c"],
        "text": ["x", "y", "z"],
        "label": [1, 2, 3],
    }
    data = datasets.Dataset.from_dict(rows)
    items = listed(data)
    assert items[0].image == Url("http://a.test/1.jpg") and items[0].source == "http://a.test/1.jpg"
    assert "no http or https URL" in items[1].image.reason and "no http" in items[2].image.reason
    assert [item.captions for item in items] == [("a",), ("b",), ("c",)]
    assert listed(data, caption_columns=["text", "caption"])[0].captions == ("x", "a")
    assert listed(data, url_column="user_id")[0].image == "http://users.test/1"
    with pytest.raises(
        ValueError, match=r"caption_columns='words'.*user_id, image_url, caption, text, label"
    ):
        open_source(data, caption_columns="words")
    none = data.remove_columns(["caption", "text"])
    source = open_source(none)
    assert not source.has_captions and "user_id, image_url, label" in source.captions_hint
    with pytest.raises(ValueError, match="name it with image_column or url_column: the columns are label"):
        open_source(data.select_columns(["label"]))
    # COCO: a struct for each sentence; numbers are no captions whatever they are called
    coco = {
        "url": ["http://a.test/1.jpg"],
        "caption": [7],
        "sentences": [[{"raw": "a b", "tokens": ["a", "b"]}, {"raw": "c", "tokens": ["c"]}]],
    }
    assert listed(datasets.Dataset.from_dict(coco))[0].captions == ("a b", "c")


class Hub:
    """Stands for the Hub, which tests cannot reach."""

    def __init__(self, monkeypatch, answer):
        self.calls = []
        self.answer = answer
        monkeypatch.setattr(datasets, "load_dataset", self.load)
        monkeypatch.setattr(
            "daskksvd.embedding.sources.hub._commit", lambda name, revision: revision or "c0ffee"
        )

    def load(self, *args, **kwargs):
        self.calls.append((args, kwargs))
        if isinstance(self.answer, Exception):
            raise self.answer
        return self.answer


def test_data_sets_of_the_hub_are_streamed_and_run_no_code(tmp_path, monkeypatch):
    write_parquet(tmp_path / "set", [3, 3])
    stream = datasets.load_dataset(str(tmp_path / "set"), split="train", streaming=True)
    hub = Hub(monkeypatch, stream)
    items = listed("owner/pictures", config="small", split="test", revision="v1")
    check_numbers(items, range(6))
    assert items[5].source == "owner/pictures[test]#5"
    assert hub.calls == [
        (("owner/pictures", "small"), {"split": "test", "revision": "v1", "streaming": True})
    ]
    # what is not named: the train split, and the commit of today, which a later run will ask for again
    found = open_source("pictures").identity()
    assert hub.calls[-1] == (("pictures", None), {"split": "train", "revision": "c0ffee", "streaming": True})
    assert (found["name"], found["split"], found["revision"]) == ("pictures", "train", "c0ffee")


@pytest.mark.parametrize(
    "error, kind, found",
    [
        (
            RuntimeError("Dataset scripts are no longer supported, but found sbu.py"),
            ValueError,
            "code from the Hub is never run",
        ),
        (ValueError("... pass `trust_remote_code=True`"), ValueError, "code from the Hub is never run"),
        (
            datasets.exceptions.DatasetNotFoundError("'x' doesn't exist"),
            FileNotFoundError,
            "no such path, and no such",
        ),
        (ConnectionError("Couldn't reach 'x' on the Hub"), ConnectionError, "cannot be reached"),
        (ValueError("Bad split: val. Available splits: ['train']"), ValueError, r"split='val'.*\['train'\]"),
        (ValueError("BuilderConfig 'q' not found. Available: ['a']"), ValueError, r"config=None.*\['a'\]"),
        (ValueError("Config name is missing.\nPlease pick one"), ValueError, "config=None.*Please pick one"),
        (KeyError("odd"), ValueError, "cannot be opened"),
    ],
)
def test_what_the_hub_has_not(monkeypatch, error, kind, found):
    Hub(monkeypatch, error)
    with pytest.raises(kind, match=found) as caught:
        open_source("owner/pictures", split="val")
    assert "\n" not in str(caught.value) and "owner/pictures" in str(caught.value)


def test_a_broken_connection_is_no_lost_element(monkeypatch):
    def rows(fail):
        yield {"image_url": "http://a.test/1.jpg", "caption": "a"}
        yield {"image_url": "http://a.test/2.jpg", "caption": "b"}
        raise fail

    features = datasets.Features({"image_url": datasets.Value("string"), "caption": datasets.Value("string")})
    for fail in (ConnectionResetError("reset"), TimeoutError("slow")):
        stream = datasets.IterableDataset.from_generator(rows, gen_kwargs={"fail": fail}, features=features)
        Hub(monkeypatch, stream)
        found = []
        with pytest.raises(ConnectionError, match=r"broke at element 2.*start again"):
            found.extend(open_source("owner/pictures").items())
        stream = datasets.IterableDataset.from_generator(rows, gen_kwargs={"fail": OSError("corrupt page")})
        Hub(monkeypatch, stream)
        items = listed("owner/pictures")
        assert len(items) == 3 and "corrupt page" in items[2].image.reason


def test_a_data_set_from_elsewhere_names_no_local_file(monkeypatch, tmp_path):
    (tmp_path / "secret.png").write_bytes(png())
    rows = {"image": [{"bytes": None, "path": str(tmp_path / "secret.png")}, {"bytes": png(1), "path": "x"}]}
    features = datasets.Features(
        {"image": {"bytes": datasets.Value("binary"), "path": datasets.Value("string")}}
    )
    data = datasets.Dataset.from_dict(rows, features=features).to_iterable_dataset()
    Hub(monkeypatch, data)
    items = listed("owner/pictures")
    assert "names a local file" in items[0].image.reason and number_of(items[1]) == 1
    rows["image"][0]["path"] = "ftp://a.test/x.png"
    Hub(monkeypatch, datasets.Dataset.from_dict(rows, features=features).to_iterable_dataset())
    assert "names a file elsewhere" in listed("owner/pictures")[0].image.reason


# --- which source is what ------------------------------------------------------------------------------


def test_what_a_folder_is(tmp_path, photos):
    kind = lambda source, **options: open_source(source, **options).identity()["kind"]  # noqa: E731
    assert kind(photos) == "folder"
    write_shards(tmp_path / "shards", [1])
    assert kind(tmp_path / "shards") == "shards"
    write_parquet(tmp_path / "set", [1])
    (tmp_path / "set" / "logo.png").write_bytes(png())  # of its description
    assert kind(tmp_path / "set") == "dataset"
    pd.DataFrame({"file": ["a.png"], "words": ["x"]}).to_parquet(photos / "annotations.parquet")
    assert kind(photos) == "folder"  # a table without images in it
    (photos / "captions.csv").write_text("file,caption\na.png,x\n")
    assert kind(tmp_path / "set", captions=photos / "captions.csv") == "folder"
    assert kind(photos / "captions.csv") == "table"
    assert kind([(png(), "a")]) == "iterable"


@pytest.mark.parametrize(
    "source, kind, found",
    [
        ("./nowhere", FileNotFoundError, "no such path"),
        ("nowhere/deep/er", FileNotFoundError, "no such path"),
        ("captions.csv", FileNotFoundError, "no such path"),
        ("shard.tar", FileNotFoundError, "no such path"),
        ("http://a.test/set", ValueError, "not a URL"),
        ("s3://bucket/set", ValueError, "not a URL"),
        ("", ValueError, "must name a path"),
        ("a\0b", ValueError, "must name a path"),
    ],
)
def test_what_is_no_source(source, kind, found, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(datasets, "load_dataset", lambda *args, **kwargs: pytest.fail("was asked"))
    with pytest.raises(kind, match=found):
        open_source(source)


def test_arguments_that_do_not_apply(photos):
    for name, value in (("split", "train"), ("config", "x"), ("revision", "x"), ("url_column", "x")):
        with pytest.raises(ValueError, match=f"{name}='{value}'; it does not apply to a folder"):
            open_source(photos, **{name: value})
    with pytest.raises(ValueError, match="captions='x'; it does not apply to an iterable"):
        open_source([(png(), "a")], captions="x")
    source = open_source(photos)
    assert open_source(source) is source
    with pytest.raises(ValueError, match="n_samples=3; it does not apply"):
        open_source(source, n_samples=3)
    for n_samples in (0, -1, 1.5, "3", True):
        with pytest.raises(ValueError, match=r"n_samples=.*whole number of at least 1"):
            open_source(photos, n_samples=n_samples)
    with pytest.raises(ValueError, match="start=-1"):
        list(source.items(-1))
    (photos / "notes.doc").write_text("x")
    with pytest.raises(ValueError, match="must be a shard, a table or a data set"):
        open_source(photos / "notes.doc")


def test_a_source_that_leaves_out_an_element_is_found_out():
    class Gap(Source):
        def _read(self, start, state):
            yield Item(0, "#0", png())
            yield Item(2, "#2", png())

        def identity(self):
            return {}

    with pytest.raises(AssertionError):
        list(Gap().items())


# --- going on ---------------------------------------------------------------------------------------


def make_sources(folder):
    """A source of every kind with more elements than lie between two states, some broken."""
    n = 2 * STATE_EVERY + 90
    photos = folder / "photos"
    photos.mkdir()
    for number in range(0, 40, 2):
        (photos / f"{number:03d}.png").write_bytes(png(number))
    lines = "".join(f"{number:03d}.png,caption {number}\n" for number in range(40))
    (photos / "captions.csv").write_text("file,caption\n" + lines)
    plain = write_shards(folder / "plain", [150, STATE_EVERY, 0, n])
    packed = write_shards(folder / "packed", [150, STATE_EVERY, n], "w:gz", "tar.gz")
    for path in (plain[1], packed[1]):
        data = path.read_bytes()
        path.write_bytes(data[: len(data) * 2 // 3])
    paths = write_parquet(folder / "set", [n // 3] * 5)
    paths[2].write_bytes(paths[2].read_bytes()[:-50])
    datasets.Dataset.from_dict(image_rows(0, 300), features=FEATURES).save_to_disk(folder / "saved")
    table = folder / "table.jsonl"
    table.write_text(
        "".join(f'{{"url": "http://a.test/{k}.jpg", "text": "t{k}"}}\n{{bad\n' for k in range(300))
    )
    many = datasets.Dataset.from_dict(image_rows(0, n), features=FEATURES).to_iterable_dataset(num_shards=3)
    return {
        "folder": photos,
        "plain shards": folder / "plain",
        "packed shards": folder / "packed",
        "files": folder / "set",
        "saved": folder / "saved",
        "table": table,
        "stream": many,
        "sequence": Sequence(50, broken=(3, 44)),
    }


def test_every_source_goes_on_where_it_stopped(tmp_path):
    """From any place, with and without a state, come the items of a run from the start."""
    for name, source in make_sources(tmp_path).items():
        whole = list(open_source(source).items())
        states = [(item.position, json.loads(json.dumps(item.state))) for item in whole if item.state]
        wanted = [comparable(item) for item in whole]
        assert [item.position for item in whole] == list(range(len(whole))), name
        if name in ("plain shards", "packed shards", "files", "stream"):
            assert len(states) >= 2, name
            assert any(isinstance(item.image, Failure) for item in whole) or name == "stream"
        for start in {0, 1, 43, len(whole) // 2, len(whole) - 1, len(whole), len(whole) + 5}:
            found = [comparable(item) for item in open_source(source).items(start)]
            assert found == wanted[start:], (name, start)
        for position, state in states:
            for start in (position + 1, position + 2, position + 30):
                found = [comparable(item) for item in open_source(source).items(start, (position, state))]
                assert found == wanted[start:], (name, position, start)
            # and so from a state that a run gave which itself began at one
            for item in open_source(source).items(position + 1, (position, state)):
                if item.state:
                    resumed = open_source(source).items(item.position + 1, (item.position, item.state))
                    assert [comparable(one) for one in resumed] == wanted[item.position + 1 :]
                    break
            # a state of a later place than the start is of no use, and does no harm
            first = next(iter(open_source(source).items(5, (position, state))))
            assert comparable(first) == wanted[5]


def test_a_state_is_a_short_cut(tmp_path, monkeypatch):
    """What lies before it is not read again."""
    paths = write_shards(tmp_path / "s", [10, STATE_EVERY, 30])
    whole = list(open_source(tmp_path / "s").items())
    (state,) = [(item.position, item.state) for item in whole if item.state]
    data = bytearray(paths[1].read_bytes())
    data[: state[1]["offset"]] = bytes(state[1]["offset"])
    paths[1].write_bytes(data)
    paths[0].write_bytes(b"")
    found = list(open_source(tmp_path / "s").items(state[0] + 1, state))
    assert [comparable(item) for item in found] == [comparable(item) for item in whole[state[0] + 1 :]]


def test_identities_tell_sources_apart(tmp_path):
    sources = make_sources(tmp_path)
    found = {name: json.dumps(open_source(source).identity()) for name, source in sources.items()}
    assert len(set(found.values())) == len(found)
    for name, source in sources.items():
        assert json.dumps(open_source(source).identity()) == found[name]
        assert json.dumps(open_source(source, n_samples=7).identity()) == found[name]
    (sources["folder"] / "000.png").write_bytes(b"another length")
    assert json.dumps(open_source(sources["folder"]).identity()) != found["folder"]
    shard = next(iter(sources["plain shards"].iterdir()))
    shard.write_bytes(shard.read_bytes() + bytes(512))
    assert json.dumps(open_source(sources["plain shards"]).identity()) != found["plain shards"]
    other = open_source(sources["saved"], caption_columns="caption", image_column="image")
    assert json.dumps(other.identity()) == found["saved"]


def test_a_caption_that_changed_is_another_source(photos):
    (photos / "captions.csv").write_text("file,caption\na.png,one\n")
    before = open_source(photos).identity()
    (photos / "captions.csv").write_text("file,caption\na.png,two\n")
    assert open_source(photos).identity() != before


# --- real photographs -----------------------------------------------------------------------------


@pytest.mark.skipif(
    not (FLICKR / "images_224.zip").exists(),
    reason=f"there is no images_224.zip in {FLICKR}; DASKKSVD_TEST_DATA may name its parent folder",
)
def test_photographs_and_their_captions(tmp_path):
    with zipfile.ZipFile(FLICKR / "images_224.zip") as archive:
        archive.extractall(tmp_path / "photos")
    table = pd.read_parquet(FLICKR / "captions.parquet").set_index("file")["captions"]
    items = listed(tmp_path / "photos", captions=FLICKR / "captions.parquet")
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
