"""Words of a vocabulary by other forms of them: what a text means, and all forms there are."""

from . import english, languages
from .patterns import WORD


def forms_of(words, tokenizer):
    """Forms that count as some words, other than these themselves.

    Parameters
    ----------
    words : list of str
        Base forms.
    tokenizer : Tokenizer

    Returns
    -------
    dict of str to str
        Base form by form, in small letters. What dictionaries do not list is left out.
    """
    words = list(words)
    index = {word: number for number, word in enumerate(words)}
    found = {}
    for form in sorted(_candidates(index, tokenizer)):
        bases = tokenizer.words(form) if WORD.fullmatch(form) else ()
        place = tokenizer.place(bases[0], index) if len(bases) == 1 else -1
        if place >= 0 and words[place] != form:
            found[form] = words[place]
    return found


def meant(text, index, tokenizer):
    """Words of a vocabulary that somebody means who types a text.

    Parameters
    ----------
    text : str
    index : dict of str to int
        Vocabulary.
    tokenizer : Tokenizer

    Returns
    -------
    list of str
        The text itself if it is a word, else those that it says in other forms, phrases first; maybe none.
    """
    if text in index:
        return [text]
    words = list(index)
    places = [tokenizer.place(form, index) for form in (text.lower(), *reversed(tokenizer.words(text)))]
    return list(dict.fromkeys(words[place] for place in places if place >= 0))


def _candidates(words, tokenizer):
    """What may be a form of some words; the tokenizer has the last word."""
    found = {*words, *tokenizer.exceptions}
    language = tokenizer.language
    if not tokenizer.lemmatize or language in languages.WITHOUT_FORMS:
        return found
    if language == "en":
        found |= english.inflections(words)
    pairs = languages.dictionary(language).items()
    found.update(form.lower() for form, base in pairs if base.lower() in words)
    return found
