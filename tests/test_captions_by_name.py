"""The same captions, whatever the form and whoever reads them: `embed`, `label` and `view`."""

import json
import unicodedata
import warnings

import numpy as np
import pandas as pd
import pytest
import scipy.sparse as sp
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from small_sources import listed, png

import daskksvd
from daskksvd.captions.by_sample import open_captions
from daskksvd.captions.files.names import Names
from daskksvd.embedding.sources import Failure, open_source
from daskksvd.view.data.captions import CaptionsByRow

IMAGES = ["a.jpg", "b.png", "sub/c.jpg"]
WORDS = {"a.jpg": ("a dog, running", "two dogs"), "b.png": ("one cat",), "sub/c.jpg": ("a red cow",)}
URL = "http://a.test/"


def lines(separator, header=("image", "caption"), name=str):
    pairs = [(name(image), caption) for image, captions in WORDS.items() for caption in captions]
    rows = [header, *pairs] if header else pairs
    return "\n".join(separator.join(row) for row in rows) + "\n"


def by_image(**extra):
    return [{"file_name": image, "caption": list(captions), **extra} for image, captions in WORDS.items()]


COCO = {
    "info": {"year": 2014},
    "images": [{"id": n, "file_name": name, "coco_url": URL + name} for n, name in enumerate(IMAGES)],
    "annotations": [
        {"id": 10 * n + k, "image_id": n, "caption": text}
        for n, name in enumerate(IMAGES)
        for k, text in enumerate(WORDS[name])
    ],
}
KARPATHY = {
    "dataset": "coco",
    "images": [
        {
            "filename": name.rpartition("/")[2],
            **({"filepath": "sub"} if "/" in name else {}),
            "cocoid": n,
            "split": "train",
            "sentids": [n],
            "sentences": [{"raw": text, "tokens": text.split(), "sentid": n} for text in WORDS[name]],
        }
        for n, name in enumerate(IMAGES)
    ],
}
REDCAPS = {
    "info": {"url": "x"},
    "annotations": [
        {"image_id": name.rpartition(".")[0], "raw_caption": "X", "caption": text, "subreddit": "pics"}
        for name, captions in WORDS.items()
        for text in captions
    ],
}  # fmt: skip
FORMS = {
    "commas.csv": lines(","),
    "semicolons.csv": lines(";"),
    "pipes.csv": "".join(f"{name}| {k}| {text}\n" for name in IMAGES for k, text in enumerate(WORDS[name])),
    "tabs.tsv": lines("\t"),
    "flickr8k.token.txt": "".join(
        f"{name}#{k}\t{text}\n" for name in IMAGES for k, text in enumerate(WORDS[name])
    ),
    "excel.csv": "sep=;\n" + lines(";"),
    "lines.jsonl": "\n".join(map(json.dumps, by_image())),
    "array.jsonl": json.dumps(by_image(), indent=1),
    "array.json": json.dumps(by_image()),
    "coco.json": json.dumps(COCO),
    "karpathy.json": json.dumps(KARPATHY),
    "redcaps.json": json.dumps(REDCAPS),
    "columns.json": json.dumps({"file_name": IMAGES, "captions": list(WORDS.values())}),
    "pandas.json": pd.DataFrame(by_image()).to_json(),
    "names.json": json.dumps(WORDS),
    "keys.parquet": [
        {"url": URL + name, "key": name.rpartition(".")[0], "caption": text, "status": "success"}
        for name, captions in WORDS.items()
        for text in captions
    ],
}


def write(path, form):
    if isinstance(form, list):
        pd.DataFrame(form).to_parquet(path)
    else:
        path.write_text(form)
    return path


@pytest.fixture
def folder(tmp_path):
    (tmp_path / "images" / "sub").mkdir(parents=True)
    for number, name in enumerate(IMAGES):
        (tmp_path / "images" / name).write_bytes(png(number))
    return tmp_path / "images"


@pytest.mark.parametrize("name", FORMS)
def test_the_same_words_by_every_route(folder, tmp_path, name):
    path = write(tmp_path / name, FORMS[name])
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        found = {item.source: item.captions for item in listed(folder, captions=path)}
        assert found == WORDS
        rows = CaptionsByRow(path, embeddings=IMAGES).of(range(3))
        assert [tuple(texts) for texts in rows] == list(WORDS.values())
        part = open_captions(path, embeddings=IMAGES).in_memory()
        assert part.sample.tolist() == [0, 0, 1, 2]
        assert part.caption.tolist() == [text for captions in WORDS.values() for text in captions]
    with pytest.raises(
        ValueError, match=r"names images and no rows .* give embeddings, what daskksvd.embed made"
    ):
        open_captions(path)


