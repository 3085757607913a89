"""Sources: every element has its number and is there, whole or as a failure."""

import itertools
import json
import os
import pathlib
import pickle
import types

import numpy as np
import pandas as pd
import PIL.Image
import pytest
from hypothesis import given
from hypothesis import strategies as st
from small_sources import (
    FEATURES,
    Sequence,
    comparable,
    datasets,
    image_rows,
    listed,
    number_of,
    png,
    write_parquet,
    write_shards,
)

from daskksvd.captions.files.cleaning import clean_captions
from daskksvd.embedding.errors import Rejected
from daskksvd.embedding.loading import load
from daskksvd.embedding.sources import Failure, Item, Source, Url, open_source
from daskksvd.embedding.sources.base import STATE_EVERY
from daskksvd.embedding.sources.iterable import SOURCE_FAILURES

# --- base ------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "value, found",
    [
        (None, ()),
        ("", ()),
        ("  a  dog\n\truns ", ("a dog runs",)),
        (b"caf\xc3\xa9 d\x92or", ("café d’or",)),  # UTF-8, but for one byte
        (b"caf\xe9", ("café",)),
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

    with pytest.raises(RuntimeError, match="2 came where 1 was due"):
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
