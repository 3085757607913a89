"""Codes of tokens as codes of images: what the strongest of an image's rows say."""

from __future__ import annotations

import math
import os
from typing import TYPE_CHECKING, Literal, TypeAlias

import numpy as np
import sparse

from .. import arguments
from .formats import no_codes
from .inputs import plain_codes
from .nonzeros import as_csr
from .store import CODES, open_codes

if TYPE_CHECKING:
    import dask.array as da

    from .inputs import CodesLike

UsedBy: TypeAlias = Literal["any"] | float
"""How many of an image's rows must use an atom for the image to use it: any, or a share of them."""


FEW_ROWS = 0.02
"""Share of an image's rows that must use an atom, where by any row most images use it."""


def image_codes(
    codes: CodesLike, rows_per_image: int | None = None, *, used_by: UsedBy = "any"
) -> da.Array | sparse.COO:
    """Codes by image, where rows of an image follow one another, as patches do.

    An image uses an atom if any of its rows does, or a share of them. The coefficient is
    that of largest magnitude among its rows, the positive one where two are as large.

    Parameters
    ----------
    codes : path, dask.array.Array, sparse.COO, SciPy sparse or dense array
        n x m, a row a token.
    rows_per_image : int, optional
        Rows of an image, of which n is a multiple. By default what a store of codes says that
        `Result.write_codes` wrote of such rows.
    used_by : {"any"} or float
        Share of an image's rows, more than 0 and at most 1.

    Returns
    -------
    dask.array.Array or sparse.COO
        n / rows_per_image x m; lazy, in chunks of `sparse.COO`, for a path or a Dask array.

    Raises
    ------
    FileNotFoundError, TypeError, ValueError
        If there are no codes, or they are not of so many rows an image.
    """
    if rows_per_image is None:
        rows_per_image = rows_per_image_of(codes)
        if rows_per_image is None:
            raise ValueError("rows_per_image is needed: codes do not say how many rows an image has")
    each = arguments.integer("rows_per_image", rows_per_image, 1)
    least = least_rows(used_by, each)
    if isinstance(codes, (str, os.PathLike)):
        codes = open_codes(codes)
    codes = plain_codes(codes)
    if len(getattr(codes, "shape", ())) != 2:
        raise TypeError(
            f"codes is a {type(codes).__name__} of shape {getattr(codes, 'shape', None)}; it must be n x m"
        )
    if math.isnan(codes.shape[0]) or codes.shape[0] % each or not codes.shape[0]:
        raise ValueError(
            f"codes has {codes.shape[0]} rows; they must be a multiple of rows_per_image={each}, one at least"
        )
    if not hasattr(codes, "dask"):
        return pooled(codes, each, least)
    if codes.numblocks[1] > 1:
        codes = codes.rechunk({1: -1})
    if any(rows % each for rows in codes.chunks[0]):
        codes = codes.rechunk({0: each * max(1, max(codes.chunks[0]) // each)})
    m = int(codes.shape[1])
    meta = no_codes(codes.dtype)
    chunks = tuple(rows // each for rows in codes.chunks[0]), (m,)
    return codes.map_blocks(pooled, each, least, chunks=chunks, dtype=codes.dtype, meta=meta)


def codes_by_image(codes: CodesLike) -> CodesLike:
    """Codes with a row an image: those of a store of tokens' codes by image, all others as they are."""
    return image_codes(codes) if (rows_per_image_of(codes) or 1) > 1 else codes


def least_rows(used_by, each):
    """Rows of an image that must use an atom."""
    if used_by == "any":
        return 1
    allowed = "'any', or a share of an image's rows, more than 0 and at most 1"
    if isinstance(used_by, str):
        raise ValueError(f"used_by={used_by!r}; it must be {allowed}")
    if not arguments.number("used_by", used_by, 0, 1, allowed):
        raise ValueError(f"used_by=0; it must be {allowed}")
    return max(1, math.ceil(used_by * each - 1e-9))


def more_than_one(each):
    """A share of so many rows of an image, two or more, that means more than one of them: 2 % at least."""
    return max(FEW_ROWS, math.floor(100 / each + 1) / 100)


def pooled(codes, each, least):
    """Codes of some images from those of their rows, a `sparse.COO`.

    Parameters
    ----------
    codes : (images * each, m) sparse or dense array
    each, least : int
        Rows of an image, and those that must use an atom.
    """
    matrix = as_csr(codes)
    n, m = matrix.shape
    image = np.repeat(np.arange(n) // each, np.diff(matrix.indptr))
    key = image * m + matrix.indices
    order = np.argsort(key, kind="stable")
    key, values = key[order], matrix.data[order]
    starts = np.flatnonzero(np.diff(key, prepend=-1))
    counts = np.diff(starts, append=len(key))
    kept = counts >= least
    if len(starts):
        high, low = np.maximum.reduceat(values, starts), np.minimum.reduceat(values, starts)
        values = np.where(high >= -low, high, low)[kept]
    key = key[starts][kept]
    coords = np.stack([key // m, key % m])
    return sparse.COO(coords, values, shape=(n // each, m), has_duplicates=False, sorted=True)


def rows_per_image_of(codes):
    """Rows of an image that a store of codes tells of; None where it does not, or codes are no store."""
    if not isinstance(codes, (str, os.PathLike)):
        return None
    each = CODES.open_whole(codes).attrs.get("rows_per_image")
    return None if each is None else int(each)
