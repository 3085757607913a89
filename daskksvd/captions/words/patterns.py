"""What a word is in a text: boundaries as Unicode has them, and their quick forms."""

import re

from .plain import START

try:
    import regex
except ImportError as error:
    raise ImportError('words need the regex package; install it: pip install "daskksvd[label]"') from error

_MORE = r"[\p{L}\p{M}\p{N}\u200c\u200d]*"
# a quotation mark between Hebrew letters, too; what is most often not there is looked at last
_APOSTROPHE = r"""['’‘ʼ׳"״](?:(?<!["״])|(?<=\p{Script=Hebrew}.)(?=\p{Script=Hebrew}))"""
_WORD = rf"[\p{{L}}\p{{N}}]{_MORE}(?:{_APOSTROPHE}\p{{L}}{_MORE})*"
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

_CASED_WORD = _WORD.replace("[", f"[{START}", 1)
CASED_WORD = regex.compile(_CASED_WORD)
CASED_WORD_OR_END = regex.compile(rf"{_CASED_WORD}|\n")
"""The same, and the marks of capitals at the start of sentences."""

APOSTROPHES = str.maketrans({**dict.fromkeys("’‘ʼ׳", "'"), '"': "״"})
EDGES = "'\u200c\u200d" + START

SHORTEST = 2
"""Letters of a word at least, in alphabets: "t" of "t-shirt" says nothing."""

SYLLABLE = regex.compile(r"[\p{Han}\p{Hangul}]")
"""Scripts in which one character can be a word."""


def pattern(text, cased, ends=False):
    """What finds the words of a plain text, and the ends of its lines if ``ends``."""
    if cased:
        return CASED_WORD_OR_END if ends else CASED_WORD
    if text.isascii():
        return ASCII_WORD_OR_END if ends else ASCII_WORD
    return WORD_OR_END if ends else WORD


def clean(form):
    """A form with one kind of apostrophe, none of them at its edges, and no mark."""
    return form.translate(APOSTROPHES).strip(EDGES)


def is_short(form):
    """Whether a form is too short to say anything."""
    return len(form) < SHORTEST and not SYLLABLE.match(form)
