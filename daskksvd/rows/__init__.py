"""Arrays of any kind as rows that tasks can read, chunk by chunk."""

from .jobs import Job, Piece, cut_jobs, cut_pieces, cut_waves, split_holdout
from .preprocessing import Preprocessing, preprocess
from .source import Rows, absolute, as_rows, exists
from .survey import Survey, run_survey

__all__ = [
    "Job",
    "Piece",
    "Preprocessing",
    "Rows",
    "Survey",
    "absolute",
    "as_rows",
    "cut_jobs",
    "cut_pieces",
    "cut_waves",
    "exists",
    "preprocess",
    "run_survey",
    "split_holdout",
]
