"""`daskksvd.fit`: from an array to a result."""

from __future__ import annotations

import dataclasses
import os
from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from ..arguments import callables, integer
from ..coding.how import settled
from ..execution import WORKER_TIMEOUT, WorkersLost, make_executor
from ..rows import Reader, as_source
from ..stores.checkpoint import Checkpointer, load_checkpoint
from ..tracking import EventLogger, HistoryRecorder, ProgressBar, StopFit
from ..tracking.parts import parts_shown
from . import CHECKPOINT_EVERY
from .beginning import begin
from .initial import check_init
from .loop import Engine
from .needs import keeps, need_memory
from .problem import Problem
from .result import Result
from .resuming import check_rows, problem_identity, resume, saver
from .schedule import plan_schedule
from .settings import check_settings, check_shape
from .thresholds import find_target

if TYPE_CHECKING:
    import numpy.typing as npt
    from distributed import Client

    from ..coding.target import Pursuit
    from ..rows.source import ArrayLike, MissingChunks
    from ..tracking.events import Callback
    from .settings import Init, Precision, Update
    from .stopping import Threshold
    from .structure import Groups


class FitInterrupted(KeyboardInterrupt):
    """Ctrl-C during a fit.

    Attributes
    ----------
    result : daskksvd.Result or None
        What had been learned by then, None before the first update.
    """

    def __init__(self, message: str, result: Result | None = None) -> None:
        super().__init__(message)
        self.result = result


