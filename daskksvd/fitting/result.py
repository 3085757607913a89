"""What a fit leaves: dictionary, history, and the way to codes and back."""

import json

import dask
import dask.array as da
import numpy as np
import sparse

from ..coding import codes_to_coo, make_coder, reconstruct
from ..coding.coder import Stopping
from ..coding.inputs import plain_codes
from ..coding.store import code_rows
from ..coding.writing import write_codes
from ..execution import WORKER_TIMEOUT
from ..machine.blas import single_threaded_blas
from ..machine.files import written_whole
from ..rows import Preprocessing, as_rows
from ..rows.blocks import plain
from ..rows.features import check_features
from ..rows.names import check_names
from ..stores import DamagedStore, Store, Variable, seal, write_dataset

UNIT_TOLERANCE = 1e-3
"""A stored atom whose norm is further than this from one is not an atom."""

_FLOATS = ("float32", "float64")

NAMED, NUMBERED = "names of the features, as the samples have them", "numbers of the features"
"""What the coordinate ``feature`` says it is."""

RESULT = Store(
    kind="result",
    format="daskksvd.result",
    version=1,
    variables={
        "dictionary": Variable(
            ("atom", "feature"), _FLOATS, "unit-norm atoms, one a row, on the original features", dense=True
        ),
        "preprocessing_mean": Variable(
            ("feature",), ("float64",), "mean subtracted from samples", optional=True
        ),
        "preprocessing_basis": Variable(
            ("feature", "component"),
            ("float64",),
            "principal components, one a column",
            optional=True,
            dense=True,
        ),
        "preprocessing_scale": Variable(
            ("component",),
            ("float64",),
            "divisor of each feature, or component, before coding",
            optional=True,
            dense=True,
        ),
    },
    refusal="not a result of daskksvd",
)
"""Beside these variables a result has its history."""

