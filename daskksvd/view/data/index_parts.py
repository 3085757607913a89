"""Codes, read part by part, sorted by atom: what an index is made of."""

import os
from typing import NamedTuple

import numpy as np
import scipy.sparse as sp

from ...coding.by_image import image_codes, rows_per_image_of
from ...coding.nonzeros import open_code_rows
from ...coding.store import CODES, open_codes
from ...stores import StoredArray
from ...tracking.parts import counted_by

INDEX_PART = 2**21
"""Nonzeros sorted at a time for the index by atom: about 150 MB with the work space."""

COMPANIONS = 20
"""Atoms used together with an atom that its index keeps."""

COMPANION_ROWS = 200_000
"""Rows that joint uses are counted on, at most: a correlation of use is then known to .002."""

VALUE_BINS = 512
"""Bins of the histogram of all coefficients; pictures join some of them."""


class Part(NamedTuple):
    """Nonzeros of consecutive rows of codes: (p,) arrays, and how many rows there are."""

    row: np.ndarray
    atom: np.ndarray
    value: np.ndarray
    first: int
    n_rows: int


def read_parts(codes):
    """Codes of any kind as their shape and an iterator over `Part`, in order of rows."""
    if isinstance(codes, (str, os.PathLike)):
        if rows_per_image_of(codes) in (None, 1):
            n, m = open_codes(codes).shape
            return n, m, _parts_of_store(codes)
        of_tokens, codes = codes, image_codes(codes)
        most = min(
            codes.shape[1], CODES.open(of_tokens).arrays()["indices"].shape[1] * rows_per_image_of(of_tokens)
        )
        rows = open_code_rows(codes, size=max(1, INDEX_PART // most))
        return rows.n, rows.m, _parts_of_rows(rows)
    rows = open_code_rows(codes)
    return rows.n, rows.m, _parts_of_rows(rows)


def _parts_of_store(path):
    arrays = CODES.open(path).arrays()
    indices, values = StoredArray(arrays["indices"]), StoredArray(arrays["values"])
    (n, k), step = indices.shape, indices.chunks[0]
    step *= max(1, INDEX_PART // (k * step))
    for first in range(0, n, step):
        atoms, numbers = indices[first : first + step], values[first : first + step]
        used = (atoms >= 0) & (numbers != 0)
        rows = np.repeat(np.arange(first, first + len(atoms)), used.sum(axis=1))
        yield Part(rows, atoms[used], numbers[used].astype(np.float32), first, len(atoms))


def _parts_of_rows(rows):
    for low, high in zip(rows.edges[:-1], rows.edges[1:], strict=True):
        found = rows.delayed(low, high).compute(scheduler="threads")
        sides, weights = found.side.to_numpy(), found.weight.to_numpy()
        values = np.where(sides < rows.m, weights, -weights).astype(np.float32)
        yield Part(found.index.to_numpy(np.int64), sides % rows.m, values, low, high - low)


def build_arrays(parts, n, m, keep, target, folder):
    """Make all arrays of an index; ``keep`` stores one, or room for one in ``target``."""
    uses, positive, magnitude = np.zeros(m, np.int64), np.zeros(m, np.int64), np.zeros(m)
    nonzeros = np.zeros(1, np.int64)
    companions = _Companions(n, m)
    runs = []
    for number, part in enumerate(counted_by(parts, n, lambda part: part.n_rows)):
        order = _order(part.atom, part.value)
        counts = np.bincount(part.atom, minlength=m)
        runs.append(_Run.made(part.row[order], part.value[order], counts, folder, number))
        uses += counts
        positive += np.bincount(part.atom[part.value > 0], minlength=m)
        magnitude += np.bincount(part.atom, np.abs(part.value), minlength=m)
        lengths = np.bincount(np.bincount(part.row - part.first, minlength=part.n_rows))
        nonzeros = np.pad(nonzeros, (0, max(0, len(lengths) - len(nonzeros))))
        nonzeros[: len(lengths)] += lengths
        companions.add(part)
    start = np.concatenate([[0], np.cumsum(uses)])
    companion, together = companions.strongest()
    whole = {"start": start, "positive": positive, "magnitude": magnitude, "nonzeros": nonzeros}
    for name, value in (whole | {"companion": companion, "together": together}).items():
        keep(name, value, len(value))
    if folder is None and len(runs) == 1:  # nothing to merge
        keep("row", runs[0].row, len(runs[0].row))
        keep("value", runs[0].value, len(runs[0].value))
    elif folder is None:
        keep("row", np.empty(start[-1], np.int64), int(start[-1]))
        keep("value", np.empty(start[-1], np.float32), int(start[-1]))
        _merge(runs, start, target)
    else:
        keep("row", (), int(start[-1]))
        keep("value", (), int(start[-1]))
        _merge(runs, start, target)
    count, edge = _histogram(target["value"], int(start[-1]))
    keep("value_count", count, len(count))
    keep("value_edge", edge, len(edge))


def _order(atom, value):
    """Order by atom, then by value, largest first, then as given, which is by row."""
    order = np.argsort(-value, kind="stable")
    # of 16 bits, NumPy sorts by digits, several times as fast
    atom = atom.astype(np.uint16) if len(atom) and atom.max() < 2**16 else atom
    return order[np.argsort(atom[order], kind="stable")]


class _Run(NamedTuple):
    """One part sorted by atom and coefficient, in memory or mapped from a file."""

    row: np.ndarray
    value: np.ndarray
    start: np.ndarray

    @classmethod
    def made(cls, row, value, counts, folder, number):
        start = np.concatenate([[0], np.cumsum(counts)])
        if folder is not None:
            for name, array in (("row", row), ("value", value)):
                np.save(os.path.join(folder, f"{name}-{number}.npy"), array)
            row, value = (
                np.load(os.path.join(folder, f"{name}-{number}.npy"), mmap_mode="r")
                for name in ("row", "value")
            )
        return cls(row, value, start)


def _merge(runs, start, target):
    """Join the lists of all runs, as many atoms at a time as make one part, at least one."""
    m = len(start) - 1
    first = 0
    while first < m:
        last = max(first + 1, int(np.searchsorted(start, start[first] + INDEX_PART, side="right")) - 1)
        pieces = [slice(int(run.start[first]), int(run.start[last])) for run in runs]
        rows = np.concatenate([run.row[piece] for run, piece in zip(runs, pieces, strict=True)])
        values = np.concatenate([run.value[piece] for run, piece in zip(runs, pieces, strict=True)])
        atoms = np.concatenate(
            [np.repeat(np.arange(last - first), np.diff(run.start[first : last + 1])) for run in runs]
        )
        order = _order(atoms, values)
        place = slice(int(start[first]), int(start[last]))
        if len(order):
            target["row"][place] = rows[order]
            target["value"][place] = values[order]
        first = last


def _histogram(value, size):
    """Counts of all coefficients in even bins from the largest magnitude down to minus it."""
    pieces = [slice(low, low + INDEX_PART) for low in range(0, size, INDEX_PART)]
    most = max((float(np.abs(value[piece]).max()) for piece in pieces), default=0.0) or 1.0
    edge = np.linspace(-most, most, VALUE_BINS + 1)
    count = np.zeros(VALUE_BINS, np.int64)
    for piece in pieces:
        count += np.histogram(value[piece], edge)[0]
    return count, edge


class _Companions:
    """Atoms used together, counted on evenly spread rows."""

    def __init__(self, n, m):
        self.every = -(-n // COMPANION_ROWS)
        self.n, self.m = 0, m
        self.joint = sp.csr_matrix((m, m), dtype=np.int32)

    def add(self, part):
        chosen = part.row % self.every == 0
        first = -(-part.first // self.every)
        height = -(-(part.first + part.n_rows) // self.every) - first
        if height == 0:
            return
        place = part.row[chosen] // self.every - first, part.atom[chosen]
        used = sp.csr_matrix((np.ones(len(place[0]), np.int32), place), shape=(height, self.m))
        self.joint = self.joint + used.T.tocsr() @ used
        self.n += height

    def strongest(self):
        """For every atom the others of the largest correlation of use, (m, c), and these."""
        together = np.zeros((self.m, COMPANIONS), np.float32)
        companion = np.full((self.m, COMPANIONS), -1, np.int32)
        uses = self.joint.diagonal().astype(float)
        spread = np.sqrt(uses * (self.n - uses))
        for atom in range(self.m):
            low, high = self.joint.indptr[atom : atom + 2]
            others, counts = self.joint.indices[low:high], self.joint.data[low:high].astype(float)
            with np.errstate(divide="ignore", invalid="ignore"):
                phi = (self.n * counts - uses[atom] * uses[others]) / (spread[atom] * spread[others])
            able = np.flatnonzero((others != atom) & (phi > 0))
            best = able[np.argsort(-phi[able], kind="stable")[:COMPANIONS]]
            companion[atom, : len(best)], together[atom, : len(best)] = others[best], phi[best]
        return companion, together
