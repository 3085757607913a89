"""Candidates compared by the encoder itself, in the prompts of some samples."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from .descent import gains_of
from .inputs import draw_rows, read_rows
from .prompts import encode_prompts
from .sums import strongest, weighed

if TYPE_CHECKING:
    from .inputs import Material
    from .sums import Centred

RERANK_ROWS = 2_000
"""Samples whose prompts are encoded at most; half as many more are for validation."""

SIDE_ROWS = 48
"""Samples of a side in which a candidate is tried."""


class _Prompts:
    """Prompts of some samples, and how near they are to captions."""

    def __init__(self, sides, encodings, n_slots, encode, centre):
        listed = strongest(sides, n_slots)
        self.sides = [listed.indices[a:b] for a, b in zip(listed.indptr[:-1], listed.indptr[1:], strict=True)]
        order = np.argsort(listed.indices, kind="stable")
        rows = np.repeat(np.arange(listed.shape[0]), np.diff(listed.indptr))[order]
        self.users = np.split(rows, np.searchsorted(listed.indices[order], np.arange(1, listed.shape[1])))
        self.encodings, self.encode, self.centre = encodings - centre, encode, None
        self.scale = 1.0

    def errors(self, rows, word):
        """Squared errors of the prompts of some samples, (r,)."""
        lists = [[number for number in word[self.sides[row]] if number >= 0] for row in rows]
        left = self.encodings[rows] - self.scale * (self.encode(lists) - self.centre)
        return np.einsum("ij,ij->i", left, left)

    def fit(self, word):
        """The mean of the prompts, and the scale at which they are nearest to captions."""
        lists = [[number for number in word[sides] if number >= 0] for sides in self.sides]
        found = self.encode(lists)
        self.centre = found.mean(axis=0)
        found = found - self.centre
        self.scale = max(0.0, float(np.vdot(found, self.encodings) / max(np.vdot(found, found), 1e-30)))


def rerank(
    material: Material,
    encoder: Any,
    templates: Any,
    words: Any,
    vectors: np.ndarray,
    word: np.ndarray,
    scale: float,
    sums: Centred,
    weights: np.ndarray | None,
    parts: Sequence[np.ndarray],
    n_slots: int,
    n_candidates: int,
    allowed: np.ndarray | None,
    rng: np.random.Generator,
) -> tuple[np.ndarray, dict[str, Any]]:
    """One sweep over the sides, those used most first: the best of some candidates by the encoder.

    Parameters
    ----------
    vectors : (W, e) array
        Centred encodings of prompts of one word, by which candidates are found.
    word : (2m,) int array
        To begin with.
    scale : float
        Of the sum of encodings, see `descent.Chosen`.
    weights : (2m,) float array, optional
        By which times magnitudes prompts list the strongest sides; by magnitudes alone without.
    parts : two (n,) boolean arrays
        Rows with captions to compare candidates on, and to accept them on: a change must make both better.
    n_candidates : int

    Returns
    -------
    word : (2m,) int array
    figures : dict
        How many changes were tried and accepted, and prompts encoded.
    """
    counted = {"reranked": 0, "accepted": 0, "prompts": 0}

    def encode(lists):
        counted["prompts"] += len(lists)
        return encode_prompts(encoder, templates, [[words[number] for number in row] for row in lists])

    sets = []
    for rows, most in zip(parts, (RERANK_ROWS, RERANK_ROWS // 2), strict=True):
        sides, truth = read_rows(material, draw_rows(rows, most, rng))
        sets.append(_Prompts(weighed(sides, weights), truth, n_slots, encode, sums.encoding))
        sets[-1].fit(word)
    word = word.copy()
    gains = gains_of(sums, vectors, word, scale)
    if allowed is not None:
        gains[~allowed] = -np.inf
    few = np.argsort(-gains, axis=1)[:, :n_candidates]
    using = [len(rows) for rows in sets[0].users]
    for side in np.argsort(using, kind="stable")[::-1]:
        if word[side] < 0 or not using[side]:
            continue
        among = [number for number in few[side] if np.isfinite(gains[side, number])]
        errors = {}
        for number in {int(word[side]), *map(int, among)}:
            trial = word.copy()
            trial[side] = number
            errors[number] = [
                one.errors(one.users[side][:SIDE_ROWS], trial).sum() if len(one.users[side]) else 0.0
                for one in sets
            ]
        now = errors[int(word[side])]
        best = min(errors, key=lambda number: errors[number][0])
        if best != word[side]:
            counted["reranked"] += 1
            if errors[best][0] < now[0] and errors[best][1] < now[1]:
                word[side] = best
                counted["accepted"] += 1
    return word, counted
