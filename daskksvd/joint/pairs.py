"""Rows of images and rows of texts beside each other, lazily, and which of the two each row has."""

from __future__ import annotations

import contextlib
import dataclasses
import functools
import itertools
import os

import dask.array as da
import numpy as np

from ..rows import Reader, as_source, cut_jobs, cut_pieces
from ..rows.blocks import plain
from ..stores.opening import open_store

ENCODINGS_FORMAT = "daskksvd.encodings"
"""What a store of encodings of captions says it is."""

JOB_ROWS, JOBS = 8192, 2048
"""Rows of a job at least, and jobs of a pass at most, about: a scheduler sends out a few hundred a second."""

IMAGE, TEXT = 0, 1
"""Columns of `Pairs.present`."""


@dataclasses.dataclass(frozen=True, eq=False)
class Pairs:
    """Aligned rows of images and texts.

    Attributes
    ----------
    images : (n, d) dask.array.Array
        One chunk column; zeros where a row has no image.
    texts : (n, e) dask.array.Array
        The same rows in the same chunks.
    present : (n, 2) bool array
        Whether a row has an image, and a text.
    """

    images: da.Array
    texts: da.Array
    present: np.ndarray

    @property
    def n(self):
        return self.images.shape[0]

    @property
    def d(self):
        return self.images.shape[1]

    @property
    def e(self):
        return self.texts.shape[1]

    @property
    def chunk_rows(self):
        """Rows of every chunk."""
        return self.images.chunks[0]

    @property
    def both(self):
        """Which rows have both, (n,) bool."""
        return self.present.all(axis=1)

    def where(self, kept):
        """Only some rows, (n,) bool; chunks without any are left out."""
        if kept.all():
            return self
        starts = np.cumsum([0, *self.chunk_rows])
        counts = [int(kept[low:high].sum()) for low, high in itertools.pairwise(starts)]
        filled = np.flatnonzero(counts)
        mask = da.from_array(kept[:, None], chunks=(self.chunk_rows, 1))

        def taken(array):
            chunks = (tuple(counts), array.chunks[1])
            some = da.map_blocks(
                _taken, array, mask, chunks=chunks, dtype=array.dtype, meta=np.empty((0, 0), array.dtype)
            )
            return some.blocks[filled] if len(filled) < len(counts) else some

        return Pairs(taken(self.images), taken(self.texts), self.present[kept])

    def blocks(self, function, width, dtype, **shared):
        """``function(images, texts, present, **shared)`` of every chunk, an array of ``width`` columns."""
        present = da.from_array(self.present, chunks=(self.chunk_rows, 2))
        return da.map_blocks(
            function,
            self.images,
            self.texts,
            present,
            chunks=(self.chunk_rows, (width,)),
            dtype=dtype,
            meta=np.empty((0, 0), dtype),
            **shared,
        )

    def side_by_side(self):
        """Rows as they are with what they have: ``[a y, b t, a, b]``, n x (d + e + 2).

        ``a`` and ``b`` are 1 where there is an image, and a text, else 0. All masked moments of both
        follow from the mean and the covariance of these rows.
        """
        dtype = np.result_type(self.images.dtype, self.texts.dtype, np.float32)
        return self.blocks(functools.partial(_side_by_side, dtype=dtype), self.d + self.e + 2, dtype)


