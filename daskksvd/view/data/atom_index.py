"""Codes turned around: for every atom the samples that use it, strongest first."""

from __future__ import annotations

import errno
import functools
import hashlib
import math
import os
import shutil
import tempfile
import warnings
import weakref
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np
import zarr

from ...coding.store import CODES
from ...machine.files import absolute, written_whole
from ...stores import DamagedStore, Store, StoredArray, Variable, compressors, seal
from ...tracking.parts import shows_parts
from .index_parts import build_arrays, read_parts

if TYPE_CHECKING:
    from ...coding.inputs import CodesLike

INDEX_CHUNK = 2**15
"""Uses in one stored chunk of that index: 256 kB, read in a few milliseconds."""

KEPT_USES = 2**20
"""Uses of all atoms, else of the one that was asked for last, are kept up to so many, 12 MB: a page
asks for one atom several times."""

INDEX_FINGERPRINT_CHUNKS = 8
"""Chunks of codes that are hashed to tell whether an index is theirs. Codes of another
dictionary differ in every chunk."""

ATOM_INDEX = Store(
    kind="index of atoms",
    format="daskksvd.atom_index",
    version=1,
    variables={
        "start": Variable(("bound",), ("int64",), "where the samples of an atom start, m + 1 bounds"),
        "positive": Variable(("atom",), ("int64",), "samples that use the atom with a positive coefficient"),
        "magnitude": Variable(("atom",), ("float64",), "sum of absolute coefficients"),
        "row": Variable(("use",), ("int64",), "sample; by atom, then by coefficient, largest first"),
        "value": Variable(("use",), ("float32",), "coefficient of the atom in that sample"),
        "companion": Variable(
            ("atom", "place"), ("int32",), "atoms used together with it more than by chance, -1 if none"
        ),
        "together": Variable(("atom", "place"), ("float32",), "correlation of the use of both"),
        "nonzeros": Variable(("count",), ("int64",), "samples with that many nonzero coefficients"),
        "value_count": Variable(("bin",), ("int64",), "coefficients of all atoms, a histogram"),
        "value_edge": Variable(("edge",), ("float64",), "its bounds"),
    },
    refusal="no index of atoms",
    suffix="-atoms",
)


class AtomIndex:
    """Samples and coefficients by atom.

    Attributes
    ----------
    n, m : int
        Samples and atoms.
    uses, positive : (m,) int64 arrays
        Samples that use the atom, and those of them with a positive coefficient.
    magnitude : (m,) float64 array
        Sum of absolute coefficients.
    nonzeros : (k + 1,) int64 array
        Samples by their number of nonzero coefficients.
    value_count, value_edge : arrays
        Histogram of all coefficients.
    """

    positive: np.ndarray
    magnitude: np.ndarray
    nonzeros: np.ndarray
    value_count: np.ndarray
    value_edge: np.ndarray

    def __init__(self, arrays: Mapping[str, Any], n: int) -> None:
        self._arrays = arrays
        self.n = n
        self.start = np.asarray(arrays["start"][:])
        for name in ("positive", "magnitude", "nonzeros", "value_count", "value_edge"):
            setattr(self, name, np.asarray(arrays[name][:]))
        self.uses = np.diff(self.start)
        self.m = len(self.uses)
        self._last: tuple[int, np.ndarray, np.ndarray] = (-1, np.empty(0, np.int64), np.empty(0, np.float32))

    def activations(
        self, atom: int, start: int = 0, stop: int | None = None
    ) -> tuple[np.ndarray, np.ndarray]:
        """Rows (int64) and coefficients of an atom, by coefficient, largest first.

        ``start`` and ``stop`` cut from the atom's list as a slice does.
        """
        low, high = int(self.start[atom]), int(self.start[atom + 1])
        first, last, _ = slice(start, stop).indices(high - low)
        if self.start[-1] <= KEPT_USES:  # all atoms are read at once
            rows, values = self._all
            cut = slice(low + first, low + max(first, last))
            return rows[cut].copy(), values[cut].copy()
        if high - low <= KEPT_USES:  # all of it, as it is soon asked for again
            held, rows, values = self._last
            if held != atom:
                rows, values = self._read(slice(low, high))
                self._last = atom, rows, values
            return rows[first : max(first, last)].copy(), values[first : max(first, last)].copy()
        return self._read(slice(low + first, low + max(first, last)))

    @functools.cached_property
    def _all(self) -> tuple[np.ndarray, np.ndarray]:
        return self._read(slice(0, int(self.start[-1])))

    def _read(self, cut: slice) -> tuple[np.ndarray, np.ndarray]:
        return np.asarray(self._arrays["row"][cut]), np.asarray(self._arrays["value"][cut])

    def companions(self, atom: int) -> tuple[np.ndarray, np.ndarray]:
        """Atoms used together with an atom, and the correlations of use, strongest first."""
        companion, together = self._companions
        found = np.asarray(companion[atom])
        return found[found >= 0], np.asarray(together[atom])[found >= 0]

    @functools.cached_property
    def _companions(self):
        """Companions of all atoms: in memory, if they are few."""
        found = self._arrays["companion"], self._arrays["together"]
        return tuple(array[:] for array in found) if math.prod(found[0].shape) <= KEPT_USES else found


