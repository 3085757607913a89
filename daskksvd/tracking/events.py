"""Typed events of a fit. A callback is any callable that takes one of them."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, TypeAlias


class StopFit(Exception):
    """Raise this in a callback to end a fit early and keep its result."""


@dataclass(frozen=True)
class Event:
    """Base of all events."""


Callback: TypeAlias = Callable[[Event], Any]


@dataclass(frozen=True)
class FitStarted(Event):
    """Learning begins, or goes on from a checkpoint.

    Attributes
    ----------
    n_samples, n_features, n_components : int
    max_passes : int
        Most passes there will be.
    first_pass : int
        0, or where the checkpoint left off.
    """

    n_samples: int
    n_features: int
    n_components: int
    max_passes: int
    first_pass: int


@dataclass(frozen=True)
class PassStarted(Event):
    """A pass over the data begins, or goes on.

    Attributes
    ----------
    index : int
    kind : str
        ``"wave"``, ``"full"`` or ``"ksvd"``.
    n_rounds : int
        Rounds in the pass: waves, parts of a full pass, or blocks of atoms.
    first_round : int
        0, or where the checkpoint left off.
    """

    index: int
    kind: str
    n_rounds: int
    first_round: int


@dataclass(frozen=True)
class WaveFinished(Event):
    """One round of a pass is done: a wave, part of a full pass, a K-SVD block.

    Attributes
    ----------
    pass_index, index : int
        Number of the pass, and of the round in it.
    kind : str
        Kind of the pass.
    n_samples : int
        Rows coded in this round; 0 where codes were only brought up to date.
    relative_error : float
        ``||Y - X D|| / ||Y||`` of those rows before the update.
    fvu : float
        Fraction of variance unexplained of those rows, in the metric of the data.
    mean_nonzeros : float
    used_atoms, replaced_atoms : int
        Atoms used by those rows, and replaced after the round.
    seconds : float
        Time of the round, update included.
    rows_per_second : float
    """

    pass_index: int
    index: int
    kind: str
    n_samples: int
    relative_error: float
    fvu: float
    mean_nonzeros: float
    used_atoms: int
    replaced_atoms: int
    seconds: float
    rows_per_second: float


@dataclass(frozen=True)
class AtomsReplaced(Event):
    """Atoms were replaced by badly represented rows."""

    pass_index: int
    atoms: tuple[int, ...]


@dataclass(frozen=True)
class PassFinished(Event):
    """A pass over the data is done.

    Attributes
    ----------
    index : int
    kind : str
    n_samples : int
    relative_error : float
        ``||Y - X D|| / ||Y||`` in the coding space, every row coded with the
        dictionary of its moment (in a full pass: the one before the update).
    relative_error_original : float
        The same in the metric of the data.
    fvu : float
        Fraction of variance unexplained, in the metric of the data.
    mean_nonzeros : float
    used_atoms, replaced_atoms : int
    holdout_error : float
        Relative error of the rows held out, coded with the dictionary at the
        end of the pass; NaN without a hold-out.
    seconds : float
    rows_per_second : float
    """

    index: int
    kind: str
    n_samples: int
    relative_error: float
    relative_error_original: float
    fvu: float
    mean_nonzeros: float
    used_atoms: int
    replaced_atoms: int
    holdout_error: float
    seconds: float
    rows_per_second: float


@dataclass(frozen=True)
class CheckpointWritten(Event):
    """A checkpoint is safely on disk."""

    path: str
    pass_index: int
    wave_index: int


@dataclass(frozen=True)
class FitFinished(Event):
    """Learning is over.

    Attributes
    ----------
    stop_reason : str
        ``"max_passes"``, ``"tol"``, ``"max_time"`` or ``"callback"``.
    n_passes : int
    seconds : float
    """

    stop_reason: str
    n_passes: int
    seconds: float


@dataclass(frozen=True)
class WaitingForWorkers(Event):
    """A cluster can do nothing; told again about once a second while that lasts.

    Attributes
    ----------
    reason : str
        What is waited for: workers, one that is not heard of, or the scheduler.
    seconds : float
        How long it was waited for.
    timeout : float or None
        When the fit ends with `daskksvd.WorkersLost`.
    """

    reason: str
    seconds: float
    timeout: float | None


@dataclass(frozen=True)
class WorkersReturned(Event):
    """The cluster works again, after so many seconds; the fit goes on where it was."""

    seconds: float
