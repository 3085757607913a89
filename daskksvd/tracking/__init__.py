"""What is told about a fit while it runs, and what is kept of it."""

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
from .logged import EventLogger
from .progress import ProgressBar

__all__ = [
    "AtomsReplaced",
    "CheckpointWritten",
    "Event",
    "EventLogger",
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
]
