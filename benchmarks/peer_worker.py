"""One fit of one method in a fresh process; `peers.py` starts it.

    python benchmarks/peer_worker.py '{"method": "spams", ...}'

Reads ``train.npy`` and ``init.npy`` from the task's folder and leaves
``outcome.json`` and ``found.npy`` (the dictionary, one atom a row) there.
"""

import json
import math
import pathlib
import resource
import sys
import time
import warnings
from typing import NamedTuple

import numpy as np


class Task(NamedTuple):
    """What one process does.

    Attributes
    ----------
    method : str
        A name in `METHODS`.
    passes : float or None
        Passes over the data: epochs or iterations of the peers. None is
        daskksvd's own choice; a fraction stops between two of its waves.
    n_nonzero_coefs, threads, batch_size : int
    alpha : float
        Weight of scikit-learn's L1 penalty.
    folder : str
    """

    method: str
    passes: float | None
    n_nonzero_coefs: int
    threads: int
    batch_size: int
    alpha: float
    folder: str


# --------------------------------------------------------------------- methods
# Each imports its package, then returns fit(rows, init, passes) -> dictionary.


def daskksvd_online(task):
    """The default fit; cut short by a callback where ``passes`` is given."""
    import daskksvd

    def fit(rows, init, passes, **limits):
        callbacks = [] if passes is None else [StopAfter(passes)]
        return _daskksvd(daskksvd, task, rows, init, callbacks=callbacks, **limits)

    # a few passes of each kind: stopping after one would leave kernels cold
    fit.warm_up = lambda rows, init: fit(rows, init, None, max_passes=4)
    return fit


def daskksvd_batch(task):
    """One update after each pass, all passes."""
    import daskksvd

    def fit(rows, init, passes):
        return _daskksvd(daskksvd, task, rows, init, update="batch", max_passes=int(passes), tol=0)

    return fit


def daskksvd_ksvd(task):
    """K-SVD proper, all passes."""
    import daskksvd

    def fit(rows, init, passes):
        return _daskksvd(daskksvd, task, rows, init, update="ksvd", max_passes=int(passes), tol=0)

    return fit


def _daskksvd(daskksvd, task, rows, init, **options):
    result = daskksvd.fit(
        rows,
        n_components=len(init),
        n_nonzero_coefs=task.n_nonzero_coefs,
        init=init,
        n_threads=task.threads,
        random_state=0,
        **options,
    )
    return result.dictionary.values


class StopAfter:
    """Callback that ends a fit after some passes, or between waves of one.

    Parameters
    ----------
    passes : float
        2 ends after the second pass, 0.25 after a quarter of the waves of the
        first.
    """

    def __init__(self, passes):
        self.passes = passes
        self.rounds = None

    def __call__(self, event):
        from daskksvd import StopFit
        from daskksvd.tracking.events import PassFinished, PassStarted, WaveFinished

        if isinstance(event, PassStarted):
            part = self.passes - event.index
            self.rounds = math.ceil(part * event.n_rounds) if event.kind == "wave" and part < 1 else None
        elif isinstance(event, WaveFinished) and self.rounds is not None:
            if event.index + 1 >= self.rounds:
                raise StopFit
        elif isinstance(event, PassFinished) and event.index + 1 >= self.passes:
            raise StopFit


def scikit_learn(task):
    """Online learning with an L1 penalty, by least angle regression."""
    from sklearn.decomposition import MiniBatchDictionaryLearning

    def fit(rows, init, passes):
        learner = MiniBatchDictionaryLearning(
            len(init),
            alpha=task.alpha,
            batch_size=task.batch_size,
            max_iter=int(passes),
            tol=0.0,  # these two: no early end
            max_no_improvement=None,
            dict_init=init.copy(),  # it would be updated in place
            random_state=0,
            n_jobs=None,  # BLAS has the threads: n_jobs starts processes and is slower
        )
        return learner.fit(rows).components_

    return fit


def dictlearn_aksvd(task):
    """Approximate K-SVD with Batch-OMP."""
    from dictlearn import DictionaryLearning

    def fit(rows, init, passes):
        learner = DictionaryLearning(
            len(init),
            fit_algorithm="aksvd",
            transform_algorithm="batch_omp",
            n_nonzero_coefs=task.n_nonzero_coefs,
            max_iter=int(passes),
            dict_init=init,
            random_state=0,
        )
        return learner.fit(rows).components_

    return fit


