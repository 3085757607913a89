"""What a fit leaves: dictionary, history, and the way to codes and back."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from ..arguments import integer
from ..execution import WORKER_TIMEOUT, make_executor
from ..interop import writing
from ..rows import Reader
from ..tracking.parts import shows_parts
from . import saving
from .codes import Codes
from .stopping import restopped
from .thresholds import Found, find_target
from .turns import Turns

if TYPE_CHECKING:
    import os

    import xarray as xr
    from distributed import Client

    from ..coding.target import Pursuit
    from ..interop.parts import Rows
    from ..rows.source import ArrayLike, MissingChunks
    from .stopping import Threshold


class Result(Codes, Turns):
    """A learned dictionary with everything needed to use it.

    Attributes
    ----------
    dictionary : xarray.DataArray
        Dimensions (atom, feature), unit-norm rows. With ``whiten`` these are
        the atoms of the whitened space, turned back onto the features.
    history : xarray.Dataset
        Per pass (``relative_error``, ``relative_error_original``, ``fvu``,
        ``mean_nonzeros``, ``used_atoms``, ``replaced_atoms``,
        ``holdout_error``, ``seconds``, ``rows_per_second``, ``kind``) and per
        wave (the same names after ``wave_``).
    stop_reason : str
        ``"max_passes"``, ``"tol"``, ``"max_time"``, ``"callback"``,
        ``"interrupted"``, or ``"partial_fit"`` for a stream.
    settings : dict
        The arguments of the fit, and its seed and seconds; with a threshold by ``"noise"`` also the
        ``false_discovery_rate``.
    coder : daskksvd.SparseCoder
        What codes are made with: the dictionary, as it is coded with, the
        transform of samples and the sparsity target.
    encoder : daskksvd.coding.OneShot or None
        What `fit_encoder` found, for codes without pursuit.
    stability : xarray.Dataset or None
        Of a `daskksvd.consensus`, by ``atom``: ``likeness``, how near fits of other seeds come to
        it, and ``recurrence``, the share of fits that found it. None for a single fit.
    """

    @shows_parts("threshold")
    def with_target(
        self,
        array: ArrayLike | None = None,
        *,
        n_nonzero_coefs: int | None = None,
        rtol: float | None = None,
        threshold: float | Threshold | None = None,
        nonnegative: bool | None = None,
        pursuit: Pursuit | None = None,
        client: Client | None = None,
        missing_chunks: MissingChunks = "error",
        worker_timeout: float | None = WORKER_TIMEOUT,
        progress: bool = False,
    ) -> Result:
        """The same dictionary, to code by another target.

        Parameters
        ----------
        array : as for `encode`, optional
            Samples for ``threshold="mean"`` or ``"noise"``, which look at some thousand; better not those
            learned from, where there were few for each atom.
        n_nonzero_coefs, rtol, threshold : optional
            When the coding of a row stops, as for `daskksvd.fit`: those that are given, and no others;
            without any as here.
        nonnegative, pursuit : optional
            As for `daskksvd.fit`; by default as here.
        client, missing_chunks, worker_timeout, progress : optional
            As for `write_codes`.

        Returns
        -------
        Result
            With the history of this one. An encoder is left out: it was fitted to other codes.

        Examples
        --------
        >>> import daskksvd
        >>> rows = daskksvd.datasets.make_planted(2_000, 16, 32, 3, random_state=0).array
        >>> result = daskksvd.fit(rows, n_components=32, n_nonzero_coefs=3, random_state=1)
        >>> result.with_target(rows, n_nonzero_coefs=2, threshold="mean").coder.target.n_nonzero_coefs
        4
        """
        stops = {"n_nonzero_coefs": n_nonzero_coefs, "rtol": rtol, "threshold": threshold}
        stopping = restopped(self.coder, **stops, nonnegative=nonnegative, pursuit=pursuit)
        rule = stopping.threshold if isinstance(stopping.threshold, str) else None
        if (array is None) != (rule is None):
            given = "threshold" if array is None else "array"
            raise ValueError(f"{given} was given alone; threshold='mean' or 'noise' goes with array")
        coder = self.coder.with_target(stopping.target(self.dictionary.sizes["feature"]))
        found = Found(coder.target, None)
        if rule is not None:
            source = self._source(array, missing_chunks, worker_timeout)
            executor = make_executor(client, worker_timeout=worker_timeout)
            try:
                found = find_target(rule, Reader(source, executor), coder)
            finally:
                executor.close()
        settings = {**self.settings, **stopping._asdict(), "false_discovery_rate": found.false_discovery_rate}
        parts = (self.dictionary.values, coder.transform, found.target, self.history, self.stop_reason)
        return Result(*parts, settings, *self._features(), stability=self.stability)

    def first(self, n_atoms: int) -> Result:
        """The result of the first atoms alone, which ``groups`` learns to be a dictionary of their own.

        Of a `daskksvd.consensus` they are those that recur most.

        Parameters
        ----------
        n_atoms : int
            At most as many as there are.

        Returns
        -------
        Result
            With the history of this one, codes of at most ``n_atoms`` nonzeros and no encoder.

        Examples
        --------
        >>> import daskksvd
        >>> rows = daskksvd.datasets.make_planted(2_000, 16, 32, 3, random_state=0).array
        >>> result = daskksvd.fit(rows, n_components=32, n_nonzero_coefs=3, groups=[8], random_state=1)
        >>> result.first(8).dictionary.sizes["atom"]
        8
        """
        n_atoms, m = integer("n_atoms", n_atoms, 1), len(self.dictionary)
        if n_atoms > m:
            raise ValueError(f"n_atoms={n_atoms} is more than the {m} atoms there are")
        target = self.coder.target
        target = target._replace(n_nonzero_coefs=min(target.n_nonzero_coefs, n_atoms))
        settings = {**self.settings, "n_components": n_atoms, "n_nonzero_coefs": target.n_nonzero_coefs}
        if "false_discovery_rate" in settings:  # which is of codes with all atoms
            settings["false_discovery_rate"] = None
        atoms = self.dictionary.values[:n_atoms]
        parts = (atoms, self.coder.transform, target, self.history, self.stop_reason)
        stability = None if self.stability is None else self.stability.isel(atom=slice(n_atoms))
        return Result(*parts, settings, *self._features(), stability=stability)

    def to_dataset(self) -> xr.Dataset:
        """Everything as one `xarray.Dataset`, as `save` stores it."""
        return saving.to_dataset(self)

    def save(self, path: str | os.PathLike[str], *, overwrite: bool = False) -> None:
        """Save as a Zarr group that `xarray.open_zarr` reads too.

        Parameters
        ----------
        path : str or path
        overwrite : bool
            Whether a result that is there may be replaced.

        Raises
        ------
        FileExistsError, ValueError
            If something is there that may not be replaced.
        DiskFull
            If there is no room; a result that was there stays.
        """
        saving.save(self, path, overwrite)

    def export(
        self,
        format: writing.Format,
        path: str | os.PathLike[str],
        *,
        architecture: writing.Architecture | None = None,
        rows: Rows = "raw",
        metadata: dict[str, Any] | None = None,
        overwrite: bool = False,
    ) -> None:
        """Write an autoencoder of another package, with atoms of signed codes twice, as ``[D; -D]``.

        Parameters
        ----------
        format : {"saelens", "overcomplete", "saev", "visaebench"}
            The first and the last are folders, the others files.
        path : str or path
        architecture : {"topk", "jumprelu", "matching_pursuit", "pursuit"}, optional
            The encoder of `fit_encoder` with k latents a row, or on average; matching pursuit, which refits
            nothing; of SAELens the codes of `encode`, where `daskksvd.interop.saelens` is imported. The
            ``topk`` of overcomplete is for a ``TopKSAE`` with
            ``dictionary_params={"normalization": "identity"}``: norms of its atoms are gains of the encoder.
        rows : {"raw", "transformed"}
            Whether preprocessing is folded in, or rows will be ``result.coder.transformed(rows)``.
        metadata : dict, optional
            For SAELens, such as ``model_name`` and ``hook_name``, and ViSAEBench.
        overwrite : bool

        Raises
        ------
        ValueError, FileExistsError
            If the format cannot hold what was asked for, or something is there that may not be replaced.
        """
        writing.export(self.coder, self.encoder, format, path, architecture, rows, metadata, overwrite)


def load(path: str | os.PathLike[str]) -> Result:
    """Load a result saved by `Result.save`.

    Parameters
    ----------
    path : str or path

    Returns
    -------
    Result

    Raises
    ------
    FileNotFoundError, ValueError
        If there is no result.
    DamagedStore
        If a file of it is missing or is not what was written; the message names it.
    """
    return Result(*saving.read(path))
