"""What is told about a fit while it runs, and what is kept of it."""

from .checkpoint import Checkpointer, load_checkpoint
from .events import (
    AtomsReplaced,
    CheckpointWritten,
    Event,
    FitFinished,
    FitStarted,
    PassFinished,
    PassStarted,
    StopFit,
    WaitingForWorkers,
    WaveFinished,
    WorkersReturned,
)
from .history import HistoryRecorder
from .progress import ProgressBar

__all__ = [
    "AtomsReplaced",
    "CheckpointWritten",
    "Checkpointer",
    "Event",
    "FitFinished",
    "FitStarted",
    "HistoryRecorder",
    "PassFinished",
    "PassStarted",
    "ProgressBar",
    "StopFit",
    "WaitingForWorkers",
    "WaveFinished",
    "WorkersReturned",
    "load_checkpoint",
]
