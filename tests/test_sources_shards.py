"""Members of shards as people name them: every image is an element, with its own captions."""

import io
import itertools
import tarfile

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from small_sources import listed, number_of, png, write_tar

from daskksvd.embedding.sources import Failure, open_source, samples


def read(path):
    """What each element is called behind the shard, its number or why it has none, and its captions."""
    found = []
    for item in listed(path):
        good = not isinstance(item.image, Failure)
        key = item.source.partition("::")[2]
        found.append((key, number_of(item) if good else item.image.reason, item.captions))
    return found


def shard(folder, names, mode="w", ending="tar"):
    """Images numbered in the order of their names, texts with their own names in them."""
    numbers = itertools.count()
    members = []
    for name in names:
        image = name.lower().endswith((".jpg", ".jpeg", ".png", ".webp"))
        members.append((name, png(next(numbers)) if image else f"of {name}".encode()))
    return write_tar(folder / f"a.{ending}", members, mode)


FURTHER = "is a further image of the sample {}, of which one is used"


@pytest.mark.parametrize("names, expected", [
    pytest.param(
        ["IMG.1.jpg", "IMG.1.txt", "IMG.2.jpg", "IMG.2.txt", "IMG.3.png", "IMG.3.txt"],
        [("IMG.1", 0, ("of IMG.1.txt",)), ("IMG.2", 1, ("of IMG.2.txt",)), ("IMG.3", 2, ("of IMG.3.txt",))],
        id="dots in names",
    ),
    pytest.param(
        ["IMG.1.jpg", "IMG.1.txt", "IMG.2.jpg", "IMG.3.txt", "IMG.4.JPG", "IMG.4.TXT"],
        [
            ("IMG.1", 0, ("of IMG.1.txt",)),
            ("IMG.2", 1, ()),
            ("IMG.3", "the sample has no image, only .3.txt", ("of IMG.3.txt",)),
            ("IMG.4", 2, ("of IMG.4.TXT",)),
        ],
        id="missing parts take nothing from others",
    ),
    pytest.param(
        ["v1.0/2021.05.03 12.30.jpg", "v1.0/2021.05.03 12.30.txt", "v1.0/2021.05.03 12.31.jpg"],
        [
            ("v1.0/2021.05.03 12.30", 0, ("of v1.0/2021.05.03 12.30.txt",)),
            ("v1.0/2021.05.03 12.31", 1, ()),
        ],
        id="dates in a folder with a dot",
    ),
    pytest.param(
        ["st.paul.jpg", "st.paul.txt", "st.peter.jpg", "st.peter.txt"],
        [("st.paul", 0, ("of st.paul.txt",)), ("st.peter", 1, ("of st.peter.txt",))],
        id="words with dots",
    ),
    pytest.param(
        ["a.cls.txt", "a.jpg", "a.seg.png", "a.txt", "b.depth.png", "b.jpg", "b.txt", "c.seg.png", "c.txt"],
        [
            ("a", 0, ("of a.txt",)),
            ("a.seg.png", FURTHER.format("a"), ()),
            ("b", 3, ("of b.txt",)),
            ("b.depth.png", FURTHER.format("b"), ()),
            ("c", 4, ("of c.txt",)),
        ],
        id="parts of a sample",
    ),
    pytest.param(
        ["a.img.jpg", "a.cap.txt", "b.img.jpg", "b.cap.txt"],
        [("a", 0, ("of a.cap.txt",)), ("b", 1, ("of b.cap.txt",))],
        id="parts only",
    ),
    pytest.param(
        ["a.left.jpg", "a.right.jpg", "a.txt"],
        [("a", 0, ("of a.txt",)), ("a.right", 1, ())],
        id="a second image of the same kind",
    ),
    pytest.param(
        ["a.jpg", "a.0.txt", "a.1.txt", "b.jpg", "b.0.txt"],
        [("a", 0, ("of a.0.txt", "of a.1.txt")), ("b", 1, ("of b.0.txt",))],
        id="captions that are counted",
    ),
    pytest.param(
        ["a.jpg", "a.png", "a.txt", "a.jpg", "a.txt", "a.JPG"],
        [
            ("a", 0, ("of a.txt",)),
            ("a.png", FURTHER.format("a"), ()),
            ("a", 2, ("of a.txt",)),
            ("a", 3, ()),
        ],
        id="a key twice",
    ),
    pytest.param(
        ["a.jpg", "b.jpg", "a.txt", "b.txt"],
        [
            ("a", 0, ()),
            ("b", 1, ()),
            ("a", "the sample has no image, only .txt", ("of a.txt",)),
            ("b", "the sample has no image, only .txt", ("of b.txt",)),
        ],
        id="members that are not next to each other",
    ),
    pytest.param(
        [".x.jpg", ".x.txt", "..y.1.jpg", "..y.2.jpg", "._x.txt", ".png"],
        [(".x", 0, ("of .x.txt",)), ("..y.1", 1, ()), ("..y.2", 2, ()), (".png", 3, ())],
        id="dots in front",
    ),
    pytest.param(
        ["../a.jpg", "../a.txt", "x/../../b.jpg", "c..jpg"],
        [
            ("../a", "the shard names a file outside its folder", ("of ../a.txt",)),
            ("x/../../b", "the shard names a file outside its folder", ()),
            ("c.", 2, ()),
        ],
        id="names that lead out",
    ),
])  # fmt: skip
@pytest.mark.parametrize("mode, ending", [("w", "tar"), ("w:gz", "tar.gz")])
def test_samples_of_members(tmp_path, names, expected, mode, ending):
    assert read(shard(tmp_path, names, mode, ending)) == expected


