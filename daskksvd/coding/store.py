"""Codes on disk: two plain fixed-width Zarr arrays, read back as COO chunks."""

from __future__ import annotations

from typing import TYPE_CHECKING

import dask.array as da
import numpy as np
import sparse

from ..stores import Store, StoredArray, Variable
from .codes import Codes
from .formats import codes_to_coo, no_codes

if TYPE_CHECKING:
    import os

CODES = Store(
    kind="codes",
    format="daskksvd.codes",
    version=1,
    variables={
        "indices": Variable(
            ("sample", "slot"), ("int32",), "atom used in each slot of a row; -1 where unused", dense=True
        ),
        "values": Variable(
            ("sample", "slot"),
            ("float32", "float64"),
            "coefficient of that atom; 0 where unused",
            dense=True,
        ),
    },
    refusal="not one of codes (indices and values)",
    suffix="-codes",
    also="codes.zarr",
    marked_last=True,
)


def open_codes(path: str | os.PathLike[str]) -> da.Array:
    """Open a store written by `Result.write_codes` as COO chunks.

    Parameters
    ----------
    path : str or path

    Returns
    -------
    dask.array.Array
        n x m, chunks of `sparse.COO`, lazy.

    Raises
    ------
    FileNotFoundError, ValueError
        If there is no complete store of codes.
    DamagedStore
        If a file is missing or is not what was written, now or when codes are computed.
    """
    opened = CODES.open_whole(path)
    arrays = opened.arrays()
    indices, values = StoredArray(arrays["indices"]), StoredArray(arrays["values"])
    chunks = indices.chunks
    m = int(opened.attrs["n_components"])
    meta = no_codes(values.dtype)
    return da.map_blocks(
        _pair_to_coo,
        da.from_array(indices, chunks=chunks, inline_array=True),
        da.from_array(values, chunks=chunks, inline_array=True),
        m,
        chunks=(da.core.normalize_chunks(chunks, indices.shape)[0], (m,)),
        dtype=values.dtype,
        meta=meta,
    )


def _pair_to_coo(indices: np.ndarray, values: np.ndarray, m: int) -> sparse.COO:
    return codes_to_coo(Codes(np.asarray(indices), np.asarray(values)), m)
