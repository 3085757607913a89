"""What is wrong with the files of a model that cannot be loaded, in one sentence."""

import hashlib
import json
import os
import pathlib
import zipfile

from ..errors import one_line, printable

_SUFFIXES = (".json", ".safetensors", ".bin", ".pt", ".pth", ".ckpt", ".txt", ".model")
_PICKLES = (".bin", ".pt", ".pth", ".ckpt")
_POINTER = b"version https://git-lfs.github.com/spec"
_LONGEST = 2**20
"""Bytes of a text file that are read at most: vocabularies are not parsed."""


def cannot_load(name, error, where=None, what="cannot be loaded"):
    """An exception of a library as one that names the model and, where one is damaged, the file.

    Parameters
    ----------
    name : str
        Of the model.
    error : Exception
    where : str, optional
        A file or folder of the model; by default the folder of that name, or the copy of a model
        of the Hub.
    what : str

    Returns
    -------
    ImportError, OSError or ValueError
        ``ValueError`` where files are to blame.
    """
    if isinstance(error, ImportError):  # of a library that this model needs
        return ImportError(f"model={name!r} {what}: {one_line(error)}")
    where = where or (name if os.path.exists(name) else _cached(name))
    found = damaged(where) if where else None
    if found is not None:
        file, reason = found
        return ValueError(f"model={name!r} {what}: its file {file} {reason}")
    kind = type(error) if type(error) in (OSError, ValueError) else ValueError
    first = (str(error).strip().splitlines() or [""])[0]
    said = first if kind is type(error) and first else one_line(error)
    return kind(f"model={name!r} {what}: {printable(said, 300)}")


def damaged(where):
    """The first damaged file in a file or folder, and what is wrong with it; None if none is."""
    if not os.path.isdir(where):
        reason = wrong_with(where)
        return None if reason is None else (where, reason)
    there = [
        os.path.relpath(os.path.join(folder, name), where)
        for folder, folders, names in os.walk(where)
        for name in (folders.sort() or sorted(names))
    ]
    if not any(os.path.basename(name) in _CONFIGS for name in there):
        return "config.json", "is missing"
    for name in there:
        if name.lower().endswith(_SUFFIXES):
            path = os.path.join(where, name)
            reason = wrong_with(path)
            if reason is None and name.endswith(".index.json"):
                reason = _missing_parts(path)
            if reason is not None:
                return name, reason
    return None


_CONFIGS = ("config.json", "open_clip_config.json", "modules.json")


def wrong_with(path):
    """What is wrong with a file of weights or settings by its first bytes, its size and its end, or None."""
    try:
        size = os.path.getsize(path)
        with open(path, "rb") as file:
            head = file.read(1024)
    except OSError as error:
        return f"cannot be read ({error.strerror or one_line(error)})"
    if not size:
        return "is empty"
    if head.startswith(_POINTER):
        return "is a Git LFS pointer, not what it stands for; fetch that with: git lfs pull"
    if head.lstrip(b"\xef\xbb\xbf \t\r\n").lower().startswith((b"<!doctype", b"<html", b"<?xml")):
        return "is a web page or an answer of a server, not a file of a model; download it again"
    ending = os.path.splitext(path)[1].lower()
    if ending == ".safetensors":
        return _wrong_safetensors(path, size)
    if ending in _PICKLES and head.startswith(b"PK\3\4") and not zipfile.is_zipfile(path):
        return f"is cut off after {size:,} bytes"
    if ending == ".json" and size <= 64 * _LONGEST:
        return _wrong_json(path)
    return None


def _wrong_json(path):
    try:
        with open(path, encoding="utf-8-sig") as file:
            json.load(file)
    except (ValueError, RecursionError) as error:
        return f"is no JSON, maybe cut off ({one_line(error)})"
    return None


def _wrong_safetensors(path, size):
    """Whether the header is there, and the data that it lists."""
    with open(path, "rb") as file:
        length = int.from_bytes(file.read(8), "little")
        if length > 100 * _LONGEST:
            return "is no safetensors file"
        if 8 + length > size:
            return f"is cut off after {size:,} bytes, within its header"
        try:
            header = json.loads(file.read(length))
            ends = [one["data_offsets"][1] for key, one in header.items() if key != "__metadata__"]
        except (ValueError, TypeError, KeyError, IndexError, AttributeError, RecursionError):
            return "is no safetensors file, or its header is damaged"
    needed = 8 + length + max(ends, default=0)
    return None if size >= needed else f"is cut off after {size:,} of {needed:,} bytes"


def _missing_parts(path):
    with open(path, encoding="utf-8-sig") as file:
        found = json.load(file)
    parts = found.get("weight_map", {}) if isinstance(found, dict) else {}
    for name in sorted(set(map(str, parts.values()))):
        if not os.path.exists(os.path.join(os.path.dirname(path), name)):
            return f"names {name}, which is missing"
    return None


def _cached(name):
    """The folder of the copy of a model of the Hub, or None."""
    try:
        from huggingface_hub import try_to_load_from_cache

        found = try_to_load_from_cache(name, "config.json")
    except Exception:  # no name of the Hub, or no such library
        return None
    return os.path.dirname(found) if isinstance(found, str) else None


def fingerprint(folder, ends=2**20):
    """A hash of the names and sizes of the weights and settings in a folder, and of their ends."""
    found = hashlib.sha256()
    for path in sorted(pathlib.Path(folder).iterdir()):
        if path.suffix in (".json", ".safetensors", ".bin", ".pt"):
            size = path.stat().st_size
            found.update(f"{path.name} {size}\n".encode())
            with open(path, "rb") as file:
                found.update(file.read(ends))
                file.seek(max(0, size - ends))
                found.update(file.read(ends))
    return f"sha256:{found.hexdigest()[:32]}"


def short_name(name):
    """The name of a folder without where it lies."""
    return os.path.basename(os.path.normpath(name)) if os.path.isdir(name) else name
