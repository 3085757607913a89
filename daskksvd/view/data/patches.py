"""Where in an image an atom is: codes of patches, an image at a time."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from ...coding.by_image import image_codes, rows_per_image_of
from ...coding.codes import Codes
from ...coding.formats import codes_to_coo
from ...coding.nonzeros import as_csr
from ...coding.store import CODES, open_codes
from ...stores import StoredArray
from .once import once

if TYPE_CHECKING:
    import scipy.sparse

    from ...embedding.layout import Layout
    from .atom_index import AtomIndex

SCALED = 32
"""Strongest images that are read at most for the largest coefficient of an atom in patches, where class
tokens are rows, too: each takes a millisecond or some."""


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

    def seen(self, image: int, width: int, height: int) -> tuple[float, float, float, float]:
        """What the model saw of an image: left, upper, right, lower edge as shares of its sides.

        Parameters
        ----------
        image, width, height : int
            The size of the copy that is shown.
        """
        return self._embeddings.seen(image, width, height)

    def atoms_of(self, image: int) -> pd.DataFrame:
        """Atoms that an image uses.

        Parameters
        ----------
        image : int

        Returns
        -------
        pandas.DataFrame
            By atom: ``coefficient``, of largest magnitude among its patches, ``patches`` that use it,
            both 0 where only the class token does, and ``class_token``, the coefficient there, NaN where
            that is no row. The largest magnitude in patches first.
        """
        codes = self.codes_of(image)
        inside = self.places(image) >= 0
        atoms = np.unique(codes.indices)
        values = codes[:, atoms].toarray()
        patches, token = values[inside], values[~inside]
        strongest = np.abs(patches).argmax(0)
        table = pd.DataFrame(
            {
                "coefficient": patches[strongest, np.arange(len(atoms))],
                "patches": (patches != 0).sum(0),
                "class_token": token[0] if len(token) else np.full(len(atoms), np.nan),
            },
            index=pd.Index(atoms, name="atom"),
        )
        return table.iloc[np.argsort(-np.abs(table.coefficient.to_numpy()), kind="stable")]

    @once
    def largest(self, index: AtomIndex, atom: int) -> float:
        """The largest magnitude of an atom's coefficients in patches; 0 where these do not use it.

        The index has the strongest row of every image. Where that may be its class token, whose
        coefficients are of another size, it is the largest in patches of the 32 strongest images.

        Parameters
        ----------
        index : AtomIndex
            Of the codes by image.
        atom : int
        """
        uses, reach = int(index.uses[atom]), SCALED if self.layout.cls else 1
        found: dict[int, float] = {}
        for cut in ((0, reach), (max(0, uses - reach), uses)):
            rows, values = index.activations(atom, *cut)
            found.update(zip(rows.tolist(), np.abs(values).tolist(), strict=True))
        if not self.layout.cls:
            return max(found.values(), default=0.0)
        largest = 0.0
        for row in sorted(found, key=found.__getitem__, reverse=True)[:reach]:
            if found[row] <= largest:
                break
            largest = max(largest, float(np.nanmax(np.abs(self.heat(atom, row)))))
        return largest

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
        return self.on_grid(self.codes_of(image)[:, [atom]].toarray()[:, 0], image)

    def places(self, image: int) -> np.ndarray:
        """Place of every row of an image in the grid, (rows_per_image,), -1 for the class token."""
        return self._embeddings.positions(image)

    def on_grid(self, values: np.ndarray, image: int) -> np.ndarray:
        """Values of the rows of an image, (rows_per_image,), on its grid, NaN where a patch is no row."""
        places = self.places(image)
        heat = np.full(self.layout.grid[0] * self.layout.grid[1], np.nan, np.float32)
        inside = places >= 0  # the class token lies nowhere
        heat[places[inside]] = values[inside]
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
