"""Dialects of tables, and forms of JSON, that other programs write."""

import csv
import io
import json

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from daskksvd.captions.by_sample import open_captions
from daskksvd.captions.files.cleaning import clean_captions
from daskksvd.captions.files.reading import read_captions
from daskksvd.captions.files.text import lines_of

BOTH = {"a.jpg": ("a dog",), "b.jpg": ("a cat",)}
RUNS = BOTH | {"a.jpg": ("a dog runs",)}


def read(path, text):
    """Captions by name, and broken lines by place, of a file with some text."""
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    found = read_captions(str(path))
    return found.by_name, dict(found.broken)


@pytest.mark.parametrize(
    "name, text, by_name",
    [
        ("t.tsv", 'image\tcaption\na.jpg\t"a dog\nruns"\nb.jpg\ta cat\n', RUNS),
        ("t.tsv", 'image\tcaption\na.jpg\t"a dog\truns"\nb.jpg\ta cat\n', RUNS),
        ("t.tsv", 'image\tcaption\tn\na.jpg\t"a dog\n\nruns"\t1\nb.jpg\ta cat\t2\n', RUNS),
        ("t.csv", "image,caption\na.jpg,a dog,\nb.jpg,a cat,\n", BOTH),
        ("t.csv", "\ufeffsep=\t\r\nimage\tcaption\r\na.jpg\ta dog\r\nb.jpg\ta cat\r\n", BOTH),
        ("t.tsv", "#image\tcaption\na.jpg\ta dog\nb.jpg\ta cat\n", BOTH),
        ("t.csv", "imageName,altText\na.jpg,a dog\nb.jpg,a cat\n", BOTH),
        ("t.csv", "image,caption\r\na.jpg,a dog\rb.jpg,a cat\n", BOTH),
        ("t.tsv", "image\tcaption\r\na.jpg\ta dog\rb.jpg\ta cat\n", BOTH),
        ("t.csv", "image,caption\r\na.jpg,a dog\rruns\r\nb.jpg,a cat\r\n", RUNS),
        ("t.tsv", "image\tcaption\r\na.jpg\ta dog\rruns\r\nb.jpg\ta cat\r\n", RUNS),
    ],
)
def test_dialects(tmp_path, name, text, by_name):
    assert read(tmp_path / name, text) == (by_name, {})


def test_quotes_escaped_by_backslashes(tmp_path):
    """As MySQL and Spark write them."""
    text = 'image,caption\na.jpg,"a \\"big\\" dog, brown"\nb.jpg,"5\\""\nc.jpg,a cat\n'
    by_name, broken = read(tmp_path / "t.csv", text)
    assert by_name == {"a.jpg": ('a "big" dog, brown',), "b.jpg": ('5"',), "c.jpg": ("a cat",)}
    assert not broken


@pytest.mark.parametrize("end", ["", '"'])
def test_a_quote_in_a_file_with_tabs_swallows_no_line(tmp_path, end):
    by_name, broken = read(tmp_path / "t.tsv", f'a.jpg\t"a dog\nb.jpg\ta cat{end}\nc.jpg\ta cow\n')
    assert by_name == {"a.jpg": ('"a dog',), "b.jpg": (f"a cat{end}",), "c.jpg": ("a cow",)} and not broken
    text = f'"a dog\thttp://x.org/a\na cat{end}\thttp://x.org/b\n'
    (tmp_path / "cc.tsv").write_text(text)
    found = read_captions(str(tmp_path / "cc.tsv"), names=("url",)).by_name
    assert found == {"http://x.org/a": ('"a dog',), "http://x.org/b": (f"a cat{end}",)}


@given(st.lists(st.text(st.sampled_from('ab "\n,;'), min_size=1).filter(str.strip), min_size=1, max_size=8))
def test_what_excel_writes_with_tabs_is_read_as_it_was(tmp_path_factory, captions):
    """Every field with quotes, those inside doubled."""
    file = io.StringIO()
    writer = csv.writer(file, delimiter="\t", quoting=csv.QUOTE_ALL, lineterminator="\n")
    writer.writerows([("image", "caption"), *((f"{n}.jpg", text) for n, text in enumerate(captions))])
    by_name, broken = read(tmp_path_factory.mktemp("tabs") / "t.tsv", file.getvalue())
    assert by_name == {f"{n}.jpg": clean_captions(text) for n, text in enumerate(captions)} and not broken


def test_a_caption_column_and_its_numbered_ones(tmp_path):
    text = "image,caption,caption_2,caption_en\na.jpg,a dog,brown,no\nb.jpg,a cat,,no\n"
    assert read(tmp_path / "t.csv", text)[0] == {"a.jpg": ("a dog", "brown"), "b.jpg": ("a cat",)}


@pytest.mark.parametrize(
    "start, reason",
    [(b"\x1f\x8b\x08", "must end in .gz"), (b"PK\x03\x04", "workbook"), (b"PAR1", "must end in .parquet")],
)
@pytest.mark.parametrize("ending", ["csv", "json", "jsonl"])
def test_files_that_are_no_text(tmp_path, start, reason, ending):
    with pytest.raises(ValueError, match=reason):
        read(tmp_path / f"t.{ending}", start + b"\0\1,\n" * 8)


