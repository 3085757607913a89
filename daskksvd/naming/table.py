"""Labels as tables: all atoms, the words of one, the atoms of one."""

from __future__ import annotations

import difflib
import json
import os
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from ..captions.words.forms import meant
from ..captions.words.tokens import Tokenizer
from ..machine.files import absolute
from .measures import NO_WORD
from .store import check_labels

if TYPE_CHECKING:
    import xarray as xr

FIGURES = ("correlation", "phi", "weighted_correlation", "joint", "lift", "f1", "g", "q_value")
"""Measures of a word and an atom that tables show."""

WRITERS = {
    ".csv": lambda table, path: table.to_csv(path, index=False),
    ".parquet": lambda table, path: table.to_parquet(path, index=False),
    ".txt": lambda table, path: _write(path, as_text(table)),
}


def label_table(labels: xr.Dataset, *, minority: bool = False) -> pd.DataFrame:
    """One line for every atom: its words, and how strong and sure the first is.

    Parameters
    ----------
    labels : xarray.Dataset
        From `label`.
    minority : bool
        Add lines for minority sides that have significant words.

    Returns
    -------
    pandas.DataFrame
        Columns ``atom``, ``side`` (+ or -, the sign of the coefficients),
        ``uses``, ``words``, ``specific`` and the measures of the first word,
        NaN where there is none. Strongest first, atoms without a significant
        word last.
    """
    check_labels(labels)
    labels = labels.load()
    signs = labels.orientation.values
    columns = {
        "atom": labels.atom.values,
        "side": np.where(signs > 0, "+", "-"),
        "uses": labels.atom_count.values,
        "words": _joined(labels.top_word.values),
        "specific": labels.specific_word.values,
        **_figures(labels, labels.top_word.values[:, 0], FIGURES),
    }
    table = pd.DataFrame(columns)
    if minority:
        first = labels.minority_word.values[:, 0]
        figures = ("minority_joint", "minority_phi", "minority_g", "minority_q_value")
        other = {
            "atom": labels.atom.values,
            "side": np.where(signs > 0, "-", "+"),
            "uses": labels.minority_count.values,
            "words": _joined(labels.minority_word.values),
            "specific": "",
            **{
                name.removeprefix("minority_"): value
                for name, value in _figures(labels, first, figures).items()
            },
        }
        table = pd.concat([table, pd.DataFrame(other)[first != ""]], ignore_index=True)
    table["joint"] = table["joint"].astype("Int64")
    return table.sort_values(["g", "uses"], ascending=False, ignore_index=True, kind="stable")


def words_of_atom(labels: xr.Dataset, atom: int, *, top: int = 10) -> pd.DataFrame:
    """Words that go with an atom, by G, significant or not.

    Parameters
    ----------
    labels : xarray.Dataset
    atom : int
    top : int

    Returns
    -------
    pandas.DataFrame
        Columns ``word``, ``samples`` (with the word) and measures.
    """
    check_labels(labels)
    m = labels.sizes["atom"]
    if isinstance(atom, bool) or not isinstance(atom, (int, np.integer)) or not 0 <= atom < m:
        raise ValueError(f"atom={atom!r}; it must be an atom from 0 to {m - 1}")
    one = labels[[*FIGURES, "word_count"]].isel(atom=int(atom)).load()
    columns = {"word": one.word.values, "samples": one.word_count.values}
    return _strongest(columns, {name: one[name].values for name in FIGURES}, top)


def atoms_of_word(labels: xr.Dataset, word: str, *, top: int = 10) -> pd.DataFrame:
    """Atoms that go with a word, by G, significant or not.

    Parameters
    ----------
    labels : xarray.Dataset
    word : str
        In any form: "dogs" finds "dog".
    top : int

    Returns
    -------
    pandas.DataFrame
        Columns ``atom``, ``side``, ``uses``, ``words`` (the names of the
        atom) and measures.

    Raises
    ------
    ValueError
        If the word is not in the vocabulary; the message has those like it.
    """
    check_labels(labels)
    one = labels[[*FIGURES, "atom_count", "orientation", "top_word"]]
    one = one.sel(word=find_word(labels, word)).load()
    columns = {
        "atom": one.atom.values,
        "side": np.where(one.orientation.values > 0, "+", "-"),
        "uses": one.atom_count.values,
        "words": _joined(one.top_word.values),
    }
    return _strongest(columns, {name: one[name].values for name in FIGURES}, top)


