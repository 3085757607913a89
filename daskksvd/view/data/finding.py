"""From what somebody types to atoms."""

import difflib

import numpy as np
import pandas as pd

COLUMNS = ("atom", "word", "named", "correlation", "g", "q_value")
MOST_PREFIXED = 8
"""Words with the typed beginning that are looked up, the most frequent ones."""


def find_atoms(view, text, n=20):
    """Atoms for a word, best first; see `View.find`."""
    if not isinstance(text, str):
        raise TypeError(f"text={text!r}; it must be a word, or the number of an atom as text")
    text = text.strip()
    number = text.removeprefix("atom").strip().removeprefix("#").strip()
    if number.isascii() and number.isdigit() and int(number) < view.m:
        return _facts(view, int(number))
    words = find_words(view, text)
    tables = [_atoms_of(view, word) for word in words]
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
    known = view.words.index
    text = " ".join(text.split()).lower()
    if not text or not len(known):
        return []
    if text in known:
        return [text]
    forms = [form for form in dict.fromkeys(reversed(view.marker.base_forms(text))) if form in known]
    if forms:
        return forms
    begun = known[known.str.startswith(text)]
    if len(begun):
        return view.words.loc[begun].samples.nlargest(MOST_PREFIXED).index.tolist()
    return difflib.get_close_matches(text, known.tolist(), n=3)


def _atoms_of(view, word):
    """Atoms that go with a word more than by chance, strongest first."""
    place = view.words.index.get_loc(word)
    strength = np.nan_to_num(view._row("g", place), nan=-np.inf)
    atoms = np.argsort(-strength, kind="stable")
    atoms = atoms[strength[atoms] > 0]
    return pd.DataFrame(
        {
            "atom": atoms,
            "word": word,
            "named": [word in view.names[atom] for atom in atoms],
            "correlation": view._row("phi", place)[atoms],
            "g": strength[atoms],
            "q_value": view._row("q_value", place)[atoms],
        }
    )


def _facts(view, atom):
    row = view.atoms.loc[atom]
    word = view.names[atom][0] if view.names[atom] else ""
    values = (atom, word, bool(word), row.correlation, row.g, row.q_value)
    return pd.DataFrame([dict(zip(COLUMNS, values, strict=True))])
