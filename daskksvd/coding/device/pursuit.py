"""Matching pursuits of a block of rows in the Gram domain, all rows at once, in PyTorch.

The same steps as those of `kernels.pursuit`, on the same stopping rules. What
single steps cannot tell is marked hard; of non-negative codes the rows, too, in
which an atom has to leave the support.
"""

from typing import NamedTuple

import torch

FIRST_WIDTH = 64
"""Atoms of a support for which there is room at first; with ``rtol`` alone few rows take more."""


class Found(NamedTuple):
    """Codes of a block of rows, on the device.

    Attributes
    ----------
    support : (n, k) int64 tensor
        Atoms in the order chosen; -1 where unused.
    values : (n, k) float tensor
    explained : (n,) float64 tensor
        The energy that each row's code captures.
    hard : (n,) bool tensor
        Rows to be gone on with in double precision.
    """

    support: torch.Tensor
    values: torch.Tensor
    explained: torch.Tensor
    hard: torch.Tensor


class Rules(NamedTuple):
    """When a row is finished, see `kernels.pursuit.omp`.

    Attributes
    ----------
    n_nonzero_coefs : int
    floor : float
        Share of a row's energy at which it is finished; 0 for none.
    threshold : float
        Least strength of a correlation at which an atom is taken.
    nonnegative : bool
        Whether only positive coefficients count.
    rounding : float
        Share of a row's norm under which a correlation may be rounding alone.
    pivot_min : float
        Least squared distance of a new atom from the span of the support.
    slack : float
        Units of ``rounding`` by which the captured energy may be wrong, in
        parts of the row's.
    """

    n_nonzero_coefs: int
    floor: float
    threshold: float
    nonnegative: bool
    rounding: float
    pivot_min: float
    slack: float

    def least(self, energy, kind):
        """What a correlation must be above for its atom to be taken, of each row."""
        below = torch.tensor(self.threshold, dtype=kind)
        below = torch.nextafter(below, torch.zeros_like(below)) if self.threshold > 0 else -below
        return (self.rounding * energy.sqrt()).to(kind).clamp(min=float(below))

    def strength(self, correlations):
        """What atoms are chosen by."""
        return correlations if self.nonnegative else correlations.abs()


def combine(codes, support, atoms):
    """Sums of the rows of ``atoms`` that supports name, times ``codes``.

    Parameters
    ----------
    codes : (n, s) float tensor
        0 where a support has no atom.
    support : (n, s) int64 tensor
    atoms : (m, d) float tensor
    """
    return torch.nn.functional.embedding_bag(
        support.clamp(min=0), atoms, per_sample_weights=codes, mode="sum"
    )


def left_energy(rows, support, values, atoms):
    """Squared norms of what codes leave of rows, in double precision."""
    left = rows.double() - combine(values.double(), support, atoms.double())
    return (left * left).sum(1)


def omp(correlations, gram, energy, rules, rows, atoms):
    """Orthogonal matching pursuit.

    Beside the support a row keeps the inverse of the Cholesky factor of the
    support's Gram matrix: a new row of it gives the new coefficients, and
    those the correlations of the residual, ``P - X G`` (Rubinstein,
    Zibulevsky, Elad 2008, equations 3 and 4).

    Parameters
    ----------
    correlations : (n, m) float tensor
        Of the rows with all atoms.
    gram : (m, m) float tensor
        Inner products of atoms.
    energy : (n,) float64 tensor
        Squared norms of the rows.
    rules : Rules
    rows : (n, d) float tensor
        Looked at only to measure what is left of a row.
    atoms : (m, d) float tensor

    Returns
    -------
    Found
    """
    n, k, kind = len(correlations), rules.n_nonzero_coefs, correlations.dtype
    new = {"device": correlations.device}
    support = torch.full((n, k), -1, dtype=torch.int64, **new)
    values = torch.zeros((n, k), dtype=kind, **new)
    room = min(k, FIRST_WIDTH)
    inverse = torch.zeros((n, room, room), dtype=kind, **new)
    explained = torch.zeros(n, dtype=torch.float64, **new)
    hard = torch.zeros(n, dtype=torch.bool, **new)
    least = rules.least(energy, kind)
    target = (1 - rules.floor) * energy
    going, diagonal, left = target > 0, gram.diagonal(), correlations
    for size in range(k):
        if size == room:
            more = min(k, 2 * room) - room
            inverse, room = torch.nn.functional.pad(inverse, (0, more, 0, more)), room + more
        top, atom = rules.strength(left).max(1)
        going = going & (top > least)
        chosen = support[:, :size]
        inner = gram[atom[:, None], chosen.clamp(min=0)]
        inner = torch.where(chosen >= 0, inner, 0)
        on_span = _times(inverse[:, :size, :size], inner)
        pivot = diagonal[atom] - (on_span * on_span).sum(1)
        doubtful = going & (pivot < rules.pivot_min)
        hard, going = hard | doubtful, going & ~doubtful
        factor = torch.where(going, pivot.clamp(min=rules.pivot_min).rsqrt(), 0)
        step = factor * left.gather(1, atom[:, None])[:, 0]
        line = -factor[:, None] * _times(inverse[:, :size, :size].mT, on_span)
        if rules.nonnegative:
            turned = going & ~(values[:, :size] + step[:, None] * line > 0).all(1)
            hard, going = hard | turned, going & ~turned
            factor, step = torch.where(going, factor, 0), torch.where(going, step, 0)
            line = torch.where(going[:, None], line, 0)
        inverse[:, size, :size], inverse[:, size, size] = line, factor
        values[:, :size] += step[:, None] * line
        values[:, size] = step * factor
        support[:, size] = torch.where(going, atom, -1)
        explained += step.double() ** 2
        if size + 1 == k:
            break
        if rules.floor > 0:
            going = unfinished(going, explained, target, energy, rules, rows, support, values, atoms)
            if not going.any():
                break
        now = slice(size + 1)
        left = correlations - combine(values[:, now], support[:, now], gram)
    return Found(support, values, explained, hard)


