"""Captions of a few rows at a time, and the words in them."""

import json
import threading
from collections import OrderedDict

import numpy as np

from ..constants import CAPTION_PARTS


class CaptionsByRow:
    """Captions of samples, read when they are asked for.

    Parameters
    ----------
    captions : anything `daskksvd.label` takes
    sample_ids : (n,) int array, optional
        Sample of each row, for captions keyed by sample.
    embeddings : Embeddings, optional
        For captions that name images.
    """

    def __init__(self, captions, sample_ids=None, embeddings=None):
        from ..labelling.captions import open_captions

        self._captions = open_captions(captions, embeddings=embeddings)
        self._ids = sample_ids if self._captions.key == "sample" else None
        self._ranges = self._captions.ranges()
        self._lows = np.array([low for low, _ in self._ranges])
        self._kept, self._lock = OrderedDict(), threading.Lock()

    def of(self, rows):
        """Captions of rows, a list of str each."""
        keys = np.asarray(rows, np.int64) if self._ids is None else self._ids[np.asarray(rows, np.int64)]
        found = []
        for key in keys.tolist():
            number = int(np.searchsorted(self._lows, key, side="right")) - 1
            if number < 0 or key >= self._ranges[number][1]:
                found.append([])
                continue
            with self._lock:
                sample, caption = self._part(number)
            low, high = np.searchsorted(sample, [key, key + 1])
            found.append([text for text in caption[low:high] if text and not text.isspace()])
        return found

    def _part(self, number):
        """Captions of one range of keys; those used last are kept."""
        if number not in self._kept:
            self._kept[number] = self._captions.read(*self._ranges[number])
        self._kept.move_to_end(number)
        while len(self._kept) > CAPTION_PARTS:
            self._kept.popitem(last=False)
        return self._kept[number]


class Marker:
    """Finds words in captions by their base forms, as labels count them.

    Parameters
    ----------
    labels : xarray.Dataset
        From `daskksvd.label`; they say how captions became words.
    """

    def __init__(self, labels):
        from ..labelling import Tokenizer

        facts = json.loads(labels.attrs["tokenizer"])
        phrases = [word for word in labels.word.values.tolist() if " " in word]
        how = {"lemmatize": facts["lemmatize"], "stop_words": (), "phrases": phrases}
        self._tokenizer = Tokenizer(facts["language"], **how)

    def base_forms(self, text):
        """Words of a text as the vocabulary has them, phrases last."""
        return self._tokenizer.words(text)

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
        from ..labelling.tokens import WORD

        tokens = [(match.span(), self._form(match[0])) for match in WORD.finditer(caption)]
        wanted = [tuple(word.split()) for word in words]
        marked = np.zeros(len(tokens), bool)
        for parts in wanted:
            for first in range(len(tokens) - len(parts) + 1):
                if all(tokens[first + step][1] == part for step, part in enumerate(parts)):
                    marked[first : first + len(parts)] = True
        return [span for (span, _), yes in zip(tokens, marked, strict=True) if yes]

    def _form(self, text):
        forms = self._tokenizer.forms(text)
        return forms[0] if len(forms) == 1 else None
