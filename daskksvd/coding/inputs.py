"""Codes as people have them: arrays and tables, with or without numbers of atoms."""

from __future__ import annotations

from typing import TYPE_CHECKING, TypeAlias

import numpy as np
import scipy.sparse

from ..rows.inputs.frames import frame_names, frame_values, is_frame

if TYPE_CHECKING:
    import os

    import dask.array as da
    import numpy.typing as npt
    import pandas as pd
    import sparse
    import xarray as xr


CodesLike: TypeAlias = (
    "npt.ArrayLike | scipy.sparse.sparray | scipy.sparse.spmatrix | sparse.SparseArray | da.Array "
    "| xr.DataArray | pd.DataFrame | os.PathLike[str]"
)
"""Codes, n x m; a path, where one is taken, names what `Result.write_codes` wrote."""


def plain_codes(codes):
    """Codes (n, m) without labels: as they are, from a DataArray, or from a table.

    Raises
    ------
    ValueError
        If labels say that columns are not the atoms in their order.
    """
    if type(codes).__module__.split(".")[0] == "xarray" and hasattr(codes, "data"):
        if codes.ndim == 2 and codes.dims[0] == "atom" and codes.dims[1] != "atom":
            raise ValueError(
                f"codes has dimensions ({', '.join(map(str, codes.dims))}); it must be n x m, one column an "
                "atom: transpose it"
            )
        if codes.ndim == 2 and codes.dims[1] in codes.coords:
            _check_atoms(codes.coords[codes.dims[1]].values)
        return codes.data
    if is_frame(codes):
        _check_atoms(np.asarray(frame_names(codes)))
        if hasattr(codes, "sparse") and all(hasattr(dtype, "subtype") for dtype in codes.dtypes):
            return scipy.sparse.csr_array(codes.sparse.to_coo())
        return frame_values(codes, "codes")
    return np.asarray(codes) if isinstance(codes, (list, tuple)) else codes


def _check_atoms(labels):
    """Refuse numbers of atoms that are 0, 1, 2 ... in another order."""
    if labels.dtype.kind not in "iu":
        return
    numbers = np.arange(len(labels))
    wrong = labels != numbers
    if wrong.any() and (np.sort(labels) == numbers).all():
        place = int(np.argmax(wrong))
        raise ValueError(
            f"codes has its atoms in another order: column {place} is atom {labels[place]}; columns must be "
            "the atoms in the order of the dictionary"
        )
