"""Texts beside images, whose names are not written as those of the images are."""

import unicodedata

import pytest
from small_sources import by_source, png


def write(folder, texts, names):
    for number, name in enumerate(names):
        (folder / name).write_bytes(png(number))
    for name, text in texts.items():
        (folder / name).write_bytes(text if isinstance(text, bytes) else text.encode())
    return {name: item.captions for name, item in by_source(folder).items()}


def test_capitals_and_letters_with_marks(tmp_path):
    composed, parted = (unicodedata.normalize(form, "\u00e9") for form in ("NFC", "NFD"))
    texts = {"A.TXT": "one", "img_2.txt": "two", f"{composed}.txt": "three", "d.Json": '{"caption": "four"}'}
    found = write(tmp_path, texts, ["A.png", "IMG_2.PNG", f"{parted}.png", "d.png"])
    assert found == {
        "A.png": ("one",),
        "IMG_2.PNG": ("two",),
        f"{parted}.png": ("three",),
        "d.png": ("four",),
    }


def test_a_text_is_of_the_image_that_is_called_so(tmp_path):
    """What another image has is not taken, nor what may be of two."""
    if not _tells_capitals(tmp_path):
        pytest.skip("the file system does not tell capitals")
    found = write(tmp_path, {"A.txt": "one", "c.txt": "two"}, ["a.png", "A.png", "C.png", "C.PNG"])
    assert found == {"A.png": ("one",), "a.png": (), "C.png": (), "C.PNG": ()}


def _tells_capitals(folder):
    (folder / "x").touch()
    told = not (folder / "X").exists()
    (folder / "x").unlink()
    return told


def test_lines_end_as_in_other_files(tmp_path):
    """At line ends of any system, and at nothing else; in JSON as in shards."""
    texts = {"a.txt": "one\rtwo\r", "b.txt": "\ufeffone\r\n\r\ntwo\v2\u2028\n", "c.json": '["one", "two"]'}
    found = write(tmp_path, texts, ["a.png", "b.png", "c.png"])
    assert found == {"a.png": ("one", "two"), "b.png": ("one", "two 2"), "c.png": ("one", "two")}


@pytest.mark.parametrize("name", ["Captions.CSV", "METADATA.jsonl"])
def test_a_captions_file_in_capitals(tmp_path, name):
    text = "image,caption\na.png,one\n" if "CSV" in name else '{"file_name": "a.png", "text": "one"}\n'
    assert write(tmp_path, {name: text}, ["a.png"]) == {"a.png": ("one",)}
