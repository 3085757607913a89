"""Of two words for a side, the one that does better on samples that had no part in choosing them."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from ...embedding.slots import PromptSlots
    from .sampled import PromptSample

SWEEPS = 2
"""Rounds over the sides where two mappings differ."""


def accept(
    slots: PromptSlots,
    sample: PromptSample,
    error: Callable[[np.ndarray, np.ndarray], float],
    start: np.ndarray,
    other: np.ndarray,
) -> tuple[np.ndarray, float, float]:
    """Go over to the other words where that makes the error of the sample less.

    Begins with the better of the two mappings, and tries the other's word for every side where they differ,
    the side that the most prompts list first: those prompts are encoded anew. `SWEEPS` rounds at most, as a
    side's better word depends on the others'. The error never rises.

    Parameters
    ----------
    slots : embedding.slots.PromptSlots
        Encodes the texts.
    sample : PromptSample
    error : callable
        (r, e) encodings of prompts, (r, e) targets -> float.
    start, other : (S,) int array
        Numbers of words.

    Returns
    -------
    words : (S,) int array
    before, after : float
        Error with the words of the start, and with those returned.
    """
    made = [encode_sides(slots, sample.sides, words) for words in (start, other)]
    errors = [error(encodings, sample.targets) for encodings in made]
    best = int(errors[1] < errors[0])
    words, least, encodings = (start, other)[best].copy(), errors[best], made[best].copy()
    uses = np.bincount(sample.sides[sample.sides >= 0], minlength=len(start))
    differ = [side for side in np.argsort(-uses, kind="stable") if start[side] != other[side] and uses[side]]
    for _ in range(SWEEPS):
        changes = 0
        for side in differ:
            tried = words.copy()
            tried[side] = other[side] if words[side] == start[side] else start[side]
            rows = np.flatnonzero((sample.sides == side).any(1))
            changed = encodings.copy()
            changed[rows] = encode_sides(slots, sample.sides[rows], tried)
            found = error(changed, sample.targets)
            if found < least:
                words, least, encodings, changes = tried, found, changed, changes + 1
        if not changes:
            break
    # what the sample never lists was not tried
    words[uses == 0] = start[uses == 0]
    return words, errors[0], least


def encode_sides(slots: PromptSlots, sides: np.ndarray, words: np.ndarray) -> np.ndarray:
    """Unit encodings (r, e) of the texts of prompts that list sides (r, n_slots), each by its word."""
    return slots.encode_words(np.where(sides >= 0, words[sides], -1))
