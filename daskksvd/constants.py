"""Every tolerance and numerical constant of the package, each with its reason.

Nothing here depends on the number of workers or threads: the grouping of
rows into tasks, and so the last bits of a result, must not either.
"""

# --- pursuit ---------------------------------------------------------------

PIVOT_MIN = 1e-4
"""Stop a support when the squared sine between the next atom and the span of
those chosen falls under this: the coefficients would be noise times 100."""

ROUNDING = 8
"""A residual is nothing when no atom correlates with it by more than this many
units of rounding of the row's norm: what is left is error of the products."""

ATOM_PAD = 64
"""Dictionaries are padded with zero atoms to a multiple of this, so that the
kernels' inner loops run on whole vector registers. A zero atom correlates
with nothing and is never chosen."""

FLOAT_GRAM_ATOMS = 8192
"""Atoms up to which the Gram matrix is kept in the dtype of the computation,
268 MB in float32. That of more is rounded to 16 bits, 537 MB for 16,384."""

GRAM_UNIT = 2.0**-14
"""Unit of rounded inner products of unit atoms, so the error is 3e-5 at most. It
can only swap atoms that a row correlates with as closely as that."""

GRAM_BLOCK = 1024
"""Columns of a rounded Gram matrix made by one matrix product."""

BLOCK_BYTES = 6 * 2**20
"""Size aimed at for one block's correlations (rows x atoms): a compromise
between long matrix products and staying near the second-level cache."""

BLOCK_ROWS = (64, 1024)
"""Least and most rows coded by one matrix product."""

MP_STEPS_PER_COEF = 4
"""Matching pursuit may come back to an atom; it gives up looking for
``n_nonzero_coefs`` distinct ones after this many steps per coefficient."""

# --- tasks and reductions --------------------------------------------------

TASK_SECONDS = 0.1
"""Work aimed at per task, as estimated by `TASK_FLOPS`: well above the 2-4 ms
that a distributed task costs, small enough to keep many threads busy."""

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

READ_AGAIN = 4
"""A chunk is shared by at most about this many tasks of a full pass, each of
which may read it again."""

MOST_TASKS = 512
"""Tasks of one round at most. The scheduler sends out a few hundred a second, so
huge arrays get larger tasks, not more."""

WAVE_TASKS = 4
"""Tasks of a wave are a multiple of this, so that threads end together."""

WAVES_WANTED = 32
"""Waves a pass that are worth smaller tasks or more reading."""

IN_MEMORY_BYTES = 256 * 2**20
"""Arrays up to this size are read once and kept."""

TREE_FAN_IN = 8
"""Partial results added by one task of the reduction tree."""

ATTEMPTS = 4
"""Times a round is tried when workers die under it. Data sent to workers
cannot be recomputed by the scheduler, so the driver sends it again."""

MEMORY_SHARE = 0.8
"""Share of a worker's memory limit that one fit may plan to use; the rest is
for the interpreter, the libraries and fragmentation."""

PROCESS_BYTES = 300 * 2**20
"""What a Python process with NumPy, Numba and Dask loaded takes by itself."""

COUPLED_ATOMS = {"wave": 512, "full": 8192}
"""Most atoms for which waves, and full passes, gather the whole of ``X'X`` to
update atoms one after the other. With more, waves would wait for the driver
(63 ms at 1,536 x 768; 5 ms without), and on held-out rows gain nothing:
Flickr8k features, 1,536 atoms, .498 and .497 with, .498 and .497 without."""

# --- waves -----------------------------------------------------------------

USES_PER_WAVE = 5
"""An atom should be used about this often in one wave. Under 5 the statistics
of a wave are noise."""

WAVES = (4, 64)
"""Least and most dictionary updates a pass."""

WINDOW = 0.25
"""Statistics are forgotten over at least this share of a pass. Shorter
windows lose accuracy."""

ONLINE_SWEEPS = 1
"""Sweeps over the atoms after each wave. Two found no more atoms on planted data
and no lower error on Flickr8k features, at twice the time on the driver."""

BATCH_SWEEPS = 3
"""The same after a full pass, where a sweep is cheap beside the coding."""

WAVE_PASSES = 12
"""Most passes in waves when the user sets no number. They end sooner when a
pass improves on the one before by less than `WAVE_TOL`."""

WAVE_TOL = 0.005
"""Waves that gain less than this share of the error a pass give way to full
passes: what is left to gain then needs all rows at once."""

