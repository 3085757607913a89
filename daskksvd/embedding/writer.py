"""Growing a store without losing or doubling a row, whenever the process ends.

A batch that is done is one file in the journal, which appears whole (it is
renamed) or not at all. Rows that make a whole chunk are moved into the store:
everything of a chunk is written to places that depend only on its number, then
``progress.json`` is replaced, which counts it, then journal files that are
used up are deleted. Whatever is cut off on the way is done again to the same
bytes.
"""

import contextlib
import errno
import json
import os
import pathlib
import re
import shutil
from typing import NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from ..constants import THUMBNAIL_BYTES, THUMBNAIL_ROWS
from ..files import replaced
from .store import (
    ATTRIBUTES,
    CAPTIONS,
    FORMAT,
    GROUP,
    JOURNAL,
    LOCK,
    PROGRESS,
    REJECTS,
    VERSION,
    read_progress,
)

try:
    import fcntl
except ImportError:  # no such locks on Windows
    fcntl = None

_NAME = re.compile(r"(\d{12})-(\d{12})\.arrow")


class Outcome(NamedTuple):
    """What became of one element of the source.

    Attributes
    ----------
    sample : int
        Its place.
    source : str
    captions : tuple of str
    reason : str or None
        Why it was skipped; None if it was not.
    vector : numpy.ndarray or None
        (d,) in the dtype of the store.
    thumbnail : bytes or None
    """

    sample: int
    source: str
    captions: tuple
    reason: str | None = None
    vector: np.ndarray | None = None
    thumbnail: bytes | None = None


