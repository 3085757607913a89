"""Arguments of `daskksvd.fit` as a joint fit passes them on, and what becomes of its results."""

import contextlib
import inspect
import os
from typing import Any, NamedTuple

import numpy as np

from ..execution import WorkersLost, make_executor
from ..fitting.fit import FitInterrupted, fit
from ..fitting.result import Result
from ..fitting.settings import check_settings
from ..rows import Transform
from ..tracking.parts import parts_shown

_OWN = (
    "array", "n_components", "n_nonzero_coefs", "whiten", "center", "scale", "init", "holdout",
    "missing_chunks", "threshold",
)  # fmt: skip
"""Arguments of `fit` that a joint fit gives itself, or has no use for: a threshold would be in units of
joined rows, and codes of images or texts alone have others."""

OPTIONS = {
    name: parameter.default
    for name, parameter in inspect.signature(fit).parameters.items()
    if name not in _OWN
}
"""Those that are passed on, with their defaults."""

_OUTSIDE = (
    "client", "persist", "checkpoint", "checkpoint_every", "callbacks", "progress", "n_threads",
    "worker_timeout",
)  # fmt: skip
"""Of these, those that are no settings of the problem."""


class Learning(NamedTuple):
    """Arguments of `fit`, checked.

    Attributes
    ----------
    arguments : dict
    whiten : float or None
        Of the images.
    dtype : numpy.dtype
    """

    arguments: dict[str, Any]
    whiten: float | None
    dtype: np.dtype

    @property
    def n_components(self):
        return self.arguments["n_components"]

    @contextlib.contextmanager
    def executor(self):
        """Where passes beside the fit run, with a bar of their own."""
        given = [self.arguments[name] for name in ("client", "n_threads", "worker_timeout")]
        executor = make_executor(*given)
        try:
            with parts_shown(self.arguments["progress"], "pairs"):
                yield executor
        finally:
            executor.close()

    def beside(self, name):
        """A checkpoint of its own for a later fit, as arguments of `run`."""
        path = self.arguments["checkpoint"]
        return {} if path is None else {"checkpoint": f"{os.fspath(path)}-{name}"}

    def run(self, rows, halves=None, **more):
        """Learn from rows as they are; with ``halves`` what is interrupted brings a result of both."""
        if "init" in more:  # what was learned is gone on with
            more = {**more, "growth": None, "ramp": False}
        try:
            return fit(rows, **{**self.arguments, **more})
        except (FitInterrupted, WorkersLost) as stop:
            stop.result = None if stop.result is None or halves is None else self.of_both(stop.result, halves)
            raise

    def with_dictionary(self, found, dictionary):
        """A result of rows as they are, with another dictionary."""
        parts = (found.coder.target, found.history, found.stop_reason, found.settings)
        return Result(dictionary.astype(self.dtype), Transform(), *parts)

    def of_both(self, found, halves):
        """A result of joined rows as one of images and texts side by side, as they are given."""
        transform = halves.transform()
        dictionary = transform.from_coding(found.dictionary.values)
        settings = {**found.settings, "whiten_images": self.whiten}
        return Result(dictionary, transform, found.coder.target, found.history, found.stop_reason, settings)


def check_options(n_components, n_nonzero_coefs, whiten, options):
    """Check what can be checked without data; returns `Learning`."""
    unknown = [name for name in options if name not in OPTIONS]
    if unknown:
        raise TypeError(
            f"fit_joint() has no argument {unknown[0]!r}; those of fit that it takes are {', '.join(OPTIONS)}"
        )
    given = OPTIONS | options
    rest = {name: value for name, value in given.items() if name not in _OUTSIDE}
    rest |= {"init": "rows", "center": True, "scale": False, "holdout": 0.0, "whiten": whiten}
    settings = check_settings(n_components, n_nonzero_coefs=n_nonzero_coefs, **rest)
    arguments = {"n_components": n_components, "n_nonzero_coefs": n_nonzero_coefs, **given}
    arguments["random_state"] = settings.random_state
    return Learning(arguments, settings.whiten, settings.dtype)
