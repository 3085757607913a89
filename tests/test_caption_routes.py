"""Captions by all the ways that they come in: the same columns say the same, whoever reads them."""

import json
import warnings

import dask.dataframe as dd
import fsspec
import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from small_sources import datasets, listed, png

from daskksvd.captions.by_sample import open_captions
from daskksvd.captions.files.cleaning import clean_captions
from daskksvd.view.data.captions import CaptionsByRow

NAMES = ["a.png", "b.png", "c.png"]

TABLES = {
    "one": {"caption": ["a dog", "a cat", "a cow"]},
    "second": {"caption": ["a dog", "a cat", "a cow"], "caption_2": ["brown", None, " "]},
    "numbered": {"caption_0": ["a dog", "a cat", None], "caption_1": ["brown", None, "a cow"]},
    "numbered, beside a title": {"title": ["x", "y", "z"], "caption1": ["a dog", "a cat", "a cow"]},
    "others": {"Caption (1)": ["a dog", "a cat", "a cow"], "Caption (2)": ["brown", "black", "white"]},
    "sentences": {"sentence.0": ["a dog", "a cat", "a cow"], "sentence.1": ["brown", None, None]},
    "texts": {"text": ["a dog", "a cat", "a cow"], "text_en": ["no", "no", "no"]},
    "in no order": {"caption_2": ["brown", None, None], "caption": ["a dog", "a cat", "a cow"]},
    "lists": {"captions": [["a dog", "brown"], ["a cat"], ["a cow", "white", " "]]},
    "raw": {"raw": [["a dog", "brown"], [], ["a cow"]]},
    "written lists": {"caption": ['["a dog", "brown"]', "['a cat']", " ['a cow' 'white']"]},
    "a written list": {"caption": ["[a dog] runs", '["a cat", "black"]', "[a cow"]},
    "both": {"caption": [["a dog"], ["a cat"], ["a cow"]], "caption_2": ["brown", '["black", "big"]', None]},
}


def said(columns):
    """Captions of each row: what its columns with captions have, in the order of their numbers."""
    names = [name for name in columns if name not in ("title", "text_en")]
    names.sort(key=lambda name: (len(names) > 1 and name != "caption", name))
    return [clean_captions([columns[name][row] for name in names]) for row in range(len(NAMES))]


def written(table, array=json.dumps):
    """The same with every list as text, as in files of separated values."""
    return {
        name: [array(one) if isinstance(one, list) else one for one in column]
        for name, column in table.items()
    }


def as_csv(table, path):
    path = path.with_suffix(".csv")
    pd.DataFrame(written(table)).to_csv(path, index=False)
    return path


def as_pandas_csv(table, path):
    """Lists as pandas writes them: in the way of Python."""
    path = path.with_suffix(".csv")
    pd.DataFrame(table).to_csv(path, index=False)
    return path


def as_tsv(table, path):
    path = path.with_suffix(".tsv")
    pd.DataFrame(written(table)).to_csv(path, index=False, sep="\t")
    return path


def as_jsonl(table, path):
    path = path.with_suffix(".jsonl")
    rows = zip(*table.values(), strict=True)
    path.write_text("\n".join(json.dumps(dict(zip(table, row, strict=True))) for row in rows))
    return path


def as_json(table, path):
    path = path.with_suffix(".json")
    path.write_text(
        json.dumps([dict(zip(table, row, strict=True)) for row in zip(*table.values(), strict=True)])
    )
    return path


def as_parquet(table, path):
    path = path.with_suffix(".parquet")
    pq.write_table(pa.table(table), path, row_group_size=2)
    return path


def as_folder(table, path):
    """Files of which only some have the columns that others have nothing in."""
    path.mkdir()
    for row in range(len(NAMES)):
        one = {name: column[row : row + 1] for name, column in table.items()}
        kept = {name: column for name, column in one.items() if column != [None]}
        pq.write_table(pa.table(kept), path / f"{row}.parquet")
    return path


def as_frame(table, path):
    return pd.DataFrame(table)