def _times(matrices, vectors):
    """``matrices @ vectors``, one of each a row."""
    return (matrices @ vectors[:, :, None])[:, :, 0]


def unfinished(going, explained, target, energy, rules, rows, support, values, atoms):
    """Rows of which more is left than is asked for; where rounding could decide, it is measured."""
    above = explained - target
    more = above < 0
    near = torch.nonzero(going & (above.abs() < rules.slack * rules.rounding * energy))[:, 0]
    if len(near):
        rest = left_energy(rows[near], support[near], values[near], atoms)
        more[near] = rest > rules.floor * energy[near]
    return going & more


def mp(correlations, gram, energy, rules, steps):
    """Matching pursuit with the coefficients refitted on the support.

    See `kernels.pursuit.mp`. ``correlations`` are overwritten; other arguments as for `omp`.
    """
    n, k, kind = len(correlations), rules.n_nonzero_coefs, correlations.dtype
    new = {"device": correlations.device}
    support = torch.full((n, k), -1, dtype=torch.int64, **new)
    coefficients, first = (torch.zeros((n, k), dtype=kind, **new) for _ in range(2))
    sizes = torch.zeros(n, dtype=torch.int64, **new)
    least = rules.least(energy, kind)
    left, target = energy.clone(), rules.floor * energy
    going, diagonal = torch.ones(n, dtype=torch.bool, **new), gram.diagonal()
    slots = torch.arange(k, **new)
    for _ in range(steps):
        top, atom = rules.strength(correlations).max(1)
        going = going & (top > least) & (left > target)
        known = support == atom[:, None]
        is_new = ~known.any(1)
        going = going & ~(is_new & (sizes == k))
        if not going.any():
            break
        correlation = correlations.gather(1, atom[:, None])[:, 0]
        step = torch.where(going, correlation / diagonal[atom], 0)
        # the correlation of y itself: what is left of it, and what was taken out
        inner = torch.where(support >= 0, gram[support.clamp(min=0), atom[:, None]], 0)
        of_row = correlation + (coefficients * inner).sum(1)
        here = (slots == sizes[:, None]) & (going & is_new)[:, None]
        support = torch.where(here, atom[:, None], support)
        first = torch.where(here, of_row[:, None], first)
        sizes = sizes + (going & is_new)
        coefficients = coefficients + torch.where(
            (support == atom[:, None]) & going[:, None], step[:, None], 0
        )
        left = left - (step * correlation).double()
        correlations -= step[:, None] * gram[atom]
    return _refitted(support, first, gram, rules)


def _refitted(support, products, gram, rules):
    """Least squares on supports; ``products`` are those of their atoms with the rows."""
    n, k = support.shape
    inverse = torch.zeros((n, k, k), dtype=gram.dtype, device=gram.device)
    values = torch.zeros((n, k), dtype=gram.dtype, device=gram.device)
    explained = torch.zeros(n, dtype=torch.float64, device=gram.device)
    hard = torch.zeros(n, dtype=torch.bool, device=gram.device)
    for size in range(k):
        atom, chosen = support[:, size], support[:, :size]
        used = (atom >= 0) & ~hard
        inner = gram[atom.clamp(min=0)[:, None], chosen.clamp(min=0)]
        inner = torch.where(chosen >= 0, inner, 0)
        on_span = _times(inverse[:, :size, :size], inner)
        pivot = gram.diagonal()[atom.clamp(min=0)] - (on_span * on_span).sum(1)
        hard = hard | (used & (pivot < rules.pivot_min))
        used = used & ~hard
        factor = torch.where(used, pivot.clamp(min=rules.pivot_min).rsqrt(), 0)
        line = -factor[:, None] * _times(inverse[:, :size, :size].mT, on_span)
        inverse[:, size, :size], inverse[:, size, size] = line, factor
        step = (inverse[:, size, : size + 1] * products[:, : size + 1]).sum(1)
        values[:, : size + 1] += step[:, None] * inverse[:, size, : size + 1]
        explained += step.double() ** 2
    if rules.nonnegative:
        hard = hard | ((support >= 0) & ~(values > 0)).any(1)
    return Found(support, values, explained, hard)
