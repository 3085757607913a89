"""Reading a whole store to see whether all of it is what was written."""

import os
import zipfile
from typing import NamedTuple

import zarr

from ..coding.store import CODES
from ..embedding.encodings import ENCODINGS
from ..embedding.store import EMBEDDINGS
from ..fitting.saving import RESULT
from ..machine.files import absolute, exists
from ..naming.store import LABELS
from ..naming.tokens.store import TOKENS
from ..rows.inputs.npy import open_npy
from ..rows.inputs.opening import EMBEDDINGS as GROUP
from ..stores import DamagedStore, open_store
from ..stores.checked import wrong_chunk
from ..stores.checkpoint import load_checkpoint
from ..stores.keys import chunk_keys, grid, joined, missing, place_of, read
from ..stores.record import digest_of, digest_of_file
from ..view.data.atom_index import ATOM_INDEX

_KINDS = {store.format: store for store in (RESULT, LABELS, CODES, EMBEDDINGS, ENCODINGS, TOKENS, ATOM_INDEX)}


class Checked(NamedTuple):
    """What `check` found.

    Attributes
    ----------
    kind : str
        Of the store, or ``"samples"``, or ``"checkpoint"``.
    files : int
        Files, or chunks, that were read.
    checksums : bool
        Whether there were checksums to compare with.
    complete : bool
        Whether the store says that it was written to its end.
    damaged : list of (str, str)
        File, and what is wrong with it.
    """

    kind: str
    files: int
    checksums: bool
    complete: bool
    damaged: list


def check(path, told=None):
    """Read everything that lies at a path, and list what is damaged.

    Parameters
    ----------
    path : str or path
        A store of ours, any Zarr store, a .npy file, or a checkpoint.
    told : callable, optional
        ``told(done, files)`` is called after each.

    Returns
    -------
    Checked

    Raises
    ------
    FileNotFoundError, ValueError
        If there is nothing, or nothing of that kind.
    """
    path = absolute(path)
    if not exists(path):
        raise FileNotFoundError(f"path={path!r}: there is no such path")
    if os.path.isfile(path):
        return _check_file(path)
    if os.path.isdir(os.path.join(path, GROUP)):
        path = os.path.join(path, GROUP)
    try:
        opened = open_store(path)
    except DamagedStore as error:
        return Checked("store", 0, True, True, [(path, str(error))])
    except ValueError:
        return _check_array(path, told)
    attributes = opened.attrs
    store = _KINDS.get(attributes.get("format"))
    kind = "samples" if store is None else store.kind
    complete = attributes.get("complete") is not False
    if opened.record is not None:
        tasks = list(_recorded(opened))
    else:
        tasks = list(_unrecorded(opened, store, complete))
    damaged = _damaged(tasks, told)
    return Checked(kind, len(tasks), opened.record is not None, complete, damaged)


def _damaged(tasks, told):
    """Look at every file; those that are damaged, and what is wrong with them."""
    damaged = []
    for number, (file, look) in enumerate(tasks, 1):
        wrong = look()
        if wrong is not None:
            damaged.append((file, wrong))
        if told is not None:
            told(number, len(tasks))
    return damaged


def _recorded(opened):
    """Files of a store with a record: each with a function that looks at it."""
    store, prefix, record = opened.store.inner, opened.group.path, opened.record
    metadata = {"": record.metadata} | {name: entry.metadata for name, entry in record.arrays.items()}
    for name, digest in metadata.items():
        key = joined(prefix, name, "zarr.json")

        def changed(key=key, digest=digest):
            content = read(store, key)
            if content is None:
                return "missing"
            return None if digest_of(content) == digest else "not as it was written"

        yield place_of(store, key), changed
    for name, entry in record.arrays.items():
        for number, place in enumerate(_places(entry.grid)):
            key = joined(prefix, name, "/".join(["c", *map(str, place)]))
            yield (
                place_of(store, key),
                lambda key=key, entry=entry, number=number: wrong_chunk(read(store, key), entry, number),
            )
    folder = os.path.dirname(opened.path)
    for name, digest in record.files.items():
        file = os.path.join(folder, name)

        def wrong(file=file, digest=digest):
            found = digest_of_file(file)
            return "missing" if found is None else None if found == digest else "changed, or cut off"

        yield file, wrong


def _places(shape):
    """Numbers of all chunks of a grid, in order."""
    if not shape:
        return [()]
    return [(first, *rest) for first in range(shape[0]) for rest in _places(shape[1:])]


def _unrecorded(opened, kind, complete):
    """The same for a store without a record: an earlier version's, one that lost it, or plain Zarr.

    Of samples all chunks are wanted, of a `Store` those that every version wrote.
    """
    store = opened.store.inner
    try:
        arrays = opened.arrays()
    except DamagedStore as error:
        text = str(error)
        yield opened.path, lambda: text
        return
    checksums = [array for array in arrays.values() if _codecs(array)[-1:] == ["crc32c"]]
    if kind is not None and complete and arrays and len(checksums) == len(arrays):
        key = joined(opened.group.path, "closing_record", "zarr.json")
        yield place_of(store, key), lambda: "missing, or the store was copied by another program"
    for name, array in arrays.items():
        yield from _chunks_of(store, array, kind is None or name in kind.dense)


def _chunks_of(store, array, all_written):
    """Chunks of an array, each with a function that decodes it."""
    keys = chunk_keys(array)
    gone = set(missing(store, array.path, keys))
    sizes = array.shards or array.chunks
    for key, place in zip(keys, _places(grid(array)), strict=True):
        if key in gone:
            if all_written:
                yield place_of(store, key), lambda: "missing: never written, or lost"
            continue

        def unreadable(array=array, place=place):
            part = tuple(slice(at * size, (at + 1) * size) for at, size in zip(place, sizes, strict=True))
            try:
                array[part]
            except Exception as error:
                return f"not readable ({type(error).__name__}: {' '.join(str(error).split())})"
            return None

        yield place_of(store, key), unreadable


def _codecs(array):
    return [codec["name"] for codec in array.metadata.to_dict().get("codecs", ())]


def _check_array(path, told):
    """A Zarr array that is no group."""
    try:
        array = zarr.open_array(path, mode="r")
    except Exception as error:
        text = f"{type(error).__name__}: {' '.join(str(error).split())}"
        raise ValueError(
            f"path={path!r} is neither a Zarr store nor a .npy file nor a checkpoint ({text})"
        ) from error
    tasks = list(_chunks_of(array.store, array, True))
    damaged = _damaged(tasks, told)
    return Checked("samples", len(tasks), False, True, damaged)


def _check_file(path):
    """A .npy file, or a checkpoint."""
    if path.endswith(".npy"):
        try:
            open_npy(path, "path")[:1]
        except ValueError as error:
            return Checked("samples", 1, False, True, [(path, str(error))])
        return Checked("samples", 1, False, True, [])
    if not zipfile.is_zipfile(path):
        with open(path, "rb") as file:
            if file.read(2) != b"PK":
                raise ValueError(f"path={path!r} is neither a Zarr store nor a .npy file nor a checkpoint")
    try:
        load_checkpoint(path)
    except ValueError as error:
        return Checked("checkpoint", 1, True, True, [(path, str(error))])
    return Checked("checkpoint", 1, True, True, [])
