"""What differs between languages: capitals, apostrophes, stop words, base forms."""

import functools
import importlib.util
import re
import unicodedata

from . import english, segmenting

CASED = frozenset({"de", "lb"})
"""Languages that write nouns with capitals; Ball is a ball, and ball is of ballen."""

DOTLESS = frozenset({"az", "tr"})
"""Languages in which I is the capital of ı."""

ALIASES = {
    "no": "nb", "sr": "hbs", "hr": "hbs", "bs": "hbs", "sh": "hbs", "iw": "he", "in": "id", "fil": "tl",
    "cmn": "zh", "yue": "zh",
}  # fmt: skip
"""Other codes of the languages that lists of words know."""

WITHOUT_FORMS = frozenset({"vi", *segmenting.PACKAGES, *segmenting.PAIRED})
"""Languages of which words have one form, or which are parted by packages that know forms."""

_ELISION = "ca co eo fr fur ga gl it lb lij lmo oc pms pt rm sc scn sq vec wa"
ELISION = frozenset(_ELISION.split())
"""Languages where an apostrophe parts words, as in "l'homme"."""

UNPARTED = frozenset({"aujourd'hui", "presqu'île", "presqu'ile", "prud'homme", "c'h"})

_SUFFIX = "az cs cy da de et hu nb nl nn pl se sk sv tr"
SUFFIX = frozenset(_SUFFIX.split())
"""Languages where an ending stands after an apostrophe, as in "İstanbul'da" or "foto's"."""


def without_apostrophes(form, language, stop_words):
    """The word in a form with apostrophes, or None if it says nothing.

    Parameters
    ----------
    form : str
        Its apostrophes are all "'".
    language : str
    stop_words : set of str
    """
    before, _, after = form.rpartition("'")
    if language == "en":
        if form.lower().endswith("n't") or before in stop_words:
            return None
        return before if after == "s" else form
    if form.lower() in UNPARTED:
        return form
    if after.lower() == "s":  # a name in English
        return before if len(before) > 1 or language not in SUFFIX else None
    if language in ELISION:
        while "'" in form and form.lower() not in UNPARTED:
            before, _, after = form.partition("'")
            form = after if len(after.rpartition("'")[2]) > 1 else before
        return form
    if language in SUFFIX or (language == "fi" and before[-1] != after[0]):
        before, _, after = form.partition("'")
        return before if len(before) > 1 else after.rpartition("'")[2]
    return form  # a letter of the word, as in м'яч


def check_language(language, lemmatize):
    """The code of a language that can be counted.

    Parameters
    ----------
    language : str
        "de", and "de-AT" or "DE" as well.
    lemmatize : bool
        Whether base forms are needed.

    Raises
    ------
    TypeError, ValueError
        If it is no code, or base forms of it are known to no package.
    """
    if not isinstance(language, str):
        raise TypeError(f"language={language!r}; it must be a code such as 'en'")
    code = language.strip().lower().replace("_", "-").partition("-")[0]
    code = ALIASES.get(code, code)
    if lemmatize and code not in WITHOUT_FORMS:
        import_simplemma()
        from simplemma.strategies.dictionaries import dictionary_factory

        known = sorted({*dictionary_factory.SUPPORTED_LANGUAGES, *WITHOUT_FORMS})
        if code not in known:
            raise ValueError(
                f"language={language!r}; it must be one of {', '.join(known)}, or pass lemmatize=False "
                "to count words as they are written"
            )
    return code


def default_stop_words(language):
    """Stop words of a language, in small letters; none where no list is known."""
    if language == "en":
        return english.STOP_WORDS
    if language == "th" and importlib.util.find_spec("pythainlp"):
        from pythainlp.corpus import thai_stopwords

        return thai_stopwords()
    import stop_words

    try:
        return frozenset(stop_words.get_stop_words("nb" if language == "nn" else language))
    except stop_words.StopWordError:
        return frozenset()


@functools.cache
def lemmatizer(language):
    """A function from forms to base forms in small letters, made once in a process.

    Forms are in small letters too, but for languages in `CASED`: there they
    are as written, and a second argument says whether a capital may be there
    for its place only.
    """
    if language == "en":
        return english.make_lemmatizer()
    if language in segmenting.PACKAGES:
        return segmenting.japanese_base if language == "ja" else str
    if language in WITHOUT_FORMS:
        return str
    simplemma = import_simplemma()

    def lemma(form):
        return small(simplemma.lemmatize(form, lang=language), language)

    def cased_lemma(form, loose=False):
        return _cased(form, loose, language).lower()

    return cased_lemma if language in CASED else lemma


