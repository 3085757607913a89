"""How sparse codes are to be."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Literal, NamedTuple, TypeAlias

import numpy as np

if TYPE_CHECKING:
    import numpy.typing as npt

Pursuit: TypeAlias = Literal["omp", "mp"]


class SparsityTarget(NamedTuple):
    """When the coding of a row stops.

    Attributes
    ----------
    n_nonzero_coefs : int
        Most nonzeros a row.
    rtol : float
        Relative residual norm at which a row is finished; 0 if only the
        number of nonzeros counts.
    pursuit : {"omp", "mp"}
        Orthogonal matching pursuit, or matching pursuit.
    nonnegative : bool
        Whether coefficients are positive only: atoms are chosen by the largest positive correlation with
        the residual, and coefficients are the non-negative least squares of the row on its support.
    threshold : float
        No atom is taken whose correlation with the residual (its magnitude, or, of non-negative codes,
        itself) is below this, in units of the transformed rows; 0 for none.
    """

    n_nonzero_coefs: int
    rtol: float = 0.0
    pursuit: Pursuit = "omp"
    nonnegative: bool = False
    threshold: float = 0.0

    @property
    def positive(self) -> Literal[True] | None:
        """``nonnegative`` as kernels take it: True or None, which are two types."""
        return True if self.nonnegative else None

    def stages(
        self, prefixes: tuple[int, ...], n_components: int, end: int
    ) -> tuple[npt.NDArray[np.int64] | None, npt.NDArray[np.int64] | None]:
        """Prefixes of a dictionary as kernels take them, see `kernels.nested`.

        Parameters
        ----------
        prefixes : tuple of int
            Those of all ``n_components`` atoms and more are left out.
        n_components, end : int
            Number of atoms; end of the last prefix, all of them.

        Returns
        -------
        ends, rooms : (s,) int64 arrays, or None without prefixes
            Ends, and most nonzeros up to each: with a threshold that alone decides, without it each prefix
            has its share.
        """
        ends = [prefix for prefix in prefixes if prefix < n_components]
        if not ends:
            return None, None
        k, n = self.n_nonzero_coefs, len(ends) + 1
        rooms = [k if self.threshold else math.ceil(k * (stage + 1) / n) for stage in range(n)]
        return np.array([*ends, end]), np.array(rooms)

    def told(self) -> str:
        """When the coding of a row stops, in words."""
        stops = [f"{self.n_nonzero_coefs} atoms"]
        stops += [f"a residual of {self.rtol:.3g}"] if self.rtol > 0 else []
        stops += [f"correlations under {self.threshold:.4g}"] if self.threshold > 0 else []
        return f"{' or '.join(stops)} ({self.pursuit}{', non-negative' if self.nonnegative else ''})"
