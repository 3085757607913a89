"""Ridge regression from sums, its penalty chosen by the sums of rows kept back."""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np

PENALTIES = np.logspace(-6, 2, 25)
"""Tried, times the mean variance of the features."""

DEFAULT_PENALTY = 1e-2
"""Where no rows were kept back to choose it by."""


class Products(NamedTuple):
    """Mean products of centred rows.

    Attributes
    ----------
    count : float
        Rows.
    aa : (p, p) float64 array
        Of features with features.
    ac : (p, e) float64 array
        Of features with targets.
    cc : float
        Sum of the mean squares of targets.
    """

    count: float  # type: ignore[assignment]
    aa: np.ndarray
    ac: np.ndarray
    cc: float


class Ridge(NamedTuple):
    """A regression.

    Attributes
    ----------
    coefficients : (p, e) float64 array
    penalty : float
        Added to the mean squares of the features.
    explained : float
        Share of the variance of targets explained on rows kept back, NaN without any.
    """

    coefficients: np.ndarray
    penalty: float
    explained: float


def ridge(parts):
    """Coefficients of all rows, with the penalty that is best where the last part is kept back.

    Minimises ``mean |c - a B|^2 + penalty |B|^2`` (Hoerl, Kennard 1970).

    Parameters
    ----------
    parts : list of Products
        Rows to learn from, and rows to choose by; or one part, of all rows.
    """
    learn = parts[0]
    p = len(learn.aa)
    unit = float(np.trace(learn.aa)) / max(p, 1)
    if not unit > 0:  # features are constant, and tell nothing
        return Ridge(np.zeros_like(learn.ac), 0.0, math.nan)
    penalty, explained = DEFAULT_PENALTY * unit, math.nan
    if len(parts) > 1:
        held = parts[1]
        values, vectors = np.linalg.eigh(learn.aa)
        values = np.maximum(values, 0)
        ac, held_ac = vectors.T @ learn.ac, vectors.T @ held.ac
        held_aa = vectors.T @ held.aa @ vectors
        left = []
        for tried in PENALTIES * unit:
            coefficients = ac / (values + tried)[:, None]
            products = np.einsum("ij,ij->", coefficients, held_aa @ coefficients)
            left.append(held.cc - 2 * np.einsum("ij,ij->", coefficients, held_ac) + products)
        best = int(np.argmin(left))
        penalty = float(PENALTIES[best] * unit)
        explained = 1 - left[best] / held.cc if held.cc > 0 else math.nan
    total = sum(part.count for part in parts)
    aa, ac = (sum(part[field] * (part.count / total) for part in parts) for field in (1, 2))
    return Ridge(np.linalg.solve(aa + penalty * np.eye(p), ac), penalty, float(explained))
