"""Bytes behind the keys of a Zarr store, and the keys that an array's chunks have."""

import asyncio
import itertools
import math
import os

from zarr.abc.store import SuffixByteRequest
from zarr.core.buffer import default_buffer_prototype
from zarr.core.sync import sync
from zarr.storage import LocalStore

try:
    import google_crc32c

    _extend = google_crc32c.extend
except ImportError:  # what earlier versions of Zarr bring

    def _extend(start, data):
        from crc32c import crc32c as checksum

        return checksum(data, start)


_AT_ONCE = 64
"""Reads in flight from a store that is no local folder."""


def crc32c(data, start=0):
    """The checksum of bytes, or of a contiguous array; goes on from ``start``."""
    return _extend(start, data)


def joined(prefix, *names):
    """A key below a prefix, which may be empty."""
    return "/".join(part for part in (prefix, *names) if part)


def local_root(store):
    """The folder of a local store, or None."""
    while hasattr(store, "_store"):  # one that wraps another
        store = store._store  # noqa: SLF001  Zarr wraps stores so
    return os.path.abspath(store.root) if isinstance(store, LocalStore) else None


def place_of(store, key):
    """What people call a key: a file, or a URL."""
    root = local_root(store)
    return os.path.join(root, *key.split("/")) if root is not None else f"{store}/{key}"


def read(store, key):
    """All bytes of a key, None where there is none."""
    return read_many(store, [key])[0]


def listed(store, prefix):
    """Names of what lies right below a prefix, sorted."""

    async def collect():
        return sorted([name async for name in store.list_dir(prefix)])

    return sync(collect())


def read_many(store, keys, last=None):
    """Bytes of many keys, None where there are none; ``last`` of them only, where given."""
    root = local_root(store)
    if root is not None:
        return [_read_file(os.path.join(root, *key.split("/")), last) for key in keys]
    return sync(_read_remote(store, keys, last))


def _read_file(path, last):
    try:
        with open(path, "rb") as file:
            if last is not None:
                file.seek(max(0, os.fstat(file.fileno()).st_size - last))
            return file.read()
    except (FileNotFoundError, IsADirectoryError, NotADirectoryError):
        return None


async def _read_remote(store, keys, last):
    gate = asyncio.Semaphore(_AT_ONCE)
    request = None if last is None else SuffixByteRequest(last)

    async def one(key):
        async with gate:
            found = await store.get(key, default_buffer_prototype(), request)
        return None if found is None else found.to_bytes()

    return await asyncio.gather(*map(one, keys))


def missing(store, prefix, keys):
    """Those of the keys, all below a prefix, that are not there."""
    root = local_root(store)
    if root is not None:
        return [key for key in keys if not os.path.isfile(os.path.join(root, *key.split("/")))]

    async def listed():
        return {key async for key in store.list_prefix(prefix + "/")}

    there = sync(listed())
    return [key for key in keys if key not in there]


def grid(array):
    """Number of stored chunks (or shards) along every dimension of a Zarr array."""
    sizes = array.shards or array.chunks
    return tuple(-(-n // size) for n, size in zip(array.shape, sizes, strict=True))


def chunk_keys(array):
    """Keys of all chunks (or shards) of a Zarr array, in order."""
    ranges = itertools.product(*map(range, grid(array)))
    return [joined(array.path, array.metadata.encode_chunk_key(place)) for place in ranges]


def chunk_number(key, name, shape):
    """Which chunk of an array a key is, counted in order, or None if it is none of its."""
    if key == f"{name}/c":
        return 0 if shape == () else None
    first, _, rest = key.partition("/c/")
    places = rest.split("/")
    if first != name or len(places) != len(shape) or not all(part.isdecimal() for part in places):
        return None
    number = 0
    for part, size in zip(places, shape, strict=True):
        number = number * size + int(part)
    return number if number < math.prod(shape) else None
