"""Where in an image an atom is: codes of patches, an image at a time."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any

import numpy as np

from ...coding.by_image import image_codes, rows_per_image_of
from ...coding.codes import Codes
from ...coding.formats import codes_to_coo
from ...coding.nonzeros import as_csr
from ...coding.store import CODES, open_codes
from ...stores import StoredArray

if TYPE_CHECKING:
    import scipy.sparse

    from ...embedding.layout import Layout


class Patches:
    """Codes of patches by image.

    Parameters
    ----------
    codes : path, dask.array.Array, or sparse or dense array
        n_images * rows_per_image x m.
    embeddings : Embeddings or Activations
        Whose rows they are of.

    Attributes
    ----------
    layout : Layout
    """

    def __init__(self, codes: Any, embeddings: Any) -> None:
        self.layout: Layout = embeddings.layout
        self._embeddings = embeddings
        self._codes, self._arrays = codes, None
        if isinstance(codes, (str, os.PathLike)):
            opened = CODES.open_whole(codes)
            arrays = opened.arrays()
            self._arrays = StoredArray(arrays["indices"]), StoredArray(arrays["values"])
            self._m = int(opened.attrs["n_components"])

    def codes_of(self, image: int) -> scipy.sparse.csr_matrix:
        """Codes of the rows of an image, (rows_per_image, m)."""
        rows = self._embeddings.image_rows(image)
        if self._arrays is None:
            part = self._codes[rows]
            return as_csr(part.compute() if hasattr(part, "compute") else part)
        indices, values = (np.asarray(array[rows]) for array in self._arrays)
        return as_csr(codes_to_coo(Codes(indices, values), self._m))

    def heat(self, atom: int, image: int) -> np.ndarray:
        """Coefficients of an atom over the patches of an image.

        Parameters
        ----------
        atom, image : int

        Returns
        -------
        (height, width) float32 array
            0 where a patch does not use the atom, NaN where a patch is no row.
        """
        found = self.codes_of(image)[:, [atom]].toarray()[:, 0]
        places = self._embeddings.positions(image)
        heat = np.full(self.layout.grid[0] * self.layout.grid[1], np.nan, np.float32)
        inside = places >= 0  # the class token lies nowhere
        heat[places[inside]] = found[inside]
        return heat.reshape(self.layout.grid)


def open_patches(codes: Any, embeddings: Any) -> tuple[Patches | None, Any]:
    """Codes of patches to look at, and codes with a row an image.

    Parameters
    ----------
    codes : path or array
    embeddings : Embeddings or Activations, optional
        Of the same rows, or images.

    Returns
    -------
    patches : Patches or None
        None where codes are of images, or nothing tells of a grid.
    codes : path or array
        By image; a path is left, as its index is by image.
    """
    layout, each = getattr(embeddings, "layout", None), rows_per_image_of(codes)
    named = isinstance(codes, (str, os.PathLike))
    shape = open_codes(codes).shape if named else getattr(codes, "shape", None)
    if layout is None or not shape or shape[0] != embeddings.n_images * layout.rows_per_image:
        return None, codes
    if layout.rows_per_image == 1:
        return None, codes
    by_image = codes if each == layout.rows_per_image else image_codes(codes, layout.rows_per_image)
    return Patches(codes, embeddings), by_image
