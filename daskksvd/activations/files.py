"""Files inside a folder, and no others; small JSON."""

from __future__ import annotations

import json
import numbers
import os
import re
import reprlib
from collections.abc import Iterable
from typing import Any

MOST_JSON = 2**25
"""Bytes of a JSON file at most; saev's metadata hold a description of the data set."""

MOST_ROWS = 2**48
"""Rows, features, tokens that a file may claim: its bytes are compared with them afterwards."""


def inside(folder: str, name: str, what: str) -> str:
    """The path of a file right in a folder.

    Raises
    ------
    ValueError
        If the name leads out of the folder, or is of no plain file.
    """
    if not isinstance(name, str) or name != os.path.basename(name) or name in ("", ".", "..") or "\0" in name:
        raise ValueError(
            f"{what} names the file {name!r}, which is not a plain name; it must lie in {folder!r}"
        )
    path = os.path.join(folder, name)
    if os.path.dirname(os.path.realpath(path)) != os.path.realpath(folder):
        raise ValueError(
            f"{what} names the file {name!r}, a link that leads out of {folder!r}; put the file itself there "
            "(snapshots of the Hugging Face Hub are links: download with local_dir=)"
        )
    if not os.path.isfile(path):
        raise ValueError(f"{what} names the file {name!r}, and there is no such file in {folder!r}")
    return path


def in_order(names: Iterable[str]) -> list[str]:
    """Names by the alphabet, numbers in them by size: part2 before part10."""

    def parts(name):
        return [int(part) if place % 2 else part for place, part in enumerate(re.split("([0-9]+)", name))]

    return sorted(sorted(names), key=parts)


def read_small_json(path: str) -> Any:
    """What a JSON file says."""
    size = os.path.getsize(path)
    if size > MOST_JSON:
        raise ValueError(f"{path!r} has {size:,} bytes; a file of settings has {MOST_JSON:,} at most")
    try:
        with open(path, encoding="utf-8") as file:
            return json.load(file)
    except (ValueError, RecursionError) as error:
        raise ValueError(f"{path!r} is no JSON ({type(error).__name__}: {error})") from error


def whole(value: Any, what: str, least: int = 1) -> int:
    """A whole number that a file claims, or an argument is."""
    number = isinstance(value, numbers.Integral) and not isinstance(value, bool)
    if not number or not least <= value <= MOST_ROWS:
        raise ValueError(f"{what} is {reprlib.repr(value)}; it must be a whole number of at least {least}")
    return int(value)


def check_size(path: str, needed: int, what: str, *, whole: bool = False) -> None:
    """Refuse a file that is shorter than what it is said to hold, or of another size if that is ``whole``."""
    size = os.path.getsize(path)
    if size < needed:
        raise ValueError(
            f"{path!r} has {size:,} bytes, and {what} takes {needed:,}: it is cut off, or of another shape"
        )
    if whole and size > needed:
        raise ValueError(
            f"{path!r} has {size:,} bytes, and {what} takes {needed:,}: there is more in it than it says"
        )
