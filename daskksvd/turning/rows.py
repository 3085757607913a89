"""Turned atoms in rows of arrays, lazily where those are lazy."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

import dask
import dask.array as da
import numpy as np

from ..coding.products import code_rows, make_products
from ..machine.blas import product_by_rows, single_threaded_blas
from ..rows.blocks import plain
from .turn import Turn, coefficients_of

if TYPE_CHECKING:
    from ..coding import SparseCoder


class Turner(NamedTuple):
    """A `Turn` made ready for rows, once in a process.

    Attributes
    ----------
    products : coding.products.Products
        What rows are coded with.
    m : int
        Atoms.
    turn : Turn
    directions : (s, d) float array
        Turned atoms as they add to rows, on their own features.
    """

    products: Any
    m: int
    turn: Turn
    directions: np.ndarray

    def change(self, rows: np.ndarray, offset: int = 0) -> np.ndarray:
        """What is added to rows: ``decode(z') - decode(z)``, (n, d).

        ``offset`` is the number of the first, for messages.
        """
        with single_threaded_blas():  # its bits depend on its number of threads
            codes = code_rows(rows, self.products, offset)
            there = coefficients_of(codes, self.turn.atoms, self.m)
            return product_by_rows(self.turn.changes(there), self.directions)


def make_turner(coder: SparseCoder, turn: Turn) -> Turner:
    """A `Turner` for the rows of a coder."""
    atoms = coder.dictionary[turn.atoms].astype(np.float64)
    directions = coder.transform._replace(mean=None).undo(atoms).astype(coder.dictionary.dtype)
    return Turner(make_products(coder), len(coder.dictionary), turn, np.ascontiguousarray(directions))


def turn_rows(
    rows: np.ndarray | da.Array, coder: SparseCoder, turn: Turn, *, here: bool = False
) -> np.ndarray | da.Array:
    """``x + decode(z') - decode(z)`` for every row x with the code z.

    Parameters
    ----------
    rows : (n, d) array or dask.array.Array
    coder : SparseCoder
    turn : Turn
    here : bool
        Whether a NumPy array is wanted in any case.

    Returns
    -------
    numpy.ndarray or dask.array.Array
        Lazy if rows are, of their dtype, or that of the dictionary where it is wider. Rows that a turn
        does not change stay as they are.
    """
    if not isinstance(rows, da.Array):
        return _turn_chunk(rows, make_turner(coder, turn))
    lazy = rows if rows.numblocks[1] == 1 else rows.rechunk({1: -1})
    dtype = np.result_type(rows.dtype, coder.dictionary.dtype)
    turned = da.map_blocks(
        _turn_chunk,
        lazy,
        turner=dask.delayed(make_turner, pure=True)(coder, turn),
        dtype=dtype,
        meta=np.empty((0, 0), dtype),
    )
    return turned.compute(scheduler="threads") if here else turned


def _turn_chunk(raw, turner, block_info=None):
    offset = block_info[0]["array-location"][0][0] if block_info else 0
    rows = plain(raw, offset)
    return rows + turner.change(rows, offset)