def test_images_without_a_name_for_it(tmp_path):
    """What has no known ending is an image if it begins like one; macOS keeps notes under ``._``."""
    path = write_tar(
        tmp_path / "a.tar",
        [
            ("plain", png(1)),
            ("b.jpg?size=large", png(2)),
            ("c.jpg", png(3)),
            ("c.cls", b"7"),
            ("._c.jpg", b"\0\5\x16\7notes"),
            ("._d.jpg", png(4)),
        ],
    )
    assert [number for _, number, _ in read(path)] == [1, 2, 3, 4]


def test_long_names_and_links(tmp_path):
    long = f"{'x' * 150}/{'y' * 120}.1.jpg"
    for number, form in enumerate((tarfile.PAX_FORMAT, tarfile.GNU_FORMAT)):
        path = tmp_path / f"{number}.tar"
        with tarfile.open(path, "w", format=form) as tar:
            for name, kind in (
                (long, tarfile.REGTYPE),
                ("l.jpg", tarfile.LNKTYPE),
                ("f.jpg", tarfile.FIFOTYPE),
            ):
                info = tarfile.TarInfo(name)
                info.type, info.linkname = kind, long
                info.size = len(png(5)) if kind == tarfile.REGTYPE else 0
                tar.addfile(info, io.BytesIO(png(5)))
        refused = "is no regular file in the shard"
        assert read(path) == [(long[:-4], 5, ()), ("l", refused, ()), ("f", refused, ())]


def test_captions_of_json_where_the_text_is_empty(tmp_path):
    values = [
        ("0.txt", b""), ("0.json", b'{"caption": "zero", "url": "x"}'), ("0.jpg", png(0)),
        ("1.jpg", png(1)), ("1.json", b'{"caption": "", "alt": " one ", "title": null}'), ("1.txt", b" \n"),
        ("2.jpg", png(2)), ("2.json", b'["two", "too", ""]'),
        ("3.jpg", png(3)), ("3.json", b'"three"'),
        ("4.jpg", png(4)), ("4.json", b'{"caption": null}'),
        ("5.jpg", png(5)), ("5.json", b"{broken"),
    ]  # fmt: skip
    items = listed(write_tar(tmp_path / "a.tar", values))
    assert [item.captions for item in items] == [("zero",), ("one",), ("two", "too"), ("three",), (), ()]
    assert [item.lost for item in items] == [1, 1, 1, 0, 0, 1]