def fit(
    array: ArrayLike,
    *,
    n_components: int,
    n_nonzero_coefs: int | None = None,
    rtol: float | None = None,
    nonnegative: bool = False,
    threshold: float | Threshold | None = None,
    client: Client | None = None,
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
    dtype: Precision = "float32",
    device: str | None = None,
    persist: bool | None = None,
    checkpoint: str | os.PathLike[str] | None = None,
    checkpoint_every: int = CHECKPOINT_EVERY,
    callbacks: Sequence[Callback] = (),
    progress: bool = False,
    n_threads: int | None = None,
    worker_timeout: float | None = WORKER_TIMEOUT,
    missing_chunks: MissingChunks = "error",
) -> Result:
    """Learn an overcomplete dictionary: rows as sparse sums of unit atoms.

    Minimises ``||Y - X D||^2`` over unit-norm atoms ``D`` and codes ``X`` with
    few nonzeros a row, by alternating matching pursuit with dictionary updates
    (K-SVD: Aharon, Elad, Bruckstein 2006; online updates: Mairal, Bach, Ponce,
    Sapiro 2010). Rows are read chunk by chunk; memory depends on the size of
    the chunks, the number of atoms and the number of threads, not on the
    number of rows.

    Parameters
    ----------
    array : array-like, DataFrame, dask.array.Array, xarray.DataArray, zarr.Array, str or path
        Samples, n x d, real. A path names a Zarr array, a Zarr group with one
        two-dimensional array or one called ``embeddings``, or a .npy file.
        Frames are those of pandas, Polars, Arrow and Dask (read partition by
        partition); data sets of h5py and the like are read in chunks. Zarr and
        HDF5 arrays packed as xarray packs them are decoded as it does.
    n_components : int
        Number of atoms, m; at most n.
    n_nonzero_coefs : int, optional
        Most nonzeros a row; at most m and d. This, ``rtol`` or a number as
        ``threshold`` must be given.
    rtol : float, optional
        Relative residual norm at which the coding of a row stops. In float32
        values below about 2e-3 cannot be told from rounding. Alone, it is
        approached over the first passes in waves.
    client : distributed.Client, optional
        Cluster to run on; by default threads of this process.
    nonnegative : bool
        Code with positive coefficients only, while learning and afterwards: non-negative
        matching pursuit (Bruckstein, Elad, Zibulevsky 2008) takes the atom of
        the largest positive correlation with what is left, and coefficients are
        the non-negative least squares of the row on its atoms. One that
        would turn negative is zero, and its atom makes room for another (Lawson,
        Hanson 1974).
    threshold : float, "mean" or "noise", optional
        No atom is taken whose correlation with what is left of a row (its
        magnitude, or with ``nonnegative`` itself) is below this, in units of
        the transformed rows: centred, scaled, whitened. A number may be given
        alone. ``"mean"``: codes of the result use ``n_nonzero_coefs`` atoms on
        average, up to twice as many where more stand out and fewer where
        less does; found after learning, which is as without, from some of
        the rows, held out ones if there are. ``"noise"``, with ``nonnegative``: the least threshold at which
        at most 0.5 % of the atoms chosen are noise, as many being taken for that
        as correlate as strongly with the wrong sign; learning goes by
        1.2 sigma sqrt(2 ln m), sigma the deviation of what is left, in place
        of that. ``result.coder.target`` has what was found, and
        ``result.false_discovery_rate`` the share of noise.
    pursuit : {"omp", "mp"}
        Orthogonal matching pursuit, or matching pursuit with its coefficients
        refitted on the support.
    update : {"online", "batch", "ksvd"}
        ``"online"``: many updates a pass on fading statistics, then full
        passes. ``"batch"``: one update after each pass. ``"ksvd"``: K-SVD
        proper, with coefficients updated together with their atom; it keeps
        the codes (n x k x 8 bytes) and reads the data once per block of atoms.
    init : {"rows", "random", "k-means++"} or array (m, d)
        Where to start: distinct samples, random directions, samples far from
        each other, or a given dictionary, whose atoms are set to unit norm.
        If there are too few distinct samples the rest are random directions.
    max_passes : int, optional
        Most passes over the data. ``"online"`` ends with full passes, a
        quarter of them at least. By default as many passes as help: at most
        12 in waves and 10 full ones, or 10 for the other updates.
    tol : float
        Passes end when one improves the relative error of the one before by
        less than this share. Waves give way to full passes when they gain
        less than 0.5 % a pass. 0 turns both off.
    max_time : float, optional
        Seconds after which the round that is running is the last.
    random_state : int, numpy.random.Generator or RandomState, optional
        Seed of everything that is random.
    center, scale : bool
        Subtract the mean of each feature; divide by its standard deviation
        (constant features are left alone).
    whiten : float or True, optional
        Code the principal components divided by ``eigenvalue ** whiten``; 0.25
        is half-whitening, 0.5 or True full whitening. Implies ``center``.
    holdout : float
        Share of the rows (the last of every chunk) that is not learned from;
        its error is in the history.
    n_blocks : int, optional
        For ``update="ksvd"``: blocks of atoms an iteration; ``n_components``
        of them give the textbook algorithm, one atom after the other.
    replace_atoms : bool
        Replace unused atoms and near-copies by badly represented samples.
    ramp : bool
        For ``update="online"``: come up to ``n_nonzero_coefs`` by eighths over the first eight
        passes in waves (from 6 nonzeros on), and have waves be longer, in which up to 2,048 atoms see
        each other's change. Held out, in about as much time, mostly a little less is left than
        without: .2 and .6 % of ViT features with 10 and 20 nonzeros, but .9 % more of 14,000
        encodings of captions. Try it on some of the rows.
    groups : "nested" or sequence of int, optional
        Learn so that the first atoms are a dictionary of their own: these numbers of first
        atoms, such as ``[16, 64, 256]``; ``"nested"`` stands for those, as far as they are
        below ``n_components``. While learning, pursuit takes atoms from the first prefix
        until none correlates with what is left by the threshold, or, without one, for its
        share of ``n_nonzero_coefs``; then from the next, which holds the first, and so on
        (prefixes as in Matryoshka autoencoders: Bussmann, Nabeshima, Karvonen, Nanda 2025).
        Codes of the result choose from all atoms. `Result.first` gives a prefix.
    prefix_sums : float
        With ``groups``: for this share of the waves lower the sum of the errors that the
        prefixes leave, each with its own atoms alone, and not the error of all atoms.
    twins : float, optional
        Of two atoms whose ``|cos|`` (with ``nonnegative``: ``cos``) is above this replace the rarer
        one, and atoms of next to no use, by a direction that what is left of rows agrees on,
        during 85 % of the waves; there it takes the place of ``replace_atoms``.
    growth : int, optional
        Begin with so many atoms and double them, by directions of what is left of rows, up
        to ``n_components`` after a quarter of the waves. A fit that is stopped before has
        fewer atoms. It saves time: a quarter in worlds of SynthSAEBench, with
        ``threshold="noise"``, ``groups``, ``twins`` and ``incoherence``, where F1 is no lower (.923 for
        .916 and .920). Without ``incoherence`` such fits that begin with all atoms can
        end with hardly any in use.
    incoherence : float
        After every update, but for those of ``prefix_sums``, move atoms apart by a step of
        this size, at most .1, down the squares of their inner products above .15
        (the idea of INK-SVD: Mailhe, Barchiesi, Plumbley 2012), each by the
        other's share of the uses of the two.
    dtype : {"float32", "float64"}
        Precision of the computation, whatever the dtype of the array. In
        float32 a processor with fast bfloat16 instructions chooses atoms by
        products of rounded numbers; those that rounding cannot tell apart are
        compared in full, and coefficients are of full precision. Whether so is
        settled when a fit begins, for all workers and for those that go on with
        its checkpoint.
    device : str, optional
        Where rows are coded: None for processors, by this package's kernels;
        ``"cuda"``, or one card such as ``"cuda:1"``, by PyTorch on a graphics card,
        one process a card; ``"auto"`` for a card where there is one; ``"cpu"`` by
        PyTorch on the processor, to compare with. Codes are the same up to ties and
        rounding. Where the device cannot be used, a `RuntimeWarning` says why, and
        processors code.
    persist : bool, optional
        Read the array once and keep it in memory (of the workers). By default
        only if it takes less than 256 MB.
    checkpoint : path, optional
        File to which the state is written after every pass and every
        ``checkpoint_every`` rounds. The same call goes on from it, and ends
        with the same dictionary, bit for bit, as if it had not stopped; a
        finished fit returns its result. All rows are read once more then, to see
        that they are those it was begun with. More ``max_passes`` or a smaller
        ``tol`` extend a fit: one that is in waves goes on as if it had been
        called so, one in full passes (or those of the other updates), and a
        finished one, by more of them. A write that fails is told by a
        `RuntimeWarning` and tried again at the next interval.
    checkpoint_every : int
        Waves (or parts of a full pass) between two checkpoints.
    callbacks : sequence of callable
        Each is called with the typed events of `daskksvd.tracking`. One that
        raises `daskksvd.StopFit` ends the fit; its result is kept.
    progress : bool
        Show a bar, in the terminal or the notebook.
    n_threads : int, optional
        Threads to use without a client; all cores by default.
    worker_timeout : float, optional
        Seconds to wait for a client's workers that are gone, or for its
        scheduler. What is waited for is told at once, as a `RuntimeWarning`
        and by `daskksvd.tracking.WaitingForWorkers`, and the fit goes on when
        they return. None waits for ever.
    missing_chunks : {"error", "fill"}
        Whether chunks that a Zarr array lacks are refused, or read as its fill
        value. Zarr leaves out chunks of nothing but that value, too.

    Returns
    -------
    daskksvd.Result
        Dictionary, history and the means to encode and decode.

    Raises
    ------
    TypeError, ValueError
        For arguments or data that cannot work: the message names the
        argument, what was found and what is allowed.
    MemoryError
        If a worker has less memory than its threads will need.
    WorkersLost
        If workers did not come back within ``worker_timeout``, or an array that
        was persisted on them is lost. The checkpoint is written, the same call
        goes on from it, and the error has the result so far.
    FitInterrupted
        On Ctrl-C. It is a `KeyboardInterrupt` and has the result so far.

    Examples
    --------
    >>> import daskksvd
    >>> planted = daskksvd.datasets.make_planted(2_000, 16, 32, 3, random_state=0)
    >>> result = daskksvd.fit(planted.array, n_components=32, n_nonzero_coefs=3, random_state=1)
    >>> result.dictionary.sizes["atom"]
    32
    """
    given = {name: value for name, value in locals().items() if name not in ("array", "client")}
    try:
        return _fit(array, client, **given)
    except KeyboardInterrupt as stop:
        if isinstance(stop, FitInterrupted):
            raise
        raise FitInterrupted("interrupted before anything was learned") from None


