"""What images of a probe set say of the sides of atoms: who uses them, where they lie, and their words.

Passes over codes and the embeddings of the same images go range by range of rows, and are added in a tree.
"""

from __future__ import annotations

from itertools import pairwise
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from ...captions.partitions import compute
from ..counting import tree
from .sums import rows_of_encodings, side_matrix

if TYPE_CHECKING:
    import dask.array as da
    import pandas as pd

    from ...coding.nonzeros import CodeRows

IN_EXAMPLES = (0.998, 0.97)
"""Chance that an image belongs to the examples of a side: of the one that uses it most, and at the end of
the list; those of CLIP-Dissect."""

LEAST_CHANCE = 1e-7
"""Added to chances before their logarithm is taken, as CLIP-Dissect does."""

_BLOCK_VALUES = 2**22
"""Chances of words held at once: 16 MB."""

_SUM_VALUES = 2**24
"""Sums of one pass, sides times words: 64 MB; more sides are gone through in further passes."""


class ImageSums(NamedTuple):
    """Sums over samples of who uses a side, and of embeddings of unit norm.

    Columns 0 to m - 1 are sides with positive coefficients, m to 2m - 1 those with negative ones.

    Attributes
    ----------
    n : int
    uses : (2m,) int64 array
        Samples that use the side.
    image : (e,) float64 array
        Sum of the embeddings.
    joint : (2m, e) float64 array
        Sum of those of the samples that use the side.
    squares : (e, e) float64 array
        Sum of their outer products.
    """

    n: int
    uses: np.ndarray
    image: np.ndarray
    joint: np.ndarray
    squares: np.ndarray

    @property
    def mean(self) -> np.ndarray:
        """Mean embedding, (e,)."""
        return self.image / self.n

    @property
    def covariance(self) -> np.ndarray:
        """Of the embeddings, (e, e)."""
        return self.squares / self.n - np.outer(self.mean, self.mean)

    def correlations(self, directions: np.ndarray) -> np.ndarray:
        """Pearson correlations of the use of a side with the images along some directions.

        Parameters
        ----------
        directions : (V, e) array

        Returns
        -------
        (2m, V) float64 array
            0 where one of them does not vary.
        """
        share = self.uses / self.n
        joint = (self.joint / self.n - np.outer(share, self.mean)) @ directions.T
        spread = np.einsum("we,ef,wf->w", directions, self.covariance, directions, optimize=True)
        scale = np.sqrt(np.maximum(np.outer(share * (1 - share), spread), 0))
        return np.divide(joint, scale, out=np.zeros_like(joint), where=scale > 0)


class Examples(NamedTuple):
    """Samples that use sides most.

    Attributes
    ----------
    side, row : (p,) int64 arrays
        Pairs of a side and a sample, by side, the largest coefficients first.
    weight : (p,) float64 array
        Magnitudes of the coefficients.
    """

    side: np.ndarray
    row: np.ndarray
    weight: np.ndarray

    def rank(self) -> np.ndarray:
        """Place of each among those of its side, from 0."""
        return np.arange(len(self.side)) - np.searchsorted(self.side, self.side)


def unit(vectors: np.ndarray) -> np.ndarray:
    """Rows of unit norm in double precision; those of zeros stay."""
    vectors = np.asarray(vectors, np.float64)
    norms = np.sqrt((vectors**2).sum(axis=1, keepdims=True))
    return vectors / np.where(norms > 0, norms, 1)


def count_uses(codes: CodeRows, **how: Any) -> np.ndarray:
    """Samples that use each side, (2m,) int64; ``how`` is the client and its time-out."""
    import dask

    count = dask.delayed(_count_sides, pure=False)
    parts = [count(codes.delayed(*pair), 2 * codes.m) for pair in pairwise(codes.edges)]
    return compute(tree(sum, parts), **how)


def sum_images(codes: CodeRows, images: da.Array, **how: Any) -> ImageSums:
    """`ImageSums` of codes, n x m, and embeddings of the same samples, n x e."""
    import dask

    add = dask.delayed(_sum_rows, pure=False)
    parts = [
        add(codes.delayed(low, high), rows_of_encodings(images, low, high), low, high, codes.m)
        for low, high in pairwise(codes.edges)
    ]
    return compute(tree(_add_sums, parts), **how)


def find_examples(codes: CodeRows, most: int, **how: Any) -> Examples:
    """The samples with the ``most`` largest coefficients of every side; of equals the first."""
    import dask

    find, keep = dask.delayed(_examples_of, pure=False), _Keep(most)
    parts = [find(codes.delayed(*pair), keep) for pair in pairwise(codes.edges)]
    return compute(tree(keep, parts), **how)