@shows_parts("index of atoms", " samples")
def build_atom_index(
    codes: CodesLike,
    path: str | os.PathLike[str] | None = None,
    *,
    n_components: int | None = None,
    progress: bool = False,
) -> AtomIndex:
    """List, for every atom, the samples that use it.

    Parameters
    ----------
    codes : path, dask.array.Array, sparse.COO, SciPy sparse or dense array
        n x m; a path names what `Result.write_codes` wrote.
    path : str or path, optional
        Store to make. By default it lies beside the codes; for codes that
        are no path the index stays in memory.
    n_components : int, optional
        Atoms that the codes must have.
    progress : bool
        Whether to show a bar of the samples.

    Returns
    -------
    AtomIndex

    Raises
    ------
    FileNotFoundError, TypeError, ValueError
        If there are no codes, or they are of other atoms.

    Notes
    -----
    Codes are read once, a part after the other. Every part is sorted by atom;
    then the parts' lists are merged, some atoms at a time. Memory holds one
    part, or the uses of the most used atom.
    """
    n, m, parts = read_parts(codes)
    if n_components not in (None, m):
        raise ValueError(f"codes are of {m} atoms; the dictionary has {n_components}")
    named = isinstance(codes, (str, os.PathLike))
    if path is None and named:
        path = ATOM_INDEX.beside(codes)  # type: ignore[arg-type]  # a path
    if path is None:
        memory = {}
        build_arrays(parts, n, m, lambda name, value, size: memory.update({name: value}), memory, None)
        return AtomIndex(memory, n)
    path = ATOM_INDEX.check_free(path, overwrite=True)
    fingerprint = codes_fingerprint(codes) if named else None
    try:
        _write(path, parts, n, m, fingerprint)
    except OSError as error:
        if error.errno not in (errno.EACCES, errno.EPERM, errno.EROFS):
            raise
        return _temporary_index(codes, path, fingerprint, error)
    return open_atom_index(path)  # type: ignore[return-value]  # None with codes only


def _write(path, parts, n, m, fingerprint):
    """Make an index at a path."""
    with written_whole(path) as place, tempfile.TemporaryDirectory(prefix="daskksvd-") as runs:
        group = zarr.open_group(place, mode="w", zarr_format=3)

        def keep(name, value, size):
            dims, (dtype,), meaning, *_ = ATOM_INDEX.variables[name]
            shape = (size, *np.shape(value)[1:])
            array = group.create_array(
                name,
                shape=shape,
                chunks=(min(max(1, size), INDEX_CHUNK), *shape[1:]),
                dtype=dtype,
                compressors=compressors(),
                dimension_names=list(dims),
                config={"write_empty_chunks": True},
            )
            array.attrs["long_name"] = meaning
            if len(value):
                array[: len(value)] = value

        with zarr.config.set({"array.write_empty_chunks": True}):
            build_arrays(parts, n, m, keep, group, runs)
        group.attrs.update({**ATOM_INDEX.marks, "n": n, "m": m, "codes": fingerprint})
        seal(place)


def _temporary_index(codes, path, fingerprint, error):
    """The index of codes in a folder that cannot be written to: it goes with the object, or the process."""
    warnings.warn(
        f"the index of codes={os.fspath(codes)!r} cannot be written to {path!r} "
        f"({os.strerror(error.errno)}); it is made anew for this process, and removed afterwards",
        stacklevel=4,
    )
    folder = tempfile.mkdtemp(prefix="daskksvd-")
    try:
        n, m, parts = read_parts(codes)
        _write(os.path.join(folder, "index.zarr"), parts, n, m, fingerprint)
        index = open_atom_index(os.path.join(folder, "index.zarr"))
    except BaseException:
        shutil.rmtree(folder, ignore_errors=True)
        raise
    weakref.finalize(index, shutil.rmtree, folder, ignore_errors=True)
    return index


def open_atom_index(
    path: str | os.PathLike[str], codes: str | os.PathLike[str] | None = None
) -> AtomIndex | None:
    """Open an index, or None if it is of other codes, or of codes that were written anew, or damaged.

    Parameters
    ----------
    path : str or path
    codes : str or path, optional
        The store it must have been made from.

    Raises
    ------
    FileNotFoundError, ValueError
        If there is no index.
    DamagedStore
        Without ``codes``, if it is damaged.
    """
    try:
        opened = ATOM_INDEX.open(path)
        if codes is not None:
            made_from = codes_fingerprint(codes)
            if made_from is None or made_from != opened.attrs["codes"]:
                return None
        opened.verify()
        arrays = {name: StoredArray(array) for name, array in opened.arrays().items()}
        return AtomIndex(arrays, int(opened.attrs["n"]))
    except (DamagedStore, KeyError) as error:
        if codes is not None:
            return None  # what it was made of is there: it is made again
        if isinstance(error, KeyError):
            raise DamagedStore(
                f"path={absolute(path)!r} is a damaged index: it lacks {error}; remove it"
            ) from error
        raise


def codes_fingerprint(codes):
    """What changes when codes are written anew; None without codes.

    The digest of their closing record, or of an earlier version's store, that of its shape, of some
    of its chunks, spread evenly, and of sizes and times of all files.
    """
    try:
        opened = CODES.open(codes)
        if not opened.attrs.get("complete"):
            return None
        if opened.record is not None:
            return opened.record.digest
        arrays = opened.arrays()
    except Exception:  # whoever opens the codes is told
        return None
    group, indices, values = opened.group, arrays["indices"], arrays["values"]
    digest = hashlib.sha256(repr((indices.shape, str(values.dtype), group.attrs["n_components"])).encode())
    step = indices.chunks[0]
    n_chunks = -(-indices.shape[0] // step)
    for chunk in np.unique(np.linspace(0, n_chunks - 1, INDEX_FINGERPRINT_CHUNKS).astype(int)).tolist():
        digest.update(values[chunk * step : (chunk + 1) * step].tobytes())
    for folder, folders, names in os.walk(opened.path):
        folders.sort()
        for name in sorted(names):
            found = os.stat(os.path.join(folder, name))
            digest.update(f"{name} {found.st_size} {found.st_mtime_ns}".encode())
    return digest.hexdigest()[:32]
