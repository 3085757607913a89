"""`embed_captions`: from captions to a store of encodings, one vector a row."""

from __future__ import annotations

import contextlib
import functools
import hashlib
import json
import os
import warnings
from itertools import pairwise
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from .. import __version__
from ..arguments import flag, integer
from ..captions.by_sample import open_rows
from ..captions.partitions import compute_all, read_lines
from ..execution import WORKER_TIMEOUT, in_flight, in_order, make_executor
from ..machine.files import absolute
from ..rows.inputs.opening import EMBEDDINGS as GROUP
from ..stores import Growing, compressors, growing
from .encodings import ENCODINGS, open_encodings
from .opening import open_embeddings
from .texts import TEXT_BATCH, as_text_encoder

if TYPE_CHECKING:
    from collections.abc import Sequence

    import numpy.typing as npt
    from distributed import Client

    from ..captions.by_sample import CaptionsLike
    from .encodings import Encodings
    from .models.base import Precision
    from .store import Embeddings
    from .texts import EncoderLike

ENCODE_CHUNK_ROWS = 4096
"""Rows of a chunk, and of one task: a kill loses less than a minute or two of work on a processor."""

_AHEAD = 2
"""Chunks sent ahead to each thread of a cluster."""


class _Target(NamedTuple):
    """Where tasks write, and by what.

    Attributes
    ----------
    encodings, n_captions : zarr.Array
    store : Growing
        Whose notes are digests of the captions of written chunks.
    encoder : TextEncoder
    batch_size : int
    on_worker : bool
    """

    encodings: Any
    n_captions: Any
    store: Growing
    encoder: Any
    batch_size: int
    on_worker: bool


