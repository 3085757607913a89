"""Some samples kept in memory: the sides their prompts list, and the encodings these should come near."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import numpy as np
import scipy.sparse as sp

from .sums import largest

if TYPE_CHECKING:
    import dask.array as da

READ_ROWS = 2**14
"""Rows of encodings that are read at once; those that were drawn are kept of them."""


class PromptSample(NamedTuple):
    """Samples of which prompts are made.

    Attributes
    ----------
    sides : (r, n_slots) int array
        Sides that each prompt lists, the strongest first, -1 after the last.
    targets : (r, e) float32 array
        Mean encoding of each sample's captions.
    """

    sides: np.ndarray
    targets: np.ndarray

    def take(self, rows: np.ndarray) -> PromptSample:
        """Some of them."""
        return PromptSample(self.sides[rows], self.targets[rows])


def strongest_sides(sides: sp.csr_matrix, named: np.ndarray, n_slots: int) -> np.ndarray:
    """The sides that each row uses most, of those that may be listed.

    Parameters
    ----------
    sides : (n, S) scipy.sparse.csr_matrix
        Magnitudes.
    named : (S,) bool array
        Which may be listed.
    n_slots : int
        Most of a row.

    Returns
    -------
    (n, n_slots) int64 array
        The strongest first, of equals the one of the lower number; -1 after the last.
    """
    listed = sides.copy()
    listed.data = listed.data * named[listed.indices]
    return largest(listed, n_slots)


def draw_samples(
    sides: sp.csr_matrix,
    encodings: np.ndarray | da.Array,
    named: np.ndarray,
    n_slots: int,
    sizes: tuple[int, int],
    rng: np.random.Generator,
    held_out: np.ndarray | None = None,
) -> tuple[PromptSample, PromptSample]:
    """Two disjoint random samples, to learn on and to choose on.

    Rows without a listed side, or without captions (an encoding of zeros), are none of them. Rows are read in
    ranges of `READ_ROWS`, and only the drawn ones are kept.

    Parameters
    ----------
    sides : (n, S) scipy.sparse.csr_matrix
    encodings : (n, e) array
        In memory or lazy.
    named : (S,) bool array
    n_slots : int
    sizes : pair of int
        Most rows of the two; where there are fewer in all, they are shared out in that proportion.
    rng : numpy.random.Generator
    held_out : (n,) bool array, optional
        Rows that the second is drawn of, and the first is not. By default rows are parted at random.

    Returns
    -------
    pair of PromptSample
    """
    useful = np.asarray((sides != 0) @ named.astype(np.int64)).ravel() > 0
    parts = []
    for most, inside in [(sum(sizes), useful)] if held_out is None else [
        (sizes[0], useful & ~held_out), (sizes[1], useful & held_out),
    ]:  # fmt: skip
        drawn = np.sort(rng.permutation(np.flatnonzero(inside))[:most])
        targets = _read(encodings, drawn)
        there = targets.any(1)
        listed = strongest_sides(sides[drawn[there]], named, n_slots)
        parts.append(PromptSample(listed, targets[there]))
    if held_out is not None:
        return parts[0], parts[1]
    [whole] = parts
    order = rng.permutation(len(whole.sides))
    cut = round(len(order) * sizes[0] / sum(sizes))
    return whole.take(np.sort(order[:cut])), whole.take(np.sort(order[cut:]))


def _read(encodings, rows):
    """Rows of a matrix, in memory or lazy, in float32."""
    parts = [np.empty((0, encodings.shape[1]), np.float32)]
    for low in range(0, encodings.shape[0], READ_ROWS):
        inside = rows[np.searchsorted(rows, low) : np.searchsorted(rows, low + READ_ROWS)]
        if len(inside):
            part = encodings[low : low + READ_ROWS]
            part = part.compute() if hasattr(part, "compute") else np.asarray(part)
            parts.append(part[inside - low].astype(np.float32))
    return np.concatenate(parts)
