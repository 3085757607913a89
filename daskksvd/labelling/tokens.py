"""Captions to words: Unicode word boundaries, base forms, no stop words."""

import functools
import html
import re
import unicodedata

import numpy as np

from ..constants import TEXT_BATCH, WORD_CACHE
from . import english

try:
    import regex
except ImportError as error:
    raise ImportError('words need the regex package; install it: pip install "daskksvd[label]"') from error

_MORE = r"[\p{L}\p{M}\p{N}\u200c\u200d]*"
_WORD = rf"[\p{{L}}\p{{N}}]{_MORE}(?:['’ʼ]\p{{L}}{_MORE})*"
_ASCII_WORD = r"[a-z0-9]+(?:'[a-z][a-z0-9]*)*"
WORD = regex.compile(_WORD)
"""A word is of letters and digits, with their marks and joiners, and goes on over an apostrophe
between letters (Unicode Annex 29, rules WB4-WB10). All else ends it, full stops and underscores
too, which the annex lets join letters. What starts with a digit is no word in the end."""

ASCII_WORD = re.compile(_ASCII_WORD)
"""The same for lower-case text of ASCII alone, which most captions are, in half the time."""

WORD_OR_END = regex.compile(rf"{_WORD}|\n")
ASCII_WORD_OR_END = re.compile(rf"{_ASCII_WORD}|\n")
"""The same, and the ends of lines."""

STOP, END = -1, -2
"""In place of a word: one left out, and the end of a caption."""

MARKUP = regex.compile(
    r"""<(script|style)\b.*?</\1\s*>|<!--.*?-->|</?\p{L}(?:[^<>"']|"[^"]*"|'[^']*')*+>|</?\p{L}[^<>]*>""",
    regex.IGNORECASE | regex.DOTALL,
)
ADDRESS = regex.compile(r"\b(?:https?://|www\.)\S+", regex.IGNORECASE)
PICTURE = regex.compile(r"[\p{Extended_Pictographic}\p{Emoji_Presentation}\p{Cf}--[\u200c\u200d]]", regex.V1)
SHORTEST = 2
"""Letters of a word at least, in alphabets: "t" of "t-shirt" says nothing."""

SYLLABLE = regex.compile(r"[\p{Han}\p{Hangul}]")
"""Scripts in which one character can be a word."""

ELISION = frozenset({"ca", "fr", "it"})
"""Languages where an apostrophe parts words, as in "l'homme"."""

UNPARTED = frozenset({"aujourd'hui"})


def plain_text(caption):
    """A caption without markup, addresses and pictographs, in one Unicode form.

    HTML is text to be read, never run: tags, comments and scripts go, what
    stands between them stays, and entities become characters.
    """
    if "&" in caption:
        caption = html.unescape(caption)
    if "<" in caption:
        caption = MARKUP.sub(" ", caption)
    if "://" in caption or "www." in caption:
        caption = ADDRESS.sub(" ", caption)
    if not caption.isascii():
        # before NFKC, which spells some pictographs out as letters
        caption = unicodedata.normalize("NFKC", PICTURE.sub(_gap, caption))
    return caption.lower()


def _gap(match):
    """Invisible format characters join what they stand in; pictographs part it."""
    return "" if unicodedata.category(match[0]) == "Cf" else " "