def _fit(
    array, client, *, callbacks, checkpoint, checkpoint_every, missing_chunks, n_threads, persist, progress,
    worker_timeout, **settings,
):  # fmt: skip
    """`fit`, but for interrupts before there is anything to keep."""
    settings = check_settings(**settings)
    callbacks = callables("callbacks", callbacks)
    checkpoint_every = integer("checkpoint_every", checkpoint_every, 1)
    if n_threads is not None:
        n_threads = integer("n_threads", n_threads, 1)
    source = as_source(array, missing_chunks=missing_chunks, worker_timeout=worker_timeout)
    check_shape(settings, source.chunk_rows, source.d)
    if not isinstance(settings.init, str):
        settings = settings._replace(init=check_init(settings.init, settings.n_components, source.d))
    schedule = plan_schedule(settings, source.chunk_rows, source.d)
    keep = keeps(source, client, persist)
    bar = [ProgressBar()] if progress else []
    executor = make_executor(client, n_threads, worker_timeout)
    told = [EventLogger(), *bar, *callbacks]
    executor.listen(_teller(told))
    try:
        need_memory(executor, source, settings)
        writer = Checkpointer(checkpoint) if checkpoint is not None else None
        reader = Reader(source, executor, keep)
        found = load_checkpoint(checkpoint) if checkpoint is not None else None
        with parts_shown(progress, "survey"):
            identity = problem_identity(reader, settings) if checkpoint is not None else None
            recorder = HistoryRecorder()
            if found is None:
                seed = settings.random_state
                if seed is None:
                    seed = int(np.random.SeedSequence().generate_state(1)[0])
                begun = begin(reader, settings, schedule, seed, checked=writer is not None)
                coder, variance, state, checksums = begun
            else:
                resumed = resume(checkpoint, *found, identity, settings, schedule)
                coder, variance, state, seed, recorder, checksums = resumed
                if checksums is not None:
                    check_rows(checkpoint, reader, checksums)
        coder = settled(coder, executor, settings.device)
        if coder.how.device is not None:
            schedule = schedule.for_device()
        engine = Engine(
            Problem(reader, settings, schedule, coder, variance, seed),
            state,
            recorder,
            told,
            checkpoint=saver(writer, identity, seed, recorder, checksums) if writer else None,
            checkpoint_every=checkpoint_every,
        )
        executor.listen(engine.notify)

        def make_result(stop_reason, found=None):
            target = engine.coder.target if found is None else found.target
            more = {} if found is None else {"false_discovery_rate": found.false_discovery_rate}
            return Result(
                engine.coder.atoms,
                coder.transform,
                target,
                recorder.to_dataset(),
                stop_reason,
                {**settings.identity(), "random_state": seed, "seconds": engine.state.seconds, **more},
                source.feature_names,
                source.dims,
            )

        try:
            stop_reason, found = engine.run(), None
            if isinstance(settings.threshold, str):
                finished = dataclasses.replace(engine.coder, prefixes=())
                with parts_shown(progress, "threshold"):
                    found = find_target(settings.threshold, reader, finished, schedule.kept)
            return make_result(stop_reason, found)
        except (KeyboardInterrupt, WorkersLost) as stop:
            raise _stopped(stop, executor, engine, make_result, checkpoint) from None
    finally:
        for shown in bar:
            shown.close()
        _closed(executor)


