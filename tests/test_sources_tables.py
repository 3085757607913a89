"""Tables as sources: an image on several lines is one sample, whatever its name is written like."""

import json
import warnings

import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from small_sources import comparable, listed, number_of, png

from daskksvd.embedding.sources import Failure, open_source


def test_lines_of_one_image_are_one_sample(tmp_path):
    lines = ["url,caption"]
    lines += [f"http://a.test/{n % 4}.jpg,caption {k} of {n % 4}" for k in range(5) for n in range(4)]
    lines.insert(3, "http://a.test/9.jpg")
    (tmp_path / "t.csv").write_text("\n".join(lines))
    with pytest.warns(
        UserWarning, match="names 4 images on 20 lines; the lines of an image are taken together"
    ):
        source = open_source(tmp_path / "t.csv")
    items = list(source.items())
    assert source.n == len(items) == 5
    assert [item.source for item in items] == [
        "http://a.test/0.jpg", "http://a.test/1.jpg", "t.csv: line 4", "http://a.test/2.jpg", "http://a.test/3.jpg"
    ]  # fmt: skip
    assert items[3].captions == tuple(f"caption {k} of 2" for k in range(5))
    assert isinstance(items[2].image, Failure) and sum(len(item.captions) for item in items) == 20
    assert [comparable(item) for item in source.items(3)] == [comparable(item) for item in items[3:]]


def test_tables_whose_images_differ_are_as_before(tmp_path):
    (tmp_path / "t.csv").write_text("url,caption\nhttp://a.test/1.jpg,x\nhttp://a.test/2.jpg,y\n,z\n,w\n")
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        source = open_source(tmp_path / "t.csv")
    assert [item.captions for item in source.items()] == [("x",), ("y",), ("z",), ("w",)]
    assert set(source.identity()) == {"kind", "path", "columns", "files"}  # so that old runs go on
    before = json.dumps(source.identity())
    (tmp_path / "t.csv").write_text("url,caption\nhttp://a.test/1.jpg,x\nhttp://a.test/1.jpg,y\n,z\n,w\n")
    with pytest.warns(UserWarning, match="names 1 images on 2 lines"):
        assert json.dumps(open_source(tmp_path / "t.csv").identity()) != before


@settings(max_examples=40, deadline=None)
@given(st.lists(st.integers(0, 8), min_size=1, max_size=40), st.integers(0, 40))
def test_no_caption_is_lost_by_taking_lines_together(tmp_path_factory, images, start):
    path = tmp_path_factory.mktemp("t") / "t.jsonl"
    rows = [{"url": f"http://a.test/{n}.jpg", "caption": f"{n} {k}"} for k, n in enumerate(images)]
    path.write_text("\n".join(map(json.dumps, rows)))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        items = list(open_source(path).items())
        again = list(open_source(path).items(start))
    wanted = pd.DataFrame(rows).groupby("url", sort=False)["caption"].apply(tuple)
    assert [item.source for item in items] == wanted.index.tolist()
    assert [item.captions for item in items] == wanted.tolist()
    assert [comparable(item) for item in again] == [comparable(item) for item in items[start:]]


def test_flickr8k_as_a_source(photos):
    names = ("a.png", "b.PNG", "sub/c.png")
    text = "".join(f"{name}#{k}\tcaption {k}\n" for name in names for k in range(5))
    (photos / "Flickr8k.token.txt").write_text(text)
    with pytest.warns(UserWarning, match="names 3 images on 15 lines"):
        items = listed(photos / "Flickr8k.token.txt")
    assert [number_of(item) for item in items] == [0, 1, 2]
    assert all(item.captions == tuple(f"caption {k}" for k in range(5)) for item in items)


def test_names_of_files_that_are_written_in_other_ways(photos):
    (photos / "sub" / "C.png").write_bytes(png(7))
    lines = "A.PNG,x\nb,y\n.\\sub\\c.png,z\nsub/C.PNG,w\nnone.png,v\n../a.png,u\n"
    (photos / "t.csv").write_text("file,caption\n" + lines)
    items = listed(photos / "t.csv")
    assert [number_of(item) for item in items[:3]] == [0, 1, 2]
    assert [item.source for item in items[:2]] == ["a.png", "b.PNG"]
    assert "2 files have the name that the table gives (sub/C.png, sub/c.png)" in items[3].image.reason
    assert items[4].source == "none.png" and "outside its folder" in items[5].image.reason


def test_coco_as_a_source_has_an_image_once(tmp_path):
    coco = {
        "images": [
            {"id": n, "file_name": f"{n}.jpg", "coco_url": f"http://a.test/{n}.jpg"} for n in range(3)
        ],
        "annotations": [{"image_id": n % 3, "id": n, "caption": f"caption {n}"} for n in range(6)],
    }
    (tmp_path / "captions_val2017.json").write_text(json.dumps(coco))
    items = listed(tmp_path / "captions_val2017.json")
    assert [item.image for item in items] == [f"http://a.test/{n}.jpg" for n in range(3)]
    assert items[1].captions == ("caption 1", "caption 4")


@pytest.mark.parametrize(
    "text, captions",
    [
        ("http://a.test/1.jpg\ta dog\nhttp://a.test/2.jpg\ta cat\n", ["a dog", "a cat"]),
        ("a dog\thttp://a.test/1.jpg\na cat\thttp://a.test/2.jpg\n", ["a dog", "a cat"]),
        (
            "URL\tTEXT\thash\nhttp://a.test/1.jpg\ta dog\t3\nhttp://a.test/2.jpg\ta cat\t4\n",
            ["a dog", "a cat"],
        ),
    ],
)
def test_tables_of_laion_and_conceptual_captions(tmp_path, text, captions):
    (tmp_path / "t.tsv").write_text(text)
    assert [item.captions for item in listed(tmp_path / "t.tsv")] == [(caption,) for caption in captions]


def test_three_columns_without_a_header_are_asked_for(tmp_path):
    (tmp_path / "t.tsv").write_text("17\thttp://a.test/1.jpg\ta dog\n18\thttp://a.test/2.jpg\ta cat\n")
    with pytest.raises(ValueError, match="has no header line and 3 columns; give it a first line with names"):
        open_source(tmp_path / "t.tsv")
    for columns in ("2", ["column_2"]):
        items = listed(tmp_path / "t.tsv", url_column="1", caption_columns=columns)
        assert [(item.image, item.captions) for item in items] == [
            ("http://a.test/1.jpg", ("a dog",)), ("http://a.test/2.jpg", ("a cat",)),
        ]  # fmt: skip
