"""An atom of a sample turned: what is near the sample before, and after."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from ...coding.nonzeros import as_csr
from ...evaluation import turned_texts
from .galleries import Panel, samples_of
from .once import once

if TYPE_CHECKING:
    import dask.array as da
    import pandas as pd

    from .view import View

NEAR_ROWS = 5_000
"""Samples among which the nearest are looked for, drawn once: 15 MB of 768 features."""

NEAREST = 8
"""Samples that are shown."""

NEAREST_WORDS = 8
"""Words that are told."""


class Space:
    """Vectors of samples, where atoms are turned.

    Parameters
    ----------
    array : numpy.ndarray or dask.array.Array
        n x d, the rows that were coded.
    encode : callable, optional
        Takes a list of words and returns their encodings (t, d) in the same space, as the text side of a
        contrastive model does.
    """

    def __init__(
        self, array: np.ndarray | da.Array, encode: Callable[[list[str]], np.ndarray] | None = None
    ) -> None:
        self.array, self.encode = array, encode
        self.n = int(array.shape[0])

    def read(self, rows: Any) -> np.ndarray:
        """Vectors of some rows, given in rising order, in memory."""
        found = self.array[rows]
        found = found.compute() if hasattr(found, "compute") else found
        return np.asarray(found, np.float32)

    @property
    @once
    def drawn(self) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Numbers of the samples that are looked through, their mean, and their unit vectors less that."""
        rng = np.random.default_rng(0)
        rows = np.sort(rng.choice(self.n, min(self.n, NEAR_ROWS), replace=False))
        vectors = self.read(rows)
        mean = vectors.mean(axis=0)
        return rows, mean, _unit(vectors - mean)

    def nearest(self, vector: np.ndarray, without: int, n: int = NEAREST) -> tuple[np.ndarray, np.ndarray]:
        """Rows of the nearest samples to a vector (d,), and their cosines, nearest first."""
        rows, mean, vectors = self.drawn
        cosines = vectors @ _unit(vector[None] - mean)[0]
        cosines[rows == without] = -np.inf
        order = np.argsort(-cosines, kind="stable")[: min(n, len(rows) - 1)]
        return rows[order], cosines[order]

    @once
    def encoded(self, words: tuple[str, ...]) -> np.ndarray | None:
        """Encodings of words; None without a text side."""
        return None if self.encode is None or not words else np.asarray(self.encode(list(words)), float)


class Turned(NamedTuple):
    """What turning an atom of a sample does.

    Attributes
    ----------
    coefficient : float
        Of the atom in the sample, before.
    share : float
        Length of the change, as a share of that of the sample less the mean.
    panels : list of Panel
        The sample, and the nearest others before and after.
    words : pandas.DataFrame or None
        The nearest words before and after, from `turned_texts`; None without a text encoder.
    trouble : str or None
        A sentence, where the text encoder could not be used.
    """

    coefficient: float
    share: float
    panels: list[Panel]
    words: pd.DataFrame | None
    trouble: str | None


def turn(view: View, atom: int, row: int, value: float) -> Turned:
    """Set the coefficient of an atom in a sample.

    Parameters
    ----------
    view : View
        With a `Space`.
    atom, row : int
    value : float

    Raises
    ------
    ValueError
        If there is no such atom or sample, the value is none that a coefficient can have, or there are no
        vectors.
    """
    atom, space = view.check_atom(atom), view.space
    if space is None:
        raise ValueError("there are no vectors of the samples; open_view takes embeddings")
    if not 0 <= row < space.n:
        raise ValueError(f"row={row}; it must be a sample from 0 to {space.n - 1}")
    before = space.read(slice(row, row + 1))
    after = np.asarray(view.result.intervene(before, {atom: value}))
    coefficient = float(as_csr(view.result.coder.encode(before))[0, atom])
    _, mean, _ = space.drawn
    # a coefficient may be such that squares are beyond float32
    after = after.astype(np.float64)
    length = float(np.linalg.norm(before - mean))
    marked = view.names[atom]
    own = samples_of(view, np.array([row]), np.array([coefficient]), marked)
    panels = [Panel("sample", "The sample", "With its coefficient before.", own)]
    for key, title, vector in (("before", "Nearest before", before), ("after", "Nearest after", after)):
        rows, cosines = space.nearest(vector[0], row)
        note = "Other samples by the cosine of their vectors, less the mean."
        panels.append(Panel(key, title, note, samples_of(view, rows, cosines, marked)))
    vocabulary = tuple(map(str, view.words.index))
    words = trouble = None
    try:
        encodings = space.encoded(vocabulary)
        if encodings is not None:
            words = turned_texts(before, after, vocabulary, encodings, top=NEAREST_WORDS)
    except Exception as error:  # of a model or function of somebody's; samples are near all the same
        trouble = sentence(error)
    share = float(np.linalg.norm(after - before) / (length or 1.0))
    return Turned(coefficient, share, panels, words, trouble)


def sentence(error: Exception) -> str:
    """What a model failed with, for a page: refusals as they are, others with their kind."""
    from ...embedding.errors import one_line  # takes long, and few need it

    return str(error) if isinstance(error, (ValueError, OSError, ImportError)) else one_line(error)


def _unit(rows: np.ndarray) -> np.ndarray:
    norms = np.linalg.norm(rows, axis=1, keepdims=True)
    return rows / np.where(norms > 0, norms, 1)