def test_captions_that_are_no_utf8(tmp_path):
    texts = [
        "caf\u00e9".encode("cp1252"),
        "\u00fcber".encode("utf-16"),
        b"plain",
        "\u00e9t\u00e9".encode("cp1252"),
    ]
    members = [
        member for k, text in enumerate(texts) for member in ((f"{k}.png", png(k)), (f"{k}.txt", text))
    ]
    path = write_tar(tmp_path / "a.tar", members)
    with pytest.warns(UserWarning, match=r"a\.tar") as told:
        items = listed(path)
    assert len(told) == 1 and "0.txt" in str(told[0].message)
    assert [item.captions for item in items] == [
        ("caf\u00e9",),
        ("\u00fcber",),
        ("plain",),
        ("\u00e9t\u00e9",),
    ]


def test_why_there_is_no_caption(tmp_path, monkeypatch):
    monkeypatch.setattr("daskksvd.embedding.sources.shards.CAPTION_BYTES", 10)
    members = [("0.png", png()), ("0.txt", b"x" * 11), ("1.png", png()), ("1.json", b"{"), ("2.png", png())]
    items = listed(write_tar(tmp_path / "a.tar", members))
    assert items[0].missing == "its .txt has 11 bytes; at most 10 are read" and items[0].lost == 1
    assert items[1].missing.startswith("its .json is no JSON") and items[2].missing is None


NAMES = st.tuples(
    st.sampled_from(["a", "b", "d/a", ".h"]),
    st.sampled_from(["", ".1", ".2", ".10", ".seg", ".cls", ".x.y", "."]),
    st.sampled_from([".jpg", ".JPG", ".png", ".txt", ".TXT", ".json", ".npy", ""]),
).map("".join)


@settings(max_examples=150, deadline=None)
@given(st.lists(NAMES, max_size=30), st.sampled_from([1, 2, 5, 64]), st.booleans())
def test_every_image_is_an_element(tmp_path_factory, names, held, packed):
    """Whatever members are called; and reading can begin at every element."""
    folder = tmp_path_factory.mktemp("shard")
    mode, ending = ("w:gz", "tar.gz") if packed else ("w", "tar")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(samples, "HELD", held)
        path = shard(folder, names, mode, ending)
        found = read(path)
        images = [name for name in names if name.lower().endswith((".jpg", ".png"))]
        shown = [number for _, number, _ in found if isinstance(number, int)]
        further = [key for key, reason, _ in found if isinstance(reason, str) and "further" in reason]
        assert len(set(shown)) == len(shown) and set(further) <= set(names)
        assert len(shown) + len(further) == len(images)
        texts = sorted(f"of {name}" for name in names if name.lower().endswith(".txt"))
        assert {caption for _, _, captions in found for caption in captions} <= set(texts)
        patch.setattr("daskksvd.embedding.sources.shards.STATE_EVERY", 1)
        items = listed(path)
        for number, item in enumerate(items[:-1]):
            rest = list(open_source(path).items(number + 1, (item.position, item.state)))
            assert [one[:4] for one in rest] == [one[:4] for one in items[number + 1 :]]


def test_a_shard_of_one_name_is_not_held_in_memory(tmp_path):
    """With a dot in every name the whole shard has one key."""
    n = 3 * samples.HELD + 7
    names = [f"photo.{number:04d}.{ending}" for number in range(n) for ending in ("jpg", "json", "txt")]
    found = read(shard(tmp_path, names))
    assert found == [(f"photo.{k:04d}", k, (f"of photo.{k:04d}.txt",)) for k in range(n)]
