"""The course of a descent by minibatches through a text encoder, measured on its way."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any, Literal, NamedTuple, TypeAlias, get_args

import numpy as np

from ...tracking.parts import each_counted
from .accepting import encode_sides
from .errors import MEASURES, Error
from .relaxed import Relaxation
from .sampled import PromptSample

if TYPE_CHECKING:
    import torch
    import xarray as xr

    from ...embedding.slots import PromptSlots

Optimizer: TypeAlias = Literal["adam", "sgd"]

OPTIMIZERS = get_args(Optimizer)

CURVE_POINTS = 10
"""Points of a curve between its ends, about."""

CURVE_ROWS = 256
"""Most samples of either part that a point of the curve is measured on."""


class CurvePoint(NamedTuple):
    """Errors after some steps.

    Attributes
    ----------
    step : int
    temperature : float
    soft_train, soft_held_out : float
        With what stands in the slots: vectors, or mixtures of words.
    hard_train, hard_held_out : float
        With the words that this would become, as text.
    """

    step: int
    temperature: float
    soft_train: float
    soft_held_out: float
    hard_train: float
    hard_held_out: float


class Course:
    """A descent by minibatches, measured on its way."""

    def __init__(
        self,
        slots: PromptSlots,
        relaxation: Relaxation,
        error: Error,
        temperature: tuple[float, float],
        entropy: float,
        generator: torch.Generator,
    ):
        self.slots, self.relaxation, self.generator = slots, relaxation, generator
        self._error, self._temperature, self._entropy = MEASURES[error], temperature, entropy

    def run(
        self,
        train: PromptSample,
        held_out: PromptSample,
        steps: int,
        batch_size: int,
        optimizer: Optimizer,
        rate: float,
        rng: np.random.Generator,
        callback: Callable[[CurvePoint], Any] | None,
    ) -> list[CurvePoint]:
        """All steps; the curve."""
        import torch

        parameters = self.relaxation.parameters
        moves = {"adam": torch.optim.Adam, "sgd": torch.optim.SGD}[optimizer](parameters, lr=rate)
        shown = [
            part.take(np.sort(rng.permutation(len(part.sides))[:CURVE_ROWS])) for part in (train, held_out)
        ]
        points: list[CurvePoint] = []
        every = max(1, round(steps / CURVE_POINTS))
        for step in each_counted(range(steps + 1)):
            done = step / steps
            warmth = self._temperature[0] * (self._temperature[1] / self._temperature[0]) ** done
            if step % every == 0 or step == steps:
                points.append(CurvePoint(step, warmth, *self._point(shown[0], shown[1], warmth)))
                if callback is not None:
                    callback(points[-1])
            if step == steps:
                break
            batch = train.take(rng.integers(len(train.sides), size=batch_size))
            loss = self.loss(batch, warmth, self._entropy * done)
            gradients = torch.autograd.grad(loss, parameters, allow_unused=True)
            for parameter, gradient in zip(parameters, gradients, strict=True):
                parameter.grad = gradient
            moves.step()
        return points

    def loss(self, batch: PromptSample, warmth: float, entropy: float) -> torch.Tensor:
        """Error of a batch, and its penalty, a scalar with its gradient."""
        prompts = self._prompts(
            batch.sides, lambda sides: self.relaxation.slots(sides, warmth, self.generator)
        )
        listed = self._tensor(np.unique(batch.sides[batch.sides >= 0]))
        penalty = entropy * self.relaxation.penalty(listed, warmth) if entropy else 0.0
        return self._error(prompts, self._tensor(batch.targets)) + penalty

    def measure(self, prompts: np.ndarray, targets: np.ndarray) -> float:
        """The error of encodings in memory."""
        return float(self._error(self._tensor(prompts), self._tensor(targets)))

    def _point(
        self, train: PromptSample, held_out: PromptSample, warmth: float
    ) -> tuple[float, float, float, float]:
        """Soft errors of both parts, then hard ones."""
        words = self.relaxation.words().cpu().numpy()
        soft = [self._soft(part, warmth) for part in (train, held_out)]
        hard = [
            self.measure(encode_sides(self.slots, part.sides, words), part.targets)
            for part in (train, held_out)
        ]
        return soft[0], soft[1], hard[0], hard[1]

    def _soft(self, part, warmth):
        import torch

        with torch.no_grad():
            prompts = self._prompts(part.sides, lambda sides: self.relaxation.soft(sides, warmth))
            return float(self._error(prompts, self._tensor(part.targets)))

    def _prompts(self, sides, vectors):
        """Encodings (r, e) of prompts that list sides, by the vectors of these."""
        import torch

        lengths = (sides >= 0).sum(1)
        order, found = [], []
        for length in np.unique(lengths):
            rows = np.flatnonzero(lengths == length)
            order.append(rows)
            found.append(self.slots.encode(vectors(self._tensor(sides[rows, :length]))))
        return torch.cat(found)[self._tensor(np.argsort(np.concatenate(order)))]

    def _tensor(self, values):
        import torch

        return torch.as_tensor(values, device=self.slots.table.device)


def as_dataset(points: Sequence[CurvePoint]) -> xr.Dataset:
    """The curve by step."""
    import pandas as pd

    return pd.DataFrame(points).set_index("step").to_xarray()
