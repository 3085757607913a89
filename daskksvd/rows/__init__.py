"""Arrays of any kind as rows that tasks can read, chunk by chunk."""

from .jobs import Job, Piece, count_jobs, cut_jobs, cut_pieces, cut_waves, split_holdout
from .reader import Reader
from .source import Source, as_dask, as_source
from .survey import Survey, run_survey
from .transform import Transform, make_transform

__all__ = [
    "Job",
    "Piece",
    "Reader",
    "Source",
    "Survey",
    "Transform",
    "as_dask",
    "as_source",
    "count_jobs",
    "cut_jobs",
    "cut_pieces",
    "cut_waves",
    "make_transform",
    "run_survey",
    "split_holdout",
]
