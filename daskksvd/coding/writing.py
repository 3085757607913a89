"""Samples to a store of codes, chunk by chunk; a run that was stopped goes on with what is there."""

import contextlib
import functools
import hashlib
import json
import os
from typing import NamedTuple

import numpy as np

from .. import __version__
from ..execution import WORKER_TIMEOUT, Blueprint, given, make_executor
from ..machine.files import telling_disk_full
from ..machine.placing import Place
from ..rows import Reader, as_source, cut_pieces
from ..stores import compressors, seal
from ..stores.keys import chunk_keys, crc32c, missing, read
from .products import code_rows, join_codes
from .store import CODES

_MIN_ROWS = 1024
"""Rows of a stored chunk at least, where the input's chunks are tiny."""

_IDENTITY, _DONE, _STORE = "identity.json", "done", "store"
"""In the hidden folder beside the store: what is being written, which chunks are, and the store."""

_KEPT = (KeyboardInterrupt, OSError, RuntimeError, MemoryError)
"""Errors after which the same call may end well, and so goes on."""


class _Target(NamedTuple):
    """Where tasks write.

    Attributes
    ----------
    indices, values : zarr.Array
    done : str or None
        Folder of a note for every written chunk, with the checksum of its samples.
    same_files : bool
        Whether the samples lie in files that are the same as when earlier notes were made.
    """

    indices: object
    values: object
    done: str | None
    same_files: bool


def write_codes(
    array, path, coder, *, client=None, overwrite=False, told=None, worker_timeout=WORKER_TIMEOUT
):
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
    source = as_source(array, worker_timeout=worker_timeout)
    path = CODES.check_free(path, overwrite)
    executor_of = functools.partial(make_executor, client, worker_timeout=worker_timeout)
    need = source.n * coder.target.n_nonzero_coefs * (4 + coder.dictionary.itemsize)
    with telling_disk_full(path, need):
        if "://" in path:
            _write(source, path, path, None, False, coder, executor_of)
            return
        with Place(path, wait=0) as place:
            store = os.path.join(place.folder, _STORE)
            same_files = _begin(place, store, source, coder, told)
            try:
                _write(source, path, store, os.path.join(place.folder, _DONE), same_files, coder, executor_of)
            except _KEPT as error:
                place.keep = True
                error.add_note(f"What was coded is kept beside {path}; the same call goes on from there")
                raise
            os.rename(store, place.inner)
            place.move()


def _begin(place, store, source, coder, told):
    """Take up what an earlier run of the same left, or begin anew; whether samples' files are the same."""
    identity = _identity(source, coder)
    files = _files_of(source.local_path)
    note = os.path.join(place.folder, _IDENTITY)
    before = None
    with contextlib.suppress(OSError, ValueError), open(note) as file:
        before = json.load(file)
    done = os.path.join(place.folder, _DONE)
    if not isinstance(before, dict) or before.get("identity") != identity or not os.path.isdir(done):
        place.clear()
        before = None
    else:
        try:
            _targets(store)
        except Exception:
            place.clear()
            before = None
    if before is None:
        os.makedirs(done, exist_ok=True)
        _make(store, source, coder)
    elif told is not None and os.listdir(done):
        told(len(os.listdir(done)), -(-source.n // _step(source)))
    if before is None or before.get("files") != files:
        # notes of chunks do not depend on it: samples of changed files are read and compared
        with open(f"{note}.part", "w") as file:
            json.dump({"identity": identity, "files": files}, file)
            file.flush()
            os.fsync(file.fileno())
        os.replace(f"{note}.part", note)
    return before is not None and files is not None and before.get("files") == files


def _identity(source, coder):
    """What decides codes beside the values of the samples."""
    digest = hashlib.sha256()
    for value in (coder.dictionary, *coder.transform):
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


def _targets(path):
    """The two arrays at a path, to be written to."""
    import zarr

    with zarr.config.set({"array.write_empty_chunks": True}):
        group = zarr.open_group(path, mode="r+")
        return [group[name] for name in CODES.variables]


def _write(source, path, store, done, same_files, coder, executor_of):
    """Let tasks write one stored chunk each, and close the store."""
    import zarr

    if done is None:
        _make(store, source, coder)
    group = zarr.open_group(store, mode="r+")
    target = _Target(*_targets(store), done, same_files)
    executor = executor_of()
    try:
        reader = Reader(source, executor)
        jobs = [reader.job(pieces) for pieces in _aligned_pieces(source.chunk_rows, _step(source))]
        written = reader.reduce(Blueprint(_write_job, sum), jobs, coder.shared(), given(target))
    except KeyboardInterrupt:
        executor.cancel()
        raise
    finally:
        executor.close()
    for name in CODES.variables:
        if written != source.n or missing(group.store, group[name].path, chunk_keys(group[name])):
            raise OSError(
                f"path={path!r}: not all codes arrived in the store; workers and client must see the "
                "same file system, or use a store that all can reach, such as an s3:// URL"
            )
    group.attrs.update({**CODES.marks, "n_components": len(coder.dictionary), "complete": True})
    seal(store)


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
    note = None if target.done is None else os.path.join(target.done, f"{number}")
    if note is not None and _was_done(note, number, job, inputs, target):
        return last - first
    parts, checksum = [], 0
    for piece, raw in job.read(inputs):
        checksum = _extended(checksum, raw)
        parts.append(code_rows(raw, products, piece.offset))
    codes = join_codes(parts)
    target.indices[first:last] = codes.indices
    target.values[first:last] = codes.values
    if note is not None:
        with open(note, "w") as file:
            file.write(f"{checksum:08x}")
    return last - first


def _was_done(note, number, job, inputs, target):
    """Whether a chunk was written, is whole, and is of the samples as they are now."""
    try:
        with open(note) as file:
            noted = int(file.read(), 16)
    except (OSError, ValueError):
        return False
    if not all(_is_whole(array, number) for array in (target.indices, target.values)):
        return False
    if target.same_files:
        return True
    checksum = 0
    for _, raw in job.read(inputs):
        checksum = _extended(checksum, raw)
    return checksum == noted


def _extended(checksum, raw):
    return crc32c(np.ascontiguousarray(raw).reshape(-1).view("u1"), checksum)


def _is_whole(array, number):
    """Whether a chunk of so many rows is there and has the checksum that it ends with."""
    content = read(array.store, f"{array.path}/{array.metadata.encode_chunk_key((number, 0))}")
    return (
        content is not None
        and len(content) > 4
        and crc32c(content[:-4]).to_bytes(4, "little") == content[-4:]
    )
