"""How many passes of which kind, cut into which rounds and jobs.

Everything follows from the array's chunks and the settings, never from the
number of workers: the same call gives the same sums in the same order.
"""

from typing import NamedTuple

import numpy as np

from ..coding.cost import row_flops
from ..rows import count_jobs, cut_jobs, cut_pieces, cut_waves, split_holdout
from .statistics import COUPLED, SEPARATE

TASK_SECONDS = 0.1
"""Work aimed at per task, as estimated by `TASK_FLOPS`: well above the 2-4 ms
that a distributed task costs, small enough to keep many threads busy."""

LEAST_TASK_SECONDS = 1e-3
"""Least work of a task where rows are shared out among some. Four tasks of .3 ms
took two threads 1.6 ms: threads wait for each other, and to be woken."""

FULL_TASK = 4
"""Times as much in a task of a full pass, where no update waits for it: making
and adding the m x m statistics costs 15 ms a task at 1,536 atoms."""

FULL_TASKS = 16
"""Tasks that a full pass should have at least."""

TASK_FLOPS = 1e11
"""Single-precision operations a second assumed of one core. It only sizes
tasks; it must be a constant or results would differ between machines."""

TASK_ROWS = (256, 8192)
"""Least and most rows in one task, whatever the estimate says."""

DEVICE_TASK_ROWS = 2**16
"""Rows in one task of a device at least."""

READ_AGAIN = 4
"""A chunk is shared by at most about this many tasks of a full pass, each of
which may read it again."""

MOST_TASKS = 512
"""Tasks of one round at most. The scheduler sends out a few hundred a second, so
huge arrays get larger tasks, not more."""

WAVE_TASKS = 4
"""Tasks of a wave, and of a full pass, are a multiple of this while each has rows enough, so
that threads end together."""

WAVES_WANTED = 32
"""Waves a pass that are worth smaller tasks or more reading; `WAVES` has the most, which are where atoms are
placed anew all along: of 200,000 rows they raise F1 on the quarter of SynthSAEBench from .894 to .903."""

COUPLED_ATOMS = {"wave": 512, "full": 8192}
"""Most atoms for which waves, and full passes, gather the whole of ``X'X`` to
update atoms one after the other. With more, waves would wait for the driver
(63 ms at 1,536 x 768; 5 ms without), and on held-out rows gain nothing:
Flickr8k features, 1,536 atoms, .498 and .497 with, .498 and .497 without."""

COUPLED_ROWS = 20_000
"""Most rows for which waves do. Of 6,000 and 8,000 planted rows of 16 and 32 features one fit in
six found all atoms with it only; of 25,000 it gains nothing: in five planted worlds, eight fits of
each, all atoms or as many were found with it and without, at mean errors of .0578 and .0570 where atoms
are used by a power law. Nor does it on Flickr8k features, held out .2416 and .2422 (512 atoms, means
of two seeds), and encodings of captions, .1456 and .1454. At 256 x 128 and 50,000 rows statistics
and updates are 29 % of coding with it, and 21 without."""

USES_PER_WAVE = 5
"""An atom should be used about this often in one wave. Under 5 the statistics
of a wave are noise."""

WAVES = (4, 64)
"""Least and most dictionary updates a pass."""

WAVE_PASSES = 12
"""Most passes in waves when the user sets no number. They end sooner when a
pass improves on the one before by less than `WAVE_TOL`."""

FULL_PASSES = 10
"""Most full passes to end with; ``tol`` ends them sooner."""

FULL_SHARE = 0.25
"""Share of ``max_passes``, where the user sets it, kept for full passes."""

BATCH_PASSES = 10
"""Most passes of the other updates: the number that papers report."""

RAMP_PASSES = 8
"""First passes in waves of ``ramp=True``, with an eighth of the nonzeros, two eighths and so on."""

RAMP_ABOVE = 5
"""Nonzeros above which there is a ramp. Of 5 an eighth is one, and an atom learned alone is a centroid: held
out .3156 of ViT features is left with it, .3144 without."""

RAMP_USES = 20
"""Uses an atom a wave of ``ramp=True``, as many as make good use of coupled statistics for up to"""

RAMP_COUPLED_ATOMS = 2048
"""atoms. With `COUPLED_ATOMS` .120 of 14,000 encodings of captions is left (1,024 atoms), with these .118."""

RAMP_WAVE_PASSES, RAMP_FULL_PASSES = 20, 4
"""Most passes of each kind there."""

WAVE, FULL, KSVD = "wave", "full", "ksvd"

DONE = "done"
"""In place of a kind: the last passes have settled, there is no next."""

_ROUND_TASKS = 64
"""Least tasks of a round in a pass whose dictionary does not move."""

_ROUNDS = 16
"""Most rounds in such a pass: at the end of each, some workers wait."""


def statistics(kind, m, n=0, ramp=False):
    """Statistics that a pass of some kind gathers for m atoms, of n rows to learn from."""
    few = kind != WAVE or n <= COUPLED_ROWS
    most = RAMP_COUPLED_ATOMS if ramp and kind == WAVE else COUPLED_ATOMS[kind]
    return COUPLED if m <= most and few else SEPARATE


