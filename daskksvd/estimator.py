"""`daskksvd.KSVD`: the same learning as a scikit-learn estimator."""

from __future__ import annotations

import copy
import inspect
import os
import time
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, Self

import dask.array as da
import numpy as np
import pandas as pd
import scipy.sparse
import sparse

try:
    from sklearn import get_config
    from sklearn.base import BaseEstimator, ClassNamePrefixFeaturesOutMixin, TransformerMixin
    from sklearn.utils.metaestimators import available_if
    from sklearn.utils.validation import check_array, check_is_fitted, validate_data
except ImportError as error:
    raise ImportError(
        'daskksvd.KSVD needs scikit-learn; install it with: pip install "daskksvd[sklearn]"'
    ) from error

from .arguments import integer
from .coding.inputs import plain_codes
from .execution import WORKER_TIMEOUT, make_executor
from .fitting import CHECKPOINT_EVERY
from .fitting.beginning import begin
from .fitting.fit import fit as learn
from .fitting.initial import check_init
from .fitting.needs import keeps, need_memory
from .fitting.result import Result
from .fitting.schedule import plan_schedule, rows_per_task
from .fitting.settings import check_settings, check_shape
from .fitting.stream import Stream
from .rows import Reader, Source, as_source
from .rows.features import check_features
from .rows.inputs.frames import is_dask_frame, is_frame
from .rows.inputs.stored import is_stored
from .rows.source import in_memory
from .tracking import HistoryRecorder

if TYPE_CHECKING:
    import numpy.typing as npt
    from distributed import Client

    from .coding.inputs import CodesLike
    from .coding.target import Pursuit
    from .fitting.settings import Init, Precision, Update
    from .fitting.stopping import Threshold
    from .fitting.structure import Groups
    from .rows.source import ArrayLike, MissingChunks
    from .tracking.events import Callback


