"""Cut rows into pieces, and pieces into the jobs of one round."""

import itertools
from typing import NamedTuple

import numpy as np

from .graph import Chunk
from .sharing import read_shared

_SMALL_PIECE = 8
"""A piece of less than this part of a job is not split between two."""


class Piece(NamedTuple):
    """Some rows of one chunk.

    Attributes
    ----------
    index : int
        Number of the chunk.
    start, stop : int
        Rows of the chunk.
    offset : int
        Number of row ``start`` in the whole array.
    """

    index: int  # type: ignore[assignment]
    start: int
    stop: int
    offset: int

    @property
    def n_rows(self):
        return self.stop - self.start


class Job(NamedTuple):
    """Pieces that one task goes through, and how to read them.

    Attributes
    ----------
    pieces : tuple of Piece
    chunks : tuple of Chunk
        For every piece the chunk that it lies in.
    needs : tuple of keys
        Inputs that the chunks take from outside.
    """

    pieces: tuple[Piece, ...]
    chunks: tuple[Chunk, ...]
    needs: tuple

    def read(self, inputs, masked=False):
        """Yield ``(piece, rows)``, one chunk in memory at a time.

        Parameters
        ----------
        inputs : list
            Values of `needs`.
        masked : bool
            Whether rows may be a masked array; else masked values are refused.
        """
        inputs = dict(zip(self.needs, inputs, strict=True))
        pairs = zip(self.pieces, self.chunks, strict=True)
        for _, group in itertools.groupby(pairs, key=lambda pair: pair[0].index):
            group = list(group)
            rows = read_shared(group[0][1], inputs, masked)
            for piece, _ in group:
                yield piece, rows[piece.start : piece.stop]
            del rows


def cut_pieces(chunk_rows, most, begin=None, end=None):
    """Cut chunks into pieces of about ``most`` rows, as even as can be.

    ``begin`` and ``end`` bound the rows used of each chunk; all by default.
    """
    pieces = []
    offset = 0
    for index, rows in enumerate(chunk_rows):
        first = begin[index] if begin is not None else 0
        last = end[index] if end is not None else rows
        parts = max(1, round((last - first) / most))
        bounds = [first + (last - first) * i // parts for i in range(parts + 1)]
        for start, stop in itertools.pairwise(bounds):
            if stop > start:
                pieces.append(Piece(index, start, stop, offset + start))
        offset += rows
    return pieces


def split_holdout(chunk_rows, share):
    """How many rows of each chunk to learn from when ``share`` is held out.

    What is held out are the last rows of every chunk, so that it looks like
    the rest; over tiny chunks it is spread evenly.
    """
    total = taken = 0
    kept = []
    for rows in chunk_rows:
        total += rows
        take = min(int(share * total + 0.5) - taken, rows)
        taken += take
        kept.append(rows - take)
    return kept


def count_jobs(n_rows, most, multiple=1):
    """How many jobs of about ``most`` rows; arguments as for `cut_jobs`."""
    return max(1, round(n_rows / (most * multiple))) * multiple


def cut_jobs(pieces, most, multiple=1, split=True):
    """Group consecutive pieces into jobs of about ``most`` rows.

    Jobs are of equal size, so that threads that share them end together.
    Pieces are split for that, but for small ones, unless ``split`` is off.
    Depends on the pieces only.

    Parameters
    ----------
    pieces : list of Piece
    most : int
        Rows a job, about.
    multiple : int
        The number of jobs is a multiple of this, while jobs have any rows.
    split : bool
        Whether pieces may be split. A chunk is read once for each part of it.

    Returns
    -------
    list of tuple of Piece
    """
    total = sum(piece.n_rows for piece in pieces)
    count = count_jobs(total, most, multiple)
    jobs = [[] for _ in range(count)]
    done = 0
    for piece in pieces:
        parts = [piece]
        if split and _SMALL_PIECE * piece.n_rows * count > total:
            ends = {done, done + piece.n_rows}
            first, last = done * count // total, -(-(done + piece.n_rows) * count // total)
            ends.update(min(max(total * i // count, min(ends)), max(ends)) for i in range(first, last + 1))
            parts = [
                Piece(piece.index, piece.start + a - done, piece.start + b - done, piece.offset + a - done)
                for a, b in itertools.pairwise(sorted(ends))
            ]
        for part in parts:
            middle = done + part.n_rows / 2
            jobs[min(count - 1, int(middle * count / total))].append(part)
            done += part.n_rows
    return [tuple(job) for job in jobs if job]


def cut_waves(pieces, n_waves, rng):
    """Deal pieces into waves of about equal size, in random order.

    Within a wave pieces are back in the order of the array, so that each
    chunk is read once.
    """
    order = rng.permutation(len(pieces)) if rng is not None else np.arange(len(pieces))
    total = sum(piece.n_rows for piece in pieces)
    waves = [[] for _ in range(n_waves)]
    done = 0
    for i in order:
        middle = done + pieces[i].n_rows / 2
        waves[min(n_waves - 1, int(middle * n_waves / total))].append(pieces[i])
        done += pieces[i].n_rows
    return [sorted(wave) for wave in waves if wave]