JSON = {
    "numbers": {
        "images": [{"id": 7.0, "file_name": "a.jpg"}, {"id": "8", "file_name": "b.jpg"}],
        "annotations": [{"image_id": 7, "caption": "a dog"}, {"image_id": 8.0, "caption": "a cat"}],
    },
    "tokens": {
        "images": [
            {"filename": "a.jpg", "sentences": [{"tokens": ["a", "dog"]}]},
            {"filename": "b.jpg", "sentences": [{"raw": "a cat", "tokens": ["a", "c"]}]},
        ]
    },
    "splits": {
        "train": [{"image": "a.jpg", "caption": "a dog"}],
        "val": [{"image": "b.jpg", "caption": "a cat"}],
    },
    "paths": [{"image": {"path": "a.jpg"}, "text": "a dog"}, {"image": {"path": "b.jpg"}, "text": "a cat"}],
    "TextCaps": {
        "dataset_type": "train",
        "data": [
            {"image_id": "a", "image_path": "a.jpg", "caption_str": "a dog", "reference_strs": ["no"]},
            {"image_id": "b", "image_path": "b.jpg", "caption_str": "a cat", "reference_strs": ["no"]},
        ],
    },
}


@pytest.mark.parametrize("name", JSON)
def test_forms_of_json(tmp_path, name):
    by_name, broken = read(tmp_path / "t.json", json.dumps(JSON[name]))
    assert {name.removesuffix(".jpg") + ".jpg": one for name, one in by_name.items()} == BOTH and not broken


def test_names_in_bytes(tmp_path):
    path = tmp_path / "t.parquet"
    pd.DataFrame({"image": [b"a.jpg", b"b.jpg"], "caption": ["a dog", "a cat"]}).to_parquet(path)
    assert read_captions(str(path)).by_name == BOTH


@given(st.text(st.sampled_from("ab\r\n\v\f\x85\u2028"), max_size=12))
def test_lines_of_a_text_are_those_of_a_file(text):
    assert lines_of(text) == io.StringIO(text, newline=None).read().split("\n")


@pytest.mark.parametrize("write", [json.dumps, str, lambda texts: str(np.array(texts, object))])
@given(st.lists(st.text(st.sampled_from("ab '\",\\")).filter(str.strip), min_size=1, max_size=4))
def test_lists_in_cells(tmp_path_factory, write, texts):
    """As pandas writes a column of lists or of arrays, and JSON in CSV as Flickr30k has it on the Hub."""
    folder = tmp_path_factory.mktemp("lists")
    frame = pd.DataFrame({"row": [0, 1], "image": ["a.jpg", "b.jpg"], "raw": [write(texts), "[a] dog, [b"]})
    frame.to_csv(folder / "t.csv", index=False)
    cleaned = tuple(" ".join(text.split()) for text in texts)
    assert read_captions(str(folder / "t.csv")).by_name == {"a.jpg": cleaned, "b.jpg": ("[a] dog, [b",)}
    found = open_captions(folder / "t.csv").in_memory()
    assert found.sample.tolist() == [0] * len(texts) + [1]
    assert tuple(found.caption) == (*cleaned, "[a] dog, [b")


def test_several_caption_columns_by_row(tmp_path):
    (tmp_path / "t.csv").write_text("row,caption,caption_2\n0,a dog,brown\n1,a cat,\n")
    found = open_captions(tmp_path / "t.csv").in_memory()
    assert found.sample.tolist() == [0, 0, 1] and found.caption.tolist() == ["a dog", "brown", "a cat"]


def test_a_cell_with_an_empty_list(tmp_path):
    by_name, broken = read(tmp_path / "t.csv", "image,caption\na.jpg,[]\nb.jpg,a cat\n")
    assert by_name == {"a.jpg": (), "b.jpg": ("a cat",)} and list(broken) == ["line 2"]


def test_quotes_at_both_ends_of_a_field_with_tabs(tmp_path):
    """They are around it only if those inside are doubled."""
    text = 'a.jpg\t"x" and "y"\nb.jpg\t"Hello" she said "\nc.jpg\t"a ""big"" dog"\n'
    by_name, broken = read(tmp_path / "t.tsv", text)
    assert by_name == {"a.jpg": ('"x" and "y"',), "b.jpg": ('"Hello" she said "',), "c.jpg": ('a "big" dog',)}
    assert not broken


@given(st.lists(st.sampled_from(['"open', "plain", 'in "quotes"', '"one\ntwo"', '"a\tb"']), max_size=60))
def test_blocks_of_lines_make_no_difference(tmp_path_factory, captions):
    """Open quotes, quoted line ends and tabs at the edges of the blocks that are parsed at a time."""
    path = tmp_path_factory.mktemp("blocks") / "t.tsv"
    path.write_text("image\tcaption\n" + "".join(f"{n}.jpg\t{text}\n" for n, text in enumerate(captions)))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("daskksvd.captions.files.records._BLOCK", 3)
        found = read_captions(str(path))
    known = {'"one\ntwo"': "one two", '"a\tb"': "a b"}
    assert found.by_name == {f"{n}.jpg": (known.get(text, text),) for n, text in enumerate(captions)}
    assert not found.broken
