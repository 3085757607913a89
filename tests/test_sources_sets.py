"""Shards and data sets: what is damaged costs no more than itself, and is told."""

import gzip
import io
import os
import sys
import tarfile

import PIL.Image
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from small_sources import (
    FEATURES,
    check_numbers,
    datasets,
    image_features,
    image_rows,
    listed,
    number_of,
    png,
    sample,
    write_parquet,
    write_shards,
    write_tar,
)

from daskksvd.embedding.errors import Rejected
from daskksvd.embedding.loading import load
from daskksvd.embedding.sources import Failure, Url, open_source

# --- shards ----------------------------------------------------------------------------------


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
    captions = [("one", "two"), ("three", "four"), ("café",), (), (), ("five",), (), ("six",), ("seven",)]
    assert [item.captions for item in items] == captions
    assert items[1].source == "a.tar::d/1"
    assert number_of(items[5]) == 1  # the first image of a sample counts
    assert items[6].image == Failure("is a further image of the sample 5, of which one is used")


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


# --- Hugging Face data sets ------------------------------------------------------------------------


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