_TIMES = {"s": "seconds", "ms": "milliseconds", "us": "microseconds", "ns": "nanoseconds"}
"""Units of names that are times, as xarray reads them."""


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
        The arguments of the fit, and its seed and seconds.
    """

    def __init__(
        self,
        dictionary,
        stopping,
        preprocessing,
        history,
        stop_reason,
        settings,
        feature_names=None,
        dims=None,
    ):
        import xarray as xr

        m, d = dictionary.shape
        names = check_names(feature_names, "result") if feature_names is not None else np.arange(d)
        about = {"long_name": NUMBERED if feature_names is None else NAMED}
        if dims is not None:
            about["sample_dims"] = list(dims)
        self.dictionary = xr.DataArray(
            dictionary,
            dims=("atom", "feature"),
            coords={"atom": np.arange(m), "feature": ("feature", names, about)},
            name="dictionary",
            attrs={"long_name": RESULT.variables["dictionary"].meaning},
        )
        self.history = history
        self.stop_reason = stop_reason
        self.settings = settings
        self._stopping = stopping
        self._preprocessing = preprocessing

    def __repr__(self):
        m, d = self.dictionary.shape
        passes = self.history.sizes["pass"]
        error = f", relative error {float(self.history.relative_error[-1]):.4f}" if passes else ""
        return (
            f"<daskksvd.Result: {m} atoms of {d} features, "
            f"{passes} pass{'es' if passes != 1 else ''}{error}, stopped by {self.stop_reason}>"
        )

    @property
    def mean(self):
        """Mean subtracted before coding, (d,) float64, or None."""
        return self._preprocessing.mean

    @property
    def decoder(self):
        """Atoms as they add up to samples, (m, d): ``Y ~ X @ decoder + mean``.

        The dictionary itself, unless samples were scaled or whitened.
        """
        return self._preprocessing.decoder(self.dictionary.values).astype(self.dictionary.dtype)

    # ------------------------------------------------------ coding and back

    def encode(self, array, *, missing_chunks="error"):
        """Sparse codes of samples, lazily.

        Parameters
        ----------
        array : as for `daskksvd.fit`
            n x d. Features with names must have those learned on, in their order.
        missing_chunks : {"error", "fill"}
            Whether chunks that a Zarr array lacks are refused, or read as its
            fill value.

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
        rows = self._rows(array, missing_chunks)
        m = len(self.dictionary)
        dtype = self.dictionary.dtype
        meta = sparse.COO(np.empty((2, 0), np.int64), np.empty(0, dtype), shape=(0, 0))
        # one node of the graph makes the coder; chunks refer to it
        coder = dask.delayed(make_coder, pure=True)(self._coding_dictionary(), self._stopping)
        return da.map_blocks(
            _encode_chunk,
            rows.array,
            coder=coder,
            preprocessing=self._mapping(),
            chunks=(rows.chunk_rows, (m,)),
            dtype=dtype,
            meta=meta,
        )

    def write_codes(
        self, array, path, *, client=None, overwrite=False, missing_chunks="error", told=None,
        worker_timeout=WORKER_TIMEOUT,
    ):  # fmt: skip
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
        missing_chunks : as for `encode`
        told : callable, optional
            Where an earlier call is gone on with, ``told(done, chunks)`` is called
            with the number of chunks that it wrote, and of all.
        worker_timeout : float, optional
            Seconds to wait for workers that are gone; see `daskksvd.fit`.

        Raises
        ------
        FileExistsError, ValueError
            If something is there that may not be replaced, or another process writes there.
        DiskFull
            If there is no room; what was coded is kept.
        """
        rows, dictionary = self._rows(array, missing_chunks), self._coding_dictionary()
        how = {"client": client, "overwrite": overwrite, "told": told, "worker_timeout": worker_timeout}
        write_codes(rows, path, dictionary, self._stopping, self._mapping(), **how)

    def decode(self, codes):
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
        m, d = self.dictionary.shape
        codes = plain_codes(codes)
        if getattr(codes, "ndim", None) != 2 or codes.shape[1] != m:
            raise ValueError(
                f"codes has shape {getattr(codes, 'shape', None)}; it must be n x {m}, one column an atom"
            )
        if not isinstance(codes, da.Array):
            return _decode_chunk(codes, self.decoder, self.mean)
        if codes.numblocks[1] > 1:
            codes = codes.rechunk({1: -1})
        decoder = dask.delayed(self.decoder, pure=True)
        return da.map_blocks(
            _decode_chunk,
            codes,
            decoder=decoder,
            mean=self.mean,
            chunks=(codes.chunks[0], (d,)),
            dtype=self.dictionary.dtype,
            meta=np.empty((0, 0), self.dictionary.dtype),
        )

    def evaluate(self, array, *, client=None, missing_chunks="error", worker_timeout=WORKER_TIMEOUT):
        """Code samples and measure what is left of them.

        Parameters
        ----------
        array : as for `encode`
        client : distributed.Client, optional
        missing_chunks : as for `encode`
        worker_timeout : float, optional
            Seconds to wait for workers that are gone; see `daskksvd.fit`.

        Returns
        -------
        dict
            ``relative_error`` (in the coding space), ``relative_error_original``
            (in the metric of the data), ``fvu`` (fraction of the variance of
            ``array`` unexplained), ``mean_nonzeros``, ``used_atoms``, ``n_samples``.
        """
        from ..execution import Once, given, make_runner
        from ..rows.survey import run_survey
        from .schedule import reading_jobs
        from .statistics import MOMENTS, Wanted

        rows = self._rows(array, missing_chunks)
        coder = Once(make_coder, (self._coding_dictionary(), self._stopping), everywhere=True)
        mapping, wanted = given(self._mapping()), given(Wanted(None, 0))
        runner = make_runner(client, worker_timeout=worker_timeout)
        try:
            rows.prepare(runner)
            jobs = [rows.job(pieces) for pieces in reading_jobs(rows.chunk_rows)]
            survey = run_survey(runner, rows, jobs, np.empty(0, np.int64), False)
            survey.check_finite()
            found = runner.reduce(MOMENTS, rows, jobs, coder, mapping, wanted)
        finally:
            runner.close()
        variance = survey.variance.sum() * survey.count
        return {
            "relative_error": _root(found.residual, found.energy),
            "relative_error_original": _root(found.residual_original, found.energy_original),
            "fvu": float(found.residual_original / variance) if variance > 0 else np.nan,
            "mean_nonzeros": found.nonzeros / found.count,
            "used_atoms": int((found.uses > 0).sum()),
            "n_samples": found.count,
        }

    def score(self, array, *, client=None, missing_chunks="error", worker_timeout=WORKER_TIMEOUT):
        """Share of the variance of ``array`` that codes explain, ``1 - fvu``.

        As in scikit-learn, higher is better and 1 is best. `evaluate` gives
        the errors themselves.
        """
        how = {"client": client, "missing_chunks": missing_chunks, "worker_timeout": worker_timeout}
        return 1 - self.evaluate(array, **how)["fvu"]

    # ---------------------------------------------------- saving and loading

    def to_dataset(self):
        """Everything as one `xarray.Dataset`, as `save` stores it."""
        import xarray as xr

        variables = {"dictionary": self.dictionary}
        for name, value in self._preprocessing._asdict().items():
            if value is not None:
                stored = RESULT.variables[f"preprocessing_{name}"]
                about = {"long_name": stored.meaning}
                variables[f"preprocessing_{name}"] = (stored.dims, value, about)
        history = self.history.copy()
        kinds = sorted(set(history.kind.values.tolist()))
        codes = np.searchsorted(kinds, history.kind.values) if kinds else history.kind.values
        flags = {"flag_values": list(range(len(kinds))), "flag_meanings": " ".join(kinds)}
        history["kind"] = ("pass", codes.astype(np.int8), {**history.kind.attrs, **flags})
        dataset = xr.Dataset(variables).merge(history)
        dataset["feature"] = _stored_names(self.dictionary.feature)
        dataset.attrs = {
            **RESULT.marks,
            "feature_dtype": str(self.dictionary.feature.dtype),
            "stop_reason": self.stop_reason,
            "stopping": json.dumps(self._stopping._asdict()),
            "settings": json.dumps(self.settings),
        }
        return dataset

    def save(self, path, *, overwrite=False):
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
        path = RESULT.check_free(path, overwrite)
        dataset = self.to_dataset()
        with written_whole(path, dataset.nbytes) as place:
            write_dataset(dataset, place, {"dictionary": dataset["dictionary"].shape})
            seal(place)

    # -------------------------------------------------------------- helpers

    def _rows(self, array, missing_chunks):
        rows = as_rows(array, missing_chunks=missing_chunks)
        check_features(rows, *self._features())
        d = self.dictionary.sizes["feature"]
        if rows.d != d:
            raise ValueError(f"array has {rows.d} features; the dictionary was learned on {d}")
        return rows

    def _features(self):
        """Names of the features and of the dimensions of samples, None each where there are none."""
        feature = self.dictionary.feature
        named = feature.attrs.get("long_name") == NAMED
        dims = feature.attrs.get("sample_dims")
        return list(feature.values) if named else None, None if dims is None else tuple(dims)

    def _coding_dictionary(self):
        return np.ascontiguousarray(self._preprocessing.to_coding(self.dictionary.values))

    def _mapping(self):
        return self._preprocessing.cast(self.dictionary.dtype)


def load(path):
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
    opened = RESULT.open(path)
    path = opened.path
    opened.verify()
    try:
        return _loaded(opened.dataset(), path)
    except DamagedStore:
        _check_atoms_at(path)  # which says more, where others wrote into the store
        raise
    except (KeyError, TypeError, AttributeError, json.JSONDecodeError) as error:
        raise DamagedStore(
            f"path={path!r} is a damaged result ({type(error).__name__}: {error}); save it again"
        ) from error


def _check_atoms_at(path):
    """Refuse a dictionary that is whole, but not one of ours."""
    import zarr

    try:
        dictionary = zarr.open_group(path, mode="r")["dictionary"][:]
    except Exception:  # it is damaged itself
        return
    check_atoms(dictionary, f"path={path!r}: the dictionary")


def _loaded(dataset, path):
    """A result from its stored variables."""
    for name in ("dictionary", "kind"):
        if name not in dataset:
            raise ValueError(f"path={path!r} is a damaged result: there is no {name} in it")
    for name, (dims, *_) in RESULT.variables.items():
        if name in dataset and dataset[name].dims != dims:
            raise ValueError(f"path={path!r}: {name} has dimensions {dataset[name].dims}, not {dims}")
    dictionary = dataset["dictionary"]
    check_atoms(dictionary.values, f"path={path!r}: the dictionary")
    parts = {
        name: dataset[f"preprocessing_{name}"].values if f"preprocessing_{name}" in dataset else None
        for name in Preprocessing._fields
    }
    history = dataset[[name for name in dataset if name not in RESULT.variables]]
    history = history.drop_vars(["atom", "feature"], errors="ignore")
    history.attrs = {}
    kinds = np.array(history.kind.attrs.pop("flag_meanings", "").split(), "U8")
    history.kind.attrs.pop("flag_values", None)
    history["kind"] = ("pass", kinds[history.kind.values], history.kind.attrs)
    return Result(
        dictionary.values,
        Stopping(**json.loads(dataset.attrs["stopping"])),
        Preprocessing(**parts),
        history,
        dataset.attrs["stop_reason"],
        json.loads(dataset.attrs["settings"]),
        *_features_of(dictionary.feature, dataset.attrs.get("feature_dtype")),
    )


def _features_of(feature, dtype):
    """Names of features and of the dimensions of samples, as a stored coordinate has them."""
    dims = feature.attrs.get("sample_dims")
    values = _read_names(feature.values, dtype)
    # stores of earlier versions do not say whether numbers are names
    numbered = NUMBERED if values.dtype.kind == "i" and (values == np.arange(len(values))).all() else NAMED
    if feature.attrs.get("long_name", numbered) == NUMBERED:
        return None, dims
    return values, dims


def _stored_names(feature):
    """The coordinate of features as one that Zarr has a type for and that xarray reads as what they are."""
    names = feature.values
    if names.dtype.kind == "U":  # Zarr specifies text of variable length only
        return "feature", names.astype(object), feature.attrs
    if names.dtype.kind not in "Mm":
        return "feature", names, feature.attrs
    unit = _TIMES[np.datetime_data(names.dtype)[0]]
    since = " since 1970-01-01" if names.dtype.kind == "M" else ""
    attributes = {"units": unit + since} | ({"calendar": "proleptic_gregorian"} if since else {})
    return "feature", names.astype(np.int64), feature.attrs | attributes


def _read_names(names, dtype):
    """What `_stored_names` stored, exactly; an earlier version did not store the dtype."""
    return names if dtype is None or dtype.startswith("<U") else names.astype(dtype)


def check_atoms(dictionary, name):
    """Refuse atoms that are not of unit norm."""
    norms = np.linalg.norm(dictionary, axis=1)
    wrong = ~(np.abs(norms - 1) <= UNIT_TOLERANCE)
    if wrong.any():
        atom = int(np.argmax(wrong))
        raise ValueError(
            f"{name} has {int(wrong.sum())} atoms that are not of unit norm "
            f"(first: atom {atom}, norm {norms[atom]:.4g}); all must have norm 1"
        )


def _encode_chunk(raw, coder, preprocessing, block_info=None):
    offset = block_info[0]["array-location"][0][0] if block_info else 0
    with single_threaded_blas():  # as in jobs: its bits depend on its number of threads
        codes = code_rows(plain(raw, offset), coder, preprocessing, offset)
    return codes_to_coo(codes, coder.n_components)


def _decode_chunk(codes, decoder, mean):
    samples = reconstruct(codes, decoder)
    return samples if mean is None else samples + mean.astype(samples.dtype)


def _root(residual, energy):
    return float(np.sqrt(residual / energy)) if energy > 0 else 0.0
