"""The first steps of a fit: the data surveyed and checked, first atoms chosen."""

import numpy as np

from ..coding import SparseCoder
from ..machine.blas import blas_for
from ..rows import make_transform, run_survey
from ..rows.transform import ZERO_VARIANCE
from .initial import initial_dictionary, sample_size
from .schedule import WAVE, reading_jobs, statistics
from .state import State
from .statistics import COUPLED

LARGEST_VALUES = {"float32": (1e-15, 1e15), "float64": (1e-150, 1e150)}
"""Between which the largest absolute value must lie, for squares and their
sums to be safe in each precision."""


def begin(reader, settings, schedule, seed, checked=False):
    """Survey the data, check it, and make the state to start from.

    Returns
    -------
    coder : coding.SparseCoder
    variance : float
    state : State
    checksums : (chunks,) uint32 array or None
        Of the rows, with ``checked``.
    """
    with blas_for(settings.n_components, reader.source.d):
        return _begin(reader, settings, schedule, seed, checked)


def _begin(reader, settings, schedule, seed, checked):
    rng = np.random.default_rng([seed, 0, 0])
    index = _sample_index(schedule, sample_size(settings, schedule.n_samples), rng)
    jobs = [reader.job(pieces) for pieces in reading_jobs(reader.source.chunk_rows)]
    survey, checksums = run_survey(reader, jobs, index, settings.whiten is not None, checked), None
    if checked:
        survey, checksums = survey
    check_data(survey, settings)
    transform = make_transform(survey, settings.center, settings.scale, settings.whiten)
    sample = survey.sample[rng.permutation(len(survey.sample))]
    dictionary = initial_dictionary(settings, sample, transform, reader.source.d, rng)
    first = schedule.phases.first
    sizes = len(dictionary), schedule.n_samples
    coupled = first == WAVE and statistics(first, *sizes, settings.ramp) == COUPLED
    state = State.start(dictionary, first, coupled, settings.growth or 0)
    coder = SparseCoder(dictionary, transform, settings.target(reader.source.d))
    return coder, float(survey.variance.sum()), state, checksums


def _sample_index(schedule, size, rng):
    """Sorted numbers of rows drawn from those learned from."""
    ranks = np.sort(rng.choice(schedule.n_samples, size, replace=False, shuffle=False))
    sizes = [piece.n_rows for piece in schedule.pieces]
    ends = np.cumsum(sizes)
    offsets = np.array([piece.offset for piece in schedule.pieces])
    piece = np.searchsorted(ends, ranks, side="right")
    return ranks - (ends - sizes)[piece] + offsets[piece]


def check_data(survey, settings):
    """Refuse data from which nothing can be learned."""
    survey.check_finite()
    if survey.n_zero == survey.count:
        raise ValueError("array has only zeros; there is nothing to represent")
    removed = settings.center or settings.whiten is not None
    if removed and survey.variance.sum() <= ZERO_VARIANCE * (survey.mean**2).sum():
        raise ValueError(
            "array is constant: all rows are equal and nothing is left after centring; give varying samples"
        )
    low, high = LARGEST_VALUES[settings.dtype.name]
    if not low <= survey.largest <= high:
        advice = " or pass dtype='float64'" if settings.dtype == np.float32 else ""
        raise ValueError(
            f"array has values up to {survey.largest:.3g}, too {'large' if survey.largest > 1 else 'small'} "
            f"for {settings.dtype}, where the largest must lie between {low:g} and {high:g}; "
            f"rescale it{advice}"
        )
