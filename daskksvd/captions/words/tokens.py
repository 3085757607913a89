"""Captions to words: Unicode word boundaries, base forms, no stop words."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any, Literal

import numpy as np

from ... import arguments
from . import english, languages
from .patterns import APOSTROPHES, clean, is_short, pattern
from .plain import START, UNTRACED, Trace, plain_text
from .segmenting import PACKAGES, check_segment, make_pieces

WORD_CACHE = 2**20
"""Forms of words of which the base form is kept; captions use few, file names many."""

TEXT_BATCH = 2**22
"""Characters of captions that are parted into words at once; a list of words takes 20 times that."""

STOP, END = -1, -2
"""In place of a word: one left out, and the end of a caption."""

LEFT = "\0"
"""Stands before a form that is left out, but part of a phrase: "of" of "cup of tea"."""


class Tokenizer:
    """Turns a caption into the words it says.

    Parameters
    ----------
    language : str
        Two- or three-letter code of a language that simplemma knows, or of
        one that needs no base forms, such as Chinese.
    stop_words : iterable of str, optional
        Words to leave out. By default a list for the language; () keeps all.
    lemmatize : bool
        Count forms of a word together (dogs as dog, ran and running as run).
        Otherwise words are counted as written, in small letters.
    phrases : iterable of str
        Expressions of several words, such as "polar bear" or "cup of tea",
        that count as a word of their own beside their parts. `find_phrases`
        suggests some.
    exceptions : dict of str to str, optional
        Base forms that override the dictionaries.
    segment : str, optional
        How letters of scripts without spaces between words are parted:
        ``"words"`` by a package that knows words (jieba for Chinese, janome
        for Japanese, pythainlp for Thai: the default there), or
        ``"bigrams"``, pairs of characters, which needs no package (the
        default for Lao, Khmer and Burmese). In other languages they are not
        parted unless this says so.

    Raises
    ------
    TypeError, ValueError
        If the language is unknown, or a word list is no list of text.
    ImportError
        If words are to be parted by a package that is not installed.

    Notes
    -----
    Base forms come from simplemma, in English from lemminflect too, with the
    rules of `english`; German and Luxembourgish nouns are known by their
    capital. All words are in small letters. Accents are part of a word; "e"
    with a combining accent is the same as the one letter. The answer of the
    dictionaries is kept for every form seen, as captions use few.
    """

    def __init__(
        self,
        language: str = "en",
        *,
        stop_words: Iterable[str] | None = None,
        lemmatize: bool = True,
        phrases: Iterable[str] = (),
        exceptions: Mapping[str, str] | None = None,
        segment: Literal["words", "bigrams"] | None = None,
    ) -> None:
        self.language = languages.check_language(language, lemmatize)
        self.lemmatize = bool(lemmatize)
        self.segment = check_segment(segment, self.language)
        self._cased = self.lemmatize and self.language in languages.CASED
        self._pieces = make_pieces(self.segment, self.language) if self.segment else None
        if stop_words is None:
            stop_words = languages.default_stop_words(self.language)
        self.stop_words = frozenset(self._small(word) for word in arguments.words("stop_words", stop_words))
        self.exceptions = {self._small(form): self._small(base) for form, base in (exceptions or {}).items()}
        self._lemmas: dict[str, str | None] = {}
        self._left: frozenset[str] = frozenset()
        self.phrases: dict[tuple[str, ...], str] = {}
        self._take_phrases(arguments.words("phrases", phrases))

    def _take_phrases(self, phrases):
        """Phrases by their base forms; what is left out of captions is part of a phrase all the same."""
        found = {phrase: self._parts(phrase) for phrase in phrases}
        for phrase, parts in found.items():
            if len(parts) < 2 or not any(base for base, _ in parts):
                raise ValueError(
                    f"phrases has {phrase!r}; a phrase must be two words or more, not all of them stop words"
                )
            key = tuple(base or LEFT + form for base, form in parts)
            self.phrases[key] = " ".join(base or form for base, form in parts)
        self._left = frozenset(form for parts in found.values() for base, form in parts if base is None)
        self._lemmas = {}
        self._longest = max(map(len, self.phrases), default=0)

    def __getstate__(self):
        return {**self.__dict__, "_lemmas": {}}

    def words(self, caption: str | None) -> list[str]:
        """Words of a caption in their order, with repetitions.

        Parameters
        ----------
        caption : str or None

        Returns
        -------
        list of str
        """
        bases = self._bases(caption)
        if not self.phrases:
            return list(filter(None, bases))
        said = [base for base in bases if base and base[0] != LEFT]
        return said + [phrase for _, _, phrase in self._phrases_in(bases)]

    def forms(self, caption: str | None) -> list[str | None]:
        """Base forms of a caption in order, with None in place of what is left out."""
        bases = self._bases(caption)
        return [None if base and base[0] == LEFT else base for base in bases] if self._left else bases

    def spans(self, caption: str | None) -> list[tuple[int, int, str]]:
        """Where the words of a caption stand in it, as it is written.

        Parameters
        ----------
        caption : str or None

        Returns
        -------
        list of (start, stop, word)
            One for every entry of `words`, in the same order.
        """
        if not isinstance(caption, str):
            return []
        edit = Trace(caption)
        text = self._plain(caption, edit)
        matches = list(pattern(text, self._cased).finditer(text))
        bases = [self.lemma(match[0]) for match in matches]
        places = [(edit.places[match.start()][0], edit.places[match.end() - 1][1]) for match in matches]
        found = [
            (*place, base) for place, base in zip(places, bases, strict=True) if base and base[0] != LEFT
        ]
        for first, last, phrase in self._phrases_in(bases):
            found.append((places[first][0], places[last - 1][1], phrase))
        return found

    def encode(self, captions: Iterable[str | None]) -> tuple[np.ndarray, np.ndarray, list[str]]:
        """Words of many captions, as numbers.

        Parameters
        ----------
        captions : sequence of str or None

        Returns
        -------
        caption : (t,) int64 array
            Position of the caption of each word, ascending but for phrases.
        word : (t,) int64 array
            Number of the word, with repetitions.
        names : list of str
            The words by number.
        """
        numbers = _Numbers(self)
        places, words = [np.empty(0, np.int64)], [np.empty(0, np.int64)]
        for first, text in self._batches(captions):
            found = pattern(text, self._cased, ends=True).findall(text)
            codes = np.fromiter(map(numbers.__getitem__, found), np.int64, len(found))
            place = first + np.cumsum(codes == END)
            said = codes >= 0
            places.append(place[said])
            words.append(codes[said])
            for parts, phrase in self.phrases.items():
                # looked up, not made: words that were not said make no phrase
                wanted = [numbers.number(part) for part in parts]
                stop = len(codes) - len(parts) + 1
                if None in wanted or stop < 1:
                    continue
                here = [codes[at : stop + at] == number for at, number in enumerate(wanted)]
                starts = np.flatnonzero(np.logical_and.reduce(here))
                if len(starts):
                    number = numbers.names.setdefault(phrase, len(numbers.names))
                    places.append(place[starts])
                    words.append(np.full(len(starts), number))
        return np.concatenate(places), np.concatenate(words), list(numbers.names)

    def place(self, word: str, index: Mapping[str, int]) -> int:
        """Number of a word in a vocabulary, or of its singular there if no dictionary knows it.

        Parameters
        ----------
        word : str
            From `words`.
        index : dict of str to int
            Vocabulary.

        Returns
        -------
        int
            -1 for words that are not in it.
        """
        for known in (word, *self.singulars(word)):
            if known in index:
                return index[known]
        return -1

    def singulars(self, word: str) -> tuple[str, ...]:
        """What a word may be a plural of, if no dictionary knows: corpora decide. In English only."""
        if not self.lemmatize or self.language != "en" or word in self.exceptions.values():
            return ()
        return english.singulars(word)

    def settings(self) -> dict[str, Any]:
        """What words mean, as plain values: to be stored beside labels, for `from_settings`."""
        return {
            "language": self.language,
            "lemmatize": self.lemmatize,
            "n_stop_words": len(self.stop_words),
            "stop_words": sorted(self.stop_words),
            "exceptions": self.exceptions,
            "segment": self.segment,
            "phrases": sorted(self.phrases.values()),
        }

    @classmethod
    def from_settings(cls, settings: Mapping[str, Any]) -> Tokenizer:
        """The tokenizer that `settings` are of; those of former versions leave no stop words out."""
        return cls(
            settings["language"],
            lemmatize=settings["lemmatize"],
            stop_words=settings.get("stop_words", ()),
            exceptions=settings.get("exceptions"),
            segment=settings.get("segment"),
            phrases=settings.get("phrases", ()),
        )

    def _plain(self, caption, edit=UNTRACED):
        return plain_text(caption, self.language, self._cased, self._pieces, edit)

    def _small(self, word):
        """A word of a list of the caller, as forms are written."""
        return plain_text(word, self.language).strip().translate(APOSTROPHES)

    def _bases(self, caption):
        """Base forms of a caption in order. What is left out is None, or marked if phrases have it."""
        if not isinstance(caption, str):
            return []
        text = self._plain(caption)
        found = pattern(text, self._cased).findall(text)
        lemmas = self._lemmas
        try:
            return [lemmas[form] for form in found]
        except KeyError:
            return [self.lemma(form) for form in found]

    def _parts(self, phrase):
        """Base forms of a phrase, each with its form."""
        text = self._plain(phrase)
        return [(self.lemma(form), clean(form).lower()) for form in pattern(text, self._cased).findall(text)]

    def _batches(self, captions):
        """Captions as lines of a few long texts, with the number of the first line of each."""
        first, lines, size = 0, [], 0
        for number, caption in enumerate(captions):
            lines.append(self._plain(caption).replace("\n", " ") if isinstance(caption, str) else "")
            size += len(lines[-1])
            if size >= TEXT_BATCH:
                yield first, "\n".join(lines)
                first, lines, size = number + 1, [], 0
        yield first, "\n".join(lines)

    def lemma(self, form: str) -> str | None:
        """Base form of one form; None if it is left out, or the form marked if phrases have it."""
        lemma: Any = self._lemmas.get(form, self)
        if lemma is not self:  # asked once: another thread may empty the store at any time
            return lemma
        lemma = self._look_up(form)
        if lemma is None and self._left:
            left = clean(form).lower()
            lemma = LEFT + left if left in self._left else None
        if len(self._lemmas) >= WORD_CACHE:
            self._lemmas.clear()
        self._lemmas[form] = lemma
        return lemma

    def _look_up(self, form):
        loose = form[0] == START
        form = clean(form)
        if form.lower() in self.exceptions:
            return self.exceptions[form.lower()] or None
        if not form[:1].isalpha():
            return None
        if "'" in form:
            form = languages.without_apostrophes(form, self.language, self.stop_words)
        if form is None or is_short(form):
            return None
        lower = form.lower()
        # der Weg is no "weg", which is a stop word
        noun = self._cased and languages.is_noun(form, loose, self.language)
        if lower in self.stop_words and not noun:
            return None
        if lower in self.exceptions:
            return self.exceptions[lower] or None
        if not self.lemmatize or (self.segment == "bigrams" and self.language in PACKAGES):
            return form
        find = languages.lemmatizer(self.language)
        lemma = find(form, loose) if self._cased else find(form)
        return None if lemma in self.stop_words and not noun else lemma

    def _phrases_in(self, bases):
        """(start, stop, phrase) of phrases whose words follow one another, nothing between them."""
        found = []
        if not self.phrases:
            return found
        for start in range(len(bases)):
            for stop in range(start + 2, min(start + self._longest, len(bases)) + 1):
                phrase = self.phrases.get(tuple(bases[start:stop]))
                if phrase:
                    found.append((start, stop, phrase))
        return found


class _Numbers(dict):
    """Forms to the numbers of their words; new ones are looked up and numbered in turn."""

    def __init__(self, tokenizer):
        super().__init__({"\n": END})
        self.tokenizer = tokenizer
        self.names, self.left = {}, {}

    def __missing__(self, form):
        base = self.tokenizer.lemma(form)
        if base is None:
            number = STOP
        elif base[0] == LEFT:  # phrases alone ask for it
            number = self.left.setdefault(base, END - 1 - len(self.left))
        else:
            number = self.names.setdefault(base, len(self.names))
        self[form] = number
        return number

    def number(self, base):
        """Number of a base form, None if it was not said."""
        return (self.left if base[0] == LEFT else self.names).get(base)


def as_tokenizer(tokenizer: Tokenizer | str | None) -> Tokenizer:
    """A `Tokenizer` as it is, or one for a language code."""
    if isinstance(tokenizer, Tokenizer):
        return tokenizer
    if isinstance(tokenizer, str):
        return Tokenizer(tokenizer)
    if tokenizer is None:
        return Tokenizer()
    raise TypeError(f"tokenizer is a {type(tokenizer).__name__}; it must be a Tokenizer or a language code")