class Writer:
    """The store at ``path`` while it grows.

    Parameters
    ----------
    path : str
    identity : dict
        What must be the same to go on: source, model and form of the store. JSON-able.
    n_samples : int or None
        Elements of the source that are wanted. With more than at first the store grows.
    overwrite : bool
        Whether what is there goes.

    Attributes
    ----------
    begin : int
        Place in the source from which to go on.
    state : (int, dict) or None
        The latest state of the source before that.
    """

    def __init__(self, path, identity, n_samples=None, overwrite=False):
        self.path = path
        self.n_samples = n_samples
        self.identity = json.loads(json.dumps(identity))
        self._lock = _lock(path)
        try:
            if overwrite:
                _empty(path)
            self._start()
        except BaseException:
            self.close()
            raise

    def _start(self):
        found = read_progress(self.path)
        if found is None:
            others = sorted(set(os.listdir(self.path)) - _begun(self.path))
            if others:
                raise FileExistsError(
                    f"out={self.path!r} is not empty ({others[0]}) and no earlier run of embed; "
                    "name another folder, or pass overwrite=True"
                )
            found = {
                "format": FORMAT, "version": VERSION, "identity": self.identity, "settings": {},
                "rows": 0, "begin": 0, "rejected": 0, "captions": 0, "state": None,
                "sum": None, "squares": None, "complete": False, "before": None, "n_samples": None,
            }  # fmt: skip
        elif found.get("version") != VERSION or found["identity"] != self.identity:
            raise ValueError(
                f"out={self.path!r} was begun with {_difference(found.get('identity', {}), self.identity)}; "
                "name another folder, or pass overwrite=True to begin anew"
            )
        self.progress = found
        if found["complete"] and self._may_grow():
            self.progress = {**found["before"], "before": None}
        os.makedirs(os.path.join(self.path, JOURNAL), exist_ok=True)
        self._pending = []
        self.begin = self.progress["begin"]
        self.state = self.progress["state"] and tuple(self.progress["state"])
        if not self.complete:
            self._read_journal()
            # Zarr renames, too; what it was cut off from renaming stays behind
            for left in pathlib.Path(self.path, GROUP).rglob("*.partial"):
                left.unlink()
        self._save()

    @property
    def complete(self):
        return self.progress["complete"]

    @property
    def rows(self):
        """Images embedded so far."""
        return self.progress["rows"] + sum(outcome.reason is None for outcome in self._pending)

    @property
    def rejected(self):
        """Elements skipped so far."""
        return self.progress["rejected"] + sum(outcome.reason is not None for outcome in self._pending)

    def _may_grow(self):
        """Whether more elements are wanted than a run that is complete was asked for."""
        asked = self.progress["n_samples"]
        return asked is not None and (self.n_samples is None or self.n_samples > asked)

    def settle(self, **settings):
        """Fix settings that a first run chooses; returns those of the first run."""
        self.progress["settings"] = {**settings, **self.progress["settings"]}
        self._save()
        return self.progress["settings"]

    # ------------------------------------------------------------- journal

    def _read_journal(self):
        """Take up whole batches that follow what the store has; drop the rest."""
        folder = os.path.join(self.path, JOURNAL)
        spans = sorted(
            (*map(int, match.groups()), name)
            for name in os.listdir(folder)
            if (match := _NAME.fullmatch(name))
        )
        for begin, end, name in spans:
            path = os.path.join(folder, name)
            outcomes = None
            if begin <= self.begin < end:
                with contextlib.suppress(pa.ArrowInvalid, OSError):  # cut off by the end of the machine
                    outcomes, state = _read_batch(path)
            if outcomes is None:
                os.remove(path)
                continue
            self._pending += [outcome for outcome in outcomes if outcome.sample >= self.begin]
            self.begin, self.state = end, state or self.state
        for name in os.listdir(folder):
            if not _NAME.fullmatch(name):
                os.remove(os.path.join(folder, name))

    def add(self, begin, end, outcomes, state=None):
        """Keep what became of the elements from ``begin`` to ``end``, which follow the last ones."""
        assert begin == self.begin, (begin, self.begin)
        name = f"{begin:012d}-{end:012d}.arrow"
        with self._replaced(JOURNAL, name) as temporary:
            _write_batch(temporary, outcomes, state)
        self._pending += outcomes
        self.begin, self.state = end, state or self.state
        self._move_whole_chunks()

    # -------------------------------------------------------------- chunks

    def _move_whole_chunks(self):
        kept = sum(outcome.reason is None for outcome in self._pending)
        rows = self.progress["settings"]["chunk_rows"]
        while kept >= rows:
            count = 0
            for cut, outcome in enumerate(self._pending, 1):  # noqa: B007
                count += outcome.reason is None
                if count == rows:
                    break
            self._move(self._pending[:cut])
            kept -= rows

    def _move(self, outcomes, last=False):
        """Make outcomes the next chunk of the store, and count them."""
        progress = dict(self.progress)
        kept = [outcome for outcome in outcomes if outcome.reason is None]
        skipped = [outcome for outcome in outcomes if outcome.reason is not None]
        first, end = progress["rows"], progress["rows"] + len(kept)
        name = f"rows-{first:012d}.parquet"
        if kept:
            vectors = np.stack([outcome.vector for outcome in kept])
            self._write_rows(first, vectors, kept)
            self._write_table(CAPTIONS, name, _captions(kept, first))
            wide = vectors.astype(np.float64)
            for key, sums in (("sum", wide.sum(0)), ("squares", (wide**2).sum(0))):
                progress[key] = (sums + (progress[key] or 0)).tolist()
        if skipped:
            self._write_table(REJECTS, name, _rejects(skipped))
        begin = outcomes[-1].sample + 1 if outcomes else progress["begin"]
        state = self.state if self.state and self.state[0] < begin else progress["state"]
        progress |= {
            "rows": end,
            "rejected": progress["rejected"] + len(skipped),
            "captions": progress["captions"] + sum(len(outcome.captions) for outcome in kept),
            "begin": begin,
            "state": state,
            "complete": last,
        }
        if last:
            progress |= {"before": {**self.progress, "before": None}, "n_samples": self.n_samples}
        if end:
            self._write_attributes(progress)
        self.progress = progress
        self._save()
        self._pending = self._pending[len(outcomes) :]
        self._drop_journal(self.progress["before"]["begin"] if last else begin)

    def _write_rows(self, first, vectors, kept):
        import zarr

        n, d = first + len(kept), vectors.shape[1]
        group = zarr.open_group(os.path.join(self.path, GROUP), mode="a", zarr_format=3)
        rows = self.progress["settings"]["chunk_rows"]
        assert first % rows == 0
        arrays = {
            "embeddings": (vectors, (rows, d), ("sample", "feature"), None),
            "sample": (np.array([outcome.sample for outcome in kept]), (rows,), ("sample",), "auto"),
            "source": (np.array([outcome.source for outcome in kept], object), (rows,), ("sample",), "auto"),
        }
        if self.progress["settings"].get("thumbnails"):
            shown = np.zeros((len(kept), THUMBNAIL_BYTES), np.uint8)
            for row, outcome in zip(shown, kept, strict=True):
                row[: len(outcome.thumbnail)] = np.frombuffer(outcome.thumbnail, np.uint8)
            chunk = THUMBNAIL_ROWS if rows % THUMBNAIL_ROWS == 0 else rows
            arrays["thumbnail"] = (shown, (chunk, THUMBNAIL_BYTES), ("sample", "byte"), "auto")
        for name, (values, chunks, dims, compressors) in arrays.items():
            if name not in group:
                group.create_array(
                    name,
                    shape=(0, *values.shape[1:]),
                    chunks=chunks,
                    dtype=str if values.dtype == object else values.dtype,
                    compressors=compressors,
                    dimension_names=dims,
                )
            array = group[name]
            array.resize((n, *array.shape[1:]))
            array[first:n] = values

    def _write_table(self, folder, name, table):
        os.makedirs(os.path.join(self.path, folder), exist_ok=True)
        with self._replaced(folder, name) as temporary:
            pq.write_table(table, temporary, compression="zstd")

    def _write_attributes(self, progress):
        import zarr

        group = zarr.open_group(os.path.join(self.path, GROUP), mode="a")
        n = progress["rows"]
        mean = np.array(progress["sum"]) / n
        variance = np.maximum(np.array(progress["squares"]) / n - mean**2, 0)
        values = {
            "format": FORMAT,
            "version": VERSION,
            "complete": progress["complete"],
            "model": self.identity["model"],
            "data": self.identity["source"],
            "dtype": str(group["embeddings"].dtype),
            "n_samples": n,
            "n_rejected": progress["rejected"],
            "n_captions": progress["captions"],
            "mean": mean.tolist(),
            "scale": np.sqrt(variance).tolist(),
        }
        assert values.keys() == ATTRIBUTES.keys()
        group.update_attributes(values)

    def finish(self):
        """Move what is left, and mark the store as complete.

        The journal keeps the batches of the last chunk, so that the store can grow.
        """
        self._move(list(self._pending), last=True)

    # ------------------------------------------------------------- helpers

    def _replaced(self, *names):
        """A file of the store, replaced when it is whole; nobody else writes here."""
        path = os.path.join(self.path, *names)
        return replaced(path, f"{path}.part")

    def _save(self):
        with self._replaced(PROGRESS) as temporary, open(temporary, "w") as file:
            json.dump(self.progress, file)

    def _drop_journal(self, begin):
        """Delete batches that end before an element."""
        folder = os.path.join(self.path, JOURNAL)
        for name in os.listdir(folder):
            match = _NAME.fullmatch(name)
            if match and int(match[2]) <= begin:
                os.remove(os.path.join(folder, name))

    def close(self):
        """Let others write."""
        if self._lock is not None:
            os.close(self._lock)
            self._lock = None