class Tokenizer:
    """Turns a caption into the words it says.

    Parameters
    ----------
    language : str
        Two- or three-letter code of a language that simplemma knows.
    stop_words : iterable of str, optional
        Words to leave out. By default a list for the language; () keeps all.
    lemmatize : bool
        Count forms of a word together (dogs as dog, ran and running as run).
        Otherwise words are counted as written, in lower case.
    phrases : iterable of str
        Expressions of several words, such as "polar bear", that count as a
        word of their own beside their parts. `find_phrases` suggests some.
    exceptions : dict of str to str, optional
        Base forms that override the dictionaries.

    Raises
    ------
    TypeError, ValueError
        If the language is unknown, or a word list is no list of text.

    Notes
    -----
    Base forms come from simplemma, in English from lemminflect too, with the
    rules of `english`. Accents are part of a word; "e" with a combining accent
    is the same as the one letter. Scripts without spaces between words, such
    as Chinese or Thai, are not parted. The answer of the dictionaries is kept for
    every form seen, as captions use few.
    """

    def __init__(self, language="en", *, stop_words=None, lemmatize=True, phrases=(), exceptions=None):
        self.language = check_language(language, lemmatize)
        self.lemmatize = lemmatize
        self.stop_words = frozenset(
            default_stop_words(language) if stop_words is None else _words(stop_words, "stop_words")
        )
        self.exceptions = {plain_text(form): plain_text(base) for form, base in (exceptions or {}).items()}
        self._lemmas = {}
        self.phrases = {}
        for phrase in _words(phrases, "phrases"):
            parts = tuple(filter(None, self.forms(phrase)))
            if len(parts) < 2:
                raise ValueError(
                    f"phrases has {phrase!r}; a phrase must be two words or more, none of them a stop word"
                )
            self.phrases[parts] = " ".join(parts)
        self._longest = max(map(len, self.phrases), default=0)

    def __getstate__(self):
        return {**self.__dict__, "_lemmas": {}}

    def words(self, caption):
        """Words of a caption in their order, with repetitions.

        Parameters
        ----------
        caption : str or None

        Returns
        -------
        list of str
        """
        forms = self.forms(caption)
        return [form for form in forms if form] + self._phrases_in(forms)

    def encode(self, captions):
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
        for first, text in _batches(captions):
            found = (ASCII_WORD_OR_END if text.isascii() else WORD_OR_END).findall(text)
            codes = np.fromiter(map(numbers.__getitem__, found), np.int64, len(found))
            place = first + np.cumsum(codes == END)
            said = codes >= 0
            places.append(place[said])
            words.append(codes[said])
            for parts, phrase in self.phrases.items():
                # looked up, not made: words that were not said make no phrase
                wanted = [numbers.names.get(part, len(codes) + END) for part in parts]
                stop = len(codes) - len(parts) + 1
                here = [codes[at : stop + at] == number for at, number in enumerate(wanted)]
                starts = np.flatnonzero(np.logical_and.reduce(here))
                if len(starts):
                    number = numbers.names.setdefault(phrase, len(numbers.names))
                    places.append(place[starts])
                    words.append(np.full(len(starts), number))
        return np.concatenate(places), np.concatenate(words), list(numbers.names)

    def settings(self):
        """What words mean, as plain values: to be stored beside labels."""
        return {
            "language": self.language,
            "lemmatize": self.lemmatize,
            "n_stop_words": len(self.stop_words),
            "phrases": sorted(self.phrases.values()),
        }

    def forms(self, caption):
        """Base forms of a caption in order, with None in place of what is left out."""
        if not isinstance(caption, str):
            return []
        text = plain_text(caption)
        found = (ASCII_WORD if text.isascii() else WORD).findall(text)
        lemmas = self._lemmas
        try:
            return [lemmas[form] for form in found]
        except KeyError:
            return [self._lemma(form) for form in found]

    def _lemma(self, form):
        """Base form of one form, or None if it is left out."""
        if form in self._lemmas:
            return self._lemmas[form]
        if len(self._lemmas) >= WORD_CACHE:
            self._lemmas.clear()
        self._lemmas[form] = lemma = self._look_up(form)
        return lemma

    def _look_up(self, form):
        form = form.replace("’", "'").replace("ʼ", "'").rstrip("\u200c\u200d")
        if form in self.exceptions:
            return self.exceptions[form] or None
        if not form[0].isalpha():
            return None
        if self.language in ELISION:
            while "'" in form and form not in UNPARTED:
                form = form.partition("'")[2]
        elif "'" in form:
            before, _, after = form.rpartition("'")
            if form.endswith("n't") or before in self.stop_words:
                return None
            elif after == "s":
                form = before
        if form in self.stop_words or (len(form) < SHORTEST and not SYLLABLE.match(form)):
            return None
        if not self.lemmatize:
            return form
        lemma = self.exceptions.get(form) or lemmatizer(self.language)(form)
        return None if lemma in self.stop_words else lemma

    def _phrases_in(self, forms):
        """Phrases whose words follow one another, nothing between them."""
        found = []
        if not self.phrases:
            return found
        for start in range(len(forms)):
            for stop in range(start + 2, min(start + self._longest, len(forms)) + 1):
                phrase = self.phrases.get(tuple(forms[start:stop]))
                if phrase:
                    found.append(phrase)
        return found


