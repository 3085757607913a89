"""Orthogonal matching pursuit as one kernel of a graphics card, written in Triton.

`pursuit.omp` goes through the correlations of a block several times a step, in
the card's memory; here those of a row stay in registers from its first step to
its last, and what is fetched is rows of the Gram matrix, from the cache.
"""

import torch
import triton
import triton.language as tl

from .pursuit import Found

MOST_ATOMS = 2**14
"""Atoms up to which correlations fit the registers."""

MOST_NONZEROS = 64
"""Nonzeros up to which the triangle of a support does."""

_ATOMS_PER_WARP = 512
"""Atoms that 32 threads take: 16 registers each for correlations, and as many before the first step."""


@triton.jit
def _omp(
    correlations, gram, least, target, pivot_min, support_out, values_out, explained_out, hard_out, m,
    NONNEGATIVE: tl.constexpr, WIDTH: tl.constexpr, SLOTS: tl.constexpr, COLUMNS: tl.constexpr,
):  # fmt: skip
    row = tl.program_id(0).to(tl.int64)
    columns = tl.arange(0, COLUMNS)
    inside = columns < m
    of_row = tl.load(correlations + row * m + columns, mask=inside, other=0.0)
    left = of_row
    slots = tl.arange(0, SLOTS)
    support = tl.zeros((SLOTS,), tl.int32)
    values = tl.zeros((SLOTS,), tl.float32)
    inverse = tl.zeros((SLOTS, SLOTS), tl.float32)
    nothing = tl.load(least + row)
    going = tl.load(target + row) > 0
    hard = going & (nothing < 0)
    explained = tl.load(target + row) * 0
    size = 0
    for step_number in range(WIDTH):
        strength = tl.where(inside, left, -1.0) if NONNEGATIVE else tl.abs(left)
        top, atom = tl.max(strength, axis=0, return_indices=True)
        going = going & (top > nothing)
        correlation = tl.sum(tl.where(columns == atom, left, 0.0), axis=0)
        line_of_atom = gram + atom.to(tl.int64) * m
        inner = tl.load(line_of_atom + support, mask=slots < step_number, other=0.0)
        on_span = tl.sum(inverse * inner[None, :], axis=1)
        pivot = tl.load(line_of_atom + atom) - tl.sum(on_span * on_span, axis=0)
        doubtful = going & (pivot < pivot_min)
        hard = hard | doubtful
        going = going & (pivot >= pivot_min)
        factor = tl.where(going, 1.0 / tl.sqrt(tl.maximum(pivot, pivot_min)), 0.0)
        step = factor * correlation
        line = -factor * tl.sum(inverse * on_span[:, None], axis=0)
        here = slots == step_number
        if NONNEGATIVE:
            short = tl.where(slots < step_number, tl.where(values + step * line > 0, 0, 1), 0)
            turned = going & (tl.sum(short, axis=0) > 0)
            hard = hard | turned
            going = going & (tl.sum(short, axis=0) == 0)
            factor = tl.where(going, factor, 0.0)
            step = tl.where(going, step, 0.0)
            line = tl.where(going, line, 0.0)
        line = tl.where(here, factor, line)
        inverse = tl.where(here[:, None], line[None, :], inverse)
        values += step * line
        support = tl.where(here, tl.where(going, atom, 0), support)
        size += going.to(tl.int32)
        explained += step.to(tl.float64) * step.to(tl.float64)
        left = of_row
        for slot in range(step_number + 1):
            value = tl.sum(tl.where(slots == slot, values, 0.0), axis=0)
            chosen = tl.sum(tl.where(slots == slot, support, 0), axis=0)
            others = tl.load(gram + chosen.to(tl.int64) * m + columns, mask=inside, other=0.0)
            left -= value * others
    written = slots < WIDTH
    tl.store(
        support_out + row * WIDTH + slots, tl.where(slots < size, support, -1).to(tl.int64), mask=written
    )
    tl.store(values_out + row * WIDTH + slots, values, mask=written)
    tl.store(explained_out + row, explained)
    tl.store(hard_out + row, hard)


def can_fuse(n_atoms, dtype, device, rules):
    """Whether `omp` can code with so many atoms, by these rules, on a device."""
    return (
        device.type == "cuda"
        and dtype == torch.float32
        and n_atoms <= MOST_ATOMS
        and rules.n_nonzero_coefs <= MOST_NONZEROS
        and rules.floor == 0
    )


def omp(correlations, gram, energy, rules):
    """As `pursuit.omp`, where `can_fuse` says so."""
    n, m = correlations.shape
    k = rules.n_nonzero_coefs
    new = {"device": correlations.device}
    found = Found(
        torch.empty((n, k), dtype=torch.int64, **new),
        torch.empty((n, k), dtype=torch.float32, **new),
        torch.empty(n, dtype=torch.float64, **new),
        torch.empty(n, dtype=torch.bool, **new),
    )
    if n == 0:
        return found
    columns = triton.next_power_of_2(m)
    with torch.cuda.device_of(correlations):  # Triton starts kernels on the current one
        _omp[(n,)](
            correlations, gram, rules.least(energy, torch.float32), energy, rules.pivot_min, *found, m,
            NONNEGATIVE=rules.nonnegative, WIDTH=k, SLOTS=max(16, triton.next_power_of_2(k)),
            COLUMNS=columns, num_warps=min(32, max(1, columns // _ATOMS_PER_WARP)),
        )  # fmt: skip
    return found
