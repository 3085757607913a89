"""How sparse codes are to be."""

from typing import Literal, NamedTuple, TypeAlias

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