def ramped(n_nonzero_coefs, index):
    """Nonzeros of pass ``index`` in waves, of a fit with ``ramp=True``."""
    if n_nonzero_coefs <= RAMP_ABOVE:
        return n_nonzero_coefs
    return min(n_nonzero_coefs, -(-n_nonzero_coefs * (index + 1) // RAMP_PASSES))


class Phases(NamedTuple):
    """Which kinds of passes there are, and how many at most.

    Attributes
    ----------
    first : str
        Kind of the first pass.
    first_limit : int
        Most passes of that kind before the next kind's turn.
    then : str or None
        Kind of the passes after those, if there are any.
    limit : int
        Most passes in all.
    """

    first: str
    first_limit: int
    then: str | None
    limit: int

    @property
    def kinds(self):
        """Most passes of every kind that there is."""
        kinds = {self.first: self.first_limit}
        return kinds | ({self.then: self.limit - self.first_limit} if self.limit > self.first_limit else {})


class Schedule(NamedTuple):
    """Passes and pieces of one fit.

    Attributes
    ----------
    phases : Phases
    n_waves : int
        Dictionary updates in a pass of waves.
    task_rows, wave_task_rows : int
        Rows one task goes through, about: of a full pass, and of a wave.
    full_tasks, wave_tasks : int
        The number of tasks of a full pass, and of a wave, is a multiple of this.
    pieces, held : list of Piece
        Rows to learn from, and rows held out.
    n_samples : int
        Rows to learn from.
    kept : list of int
        Of every chunk.
    """

    phases: Phases
    n_waves: int
    task_rows: int
    wave_task_rows: int
    full_tasks: int
    wave_tasks: int
    pieces: list
    held: list
    n_samples: int
    kept: list

    def rounds(self, index, kind, seed):
        """The rounds of pass ``index``: for each a list of tuples of pieces."""
        if kind == WAVE:
            rng = np.random.default_rng([seed, index, 1])
            waves = cut_waves(self.pieces, self.n_waves, rng)
            return [cut_jobs(wave, self.wave_task_rows, self.wave_tasks) for wave in waves]
        jobs = cut_jobs(self.pieces, self.task_rows, self.full_tasks)
        if kind == KSVD:
            return [jobs]
        tasks = max(_ROUND_TASKS, -(-len(jobs) // _ROUNDS))
        return [jobs[i : i + tasks] for i in range(0, len(jobs), tasks)]

    def for_device(self):
        """The same waves, in few tasks: a device codes some hundred times as many rows in the time."""
        rows = {name: max(getattr(self, name), DEVICE_TASK_ROWS) for name in ("task_rows", "wave_task_rows")}
        return self._replace(full_tasks=1, wave_tasks=1, **rows)

    @property
    def wave_job_rows(self):
        """Rows of each task of a wave, about."""
        rows = self.n_samples // self.n_waves
        return max(1, rows // count_jobs(rows, self.wave_task_rows, self.wave_tasks))

    def held_jobs(self):
        """The jobs that code the rows held out."""
        return cut_jobs(self.held, self.task_rows)


def plan_phases(settings):
    """Waves first, full passes to end with; or all passes alike."""
    passes = settings.max_passes
    if settings.update != "online":
        kind = FULL if settings.update == "batch" else KSVD
        return Phases(kind, passes or BATCH_PASSES, None, passes or BATCH_PASSES)
    if passes is None and settings.ramp:
        return Phases(WAVE, RAMP_WAVE_PASSES, FULL, RAMP_WAVE_PASSES + RAMP_FULL_PASSES)
    if passes is None:
        return Phases(WAVE, WAVE_PASSES, FULL, WAVE_PASSES + FULL_PASSES)
    return Phases(WAVE, passes - int(FULL_SHARE * passes), FULL, passes)


def rows_per_task(m, d, width, seconds=TASK_SECONDS):
    """Rows that take about so long to code."""
    return int(np.clip(seconds * TASK_FLOPS / row_flops(m, d, width), *TASK_ROWS))


def reading_jobs(chunk_rows):
    """Jobs of a pass over all rows outside of learning: whole chunks, each read once."""
    most = max(TASK_ROWS[1], max(chunk_rows), sum(chunk_rows) // (4 * MOST_TASKS))
    return cut_jobs(cut_pieces(chunk_rows, max(chunk_rows)), most, split=False)


def plan_schedule(settings, chunk_rows, d):
    """Cut an array with chunks of ``chunk_rows`` rows into the work of a fit."""
    m = settings.n_components
    width = settings.n_nonzero_coefs or max(1, min(m, d) // 8)
    kept = split_holdout(chunk_rows, settings.holdout)
    n = sum(kept)
    task_rows = rows_per_task(m, d, width)
    # as many waves as give an atom enough uses in each, and a wave enough tasks
    by_uses = n * width / (m * (RAMP_USES if settings.ramp else USES_PER_WAVE))
    placing = settings.twins is not None or settings.growth is not None
    by_tasks = max(n / (task_rows * WAVE_TASKS), WAVES[1] if placing else WAVES_WANTED)
    n_waves = int(np.clip(min(by_uses, by_tasks), *WAVES))
    # two pieces a wave at least, from different places
    most = max(1, n // (2 * n_waves))
    # with fewer rows statistics, or threads to be woken, cost more than coding
    least = max(rows_per_task(m, d, width, LEAST_TASK_SECONDS), m // 4)
    full_tasks, wave_tasks = (
        next((tasks for tasks in (WAVE_TASKS, 2) if rows >= tasks * least), 1) for rows in (n, n // n_waves)
    )
    return Schedule(
        plan_phases(settings),
        n_waves,
        max(
            min(FULL_TASK * task_rows, n // FULL_TASKS),
            least,
            -(-max(chunk_rows) // READ_AGAIN),
            n // (_ROUNDS * MOST_TASKS),
        ),
        max(min(task_rows, max(least, n // n_waves)), n // (n_waves * MOST_TASKS)),
        full_tasks,
        wave_tasks,
        cut_pieces(chunk_rows, most, end=kept),
        cut_pieces(chunk_rows, most, begin=kept) if settings.holdout else [],
        n,
        kept,
    )
