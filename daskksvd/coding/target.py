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
    """

    n_nonzero_coefs: int
    rtol: float = 0.0
    pursuit: Pursuit = "omp"
