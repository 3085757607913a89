"""Tables of captions as people have them: what a line says, or where it is broken and why."""

import gzip
import json

import pandas as pd
import pytest

from daskksvd.captions.by_sample import open_captions
from daskksvd.captions.files.reading import read_captions
from daskksvd.captions.files.separated import Broken
from daskksvd.captions.files.tables import open_table


def read(path, text, encoding="utf-8", **options):
    """Captions by name, and broken lines by place, of a file with some text."""
    data = text if isinstance(text, bytes) else text.encode(encoding)
    path.write_bytes(gzip.compress(data) if path.name.endswith(".gz") else data)
    found = read_captions(str(path), **options)
    return found.by_name, dict(found.broken)


# --- separated values -------------------------------------------------------------------------------


def test_a_missing_separator_is_a_broken_line(tmp_path):
    """Flickr30k has one such line, whose caption is not to be lost silently."""
    text = (
        "image_name| comment_number| comment\n"
        "1.jpg| 0| A dog runs .\n"
        "1.jpg| 4   A dog runs across the grass .\n"
        "2.jpg| 0| A cat , asleep .\n"
    )
    by_name, broken = read(tmp_path / "results.csv", text)
    assert by_name == {"1.jpg": ("A dog runs .",), "2.jpg": ("A cat , asleep .",)}
    assert broken == {
        "line 3": "has 2 fields, and the table has 3 columns (image_name, comment_number, comment)"
    }


@pytest.mark.parametrize("name, separator", [("t.csv", ","), ("t.csv", ";"), ("t.txt", "|"), ("t.tsv", "\t")])
def test_lines_of_other_lengths(tmp_path, name, separator):
    lines = [
        "image,caption,split",
        "a.png,a dog, brown,train",
        "b.png,a cat,val",
        "c.png,a cow",
        ",,",
        "d.png",
    ]
    text = "\n".join(lines).replace(",", separator)
    by_name, broken = read(tmp_path / name, text)
    assert by_name == {"b.png": ("a cat",)}
    assert list(broken) == ["line 2", "line 4", "line 6"]
    assert broken["line 2"].startswith("has 4 fields, and the table has 3 columns (image, caption, split)")
    assert broken["line 4"].startswith("has 2 fields,") and broken["line 6"].startswith("has 1 field,")


@pytest.mark.parametrize("blank", [",", " , ", '"",""', "", "  "])
@pytest.mark.parametrize("others", ["2,a cow", "2"])
def test_blank_fields_are_no_broken_line(tmp_path, blank, others, recwarn):
    """As editors of tables leave them below the last line, whether another line is broken or not."""
    (tmp_path / "t.csv").write_text(f"row,caption\n0,a dog\n{blank}\n1,a cat\n{others}\n{blank}\n")
    [part] = open_captions(str(tmp_path / "t.csv"))
    told = [str(one.message) for one in recwarn]
    if others == "2":
        assert part.sample.tolist() == [0, 1]
        assert len(told) == 1 and told[0].startswith("1 line of captions cannot be used and is left out:")
    else:
        assert part.sample.tolist() == [0, 1, 2] and not told


@pytest.mark.parametrize(
    "line, caption",
    [
        ('a.png,a dog, brown,  and  "black"', 'a dog, brown, and "black"'),
        ('a.png,one,"two, three", four', 'one,"two, three", four'),
        ('"a.png",one, two', "one, two"),
        ('a.png,"one, two"', "one, two"),
        ('a.png,"one ""two"", three"', 'one "two", three'),
    ],
)
def test_a_caption_in_the_last_column_keeps_its_separators(tmp_path, line, caption):
    by_name, broken = read(tmp_path / "t.csv", f"image,caption\n{line}\n")
    assert by_name == {"a.png": (caption,)} and not broken
    by_name, broken = read(tmp_path / "t.csv", f"split,image,caption\ntrain,{line}\n")
    assert by_name == {"a.png": (caption,)} and not broken


def test_several_caption_columns_do_not_share_what_is_left(tmp_path):
    by_name, broken = read(tmp_path / "t.csv", "id,caption_0,caption_1\na,one,two, three\nb,one,\n")
    assert by_name == {"b": ("one",)} and list(broken) == ["line 2"]


def test_empty_columns_at_the_end(tmp_path):
    """Excel writes them where a cell to the right was once used."""
    by_name, broken = read(tmp_path / "t.csv", "image,caption,,\na.png,a dog,,\nb.png,a cat,,\n,,,\n")
    assert by_name == {"a.png": ("a dog",), "b.png": ("a cat",)} and not broken
    by_name, broken = read(tmp_path / "t.csv", "caption,image\na dog,a.png,,\n")
    assert by_name == {"a.png": ("a dog",)} and not broken


def test_a_column_several_times(tmp_path):
    for header in ("image,caption,caption,caption", "image,caption,caption.1,caption.2"):
        by_name, _ = read(tmp_path / "t.csv", f"{header}\na.png,x,y,z\n")
        assert by_name == {"a.png": ("x", "y", "z")}


