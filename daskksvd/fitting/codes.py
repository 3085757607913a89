"""Samples to codes by what was learned, and back."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Self

from ..coding.formats import decode
from ..coding.how import check_device
from ..coding.inputs import plain_codes
from ..coding.writing import write_codes
from ..execution import WORKER_TIMEOUT, make_executor
from ..tracking.parts import shows_parts
from .encoder import fit_encoder
from .learned import Learned, Method
from .measuring import measure

if TYPE_CHECKING:
    import os

    import dask.array as da
    import numpy as np
    from distributed import Client

    from ..coding.inputs import CodesLike
    from ..rows.source import ArrayLike, MissingChunks


class Codes(Learned):
    """The methods of a `Result` that code samples."""

    @shows_parts("encoder")
    def fit_encoder(
        self,
        array: ArrayLike,
        *,
        client: Client | None = None,
        missing_chunks: MissingChunks = "error",
        worker_timeout: float | None = WORKER_TIMEOUT,
        progress: bool = False,
    ) -> Self:
        """Fit a linear encoder to the codes of samples, for codes without pursuit; returns the result itself.

        A ridge regression of codes on samples, by two passes of sums. It is what `export` takes, and `encode`
        with ``method="oneshot"``: such codes leave about a tenth more of the variance than those of pursuit.

        Parameters
        ----------
        array : as for `encode`
        client, missing_chunks, worker_timeout, progress : as for `evaluate`
        """
        source = self._source(array, missing_chunks, worker_timeout)
        executor = make_executor(client, worker_timeout=worker_timeout)
        try:
            self.encoder = fit_encoder(source, self.coder, executor)
        finally:
            executor.close()
        return self

    def encode(
        self,
        array: ArrayLike,
        *,
        method: Method = "pursuit",
        missing_chunks: MissingChunks = "error",
        device: str | None = None,
    ) -> da.Array:
        """Sparse codes of samples, lazily.

        Parameters
        ----------
        array : as for `daskksvd.fit`
            n x d. Features with names must have those learned on, in their order.
        method : {"pursuit", "oneshot"}
            ``"oneshot"``: atoms of the largest scores of the encoder, refitted; see `fit_encoder`.
        missing_chunks : {"error", "fill"}
            Whether chunks that a Zarr array lacks are refused, or read as its
            fill value.
        device : str, optional
            Where samples are coded; see `daskksvd.fit`.

        Returns
        -------
        dask.array.Array
            n x m, chunks of `sparse.COO` as tall as those of ``array``.

        Notes
        -----
        A row has the same code whatever rows are coded with it, but for one kernel
        of OpenBLAS: in float32 on processors with AVX2 and without AVX-512 the last
        bits of a product depend on the place of the row. Where two atoms fit a row
        alike but for rounding, as copies do, or atoms and rows of small integers,
        other chunks may there give it the other of the two, and after it other atoms.
        """
        return self._coder(method).on(check_device(device)).encode(self._source(array, missing_chunks).array)

    def write_codes(
        self,
        array: ArrayLike,
        path: str | os.PathLike[str],
        *,
        client: Client | None = None,
        overwrite: bool = False,
        method: Method = "pursuit",
        missing_chunks: MissingChunks = "error",
        told: Callable[[int, int], Any] | None = None,
        worker_timeout: float | None = WORKER_TIMEOUT,
        device: str | None = None,
        progress: bool = False,
    ) -> None:
        """Code samples straight into a Zarr store; `daskksvd.open_codes` reads it.

        The store holds two plain arrays of fixed width, ``indices`` (int32,
        -1 where unused) and ``values``. A call that was killed goes on where it
        was when it is made again.

        Parameters
        ----------
        array : as for `encode`
        path : str or path
        client : distributed.Client, optional
        overwrite : bool
            Whether a store of codes that is there may be replaced.
        method, missing_chunks : as for `encode`
        told : callable, optional
            Where an earlier call is gone on with, ``told(done, chunks)`` is called
            with the number of chunks that it wrote, and of all.
        worker_timeout : float, optional
            Seconds to wait for workers that are gone; see `daskksvd.fit`.
        device : str, optional
            Where samples are coded; see `daskksvd.fit`.
        progress : bool
            Whether to show a bar of the chunks that are done.

        Raises
        ------
        FileExistsError, ValueError
            If something is there that may not be replaced, or another process writes there.
        DiskFull
            If there is no room; what was coded is kept.
        """
        how = {
            "client": client,
            "overwrite": overwrite,
            "told": told,
            "worker_timeout": worker_timeout,
            "device": device,
            "progress": progress,
        }
        coder = self._coder(method)
        write_codes(self._source(array, missing_chunks, worker_timeout), path, coder, **how)

    def decode(self, codes: CodesLike) -> da.Array | np.ndarray:
        """Samples from codes: ``X @ decoder + mean``.

        Parameters
        ----------
        codes : dask.array.Array, sparse.COO, SciPy sparse or dense array, xarray.DataArray, DataFrame
            n x m, one column an atom, in the order of the dictionary.

        Returns
        -------
        dask.array.Array or numpy.ndarray
            n x d; lazy if ``codes`` is.
        """
        m = len(self.dictionary)
        codes = plain_codes(codes)
        if getattr(codes, "ndim", None) != 2 or codes.shape[1] != m:
            raise ValueError(
                f"codes has shape {getattr(codes, 'shape', None)}; it must be n x {m}, one column an atom"
            )
        return decode(codes, self.decoder, self.mean)

    @shows_parts("figures")
    def evaluate(
        self,
        array: ArrayLike,
        *,
        client: Client | None = None,
        method: Method = "pursuit",
        missing_chunks: MissingChunks = "error",
        worker_timeout: float | None = WORKER_TIMEOUT,
        device: str | None = None,
        progress: bool = False,
    ) -> dict[str, Any]:
        """Code samples and measure what is left of them.

        Parameters
        ----------
        array : as for `encode`
        client : distributed.Client, optional
        method, missing_chunks : as for `encode`
        worker_timeout : float, optional
            Seconds to wait for workers that are gone; see `daskksvd.fit`.
        device : str, optional
            Where samples are coded; see `daskksvd.fit`.
        progress : bool
            Whether to show a bar of the parts of each pass that are done.

        Returns
        -------
        dict
            ``relative_error`` (in the coding space), ``relative_error_original``
            (in the metric of the data), ``fvu`` (fraction of the variance of
            ``array`` unexplained), ``mean_nonzeros``, ``used_atoms``, ``n_samples``.
        """
        coder, device = self._coder(method), check_device(device)
        source = self._source(array, missing_chunks, worker_timeout)
        executor = make_executor(client, worker_timeout=worker_timeout)
        try:
            return measure(source, coder, executor, device)
        finally:
            executor.close()

    def score(
        self,
        array: ArrayLike,
        *,
        client: Client | None = None,
        missing_chunks: MissingChunks = "error",
        worker_timeout: float | None = WORKER_TIMEOUT,
        device: str | None = None,
        progress: bool = False,
    ) -> float:
        """Share of the variance of ``array`` that codes explain, ``1 - fvu``; `evaluate` gives the errors."""
        found = self.evaluate(
            array,
            client=client,
            missing_chunks=missing_chunks,
            worker_timeout=worker_timeout,
            device=device,
            progress=progress,
        )
        return 1 - found["fvu"]