QUARTER_ROWS = 50_000
"""Rows in a quarter of a pass from which its error, on rows of its own, tells
whether waves still gain: chance moves it by about 0.1 %."""

PROMISED_SHARE = 0.25
"""Full passes end, too, when the last update lowers the error at fixed codes by
less than this share of ``tol``. Coding anew gains more than that, up to a few times."""

RTOL_PASSES = 5
"""With ``rtol`` alone, the first passes in waves come down to it by equal factors."""

FULL_PASSES = 10
"""Most full passes to end with; ``tol`` ends them sooner."""

FULL_SHARE = 0.25
"""Share of ``max_passes``, where the user sets it, kept for full passes."""

BATCH_PASSES = 10
"""Most passes of the other updates: the number that papers report."""

# --- replacement of atoms --------------------------------------------------

REDUNDANT = 0.19
"""An atom of which others, one or two, leave less than this share of its squared
norm is redundant: a copy (|cos| > 0.9) or a mixture of two. With copies alone,
planted dictionaries used by a power law were recovered to 61-78 %, with
mixtures to 98-100 %; taking all atoms with |cos| > 0.6 instead does the same
there, but raises the error on Flickr8k features by 2 %."""

IDLE = 0.05
"""An atom with less than this share of the median atom's use is redundant too:
atoms stuck on one or two odd rows are never quite dead."""

IDLE_AFTER = 3
"""Passes in waves before `IDLE` counts. New atoms take a while to find rows of
their own; sooner, useful ones were lost where there are few rows an atom."""

DEAD_USES = 100
"""An atom not used while an average one is used this often is dead. 30 was
too short: rare but useful atoms were churned."""

CHECKS_PER_PASS = 8
"""Looks for redundant atoms a pass."""

LARGE_CHECKS_PER_PASS = 2
"""The same with more than `FLOAT_GRAM_ATOMS`, where one takes seconds."""

MIXTURE_ROWS = 4
"""Badly represented rows that must agree before an atom counts as a mixture of
two true ones. Splitting such atoms took a planted 1,536-atom dictionary from
98.1 % of the atoms and error .097 to 99.7 % and .059 in four passes, and small
ones (64 atoms of 32 features) from 9 of 12 recovered whole to 12 of 12."""

MIXTURE_SHARE = 0.5
"""How far the share of their residual energy that lies along one direction must
be on the way from what chance gives to all of it."""

REPLACED_SHARE = 0.1
"""At most this share of the atoms is replaced at one look."""

REPRESENTED = 1e-3
"""Rows of which less than this share of the norm is left need no new atom."""

WORST_ROWS = 64
"""Worst-represented rows that one task returns as candidates."""

REPLACE_AFTER = 16
"""Updates before the first replacement of atoms.
Sooner, many atoms look alike that still go different ways."""

# --- streams of batches -----------------------------------------------------

STREAM_USES = 128
"""A stream has no passes of which to forget a share. Its statistics reach back
over about this many uses of an average atom: 512 left surplus atoms for too
long, and 32 lost accuracy."""

STREAM_BATCHES = 4
"""The same for large batches: statistics reach back over as many at least."""

# --- K-SVD proper ----------------------------------------------------------

KSVD_BLOCKS = 8
"""Least number of blocks of atoms an iteration works through, one after the
other, with the codes brought up to date between them."""

KSVD_GRAM_BYTES = 96 * 2**20
"""Most bytes of per-atom Gram matrices held by one task; more atoms or
features mean more blocks, not more memory."""

# --- input -----------------------------------------------------------------

UNIT_TOLERANCE = 1e-3
"""A stored atom whose norm is further than this from one is not an atom."""

ZERO_VARIANCE = 1e-15
"""Features whose variance is under this share of the mean square are constant:
rounding noise must not be scaled up. Means and variances are in float64."""

EIGENVALUE_FLOOR = 1e-7
"""Principal components with less than this share of the largest eigenvalue
are divided as if they had it: below lies single-precision noise."""

INIT_CANDIDATES = 4
"""Rows sampled per atom for the initial dictionary, to have distinct, nonzero
ones left to choose from."""

LARGEST_VALUES = {"float32": (1e-15, 1e15), "float64": (1e-150, 1e150)}
"""Between which the largest absolute value must lie, for squares and their
sums to be safe in each precision."""

CHECKPOINT_EVERY = 16
"""Rounds between two checkpoints within a pass."""
