"""Captions of a few rows at a time, and the words in them."""

import functools
import json

import numpy as np

from ...captions.by_sample import open_captions
from ...captions.files.images_of_keys import images_of_keys
from ...captions.words.forms import meant
from ...captions.words.tokens import Tokenizer

KEPT_CAPTIONS = 2**14
"""Captions of which the words are kept, about 10 MB."""

CAPTION_PARTS = 32
"""Parts of a table of captions kept in memory: a look at an atom touches about 20."""


class CaptionsByRow:
    """Captions of samples, read when they are asked for.

    Parameters
    ----------
    captions : anything `daskksvd.label` takes
    sample_ids : (n,) int array, optional
        Sample of each row, for captions keyed by sample.
    embeddings : Embeddings, optional
        For captions that name images.
    n : int, optional
        Rows, where they are known: for captions in their order.

    """

    def __init__(self, captions, sample_ids=None, embeddings=None, n=None):
        self._given = captions
        captions = open_captions(captions, embeddings=embeddings, n=n)
        self._names = captions.names
        self._ids = sample_ids if captions.key == "sample" else None
        self._ranges = captions.ranges()
        self._lows = [low for low, _ in self._ranges]
        self._read = functools.lru_cache(CAPTION_PARTS)(captions.read)

    def names_by_row(self, folder, n=None):
        """Names of the images of n rows in a folder, if captions have them: a list, or a dict by row."""
        if self._names is not None or self._ids is not None:
            return self._names
        return images_of_keys(self._given, folder, n)

    def of(self, rows):
        """Captions of rows, a list of str each."""
        keys = np.asarray(rows, np.int64) if self._ids is None else self._ids[np.asarray(rows, np.int64)]
        numbers = np.searchsorted(self._lows, keys, side="right") - 1
        return [
            self._of_key(key, number) for key, number in zip(keys.tolist(), numbers.tolist(), strict=True)
        ]

    def _of_key(self, key, number):
        if number < 0 or key >= self._ranges[number][1]:
            return []
        sample, caption = self._read(*self._ranges[number])
        low, high = np.searchsorted(sample, [key, key + 1])
        return [text for text in caption[low:high] if text and not text.isspace()]


class Marker:
    """Finds words in captions by their base forms, as labels count them.

    Parameters
    ----------
    labels : xarray.Dataset
        From `daskksvd.label`; they say how captions became words.

    Attributes
    ----------
    tokenizer : Tokenizer
    """

    def __init__(self, labels):
        self.tokenizer = Tokenizer.from_settings(json.loads(labels.attrs["tokenizer"]))
        self._words = labels.word.values.tolist()
        self._index = {word: number for number, word in enumerate(self._words)}
        # samples come again in the galleries of other atoms
        self._said = functools.lru_cache(KEPT_CAPTIONS)(self._places)
        self._counted = functools.lru_cache(KEPT_CAPTIONS)(self._counted)

    def meant(self, text):
        """Words of the vocabulary that somebody means who types a text; see `forms.meant`."""
        return meant(text, self._index, self.tokenizer)

    def spans(self, caption, words):
        """Where a caption says some words, in any form.

        Parameters
        ----------
        caption : str
        words : iterable of str
            Base forms, or phrases of several.

        Returns
        -------
        list of (start, stop)
            In order, apart from one another.
        """
        wanted = set(words)
        found = [(start, stop) for start, stop, word in self._said(caption) if word in wanted]
        apart = []
        for start, stop in sorted(found):
            if apart and start < apart[-1][1]:
                apart[-1] = (apart[-1][0], max(stop, apart[-1][1]))
            else:
                apart.append((start, stop))
        return apart

    def _places(self, caption):
        """Where a caption says what words of the vocabulary."""
        return [(start, stop, self._counted(word)) for start, stop, word in self.tokenizer.spans(caption)]

    def _counted(self, word):
        """The word of the vocabulary that a word counts as, or itself."""
        place = self.tokenizer.place(word, self._index)
        return word if place < 0 else self._words[place]
