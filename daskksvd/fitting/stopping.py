"""When the coding of a row stops, as it is asked for."""

import math
from typing import Literal, NamedTuple, TypeAlias, get_args

from ..arguments import choice, flag, integer, number
from ..coding import SparsityTarget
from ..coding.target import Pursuit

Threshold: TypeAlias = Literal["mean", "noise"]

PURSUITS, THRESHOLDS = map(get_args, (Pursuit, Threshold))


class Stopping(NamedTuple):
    """Checked arguments; see `daskksvd.fit` for what they mean."""

    n_components: int
    n_nonzero_coefs: int | None
    rtol: float | None
    pursuit: Pursuit
    nonnegative: bool
    threshold: float | Threshold | None

    def target(self, d):
        """When coding stops: without a number of nonzeros at most when atoms span the space.

        A threshold by a rule is found later; see `thresholds`.
        """
        width = self.n_nonzero_coefs or min(self.n_components, d)
        threshold = self.threshold if isinstance(self.threshold, float) else 0.0
        return SparsityTarget(width, self.rtol or 0.0, self.pursuit, self.nonnegative, threshold)

    def most_nonzeros(self, d):
        """Most nonzeros a row, of codes with a threshold by a rule, too."""
        width = self.target(d).n_nonzero_coefs
        return mean_width(width, self.n_components, d) if self.threshold == "mean" else width


def mean_width(n_nonzero_coefs, m, d):
    """Most nonzeros a row where so many are used on average."""
    return min(2 * n_nonzero_coefs, m, d)


def check_stopping(n_components, n_nonzero_coefs, rtol, pursuit, nonnegative=False, threshold=None):
    """Check what can be checked without the array; returns `Stopping`."""
    n_components = integer("n_components", n_components, 1)
    nonnegative = flag("nonnegative", nonnegative)
    if n_nonzero_coefs is None and rtol is None and threshold is None:
        raise ValueError(
            "neither n_nonzero_coefs nor rtol was given, nor a threshold; say where coding stops: "
            "n_nonzero_coefs= (most nonzeros a row), rtol= (relative residual norm), threshold= (least "
            "correlation with what is left) or several"
        )
    if n_nonzero_coefs is not None:
        n_nonzero_coefs = integer("n_nonzero_coefs", n_nonzero_coefs, 1)
        if n_nonzero_coefs > n_components:
            raise ValueError(
                f"n_nonzero_coefs={n_nonzero_coefs} is more than n_components={n_components}; "
                "a row cannot use more atoms than there are"
            )
    if rtol is not None:
        rtol = number("rtol", rtol, 0, 1, "more than 0 and less than 1", open_ends=True)
    threshold = _checked(threshold, n_nonzero_coefs, rtol, nonnegative)
    choice("pursuit", pursuit, PURSUITS)
    return Stopping(n_components, n_nonzero_coefs, rtol, pursuit, nonnegative, threshold)


def _checked(threshold, n_nonzero_coefs, rtol, nonnegative):
    """A threshold as a float, a rule or None."""
    if threshold is None:
        return None
    if not isinstance(threshold, str):
        allowed = "a number above 0 (in units of the transformed rows), 'mean' or 'noise'"
        return number("threshold", threshold, 0, math.inf, allowed, open_ends=True)
    choice("threshold", threshold, THRESHOLDS, "or a number above 0")
    if threshold == "mean" and n_nonzero_coefs is None:
        raise ValueError(
            "threshold='mean' was given without n_nonzero_coefs; give the number of nonzeros that rows are "
            "to have on average"
        )
    if threshold == "noise" and not nonnegative:
        raise ValueError(
            "threshold='noise' was given without nonnegative=True; negative correlations with what is left "
            "tell how much of the positive ones is noise"
        )
    if threshold == "noise" and n_nonzero_coefs is None and rtol is None:
        raise ValueError(
            "threshold='noise' was given alone; rows are first coded without it, so give n_nonzero_coefs "
            "(most nonzeros a row), rtol or both, too"
        )
    return threshold


def restopped(coder, n_nonzero_coefs, rtol, threshold, nonnegative, pursuit):
    """`Stopping` of another target for a `SparseCoder`, see `Result.with_target`."""
    target, (m, d) = coder.target, coder.dictionary.shape
    if n_nonzero_coefs is None and rtol is None and threshold is None:
        n_nonzero_coefs, rtol, threshold = (
            target.n_nonzero_coefs,
            target.rtol or None,
            target.threshold or None,
        )
    nonnegative = target.nonnegative if nonnegative is None else nonnegative
    pursuit = target.pursuit if pursuit is None else pursuit
    stopping = check_stopping(m, n_nonzero_coefs, rtol, pursuit, nonnegative, threshold)
    if n_nonzero_coefs is not None and n_nonzero_coefs > d:
        raise ValueError(
            f"n_nonzero_coefs={n_nonzero_coefs} is more than the {d} features of the atoms; {d} of them "
            "already span the space"
        )
    return stopping
