"""Opening a store: its record first, cheaply; what is read later is compared with that."""

import os
from typing import NamedTuple

import zarr

from ..machine.files import absolute, exists
from .checked import CheckedStore
from .damage import DamagedStore, damaged
from .keys import chunk_keys, joined, listed, missing, place_of, read
from .record import RECORD, Record, digest_of, read_record


class Opened(NamedTuple):
    """A store of ours, opened.

    Attributes
    ----------
    path : str
    group : zarr.Group
        What is read from it is compared with the record.
    record : Record or None
        None for a store of an earlier version, without checksums.
    """

    path: str
    group: zarr.Group
    record: Record | None

    @property
    def store(self):
        return self.group.store

    @property
    def attrs(self):
        return dict(self.group.attrs)

    def arrays(self):
        """All arrays by name; none that is recorded may be missing."""
        found = arrays_of(self.group)
        for name in () if self.record is None else self.record.arrays:
            if name not in found:
                raise damaged(place_of(self.store, joined(self.group.path, name, "zarr.json")), "missing")
        return found

    def verify(self):
        """Compare all metadata with the record, and see that every chunk is there.

        Raises
        ------
        DamagedStore
            Naming the first file that is not right.
        """
        store, prefix, record = self.store.inner, self.group.path, self.record
        if record is None:
            found = self.arrays()
            for name in self.store.required:
                if name in found:
                    self._verify_chunks(store, found[name])
            return
        record.verify_metadata(store, prefix)
        arrays = self.arrays()
        for name in record.arrays:
            self._verify_chunks(store, arrays[name])

    @staticmethod
    def _verify_chunks(store, array):
        gone = missing(store, array.path, chunk_keys(array))
        if gone:
            what = "missing" if len(gone) == 1 else f"missing, with {len(gone) - 1} other chunks"
            raise damaged(place_of(store, gone[0]), what)

    def refuse(self, what):
        """Raise the error for a store that says it is something else."""
        content = read(self.store.inner, joined(self.group.path, "zarr.json"))
        changed = self.record is not None and digest_of(content or b"") != self.record.metadata
        raise (DamagedStore if changed else ValueError)(
            f"path={self.path!r} is a Zarr group, but {what}"
            + "; its zarr.json is not as it was written: the store is damaged" * changed
        )

    def dataset(self, lazy=False, **options):
        """All arrays as an `xarray.Dataset`, in memory unless ``lazy``.

        Raises
        ------
        DamagedStore
            If something cannot be read.
        """
        import xarray as xr

        options = {"consolidated": False, "chunks": None, "decode_times": False} | options
        try:
            found = xr.open_zarr(self.store, group=self.group.path or None, **options)
            return found if lazy else found.load()
        except DamagedStore:
            raise
        except Exception as error:
            raise DamagedStore(
                f"path={self.path!r} cannot be read ({_first_line(error)}): the store is damaged; bring it "
                "back from a copy, or write it again"
            ) from error


def open_store(path, required=(), by_codec=(), refusal=None):
    """Open a Zarr group of ours; nothing is verified yet but its record.

    Parameters
    ----------
    path : str or path
    required, by_codec : tuple of str
        See `CheckedStore`.
    refusal : str, optional
        What to say of something else.

    Returns
    -------
    Opened

    Raises
    ------
    FileNotFoundError, ValueError, DamagedStore
        If there is nothing, no Zarr group, or one whose record is damaged.
    """
    path = absolute(path)
    if not exists(path):
        raise FileNotFoundError(f"path={path!r}: there is no such path")
    try:
        group = zarr.open_group(path, mode="r")
    except Exception as error:
        refuse_damaged(path, error)
        plain = isinstance(error, FileNotFoundError)
        why = f", and {refusal}" if plain and refusal else f" ({_first_line(error)})"
        raise ValueError(f"path={path!r} is no Zarr group{why}") from error
    store, prefix = group.store, group.path
    record = read_record(store, prefix)
    digest = None if record is None else record.digest
    checked = CheckedStore(store, prefix, digest, tuple(required), tuple(by_codec))
    checked.record = record
    return Opened(path, zarr.open_group(checked, path=prefix, mode="r"), record)


def refuse_damaged(path, error):
    """Raise if a group that could not be opened, for ``error``, was a store of ours."""
    own = os.path.join(path, "zarr.json")
    if os.path.isfile(os.path.join(path, RECORD, "zarr.json")):
        raise damaged(
            own, f"not readable ({_first_line(error)})" if os.path.exists(own) else "missing"
        ) from error


def arrays_of(group):
    """The arrays of a Zarr group by name.

    Raises
    ------
    DamagedStore
        If one of its members cannot be read; the message names the file.
    """
    try:
        return dict(group.arrays())
    except DamagedStore:
        raise
    except Exception as error:
        store, names = group.store, listed(group.store, group.path)
        for name in names:
            try:
                group.get(name)
            except Exception as reason:
                own = joined(group.path, name, "zarr.json")
                file = place_of(store, own if read(store, own) is not None else joined(group.path, name))
                raise damaged(file, f"not readable ({_first_line(reason)})") from reason
        raise damaged(place_of(store, group.path), f"not readable ({_first_line(error)})") from error


def recorded_arrays(group):
    """The same of any group; if it has a closing record, all metadata are compared with that."""
    found = arrays_of(group)
    record = read_record(group.store, group.path)
    if record is not None:
        record.verify_metadata(group.store, group.path)
    return found


def _first_line(error):
    return f"{type(error).__name__}: {' '.join(str(error).split())}"
