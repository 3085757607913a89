"""The closing record of a store: what must be there, with checksums; written last.

It is the attributes of an empty group, ``closing_record``, so that the store
stays plain Zarr. It holds a digest of every ``zarr.json``, the CRC-32C of every chunk as
stored, and a digest of itself.
"""

import hashlib
import json
import math
import os
import shutil
from typing import NamedTuple

import zarr

from .damage import damaged
from .keys import chunk_keys, crc32c, grid, joined, place_of, read, read_many

RECORD = "closing_record"
"""Name of the group."""

VERSION = 1

CHECKSUM_BYTES = 4


class ArrayRecord(NamedTuple):
    """What is recorded of an array.

    Attributes
    ----------
    metadata : str
        Digest of its ``zarr.json``.
    grid : tuple of int
        Number of chunks along every dimension.
    coded : bool
        Whether chunks end with their own checksum, as Zarr's codec writes it.
        It is that which is recorded then; else the checksum of all bytes.
    checksums : tuple of int
        One a chunk.
    """

    metadata: str
    grid: tuple
    coded: bool
    checksums: tuple


class Record(NamedTuple):
    """A closing record.

    Attributes
    ----------
    digest : str
        Of all the rest; another store has another.
    metadata : str
        Digest of the ``zarr.json`` of the group.
    arrays : dict of str to ArrayRecord
    files : dict of str to str
        Digests of other files that belong to the store, relative to its folder's parent.
    """

    digest: str
    metadata: str
    arrays: dict
    files: dict

    def verify_metadata(self, store, prefix):
        """Raise `DamagedStore` where the ``zarr.json`` of the group or an array is not what was written."""
        arrays = ((name, array.metadata) for name, array in self.arrays.items())
        for name, expected in [("", self.metadata), *arrays]:
            compare_metadata(store, joined(prefix, name, "zarr.json"), expected)


def compare_metadata(store, key, expected):
    """Raise `DamagedStore` where a ``zarr.json`` has another digest than was recorded."""
    content = read(store, key)
    if content is None:
        raise damaged(place_of(store, key), "missing")
    if digest_of(content) != expected:
        raise damaged(place_of(store, key), "not as it was written")


def digest_of(content):
    """Digest of bytes, as text."""
    return hashlib.sha256(content).hexdigest()[:32]


def digest_of_file(path):
    """Digest of a file, read piece by piece; None where there is none."""
    try:
        with open(path, "rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()[:32]
    except (FileNotFoundError, IsADirectoryError, NotADirectoryError):
        return None


def seal(path, files=()):
    """Write the closing record of a store whose arrays and attributes are all written.

    Parameters
    ----------
    path : str
        A Zarr group.
    files : list of str
        Other files that belong to it, relative to the folder in which it lies.

    Raises
    ------
    DamagedStore
        If a chunk is not there.
    """
    group = zarr.open_group(path, mode="r+")
    store, prefix = group.store, group.path
    arrays = {}
    for name, array in sorted(group.arrays()):
        keys = chunk_keys(array)
        coded = _ends_with_checksum(array)
        found = read_many(store, keys, CHECKSUM_BYTES if coded else None)
        for key, content in zip(keys, found, strict=True):
            if content is None:
                raise damaged(place_of(store, key), "missing")
        checksums = [int.from_bytes(content, "little") if coded else crc32c(content) for content in found]
        metadata = digest_of(read(store, joined(prefix, name, "zarr.json")))
        arrays[name] = [metadata, grid(array), coded, "".join(f"{number:08x}" for number in checksums)]
    folder = os.path.dirname(path)
    content = {
        "version": VERSION,
        "metadata": digest_of(read(store, joined(prefix, "zarr.json"))),
        "arrays": arrays,
        "files": {name: digest_of_file(os.path.join(folder, name)) for name in files},
    }
    content["digest"] = _own_digest(content)
    group.create_group(RECORD, overwrite=True, attributes={"closing record": content})


def unseal(path):
    """Take the closing record of a local store away, if it has one, before it is written to again."""
    shutil.rmtree(os.path.join(path, RECORD), ignore_errors=True)


def read_record(store, prefix):
    """The closing record of a group, None where there is none.

    Raises
    ------
    DamagedStore
        If it cannot be read, or is not as it was written.
    """
    key = joined(prefix, RECORD, "zarr.json")
    content = read(store, key)
    return None if content is None else parse(content, place_of(store, key))


def parse(content, file):
    """A record from the bytes of its ``zarr.json``."""
    try:
        found = json.loads(content)["attributes"]["closing record"]
        digest = found.pop("digest")
        version = found["version"]
        arrays = {}
        for name, (metadata, shape, coded, text) in found["arrays"].items():
            checksums = tuple(int(text[at : at + 8], 16) for at in range(0, len(text), 8))
            arrays[name] = ArrayRecord(metadata, tuple(shape), coded, checksums)
            if len(checksums) != math.prod(shape):
                raise ValueError("numbers of chunks differ")
        record = Record(digest, found["metadata"], arrays, found["files"])
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise damaged(file, "no closing record any more") from error
    if digest != _own_digest(found):
        raise damaged(file, "not as it was written")
    if version > VERSION:
        raise ValueError(
            f"{file!r} was written by a newer daskksvd (version {version}; this one reads {VERSION})"
        )
    return record


def _own_digest(content):
    return digest_of(json.dumps(content, sort_keys=True).encode())


def _ends_with_checksum(array):
    """Whether the last thing done to chunks of an array is to append their checksum."""
    codecs = array.metadata.to_dict()["codecs"]
    return len(codecs) > 0 and codecs[-1]["name"] == "crc32c"