def as_dask(table, path):
    return dd.from_pandas(pd.DataFrame(written(table)), npartitions=2)


FILES = (as_csv, as_pandas_csv, as_tsv, as_jsonl, as_json, as_parquet)
FORMS = (*FILES, as_folder, as_frame, as_dask)


def by_row(captions, **options):
    """Captions as `label` and as `view` have them."""
    opened = open_captions(captions, **options)
    part = opened.in_memory()
    found = [
        tuple(" ".join(text.split()) for text in part.caption[part.sample == row] if text and text.strip())
        for row in range(len(NAMES))
    ]
    rows = CaptionsByRow(opened).of(range(len(NAMES)))
    assert [tuple(" ".join(text.split()) for text in texts) for texts in rows] == found
    return found


@pytest.mark.parametrize("name", TABLES)
@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("key", ["row", "Sample", "image"])
def test_label_and_view(tmp_path, name, form, key):
    columns = {key: NAMES if key == "image" else [0, 1, 2], **TABLES[name]}
    options = {"embeddings": NAMES} if key == "image" else {}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of rows that have none
        assert by_row(form(columns, tmp_path / "t"), **options) == said(TABLES[name])


@pytest.mark.parametrize("name", TABLES)
@pytest.mark.parametrize("form", FILES)
def test_embed(tmp_path, name, form):
    for image in NAMES:
        (tmp_path / image).write_bytes(png())
    path = form({"image": NAMES, **TABLES[name]}, tmp_path / "t")
    assert [item.captions for item in listed(str(path))] == said(TABLES[name])


@pytest.mark.parametrize("name", TABLES)
def test_embed_what_is_no_file(name, tmp_path):
    columns = {"image": [png(number) for number in range(len(NAMES))], **TABLES[name]}
    rows = [dict(zip(columns, row, strict=True)) for row in zip(*columns.values(), strict=True)]
    assert [item.captions for item in listed(rows)] == said(TABLES[name])
    data = datasets.Dataset.from_dict(columns).cast_column("image", datasets.Image())
    assert [item.captions for item in listed(data)] == said(TABLES[name])
    for number, row in enumerate(rows):
        (tmp_path / NAMES[number]).write_bytes(row.pop("image"))
        (tmp_path / NAMES[number]).with_suffix(".json").write_text(json.dumps(row))
    assert [item.captions for item in listed(str(tmp_path))] == said(TABLES[name])


NUMBERED = ("caption", "caption_2")


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None, max_examples=40)
@given(
    st.lists(
        st.fixed_dictionaries(
            {
                "caption": st.none() | st.text("ab [\"]',", max_size=9),
                "caption_2": st.none() | st.text("ab[]\"'", max_size=9),
            }
        ),
        min_size=1,
        max_size=3,
    )
)
def test_any_text(tmp_path_factory, rows):
    """And what was cleaned once, as `embed` stores it, says the same again."""
    table = {"row": list(range(len(rows))), **{name: [row[name] for row in rows] for name in NUMBERED}}
    folder = tmp_path_factory.mktemp("any")
    wanted = [clean_captions([row[name] for name in NUMBERED]) for row in rows] + [()] * (
        len(NAMES) - len(rows)
    )
    assert [clean_captions(captions) for captions in wanted] == wanted
    for form in (as_jsonl, as_parquet, as_frame):
        if form is as_parquet and any(set(column) == {None} for column in table.values()):
            continue
        assert by_row(form(table, folder / "t")) == wanted


def test_keys_of_json_that_come_late(tmp_path):
    """A sixth caption that few images have."""
    lines = [json.dumps({"row": n, "caption_1": f"text {n}"}) for n in range(300)]
    lines[200] = json.dumps({"row": 200, "caption_1": "a dog", "caption_2": "brown", "other": "no"})
    (tmp_path / "t.jsonl").write_text("\n".join(lines))
    assert open_captions(tmp_path / "t.jsonl").in_memory().caption[199:203].tolist() == [
        "text 199", "a dog", "brown", "text 201",
    ]  # fmt: skip


