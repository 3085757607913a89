"""A Zarr store that refuses to give out a chunk that is not what was written."""

import zarr
from zarr.core.buffer import default_buffer_prototype
from zarr.storage import WrapperStore

from .damage import DamagedStore, damaged, rewritten
from .keys import chunk_number, crc32c, joined, local_root, place_of
from .record import CHECKSUM_BYTES, RECORD, compare_metadata, parse, read_record

_records: dict = {}
"""Closing records by store and digest, so that tasks of a process read each once."""

_MOST_RECORDS = 16


class CheckedStore(WrapperStore):
    """Reads from a store of ours; each chunk is compared with the closing record.

    Parameters
    ----------
    store : zarr.abc.store.Store
        Where the bytes are.
    prefix : str
        Path of the group in it.
    digest : str, optional
        Of the closing record; without one there are no checksums to compare.
    required : tuple of str
        Arrays of which every chunk was written, where there is no record.
    by_codec : tuple of str
        Arrays of large chunks, whose content the checksum codec alone compares with
        the checksum at its end; whoever reads them says which file it is.

    Notes
    -----
    Zarr itself takes a chunk that is missing for one of fill values.
    """

    def __init__(self, store, prefix="", digest=None, required=(), by_codec=()):
        super().__init__(store)
        self.prefix, self.digest, self.required, self.by_codec = prefix, digest, required, by_codec
        self.record = None

    @property
    def inner(self):
        """The store itself, whose content is not compared with anything."""
        return self._store

    def _with_store(self, store):
        return type(self)(store, *self._settings())

    def _settings(self):
        return self.prefix, self.digest, self.required, self.by_codec

    def __reduce__(self):
        return type(self), (self._store, *self._settings())

    def __eq__(self, other):
        return (
            type(other) is type(self)
            and self._store == other._store
            and self._settings() == other._settings()
        )

    __hash__ = None  # type: ignore[assignment]

    async def get(self, key, prototype=None, byte_range=None):
        if prototype is None:
            prototype = default_buffer_prototype()
        try:
            found = await self._store.get(key, prototype, byte_range)
        except OSError as error:
            if local_root(self._store) is None or isinstance(error, FileNotFoundError):
                raise
            raise damaged(place_of(self._store, key), f"not readable ({error.strerror})") from error
        inner = key[len(self.prefix) + 1 :] if self.prefix else key
        if byte_range is not None or inner.endswith("zarr.json"):
            return found
        name = inner.partition("/")[0]
        if self.digest is None:
            if found is None and name in self.required and inner.startswith(f"{name}/c"):
                raise damaged(place_of(self._store, key), "missing")
            return found
        entry = (await self._opened_record()).arrays.get(name)
        number = None if entry is None else chunk_number(inner, name, entry.grid)
        if number is None:  # no chunk
            return found
        wrong = wrong_chunk(found and found.as_numpy_array(), entry, number, name not in self.by_codec)
        if wrong:
            raise await self._told(key, wrong)
        return found

    async def get_partial_values(self, prototype, key_ranges):
        return [await self.get(key, prototype, byte_range) for key, byte_range in key_ranges]

    async def _opened_record(self):
        if self.record is None:
            place = str(self._store), self.prefix, self.digest
            if place not in _records:
                record = await self._stored_record()
                if record is None or record.digest != self.digest:
                    raise rewritten(place_of(self._store, self.prefix).rstrip("/"))
                while len(_records) >= _MOST_RECORDS:
                    _records.pop(next(iter(_records)), None)
                _records[place] = record
            self.record = _records[place]
        return self.record

    async def _stored_record(self):
        key = joined(self.prefix, RECORD, "zarr.json")
        found = await self._store.get(key, default_buffer_prototype())
        return None if found is None else parse(found.to_bytes(), place_of(self._store, key))

    async def _told(self, key, wrong):
        """The error for a chunk: it is damaged, unless the whole store is another by now."""
        try:
            record = await self._stored_record()
        except DamagedStore:
            record = None
        if record is not None and record.digest != self.digest:
            return rewritten(place_of(self._store, self.prefix).rstrip("/"))
        return damaged(place_of(self._store, key), wrong)


def checked_array(store, path):
    """A Zarr array to read from, compared with the closing record of its group, if that has one.

    Parameters
    ----------
    store : zarr.abc.store.Store
    path : str
        Of the array in it.
    """
    prefix, _, name = path.rpartition("/")
    record = read_record(store, prefix)
    if record is not None and name in record.arrays:
        compare_metadata(store, joined(path, "zarr.json"), record.arrays[name].metadata)
        store = CheckedStore(store, prefix, record.digest, by_codec=(name,))
        store.record = record
    return zarr.open_array(store, path=path, mode="r")


def wrong_chunk(content, entry, number, whole=True):
    """What is wrong with the stored bytes of a chunk, or None.

    Parameters
    ----------
    content : (bytes,) uint8 array, bytes or None
    entry : ArrayRecord
    number : int
        Which chunk.
    whole : bool
        Whether to read all bytes, not the checksum at the end alone.
    """
    if content is None:
        return "missing"
    expected = entry.checksums[number]
    if not entry.coded:
        return None if crc32c(content) == expected else "changed, or cut off"
    if len(content) < CHECKSUM_BYTES:
        return "cut off"
    cut = len(content) - CHECKSUM_BYTES
    if int.from_bytes(bytes(content[cut:]), "little") != expected:
        return "changed, or cut off"
    return None if not whole or crc32c(content[:cut]) == expected else "changed"
