"""Words of atoms by sums: a dictionary update whose atoms are held to a vocabulary.

The encoding of a prompt is, but for a scale, nearly the sum of the encodings of prompts of one word each:
such sums explain nine tenths of the variance of prompts of three words (Flickr8k, MiniLM). With features
``Z`` (n, 2m) of the sides of atoms, caption encodings ``C`` (n, e) and prompts of one word ``V`` (W, e), all
centred, the words ``w`` of the sides are to minimise ``||C - a Z V_w||^2``. ``Z'Z`` and ``Z'C`` tell that.
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
import scipy.linalg

from ...machine.blas import single_threaded_blas
from .pairs import Rest, take_pairs

if TYPE_CHECKING:
    from .sums import Centred

CANDIDATES = 64
"""Words of a side among which sweeps choose; all words are looked at between them."""

BLOCK_SIDES = 512
"""Sides whose scores with all words exist at once: 120 MB for 30,000 words."""

SWEEPS = 100
"""Sweeps at most. Flickr8k takes 6 with 1,600 words and 256 sides."""

GAIN = 1e-9
"""Share of the energy of the encodings that a change must gain: less is rounding, which can go in circles."""

RIDGES = tuple(10.0 ** (power / 2) for power in range(-6, 5))
"""Penalties, in units of the mean square of a feature."""

EVERY_SIDES = 4096
"""Sides up to which all penalties are tried: one takes a second and a half of a core there, and grows with
the cube of sides."""


class Chosen(NamedTuple):
    """Words of sides.

    Attributes
    ----------
    word : (2m,) int64 array
        Number of the word; -1 for sides that are never used, or in every prompt: those tell no sample from
        another.
    scale : float
        What the sum of the encodings of words is multiplied with.
    losses : (sweeps + 1,) float64 array
        ``||C - a Z V_w||^2`` over ``||C||^2``, before the first sweep and after each.
    """

    word: np.ndarray
    scale: float
    losses: np.ndarray


def best_words(sums: Centred, words: np.ndarray, allowed: np.ndarray | None = None) -> np.ndarray:
    """The best word of every side by itself, as if no other side had any, (2m,) int64.

    It maximises what one word explains with its best scale, ``(r'V_w)^2 / ||V_w||^2``, where ``r'V_w > 0``.

    Parameters
    ----------
    sums : Centred
    words : (W, e) float array
        Centred encodings of the prompts of one word.
    allowed : (2m, W) boolean array, optional
    """
    norms = np.maximum(np.linalg.norm(words, axis=1), np.finfo(float).tiny)
    chosen = np.full(len(sums.joint), -1)
    for start, scores in _scores(sums.joint, words / norms[:, None], allowed):
        chosen[start : start + len(scores)] = np.where(
            np.isfinite(scores).any(axis=1), scores.argmax(axis=1), -1
        )
    return np.where(sums.pairs.diagonal() > 0, chosen, -1)


def descend(
    sums: Centred,
    words: np.ndarray,
    start: np.ndarray,
    allowed: np.ndarray | None = None,
    sweeps: int = SWEEPS,
) -> Chosen:
    """Choose the word of each side anew, given those of the others, until nothing changes.

    Every change lowers the loss, and so does the scale, fitted between sweeps: it ends at words of which no
    single one can be changed for the better.

    Parameters
    ----------
    sums : Centred
    words : (W, e) float array
    start : (2m,) int64 array
        As `best_words` gives.
    allowed : (2m, W) boolean array, optional
        Words that a side may have.
    sweeps : int
        At most.
    """
    word = start.copy()
    sides = np.flatnonzero(word >= 0).tolist()
    vectors = np.zeros((len(word), words.shape[1]))
    vectors[sides] = words[word[sides]]
    squares = np.einsum("ij,ij->i", words, words)
    own = sums.pairs.diagonal()
    scale, loss = _scale(sums, vectors)
    losses, changed = [loss], 0
    for _ in range(sweeps):
        left = Rest(sums.joint, sums.pairs, vectors, scale)
        everywhere = not changed  # all words are looked at where the best few leave nothing to change
        if everywhere:
            few = _best_few(left.values + scale * own[:, None] * vectors, words, scale, own, allowed)
        changed = 0
        for side in sides:
            among = np.append(few[side][few[side] >= 0], word[side])
            other = left.of(side) + scale * own[side] * vectors[side]
            gain = 2 * scale * (words[among] @ other) - scale**2 * own[side] * squares[among]
            best = int(gain.argmax())
            if gain[best] > gain[-1] + GAIN * sums.energy:
                word[side] = among[best]
                left.change(side, scale * (words[word[side]] - vectors[side]))
                vectors[side] = words[word[side]]
                changed += 1
        scale, loss = _scale(sums, vectors)
        losses.append(loss)
        if everywhere and not changed:
            break
    return Chosen(word, scale, np.array(losses))


def _best_few(joint, words, scale, own, allowed):
    """The `CANDIDATES` words that gain most for every side, given all others; -1 where fewer are allowed."""
    most = max(0, len(words) - CANDIDATES)
    few = np.empty((len(joint), len(words) - most), np.int64)
    squares = np.einsum("ij,ij->i", words, words).astype(np.float32)
    for start, scores in _scores(joint, words, allowed):
        block = slice(start, start + len(scores))
        scores *= 2 * scale
        scores -= (scale**2 * own[block, None]).astype(np.float32) * squares
        few[block] = np.argpartition(scores, most, axis=1)[:, most:] if most else np.arange(len(words))
        few[block][~np.isfinite(np.take_along_axis(scores, few[block], axis=1))] = -1
    return few


def gains_of(sums: Centred, words: np.ndarray, word: np.ndarray, scale: float) -> np.ndarray:
    """What each word would gain over none for each side, given the words of all others, (2m, W)."""
    vectors = np.where((word >= 0)[:, None], words[np.maximum(word, 0)], 0.0)
    own = sums.pairs.diagonal()[:, None]
    left = sums.joint - scale * (sums.pairs @ vectors - own * vectors)
    return 2 * scale * left @ words.T - scale**2 * own * np.einsum("ij,ij->i", words, words)


def _scale(sums, vectors):
    """The best scale of the sum of some vectors, and the share of the energy that it leaves."""
    shared = float(np.vdot(sums.joint, vectors))
    power = float(np.vdot(sums.pairs @ vectors, vectors))
    scale = max(shared / power, 0.0) if power > 0 else 0.0
    left = sums.energy - 2 * scale * shared + scale**2 * power
    return scale, left / sums.energy if sums.energy > 0 else 1.0


def _scores(joint, words, allowed):
    """Products of sides and words, block by block of sides; -inf where a word is not allowed."""
    turned = np.ascontiguousarray(words.T, np.float32)
    for start in range(0, len(joint), BLOCK_SIDES):
        scores = joint[start : start + BLOCK_SIDES].astype(np.float32) @ turned
        if allowed is not None:
            scores[~allowed[start : start + BLOCK_SIDES]] = -np.inf
        yield start, scores


# ------------------------------------------------------- several weighted words


class Vectors(NamedTuple):
    """Encodings that sides add to that of a sample's captions.

    Attributes
    ----------
    vectors : (2m, e) float64 array
    ridge : float
        Penalty, in units of the mean square of a feature.
    """

    vectors: np.ndarray
    ridge: float


def text_vectors(fitted: Centred, checked: Centred, whole: Centred) -> Vectors:
    """Ridge regression of caption encodings on features, ``(Z'Z + p I) T = Z'C``.

    Parameters
    ----------
    fitted, checked : Centred
        Sums over disjoint samples: penalties are tried on the first and compared on the second.
    whole : Centred
        Sums over both.
    """
    used = np.flatnonzero(whole.pairs.diagonal() > 0)  # others never vary
    pairs = take_pairs(fitted.pairs, used)
    compared, shared = take_pairs(checked.pairs, used), checked.joint[used]

    def error(place: int) -> float:
        vectors = _ridge_vectors(fitted, pairs, used, RIDGES[place])
        return float(np.vdot(compared @ vectors, vectors) - 2 * np.vdot(shared, vectors))

    with single_threaded_blas():  # bits, and so words of nearly equal worth, depend on its number of threads
        ridge = RIDGES[least_error(error, len(RIDGES), every=len(used) <= EVERY_SIDES)]
        pairs = take_pairs(whole.pairs, used)
        vectors = np.zeros_like(whole.joint)
        vectors[used] = _ridge_vectors(whole, pairs, used, ridge)
    return Vectors(vectors, ridge)


def least_error(error: Callable[[int], float], n: int, *, every: bool) -> int:
    """Where errors are least, of n places: all are looked at, or every second and what is beside the best."""

    @functools.cache
    def known(place):
        found = error(place)
        return found if np.isfinite(found) else np.inf

    place = min(range(0, n, 1 if every else 2), key=known)
    return min((near for near in (place - 1, place, place + 1) if 0 <= near < n), key=known)


def _ridge_vectors(sums, pairs, used, ridge):
    pairs = pairs.copy() if isinstance(pairs, np.ndarray) else pairs.toarray()
    pairs[np.diag_indices(len(pairs))] += ridge * (sums.pairs.diagonal().sum() / len(sums.mean) or 1.0)
    return scipy.linalg.solve(pairs, sums.joint[used], assume_a="pos", overwrite_a=True)


def weigh(
    vectors: np.ndarray, words: np.ndarray, n_words: int, allowed: np.ndarray | None = None
) -> tuple[np.ndarray, np.ndarray]:
    """Non-negative sparse codes of vectors over the encodings of words: orthogonal matching pursuit.

    Parameters
    ----------
    vectors : (s, e) float array
    words : (W, e) float array
        Centred encodings; compared by their directions.
    n_words : int
        Most words a vector.
    allowed : (s, W) boolean array, optional

    Returns
    -------
    word : (s, n_words) int64 array
        Of largest weight first; -1 where there are fewer.
    weight : (s, n_words) float64 array
        Weights of words of unit norm; positive, and 0 where there are fewer words.

    Notes
    -----
    Bruckstein, Elad and Zibulevsky (2008): each step takes the word that goes best with what is left, and
    solves for non-negative weights of all words taken.
    """
    from scipy.optimize import nnls

    units = words / np.maximum(np.linalg.norm(words, axis=1, keepdims=True), np.finfo(float).tiny)
    n_words = min(n_words, len(words))
    word, weight = np.full((len(vectors), n_words), -1), np.zeros((len(vectors), n_words))
    left, going = np.array(vectors, np.float64), np.ones(len(vectors), bool)
    for step in range(n_words):
        for start, scores in _scores(left, units, allowed):
            for side in start + np.flatnonzero(going[start : start + len(scores)]):
                taken = word[side, :step]
                scores[side - start, taken] = -np.inf
                best = int(scores[side - start].argmax())
                if not scores[side - start, best] > GAIN * np.linalg.norm(vectors[side]):
                    going[side] = False
                    continue
                word[side, step] = best
                support = units[word[side, : step + 1]]
                weight[side, : step + 1] = nnls(support.T, vectors[side])[0]
                left[side] = vectors[side] - weight[side, : step + 1] @ support
    word[weight <= 0] = -1
    order = np.argsort(-weight, axis=1, kind="stable")
    return np.take_along_axis(word, order, axis=1), np.take_along_axis(weight, order, axis=1)