def embed_captions(
    captions: CaptionsLike,
    out: str | os.PathLike[str],
    *,
    model: EncoderLike,
    pretrained: str | None = None,
    revision: str | None = None,
    n: int | None = None,
    embeddings: Embeddings | str | os.PathLike[str] | Sequence[str] | None = None,
    sample_ids: npt.ArrayLike | None = None,
    batch_size: int = TEXT_BATCH,
    chunk_rows: int | None = None,
    precision: Precision = "auto",
    device: str = "auto",
    client: Client | None = None,
    worker_timeout: float | None = WORKER_TIMEOUT,
    overwrite: bool = False,
    progress: bool = False,
) -> Encodings:
    """Run a text encoder over the captions of rows, into a store with one vector a row.

    A run that was stopped, by whatever, goes on where it was when it is called again with the same
    arguments.

    Parameters
    ----------
    captions : path, DataFrame, Series, list or dict
        See `captions.open_captions`: by row, by sample, or by the name of an image.
    out : str or path
        The Zarr group to write.
    model : str, path or callable
        As for `embed_texts`, or a function from a list of texts to an array with a row for each; it
        is known by its name alone where a run goes on.
    pretrained, revision, precision, device
        Of a model that is named; see `embed`.
    n : int, optional
        Rows; by default those of ``embeddings``, ``sample_ids`` or, without these, the captions'.
    embeddings : Embeddings, path or sequence of str, optional
        What `embed` made of the images of the rows, or their names: for captions by sample or that
        name images.
    sample_ids : (n,) array of int, optional
        Sample of each row, for captions by sample.
    batch_size : int
        Texts of one forward pass.
    chunk_rows : int, optional
        Rows of a chunk of the store, and of one task.
    client : distributed.Client, optional
        Encode on its workers. They load the model once each.
    worker_timeout : float, optional
        Seconds to wait for workers that are gone; see `daskksvd.fit`.
    overwrite : bool
        Whether a store of encodings that is there may be replaced.
    progress : bool
        Whether to show a bar with rows a second and time left.

    Returns
    -------
    Encodings

    Raises
    ------
    TypeError, ValueError
        If an argument is not one of those allowed, the model reads no texts, or no caption that has
        text is of any row.
    FileNotFoundError, FileExistsError, PermissionError
        If there are no captions, or ``out`` cannot be written.
    OSError
        If the disk is full; what was done is kept.

    Notes
    -----
    Row i is the mean over its captions c of ``encode(c) / |encode(c)|``, where a caption that comes twice
    counts twice; blank captions count as none.
    """
    encoder = as_text_encoder(
        model, pretrained=pretrained, revision=revision, precision=precision, device=device, name="model"
    )
    for name, value in (("n", n), ("batch_size", batch_size), ("chunk_rows", chunk_rows)):
        if value is not None:
            integer(name, value, 1)
    flag("overwrite", overwrite)
    path = ENCODINGS.check_free(out, overwrite, "out")
    images: Any = embeddings
    if images is None and sample_ids is None and n is None and _is_embedded(captions):
        images = captions  # its captions may end before its rows do
    if isinstance(images, (str, os.PathLike)):
        images = open_embeddings(images)
    opened, rows = open_rows(captions, n, sample_ids=sample_ids, embeddings=images, what="n= says")
    how = {"client": client, "worker_timeout": worker_timeout}
    # a model makes use of all threads: one task at a time
    with contextlib.closing(make_executor(n_threads=1, **how)) as executor:
        if client is not None:
            executor.at_close(encoder.forget)  # it is large, and nobody else on the cluster uses it
            if isinstance(captions, (str, os.PathLike)) and "://" not in os.fspath(captions):
                executor.check_path(absolute(captions), "captions")
        identity, e = executor.retrying(lambda: executor.gather([executor.submit(_describe, encoder)])[0])
        step = min(rows.n, chunk_rows or ENCODE_CHUNK_ROWS)
        with growing(
            path,
            ENCODINGS.variables,
            functools.partial(_make, n=rows.n, e=e, step=step),
            {"version": __version__, "model": identity, "shape": [rows.n, e], "step": step},
            need=rows.n * (2 * e + 8),
        ) as store:
            arrays = store.arrays(ENCODINGS.variables)
            target = _Target(arrays[0], arrays[1], store, encoder, batch_size, client is not None)
            counts = _write(rows, target, executor, step, progress)
            if not counts.encoded:
                raise ValueError(
                    f"captions have no text for any of the {rows.n:,} rows; their rows or samples must agree"
                )
            seen = counts.encoded + counts.blank
            if counts.lines < opened.n_lines:
                seen = _count_captions(opened, **how)
                unknown = f"{opened.n_lines - counts.lines:,} of {opened.n_lines:,} lines of captions"
                warnings.warn(f"{unknown} are of no row: left out", stacklevel=2)
            captions_of = {
                "seen": seen,
                "encoded": counts.encoded,
                "blank": counts.blank,
                "unknown": seen - counts.encoded - counts.blank,
            }
            attributes = {"model": identity, "n_samples": rows.n, "n_captioned": counts.captioned}
            store.close(ENCODINGS, path, {**attributes, "counts": {"captions": captions_of}})
    return open_encodings(path)


class _Counts(NamedTuple):
    """What became of the captions of some rows.

    Attributes
    ----------
    encoded, blank : int
        Captions.
    captioned : int
        Rows with one that is encoded.
    lines : int
        Lines of the table that they were in.
    """

    encoded: int
    blank: int
    captioned: int
    lines: int


def _is_embedded(captions):
    """Whether captions are given as the folder that `embed` made."""
    if not isinstance(captions, (str, os.PathLike)):
        return False
    return os.path.isdir(os.path.join(absolute(captions), GROUP))


def _describe(encoder):
    """Identity and width of an encoder, where it is used."""
    e = encoder.encode(["a"]).shape[1]
    return encoder.identity(), e


