"""`SparseCoder`: a dictionary, and how rows are coded with it."""

from __future__ import annotations

import dataclasses
import functools
from typing import TYPE_CHECKING, Any, NamedTuple

import dask
import dask.array as da
import numpy as np
import sparse

from ..execution import Once
from ..machine.blas import single_threaded_blas
from ..rows import Transform
from ..rows.blocks import plain
from .cost import process_bytes, row_flops
from .formats import codes_to_coo, decode, no_codes
from .how import How, choose_products
from .products import code_rows, make_products
from .target import SparsityTarget

if TYPE_CHECKING:
    import numpy.typing as npt

    from .oneshot import OneShot
    from .products import Products


class Cost(NamedTuple):
    """What coding takes.

    Attributes
    ----------
    process_bytes : int
        Memory of every process for the dictionary and its products.
    row_flops : int
        Operations for each row, about.
    """

    process_bytes: int
    row_flops: int


@dataclasses.dataclass(frozen=True, eq=False)
class SparseCoder:
    """A dictionary, and how rows are coded with it. Never changed.

    Attributes
    ----------
    dictionary : (m, d') float array
        Unit atoms in the space of transformed rows, where they are coded.
    transform : rows.Transform
        From rows to that space.
    target : SparsityTarget
        When the coding of a row stops.
    encoder : OneShot, optional
        Scores to code by in place of pursuit; see `daskksvd.Result.fit_encoder`.
    how : How or None
        How products of rows and atoms are made, and on what device; None lets every
        process choose what is fastest there.
    prefixes : tuple of int
        Orthogonal matching pursuit takes atoms from the first so many as long as one correlates by the
        threshold, or, without one, for its share of the nonzeros; then from the next, and then from all.

    Notes
    -----
    Each process makes the products that coding takes (inner products of atoms,
    atoms of fewer bits) once.
    """

    dictionary: np.ndarray
    transform: Transform
    target: SparsityTarget
    encoder: OneShot | None = None
    how: How | None = None
    prefixes: tuple[int, ...] = ()

    @classmethod
    def of_atoms(cls, atoms: np.ndarray, transform: Transform, target: SparsityTarget) -> SparseCoder:
        """The coder of a dictionary (m, d) on the features of the rows."""
        return cls(np.ascontiguousarray(transform.to_coding(atoms)), transform, target)

    @property
    def atoms(self) -> np.ndarray:
        """The dictionary on the features of the rows, (m, d)."""
        return self.transform.from_coding(self.dictionary)

    def with_dictionary(self, dictionary: np.ndarray) -> SparseCoder:
        """The same with another dictionary."""
        return dataclasses.replace(self, dictionary=dictionary)

    def with_encoder(self, encoder: OneShot | None) -> SparseCoder:
        """The same, coding by the scores of an encoder."""
        return dataclasses.replace(self, encoder=encoder)

    def on(self, device: str | None) -> SparseCoder:
        """The same on a device, see `daskksvd.fit`: that of whoever codes."""
        if device is None:
            return self
        return dataclasses.replace(self, how=(self.how or How(choose_products(self)))._replace(device=device))

    def with_target(self, target: SparsityTarget) -> SparseCoder:
        """The same, stopping where another target says."""
        return dataclasses.replace(self, target=target)

    @property
    def cost(self) -> Cost:
        """What coding takes, a `Cost`."""
        m, d = self.dictionary.shape
        width = self.target.n_nonzero_coefs
        return Cost(process_bytes(m, d, self.dictionary.itemsize), row_flops(m, d, width))

    def encode(self, rows: npt.ArrayLike | da.Array) -> sparse.COO | da.Array:
        """Sparse codes of rows.

        Parameters
        ----------
        rows : (n, d) array or dask.array.Array

        Returns
        -------
        sparse.COO or dask.array.Array
            n x m; a Dask array is coded lazily, chunk by chunk.

        Raises
        ------
        ValueError
            If rows have another number of features, or values that are not finite.
        """
        self._check(rows)
        if not isinstance(rows, da.Array):
            return _encode_chunk(np.asanyarray(rows), self._products)
        lazy: da.Array = rows if rows.numblocks[1] == 1 else rows.rechunk({1: -1})
        dtype = self.dictionary.dtype
        # one node of the graph makes the products; chunks refer to it
        products = dask.delayed(make_products, pure=True)(self._cast())
        return da.map_blocks(
            _encode_chunk,
            lazy,
            products=products,
            chunks=(lazy.chunks[0], (len(self.dictionary),)),
            dtype=dtype,
            meta=no_codes(dtype),
        )

    def decode(self, codes: npt.ArrayLike | sparse.SparseArray | da.Array) -> np.ndarray | da.Array:
        """Rows from codes (n, m), on their own features; lazy if codes are."""
        atoms = self.transform._replace(mean=None).undo(self.dictionary.astype(np.float64))
        return decode(codes, atoms.astype(self.dictionary.dtype), self.transform.mean)

    def residual(self, rows: np.ndarray | da.Array) -> np.ndarray | da.Array:
        """What coding leaves of rows (n, d), on their own features; lazy if rows are."""
        return rows - self.decode(self.encode(rows))

    def transformed(self, rows: np.ndarray) -> np.ndarray:
        """Rows as they are coded, a new array of the dtype of the dictionary."""
        return self._cast().transform.apply(rows, self.dictionary.dtype)

    def shared(self) -> Once:
        """As tasks share it: its products, made once in every process."""
        return Once(make_products, (self._cast(),), everywhere=True)

    # -------------------------------------------------------------- helpers

    def _check(self, rows: npt.ArrayLike | da.Array) -> None:
        d = self.dictionary.shape[1]
        if len(np.shape(rows)) != 2 or np.shape(rows)[1] != d:
            raise ValueError(f"rows has shape {np.shape(rows)}; it must be n x {d}")

    def _cast(self) -> SparseCoder:
        """The same, its transform as coding takes it: half as many bytes to send in float32."""
        return dataclasses.replace(self, transform=self.transform.cast(self.dictionary.dtype))

    @functools.cached_property
    def _products(self) -> Products:
        return make_products(self)

    def __getstate__(self) -> dict[str, Any]:
        """Without the products, which every process makes for itself."""
        return {field.name: getattr(self, field.name) for field in dataclasses.fields(self)}

    def __sizeof__(self) -> int:
        """Bytes of its arrays, of which Dask asks."""
        arrays = [self.dictionary, *(part for part in self.transform if part is not None)]
        arrays += [] if self.encoder is None else self.encoder[:3]
        return object.__sizeof__(self) + sum(array.nbytes for array in arrays)


def _encode_chunk(raw: Any, products: Products, block_info: Any = None) -> sparse.COO:
    offset = block_info[0]["array-location"][0][0] if block_info else 0
    with single_threaded_blas():  # as in jobs: its bits depend on its number of threads
        codes = code_rows(plain(raw, offset), products, offset)
    return codes_to_coo(codes, products.n_components)
