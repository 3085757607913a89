"""Any mapping from atoms to words as a matrix of weights."""

import numbers
from typing import NamedTuple

import numpy as np
import scipy.sparse as sp

from ..naming.association import Tables
from ..naming.choosing import best_words, rank


class Mapping(NamedTuple):
    """Words of atoms.

    Attributes
    ----------
    weights : (m, V) scipy.sparse.csr_matrix
        Weight of a word where an atom is active.
    learned : bool
        Whether only the pairs are given: the evidence of each is then
        estimated on training samples.
    n_unknown : int
        Pairs whose word is not in the vocabulary; they are left out.
    """

    weights: sp.csr_matrix
    learned: bool
    n_unknown: int


def as_mapping(mapping, m, vocabulary, top) -> Mapping:
    """A mapping in any form, over a given vocabulary.

    Parameters
    ----------
    mapping : xarray.Dataset, xarray.DataArray, pandas.DataFrame, dict, or (m, V) array
        Labels from `daskksvd.label`: the ``top`` words of every atom. A table
        of weights with atoms as rows (dimension ``atom``) and words as
        columns (dimension ``word``); a matrix without names must follow
        ``vocabulary``. A dict from atoms to a word, words, or weights by word.
    m : int
    vocabulary : (V,) array of str
    top : int

    Returns
    -------
    Mapping

    Raises
    ------
    TypeError, ValueError
        If it is no such mapping.
    """
    kind = f"{type(mapping).__module__.split('.')[0]}.{type(mapping).__name__}"
    if kind == "xarray.Dataset":
        return _from_labels(mapping, m, vocabulary, top)
    if kind == "xarray.DataArray":
        if set(mapping.dims) != {"atom", "word"}:
            raise ValueError(f"mapping has dimensions {mapping.dims}; they must be atom and word")
        mapping = mapping.transpose("atom", "word").to_pandas()
        kind = "pandas.DataFrame"
    if kind == "pandas.DataFrame":
        weights = sp.coo_matrix(mapping.to_numpy(np.float64))
        words = mapping.columns.to_numpy()[weights.col]
        return _matrix(mapping.index.to_numpy()[weights.row], words, weights.data, m, vocabulary, False)
    if isinstance(mapping, dict):
        return _from_dict(mapping, m, vocabulary)
    if sp.issparse(mapping) or isinstance(mapping, np.ndarray):
        if mapping.shape != (m, len(vocabulary)):
            raise ValueError(
                f"mapping has shape {mapping.shape}; it must be {m} x {len(vocabulary)}, atoms x words, "
                "and vocabulary must name its columns"
            )
        weights = sp.coo_matrix(mapping, dtype=np.float64)
        return _matrix(weights.row, vocabulary[weights.col], weights.data, m, vocabulary, False)
    raise TypeError(
        f"mapping is a {type(mapping).__name__}; it must be labels from daskksvd.label, a dict from atoms "
        "to words, or a table or matrix of weights, atoms x words"
    )


def choose_mapping(counts, top, rank_by="g") -> Mapping:
    """The ``top`` best words of every atom by the counts of some samples; a `Mapping`."""
    chosen = best_words(rank(counts, rank_by), min(top, len(counts.joint)))
    atoms = np.repeat(np.arange(len(chosen)), chosen.shape[1])
    kept = chosen.ravel() >= 0
    pairs = (atoms[kept], chosen.ravel()[kept])
    weights = sp.csr_matrix((np.ones(kept.sum()), pairs), shape=counts.joint.shape[::-1])
    return Mapping(weights, True, 0)


def _from_labels(labels, m, vocabulary, top):
    """The best words of every atom, in the order in which they were ranked for the labels."""
    missing = {"joint", "word_count", "atom_count"} - set(labels.variables)
    if missing or "n" not in labels.attrs:
        raise ValueError(
            f"mapping is a Dataset without {', '.join(sorted(missing)) or 'an attribute n'}; "
            "it must be labels from daskksvd.label"
        )
    if labels.sizes["atom"] != m:
        raise ValueError(f"mapping has {labels.sizes['atom']} atoms; codes has {m}")
    counts = Tables(
        labels["joint"].transpose("word", "atom").values.astype(float),
        labels["word_count"].values.astype(float)[:, None],
        labels["atom_count"].values.astype(float),
        float(labels.attrs["n"]),
    )
    scores = rank(counts)
    order = labels.attrs.get("rank_by", "g")
    if order in labels:
        given = labels[order].transpose("word", "atom").values
        scores = np.where(np.isfinite(scores) & np.isfinite(given), given, -np.inf)
    chosen = best_words(scores, min(top, len(scores)))
    kept = chosen.ravel() >= 0
    atoms = np.repeat(np.arange(m), chosen.shape[1])[kept]
    words = labels["word"].values[chosen.ravel()[kept]]
    return _matrix(atoms, words, np.ones(len(words)), m, vocabulary, True)


def _from_dict(mapping, m, vocabulary):
    """Words by atom: one, several, or weights by word."""
    atoms, words, weights = [], [], []
    for atom, value in mapping.items():
        if isinstance(value, str):
            value = [value]
        if not isinstance(value, dict):
            value = dict.fromkeys(value, 1.0)
        for word, weight in value.items():
            if not isinstance(word, str) or not isinstance(weight, numbers.Real):
                raise TypeError(f"mapping[{atom!r}] has {word!r}: {weight!r}; it must be text, and a number")
            atoms.append(atom)
            words.append(word)
            weights.append(weight)
    return _matrix(atoms, words, weights, m, vocabulary, False)


def _matrix(atoms, words, weights, m, vocabulary, learned):
    """Pairs with weights as a `Mapping`."""
    weights = np.asarray(weights, np.float64)
    if not np.isfinite(weights).all():
        raise ValueError("mapping has NaN or infinite weights; all must be finite")
    atoms = list(atoms)
    for atom in atoms:
        if isinstance(atom, bool) or not isinstance(atom, numbers.Integral) or not 0 <= atom < m:
            raise ValueError(f"mapping has an atom {atom!r}; atoms must be whole numbers from 0 to {m - 1}")
    place = {word: number for number, word in enumerate(vocabulary)}
    columns = np.array([place.get(word, -1) for word in words], np.int64)
    known = columns >= 0
    pairs = (np.array(atoms, np.int64)[known], columns[known])
    matrix = sp.csr_matrix((weights[known], pairs), shape=(m, len(vocabulary)))
    return Mapping(matrix, learned, int((~known).sum()))