def test_the_column_that_names_the_images_is_found(tmp_path):
    """An id may be anything; the address is what a table of URLs was embedded by."""
    rows = [
        {"id": n, "image_id": 7 * n, "image_url": f"{URL}{n + 1}.jpg", "caption": f"c{n}"} for n in range(9)
    ]
    pd.DataFrame(rows).to_csv(tmp_path / "t.csv", index=False)
    for names in ([f"{URL}{n + 1}.jpg" for n in range(9)], [f"{7 * n:06d}.png" for n in range(9)]):
        part = open_captions(tmp_path / "t.csv", embeddings=names).in_memory()
        assert part.sample.tolist() == list(range(9)) and part.caption.tolist() == [f"c{n}" for n in range(9)]


def test_frames_by_name():
    frame = pd.DataFrame(by_image())
    for table in (frame, frame.explode("caption")):
        part = open_captions(table, embeddings=IMAGES).in_memory()
        assert part.sample.tolist() == [0, 0, 1, 2] and part.caption[3] == "a red cow"


def test_sbu_in_two_files_and_in_json(tmp_path):
    urls, texts = [f"{URL}{n}.jpg" for n in range(3)], ["a dog", "a cat", "a cow, red"]
    (tmp_path / "SBU_captioned_photo_dataset_urls.txt").write_text("\n".join(urls))
    (tmp_path / "SBU_captioned_photo_dataset_captions.txt").write_text("\n".join(texts))
    (tmp_path / "sbu.json").write_text(
        json.dumps({"image_urls": urls, "captions": texts, "user_ids": [1, 2, 3]})
    )
    for name in (
        "SBU_captioned_photo_dataset_urls.txt",
        "SBU_captioned_photo_dataset_captions.txt",
        "sbu.json",
    ):
        items = listed(tmp_path / name)
        assert [(item.image, item.captions) for item in items] == [
            (u, (t,)) for u, t in zip(urls, texts, strict=True)
        ]
        part = open_captions(tmp_path / name, embeddings=urls[::-1]).in_memory()
        assert part.caption.tolist() == texts[::-1]
    (tmp_path / "SBU_captioned_photo_dataset_captions.txt").write_text("a dog\na cat")
    with pytest.raises(
        ValueError, match=r"urls.txt has 3 lines and .*captions.txt 2; they must have as many"
    ):
        open_source(tmp_path / "SBU_captioned_photo_dataset_urls.txt")
    (tmp_path / "sbu.json").write_text(json.dumps({"image_urls": urls, "captions": texts[:2]}))
    with pytest.raises(ValueError, match="lists of other lengths: 3 image_urls, 2 captions"):
        open_source(tmp_path / "sbu.json")


def test_annotations_that_are_of_no_image_are_told(folder, tmp_path):
    coco = json.loads(json.dumps(COCO))
    coco["annotations"] += [{"image_id": 99, "caption": "x"}, {"image_id": 1, "caption": None}, 7]
    path = write(tmp_path / "coco.json", json.dumps(coco))
    items = listed(folder, captions=path)
    assert {item.source: item.captions for item in items if not isinstance(item.image, Failure)} == WORDS
    reasons = {
        item.source.rpartition(": ")[2]: item.image.reason for item in items if item.source not in WORDS
    }
    assert reasons == {
        "annotation 4": "is of the image 99, which is not among the images",
        "annotation 5": "has no caption",
        "annotation 6": "is a int; it must be an object",
    }
    with pytest.warns(
        UserWarning, match="3 lines of captions cannot be used and are left out: .*annotation 4"
    ):
        open_captions(path, embeddings=IMAGES)


# --- names ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "there, listed",
    [
        ("a.jpg", "./a.jpg"),
        ("sub/a.jpg", "sub\\a.jpg"),
        ("sub/a.jpg", "C:\\data\\sub\\a.jpg"),
        ("a.jpg", "a.JPG"),
        ("A.JPG", "a.jpg"),
        ("a.jpeg", "a.jpg"),
        ("my dog.jpg", "my%20dog.jpg"),
        ("my%20dog.jpg", "my dog.jpg"),
        ("café.jpg", "café.jpg"),
        (unicodedata.normalize("NFD", "café.jpg"), unicodedata.normalize("NFC", "café.jpg")),
        (unicodedata.normalize("NFC", "Ångström.jpg"), unicodedata.normalize("NFD", "Ångström.JPG")),
        ("a.jpg", "a"),
        ("a", "a.jpg"),
        ("a.jpg", "a.jpg#3"),
        ("000000000012.jpg", "12"),
        ("000000000012.jpg", "12.0"),
        ("000000000012.jpg", "0012.jpg"),
        ("COCO_val2014_000000000012.jpg", "12"),
        ("00003.tar::000030012", "000030012"),
        ("00003.tar::000030012", "30012.jpg"),
        ("val2014/a.jpg", "a.jpg"),
        ("a.jpg", "val2014/a.jpg"),
        ("images/val2014/a.jpg", "val2014/a.jpg"),
        ("http://a.test/photos/a.jpg", "a.jpg"),
        ("shard::IMG.1", "IMG.1.jpg"),
    ],
)
def test_names_that_mean_the_same(there, listed):
    assert Names(["z/other.png", there, "1.gif"]).find(listed) == (there, ())


