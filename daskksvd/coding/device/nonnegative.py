"""Codes without negative coefficients, all rows at once; see `kernels.nonnegative`.

The rows of which `pursuit.omp` marks that a coefficient would turn negative
come here, from their beginning: few of them, and each has a support of its
own size from then on.
"""

import torch

from ...kernels.nonnegative import STEPS_PER_COEF
from .pursuit import Found, combine, unfinished


def pursue(correlations, gram, energy, rules, rows, atoms):
    """Non-negative orthogonal matching pursuit; arguments as for `pursuit.omp`."""
    n, k, kind = len(correlations), rules.n_nonzero_coefs, correlations.dtype
    new = {"device": correlations.device}
    support = torch.full((n, k), -1, dtype=torch.int64, **new)
    values = torch.zeros((n, k), dtype=kind, **new)
    sizes = torch.zeros(n, dtype=torch.int64, **new)
    hard = torch.zeros(n, dtype=torch.bool, **new)
    target = (1 - rules.floor) * energy
    going, slots, left = target > 0, torch.arange(k, **new), correlations
    for _ in range(STEPS_PER_COEF * k):
        top, atom = left.max(1)
        going = going & (sizes < k) & (top > rules.least(energy, kind))
        if not going.any():
            break
        here = (slots == sizes[:, None]) & going[:, None]
        support = torch.where(here, atom[:, None], support)
        sizes = sizes + going
        moving = going
        while moving.any():
            wanted, pivot = _least_squares(support, correlations, gram)
            doubtful = moving & (pivot < rules.pivot_min)
            hard, going, moving = hard | doubtful, going & ~doubtful, moving & ~doubtful
            values, place = _moved(values, wanted, support, moving)
            moving = moving & (place >= 0)
            support, values = _dropped(support, values, torch.where(moving, place, k))
            sizes = sizes - moving.to(sizes.dtype)
        if rules.floor > 0:
            explained = (values * _of_support(correlations, support)).sum(1).double()
            going = unfinished(going, explained, target, energy, rules, rows, support, values, atoms)
        left = correlations - combine(values, support, gram)
    # of least squares on a support the captured energy is x' P
    explained = (values * _of_support(correlations, support)).sum(1).double()
    return Found(support, values, explained, hard)


def _of_support(correlations, support):
    return torch.where(support >= 0, correlations.gather(1, support.clamp(min=0)), 0)


def _least_squares(support, correlations, gram):
    """Least squares on supports, and the least squared distance of an atom from the span of those before."""
    used = support >= 0
    inner = gram[support.clamp(min=0)[:, :, None], support.clamp(min=0)[:, None, :]]
    unit = torch.eye(support.shape[1], dtype=gram.dtype, device=gram.device)
    inner = torch.where(used[:, :, None] & used[:, None, :], inner, unit)
    factor, _ = torch.linalg.cholesky_ex(inner)
    pivot = torch.nan_to_num(factor.diagonal(dim1=1, dim2=2) ** 2, nan=0.0).min(1).values
    right = _of_support(correlations, support)
    return torch.cholesky_solve(right[:, :, None], factor)[:, :, 0], pivot


def _moved(values, wanted, support, moving):
    """Coefficients on their way to wanted ones, as far as none turns negative.

    Also the place of one that is zero there; -1 where all get where they should.
    """
    short = (support >= 0) & ~(wanted > 0) & moving[:, None]
    way = values - wanted
    share = torch.where(short, torch.where((values > 0) & (way > 0), values / way, 0), torch.inf)
    least, place = share.min(1)
    some = least < torch.inf
    step = torch.where(some, least, 1)[:, None]
    moved = torch.where(some[:, None], values + step * (wanted - values), wanted)
    moved = torch.where(support >= 0, moved, 0)
    return torch.where(moving[:, None], moved, values), torch.where(some, place, -1)


def _dropped(support, values, place):
    """Codes without what is in one place of each; none where it is the width."""
    k = support.shape[1]
    slots = torch.arange(k, device=support.device)
    source = slots + (slots >= place[:, None]).to(slots.dtype)
    last = source >= k
    source = source.clamp(max=k - 1)
    return torch.where(last, -1, support.gather(1, source)), torch.where(last, 0, values.gather(1, source))
