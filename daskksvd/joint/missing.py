"""Rows that lack a half: it is filled with what the dictionary makes of the other one.

For codes ``x`` of what a row has, ``|[y, t] - x [D_y, D_t]|^2`` with ``t`` filled by ``x D_t`` of the last
dictionary is never less than ``|y - x D_y|^2``, the error of what is there, and equal to it at that
dictionary: one that lowers the former lowers the latter (majorise-minimise; Dempster, Laird, Rubin 1977).
"""

import dataclasses

import numpy as np

from ..coding import SparseCoder
from ..fitting.initial import normalised
from ..rows import Transform
from .pairs import IMAGE, TEXT
from .refit import read_out

FEW_PAIRS = 0.5
"""Where pairs are less than this share of the images, or the texts, whichever are more, learning starts from
those alone. Of 3,120 planted images and texts, 120 of them pairs, .30 of the atoms were found from the
pairs and .78 after four rounds of filling; all when it started from the images."""

NO_HALF = 1e-6
"""An atom whose half has a smaller norm than this says nothing of that kind."""


@dataclasses.dataclass(frozen=True, eq=False)
class Fill:
    """What fills halves.

    Attributes
    ----------
    image_coder, text_coder : SparseCoder
        Of one half of a row, as it is learned from.
    to_text, to_image : (m, e) and (m, d) arrays
        What their codes are multiplied with to give the other half.
    """

    image_coder: SparseCoder
    text_coder: SparseCoder
    to_text: np.ndarray
    to_image: np.ndarray

    @classmethod
    def of(cls, dictionary, d, target):
        """From a dictionary (m, d + e) of joined rows."""
        image, text = dictionary[:, :d], dictionary[:, d:]
        image_unit, to_text = _conditional(image, text)
        text_unit, to_image = _conditional(text, image)
        coders = (SparseCoder(unit, Transform(), target) for unit in (image_unit, text_unit))
        return cls(*coders, to_text, to_image)

    def rows(self, rows, present):
        """Fill the halves that are not there, in place."""
        d = self.to_image.shape[1]
        image, text = slice(0, d), slice(d, None)
        for missing, given, wanted, coder, decoder in (
            (TEXT, image, text, self.image_coder, self.to_text),
            (IMAGE, text, image, self.text_coder, self.to_image),
        ):
            lacking = np.flatnonzero(~present[:, missing])
            if len(lacking):
                codes = coder.encode(np.ascontiguousarray(rows[lacking, given]))
                rows[lacking, wanted] = codes.tocsr() @ decoder


def unit_halves(half):
    """Halves of atoms (m, p) set to unit norm, and their norms: the last axis and infinity of none.

    Rows vary least along the last axis where they are whitened: such an atom is hardly used.
    """
    norms = np.linalg.norm(half, axis=1)
    empty = norms < NO_HALF
    norms = np.where(empty, np.inf, norms)
    axis = np.eye(1, half.shape[1], half.shape[1] - 1, dtype=half.dtype)
    return np.where(empty[:, None], axis, half / norms[:, None]).astype(half.dtype), norms


def _conditional(half, other):
    """Unit atoms of one half, and the other half for a coefficient of one."""
    unit, norms = unit_halves(half)
    return np.ascontiguousarray(unit), (other / norms[:, None]).astype(other.dtype)


def learn_filled(pairs, halves, learning, n_rounds, facts):
    """Learn from rows of which some lack a half: rounds of filling, and of a fit that starts where it was.

    Parameters
    ----------
    pairs : Pairs
    halves : halves.Halves
    learning : learning.Learning
    n_rounds : int
    facts : halves.Facts

    Returns
    -------
    daskksvd.Result
        Of joined rows.
    """
    counts = pairs.present.sum(axis=0)
    n_pairs, most = int(pairs.both.sum()), int(counts.argmax())
    if n_pairs >= FEW_PAIRS * counts[most]:
        found = learning.run(halves.joined(pairs.where(pairs.both), learning.dtype), halves)
    else:
        found = _from_one_kind(pairs, halves, learning, most, facts)
    for number in range(n_rounds):
        if found.stop_reason in ("callback", "max_time"):
            break
        dictionary = found.dictionary.values
        fill = Fill.of(dictionary, pairs.d, found.coder.target)
        rows = halves.joined(pairs, learning.dtype, fill)
        found = learning.run(rows, halves, init=dictionary, **learning.beside(f"filled{number + 1}"))
    return found


def _from_one_kind(pairs, halves, learning, kind, facts):
    """A dictionary of one kind alone, with what pairs say of the other."""
    d = pairs.d
    columns = (slice(0, d), slice(d, None))[kind]
    rows = halves.joined(pairs.where(pairs.present[:, kind]), learning.dtype)[:, columns]
    found = learning.run(rows)
    unit = found.dictionary.values
    transforms = (halves.image, halves.text)
    target = 1 - kind
    mean = (facts.images.mean, facts.texts.mean)[target]
    coder = SparseCoder(unit, transforms[kind], found.coder.target)
    with learning.executor() as executor:
        vectors = read_out(pairs.where(pairs.both), coder, mean, executor, target).vectors
    other = transforms[target]._replace(mean=None).apply(vectors, np.float64)
    dictionary = np.concatenate([unit, other] if kind == IMAGE else [other, unit], axis=1)
    return learning.with_dictionary(found, normalised(dictionary))
