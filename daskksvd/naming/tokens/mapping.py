"""Words of the sides of atoms as one dataset, and the prompts that it makes of codes."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import scipy.sparse as sp

from .store import SIDES, TOKENS
from .sums import largest

if TYPE_CHECKING:
    import xarray as xr

BLOCK_ROWS = 2**14
"""Samples whose words are ranked at once."""


def make_mapping(
    words: Sequence[str],
    word: np.ndarray,
    weight: np.ndarray,
    uses: np.ndarray,
    *,
    vectors: np.ndarray | None = None,
    **attributes: Any,
) -> xr.Dataset:
    """Words of sides as a dataset.

    Parameters
    ----------
    words : sequence of str
        The vocabulary.
    word : (2m, q) int array
        Numbers of words, the best first; -1 where there are fewer. Positive sides first.
    weight : (2m, q) float array
    uses : (2m,) int array
    vectors : (2m, e) array, optional
        What a side adds to the encoding of a sample's captions.
    **attributes
        Plain values; what is none of text and numbers is kept as JSON.
    """
    import xarray as xr

    m, slots = len(word) // 2, word.shape[1]
    names = np.array([*words, ""], object)[word]

    def by_side(values):
        return np.swapaxes(values.reshape(2, m, *values.shape[1:]), 0, 1)

    variables: dict[str, Any] = {
        "word": (("atom", "side", "slot"), by_side(names)),
        "weight": (("atom", "side", "slot"), by_side(np.where(word >= 0, weight, 0.0))),
        "uses": (("atom", "side"), by_side(np.asarray(uses, np.int64))),
    }
    if vectors is not None:
        variables["vector"] = (("atom", "side", "encoding"), by_side(np.asarray(vectors, np.float32)))
        variables["vocabulary"] = (("entry",), np.array(words, object))
    for name, (dims, values) in variables.items():
        variables[name] = (dims, values, {"long_name": TOKENS.variables[name].meaning})
    coords = {"atom": np.arange(m), "side": np.array(SIDES, object), "slot": np.arange(slots)}
    plain = {
        key: value if isinstance(value, (str, int, float)) else json.dumps(value)
        for key, value in attributes.items()
        if value is not None
    }
    return xr.Dataset(variables, coords=coords, attrs={**TOKENS.marks, **plain})


def is_mapping(value: object) -> bool:
    """Whether something is a dataset as `make_mapping` makes it."""
    return {"word", "weight", "uses"} <= set(getattr(value, "data_vars", ())) and "side" in getattr(
        value, "dims", ()
    )


def words_of_side(mapping: xr.Dataset, atom: int, side: int) -> str:
    """Words of a side of an atom as text, comma-separated; with weights where they differ.

    Parameters
    ----------
    mapping : xarray.Dataset
    atom : int
    side : int
        +1 or -1.
    """
    place = {"atom": atom, "side": 0 if side > 0 else 1}
    words, weights = (mapping[name].isel(place).values.tolist() for name in ("word", "weight"))
    pairs = [(word, weight) for word, weight in zip(words, weights, strict=True) if word]
    if len(words) == 1 or (len({weight for _, weight in pairs}) == 1 and pairs[0][1] == 1):
        return ", ".join(word for word, _ in pairs)
    return ", ".join(f"{word} {weight:.2g}" for word, weight in pairs)


def mapping_of_labels(labels: xr.Dataset, top: int = 1) -> xr.Dataset:
    """The best words of both sides of every atom by labels, each of weight 1."""
    words = labels.word.values.tolist()
    place = {name: number for number, name in enumerate(words)}
    found = [
        np.array([[place.get(name, -1) for name in row[:top]] for row in labels[one].values], np.int64)
        for one in ("top_word", "minority_word")
    ]
    uses = [labels[one].values for one in ("atom_count", "minority_count")]
    positive = labels.orientation.values > 0
    sides = np.concatenate(
        [np.where(positive[:, None], *found), np.where(positive[:, None], *reversed(found))]
    )
    counts = np.concatenate([np.where(positive, *uses), np.where(positive, *reversed(uses))])
    return make_mapping(words, sides, (sides >= 0).astype(float), counts, method="labels")


def weights_of(mapping: xr.Dataset) -> tuple[sp.csr_matrix, np.ndarray]:
    """Weights of words, (2m, W) with positive sides first, and the words."""
    m = mapping.sizes["atom"]
    word, weight = (
        mapping[name].transpose("side", "atom", "slot").values.reshape(2 * m, -1)
        for name in ("word", "weight")
    )
    words, place = np.unique(word.astype(object), return_inverse=True)
    kept = (word != "") & (weight > 0)
    rows = np.broadcast_to(np.arange(2 * m)[:, None], word.shape)
    pairs = (rows[kept], place.reshape(word.shape)[kept])
    return sp.csr_matrix((weight[kept], pairs), shape=(2 * m, len(words))), words


def ranked_words(sides: sp.csr_matrix, weights: sp.csr_matrix, n_slots: int) -> np.ndarray:
    """Numbers of the words of largest summed weight of every sample, (n, n_slots); -1 where there are fewer.

    Parameters
    ----------
    sides : (n, 2m) scipy.sparse.csr_matrix
        Magnitudes.
    weights : (2m, W) scipy.sparse.csr_matrix
    n_slots : int
    """
    ranked = np.full((sides.shape[0], n_slots), -1)
    for start in range(0, sides.shape[0], BLOCK_ROWS):
        block = slice(start, start + BLOCK_ROWS)
        ranked[block] = largest((sides[block] @ weights).tocsr(), n_slots)
    return ranked


def word_lists(ranked: np.ndarray, words: np.ndarray) -> list[list[str]]:
    """Words of every row of `ranked_words`."""
    return [[str(words[number]) for number in row if number >= 0] for row in ranked]