def test_cells_that_are_no_captions_are_told(tmp_path):
    by_name, broken = read(tmp_path / "t.csv", "image,caption\na.png,\nb.png,12\n,x\nc.png,  \n")
    assert by_name == {"a.png": (), "b.png": ("12",), "c.png": ()}
    assert broken == {
        "line 2": "has no caption in the column caption (of a.png)",
        "line 4": "names no image in the column image",
        "line 5": "has no caption in the column caption (of c.png)",
    }
    by_name, broken = read(tmp_path / "t.jsonl", '{"image": "a.png", "caption": ["x", 4, null]}')
    assert by_name == {"a.png": ("x",)} and broken["line 1"].startswith("has a int (4)")
    values = [None, float("nan"), 3, True, 2.5, [], ["x", None], {"a": 1}, [4]]
    text = "\n".join(json.dumps({"image": f"{n}.png", "caption": value}) for n, value in enumerate(values))
    by_name, broken = read(tmp_path / "t.jsonl", text + '\n{"image": "9.png"}')
    assert {name: found for name, found in by_name.items() if found} == {"6.png": ("x",)}
    assert len(broken) == len(values) and broken["line 10"] == broken["line 1"].replace("0.png", "9.png")
    assert broken["line 3"] == "has a int (3) in the column caption; it must be text (of 2.png)"
    assert broken["line 4"].startswith("has a bool (True)") and broken["line 9"].startswith("has a int (4)")


def test_missing_cells_of_parquet_are_told(tmp_path):
    table = pd.DataFrame({"image": ["a.png", None, "c.png"], "caption": ["a dog", "a cat", None]})
    table.to_parquet(tmp_path / "t.parquet")
    found = read_captions(str(tmp_path / "t.parquet"))
    assert found.by_name == {"a.png": ("a dog",), "c.png": ()}
    assert [place for place, _ in found.broken] == ["row 1", "row 2"]


# --- headers ------------------------------------------------------------------------------------------


HEADERLESS = {
    "flickr8k.token.txt": ("a.png#0\ta dog, running\na.png#1\ttwo\nb.png#0\tcats\n"),
    "results.token": ("a.png#0\ta dog, running\na.png#1\ttwo\nb.png#0\tcats\n"),
    "pipes.csv": ("a.png| 0| a dog, running\na.png| 1| two\nb.png| 0| cats, cats, cats, cats\n"),
    "names.csv": ('a.png,"a dog, running"\na.png,two\nb.png,cats\n'),
    "commas.csv": ("a.png,a dog, running\na.png,two\nb.png,cats\n"),
    "last.tsv": ("a dog, running\ta.png\ntwo\ta.png\ncats\tb.png\n"),
    "ids.csv": ('a,"a dog, running around the house"\na,"two of them"\nb,"all the cats"\n'),
    "unlike.csv": ("Name of the picture,What it is about\na.png,a dog\nb.png,a cat\n"),
    "head.csv": ("caption.png,title\na.png,a dog\nb.png,a cat\n"),
}


@pytest.mark.parametrize("name", HEADERLESS)
def test_files_without_a_header(tmp_path, name):
    by_name, broken = read(tmp_path / name, HEADERLESS[name])
    by_name = {key.split("#")[0]: by_name.get(key, ()) for key in by_name} | {
        key: captions for key, captions in by_name.items() if "#" not in key
    }
    assert set(by_name) >= {"a.png", "b.png"} or set(by_name) == {"a", "b"}
    assert all(by_name.values()) and not broken


def test_a_header_that_looks_like_data(tmp_path):
    by_name, _ = read(tmp_path / "t.csv", "photo.jpg,caption\n12,a dog\n13,a cat\n", image_column="photo.jpg")
    assert by_name == {"12": ("a dog",), "13": ("a cat",)}
    by_name, _ = read(
        tmp_path / "t.csv", "1,2\na.png,a dog\nb.png,a cat\n", image_column="1", caption_columns="2"
    )
    assert by_name == {"a.png": ("a dog",), "b.png": ("a cat",)}


@pytest.mark.parametrize(
    "text",
    [
        "1\ta.png\ta dog\n2\tb.png\ta cat\n",
        "17\thttp://a.test/a.png\ta dog\n18\thttp://a.test/b.png\ta cat\n",
        "http://a.test/a.png\t640\t480\ta dog\nhttp://a.test/b.png\t640\t480\ta cat\n",
    ],
)
def test_more_columns_without_a_header_are_asked_for(tmp_path, text):
    """The first column that is no address may be an id, a size or anything."""
    with pytest.raises(
        ValueError, match=r"has no header line and . columns; give it a first line with names"
    ):
        read(tmp_path / "t.tsv", text)
    fields = text.split("\n")[0].split("\t")
    image = next(number for number, field in enumerate(fields) if field.endswith(".png"))
    for named in (str, int, "column_{}".format):
        by_name, broken = read(
            tmp_path / "t.tsv", text, image_column=named(image), caption_columns=named(len(fields) - 1)
        )
        assert list(by_name.values()) == [("a dog",), ("a cat",)] and not broken


