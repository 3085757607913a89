"""A store that is written by chunks beside its path; a run that was stopped goes on with what is there."""

import contextlib
import json
import os
from typing import NamedTuple

from ..machine.files import telling_disk_full
from ..machine.placing import Place
from .keys import chunk_keys, crc32c, missing, read
from .record import seal

_IDENTITY, _DONE, _STORE = "identity.json", "done", "store"
"""In the hidden folder beside the store: what is being written, which chunks are, and the store."""

_KEPT = (KeyboardInterrupt, OSError, RuntimeError, MemoryError)
"""Errors after which the same call may end well, and so goes on."""


class Growing(NamedTuple):
    """A store that is not whole yet, as tasks see it.

    Attributes
    ----------
    path : str
        Where its chunks are written.
    done : str or None
        Folder of a note for every chunk that is written; None at a URL, where nothing is gone on with.
    same_inputs : bool
        Whether what chunks are made of is the same as when earlier notes were made.
    """

    path: str
    done: str | None
    same_inputs: bool

    def arrays(self, names):
        """Its arrays, to be written to."""
        return _to_write(self.path, names)

    def close(self, kind, path, attributes, arrived=True):
        """Write attributes and the closing record of a store of which all chunks are there.

        Parameters
        ----------
        kind : Store
        path : str
            Where it will lie; for the message.
        attributes : dict
            Beside those by which the kind is known.
        arrived : bool
            Whether tasks said that they wrote all.

        Raises
        ------
        OSError
            If some are not: those who wrote them saw another file system.
        """
        import zarr

        group = zarr.open_group(self.path, mode="r+")
        for name in kind.variables:
            if not arrived or missing(group.store, group[name].path, chunk_keys(group[name])):
                raise OSError(
                    f"path={path!r}: not all {kind.kind} arrived in the store; workers and client must see "
                    "the same file system, or use a store that all can reach, such as an s3:// URL"
                )
        group.attrs.update({**kind.marks, **attributes, "complete": True})
        seal(self.path)

    def note(self, number, arrays):
        """The note of a chunk of rows that is whole in all of some arrays; None where it is not done."""
        if self.done is None:
            return None
        try:
            with open(os.path.join(self.done, f"{number}")) as file:
                found = file.read()
        except (OSError, ValueError):
            return None
        return found if all(is_whole(array, number) for array in arrays) else None

    def tick(self, number, note):
        """Note that a chunk of rows is written."""
        if self.done is not None:
            with open(os.path.join(self.done, f"{number}"), "w") as file:
                file.write(note)


@contextlib.contextmanager
def growing(path, names, make, identity, *, inputs=None, n_chunks=None, need=None, told=None):
    """Yield a `Growing` to fill and to seal, which moves to ``path`` when that went well.

    What a call with the same identity left that was killed is gone on with. At a URL, which
    cannot be moved, the store is written in place, from its beginning.

    Parameters
    ----------
    path : str
        Absolute, and free; see `Store.check_free`.
    names : sequence of str
        Arrays of the store.
    make : callable
        ``make(path)`` makes the store, without chunks.
    identity : dict
        What decides chunks, beside the values that they are made of: what JSON can say.
    inputs : str, optional
        Changes when those values may have.
    n_chunks : int, optional
        In all; for ``told``.
    need : int, optional
        Bytes of the store, about, for the message where the disk is full.
    told : callable, optional
        ``told(done, n_chunks)`` is called where an earlier run is gone on with.

    Raises
    ------
    FileExistsError
        If another process writes there.
    DiskFull
        If there is no room; what was written is kept.
    """
    with telling_disk_full(path, need):
        if "://" in path:
            make(path)
            yield Growing(path, None, False)
            return
        with Place(path, wait=0) as place:
            store = os.path.join(place.folder, _STORE)
            identity = json.loads(json.dumps(identity))
            same, n_done = _begin(place, store, names, make, identity, inputs)
            if told is not None and n_done:
                told(n_done, n_chunks)
            try:
                yield Growing(store, os.path.join(place.folder, _DONE), same)
            except _KEPT as error:
                place.keep = True
                error.add_note(f"What was done is kept beside {path}; the same call goes on from there")
                raise
            os.rename(store, place.inner)
            place.move()


def _begin(place, store, names, make, identity, inputs):
    """Take up what an earlier run of the same left, or begin anew; whether inputs are the same, and notes."""
    note, done = os.path.join(place.folder, _IDENTITY), os.path.join(place.folder, _DONE)
    before = None
    with contextlib.suppress(OSError, ValueError), open(note) as file:
        before = json.load(file)
    if not isinstance(before, dict) or before.get("identity") != identity or not os.path.isdir(done):
        before = None
    else:
        try:
            _to_write(store, names)
        except Exception:
            before = None
    if before is None:
        place.clear()
        os.makedirs(done, exist_ok=True)
        make(store)
    if before is None or before.get("inputs") != inputs:
        # notes of chunks do not depend on it: what changed inputs hold is read and compared
        with open(f"{note}.part", "w") as file:
            json.dump({"identity": identity, "inputs": inputs}, file)
            file.flush()
            os.fsync(file.fileno())
        os.replace(f"{note}.part", note)
    return before is not None and inputs is not None and before.get("inputs") == inputs, len(os.listdir(done))


def _to_write(path, names):
    import zarr

    with zarr.config.set({"array.write_empty_chunks": True}):
        group = zarr.open_group(path, mode="r+")
        return [group[name] for name in names]


def is_whole(array, number):
    """Whether a chunk of so many rows is there and has the checksum that it ends with."""
    place = (number, *(0,) * (array.ndim - 1))
    content = read(array.store, f"{array.path}/{array.metadata.encode_chunk_key(place)}")
    return (
        content is not None
        and len(content) > 4
        and crc32c(content[:-4]).to_bytes(4, "little") == content[-4:]
    )
