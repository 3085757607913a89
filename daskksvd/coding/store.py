"""Codes on disk: two plain fixed-width Zarr arrays, read back as COO chunks."""

from typing import NamedTuple

import dask.array as da
import numpy as np
import sparse

from ..files import absolute, exists, written_whole
from ..rows import as_rows, cut_pieces
from ..running import Blueprint, Once, given, make_runner
from .coder import Codes, code_blocks, join_codes, make_coder
from .formats import codes_to_coo

FORMAT = "daskksvd.codes"
VERSION = 1
_MIN_ROWS = 1024
"""Rows of a stored chunk at least, where the input's chunks are tiny."""

SCHEMA = {
    "indices": ("sample", "slot", "int32", "atom used in each slot of a row; -1 where unused"),
    "values": ("sample", "slot", "float", "coefficient of that atom; 0 where unused"),
}
"""Arrays of a code store: dimensions, dtype and meaning."""


class _Target(NamedTuple):
    indices: object
    values: object


def write_codes(array, path, dictionary, stopping, preprocessing, *, client=None, overwrite=False):
    """Code all rows of an array straight into a Zarr group.

    Parameters
    ----------
    array : array-like or path
        Samples, n x d; see `daskksvd.fit`.
    path : str or path
        The store to make.
    dictionary : (m, d') float array
        In the coding space.
    stopping : Stopping
    preprocessing : rows.Preprocessing
    client : distributed.Client, optional
    overwrite : bool
        Whether a store of codes that is there may be replaced.
    """
    rows = as_rows(array)
    path = absolute(path)
    if exists(path):
        if not overwrite:
            raise FileExistsError(f"path={path!r} exists; pass overwrite=True to replace it")
        _check_group(path)
    with written_whole(path) as place:
        _write(rows, place, dictionary, stopping, preprocessing, client)


def _write(rows, path, dictionary, stopping, preprocessing, client):
    """Make the store, and let tasks write one stored chunk each."""
    import zarr

    width = stopping.width
    step = min(rows.n, max(_MIN_ROWS, max(rows.chunk_rows)))
    group = zarr.open_group(path, mode="w", zarr_format=3)
    shape, chunks = (rows.n, width), (step, width)
    names = ["sample", "slot"]
    # every chunk is written, even one of fill values: what is missing is not done
    config = {"write_empty_chunks": True}
    target = _Target(
        group.create_array(
            "indices", shape=shape, chunks=chunks, dtype="int32", fill_value=-1,
            dimension_names=names, config=config,
        ),
        group.create_array(
            "values", shape=shape, chunks=chunks, dtype=dictionary.dtype, fill_value=0,
            dimension_names=names, config=config,
        ),
    )  # fmt: skip
    for name, (*_, meaning) in SCHEMA.items():
        group[name].attrs["long_name"] = meaning
    runner = make_runner(client)
    try:
        rows.prepare(runner)
        jobs = [rows.job(pieces) for pieces in _aligned_pieces(rows.chunk_rows, step)]
        written = runner.reduce(
            Blueprint(_write_job, sum),
            rows,
            jobs,
            Once(make_coder, (dictionary, stopping), everywhere=True),
            given(preprocessing),
            given(target),
        )
    except KeyboardInterrupt:
        runner.cancel()
        raise
    finally:
        runner.close()
    for name in SCHEMA:
        if written != rows.n or group[name].nchunks_initialized != group[name].nchunks:
            raise OSError(
                f"path={path!r}: not all codes arrived in the store; workers and client must see the "
                "same file system, or use a store that all can reach, such as an s3:// URL"
            )
    # the mark of a complete store comes last
    group.attrs.update(
        {"format": FORMAT, "version": VERSION, "n_components": len(dictionary), "complete": True}
    )


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


def _write_job(job, inputs, coder, preprocessing, target):
    """Code the rows of one stored chunk and write it whole."""
    parts = [code_rows(raw, coder, preprocessing, piece.offset) for piece, raw in job.read(inputs)]
    codes = join_codes(parts)
    first = job.pieces[0].offset
    last = first + len(codes.indices)
    assert first % target.indices.chunks[0] == 0
    target.indices[first:last] = codes.indices
    target.values[first:last] = codes.values
    return len(codes.indices)


def code_rows(raw, coder, preprocessing, offset=0):
    """Fixed-width codes of raw rows; ``offset`` is the number of the first."""
    parts = []
    for block in code_blocks(raw, coder, preprocessing):
        if not np.isfinite(block.energy).all():
            row = offset + block.start + int(np.argmax(~np.isfinite(block.energy)))
            raise ValueError(
                f"array has a row with NaN, infinite or too large values (row {row}); "
                "all values must be finite"
            )
        parts.append(block.codes)
    return join_codes(parts)


def open_codes(path):
    """Open a store written by `Result.write_codes` as COO chunks.

    Parameters
    ----------
    path : str or path

    Returns
    -------
    dask.array.Array
        n x m, chunks of `sparse.COO`, lazy.

    Raises
    ------
    FileNotFoundError, ValueError
        If there is no complete store of codes.
    """
    path = absolute(path)
    group = _check_group(path)
    if not group.attrs.get("complete"):
        raise ValueError(f"path={path!r} is a store of codes that was never finished; write it again")
    indices, values = group["indices"], group["values"]
    chunks = indices.chunks
    m = int(group.attrs["n_components"])
    meta = sparse.COO(np.empty((2, 0), np.int64), np.empty(0, values.dtype), shape=(0, 0))
    return da.map_blocks(
        _pair_to_coo,
        da.from_array(indices, chunks=chunks, inline_array=True),
        da.from_array(values, chunks=chunks, inline_array=True),
        m,
        chunks=(da.core.normalize_chunks(chunks, indices.shape)[0], (m,)),
        dtype=values.dtype,
        meta=meta,
    )


def _pair_to_coo(indices, values, m):
    return codes_to_coo(Codes(np.asarray(indices), np.asarray(values)), m)


def _check_group(path):
    """The Zarr group at ``path``, if it holds codes."""
    import zarr

    if not exists(path):
        raise FileNotFoundError(f"path={path!r}: there is no such path")
    try:
        group = zarr.open_group(path, mode="r")
        arrays = dict(group.arrays())
    except Exception as error:
        raise ValueError(f"path={path!r} is no Zarr group ({type(error).__name__}: {error})") from error
    if not set(SCHEMA) <= set(arrays):
        raise ValueError(f"path={path!r} is a Zarr group, but not one of codes (indices and values)")
    return group
