"""What stands in a slot while gradients choose its word: vectors, mixtures of words, or drawn words."""

from __future__ import annotations

import abc
from collections.abc import Callable
from typing import TYPE_CHECKING, Literal, TypeAlias, get_args

import numpy as np

if TYPE_CHECKING:
    import torch

Variant: TypeAlias = Literal["softmax", "straight_through", "free"]

VARIANTS = get_args(Variant)

HEADSTART = 2.0
"""Logit of the word that a side starts with; those of its other candidates are 0."""

NEVER = -1e4
"""Logit of what is no candidate: its weight is 0, and finite gradients stay finite."""

RATES = {"softmax": 0.2, "straight_through": 0.2, "free": 0.01}
"""Learning rates: of logits, and of vectors, which are about 1 long."""


class Relaxation(abc.ABC):
    """Something of every side that gradients move, and its way into slots and to words.

    Parameters
    ----------
    table : (W, width) torch.Tensor
        Vectors of all words.
    candidates : (S, K) int array
        Numbers of the words that each side may have, -1 after the last.
    start : (S,) int array
        The word that each side starts with, one of its candidates; -1 for a side that takes no part.

    Attributes
    ----------
    parameters : list of torch.Tensor
    """

    def __init__(self, table: torch.Tensor, candidates: np.ndarray, start: np.ndarray):
        import torch

        self.table = table
        self.candidates = torch.as_tensor(np.maximum(candidates, 0), device=table.device)
        self.outside = torch.as_tensor(candidates < 0, device=table.device)
        self.start = torch.as_tensor(start, device=table.device)
        self.parameters: list[torch.Tensor] = []

    @abc.abstractmethod
    def slots(self, sides: torch.Tensor, temperature: float, generator: torch.Generator) -> torch.Tensor:
        """Vectors (..., width) for slots that list these sides, in training."""

    @abc.abstractmethod
    def soft(self, sides: torch.Tensor, temperature: float) -> torch.Tensor:
        """The same, as they are scored."""

    @abc.abstractmethod
    def words(self) -> torch.Tensor:
        """Number of the word that every side would have now, (S,)."""

    def penalty(self, sides: torch.Tensor, temperature: float) -> torch.Tensor:
        """How far these sides are from words, a scalar; nothing by default."""
        return self.table.new_zeros(())


class Free(Relaxation):
    """A vector of every side, anywhere; its word is the nearest of the candidates of any side."""

    def __init__(self, table, candidates, start):
        super().__init__(table, candidates, start)
        self.vectors = table[self.start.clamp(min=0)].clone().requires_grad_(True)
        self.parameters = [self.vectors]
        self.known = self.candidates[~self.outside].unique()

    def slots(self, sides, temperature, generator):
        return self.vectors[sides]

    def soft(self, sides, temperature):
        return self.vectors[sides]

    def words(self):
        import torch

        near = torch.cdist(self.vectors.detach(), self.table[self.known])
        return self.known[near.argmin(1)]


class Softmax(Relaxation):
    """A mixture of the vectors of a side's candidates, whose weights are a softmax of logits."""

    def __init__(self, table, candidates, start):
        import torch

        super().__init__(table, candidates, start)
        logits = torch.zeros(candidates.shape, device=table.device)
        logits[self.candidates == self.start[:, None]] = HEADSTART
        logits[self.outside] = NEVER
        self.logits = logits.requires_grad_(True)
        self.parameters = [self.logits]

    def weights(self, sides, temperature):
        """(..., K), which sum to 1."""
        return (self.logits[sides] / temperature).softmax(-1)

    def mixed(self, weights, sides):
        """The vectors of candidates, weighed."""
        everywhere = weights.new_zeros((*weights.shape[:-1], len(self.table)))
        return everywhere.scatter_add(-1, self.candidates[sides], weights) @ self.table

    def slots(self, sides, temperature, generator):
        return self.mixed(self.weights(sides, temperature), sides)

    def soft(self, sides, temperature):
        return self.mixed(self.weights(sides, temperature), sides)

    def words(self):
        best = self.logits.detach().argmax(1, keepdim=True)
        return self.candidates.gather(1, best)[:, 0]

    def penalty(self, sides, temperature):
        """Mean entropy of the mixtures, in nats."""
        scaled = self.logits[sides] / temperature
        return (scaled.logsumexp(-1) - (scaled.softmax(-1) * scaled).sum(-1)).mean()


class StraightThrough(Softmax):
    """Words drawn by their weights go in, the gradient passes as if the mixture had."""

    def slots(self, sides, temperature, generator):
        import torch

        scaled = self.logits[sides] / temperature
        noise = torch.empty_like(scaled).exponential_(generator=generator).log().neg()
        weights = (scaled + noise).softmax(-1)  # the largest of logits with Gumbel noise is a draw by softmax
        hard = torch.zeros_like(weights).scatter(-1, weights.argmax(-1, keepdim=True), 1.0)
        return self.mixed(hard + weights - weights.detach(), sides)


KINDS: dict[str, Callable[..., Relaxation]] = {
    "softmax": Softmax,
    "straight_through": StraightThrough,
    "free": Free,
}