def _captions(kept, first):
    lines = [
        (outcome.sample, row, caption)
        for row, outcome in enumerate(kept, first)
        for caption in outcome.captions
    ]
    samples, rows, captions = zip(*lines, strict=True) if lines else ((), (), ())
    schema = pa.schema([("sample", pa.int64()), ("row", pa.int64()), ("caption", pa.string())])
    return pa.table([samples, rows, captions], schema=schema)


def _rejects(skipped):
    schema = pa.schema([("sample", pa.int64()), ("source", pa.string()), ("reason", pa.string())])
    return pa.table([[getattr(outcome, name) for outcome in skipped] for name in schema.names], schema=schema)


def _write_batch(path, outcomes, state):
    vector = next(
        (outcome.vector for outcome in outcomes if outcome.vector is not None), np.empty(0, np.float16)
    )
    schema = pa.schema(
        [
            ("sample", pa.int64()),
            ("source", pa.string()),
            ("captions", pa.list_(pa.string())),
            ("reason", pa.string()),
            ("vector", pa.binary()),
            ("thumbnail", pa.binary()),
        ],
        metadata={"dtype": str(vector.dtype), "state": json.dumps(state)},
    )
    columns = [[getattr(outcome, name) for outcome in outcomes] for name in schema.names]
    columns[4] = [None if vector is None else vector.tobytes() for vector in columns[4]]
    table = pa.table(
        [pa.array(column, kind) for column, kind in zip(columns, schema.types, strict=True)], schema=schema
    )
    with pa.OSFile(path, "wb") as file, pa.ipc.new_file(file, schema) as out:
        out.write_table(table)


def _read_batch(path):
    with pa.OSFile(path, "rb") as file:
        table = pa.ipc.open_file(file).read_all()
    metadata = table.schema.metadata
    dtype, state = metadata[b"dtype"].decode(), json.loads(metadata[b"state"])
    outcomes = []
    for row in table.to_pylist():
        vector = None if row["vector"] is None else np.frombuffer(row["vector"], dtype)
        outcomes.append(Outcome(**{**row, "captions": tuple(row["captions"]), "vector": vector}))
    return outcomes, state and tuple(state)


def _lock(path):
    """Make the folder, and keep other processes from writing into it."""
    try:
        os.makedirs(path, exist_ok=True)
        handle = os.open(os.path.join(path, LOCK), os.O_RDWR | os.O_CREAT, 0o644)
    except OSError as error:
        kind = PermissionError if error.errno in (errno.EACCES, errno.EPERM, errno.EROFS) else type(error)
        raise kind(f"out={path!r} cannot be written to: {error.strerror}") from error
    if fcntl is None:
        return handle
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError as error:
        os.close(handle)
        raise FileExistsError(f"out={path!r} is being written by another process") from error
    except OSError:  # a file system without locks
        pass
    return handle


def _begun(path):
    """What a run leaves that ended before it had written down its progress."""
    journal = os.path.join(path, JOURNAL)
    empty = os.path.isdir(journal) and not os.listdir(journal)
    return {LOCK, f"{PROGRESS}.part", *[JOURNAL] * empty}


def _empty(path):
    """Remove an earlier store; anything else in the folder stays, and is complained of."""
    for name in (GROUP, CAPTIONS, REJECTS, JOURNAL):
        shutil.rmtree(os.path.join(path, name), ignore_errors=True)
    with contextlib.suppress(FileNotFoundError):
        os.remove(os.path.join(path, PROGRESS))


def _difference(before, now):
    """The first setting that is not as it was."""
    for key in now:
        old, new = before.get(key), now[key]
        if isinstance(new, dict) and isinstance(old, dict):
            for inner in {**old, **new}:
                if old.get(inner) != new.get(inner):
                    return f"{key} {inner} {old.get(inner)!r}, not {new.get(inner)!r}"
        elif old != new:
            return f"{key}={old!r}, not {new!r}"
    return "other settings"
