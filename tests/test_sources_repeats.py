"""Images that a source has several times: told once, each a sample of its own."""

import io
import warnings

import numpy as np
import pandas as pd
import pytest
from PIL import Image

from daskksvd.embedding.sources import base, open_source


def png(number):
    file = io.BytesIO()
    Image.fromarray(np.full((8, 8, 3), number, np.uint8)).save(file, "PNG")
    return file.getvalue()


def make(kind, numbers, folder):
    """A source with the images of these numbers, and captions that all differ."""
    captions = [f"caption {i}" for i in range(len(numbers))]
    if kind == "pairs":
        return [(png(number), caption) for number, caption in zip(numbers, captions, strict=True)]
    if kind == "parquet of bytes":
        cells = [{"bytes": png(number), "path": f"{i}.png"} for i, number in enumerate(numbers)]
    elif kind == "parquet of paths":
        for number in set(numbers):
            (folder / f"{number}.png").write_bytes(png(number))
        cells = [f"{number}.png" for number in numbers]
    else:
        cells = [f"https://example.org/{number}.png" for number in numbers]
    column = "url" if kind == "parquet of addresses" else "image"
    pd.DataFrame({column: cells, "caption": captions}).to_parquet(folder / "train.parquet")
    return folder / "train.parquet"


KINDS = ["pairs", "parquet of bytes", "parquet of paths", "parquet of addresses"]


@pytest.mark.parametrize("kind", KINDS)
def test_an_image_that_comes_again_is_told_once(kind, tmp_path):
    source = open_source(make(kind, [1, 2, 2, 3, 3], tmp_path))
    with pytest.warns(UserWarning, match="elements 1 and 2 of the source are the same image") as told:
        items = list(source.items())
    assert len([one for one in told if "same image" in str(one.message)]) == 1
    assert [item.captions for item in items] == [(f"caption {i}",) for i in range(5)]


@pytest.mark.parametrize("kind", ["parquet of paths", "parquet of addresses"])
def test_names_are_compared_with_many_before(kind, tmp_path, monkeypatch):
    source = make(kind, [1, 2, 3, 1], tmp_path)
    with pytest.warns(UserWarning, match="elements 0 and 3 "):
        list(open_source(source).items())
    monkeypatch.setattr(base, "REPEATS_SEEN", 1)
    with pytest.warns(UserWarning, match="elements 0 and 3 "):
        list(open_source(source).items())


@pytest.mark.parametrize("kind", KINDS)
def test_images_that_differ_are_not_told_of(kind, tmp_path):
    source = open_source(make(kind, [1, 2, 3], tmp_path))
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert len(list(source.items())) == 3
