"""What codes leave of rows: one pass."""

import numpy as np

from ..coding.how import settled
from ..execution import given
from ..rows import Reader, run_survey
from .schedule import reading_jobs
from .statistics import MOMENTS, Wanted, relative_norm


def measure(source, coder, executor, device=None):
    """The figures of `Result.evaluate`, a dict, of all rows of a source coded by a coder."""
    reader = Reader(source, executor)
    jobs = [reader.job(pieces) for pieces in reading_jobs(source.chunk_rows)]
    survey = run_survey(reader, jobs, np.empty(0, np.int64), False)
    survey.check_finite()
    coder = settled(coder, executor, device)
    found = reader.reduce(MOMENTS, jobs, coder.shared(), given(Wanted(None, 0)))
    variance = survey.variance.sum() * survey.count
    return {
        "relative_error": relative_norm(found.residual, found.energy),
        "relative_error_original": relative_norm(found.residual_original, found.energy_original),
        "fvu": float(found.residual_original / variance) if variance > 0 else np.nan,
        "mean_nonzeros": found.nonzeros / found.count,
        "used_atoms": int((found.uses > 0).sum()),
        "n_samples": found.count,
    }