def _make(path, n, e, step):
    """The arrays, without chunks."""
    import zarr

    group = zarr.open_group(path, mode="w", zarr_format=3)
    # every chunk is written, even one of fill values: what is missing is not done
    written = {"config": {"write_empty_chunks": True}}
    for name, shape, compress in (("encodings", (n, e), False), ("n_captions", (n,), True)):
        variable = ENCODINGS.variables[name]
        array = group.create_array(
            name,
            shape=shape,
            chunks=(step, *shape[1:]),
            dtype=variable.dtypes[0],
            compressors=compressors(compress),
            dimension_names=list(variable.dims),
            fill_value=0,
            **written,
        )
        array.attrs["long_name"] = variable.meaning


def _write(rows, target, executor, step, progress):
    """Let tasks write one chunk each; what became of the captions of all."""
    import dask
    from tqdm.auto import tqdm

    write = dask.delayed(_write_rows, pure=False)
    fixed = dask.delayed(target, pure=False, traverse=False)

    def begin(bounds):
        return executor.begin(write(rows.delayed(*bounds), *bounds, fixed))[0]

    bounds = list(pairwise([*range(0, rows.n, step), rows.n]))
    total = _Counts(0, 0, 0, 0)
    ahead = in_flight(executor, _AHEAD) if target.on_worker else 1
    with tqdm(total=rows.n, unit=" rows", dynamic_ncols=True, disable=not progress) as bar:
        try:
            for (low, high), counts in in_order(executor, bounds, begin, ahead):
                total = _Counts(*map(sum, zip(total, counts, strict=True)))
                bar.update(high - low)
        except KeyboardInterrupt:
            executor.cancel()
            raise
    return total


def _write_rows(read, low, high, target):
    """Encode the captions of the rows of one chunk and write it whole, unless that was done before.

    Parameters
    ----------
    read : (Partition, int)
        Captions by row, and lines of the table that they took.
    low, high : int
    target : _Target

    Returns
    -------
    _Counts
    """
    partition, n_lines = read
    written = np.array([bool(text) and not text.isspace() for text in partition.caption], bool)
    texts, row = partition.caption[written], partition.sample[written] - low
    n_captions = np.bincount(row, minlength=high - low)
    number = low // target.encodings.chunks[0]
    note = hashlib.sha256(json.dumps([row.tolist(), texts.tolist()]).encode()).hexdigest()
    if target.store.note(number, (target.encodings, target.n_captions)) != note:
        target.encodings[low:high] = _mean_encodings(texts, row, n_captions, target)
        target.n_captions[low:high] = n_captions
        target.store.tick(number, note)
    return _Counts(len(texts), len(written) - len(texts), int((n_captions > 0).sum()), n_lines)


def _mean_encodings(texts, row, n_captions, target):
    """Means over the captions of every row, (rows, e) float64; each text is encoded once."""
    import pandas as pd
    import scipy.sparse

    if not len(texts):
        return np.zeros((len(n_captions), target.encodings.shape[1]))
    place, distinct = pd.factorize(texts)
    vectors = target.encoder.encode(list(distinct), target.batch_size, n_threads=_own_threads(target))
    if vectors.shape[1] != target.encodings.shape[1]:
        raise ValueError(
            f"model gives {vectors.shape[1]} numbers a text, and gave {target.encodings.shape[1]} before"
        )
    shares = scipy.sparse.csr_matrix(
        (1 / n_captions[row], (row, place)), shape=(len(n_captions), len(distinct))
    )
    return shares @ vectors.astype(np.float64)


def _own_threads(target):
    """Threads that the model may use: on a worker as many as that has."""
    if not target.on_worker:
        return None
    from distributed import get_worker

    return get_worker().state.nthreads


def _count_captions(captions, client, worker_timeout):
    """Captions of all lines of a table, those of no row among them."""
    parts = [captions.reading(_count_cells, low, high) for low, high in captions.ranges()]
    return sum(compute_all(parts, client, worker_timeout))


def _count_cells(parts, key, low, high):
    _, cells = read_lines(parts, key, low, high)
    return sum(len(cell) if isinstance(cell, list) else 1 for cell in cells)