def log_evidence(
    codes: CodeRows,
    images: da.Array,
    examples: Examples,
    texts: np.ndarray,
    *,
    mean: np.ndarray | None,
    temperature: float,
    most: int,
    **how: Any,
) -> np.ndarray:
    """How well words tell the samples that use sides most: logarithms of chances.

    Parameters
    ----------
    codes : CodeRows
        Whose ranges of rows are gone through.
    images : (n, e) dask.array.Array
    examples : Examples
    texts : (V, e) float64 array
        Directions of words.
    mean : (e,) array or None
        Subtracted from images of unit norm.
    temperature : float
        By which similarities are multiplied before the softmax over words.
    most : int
        Samples of a side for which examples were looked.

    Returns
    -------
    (2m, V) float32 array
        ``sum_i log(1 + p_i (P(word | image i) - 1))`` over the examples i of a side, where p_i falls
        from `IN_EXAMPLES`'s first to its second number (Oikarinen and Weng 2023, soft-WPMI).
    """
    import dask

    n_sides, n_words = 2 * codes.m, len(texts)
    first, last = IN_EXAMPLES
    chance = first - examples.rank() / most * (first - last)
    found = np.zeros((n_sides, n_words), np.float32)
    each = max(1, _SUM_VALUES // n_words)
    share = dask.delayed(_Words(texts, mean, temperature), pure=False, traverse=False)
    evidence = dask.delayed(_evidence_of, pure=False)
    for begin in range(0, n_sides, each):
        end = min(begin + each, n_sides)
        inside = slice(*np.searchsorted(examples.side, [begin, end]))
        side, row, p = examples.side[inside] - begin, examples.row[inside], chance[inside]
        parts = []
        for low, high in pairwise(codes.edges):
            here = (row >= low) & (row < high)
            if here.any():
                blocks = rows_of_encodings(images, low, high)
                pairs = side[here], row[here] - low, p[here]
                parts.append(evidence(blocks, pairs, share, end - begin))
        if parts:
            found[begin:end] = compute(tree(sum, parts), **how)
    return found


class _Words(NamedTuple):
    """What turns images into chances of words."""

    texts: np.ndarray
    mean: np.ndarray | None
    temperature: float

    def chances(self, images):
        """P(word | image), (r, V)."""
        images = unit(images)
        if self.mean is not None:
            images = images - self.mean
        logits = (self.temperature * images).astype(np.float32) @ self.texts.astype(np.float32).T
        logits -= logits.max(axis=1, keepdims=True)
        np.exp(logits, out=logits)
        return logits / logits.sum(axis=1, keepdims=True)


class _Keep(NamedTuple):
    """Combines lists of examples, and keeps so many of each side."""

    most: int

    def __call__(self, parts):
        side, row, weight = (np.concatenate(column) for column in zip(*parts, strict=True))
        order = np.lexsort((row, -weight, side))
        found = Examples(side[order], row[order], weight[order])
        kept = found.rank() < self.most
        return Examples(*(column[kept] for column in found))


def _examples_of(nonzeros: pd.DataFrame, keep: _Keep) -> Examples:
    columns = nonzeros["side"].to_numpy(), nonzeros.index.to_numpy(), nonzeros["weight"].to_numpy()
    return keep([columns])


def _count_sides(nonzeros, n_sides):
    return np.bincount(nonzeros["side"].to_numpy(), minlength=n_sides)


def _sum_rows(nonzeros, blocks, low, high, m):
    images = unit(np.concatenate([np.asarray(block) for block in blocks]))
    sides = side_matrix(nonzeros, low, high, m)
    sides.data[:] = 1
    uses = np.bincount(sides.indices, minlength=2 * m)
    return ImageSums(len(images), uses, images.sum(axis=0), sides.T @ images, images.T @ images)


def _add_sums(parts):
    return ImageSums(*(sum(column[1:], column[0]) for column in zip(*parts, strict=True)))


def _evidence_of(blocks, pairs, words, n_sides):
    """Sums of the logarithms over the examples among some rows, (sides, V)."""
    side, row, chance = pairs
    images = np.concatenate([np.asarray(block) for block in blocks])
    total = np.zeros((n_sides, len(words.texts)), np.float32)
    each = max(1, _BLOCK_VALUES // len(words.texts))
    distinct, place = np.unique(row, return_inverse=True)
    for start in range(0, len(distinct), each):  # the same image may be an example of many sides
        chances = words.chances(images[distinct[start : start + each]])
        for pair in np.flatnonzero((place >= start) & (place < start + each)):
            p = chance[pair]
            told = np.float32(p) * chances[place[pair] - start]
            told += np.float32(1 - p + LEAST_CHANCE)  # 1 + p (chance - 1), without cancellation
            total[side[pair]] += np.log(told, out=told)
    return total
