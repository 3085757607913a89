"""Growing a store without losing or doubling a row, whenever the process ends.

A batch that is done is one file in the journal, which appears whole (it is
renamed) or not at all. Rows that make a whole chunk are moved into the store:
everything of a chunk is written to places that depend only on its number, then
``progress.json`` is replaced, which counts it, then journal files that are
used up are deleted. Each is on the disk before the next begins, so that this holds
where the machine ends, too. Whatever is cut off on the way is done again to the same
bytes.
"""

import contextlib
import errno
import json
import os
import pathlib

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from ..machine.files import replaced
from ..rows.inputs.opening import EMBEDDINGS as GROUP
from ..stores import compressors, seal, unseal
from .claim import BATCH_NAME, check_free, empty, lock
from .identity import difference, with_known
from .images import THUMBNAIL_BYTES
from .outcomes import captions_table, count_captions, read_batch, rejects_table, write_batch
from .store import (
    ATTRIBUTES,
    CAPTIONS,
    EMBEDDINGS,
    JOURNAL,
    PROGRESS,
    REJECTS,
    count,
    read_progress,
)

THUMBNAIL_ROWS = 64
"""Thumbnails in one chunk: a few are read at a time."""


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
    layout : Layout, optional
        Which tokens of an image are rows. Without it an image is one row.

    Attributes
    ----------
    begin : int
        Place in the source from which to go on.
    state : (int, dict) or None
        The latest state of the source before that.
    """

    def __init__(self, path, identity, n_samples=None, overwrite=False, layout=None):
        self.path = path
        self.layout = layout
        self.rows_per_image = 1 if layout is None else layout.rows_per_image
        self.n_samples = n_samples
        self.identity = json.loads(json.dumps(identity))
        check_free(path, overwrite)
        self._lock = lock(path)
        try:
            if overwrite:
                empty(path)
            self._start()
        except BaseException:
            self.close()
            raise

    def _start(self):
        found = read_progress(self.path)
        if found is None:
            found = {
                **EMBEDDINGS.marks, "identity": self.identity, "settings": {},
                "rows": 0, "begin": 0, "rejected": 0, "captions": 0, "captions_rejected": 0,
                "state": None,
                "sum": None, "squares": None, "complete": False, "before": None, "n_samples": None,
            }  # fmt: skip
        elif found.get("format") != EMBEDDINGS.format:
            raise FileExistsError(
                f"out={self.path!r} has a {PROGRESS} that is not of embed; name another folder"
            )
        else:
            self.identity = with_known(self.identity, found.get("identity"))
            before = with_known(found.get("identity"), self.identity)
            if found.get("version") != EMBEDDINGS.version or before != self.identity:
                raise ValueError(
                    f"out={self.path!r} was begun with {difference(before, self.identity)}; "
                    "name another folder, or pass overwrite=True to begin anew"
                )
            found["identity"] = self.identity
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
            if (match := BATCH_NAME.fullmatch(name))
        )
        for begin, end, name in spans:
            path = os.path.join(folder, name)
            outcomes = None
            if begin <= self.begin < end:
                with contextlib.suppress(pa.ArrowInvalid, OSError):  # cut off by the end of the machine
                    outcomes, state = read_batch(path)
            if outcomes is None:
                os.remove(path)
                continue
            self._pending += [outcome for outcome in outcomes if outcome.sample >= self.begin]
            self.begin, self.state = end, state or self.state
        for name in os.listdir(folder):
            if not BATCH_NAME.fullmatch(name):
                os.remove(os.path.join(folder, name))

    def add(self, begin, end, outcomes, state=None):
        """Keep what became of the elements from ``begin`` to ``end``, which follow the last ones."""
        if begin != self.begin:
            raise RuntimeError(f"elements from {begin} on came where those from {self.begin} on were due")
        name = f"{begin:012d}-{end:012d}.arrow"
        with self._replaced(JOURNAL, name) as temporary:
            write_batch(temporary, outcomes, state)
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
        unseal(os.path.join(self.path, GROUP))
        progress = dict(self.progress)
        kept = [outcome for outcome in outcomes if outcome.reason is None]
        skipped = [outcome for outcome in outcomes if outcome.reason is not None]
        first, end = progress["rows"], progress["rows"] + len(kept)
        name = f"rows-{first:012d}.parquet"
        if kept:
            vectors = np.stack([outcome.vector for outcome in kept])
            self._write_rows(first, vectors, kept)
            self._write_table(CAPTIONS, name, captions_table(kept, first))
            wide = vectors.reshape(-1, vectors.shape[-1]).astype(np.float64)
            for key, sums in (("sum", wide.sum(0)), ("squares", (wide**2).sum(0))):
                progress[key] = (sums + (progress[key] or 0)).tolist()
        if skipped:
            self._write_table(REJECTS, name, rejects_table(skipped))
        begin = outcomes[-1].sample + 1 if outcomes else progress["begin"]
        state = self.state if self.state and self.state[0] < begin else progress["state"]
        progress |= {
            "rows": end,
            "rejected": progress["rejected"] + len(skipped),
            **count_captions(progress, kept, skipped),
            "begin": begin,
            "state": state,
            "complete": last,
        }
        if progress["rows"] + progress["rejected"] != begin:
            raise RuntimeError(
                f"of {begin} elements {progress['rows']} are stored and {progress['rejected']} rejected"
            )
        if last:
            progress |= {"before": {**self.progress, "before": None}, "n_samples": self.n_samples}
        if end:
            self._write_attributes(progress)
            if last:
                seal(os.path.join(self.path, GROUP), self._tables())
            self._sync_rows(first, end)
        self.progress = progress
        self._save()
        self._pending = self._pending[len(outcomes) :]
        self._drop_journal(self.progress["before"]["begin"] if last else begin)

    def _write_rows(self, first, vectors, kept):
        import zarr

        n, d, each = first + len(kept), vectors.shape[-1], self.rows_per_image
        group = zarr.open_group(os.path.join(self.path, GROUP), mode="a", zarr_format=3)
        rows = self.progress["settings"]["chunk_rows"]
        if first % rows:
            raise RuntimeError(f"a chunk of {rows} rows cannot begin at row {first}")
        arrays = {
            "embeddings": (
                vectors.reshape(-1, d),
                (rows * each, d // self._n_layers()),
                ("sample" if self.layout is None else "row", "feature"),
                compressors(False),
            ),
            "sample": (np.array([outcome.sample for outcome in kept]), (rows,), ("sample",), compressors()),
            "source": (
                np.array([outcome.source for outcome in kept], object),
                (rows,),
                ("sample",),
                compressors(),
            ),
        }
        if self.progress["settings"].get("thumbnails"):
            shown = np.zeros((len(kept), THUMBNAIL_BYTES), np.uint8)
            for row, outcome in zip(shown, kept, strict=True):
                row[: len(outcome.thumbnail)] = np.frombuffer(outcome.thumbnail, np.uint8)
            chunk = THUMBNAIL_ROWS if rows % THUMBNAIL_ROWS == 0 else rows
            arrays["thumbnail"] = (shown, (chunk, THUMBNAIL_BYTES), ("sample", "byte"), compressors())
        if self.layout is not None:
            places = np.stack([self.layout.positions(outcome.sample) for outcome in kept]).astype(np.int32)
            arrays["position"] = (places, (rows, each), ("sample", "token"), compressors())
            sizes = [outcome.size for outcome in kept]
            # a store that was begun without them goes on so
            if (not first or "size" in group) and None not in sizes:
                arrays["size"] = (np.array(sizes, np.int32), (rows, 2), ("sample", "side"), compressors())
        with zarr.config.set({"array.write_empty_chunks": True}):  # what is missing was lost
            for name, (values, chunks, dims, codecs) in arrays.items():
                if name not in group:
                    group.create_array(
                        name,
                        shape=(0, *values.shape[1:]),
                        chunks=chunks,
                        dtype=str if values.dtype == object else values.dtype,
                        compressors=codecs,
                        dimension_names=dims,
                    )
                    if name == "embeddings" and self.layout is not None:
                        group[name].attrs["rows_per_image"] = each
                array, times = group[name], each if name == "embeddings" else 1
                array.resize((n * times, *array.shape[1:]))
                array[first * times : n * times] = values

    def _n_layers(self):
        """Layers of the model whose vectors stand side by side; each has chunks of its own."""
        layer = self.identity["model"].get("layer")
        return len(layer) if isinstance(layer, list) else 1

    def _sync_rows(self, first, end):
        """See to it that rows, and what describes them, are on the disk."""
        import zarr

        where = pathlib.Path(self.path, GROUP)
        paths = [where / "zarr.json", where]
        for name, array in zarr.open_group(where, mode="r").arrays():
            rows, times = array.chunks[0], self.rows_per_image if name == "embeddings" else 1
            numbers = range(first * times // rows, -(-end * times // rows))
            chunks = [where / name / "c" / str(number) for number in numbers]
            parts = [path for path in chunks if path.is_dir()]
            paths += [where / name / "zarr.json", where / name, where / name / "c", *chunks]
            paths += [part for path in parts for part in path.iterdir()]
        sync(path for path in paths if path.exists())

    def _write_table(self, folder, name, table):
        os.makedirs(os.path.join(self.path, folder), exist_ok=True)
        with self._replaced(folder, name) as temporary:
            pq.write_table(table, temporary, compression="zstd")
            sync([temporary])
        sync([os.path.join(self.path, folder), self.path])

    def _tables(self):
        """The files of captions and rejects, relative to the folder."""
        folders = (CAPTIONS, REJECTS)
        names = [path for folder in folders for path in pathlib.Path(self.path, folder).glob("*.parquet")]
        return sorted(path.relative_to(self.path).as_posix() for path in names)

    def _write_attributes(self, progress):
        import zarr

        group = zarr.open_group(os.path.join(self.path, GROUP), mode="a")
        n = progress["rows"]
        mean = np.array(progress["sum"]) / (n * self.rows_per_image)
        variance = np.maximum(np.array(progress["squares"]) / (n * self.rows_per_image) - mean**2, 0)
        values = {
            **EMBEDDINGS.marks,
            "complete": progress["complete"],
            "model": self.identity["model"],
            "data": self.identity["source"],
            "dtype": str(group["embeddings"].dtype),
            "n_samples": n,
            "n_rejected": progress["rejected"],
            "n_captions": progress["captions"],
            "counts": count(progress),
            "mean": mean.tolist(),
            "scale": np.sqrt(variance).tolist(),
        }
        if self.layout is not None:
            values["tokens"] = self.layout.attributes()
        if values.keys() != ATTRIBUTES.keys() - (set() if self.layout else {"tokens"}):
            raise RuntimeError("the attributes are not those of the schema")
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
        with self._replaced(PROGRESS) as temporary:
            with open(temporary, "w") as file:
                json.dump(self.progress, file)
            sync([temporary])
        sync([self.path])

    def _drop_journal(self, begin):
        """Delete batches that end before an element."""
        folder = os.path.join(self.path, JOURNAL)
        for name in os.listdir(folder):
            match = BATCH_NAME.fullmatch(name)
            if match and int(match[2]) <= begin:
                os.remove(os.path.join(folder, name))

    def close(self):
        """Let others write."""
        if self._lock is not None:
            os.close(self._lock)
            self._lock = None


def sync(paths):
    """Wait until files, and the names in folders, are on the disk."""
    for path in paths:
        try:
            handle = os.open(path, os.O_RDONLY)
        except OSError:  # folders cannot be opened everywhere
            continue
        try:
            os.fsync(handle)
        except OSError as error:
            if error.errno not in (errno.EINVAL, errno.ENOTSUP, errno.EBADF):
                raise
        finally:
            os.close(handle)