@pytest.mark.parametrize(
    "there, listed",
    [
        ("a.jpg", "b.jpg"), ("a.jpg", "a.png"), ("train/a.jpg", "val/a.jpg"), ("12.jpg", "112"),
        ("train/012.jpg", "val/12.jpg"), ("ab.jpg", "b.jpg"), ("012.png", "12.jpg"), ("a.b.jpg", "a"),
        ("12.jpg", "12.5"), ("a.jpg", ""),
    ],
)  # fmt: skip
def test_names_that_mean_another(there, listed):
    assert Names([there]).find(listed) == (None, ())


def test_names_that_may_be_several():
    assert Names(["A.jpg", "a.JPG"]).find("a.jpg") == (None, ("A.jpg", "a.JPG"))
    assert Names(["x/a.jpg", "y/a.jpg"]).find("a.jpg") == (None, ("x/a.jpg", "y/a.jpg"))
    assert Names(["x/a.jpg", "y/a.jpg", "a.jpg"]).find("a.jpg") == ("a.jpg", ())
    assert Names(["012.jpg", "0012.jpg"]).find("12") == (None, ("012.jpg", "0012.jpg"))
    assert Names(["012.jpg", "12.jpg"]).find("12") == ("12.jpg", ())  # the ending is less than the number


def test_names_of_a_table_and_of_a_folder(folder, tmp_path):
    text = "file,caption\n.\\A.JPG,x\nb,y\nSUB%2FC.jpg,z\n"
    path = write(tmp_path / "t.csv", text)
    found = {item.source: item.captions for item in listed(folder, captions=path)}
    assert found == {"a.jpg": ("x",), "b.png": ("y",), "sub/c.jpg": ("z",)}
    (folder / "A.jpg").write_bytes(png(9))
    items = {item.source: item for item in listed(folder, captions=path)}
    assert (
        "2 files have the name that the captions file gives (A.jpg, a.jpg)" in items[".\\A.JPG"].image.reason
    )
    with pytest.warns(UserWarning, match=r"may be any of 2 images \(a.jpg, A.jpg\)"):
        part = open_captions(path, embeddings=[*IMAGES, "A.jpg"]).in_memory()
    assert part.sample.tolist() == [1, 2]


def test_other_names_altogether_are_told_first(folder, tmp_path):
    path = write(tmp_path / "t.csv", "file,caption\nx17,a dog\nx18,a cat\n")
    match = r"none of the 2 names in .*t\.csv is that of .*: the file has 'x17', the folder 'a\.jpg'"
    with pytest.warns(UserWarning, match=match):
        source = open_source(folder, captions=path)
    assert not source.has_captions and "'x17', the folder 'a.jpg'" in source.captions_hint
    assert [item.source for item in source.items()] == [*IMAGES, "x17", "x18"]
    with pytest.raises(
        ValueError, match=r"none of its 2 names is that of an image .* 'x17' in the column file, .* 'a.jpg'"
    ):
        open_captions(path, embeddings=IMAGES)


# --- beside each image ------------------------------------------------------------------------------------


def test_a_text_beside_each_image(folder):
    (folder / "a.txt").write_text("a dog, running\n\ntwo dogs\n")
    (folder / "b.json").write_text('{"caption": "one cat", "url": "x", "key": "b"}')
    (folder / "sub" / "c.txt").write_text(" \n")  # it hides no .json
    (folder / "sub" / "c.json").write_text('{"caption": "a red cow"}')
    (folder / "readme.txt").write_text("about")
    source = open_source(folder)
    assert source.has_captions and {item.source: item.captions for item in source.items()} == WORDS
    before = json.dumps(source.identity())
    (folder / "b.json").write_text('{"caption": "one small cat", "url": "x"}')
    assert json.dumps(open_source(folder).identity()) != before
    (folder / "b.json").write_text("{broken")
    (folder / "a.txt").write_bytes("un café".encode("latin-1"))
    with pytest.warns(UserWarning, match=r"has 1 text with bytes that are no UTF-8.*the first at a\.txt"):
        items = listed(folder)
    assert items[0].captions == ("un café",) and items[1].captions == ()
    assert items[1].missing.startswith("b.json is no JSON") and items[2].missing is None
    (folder / "captions.csv").write_text("file,caption\nb.png,said\n")  # a file of captions comes first
    assert [item.captions for item in listed(folder)] == [(), ("said",), ()]