def as_pairs(images, texts, paired=None, unpaired_images=None, unpaired_texts=None, missing_chunks="error"):
    """Aligned rows of two arrays of any kind, and rows of either kind alone after them.

    Parameters
    ----------
    images : as for `daskksvd.fit`
        n x d.
    texts : as for `daskksvd.fit`, or Encodings
        n x e; of an Encodings store rows without captions have no text.
    paired : (n,) bool array, optional
        Which rows have a text.
    unpaired_images, unpaired_texts : as for `daskksvd.fit`, optional
        Rows of one kind alone, of the same features.
    missing_chunks : {"error", "fill"}

    Raises
    ------
    TypeError, ValueError
        If they do not fit together; the message names the argument.
    """
    texts, captioned = text_rows(texts)
    first = as_source(images, "images", missing_chunks).array
    second = as_source(texts, "texts", missing_chunks).array
    n = first.shape[0]
    if second.shape[0] != n:
        raise ValueError(
            f"texts has {second.shape[0]} rows, images has {n}; row i of both must belong together "
            "(rows of one kind alone go into unpaired_images= or unpaired_texts=)"
        )
    present = np.ones((n, 2), bool)
    if captioned is not None:
        present[:, TEXT] = captioned
    if paired is not None:
        present[:, TEXT] &= check_mask("paired", paired, n)
    second = second.rechunk({0: first.chunks[0]}, method="tasks")
    for alone, kind, name in ((unpaired_images, IMAGE, "images"), (unpaired_texts, TEXT, "texts")):
        if alone is None:
            continue
        argument = f"unpaired_{name}"
        rows = as_source(text_rows(alone)[0] if kind == TEXT else alone, argument, missing_chunks).array
        width = (first, second)[kind].shape[1]
        if rows.shape[1] != width:
            raise ValueError(
                f"{argument} has {rows.shape[1]} features, {name} has {width}; they must be the same"
            )
        other = (second, first)[kind]
        nothing = da.zeros((rows.shape[0], other.shape[1]), other.dtype, chunks=(rows.chunks[0], -1))
        first = da.concatenate([first, rows if kind == IMAGE else nothing])
        second = da.concatenate([second, rows if kind == TEXT else nothing])
        there = np.zeros((rows.shape[0], 2), bool)
        there[:, kind] = True
        present = np.concatenate([present, there])
    if not present.all(axis=1).any():
        raise ValueError(
            "no row has both an image and a text: nothing would tie them together, and atoms of one would "
            "say nothing of the other; give some pairs"
        )
    return Pairs(first, second, present)


def pair_jobs(pairs, executor, begin=None, end=None):
    """A reader of rows side by side, and jobs that read each chunk, or that part of it, once.

    ``begin`` and ``end`` bound the rows of each chunk, as for `rows.cut_pieces`.
    """
    reader = Reader(as_source(pairs.side_by_side(), "images and texts"), executor)
    chunk_rows = pairs.chunk_rows
    pieces = cut_pieces(chunk_rows, max(chunk_rows), begin, end)
    most = max(JOB_ROWS, max(chunk_rows), sum(chunk_rows) // JOBS)
    jobs = [reader.job(some) for some in cut_jobs(pieces, most, split=False)] if pieces else []
    return reader, jobs


def text_rows(texts):
    """Rows of texts, and which of them have captions, where they say so."""
    if isinstance(texts, (str, os.PathLike)):
        with contextlib.suppress(FileNotFoundError, ValueError):  # which is said of any path by `as_source`
            if open_store(texts).attrs.get("format") == ENCODINGS_FORMAT:
                from ..embedding.encodings import open_encodings  # brings libraries that nothing else needs

                texts = open_encodings(texts)
    if hasattr(texts, "n_captions") and hasattr(texts, "array"):
        return texts.array, np.asarray(texts.n_captions) > 0
    return texts, None


def check_mask(name, value, n):
    """A boolean for each of n rows."""
    mask = np.asarray(value)
    if mask.dtype != bool or mask.shape != (n,):
        raise ValueError(f"{name} has shape {mask.shape} and dtype {mask.dtype}; it must be {n} booleans")
    return mask


def _taken(rows, mask):
    return rows[mask[:, 0]]


def _side_by_side(images, texts, present, dtype, block_info=None):
    images, texts = plain_halves(images, texts, block_info)
    d, e = images.shape[1], texts.shape[1]
    rows = np.empty((len(images), d + e + 2), dtype)
    rows[:, :d], rows[:, d:-2], rows[:, -2:] = images, texts, present
    rows[~present[:, IMAGE], :d] = 0
    rows[~present[:, TEXT], d:-2] = 0
    return rows


def plain_halves(images, texts, block_info):
    """Both blocks without masks, which are refused by the name of the argument."""
    first = block_info[0]["array-location"][0][0] if block_info else 0
    return plain(images, first, "images"), plain(texts, first, "texts")
