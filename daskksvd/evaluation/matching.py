"""Which atom of one dictionary is which of another."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

if TYPE_CHECKING:
    import numpy.typing as npt
    import xarray as xr

    from ..fitting.result import Result

MATCHED_ATOMS = 4096
"""Atoms up to which two dictionaries are matched on all pairs, 268 MB of costs. With more
each atom may only go to its `MATCH_CANDIDATES` nearest."""

MATCH_CANDIDATES = 32
"""Nearest atoms considered; true partners are among the first."""


class Match(NamedTuple):
    """Pairs of atoms.

    Attributes
    ----------
    first, second : (p,) int arrays
        Atoms of the first dictionary, rising, and their partners.
    cosines : (p,) float array
        Signed; a partner of opposite sign has a negative one.
    signed : bool
        Whether such a partner is none.
    """

    first: np.ndarray
    second: np.ndarray
    cosines: np.ndarray
    signed: bool = False

    @property
    def likeness(self) -> np.ndarray:
        """How near partners are to each other: ``|cos|``, or ``cos`` where signs count."""
        return _likeness(self.cosines, self.signed)


def _likeness(cosines: np.ndarray, signed: bool) -> np.ndarray:
    return cosines if signed else np.abs(cosines)


def match_atoms(
    first: Result | xr.DataArray | npt.ArrayLike,
    second: Result | xr.DataArray | npt.ArrayLike,
    *,
    signed: bool | None = None,
) -> Match:
    """Match atoms one to one so that the sum of ``|cos|`` is greatest, or of ``cos`` where signs count.

    They do in results whose codes are non-negative, where an atom and its opposite say different things.

    Parameters
    ----------
    first, second : Result, xarray.DataArray or array
        Dictionaries, m x d and m' x d, of the same features.
    signed : bool, optional
        Whether signs count; by default where both are results with non-negative codes.

    Returns
    -------
    Match
        Of min(m, m') pairs.

    Raises
    ------
    TypeError, ValueError
        If they are no dictionaries of the same features.

    Notes
    -----
    The Hungarian method (Kuhn 1955) as `scipy.optimize.linear_sum_assignment`.
    Above `MATCHED_ATOMS` atoms only the nearest candidates of each atom are
    pairs that can be chosen, and what is left is matched greedily: memory
    then grows with the number of atoms, not with its square.
    """
    if signed is None:
        signed = all(_is_nonnegative(one) for one in (first, second))
    first, second = unit_atoms(first, "first"), unit_atoms(second, "second")
    if first.shape[1] != second.shape[1]:
        raise ValueError(
            f"first has {first.shape[1]} features, second has {second.shape[1]}; they must be the same"
        )
    if max(len(first), len(second)) <= MATCHED_ATOMS:
        from scipy.optimize import linear_sum_assignment

        rows, columns = linear_sum_assignment(_likeness(first @ second.T, signed), maximize=True)
    else:
        rows, columns = _match_nearest(first, second, signed)
    return Match(rows, columns, np.einsum("ij,ij->i", first[rows], second[columns]), signed)


def _is_nonnegative(dictionary: Any) -> bool:
    coder = getattr(dictionary, "coder", None)
    return coder is not None and coder.target.nonnegative


def unit_atoms(dictionary: Any, name: str) -> np.ndarray:
    """Atoms (m, d) of a result or an array, set to unit norm, in float64."""
    dictionary = getattr(dictionary, "dictionary", dictionary)
    atoms = np.asarray(dictionary, np.float64)
    if atoms.ndim != 2 or not atoms.size:
        raise ValueError(f"{name} has shape {atoms.shape}; it must be a dictionary, atoms x features")
    if not np.isfinite(atoms).all():
        raise ValueError(f"{name} has NaN or infinite values; all must be finite")
    norms = np.linalg.norm(atoms, axis=1, keepdims=True)
    return atoms / np.where(norms > 0, norms, 1)


def _match_nearest(first: np.ndarray, second: np.ndarray, signed: bool) -> tuple[np.ndarray, np.ndarray]:
    """The best matching among near pairs, then what is left, nearest first."""
    import scipy.sparse as sp
    from scipy.sparse.csgraph import min_weight_full_bipartite_matching

    m = len(first)
    rows, columns, cosines = _candidates(first, second, signed)
    # each atom may stay alone, as if with a partner at right angles, so that a full matching exists
    costs = np.concatenate([2 - cosines, np.full(m, 2.0)])
    rows = np.concatenate([rows, np.arange(m)])
    columns = np.concatenate([columns, len(second) + np.arange(m)])
    graph = sp.csr_matrix((costs, (rows, columns)), shape=(m, len(second) + m))
    chosen, partner = min_weight_full_bipartite_matching(graph)
    paired = partner < len(second)
    chosen, partner = chosen[paired], partner[paired]
    left, right = np.setdiff1d(np.arange(m), chosen), np.setdiff1d(np.arange(len(second)), partner)
    if len(left) and len(right):
        a, b = _greedy(first[left], second[right], signed)
        chosen, partner = np.concatenate([chosen, left[a]]), np.concatenate([partner, right[b]])
    order = np.argsort(chosen)
    return chosen[order], partner[order]


def _candidates(
    first: np.ndarray, second: np.ndarray, signed: bool
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """The nearest atoms of every atom, from either side, each pair once."""
    import scipy.sparse as sp

    k = min(MATCH_CANDIDATES, len(second), len(first))
    step = max(1, MATCHED_ATOMS**2 // (8 * len(second)))
    parts = []
    for one, other, turned in ((first, second, False), (second, first, True)):
        for start in range(0, len(one), step):
            cosines = _likeness(one[start : start + step] @ other.T, signed)
            near = np.argpartition(-cosines, k - 1, axis=1)[:, :k]
            rows = np.repeat(np.arange(start, start + len(near)), k)
            values = np.take_along_axis(cosines, near, axis=1).ravel()
            pair = (near.ravel(), rows) if turned else (rows, near.ravel())
            parts.append((*pair, values))
    rows, columns, values = map(np.concatenate, zip(*parts, strict=True))
    _, kept = np.unique(rows * len(second) + columns, return_index=True)
    pairs = sp.coo_matrix((values[kept], (rows[kept], columns[kept])))
    return pairs.row.astype(np.int64), pairs.col.astype(np.int64), pairs.data


def _greedy(first: np.ndarray, second: np.ndarray, signed: bool) -> tuple[np.ndarray, np.ndarray]:
    """Each atom in turn with the nearest that is free."""
    free = np.ones(len(second), bool)
    columns = np.empty(min(len(first), len(second)), np.int64)
    for row in range(len(columns)):
        places = np.flatnonzero(free)
        columns[row] = places[int(np.argmax(_likeness(second[places] @ first[row], signed)))]
        free[columns[row]] = False
    return np.arange(len(columns)), columns
