"""What becomes of elements of a source, as files: batches in the journal, captions and rejects as tables."""

import json
from typing import NamedTuple

import numpy as np
import pyarrow as pa


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
        (d,) in the dtype of the store, or (rows, d) where tokens are rows.
    thumbnail : bytes or None
    lost : int
        Captions besides those that are blank, or cannot be read.
    size : (int, int) or None
        Width and height of the image as it came to the model, where these are stored.
    """

    sample: int
    source: str
    captions: tuple
    reason: str | None = None
    vector: np.ndarray | None = None
    thumbnail: bytes | None = None
    lost: int = 0
    size: tuple[int, int] | None = None


def captions_table(kept, first):
    """Captions of outcomes in rows from ``first`` on, a line each."""
    lines = [
        (outcome.sample, row, caption)
        for row, outcome in enumerate(kept, first)
        for caption in outcome.captions
    ]
    samples, rows, captions = zip(*lines, strict=True) if lines else ((), (), ())
    schema = pa.schema([("sample", pa.int64()), ("row", pa.int64()), ("caption", pa.string())])
    return pa.table([samples, rows, captions], schema=schema)


def rejects_table(skipped):
    """Outcomes that became no row, with the reason."""
    schema = pa.schema([("sample", pa.int64()), ("source", pa.string()), ("reason", pa.string())])
    return pa.table([[getattr(outcome, name) for outcome in skipped] for name in schema.names], schema=schema)


def count_captions(progress, kept, skipped):
    """Captions stored and rejected, with those of some more outcomes.

    Stores that were begun before rejected captions were counted do not know how many there are.
    """
    rejected = progress.get("captions_rejected")
    if rejected is not None:
        rejected += sum(len(outcome.captions) for outcome in skipped)
        rejected += sum(outcome.lost for outcome in (*kept, *skipped))
    stored = progress["captions"] + sum(len(outcome.captions) for outcome in kept)
    return {"captions": stored, "captions_rejected": rejected}


def write_batch(path, outcomes, state):
    """Write a batch of outcomes into a file of the journal, with the state of the source after it."""
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
            ("lost", pa.int64()),
            ("size", pa.list_(pa.int64())),
        ],
        metadata={"dtype": str(vector.dtype), "state": json.dumps(state)}
        | ({} if vector.ndim == 1 else {"rows": str(len(vector))}),
    )
    columns = [[getattr(outcome, name) for outcome in outcomes] for name in schema.names]
    columns[4] = [None if vector is None else vector.tobytes() for vector in columns[4]]
    table = pa.table(
        [pa.array(column, kind) for column, kind in zip(columns, schema.types, strict=True)], schema=schema
    )
    with pa.OSFile(path, "wb") as file, pa.ipc.new_file(file, schema) as out:
        out.write_table(table)


def read_batch(path):
    """Outcomes of a file of the journal, and the state of the source after them."""
    with pa.OSFile(path, "rb") as file:
        table = pa.ipc.open_file(file).read_all()
    metadata = table.schema.metadata
    dtype, state = metadata[b"dtype"].decode(), json.loads(metadata[b"state"])
    shape = (int(metadata[b"rows"]), -1) if b"rows" in metadata else (-1,)
    outcomes = []
    for row in table.to_pylist():
        vector = None if row["vector"] is None else np.frombuffer(row["vector"], dtype).reshape(shape)
        outcomes.append(Outcome(**{**row, "captions": tuple(row["captions"]), "vector": vector}))
    return outcomes, state and tuple(state)
