"""How far encodings of prompts are from those of captions."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal, TypeAlias, get_args

if TYPE_CHECKING:
    import torch

Error: TypeAlias = Literal["correlation", "squared"]


def correlation(prompts: torch.Tensor, targets: torch.Tensor) -> torch.Tensor:
    """One minus the correlation of prompts and targets.

    Both are centred over the rows given, and what remains is correlated over all numbers: what all prompts
    have in common, such as their template, and how long their differences are, count neither for nor against
    them. The square of the correlation is the share of the targets' variance that prompts explain after one
    fitted scale; of that itself a gradient could take the scale below 0.

    Parameters
    ----------
    prompts, targets : (b, e) torch.Tensor

    Returns
    -------
    torch.Tensor
        A scalar, 1 - <P, C> / (||P|| ||C||) for centred P and C, in [0, 2].
    """
    p, c = prompts - prompts.mean(0), targets - targets.mean(0)
    return 1 - (p * c).sum() / (p.square().sum() * c.square().sum()).clamp(min=TINY).sqrt()


def squared(prompts: torch.Tensor, targets: torch.Tensor) -> torch.Tensor:
    """Mean squared distance ||p - c||^2 of rows, nothing centred; a scalar."""
    return (prompts - targets).square().sum(1).mean()


TINY = 1e-12
"""Prompts that are all alike, or targets that are, correlate with nothing."""

MEASURES = {"correlation": correlation, "squared": squared}
ERRORS = get_args(Error)