def _teller(callbacks):
    """What tells callbacks of an event while there is nothing yet that they could stop."""

    def tell(event):
        for callback in callbacks:
            try:
                callback(event)
            except StopFit:
                raise WorkersLost(
                    "a callback ended the wait for workers, before anything was learned"
                ) from None

    return tell


def _stopped(stop, executor, engine, make_result, checkpoint):
    """What to raise for a fit that was interrupted, or whose workers were lost, with what there is."""
    learned = engine.state.n_updates or engine.state.pass_index
    interrupted = isinstance(stop, KeyboardInterrupt)
    result = make_result("interrupted" if interrupted else "workers lost") if learned else None
    saved = False
    try:
        executor.cancel()
        saved = engine.save(final=True)
    except KeyboardInterrupt:  # once more
        interrupted = True
    kept = f"the state is in {os.fspath(checkpoint)!r}" if saved else None
    if interrupted:
        message = f"interrupted in pass {engine.state.pass_index + 1}"
        return FitInterrupted(f"{message}; {kept}" if kept else message, result)
    if kept:
        kept += ": the same call goes on from there"
    elif result is not None:
        kept = "what was learned is in .result; with checkpoint= the same call could go on"
    else:
        kept = "nothing was learned yet; call again"
    return WorkersLost(f"{stop}. It ended in pass {engine.state.pass_index + 1}; {kept}", result)


def _closed(executor):
    """Close an executor, also when interrupted at that."""
    try:
        executor.close()
    except KeyboardInterrupt:
        executor.close()
        raise