class KSVD(ClassNamePrefixFeaturesOutMixin, TransformerMixin, BaseEstimator):
    """Dictionary learning with K-SVD, for arrays of any size.

    Finds unit-norm atoms ``D`` such that rows are sparse sums of them: it
    minimises ``||X - codes @ D||^2`` with few nonzeros in every row of the
    codes. The learning is that of `daskksvd.fit`, and so are the parameters.

    Parameters
    ----------
    n_components : int, optional
        Number of atoms, m; ``n_features`` by default. At most the number of
        samples.
    n_nonzero_coefs : int, optional
        Most nonzeros in a row of the codes; more than ``n_components`` or
        ``n_features`` means as many as those. If neither this nor ``rtol`` nor a
        number as ``threshold`` is given, a tenth of ``n_features``, rounded, and at least 1.
    rtol : float, optional
        Relative residual norm at which the coding of a row stops.
    nonnegative : bool
        Code with positive coefficients only.
    threshold : float, "mean" or "noise", optional
        Least correlation with what is left at which an atom is taken, in units
        of the transformed samples; ``"mean"``: so that ``n_nonzero_coefs`` are
        used on average; ``"noise"``: where noise begins (with ``nonnegative``).
        Rules are those of `fit`; `partial_fit` takes a number, or goes on with
        what `fit` found.
    pursuit : {"omp", "mp"}
        Orthogonal matching pursuit, or matching pursuit with its coefficients
        refitted on the support.
    update : {"online", "batch", "ksvd"}
        Many updates a pass and full passes after them; one update after each
        pass; or K-SVD proper. `partial_fit` exists for ``"online"`` only.
    init : {"rows", "random", "k-means++"} or array (m, n_features)
        Where to start.
    max_passes : int, optional
        Passes over the data, 8 by default.
    tol : float
        Least relative improvement of a pass for which learning goes on.
    max_time : float, optional
        Seconds after which the round that is running is the last.
    random_state : int, numpy.random.Generator or RandomState, optional
        Seed of everything that is random.
    center, scale : bool
        Subtract the mean of each feature; divide by its standard deviation.
        The codes are then those of the prepared samples.
    whiten : float or True, optional
        Code the principal components divided by ``eigenvalue ** whiten``.
        Implies ``center``.
    holdout : float
        Share of the rows (the last of every chunk) that `fit` does not learn
        from; their error is in ``result_.history``.
    n_blocks : int, optional
        For ``update="ksvd"``: blocks of atoms an iteration.
    replace_atoms : bool
        Replace unused atoms and near-copies by badly represented samples.
    ramp : bool
        Come up to ``n_nonzero_coefs`` over the first passes, see `daskksvd.fit`.
    groups : "nested" or sequence of int, optional
        Numbers of first atoms that are to be dictionaries of their own.
    prefix_sums : float
        Share of the waves in which the sum of the errors of those prefixes is lowered.
    twins : float, optional
        ``|cos|`` above which the rarer of two atoms is replaced by what is left of samples.
    growth : int, optional
        Atoms to begin with; they double up to ``n_components``.
    incoherence : float
        Step by which atoms are moved apart after updates.
    dtype : {"float32", "float64"}, optional
        Precision of the computation, of the components and of the codes. By
        default float64 for float64 samples and float32 for all others.
    device : str, optional
        Where samples are coded: None for processors, ``"cuda"`` for a graphics card
        by PyTorch; see `daskksvd.fit`.
    persist : bool, optional
        Read a lazy array once and keep it in memory. By default only if it
        takes less than 256 MB.
    checkpoint : path, optional
        File from which an interrupted `fit` goes on.
    checkpoint_every : int
        Rounds between two checkpoints.
    client : distributed.Client, optional
        Cluster to learn and score on; by default threads of this process.
        Clones share it; it is not pickled.
    callbacks : sequence of callable
        Called by `fit` with the events of `daskksvd.tracking`.
    progress : bool
        Whether `fit` shows a bar.
    n_threads : int, optional
        Threads to use without a client; all cores by default.
    worker_timeout : float, optional
        Seconds to wait for the client's workers if they are gone; see `daskksvd.fit`.
    sparse_output : bool
        Whether `transform` returns SciPy CSR arrays, rather than dense
        arrays, for samples in memory.
    missing_chunks : {"error", "fill"}
        Whether chunks that a Zarr array lacks are refused, or read as its fill
        value.

    Attributes
    ----------
    components_ : (m, n_features) float array
        Unit-norm atoms on the original features.
    mean_ : (n_features,) float64 array or None
        Mean subtracted from samples, None without ``center`` or ``whiten``.
    error_ : (p,) float64 array
        Relative error ``||X - codes @ D|| / ||X||`` of every pass of `fit`, or
        of every batch of `partial_fit` before it was learned from.
    n_iter_ : int
        Passes over the data that `fit` made; 0 if it was not called.
    n_steps_ : int
        Calls of `partial_fit` since `fit`, or since the first of them.
    n_features_in_ : int
        Number of features.
    feature_names_in_ : (n_features,) array of str
        Names of the features, if the samples brought any: the columns of a
        DataFrame, or the labels of an `xarray.DataArray`.
    result_ : daskksvd.Result
        Dictionary, history and the means to encode, decode and save.

    Notes
    -----
    NumPy arrays, DataFrames and lists are validated as everywhere in
    scikit-learn, and `transform` returns dense arrays for them (see
    ``sparse_output``). Dask, Zarr and xarray arrays, Dask frames, data sets of
    h5py and paths of Zarr stores are read chunk by chunk, and `transform`
    returns lazy codes for them.

    `partial_fit` learns from a stream. Every batch is one wave of the online
    update: it is coded, added to statistics that fade, and the atoms are
    updated. How fast statistics fade does not depend on the size of the
    batches; they reach back over about 128 uses of an average atom, or 4
    batches if that is more. Many batches in which an average atom is used some
    8 times each teach more than few large ones.

    References
    ----------
    .. [1] M. Aharon, M. Elad, A. Bruckstein. "K-SVD: An algorithm for
       designing overcomplete dictionaries for sparse representation". IEEE
       Transactions on Signal Processing 54 (11), 2006.
    .. [2] J. Mairal, F. Bach, J. Ponce, G. Sapiro. "Online learning for matrix
       factorization and sparse coding". Journal of Machine Learning Research
       11, 2010.

    Examples
    --------
    >>> import daskksvd
    >>> X = daskksvd.datasets.make_planted(2_000, 16, 32, 3, random_state=0).array.compute()
    >>> model = daskksvd.KSVD(n_components=32, n_nonzero_coefs=3, random_state=1)
    >>> model.fit_transform(X).shape
    (2000, 32)
    """

    def __init__(
        self,
        n_components: int | None = None,
        *,
        n_nonzero_coefs: int | None = None,
        rtol: float | None = None,
        nonnegative: bool = False,
        threshold: float | Threshold | None = None,
        pursuit: Pursuit = "omp",
        update: Update = "online",
        init: Init | npt.ArrayLike = "rows",
        max_passes: int | None = None,
        tol: float = 1e-3,
        max_time: float | None = None,
        random_state: int | np.random.Generator | np.random.RandomState | None = None,
        center: bool = False,
        scale: bool = False,
        whiten: float | bool | None = None,
        holdout: float = 0.0,
        n_blocks: int | None = None,
        replace_atoms: bool = True,
        ramp: bool = False,
        groups: Groups | None = None,
        prefix_sums: float = 0.0,
        twins: float | None = None,
        growth: int | None = None,
        incoherence: float = 0.0,
        dtype: Precision | None = None,
        device: str | None = None,
        persist: bool | None = None,
        checkpoint: str | os.PathLike[str] | None = None,
        checkpoint_every: int = CHECKPOINT_EVERY,
        client: Client | None = None,
        callbacks: Sequence[Callback] = (),
        progress: bool = False,
        n_threads: int | None = None,
        worker_timeout: float | None = WORKER_TIMEOUT,
        sparse_output: bool = False,
        missing_chunks: MissingChunks = "error",
    ) -> None:
        self.n_components = n_components
        self.n_nonzero_coefs = n_nonzero_coefs
        self.rtol = rtol
        self.nonnegative = nonnegative
        self.threshold = threshold
        self.pursuit = pursuit
        self.update = update
        self.init = init
        self.max_passes = max_passes
        self.tol = tol
        self.max_time = max_time
        self.random_state = random_state
        self.center = center
        self.scale = scale
        self.whiten = whiten
        self.holdout = holdout
        self.n_blocks = n_blocks
        self.replace_atoms = replace_atoms
        self.ramp = ramp
        self.groups = groups
        self.prefix_sums = prefix_sums
        self.twins = twins
        self.growth = growth
        self.incoherence = incoherence
        self.dtype = dtype
        self.device = device
        self.persist = persist
        self.checkpoint = checkpoint
        self.checkpoint_every = checkpoint_every
        self.client = client
        self.callbacks = callbacks
        self.progress = progress
        self.n_threads = n_threads
        self.worker_timeout = worker_timeout
        self.sparse_output = sparse_output
        self.missing_chunks = missing_chunks

    # -------------------------------------------------------------- learning

    def fit(self, X: ArrayLike, y: Any = None) -> Self:
        """Learn a dictionary, from the beginning.

        Parameters
        ----------
        X : array-like, DataFrame, dask.array.Array, xarray.DataArray, zarr.Array, str or path
            Samples, n x n_features, real. A path names a Zarr array, or a Zarr
            group with one two-dimensional array or one called ``embeddings``.
        y : None
            Ignored.

        Returns
        -------
        self : KSVD
        """
        rows = self._check_rows(X, reset=True)
        result = learn(rows, **self._arguments(rows))
        self._learned = result
        self.components_ = result.dictionary.values
        self.mean_ = result.mean
        self.n_iter_, self.n_steps_ = result.history.sizes["pass"], 0
        return self

    @available_if(lambda self: self._check_online())
    def partial_fit(self, X: ArrayLike, y: Any = None) -> Self:
        """Learn from one more batch of samples, as one wave of the online update.

        The first call starts a dictionary from its batch, which must have at
        least ``n_components`` samples, and fixes the parameters. What
        ``center``, ``scale`` and ``whiten`` subtract and divide by is taken
        from this first batch and then stays. After `fit`, learning goes on
        from the dictionary that was found, with statistics in which every atom
        stands for itself, so that a small batch cannot undo it.

        What is about passes (``max_passes``, ``tol``, ``max_time``,
        ``callbacks``, ``progress``) has no effect here; ``checkpoint`` is
        refused, and with ``holdout`` there is no `partial_fit`.

        Parameters
        ----------
        X : as for `fit`
            Samples, n x n_features.
        y : None
            Ignored.

        Returns
        -------
        self : KSVD
        """
        began = time.perf_counter()
        first = not hasattr(self, "components_")
        if self.checkpoint is not None:
            raise ValueError(
                f"checkpoint={os.fspath(self.checkpoint)!r} goes with fit only; with partial_fit, "
                "leave it out and pickle the estimator between calls"
            )
        if self.n_threads is not None:
            integer("n_threads", self.n_threads, 1)
        rows = self._check_rows(X, reset=first)
        executor = make_executor(self.client, self.n_threads, self.worker_timeout)
        try:
            reader = Reader(rows, executor, keeps(rows, self.client, self.persist))
            if first:
                stream = self._start(reader)
            elif self.n_steps_ == 0:
                stream = Stream.after(self._learned)
            else:
                stream = self._learned
            stream = stream.learn(reader, began)
        finally:
            executor.close()
        self._learned = stream
        self.components_ = stream.coder.atoms
        self.mean_ = stream.coder.transform.mean
        self.n_iter_ = 0 if first else self.n_iter_
        self.n_steps_ = 1 if first else self.n_steps_ + 1
        return self

    # ------------------------------------------------------ coding and back

    def transform(self, X: ArrayLike) -> np.ndarray | scipy.sparse.csr_array | da.Array:
        """Sparse codes of samples.

        Parameters
        ----------
        X : as for `fit`
            Samples, n x n_features.

        Returns
        -------
        (n, m) ndarray, scipy.sparse.csr_array or dask.array.Array
            Codes, of the dtype of `components_`. For samples in memory a dense
            array, or a CSR array with ``sparse_output``; for all others a
            lazy Dask array of `sparse.COO` chunks.
        """
        check_is_fitted(self, "components_")
        rows = self._check_rows(X, reset=False)
        result = self.result_
        if _in_chunks(X):
            configured = getattr(self, "_sklearn_output_config", {})
            container = configured.get("transform", get_config()["transform_output"])
            if container != "default":
                raise ValueError(
                    f"set_output(transform={container!r}) was asked for, but X is read in chunks and its "
                    "codes are lazy; use transform='default', or pass X as an array in memory"
                )
            return result.encode(rows, device=self.device)
        m, d = self.components_.shape
        height = rows_per_task(m, d, result.coder.target.n_nonzero_coefs)
        codes = result.encode(Source(rows.array.rechunk({0: height})), device=self.device)
        codes = codes.compute(scheduler="threads", num_workers=self.n_threads)
        if self.sparse_output:
            coords = codes.coords.astype(scipy.sparse.get_index_dtype(maxval=max(codes.shape)))
            return scipy.sparse.coo_array((codes.data, tuple(coords)), shape=codes.shape).tocsr()
        return codes.todense()

    def inverse_transform(self, X: CodesLike) -> np.ndarray | da.Array:
        """Samples from codes.

        Parameters
        ----------
        X : array-like, SciPy sparse matrix or array, sparse.COO or dask.array.Array
            Codes, n x m, as `transform` returns them.

        Returns
        -------
        (n, n_features) ndarray or dask.array.Array
            ``X @ components_``, with scaling, whitening and centring undone;
            lazy if ``X`` is.
        """
        check_is_fitted(self, "components_")
        X = plain_codes(X)
        if not isinstance(X, (da.Array, sparse.SparseArray)):
            X = check_array(X, accept_sparse="csr", input_name="X")
        return self.result_.decode(X)

    def score(self, X: ArrayLike, y: Any = None) -> float:
        """Share of the variance of samples that their codes explain.

        Parameters
        ----------
        X : as for `fit`
            Samples, n x n_features.
        y : None
            Ignored.

        Returns
        -------
        float
            At most 1, higher is better; the same as `daskksvd.Result.score`.
        """
        check_is_fitted(self, "components_")
        return self.result_.score(
            self._check_rows(X, reset=False),
            client=self.client,
            worker_timeout=self.worker_timeout,
            device=self.device,
        )

    @property
    def result_(self) -> Result:
        check_is_fitted(self, "components_")
        if isinstance(self._learned, Result):
            return self._learned
        names, dims = self._features
        return self._learned.result(names, dims)

    @property
    def _n_features_out(self):
        return len(self.components_)

    @property
    def error_(self) -> np.ndarray:
        history = self.result_.history
        return (history.wave_relative_error if self.n_steps_ else history.relative_error).values

    # -------------------------------------------------------------- helpers

    def _check_rows(self, X, reset):
        """Any supported samples as `Source`; features are set or checked as scikit-learn does."""
        if _in_chunks(X):
            rows = as_source(X, "X", self.missing_chunks, self.worker_timeout)
            names = rows.feature_names
            # scikit-learn looks for names in DataFrames only
            frame = pd.DataFrame(columns=range(rows.d) if names is None else names)
            if reset:
                validate_data(self, frame, reset=True, skip_check_array=True)
        else:
            frame, names = in_memory(X, "X")
            # one sample is nothing but its own mean
            least = 2 if reset and (self.center or self.whiten) else 1
            rows = as_source(validate_data(self, frame, reset=reset, ensure_min_samples=least), "X")
            rows = Source(rows.array, names, rows.in_memory)
        if reset:
            self._features = rows.feature_names, rows.dims
        else:
            check_features(rows, *self._features, "X")
            if _in_chunks(X):
                validate_data(self, frame, reset=False, skip_check_array=True)
        return rows

    def _names(self):
        names = getattr(self, "feature_names_in_", None)
        return None if names is None else names.tolist()

    def _arguments(self, rows):
        """Parameters as arguments of `daskksvd.fit`, defaults filled in."""
        arguments = self.get_params(deep=False)
        del arguments["sparse_output"]
        if self.n_components is None:
            arguments["n_components"] = rows.d
        m = integer("n_components", arguments["n_components"], 1)
        k = self.n_nonzero_coefs
        if k is None and self.rtol is None and (self.threshold is None or isinstance(self.threshold, str)):
            k = max(1, round(0.1 * rows.d))
        if k is not None:
            # searches over n_components, and scikit-learn's checks, go below it
            arguments["n_nonzero_coefs"] = min(integer("n_nonzero_coefs", k, 1), m, rows.d)
        if self.n_blocks is not None:
            arguments["n_blocks"] = min(integer("n_blocks", self.n_blocks, 1), m)
        if self.dtype is None:
            arguments["dtype"] = "float64" if rows.dtype == np.float64 else "float32"
        return arguments

    def _check_online(self):
        if self.update != "online":
            raise AttributeError(f"partial_fit goes with update='online', and update is {self.update!r}")
        if self.holdout:
            raise AttributeError(
                f"holdout={self.holdout} goes with fit only; partial_fit learns from all rows"
            )
        return True

    def _start(self, reader):
        """A stream whose first batch ``reader`` reads."""
        rows = reader.source
        settings = check_settings(**self._arguments(rows))
        if isinstance(settings.threshold, str):
            raise ValueError(
                f"threshold={settings.threshold!r} is found by fit, from all samples; with partial_fit give "
                "a number, or call fit first"
            )
        for name in ("ramp", "prefix_sums", "twins", "growth", "incoherence"):
            if getattr(settings, name):
                raise ValueError(
                    f"{name}={getattr(settings, name)!r} goes with fit only; with partial_fit leave it out, "
                    "or call fit first"
                )
        check_shape(settings, rows.chunk_rows, rows.d)
        if not isinstance(settings.init, str):
            settings = settings._replace(init=check_init(settings.init, settings.n_components, rows.d))
        if settings.random_state is None:
            settings = settings._replace(random_state=int(np.random.SeedSequence().generate_state(1)[0]))
        need_memory(reader.executor, rows, settings)
        schedule = plan_schedule(settings, rows.chunk_rows, rows.d)
        coder, variance, state, _ = begin(reader, settings, schedule, settings.random_state)
        return Stream(settings, coder, variance, state, HistoryRecorder())

    def __sklearn_tags__(self):
        tags = super().__sklearn_tags__()
        tags.transformer_tags.preserves_dtype = ["float64", "float32"] if self.dtype is None else []
        return tags

    def __sklearn_clone__(self):
        # a client cannot be copied; a copy has none (see __getstate__)
        clone = super(KSVD, copy.copy(self)).__sklearn_clone__()
        clone.client = self.client
        return clone

    def __getstate__(self):
        return {**super().__getstate__(), "client": None}

    def __setstate__(self, state):
        """Take parameters that an earlier version had not from their defaults."""
        parameters = inspect.signature(type(self).__init__).parameters.values()
        defaults = {one.name: one.default for one in parameters if one.default is not one.empty}
        super().__setstate__({**defaults, **state})


def _in_chunks(X):
    """Whether samples are read chunk by chunk, and coded lazily."""
    lazy = (da.Array, str, os.PathLike)
    if isinstance(X, lazy) or type(X).__module__.split(".")[0] in ("xarray", "zarr"):
        return True
    return is_dask_frame(X) or (not is_frame(X) and is_stored(X))
