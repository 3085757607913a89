"""Shards of saev: ``metadata.json``, ``shards.json`` and ``acts000000.bin`` and on.

The metadata hold a pickled description of the data set, which is never looked at.
"""

from __future__ import annotations

import os
import re
from typing import NamedTuple

from .files import check_size, inside, read_small_json, whole
from .parts import Part

METADATA, SHARDS = "metadata.json", "shards.json"

_SHARD = re.compile(r"acts\d+\.bin")

_NAMES = {
    "content_tokens_per_example": ("patches_per_ex", "n_patches_per_img"),
    "n_examples": ("n_ex", "n_imgs"),
    "d_model": ("d_vit",),
    "layers": (),
    "cls_token": (),
}
"""What is read of the metadata, and what earlier versions called it."""


_MOST = ("max_tokens_per_shard", "max_patches_per_shard", "n_patches_per_shard")


class Shards(NamedTuple):
    """What a folder of shards says of itself.

    Attributes
    ----------
    files : list of (path, examples)
    layers : list of int
    n_content : int
        Patches of an image.
    cls : bool
        Whether a class token comes before them.
    d : int
    model : dict
    """

    files: list
    layers: list
    n_content: int
    cls: bool
    d: int
    model: dict

    @property
    def tokens(self) -> int:
        """Tokens of an image."""
        return self.n_content + self.cls

    def parts(self, layer: int) -> list[Part]:
        """Rows of one layer."""
        place = self.layers.index(layer)
        return [
            Part(path, n * self.tokens, "<f4", 0, (n, len(self.layers), self.tokens, self.d), place)
            for path, n in self.files
        ]


def is_saev(folder: str) -> bool:
    """Whether a folder has what saev writes."""
    return os.path.isfile(os.path.join(folder, METADATA)) and os.path.isfile(os.path.join(folder, SHARDS))


def open_shards(folder: str) -> Shards:
    """The shards in a folder.

    Raises
    ------
    ValueError
        If metadata, list and files do not fit each other; one sentence says what.
    """
    path = inside(folder, METADATA, "saev's layout")
    found = read_small_json(path)
    if not isinstance(found, dict):
        raise ValueError(f"{path!r} holds a {type(found).__name__}; saev's metadata are an object")
    said = {
        name: next((found[key] for key in (name, *others) if key in found), None)
        for name, others in _NAMES.items()
    }
    missing = [name for name, value in said.items() if value is None]
    if missing:
        raise ValueError(f"{path!r} lacks {missing[0]!r}; saev's metadata say it")
    n_content, n, d = (whole(said[name], f"{name} in {path!r}") for name in list(_NAMES)[:3])
    if not isinstance(said["cls_token"], bool):
        raise ValueError(f"cls_token in {path!r} is {said['cls_token']!r}; it must be true or false")
    dtype = found.get("dtype", "float32")
    if dtype != "float32":
        raise ValueError(f"dtype in {path!r} is {dtype!r}; saev writes 'float32'")
    layers = said["layers"]
    if not isinstance(layers, list) or not layers or len(set(map(str, layers))) < len(layers):
        raise ValueError(f"layers in {path!r} is {layers!r}; it must be a list of different whole numbers")
    layers = [whole(layer, f"a layer in {path!r}", -10_000) for layer in layers]
    tokens = n_content + said["cls_token"]
    most = next((found[key] for key in _MOST if key in found), None)
    most = 0 if most is None else whole(most, f"max_tokens_per_shard in {path!r}") // (tokens * len(layers))
    files = _files(folder, n, len(layers) * tokens * d * 4, most)
    model = {
        "library": "saev",
        "name": str(found.get("ckpt", ""))[:200],
        "architecture": str(found.get("family", ""))[:50],
    }
    return Shards(files, layers, n_content, said["cls_token"], d, model)


def _files(folder, n, example_bytes, most):
    """Paths and examples of all shards, compared with the sizes of the files.

    A file holds as many examples as any, ``most``, of which those of the last are not all used.
    """
    path = inside(folder, SHARDS, "saev's layout")
    entries = read_small_json(path)
    if not isinstance(entries, list) or not entries or not all(isinstance(entry, dict) for entry in entries):
        raise ValueError(f"{path!r} must be a list of objects, one a shard, one at least")
    files: list[tuple[str, int]] = []
    names = {entry.get("name") for entry in entries if isinstance(entry.get("name"), str)}
    for entry in entries:
        name = entry.get("name")
        if not isinstance(name, str) or not _SHARD.fullmatch(name):
            raise ValueError(f"{path!r} names the shard {name!r}; shards are called acts000000.bin and on")
        count = next((entry[key] for key in ("n_examples", "n_ex", "n_imgs") if key in entry), None)
        count = whole(count, f"n_examples of {name!r} in {path!r}")
        file = inside(folder, name, repr(path))
        check_size(file, count * example_bytes, f"{count:,} examples of {example_bytes:,} bytes")
        size = os.path.getsize(file)
        if size not in (count * example_bytes, max(most, count) * example_bytes):
            raise ValueError(
                f"{file!r} has {size:,} bytes, and {count:,} to {max(most, count):,} examples of "
                f"{example_bytes:,} bytes are due: it is of another shape than the metadata say"
            )
        files.append((file, count))
    if len({file for file, _ in files}) < len(files):
        raise ValueError(f"{path!r} names a shard twice; all must differ")
    unlisted = sorted({name for name in os.listdir(folder) if _SHARD.fullmatch(name)} - names)
    if unlisted:
        raise ValueError(f"{path!r} does not list the shard {unlisted[0]!r}, which lies beside it")
    total = sum(count for _, count in files)
    if total != n:
        raise ValueError(f"{path!r} lists {total:,} examples, and the metadata say {n:,}")
    return files