def dictlearn_online(task):
    """Online learning after Mairal et al. with Batch-OMP."""
    from dictlearn import MiniBatchDictionaryLearning

    def fit(rows, init, passes):
        learner = MiniBatchDictionaryLearning(
            len(init),
            transform_algorithm="batch_omp",
            n_nonzero_coefs=task.n_nonzero_coefs,
            batch_size=task.batch_size,
            max_iter=int(passes),
            dict_init=init,
            random_state=0,
        )
        return learner.fit(rows).components_

    return fit


def spams_online(task):
    """Online learning after Mairal et al. with OMP codes of k nonzeros."""
    import spams

    def fit(rows, init, passes):
        found = spams.trainDL(
            np.asfortranarray(rows.T),
            D=np.asfortranarray(init.T),
            K=len(init),
            mode=3,  # at most lambda1 nonzeros
            lambda1=task.n_nonzero_coefs,
            batchsize=task.batch_size,
            iter=math.ceil(passes * len(rows) / task.batch_size),
            numThreads=task.threads,
            posD=False,
            verbose=False,
        )
        return np.ascontiguousarray(found.T)

    return fit


class Method(NamedTuple):
    """How a method is named, started and installed.

    Attributes
    ----------
    prepare : callable
        ``prepare(task)`` gives the fit.
    package : str
        What to ask pip for.
    dtype : str
        In which it computes when it is given float32.
    """

    prepare: callable
    package: str
    dtype: str


METHODS = {
    "daskksvd": Method(daskksvd_online, "daskksvd", "float32"),
    "daskksvd-batch": Method(daskksvd_batch, "daskksvd", "float32"),
    "daskksvd-ksvd": Method(daskksvd_ksvd, "daskksvd", "float32"),
    "spams": Method(spams_online, "spams-bin", "float32"),
    "dictlearn-aksvd": Method(dictlearn_aksvd, "dictlearn", "float64"),
    "dictlearn-online": Method(dictlearn_online, "dictlearn", "float64"),
    "scikit-learn": Method(scikit_learn, "scikit-learn", "float32"),
}
"""dictlearn casts all it is given to float64."""


# ------------------------------------------------------------------ measurement


def run(task):
    """Warm up, fit, and measure.

    Returns
    -------
    outcome : dict
        ``status`` is ``"ok"`` or ``"missing"``.
    dictionary : (m, d) array or None
    """
    try:
        fit = METHODS[task.method].prepare(task)
    except ModuleNotFoundError as error:
        return {"status": "missing", "message": str(error)}, None
    folder = pathlib.Path(task.folder)
    rows, init = np.load(folder / "train.npy"), np.load(folder / "init.npy")
    warnings.simplefilter("ignore")
    # enough for daskksvd to look for atoms to replace: those kernels are loaded then, too
    few = rows[: 8 * len(init)] if task.method.startswith("daskksvd") else rows[:512]
    warm_up = getattr(fit, "warm_up", lambda rows, init: fit(rows, init, 1))
    warm_up(few, init)
    forget_peak()
    base = resident("VmRSS")
    began = time.perf_counter()
    found = fit(rows, init, task.passes)
    seconds = time.perf_counter() - began
    outcome = {
        "status": "ok",
        "seconds": seconds,
        "base_mb": base / 1e6,
        "peak_mb": resident("VmHWM") / 1e6,
    }
    return outcome, found


def forget_peak():
    """Start the peak of resident memory anew, where Linux allows it."""
    try:
        with open("/proc/self/clear_refs", "w") as file:
            file.write("5")
    except OSError:
        pass


def resident(name):
    """Resident memory in bytes: ``"VmRSS"``, now, or ``"VmHWM"``, at its peak.

    ``ru_maxrss`` would do for the peak, but on Linux a new process starts
    with that of the one that started it.
    """
    try:
        with open("/proc/self/status") as lines:
            for line in lines:
                if line.startswith(f"{name}:"):
                    return int(line.split()[1]) * 1024
    except OSError:
        pass
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * (1 if sys.platform == "darwin" else 1024)


def main():
    task = Task(**json.loads(sys.argv[1]))
    outcome, found = run(task)
    folder = pathlib.Path(task.folder)
    if found is not None:
        np.save(folder / "found.npy", found)
    (folder / "outcome.json").write_text(json.dumps(outcome))


if __name__ == "__main__":
    main()
