"""Codes of some rows in fixed width, and what comes with them."""

from typing import Any, NamedTuple

import numpy as np


class Codes(NamedTuple):
    """Codes of some rows in fixed width.

    Attributes
    ----------
    indices : (n, width) int32 array
        Atoms used, in the order chosen; -1 where unused.
    values : (n, width) float array
        Their coefficients.
    """

    indices: np.ndarray
    values: np.ndarray


class Coded(NamedTuple):
    """One block of rows and their codes.

    Attributes
    ----------
    start : int
        Position of the first row among the rows given.
    rows : (n, d') float array
        Prepared rows. Whoever gets them may overwrite them; the next block does.
    codes : Codes
    energy, explained : (n,) float64 arrays
        Squared norms of the rows, and the part of them that the codes capture.
        The squared residual norm is the difference.
    """

    start: int
    rows: Any
    codes: Codes
    energy: np.ndarray
    explained: np.ndarray


def join_codes(parts):
    """Codes of consecutive blocks as one."""
    return Codes(*map(np.concatenate, zip(*parts, strict=True)))
