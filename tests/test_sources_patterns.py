"""Names that stand for several shards."""

import pytest
from small_sources import listed, png, write_tar

from daskksvd.embedding.sources import open_source


@pytest.fixture
def shards(tmp_path):
    folder = tmp_path / "v1 [a]"
    folder.mkdir()
    for number in (8, 9, 10):
        write_tar(folder / f"x-{number:03d}.tar", [(f"{number}.png", png(number)), (f"{number}.txt", b"one")])
    return folder


@pytest.mark.parametrize(
    "pattern, numbers",
    [
        ("x-{008..010}.tar", [8, 9, 10]),
        ("x-*.tar", [8, 9, 10]),
        ("x-0{08..09}.tar", [8, 9]),
        ("x-{00..01}[08].tar", [8, 10]),
    ],
)
def test_patterns(shards, pattern, numbers):
    found = [item.source for item in listed(str(shards / pattern))]
    assert found == [f"x-{number:03d}.tar::{number}" for number in numbers]


@pytest.mark.parametrize(
    "pattern, reason",
    [
        ("x-{008..011}.tar", "x-011.tar"),
        ("x-{010..008}.tar", "from the lower"),
        ("y-*.tar", "no file"),
    ],
)
def test_patterns_of_nothing(shards, pattern, reason):
    with pytest.raises((FileNotFoundError, ValueError), match=reason):
        open_source(str(shards / pattern))