def find_word(labels: xr.Dataset, word: str) -> str:
    """A word of the vocabulary of labels, from any form of it."""
    index = {name: number for number, name in enumerate(labels.word.values.tolist())}
    found = meant(word, index, Tokenizer.from_settings(json.loads(labels.attrs["tokenizer"])))
    if found:
        return found[0]
    near = difflib.get_close_matches(word, index, n=5)
    raise ValueError(
        f"word={word!r} is not among the {len(index):,} words counted"
        + (f"; those like it are {', '.join(near)}" if near else "")
    )


def write_table(table: pd.DataFrame, path: str | os.PathLike[str]) -> None:
    """Write a table as .csv, .parquet or aligned text (.txt).

    Parameters
    ----------
    table : pandas.DataFrame
    path : str or path
    """
    write = WRITERS[check_ending(path, WRITERS)]
    write(table, make_parent(path))


def check_ending(path, endings):
    """The ending of a path, one of those that can be written."""
    ending = os.path.splitext(os.fspath(path))[1].lower()
    if ending not in endings:
        raise ValueError(f"path={os.fspath(path)!r}; it must end with {' or '.join(endings)}")
    return ending


def make_parent(path):
    """A path made absolute, in a folder that is there."""
    path = absolute(path)
    os.makedirs(os.path.dirname(path), exist_ok=True)
    return path


def atom_facts(labels, atom):
    """What an atom is called and how often it is used, as text by name."""
    one = labels.isel(atom=atom)
    facts = {
        "atom": f"{atom}, side {'+' if one.orientation > 0 else '-'}",
        "words": _joined([one.top_word.values])[0],
        "specific": str(one.specific_word.values[()]),
        "uses": f"{int(one.atom_count):,} of {labels.attrs['n']:,} samples ({int(one.minority_count):,} more "
        "with the other sign)",
        "other sign": ", ".join(filter(None, one.minority_word.values)),
    }
    return {name: value for name, value in facts.items() if value}


def as_text(table):
    """A table as aligned text."""
    if not len(table):
        return "(none)"
    forms = {"lift": "{:.1f}", "g": "{:.1f}", "q_value": "{:.1e}"}
    columns = []
    for name, column in table.items():
        cells = [name.replace("_", " "), *(_shown(value, forms.get(name, "{:.3f}")) for value in column)]
        width, number = max(map(len, cells)), column.dtype.kind in "fiu"
        columns.append([cell.rjust(width) if number else cell.ljust(width) for cell in cells])
    return "\n".join("  ".join(line).rstrip() for line in zip(*columns, strict=True))


def _shown(value, form):
    if isinstance(value, (float, np.floating)):
        return "" if np.isnan(value) else form.format(value)
    return "" if value is pd.NA else str(value)


def _joined(words):
    return [", ".join(filter(None, row)) or NO_WORD for row in words]


def _figures(labels, first, names):
    """Measures of one word for every atom; NaN where there is none."""
    place = labels.indexes["word"].get_indexer(first)
    columns = {}
    for name in names:
        values = labels[name].values[place, np.arange(len(place))].astype(float)
        columns[name] = np.where(place >= 0, values, np.nan)
    return columns


def _strongest(columns, figures, top):
    order = np.argsort(-np.nan_to_num(figures["g"], nan=-np.inf), kind="stable")[:top]
    return pd.DataFrame({name: np.asarray(value)[order] for name, value in {**columns, **figures}.items()})


def _write(path, text):
    with open(path, "w", encoding="utf-8") as file:
        file.write(text + "\n")
