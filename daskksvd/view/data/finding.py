"""From what somebody types to atoms: the one rule, of the dashboard and of the report's page alike."""

import difflib
import re

import numpy as np
import pandas as pd

from ...captions.words.forms import forms_of
from ...captions.words.patterns import WORD
from .measures import MEASURES

COLUMNS = ("atom", "word", "named", *MEASURES)

MOST_PREFIXED = 8
"""Words with the typed beginning that are looked up, the most frequent ones."""

MOST_ALIKE, LEAST_ALIKE = 3, 0.6
"""Words spelled like the typed one that are looked up, and how alike they are, as difflib's ratio."""

NUMBER = re.compile(r"(?:atom)?\s*#?\s*([0-9]+)")


def find_atoms(view, text, n=20):
    """Atoms for a word, best first; see `View.find`."""
    if not isinstance(text, str):
        raise TypeError(f"text={text!r}; it must be a word, or the number of an atom as text")
    number = NUMBER.fullmatch(tidied(text))
    if number and int(number[1]) < view.m:
        return _one(view, int(number[1]))
    tables = [_table(view, word) for word in find_words(view, text)]
    if not tables:
        return pd.DataFrame({name: [] for name in COLUMNS})
    table = pd.concat(tables, ignore_index=True)
    table = table.sort_values("g", ascending=False, kind="stable")
    return table.drop_duplicates("atom").head(n).reset_index(drop=True)


def find_words(view, text):
    """Words of the vocabulary that a text means, best first.

    The text itself; its base forms and phrases; words that begin with it; and
    where there is none, words spelled like it.
    """
    text = tidied(text)
    if not text or not len(view.words):
        return []
    if found := view.marker.meant(text):
        return found
    known = frequent_words(view)
    begun = [word for word in known if word.startswith(text)]
    return begun[:MOST_PREFIXED] or difflib.get_close_matches(text, known, MOST_ALIKE, LEAST_ALIKE)


def tidied(text):
    """A text in small letters, with single spaces."""
    return " ".join(text.split()).lower()


def frequent_words(view):
    """The vocabulary, the most frequent words first."""
    return view.words.sort_values("samples", ascending=False, kind="stable").index.tolist()


def atoms_of(view, word):
    """Atoms that go with a word more than by chance, strongest first."""
    strength = np.nan_to_num(view.measures.of_word("g", word), nan=-np.inf)
    atoms = np.argsort(-strength, kind="stable")
    return atoms[strength[atoms] > 0]


def _table(view, word):
    atoms = atoms_of(view, word)
    named = [word in view.names[atom] for atom in atoms]
    measures = {name: view.measures.of_word(name, word)[atoms] for name in MEASURES}
    return pd.DataFrame({"atom": atoms, "word": word, "named": named, **measures})


def _one(view, atom):
    row = view.atoms.loc[atom]
    word = view.names[atom][0] if view.names[atom] else ""
    return pd.DataFrame([(atom, word, bool(word), *row[list(MEASURES)])], columns=COLUMNS)


def search_table(view, n):
    """What finds the same atoms in the same order where there is no Python.

    Parameters
    ----------
    view : View
    n : int
        Atoms of a word, at most; of several words as many are right together.

    Returns
    -------
    dict
        ``words``: by word, the most frequent first, its atoms, best first, each with correlation
        and place of ``g`` among all, the strongest last; ``forms``: word by form, for all forms that
        dictionaries know; ``pattern``: what a word of a text is; and the constants of this module.
    """
    known = frequent_words(view)
    atoms = [atoms_of(view, word)[:n] for word in known]
    measured = [
        [view.measures.of_word(name, word)[found] for name in ("correlation", "g")]
        for word, found in zip(known, atoms, strict=True)
    ]
    strengths = np.unique(np.concatenate([np.empty(0), *(g for _, g in measured)]))
    words = {
        word: [
            found.tolist(),
            np.round(correlation.astype(float), 3).tolist(),
            strengths.searchsorted(g).tolist(),
        ]
        for word, found, (correlation, g) in zip(known, atoms, measured, strict=True)
    }
    # parts of phrases need not be words themselves
    parts = dict.fromkeys(part for word in known for part in [word, *word.split(" ")])
    return {
        "words": words,
        "forms": forms_of(parts, view.marker.tokenizer) if known else {},
        "pattern": WORD.pattern,
        "most_atoms": n,
        "most_prefixed": MOST_PREFIXED,
        "most_alike": MOST_ALIKE,
        "least_alike": LEAST_ALIKE,
    }