def dictionary(language):
    """Base forms by form, as simplemma lists them."""
    import_simplemma()
    from simplemma.strategies import DEFAULT_DICTIONARY_FACTORY

    return DEFAULT_DICTIONARY_FACTORY.get_dictionary(language)


def small(text, language):
    """Text in NFKC and small letters."""
    text = unicodedata.normalize("NFKC", text)
    if language in DOTLESS:
        text = text.replace("I", "ı")
    return text.replace("İ", "i").lower()


GERMAN = {
    "bären": "Bär", "junge": "Junge", "jungen": "Junge", "jungs": "Junge", "strasse": "Straße",
    "strassen": "Straße", "taube": "Taube", "tauben": "Taube", "weg": "Weg", "wege": "Weg",
}  # fmt: skip
"""Nouns that the dictionary takes for others, or that are a stop word in small letters."""

GERMAN_SMALL = {"weiß": "weiß", "weiss": "weiß"}
"""Words in small letters that captions do not use as the verb."""

OLD_SS = re.compile(
    "(?:(?:fl|schl|sch|k|n|g|dr)u|schlo|(?<!s)pa|fa|(?<!d)ri|bi|(?<!g)ro|ba|ze|la)ß$", re.IGNORECASE
)
"""Ends of words that were written with ß: Fluß is Fluss."""


def is_noun(form, loose, language):
    """Whether a form is one of a noun by its capital."""
    if not form[:1].isupper():
        return False
    if loose or (len(form) > 1 and form.isupper()):
        return language == "de" and form.lower() in GERMAN
    return _cased(form, False, language)[:1].isupper()


def _cased(form, loose, language):
    """Base form of a form of a language that writes nouns with capitals; those of nouns have one.

    Notes
    -----
    A capital says that it is a noun, unless it is there for its place, or all
    are capitals: then inflected adjectives (Rote) are no nouns, and nor is
    what has no noun. Small letters are of no noun, unless the form is then an
    imperative or a first person, which captions do not have, or that of a
    verb where the noun is in its base form: haus is Haus, band is Band.
    """
    capital = form[:1].isupper()
    lower = form.lower()
    loose = loose or (len(form) > 1 and form.isupper())
    noun, other = _noun(lower, language), _other(lower, language)
    said = other in (f"{lower}en", f"{lower}n")
    if language == "de" and capital and lower in GERMAN and not (loose and lower.startswith("jung")):
        return noun
    if capital and not loose:
        return noun or (form if said else other)
    if other[:1].isupper():
        return other
    if noun is None:
        return form if said and not lower.endswith("e") else other
    if any(lower == other + ending for ending in ("e", "em", "er", "es", *["en"] * (not capital))):
        return other
    third = lower.endswith("t") and other.startswith(lower[:-1])
    base = noun.lower() == lower and other != lower and not third
    return noun if capital or said or base else other


@functools.lru_cache(2**16)
def _noun(lower, language):
    """The noun of a form, with its capital, or None."""
    if language == "de" and lower in GERMAN:
        return GERMAN[lower]
    lemmatize, is_known = import_simplemma().lemmatize, import_simplemma().is_known
    form = lower[:1].upper() + lower[1:]
    sharp = form.replace("ss", "ß")  # as in Fussball, and in FUSS
    base = lemmatize(form, lang=language)
    unsure = not is_known(form, lang=language) or not base[:1].isupper()
    if sharp != form and unsure and is_known(sharp, lang=language):
        base = lemmatize(sharp, lang=language)
    if not base[:1].isupper():
        return None
    other = _other(lower, language)
    # an adjective that stands for who or what is so: Kleine is klein
    ends = ("er", "es", "e") if other.endswith("nd") else ("er", "es")
    if any(base.lower() == other + end for end in ends) or lower.startswith(f"{other}d"):
        return other
    return OLD_SS.sub(lambda match: match[0][:-1] + "ss", base) if language == "de" else base


@functools.lru_cache(2**16)
def _other(lower, language):
    """The base form of a form in small letters."""
    if language == "de" and lower in GERMAN_SMALL:
        return GERMAN_SMALL[lower]
    base = import_simplemma().lemmatize(lower, lang=language)
    return OLD_SS.sub(lambda match: match[0][:-1] + "ss", base) if language == "de" else base


def import_simplemma():
    """simplemma, or an error that says how to install it."""
    try:
        import simplemma
    except ImportError as error:
        raise ImportError('base forms need simplemma; install it: pip install "daskksvd[label]"') from error
    return simplemma
