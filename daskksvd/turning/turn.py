"""What is to be done with which atoms, and what it does to codes."""

from __future__ import annotations

import numbers
from collections.abc import Mapping
from typing import TYPE_CHECKING, Literal, NamedTuple, TypeAlias, get_args

import numpy as np

from ..arguments import choice

if TYPE_CHECKING:
    from ..coding import SparseCoder
    from ..coding.codes import Codes

Mode: TypeAlias = Literal["set", "add", "scale"]


class Turn(NamedTuple):
    """Coefficients of some atoms, changed in one way.

    Attributes
    ----------
    atoms : (s,) int array
        In rising order.
    values : (s,) float64 array
    mode : {"set", "add", "scale"}
        The coefficient becomes the value, or the value is added to it, or multiplied with it.
    nonnegative : bool
        Whether sums under zero become zero, as in codes that have no negative coefficients.
    """

    atoms: np.ndarray
    values: np.ndarray
    mode: Mode
    nonnegative: bool = False

    def changes(self, coefficients: np.ndarray) -> np.ndarray:
        """What is added to the coefficients (n, s) of the atoms: ``z' - z``, (n, s)."""
        values = self.values.astype(coefficients.dtype)
        if self.mode == "scale":
            return coefficients * (values - 1)
        if self.mode == "set":
            return values - coefficients
        if self.nonnegative:
            return np.maximum(values, -coefficients)
        return np.broadcast_to(values, coefficients.shape).copy()


def as_turn(atoms: Mapping[int, float], mode: Mode, coder: SparseCoder) -> Turn:
    """A checked `Turn`.

    Parameters
    ----------
    atoms : dict of int to float
        Atom -> value.
    mode : {"set", "add", "scale"}
    coder : SparseCoder
        That of the rows.

    Raises
    ------
    TypeError, ValueError
        If there is no such atom, or a value that no coefficient can have.
    """
    choice("mode", mode, get_args(Mode))
    if not isinstance(atoms, Mapping) or not atoms:
        raise TypeError(f"atoms is {atoms!r}; it must be a dict from atoms to numbers, such as {{17: 0.0}}")
    m, nonnegative = len(coder.dictionary), coder.target.nonnegative
    for atom, value in atoms.items():
        if isinstance(atom, (bool, np.bool_)) or not isinstance(atom, numbers.Integral):
            raise TypeError(f"atoms has the key {atom!r}; atoms are whole numbers from 0 to {m - 1}")
        if not 0 <= atom < m:
            raise ValueError(f"atoms has the key {atom}; it must be an atom from 0 to {m - 1}")
        if isinstance(value, (bool, np.bool_)) or not isinstance(value, numbers.Real):
            raise TypeError(f"atoms has the value {value!r} for atom {atom}; it must be a number")
        if not np.isfinite(value):
            raise ValueError(f"atoms has the value {value} for atom {atom}; it must be finite")
        if nonnegative and value < 0 and mode != "add":
            raise ValueError(
                f"atoms has the value {value} for atom {atom}, but these codes have no negative "
                "coefficients; it must be 0 or more"
            )
    order = sorted(atoms)
    values = np.array([float(atoms[atom]) for atom in order])
    return Turn(np.array(order, np.int64), values, mode, nonnegative)


def coefficients_of(codes: Codes, atoms: np.ndarray, m: int) -> np.ndarray:
    """Coefficients of some atoms in codes of fixed width, (n, s), zero where they are not used."""
    place = np.full(m + 1, -1)  # the last is for slots that are not used, -1
    place[atoms] = np.arange(len(atoms))
    column = place[codes.indices]
    rows, slots = np.nonzero(column >= 0)
    found = np.zeros((len(codes.indices), len(atoms)), codes.values.dtype)
    found[rows, column[rows, slots]] = codes.values[rows, slots]
    return found
