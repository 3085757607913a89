"""What a fit leaves: dictionary, history, and the way to codes and back."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, Literal, TypeAlias, get_args

import numpy as np

from ..arguments import choice, integer
from ..cards import card, curve, details
from ..coding import OneShot, SparseCoder
from ..coding.formats import decode
from ..coding.how import check_device
from ..coding.inputs import plain_codes
from ..coding.writing import write_codes
from ..execution import WORKER_TIMEOUT, make_executor
from ..interop import writing
from ..rows import Reader, as_source
from ..rows.features import check_features
from ..rows.names import check_names
from ..tracking.parts import shows_parts
from ..turning import Intervention, as_turn, turn_rows
from . import saving
from .encoder import fit_encoder
from .measuring import measure
from .stopping import restopped
from .thresholds import Found, find_target

if TYPE_CHECKING:
    import os

    import dask.array as da
    import numpy.typing as npt
    import xarray as xr
    from distributed import Client

    from ..coding.inputs import CodesLike
    from ..coding.target import Pursuit, SparsityTarget
    from ..interop.parts import Rows
    from ..rows import Source
    from ..rows.source import ArrayLike, MissingChunks
    from ..rows.transform import Transform
    from ..turning import Mode, Tokens
    from .stopping import Threshold

Method: TypeAlias = Literal["pursuit", "oneshot"]


class Result:
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

    encoder: OneShot | None = None  # also of results that an earlier version pickled
    stability: xr.Dataset | None = None

    def __init__(
        self,
        dictionary: np.ndarray,
        transform: Transform,
        target: SparsityTarget,
        history: xr.Dataset,
        stop_reason: str,
        settings: dict[str, Any],
        feature_names: npt.ArrayLike | None = None,
        dims: Sequence[str] | None = None,
        encoder: OneShot | None = None,
        stability: xr.Dataset | None = None,
    ) -> None:
        import xarray as xr

        m, d = dictionary.shape
        names = check_names(feature_names, "result") if feature_names is not None else np.arange(d)
        about: dict[str, Any] = {"long_name": saving.NUMBERED if feature_names is None else saving.NAMED}
        if dims is not None:
            about["sample_dims"] = list(dims)
        self.dictionary = xr.DataArray(
            dictionary,
            dims=("atom", "feature"),
            coords={"atom": np.arange(m), "feature": ("feature", names, about)},
            name="dictionary",
            attrs={"long_name": saving.RESULT.variables["dictionary"].meaning},
        )
        self.history = history
        self.stop_reason = stop_reason
        self.settings = settings
        self.coder = SparseCoder.of_atoms(dictionary, transform, target)
        self.encoder = encoder
        self.stability = stability

    def __repr__(self) -> str:
        m, d = self.dictionary.shape
        passes = self.history.sizes["pass"]
        error = f", relative error {float(self.history.relative_error[-1]):.4f}" if passes else ""
        return (
            f"<daskksvd.Result: {m} atoms of {d} features, "
            f"{passes} pass{'es' if passes != 1 else ''}{error}, stopped by {self.stop_reason}>"
        )

    def _repr_html_(self) -> str:
        m, d = self.dictionary.shape
        passes = self.history.sizes["pass"]
        errors = self.history.relative_error.values.tolist()
        seconds = self.settings.get("seconds")
        facts: dict[str, object] = {
            "dictionary": f"{m:,} atoms of {d:,} features, {self.dictionary.dtype}",
            "codes stop at": self.coder.target.told(),
            "samples": self.coder.transform.told(),
            "learned": f"{passes} pass{'es' if passes != 1 else ''}"
            + ("" if seconds is None else f" in {seconds:,.1f} s")
            + f", stopped by {self.stop_reason}",
        }
        if passes:
            facts["relative error"] = f"{errors[-1]:.4f}"
            facts["variance explained"] = f"{1 - float(self.history.fvu[-1]):.1%}"
            facts["error by pass"] = curve(errors) or None
        if self.stability is not None:
            facts["fits agree"] = saving.agreement(self.stability)
        settings = {name: value for name, value in self.settings.items() if value is not None}
        return card("daskksvd.Result", facts, details("settings", settings), fallback=repr(self))

    @property
    def mean(self) -> np.ndarray | None:
        """Mean subtracted before coding, (d,) float64, or None."""
        return self.coder.transform.mean

    @property
    def decoder(self) -> np.ndarray:
        """Atoms as they add up to samples, (m, d): ``Y ~ X @ decoder + mean``.

        The dictionary itself, unless samples were scaled or whitened.
        """
        return self.coder.transform.decoder(self.dictionary.values).astype(self.dictionary.dtype)

    @property
    def false_discovery_rate(self) -> float | None:
        """Share of atoms in codes that are noise, as ``threshold="noise"`` estimated; None without that."""
        return self.settings.get("false_discovery_rate")

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

    # ------------------------------------------------------ coding and back

    @shows_parts("encoder")
    def fit_encoder(
        self,
        array: ArrayLike,
        *,
        client: Client | None = None,
        missing_chunks: MissingChunks = "error",
        worker_timeout: float | None = WORKER_TIMEOUT,
        progress: bool = False,
    ) -> Result:
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

    # ------------------------------------------------------------- turning

    def intervene(
        self,
        array: ArrayLike,
        atoms: Mapping[int, float],
        *,
        mode: Mode = "set",
        method: Method = "pursuit",
        missing_chunks: MissingChunks = "error",
        device: str | None = None,
    ) -> np.ndarray | da.Array:
        """Samples with some atoms turned: ``x + decode(z') - decode(z)`` for a sample x with the code z.

        What the code leaves of a sample stays in it, and samples that a turn does not change keep their bits.

        Parameters
        ----------
        array : as for `encode`
        atoms : dict of int to float
            Atom -> value; ``{17: 0.0}`` turns atom 17 off.
        mode : {"set", "add", "scale"}
            The coefficient becomes the value, in all samples; or the value is added to it; or multiplied with
            it, which leaves samples as they are that do not use the atom. Of non-negative codes, sums under
            zero become zero.
        method, missing_chunks, device : as for `encode`

        Returns
        -------
        numpy.ndarray or dask.array.Array
            n x d, an array for an array in memory, lazy for all else; of the dtype of the samples, or that of
            the dictionary where it is wider.

        Raises
        ------
        TypeError, ValueError
            If there is no such atom, or a value that its coefficient cannot have.

        Notes
        -----
        Codes of the samples returned need not be z': atoms overlap, and pursuit may explain them otherwise.

        Examples
        --------
        >>> import daskksvd
        >>> rows = daskksvd.datasets.make_planted(500, 16, 32, 3, random_state=0).array.compute()
        >>> result = daskksvd.fit(rows, n_components=32, n_nonzero_coefs=3, random_state=1)
        >>> turned = result.intervene(rows, {5: 0.0})
        >>> uses = result.encode(rows).compute().todense()[:, 5] != 0
        >>> bool(((turned != rows).any(axis=1) == uses).all())
        True
        """
        coder = self._coder(method)
        turn = as_turn(atoms, mode, coder)
        coder = coder.on(check_device(device))
        here = isinstance(array, (np.ndarray, list, tuple))
        return turn_rows(self._source(array, missing_chunks).array, coder, turn, here=here)

    def intervening(
        self,
        model: Any,
        layer: int | str | Any,
        atoms: Mapping[int, float],
        *,
        mode: Mode = "set",
        tokens: Tokens = "all",
        patches: npt.ArrayLike | None = None,
        method: Method = "pursuit",
        device: str | None = None,
    ) -> Intervention:
        """The same inside a model of PyTorch, in a ``with`` block: what a layer gives has atoms turned.

        Parameters
        ----------
        model : torch.nn.Module
            A Vision Transformer of transformers, open_clip or timm, CLIP's kin among them; any model, where
            the layer is given as a module.
        layer : int, str or torch.nn.Module
            A number as `daskksvd.embed` counts them: 0 is what enters the first block, 3 what leaves the
            third. Or a module of the model, or its name, such as ``"visual_projection"``.
        atoms, mode, method, device : as for `intervene`
        tokens : {"all", "cls", "patches", "cls+patches", "mean", "cls+mean"}
            What the samples were that the dictionary was learned on: single tokens of these kinds, each
            turned by itself; or the mean of an image's patches, after its class token or alone, of which
            every patch then takes the change. Register tokens are in none but ``"all"``. Of no account for
            layers that give one row an image.
        patches : array of int, optional
            Patches that are turned, by their number in the grid, row by row from 0; all by default. With
            tokens ``"patches"`` or ``"cls+patches"``.

        Returns
        -------
        daskksvd.turning.Intervention
            Which counts rows, and warns where the layer did not run.

        Examples
        --------
        >>> with result.intervening(model, 11, {17: 0.0}, tokens="patches") as turned:  # doctest: +SKIP
        ...     after = model(pixel_values).last_hidden_state
        """
        coder = self._coder(method)
        turn = as_turn(atoms, mode, coder)
        return Intervention(coder.on(check_device(device)), model, layer, turn, tokens, patches)

    # ---------------------------------------------------- saving and loading

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

    # -------------------------------------------------------------- helpers

    def _coder(self, method: Method) -> SparseCoder:
        """What codes by a method."""
        choice("method", method, get_args(Method))
        if method == "pursuit":
            return self.coder
        if self.encoder is None:
            raise ValueError("method='oneshot' takes an encoder, and none was fitted; call fit_encoder first")
        return self.coder.with_encoder(self.encoder)

    def _source(
        self,
        array: ArrayLike,
        missing_chunks: MissingChunks,
        worker_timeout: float | None = WORKER_TIMEOUT,
    ) -> Source:
        source = as_source(array, missing_chunks=missing_chunks, worker_timeout=worker_timeout)
        check_features(source, *self._features())
        d = self.dictionary.sizes["feature"]
        if source.d != d:
            raise ValueError(f"array has {source.d} features; the dictionary was learned on {d}")
        return source

    def _features(self) -> tuple[list | None, tuple[str, ...] | None]:
        """Names of the features and of the dimensions of samples, None each where there are none."""
        feature = self.dictionary.feature
        named = feature.attrs.get("long_name") == saving.NAMED
        dims = feature.attrs.get("sample_dims")
        return list(feature.values) if named else None, None if dims is None else tuple(dims)


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
