"""What words are chosen by, checked: codes, captions, their encodings, the vocabulary."""

from __future__ import annotations

import os
from itertools import pairwise
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
import scipy.sparse as sp

from ... import arguments
from ...captions.by_sample import open_rows
from ...captions.partitions import compute
from ...captions.words.tokens import as_tokenizer
from ...captions.words.vocabulary import choose_words
from ...coding.nonzeros import CodeRows, open_code_rows
from ...embedding.encodings import Encodings, open_encodings
from ...embedding.opening import open_embeddings
from ...tracking.parts import each_counted
from ..images import codes_of_images
from ..labels import frequencies
from .sums import check_finite, side_matrix

if TYPE_CHECKING:
    from ...embedding.texts import TextEncoder

LEAST_SAMPLES = 5
"""Samples with a word for it to be tried, where no vocabulary is given."""


class Material(NamedTuple):
    """Codes, and what captions say of the same samples.

    Attributes
    ----------
    codes : coding.nonzeros.CodeRows
    captions : captions.by_sample.CaptionRows or None
    encodings : (n, e) array or dask.array.Array
        Means over the captions of a row; zeros where it has none.
    """

    codes: CodeRows
    captions: Any
    encodings: Any


def open_material(
    codes: Any,
    captions: Any,
    encoder: TextEncoder | None,
    *,
    encodings: Any = None,
    embeddings: Any = None,
    sample_ids: Any = None,
) -> Material:
    """Codes, captions and encodings of the same samples, from wherever they are.

    Encodings that are not given are made here, and kept in memory.

    Raises
    ------
    FileNotFoundError, TypeError, ValueError
        If one of them is none, or they are not of the same samples.
    """
    if isinstance(embeddings, (str, os.PathLike)):
        embeddings = open_embeddings(embeddings)
    codes = codes_of_images(codes, captions, embeddings=embeddings, sample_ids=sample_ids)
    rows, found = open_code_rows(codes), None
    if captions is not None:
        _, found = open_rows(captions, rows.n, sample_ids=sample_ids, embeddings=embeddings)
    if encodings is not None:
        return Material(rows, found, check_encodings(encodings, rows.n))
    if found is None or encoder is None:
        raise ValueError("neither captions with an encoder nor encodings were given; give one of the two")
    return Material(rows, found, _encode(rows, found, encoder))


def check_encodings(encodings: Any, n: int) -> Any:
    """Encodings of n rows as an array: of a store, its path, or an array."""
    if isinstance(encodings, (str, os.PathLike)):
        encodings = open_encodings(encodings)
    if isinstance(encodings, Encodings):
        encodings = encodings.array
    if not hasattr(encodings, "shape"):
        encodings = np.asarray(encodings)
    if len(encodings.shape) != 2 or encodings.shape[0] != n or np.dtype(encodings.dtype).kind != "f":
        raise ValueError(
            f"encodings has shape {tuple(encodings.shape)} and dtype {encodings.dtype}; it must be real, "
            f"{n:,} x e, a row for each row of the codes"
        )
    return encodings


def _encode(codes, captions, encoder):
    """Mean encodings of the captions of every row, in memory; the same texts are encoded once a range."""
    found = None
    for low, high in each_counted(list(pairwise(codes.edges))):
        partition, _ = compute(captions.delayed(low, high))
        written = np.array([bool(text) and not text.isspace() for text in partition.caption], bool)
        if not written.any():
            continue
        texts, place = np.unique(partition.caption[written].astype(str), return_inverse=True)
        vectors = encoder.encode(texts.tolist())[place]
        if found is None:
            found = np.zeros((codes.n, vectors.shape[1]), np.float32)
        row = partition.sample[written]
        np.add.at(found, row, vectors)
        some = slice(low, high)
        found[some] /= np.maximum(np.bincount(row - low, minlength=high - low), 1)[:, None]
    if found is None:
        raise ValueError("captions has no text for any row of the codes; their rows or samples must agree")
    return found


def words_to_try(
    material: Material, vocabulary: Any, tokenizer: Any, client: Any, worker_timeout: Any
) -> list:
    """The vocabulary: as given, word for word, or words of the captions, the most frequent first."""
    if vocabulary is not None:
        words = list(dict.fromkeys(arguments.words("vocabulary", vocabulary)))
        if not words:
            raise ValueError("vocabulary is empty; it must hold one word at least")
        return words
    if material.captions is None:
        raise ValueError("vocabulary was not given, and there are no captions to take words from")
    tokenizer = as_tokenizer(tokenizer)
    how = {"client": client, "worker_timeout": worker_timeout}
    counter, n = frequencies(material.codes.edges, material.captions, tokenizer, None, **how)
    return choose_words(counter, n, tokenizer, min_df=LEAST_SAMPLES, max_df=1.0)


def read_rows(material: Material, rows: np.ndarray) -> tuple[sp.csr_matrix, np.ndarray]:
    """Magnitudes (r, 2m) and encodings (r, e) of some rows, given in rising order."""
    sides, vectors = [], []
    for low, high in pairwise(material.codes.edges):
        inside = rows[np.searchsorted(rows, low) : np.searchsorted(rows, high)] - low
        if len(inside):
            found = compute(material.codes.delayed(low, high))
            sides.append(side_matrix(found, low, high, material.codes.m)[inside])
            part = material.encodings[low:high][inside]
            part = np.asarray(part.compute() if hasattr(part, "compute") else part, np.float64)
            check_finite(part, rows[np.searchsorted(rows, low) :])
            vectors.append(part)
    return sp.vstack(sides, format="csr"), np.concatenate(vectors)


def captioned_rows(material: Material) -> np.ndarray:
    """Whether a row has captions, (n,) boolean; reads all encodings."""
    known = (material.encodings != 0).any(axis=1)
    return known.compute() if hasattr(known, "compute") else known


def draw_rows(rows: np.ndarray, most: int, rng: np.random.Generator) -> np.ndarray:
    """Numbers of at most so many of some rows, in rising order."""
    found = np.flatnonzero(rows)
    return np.sort(rng.choice(found, min(most, len(found)), replace=False))