class _Numbers(dict):
    """Forms to the numbers of their words; new ones are looked up and numbered in turn."""

    def __init__(self, tokenizer):
        super().__init__({"\n": END})
        self.tokenizer = tokenizer
        self.names = {}

    def __missing__(self, form):
        lemma = self.tokenizer._lemma(form)
        self[form] = number = STOP if lemma is None else self.names.setdefault(lemma, len(self.names))
        return number


def _batches(captions):
    """Captions as lines of a few long texts, with the number of the first line of each."""
    first, lines, size = 0, [], 0
    for number, caption in enumerate(captions):
        lines.append(plain_text(caption).replace("\n", " ") if isinstance(caption, str) else "")
        size += len(lines[-1])
        if size >= TEXT_BATCH:
            yield first, "\n".join(lines)
            first, lines, size = number + 1, [], 0
    yield first, "\n".join(lines)


@functools.cache
def lemmatizer(language):
    """A function from lower-case forms to base forms, made once in a process."""
    if language == "en":
        return english.make_lemmatizer()
    simplemma = _import_simplemma()

    def lemma(form):
        base = simplemma.lemmatize(form, lang=language)
        if base == form and language in ("de", "lb"):  # dictionaries have their nouns capitalised
            base = simplemma.lemmatize(form.capitalize(), lang=language)
        return unicodedata.normalize("NFKC", base).lower()

    return lemma


def default_stop_words(language):
    """Stop words of a language; none where no list is known."""
    if language == "en":
        return english.STOP_WORDS
    import stop_words

    language = "nb" if language == "nn" else language
    try:
        return frozenset(plain_text(word) for word in stop_words.get_stop_words(language))
    except stop_words.StopWordError:
        return frozenset()


def check_language(language, lemmatize):
    """The language, if words of it can be brought to base forms, or need not be."""
    if not isinstance(language, str):
        raise TypeError(f"language={language!r}; it must be a code such as 'en'")
    if lemmatize:
        _import_simplemma()
        from simplemma.strategies.dictionaries import dictionary_factory

        known = sorted(dictionary_factory.SUPPORTED_LANGUAGES)
        if language not in known:
            raise ValueError(
                f"language={language!r}; it must be one of {', '.join(known)}, or pass lemmatize=False"
            )
    return language


def as_tokenizer(tokenizer):
    """A `Tokenizer` as it is, or one for a language code."""
    if isinstance(tokenizer, Tokenizer):
        return tokenizer
    if isinstance(tokenizer, str):
        return Tokenizer(tokenizer)
    if tokenizer is None:
        return Tokenizer()
    raise TypeError(f"tokenizer is a {type(tokenizer).__name__}; it must be a Tokenizer or a language code")


def _import_simplemma():
    try:
        import simplemma
    except ImportError as error:
        raise ImportError('base forms need simplemma; install it: pip install "daskksvd[label]"') from error
    return simplemma


def _words(words, name):
    """A list of text, not one text."""
    if isinstance(words, str):
        raise TypeError(f"{name} is one text, {words!r}; it must be a list of words")
    words = list(words)
    for word in words:
        if not isinstance(word, str):
            raise TypeError(f"{name} has {word!r}; all of it must be text")
    return [plain_text(word).strip() for word in words]
