"""Arrays of any kind as rows that tasks can read, chunk by chunk."""

from .jobs import Job, Piece, count_jobs, cut_jobs, cut_pieces, cut_waves, split_holdout
from .source import Rows, as_dask, as_rows
from .survey import Survey, run_survey
from .transform import Transform, make_transform

__all__ = [
    "Job",
    "Piece",
    "Rows",
    "Survey",
    "Transform",
    "as_dask",
    "as_rows",
    "count_jobs",
    "cut_jobs",
    "cut_pieces",
    "cut_waves",
    "make_transform",
    "run_survey",
    "split_holdout",
]
