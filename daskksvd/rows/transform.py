"""The linear map from samples to the space in which they are coded, and back."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from ..kernels.jit import read_only
from ..kernels.rows import widen
from ..machine.blas import product_by_rows

if TYPE_CHECKING:
    import numpy.typing as npt

    from .survey import Survey

ZERO_VARIANCE = 1e-15
"""Features whose variance is under this share of the mean square are constant:
rounding noise must not be scaled up. Means and variances are in float64."""

EIGENVALUE_FLOOR = 1e-7
"""Principal components with less than this share of the largest eigenvalue
are divided as if they had it: below lies single-precision noise."""


class Transform(NamedTuple):
    """``y' = ((y - mean) @ basis) / scale``; each part may be None.

    Attributes
    ----------
    mean : (d,) float64 array or None
    basis : (d, d) float64 array or None
        Principal components, one a column; orthogonal.
    scale : (d,) float64 array or None
        Per-feature standard deviations, or powers of the eigenvalues.

    Notes
    -----
    The basis is orthogonal, so a residual ``r'`` in the coding space has the
    squared norm ``sum_f (r'_f scale_f)^2`` in the original one. Dictionaries
    are shown on the original features: coding uses ``D @ basis``.
    """

    mean: np.ndarray | None = None
    basis: np.ndarray | None = None
    scale: np.ndarray | None = None

    def told(self) -> str:
        """What is done to samples, in words."""
        done = [("centred", self.mean), ("whitened", self.basis)]
        done += [("scaled", self.scale)] if self.basis is None else []
        return ", ".join(word for word, part in done if part is not None) or "as they are"

    def cast(self, dtype: npt.DTypeLike) -> Transform:
        """The same map in the dtype of the computation; the mean stays in float64."""
        basis, scale = (None if part is None else part.astype(dtype) for part in (self.basis, self.scale))
        return Transform(self.mean, basis, scale)

    def apply(self, rows: np.ndarray, dtype: npt.DTypeLike, work: np.ndarray | None = None) -> np.ndarray:
        """Prepared copy of some rows (n, d), C-contiguous, of ``dtype``.

        It is made in ``work``, at least n rows of that dtype, where that is given.
        """
        work = np.empty(rows.shape, dtype) if work is None else work[: len(rows)]
        if self.mean is not None and np.result_type(rows.dtype, dtype) != dtype:
            # values too long for the dtype: what is left of them after centring is not
            rows = np.subtract(rows, self.mean, out=work, casting="same_kind")
        else:
            rows = copy_rows(rows, work)
            if self.mean is not None:
                rows -= self.mean.astype(dtype)
        if self.basis is not None:
            rows = product_by_rows(rows, self.basis)
        if self.scale is not None:
            rows /= self.scale
        return rows

    def undo(self, rows: np.ndarray) -> np.ndarray:
        """From the coding space back to samples."""
        if self.scale is not None:
            rows = rows * self.scale
        if self.basis is not None:
            rows = rows @ self.basis.T
        if self.mean is not None:
            rows = rows + self.mean
        return rows

    def to_coding(self, dictionary: np.ndarray) -> np.ndarray:
        """Atoms on the original features to atoms of the coding space."""
        return dictionary if self.basis is None else dictionary @ self.basis.astype(dictionary.dtype)

    def from_coding(self, dictionary: np.ndarray) -> np.ndarray:
        """The inverse of `to_coding`."""
        return dictionary if self.basis is None else dictionary @ self.basis.T.astype(dictionary.dtype)

    def decoder(self, dictionary: np.ndarray) -> np.ndarray:
        """What codes are multiplied with to give samples, but for the mean."""
        atoms = self.to_coding(dictionary.astype(np.float64))
        return self._replace(mean=None).undo(atoms)


def copy_rows(rows: np.ndarray, work: np.ndarray) -> np.ndarray:
    """Copy rows into an array of another dtype, half precision fast."""
    if rows.dtype == np.float16 and work.dtype == np.float32 and rows.flags.c_contiguous:
        widen(read_only(rows.view(np.uint16)), work)
    else:
        np.copyto(work, rows, casting="unsafe")
    return work


def make_transform(survey: Survey, center: bool, scale: bool, whiten: float | None) -> Transform:
    """The map asked for, from a survey of the data.

    Parameters
    ----------
    survey : rows.Survey
    center, scale : bool
    whiten : float or None
        Power of the eigenvalues: principal component f is divided by
        ``eigenvalue_f ** whiten``; 0.5 is full whitening, 0.25 half.
    """
    mean = survey.mean if center or whiten is not None else None
    if whiten is not None:
        values, basis = np.linalg.eigh(survey.covariance)
        values, basis = values[::-1], basis[:, ::-1]
        values = np.maximum(values, EIGENVALUE_FLOOR * values[0])
        # the sign of an eigenvector is arbitrary; fix it
        signs = np.sign(basis[np.abs(basis).argmax(axis=0), np.arange(len(basis))])
        return Transform(mean, np.ascontiguousarray(basis * signs), values**whiten)
    if scale:
        variance = survey.variance
        constant = variance <= ZERO_VARIANCE * (survey.mean**2 + variance)
        return Transform(mean, None, np.where(constant, 1.0, np.sqrt(variance)))
    return Transform(mean, None, None)