# --- what Excel, pandas and others write -----------------------------------------------------------------

ODD = {
    "declared.csv": 'sep=;\r\nimage;caption\r\na.png;"a dog; a cat"\r\n',
    "declared pipes.csv": 'sep=|\nimage|caption\na.png|"a dog; a cat"\n',
    "mac.csv": 'image,caption\ra.png,"a dog; a cat"\r',
    "packed.csv.gz": "image,caption\na.png,a dog; a cat\n",
    "packed.tsv.gz": "image\tcaption\na.png\ta dog; a cat\n",
    "packed.jsonl.gz": '{"image": "a.png", "caption": "a dog; a cat"}',
    "packed.json.gz": '[{"image": "a.png", "caption": "a dog; a cat"}]',
    "array.jsonl": '[\n  {"image": "a.png", "caption": "a dog; a cat"}\n]',
    "one line.jsonl": '[{"image": "a.png", "caption": "a dog; a cat"}]',
    "lines.json": '{"image": "a.png", "caption": "a dog; a cat"}\n{"image": "b.png", "caption": "x"}\n',
    "spaced.csv": 'image, caption\na.png, "a dog; a cat"\n',
    "blank.csv": "\n\nimage,caption\n\n   \na.png,a dog; a cat\n\n",
}


@pytest.mark.parametrize("name", ODD)
def test_forms_that_programs_write(tmp_path, name):
    by_name, broken = read(tmp_path / name.replace(" ", "-"), ODD[name])
    assert by_name["a.png"] == ("a dog; a cat",) and not broken


def test_a_quote_that_is_never_closed_swallows_no_line(tmp_path):
    by_name, broken = read(
        tmp_path / "t.csv",
        'image,caption\na.png,"never closed\nb.png,well\nc.png,"two\nlines, here"\n'
        'd.png,"said" he\ne.png,"end',
    )
    assert by_name == {
        "a.png": ("never closed",), "b.png": ("well",), "c.png": ("two lines, here",), "d.png": ("said he",),
        "e.png": ("end",),
    }  # fmt: skip
    assert not broken


def test_a_table_is_read_as_often_as_wanted(tmp_path):
    (tmp_path / "t.csv").write_text("image,caption\na.png,x\nb.png\n")
    table = open_table(str(tmp_path / "t.csv"), "t")
    rows = list(table.rows(["caption", "image"], ["caption"]))
    assert rows[0] == ("line 2", ("x", "a.png")) and isinstance(rows[1][1], Broken)
    assert list(table.rows(["caption", "image"], ["caption"])) == rows


def test_many_quotes_that_do_not_match(tmp_path):
    lines = [f'{n}.png,"a dog {n}' if n % 3 else f'{n}.png,"a {n}\ndog"' for n in range(20_000)]
    by_name, broken = read(tmp_path / "t.csv", "image,caption\n" + "\n".join(lines))
    assert not broken and len(by_name) == 20_000
    assert all(
        found == (f"a dog {n}" if n % 3 else f"a {n} dog",) for n, found in enumerate(by_name.values())
    )


@pytest.mark.parametrize(
    "name, text, reason",
    [
        ("t.csv", "", r"\(there is no header line\)"),
        ("t.csv", "one line of any text\n", "no header line and 1 columns; give it a first line"),
        ("t.csv", "p,q\n1,2\n", "no column that looks like the name of an image file.* are p, q"),
        ("t.jsonl", "", r"\(it is empty\)"),
        ("t.jsonl", '["a.png", "x"]\n', r"\(line 1 is a list; it must be an object\)"),
        ("t.json", "{}", r"\(it is empty\)"),
        ("t.json", "[]", r"\(it is empty\)"),
        ("t.json", "3", "it is a int; it must be an array or an object"),
        ("t.json", "{broken", "it is no JSON"),
        ("t.json", '{"version": 3}', "it has the keys version, and none has a list of objects"),
        ("t.doc", "x", r"its name must end in \.csv"),
    ],
)
def test_what_is_no_table_is_refused_with_the_reason(tmp_path, name, text, reason):
    with pytest.raises(ValueError, match=reason):
        read(tmp_path / name, text)


def test_what_is_not_packed(tmp_path):
    (tmp_path / "t.csv.gz").write_text("image,caption\na.png,x\n")
    with pytest.raises(
        ValueError, match=r"^captions='[^']*t\.csv\.gz' is cut short or damaged \(Not a gzipped"
    ):
        read_captions(str(tmp_path / "t.csv.gz"))


def test_keys_are_whole_numbers(tmp_path):
    path = tmp_path / "t.csv"
    path.write_text(f"row,caption\n{10**20},a\n 1 ,b\n2.0,c\n2.5,d\n1_0,e\nTrue,f\n,g\n-1,h\n")
    with pytest.warns(UserWarning, match="5 lines of captions cannot be used") as said:
        part = open_captions(path).in_memory()
    assert part.sample.tolist() == [-1, 1, 2] and part.caption.tolist() == ["h", "b", "c"]
    assert "line 5 has '2.5' in the column row; it must be a whole number" in str(said[0].message)
