"""Events of a fit as records of Python's logging."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, Any

from .events import (
    AtomsReplaced,
    CheckpointWritten,
    FitFinished,
    FitStarted,
    PassFinished,
    PassStarted,
    WaitingForWorkers,
    WaveFinished,
    WorkersReturned,
)

if TYPE_CHECKING:
    from .events import Event

logger = logging.getLogger("daskksvd.fit")


class EventLogger:
    """Callback that logs under the name ``daskksvd.fit``.

    ``INFO`` has the beginning and the end, every pass, checkpoints between passes, and when workers
    are waited for and come back. ``DEBUG`` has rounds, checkpoints within a pass, and the atoms that
    were replaced, too. What is a Python warning is not logged as one for a second time;
    `logging.captureWarnings` sends warnings to logs.
    """

    def __init__(self) -> None:
        self._waiting = False

    def __call__(self, event: Event) -> None:
        level, text, *values = self._record(event)
        if text:
            logger.log(level, text, *values)

    def _record(self, event: Event) -> tuple[Any, ...]:
        """Level, text and what is filled into it; an empty text for what is not logged."""
        match event:
            case FitStarted():
                then = f", from pass {event.first_pass + 1} on" if event.first_pass else ""
                return (
                    logging.INFO, "fit of %d rows of %d features to %d atoms, at most %d passes%s",
                    event.n_samples, event.n_features, event.n_components, event.max_passes, then,
                )  # fmt: skip
            case PassStarted():
                return logging.DEBUG, "pass %d (%s) of %d rounds", event.index + 1, event.kind, event.n_rounds
            case WaveFinished():
                return (
                    logging.DEBUG, "pass %d, round %d: %d rows in %.3g s, relative error %.4f",
                    event.pass_index + 1, event.index + 1, event.n_samples, event.seconds,
                    event.relative_error,
                )  # fmt: skip
            case AtomsReplaced():
                return (
                    logging.DEBUG, "pass %d: %d atoms replaced: %s",
                    event.pass_index + 1, len(event.atoms), ", ".join(map(str, event.atoms)),
                )  # fmt: skip
            case PassFinished():
                return (
                    logging.INFO,
                    "pass %d (%s) took %.3g s: relative error %.4f, %.1f nonzeros a row, "
                    "%d atoms used, %d replaced",
                    event.index + 1, event.kind, event.seconds, event.relative_error, event.mean_nonzeros,
                    event.used_atoms, event.replaced_atoms,
                )  # fmt: skip
            case CheckpointWritten():
                return (
                    logging.DEBUG if event.wave_index else logging.INFO,
                    "checkpoint written to %s, in pass %d after %d rounds",
                    event.path, event.pass_index + 1, event.wave_index,
                )  # fmt: skip
            case FitFinished():
                return (
                    logging.INFO, "fit ended by %s after %d passes and %.3g s",
                    event.stop_reason, event.n_passes, event.seconds,
                )  # fmt: skip
            case WaitingForWorkers():
                level = logging.DEBUG if self._waiting else logging.INFO
                self._waiting = True
                return level, "waiting for %s, since %.0f s", event.reason, event.seconds
            case WorkersReturned():
                self._waiting = False
                return logging.INFO, "workers are back after %.0f s", event.seconds
        return logging.DEBUG, ""
