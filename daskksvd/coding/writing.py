"""Samples to a store of codes, chunk by chunk; a run that was stopped goes on with what is there."""

import functools
import hashlib
import os
from typing import NamedTuple

import numpy as np

from .. import __version__
from ..execution import WORKER_TIMEOUT, Blueprint, given, make_executor
from ..rows import Reader, as_source, cut_pieces
from ..stores import Growing, compressors, growing
from ..stores.keys import crc32c
from ..tracking.parts import parts_shown
from .codes import join_codes
from .how import check_device, settled
from .products import code_rows
from .store import CODES

_MIN_ROWS = 1024
"""Rows of a stored chunk at least, where the input's chunks are tiny."""


class _Target(NamedTuple):
    """Where tasks write.

    Attributes
    ----------
    indices, values : zarr.Array
    store : Growing
        Whose notes are the checksums of the samples of written chunks; its inputs are the files that
        samples lie in.
    """

    indices: object
    values: object
    store: Growing


def write_codes(
    array, path, coder, *, client=None, overwrite=False, told=None, worker_timeout=WORKER_TIMEOUT,
    device=None, progress=False,
):  # fmt: skip
    """Code all rows of an array straight into a Zarr group.

    Parameters
    ----------
    array : array-like or path
        Samples, n x d; see `daskksvd.fit`.
    path : str or path
        The store to make.
    coder : SparseCoder
    client : distributed.Client, optional
    overwrite : bool
        Whether a store of codes that is there may be replaced.
    told : callable, optional
        ``told(done, chunks)`` is called where an earlier run is gone on with.
    worker_timeout : float, optional
        Seconds to wait for workers that are gone; see `daskksvd.fit`.
    device : str, optional
        Where rows are coded; see `daskksvd.fit`.
    progress : bool
        Whether to show a bar of the chunks that are done.

    Raises
    ------
    FileExistsError
        If something is there that may not be replaced, or another process writes there.
    DiskFull
        If there is no room; what was coded is kept.

    Notes
    -----
    Chunks are written into a hidden folder beside ``path``, which moves there when
    they are all written. A call with the same arguments after one that was killed
    codes what is missing only: chunks whose samples are the same (the files that
    they lie in are unchanged, or their checksum is the same) and that are whole.
    """
    device = check_device(device)
    source = as_source(array, worker_timeout=worker_timeout)
    path = CODES.check_free(path, overwrite)
    executor_of = functools.partial(make_executor, client, worker_timeout=worker_timeout)
    with (
        growing(
            path,
            CODES.variables,
            functools.partial(_make, source=source, coder=coder),
            _identity(source, coder),
            inputs=_files_of(source.local_path),
            n_chunks=-(-source.n // _step(source)),
            need=source.n * coder.target.n_nonzero_coefs * (4 + coder.dictionary.itemsize),
            told=told,
        ) as store,
        parts_shown(progress, "coding"),
    ):
        _write(source, path, store, coder, executor_of, device)


def _identity(source, coder):
    """What decides codes beside the values of the samples."""
    digest = hashlib.sha256()
    for value in (coder.dictionary, *coder.transform, *(coder.encoder or ())[:4]):
        value = None if value is None else np.ascontiguousarray(value)
        digest.update(repr(None if value is None else (value.shape, str(value.dtype))).encode())
        digest.update(b"" if value is None else value.tobytes())
    return {
        "version": __version__,
        "how": digest.hexdigest(),
        "target": repr(coder.target),
        "shape": [source.n, source.d],
        "dtype": str(source.dtype),
        "step": _step(source),
    }


def _files_of(path):
    """Digest of names, sizes and times of the files that samples lie in; None where they lie in none."""
    if path is None:
        return None
    digest = hashlib.sha256(path.encode())
    for folder, folders, names in os.walk(path):
        folders.sort()
        for name in sorted(names):
            found = os.stat(os.path.join(folder, name))
            digest.update(f"{folder}/{name} {found.st_size} {found.st_mtime_ns} {found.st_ino}\n".encode())
    if os.path.isfile(path):
        found = os.stat(path)
        digest.update(f"{found.st_size} {found.st_mtime_ns} {found.st_ino}".encode())
    return digest.hexdigest()


def _step(source):
    """Rows of a stored chunk."""
    return min(source.n, max(_MIN_ROWS, max(source.chunk_rows)))


def _make(path, source, coder):
    """The two arrays, without chunks."""
    import zarr

    width = coder.target.n_nonzero_coefs
    group = zarr.open_group(path, mode="w", zarr_format=3)
    options = {
        "shape": (source.n, width),
        "chunks": (_step(source), width),
        "compressors": compressors(),
        "dimension_names": ["sample", "slot"],
        # every chunk is written, even one of fill values: what is missing is not done
        "config": {"write_empty_chunks": True},
    }
    group.create_array("indices", dtype="int32", fill_value=-1, **options)
    group.create_array("values", dtype=coder.dictionary.dtype, fill_value=0, **options)
    for name, variable in CODES.variables.items():
        group[name].attrs["long_name"] = variable.meaning


def _write(source, path, store, coder, executor_of, device):
    """Let tasks write one stored chunk each, and close the store."""
    target = _Target(*store.arrays(CODES.variables), store)
    executor = executor_of()
    try:
        reader = Reader(source, executor)
        jobs = [reader.job(pieces) for pieces in _aligned_pieces(source.chunk_rows, _step(source))]
        written = reader.reduce(
            Blueprint(_write_job, sum), jobs, settled(coder, executor, device).shared(), given(target)
        )
    except KeyboardInterrupt:
        executor.cancel()
        raise
    finally:
        executor.close()
    facts = {"n_components": len(coder.dictionary)}
    if source.rows_per_image is not None:
        facts["rows_per_image"] = source.rows_per_image
    store.close(CODES, path, facts, written == source.n)


def _aligned_pieces(chunk_rows, step):
    """Pieces of the array's chunks, grouped by the stored chunk they fall in."""
    groups = {}
    for piece in cut_pieces(chunk_rows, max(chunk_rows)):
        start = piece.start
        while start < piece.stop:
            row = piece.offset + start - piece.start
            number = row // step
            stop = min(piece.stop, start + (number + 1) * step - row)
            groups.setdefault(number, []).append(piece._replace(start=start, stop=stop, offset=row))
            start = stop
    return [tuple(groups[number]) for number in sorted(groups)]


def _write_job(job, inputs, products, target):
    """Code the rows of one stored chunk and write it whole, unless that was done before."""
    first = job.pieces[0].offset
    last = job.pieces[-1].offset + job.pieces[-1].stop - job.pieces[-1].start
    number = first // target.indices.chunks[0]
    assert first % target.indices.chunks[0] == 0
    if _was_done(number, job, inputs, target):
        return last - first
    parts, checksum = [], 0
    for piece, raw in job.read(inputs):
        checksum = _extended(checksum, raw)
        parts.append(code_rows(raw, products, piece.offset))
    codes = join_codes(parts)
    target.indices[first:last] = codes.indices
    target.values[first:last] = codes.values
    target.store.tick(number, f"{checksum:08x}")
    return last - first


def _was_done(number, job, inputs, target):
    """Whether a chunk was written, is whole, and is of the samples as they are now."""
    note = target.store.note(number, (target.indices, target.values))
    if note is None or target.store.same_inputs:
        return note is not None
    checksum = 0
    for _, raw in job.read(inputs):
        checksum = _extended(checksum, raw)
    return f"{checksum:08x}" == note


def _extended(checksum, raw):
    return crc32c(np.ascontiguousarray(raw).reshape(-1).view("u1"), checksum)