def test_annotations_with_several_captions(tmp_path):
    coco = {
        "images": [{"id": n, "file_name": name} for n, name in enumerate(NAMES)],
        "annotations": [
            {"image_id": 0, "caption": ["a dog", "brown"]},
            {"image_id": 1, "caption": "a cat", "caption_2": "black"},
            {"image_id": 2, "caption": "a cow"},
        ],
    }
    (tmp_path / "coco.json").write_text(json.dumps(coco))
    wanted = [("a dog", "brown"), ("a cat", "black"), ("a cow",)]
    assert by_row(tmp_path / "coco.json", embeddings=NAMES) == wanted


@pytest.mark.parametrize("name", ["caption,caption", "caption,caption,caption.1"])
def test_columns_of_one_name(tmp_path, name):
    names = ["row", *name.split(",")]
    values = [[0, 1, 2], ["a dog", "a cat", "a cow"], ["brown", "black", "white"], ["1", "2", "3"]]
    rows = [*zip(*values, strict=True)]
    wanted = [tuple(row[1 : len(names)]) for row in rows]
    frame = pd.DataFrame([row[: len(names)] for row in rows], columns=names)
    frame.to_csv(tmp_path / "t.csv", index=False)
    pq.write_table(pa.table(values[: len(names)], names=names), tmp_path / "t.parquet")
    for captions in (frame, tmp_path / "t.csv", tmp_path / "t.parquet"):
        assert [tuple(sorted(one)) for one in by_row(captions)] == [tuple(sorted(one)) for one in wanted]


def test_an_index_that_is_stored_as_one(tmp_path):
    frame = pd.DataFrame({"caption": ["a dog", "a cat", "a cow"]}, index=pd.Index([0, 1, 2], name="row"))
    frame.to_parquet(tmp_path / "t.parquet", index=True)
    assert by_row(tmp_path / "t.parquet") == [("a dog",), ("a cat",), ("a cow",)]


@pytest.mark.parametrize("missing", [None, np.nan, np.float32("nan"), pd.NA, pd.NaT])
@pytest.mark.parametrize("key", ["row", "image"])
def test_empty_cells_of_frames(missing, key):
    frame = pd.DataFrame(
        {key: NAMES if key == "image" else [0, 1, 2], "caption": ["a dog", missing, "a cow"]}
    )
    frame = frame.assign(caption_2=np.array([missing, "b", b"white"], object))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        assert by_row(frame, embeddings=NAMES) == [("a dog",), ("b",), ("a cow", "white")]


@pytest.mark.parametrize("ending", [".csv", ".json", ".npy", ".txt.gz"])
def test_only_parquet_is_read_at_addresses(ending):
    address = f"memory://captions{ending}"
    with fsspec.open(address, "w") as file:
        file.write("row,caption\n0,a dog\n")
    with pytest.raises(ValueError, match=f"captions is '{address}', an address, where only Parquet is read"):
        open_captions(address)


@pytest.mark.parametrize(
    ("address", "error", "message"),
    [
        ("memory://none.parquet", FileNotFoundError, "and there is no such file"),
        ("memory://text.parquet", ValueError, "which cannot be read as Parquet"),
        ("nowhere://x.parquet", ValueError, "which cannot be read as Parquet .*nowhere"),
    ],
)
def test_what_is_wrong_at_an_address_is_one_sentence(address, error, message):
    with fsspec.open("memory://text.parquet", "w") as file:
        file.write("row,caption\n")
    with pytest.raises(error, match=message) as caught:
        open_captions(address)
    assert str(caught.value).startswith(f"captions is '{address}'") and "\n" not in str(caught.value)


def test_parquet_at_an_address(tmp_path):
    frame = pd.DataFrame({"row": [1, 0], "caption": ["a dog", "a cat"]})
    with fsspec.open("memory://some.parquet", "wb") as file:
        frame.to_parquet(file)
    [part] = open_captions("memory://some.parquet")
    assert part.caption.tolist() == ["a cat", "a dog"]
