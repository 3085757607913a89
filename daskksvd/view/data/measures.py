"""Measures of words and atoms, from labels, a row or a column at a time."""

import numpy as np
import pandas as pd

from .once import once

VIEW_MATRIX = 2**23
"""Words times atoms up to which a measure of labels is kept in memory (64 MB); above, each
look reads what it shows."""

MEASURES = {"correlation": "phi", "g": "g", "q_value": "q_value"}
"""Measures of a word and an atom that are shown (correlation, strength and false discovery rate), and
what labels call them."""


class Measures:
    """How words and atoms go together; without labels there are no words.

    Parameters
    ----------
    labels : xarray.Dataset or None
    m : int
        Atoms.

    Attributes
    ----------
    words : pandas.DataFrame
        The vocabulary: by word the ``samples`` that have it.
    """

    def __init__(self, labels, m):
        self._labels, self._m = labels, m
        words, samples = ([], np.empty(0, int)) if labels is None else (labels.word, labels.word_count)
        index = pd.Index(np.asarray(words, object), name="word", dtype=object)
        self.words = pd.DataFrame({"samples": np.asarray(samples)}, index=index)

    def of_word(self, name, word):
        """A measure of a word with all atoms, (m,)."""
        return np.asarray(self._matrix(name)[self.words.index.get_loc(word)])

    def of_atom(self, name, atom):
        """A measure of an atom with all words, (V,)."""
        return np.empty(0) if self._labels is None else np.asarray(self._matrix(name)[:, atom])

    def of_pairs(self, name, words):
        """A measure of one word of every atom, (m,); NaN for words that were not counted."""
        found = np.full(self._m, np.nan)
        places = self.words.index.get_indexer(words)
        have = np.flatnonzero(places >= 0)
        if len(have):
            found[have] = np.asarray(self._matrix(name))[places[have], have]
        return found

    @once
    def _matrix(self, name):
        """A measure of all words and atoms (V, m), in memory if that is small."""
        values = self._labels[MEASURES[name]]
        return values if values.size > VIEW_MATRIX else values.values