# --- labels ------------------------------------------------------------------------------------------------


def test_labels_by_name_are_those_by_row(tmp_path):
    rng = np.random.default_rng(0)
    n = 400
    codes = sp.random(n, 6, 0.4, "csr", random_state=0)
    said = [["a dog", "a cat", "a red cow", "two birds"][int(rng.integers(4))] for _ in range(n)]
    rows = pd.DataFrame({"row": range(n), "caption": said})
    rows.to_csv(tmp_path / "rows.csv", index=False)
    wanted = daskksvd.label(codes, tmp_path / "rows.csv", min_df=5)
    names = [f"val2014/COCO_val2014_{number:012d}.jpg" for number in range(n)]
    order = rng.permutation(n)
    coco = {
        "images": [{"id": int(k), "file_name": names[k].rpartition("/")[2]} for k in order],
        "annotations": [{"image_id": int(k), "caption": said[k]} for k in order[::-1]],
    }
    coco["images"].append({"id": n, "file_name": "elsewhere.jpg"})
    coco["annotations"].append({"image_id": n, "caption": "a dog"})
    path = write(tmp_path / "captions_val2014.json", json.dumps(coco))
    with pytest.warns(UserWarning, match="1 of 401 lines of captions are of no row of the codes"):
        found = daskksvd.label(codes, path, min_df=5, embeddings=names)
    assert found.attrs["n_unknown_lines"] == 1
    for name in wanted.data_vars:
        np.testing.assert_array_equal(found[name].values, wanted[name].values)
    with pytest.raises(ValueError, match="give embeddings"):
        daskksvd.label(codes, path)
    with pytest.raises(ValueError, match="embeddings has 399 names, codes have 400 rows"):
        daskksvd.label(codes, path, embeddings=names[1:])


# --- nothing is lost --------------------------------------------------------------------------------------


DAMAGE = st.sampled_from(["", "", "", "short", "long", "blank", "unnamed", "quote", "latin", "empty"])


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(st.lists(DAMAGE, min_size=1, max_size=25), st.sampled_from([",", ";", "|", "\t"]), st.booleans())
def test_every_line_is_used_or_told(tmp_path_factory, damages, separator, last):
    """Of tables with any damage, embed, label and view use or list every line."""
    folder = tmp_path_factory.mktemp("t")
    header = ["row", "image", "split", "caption"] if last else ["row", "image", "caption", "split"]
    rows, n_lines, n_sound = [header], 0, 0
    for number, damage in enumerate(damages):
        text = {"blank": "", "latin": "un café", "quote": '"a dog', "long": f"a dog{separator} a cat"}.get(
            damage, "a dog"
        )
        name = "" if damage == "unnamed" else f"{number}.jpg"
        row = [str(number), name, "train", text] if last else [str(number), name, text, "train"]
        row = row[: -1 - (not last)] if damage == "short" else [""] if damage == "empty" else row
        rows.append(row)
        n_lines += damage != "empty"
        sound = damage in ("", "latin") or (damage == "quote" and (last or separator == "\t"))
        n_sound += sound or (damage == "long" and last)
    path = folder / ("t.tsv" if separator == "\t" else "t.csv")
    path.write_bytes("\n".join(separator.join(row) for row in rows).encode("latin-1"))
    (folder / "images").mkdir()
    for number in range(len(damages)):
        (folder / "images" / f"{number}.jpg").write_bytes(b"")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        items = listed(folder / "images", captions=path)
        used = sum(len(item.captions) for item in items)
        told = [item for item in items if ": line " in item.source]
        assert used + len(told) == n_lines and used >= n_sound
        assert all(isinstance(item.image, Failure) and item.lost == 1 for item in told)
        try:
            assert len(listed(path)) == n_lines
        except ValueError as error:
            assert "no rows that can be read" in str(error) and n_sound == 0
    with warnings.catch_warnings(record=True) as said:
        warnings.simplefilter("always")
        try:
            part = open_captions(path).in_memory()
            n_read = len(part.sample)
        except ValueError as error:
            assert "no line that can be used" in str(error) or "are empty" in str(error)
            assert n_sound == 0
            return
    counts = [str(one.message).split()[0] for one in said if "cannot be used" in str(one.message)]
    assert n_read + sum(map(int, counts)) == n_lines
