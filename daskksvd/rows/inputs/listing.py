"""What files a Zarr array consists of: whether chunks were never written, and whether it was rewritten."""

import hashlib
import itertools
import os
import uuid
from typing import Literal, NamedTuple, TypeAlias

from ...machine.files import absolute

MissingChunks: TypeAlias = Literal["error", "fill"]
"""What to do about chunks that were never written: refuse them, or read their fill value."""


class Listing(NamedTuple):
    """The files of an array, found at one time.

    Attributes
    ----------
    keys : set of str, or None
        Their names, below the array; None where the store cannot list them.
    token : str
        Changes when a file is written anew.
    """

    keys: set
    token: str


def list_files(array):
    """The `Listing` of a Zarr array."""
    root = local_root(array.store)
    if root is not None:
        return _list_local(os.path.join(root, array.path))
    keys = _list_remote(array) if array.store.supports_listing else None
    return Listing(keys, uuid.uuid4().hex)  # when they were written cannot be told


def local_root(store):
    """The folder that a store lies in, None if it is no folder of this machine."""
    from zarr.storage import FsspecStore, LocalStore

    if isinstance(store, LocalStore):
        return os.path.abspath(store.root)
    if isinstance(store, FsspecStore):
        system = getattr(store.fs, "sync_fs", store.fs)
        protocol = system.protocol if isinstance(system.protocol, tuple) else (system.protocol,)
        if "file" in protocol:
            return absolute(store.path)
    return None


def _list_local(folder):
    keys = set()
    digest = hashlib.sha256(folder.encode("utf-8", "surrogateescape"))
    folders = [""]
    while folders:
        prefix = folders.pop()
        with os.scandir(os.path.join(folder, prefix)) as entries:
            for entry in sorted(entries, key=lambda entry: entry.name):
                key = prefix + entry.name
                if entry.is_dir():
                    folders.append(key + "/")
                    continue
                keys.add(key)
                found = entry.stat()
                facts = (key, found.st_size, found.st_mtime_ns, found.st_ino)
                digest.update(repr(facts).encode("utf-8", "surrogateescape"))
    return Listing(keys, digest.hexdigest())


def _list_remote(array):
    from zarr.core.sync import sync

    prefix = f"{array.path}/" if array.path else ""

    async def collect():
        return [key async for key in array.store.list_prefix(prefix)]

    return {key.removeprefix(prefix) for key in sync(collect())}


def missing_chunks(array, listing, rows=None):
    """Names of the chunks, or shards, of a two-dimensional Zarr array that are in no file.

    Parameters
    ----------
    array : zarr.Array
    listing : Listing
    rows : list of (start, stop), optional
        Rows that will be read; all by default.

    Returns
    -------
    missing : list of str
    count : int
        How many chunks were looked for.
    """
    sizes = array.shards or array.chunks
    numbers = [range(-(-length // size)) for length, size in zip(array.shape, sizes, strict=True)]
    if rows is not None:
        numbers[0] = sorted(
            {n for start, stop in rows for n in range(start // sizes[0], -(-stop // sizes[0]))}
        )
    name_of = array.metadata.encode_chunk_key
    missing = [key for place in itertools.product(*numbers) if (key := name_of(place)) not in listing.keys]
    return missing, len(numbers[0]) * len(numbers[1])


def check_chunks(array, listing, name="array", rows=None):
    """Refuse a Zarr array of which chunks were never written."""
    if listing.keys is None:
        return
    missing, count = missing_chunks(array, listing, rows)
    if missing:
        what = "shards" if array.shards else "chunks"
        raise ValueError(
            f"{name} is a Zarr array ({_place(array)}) of which {len(missing)} of {count} {what} were never "
            f"written, or are lost: the first is {missing[0]!r}; they would be read as {array.fill_value}. "
            "Write them, or pass missing_chunks='fill' if that is what they stand for"
        )


def _place(array):
    root = local_root(array.store)
    return repr(
        os.path.normpath(os.path.join(root, array.path)) if root is not None else str(array.store_path)
    )
