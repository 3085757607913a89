"""Rows that words are chosen by, in two parts: one to fit on, one to compare on."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import numpy as np

if TYPE_CHECKING:
    import numpy.typing as npt

VALIDATION = 0.25
"""Share of the samples that choices are compared on."""

LEAST = 2
"""Rows with captions of each part."""


class Parts(NamedTuple):
    """Disjoint sets of rows.

    Attributes
    ----------
    fit, check : (n,) boolean arrays
        To fit on, and to compare on.
    """

    fit: np.ndarray
    check: np.ndarray

    @property
    def rows(self) -> np.ndarray:
        """Both."""
        return self.fit | self.check


def draw_parts(train: npt.ArrayLike | None, n: int, validation: float, rng: np.random.Generator) -> Parts:
    """Each row to compare on with a chance of ``validation``, be there captions of it or not.

    Parameters
    ----------
    train : (n,) boolean array or array of int, optional
        Rows to take; all by default.
    n : int
    validation : float
    rng : numpy.random.Generator

    Raises
    ------
    ValueError
        If ``train`` is none.
    """
    rows = np.ones(n, bool)
    if train is not None:
        given = np.asarray(train)
        if given.dtype == bool and given.shape == (n,):
            rows = given
        elif given.dtype.kind in "iu" and given.ndim == 1 and ((given >= 0) & (given < n)).all():
            rows = np.isin(np.arange(n), given)
        else:
            raise ValueError(
                f"train has dtype {given.dtype} and shape {given.shape}; it must be a boolean array with one "
                f"entry for each of the {n:,} rows of the codes, or the numbers of such rows"
            )
    check = rows & (rng.random(n) < validation)
    return Parts(rows & ~check, check)


def fair_parts(parts: Parts, captioned: np.ndarray, validation: float, rng: np.random.Generator) -> Parts:
    """The same parts, or others of the same rows where one has less than `LEAST` that have captions.

    Parameters
    ----------
    parts : Parts
    captioned : (n,) boolean array
        Whether a row has captions.
    validation : float
    rng : numpy.random.Generator

    Raises
    ------
    ValueError
        If there are too few for two parts.
    """
    if all((part & captioned).sum() >= LEAST for part in parts):
        return parts
    numbers = np.flatnonzero(parts.rows & captioned)
    check_enough(len(numbers), parts)
    check = np.zeros(len(captioned), bool)
    check[rng.permutation(numbers)[: max(LEAST, round(validation * len(numbers)))]] = True
    return Parts(parts.rows & ~check, check)


def check_enough(n_captioned: int, parts: Parts) -> None:
    """Refuse so few rows with captions that two parts cannot both have `LEAST`."""
    if n_captioned < 2 * LEAST:
        raise ValueError(
            f"{n_captioned} rows {'' if parts.rows.all() else 'of train '}have captions; there must be "
            f"{LEAST} at least to fit on and {LEAST} to compare on"
        )
