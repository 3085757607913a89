"""Every tolerance and numerical constant of the package, each with its reason.

Nothing here depends on the number of workers or threads: the grouping of
rows into tasks, and so the last bits of a result, must not either.
"""

# --- pursuit ---------------------------------------------------------------

PIVOT_MIN = 1e-4
"""Where the squared sine between the next atom and the span of those chosen falls
under this, inner products are too coarse: atoms are made orthogonal themselves."""

ROUNDING = 8
"""A residual is nothing when no atom correlates with it by more than this many
units of rounding of the row's norm: what is left is error of the products."""

ROUNDED_DOUBT = 2.0**-6
"""Atoms whose rounded correlations with a row differ by less than this, as a part
of the root of the sum of squared products, are compared in full precision. Each of
the two factors is wrong by 0.0017 (root mean square, measured), the difference of
two correlations by 0.0033: this is 4.7 times as much."""

ROUNDED_WORK = 3 * 2**13
"""Products of features and atoms for each nonzero from which on rounded correlations
choose atoms: a step costs 0.1 us more with them, a thousand products 0.005 us less."""

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

GRAM_ROWS = (64, 256)
"""Least and most rows of a Gram matrix made by one matrix product."""

GRAM_BYTES = 2**22
"""Size of such a product, and as many are made at a time as threads."""

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

THREADED_PRODUCT = 2**28
"""Multiplications of a product of atoms with atoms from which on more threads are
worth waking. At less, 3 ms, they gain little; on a busy machine waking BLAS's for each
made a fit of 10,000 rows to 256 atoms eight times slower."""

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

# --- captioned scenes ------------------------------------------------------

SCENE_OVERSAMPLING = 3
"""Scenes are drawn this many times larger and averaged, so that edges are smooth.
Twice leaves steps on leaning lines; four times takes 1.5 times as long."""

SCENE_OVERSAMPLING_SIZE = 128
"""Pixels up to which that holds. In larger images steps show less and pixels
cost more: they are drawn twice as large."""

SCENE_SMALLEST = 16
"""Pixels a side below which nothing in a scene can be recognised."""

# --- images and where they come from -----------------------------------------

IMAGE_PIXELS = 89_478_485
"""Most pixels of an image that is decoded: where Pillow begins to warn. Decoded
and made RGB it takes 8 to 16 bytes a pixel, as JPEG 2000 24: 2.1 GB at most."""

IMAGE_SIDE = 8
"""Fewer pixels than this on a side show nothing that a caption names; tracking
pixels and spacers are 1 x 1."""

IMAGE_BYTES = 256 * 2**20
"""Longest image file that is read; also the longest member of a shard."""

CAPTION_BYTES = 2**20
"""Longest text or JSON member of a shard that is read as captions."""

JPEG_SCANS = 16
"""Scans of a progressive JPEG of the most pixels; smaller ones may have more. Each
passes over all pixels, even an empty one, and encoders write about 10."""

DRAFT_SIDE = 4
"""A JPEG is decoded at 1/2, 1/4 or 1/8 of its size as long as its shorter side
stays this many times what the model needs: averaging comes first anyway."""

THUMBNAIL_QUALITY = 85
"""JPEG quality of thumbnails: they are looked at, not computed with."""

STATE_EVERY = 256
"""Elements of a source between two places from which it can go on at once."""

HUB_THREADS = 16
"""Image files of a data set of the Hub read at once: each is a request of its own,
and most of it is waiting."""

SOURCE_FAILURES = 100
"""After as many elements in a row that cannot be read, an iterator is given up."""

FETCH_BYTES = 64 * 2**20
"""Longest answer to a request for an image: photographs have up to about 20 MB."""

FETCH_REDIRECTS = 5
"""Redirects that are followed: from http to https, to a host of files, and to spare."""

FETCH_TOTAL = 6
"""All of fetching one URL takes at most as many times the time-out. Four attempts
that time out, and the waits between them, fit in."""

FETCH_WAIT = 1.0
"""Seconds before the second attempt; the waits double from there."""

FETCH_LONGEST_WAIT = 30.0
"""Seconds that a server may ask to wait before another attempt."""

# --- words for atoms --------------------------------------------------------

WORD_CACHE = 2**20
"""Forms of words of which the base form is kept; captions use few, file names many."""

LABEL_TABLES = 24
"""Tables of words x atoms in double precision that exist while atoms are named."""

TEXT_BATCH = 2**22
"""Characters of captions that are parted into words at once; a list of words takes 20 times that."""

WORD_SAMPLES = (20, 0.01)
"""A word must occur in at least so many samples, and in this share of them. On Flickr8k
names of words with 20-40 samples replicated in 16 % of cases, of 160 and more in 80 %."""

WORD_SHARE_MOST = 0.9
"""Words in more than this share of the samples hardly tell them apart."""

ATOM_USES = 20
"""Samples that must use an atom, or the minority side of one, for it to be named."""

JOINT_LEAST = 5
"""Samples in which an atom and the word that names it must meet."""

SIGNIFICANCE = 0.05
"""False discovery rate at which a word names an atom."""

SMALL_EXPECTED = 1000
"""Tables with a cell that chance would fill with fewer samples than this get exact p-values. The
usual 5 is for tails of a few percent: at 25 expected, five deviations out, chi-square is 60
times too small, at 1000 twice. On Flickr8k chi-square found 22 false pairs a permutation."""

SHRINKAGE = 10
"""Joint samples expected by chance that are added to both counts of a shrunk lift: a word and an
atom must meet a few times more often than that for their lift to count."""

COUNT_ROWS = 2**16
"""Rows of one task that joins words with codes. Its counts are words x atoms, so smaller tasks
would spend their time on making and adding those."""

JOIN_ROWS = 2**18
"""Joined rows, of a word and an atom of one sample, that exist at any time in a task: few enough
for the cache, and for memory to be used again, not returned and taken anew."""

PHRASE_NPMI = 0.5
"""Words next to each other are a phrase from this normalised mutual information on."""

# --- scores of words for atoms ----------------------------------------------

SCORED_USES = 10
"""Held-out samples that must use an atom for its name to be scored: with fewer no
association but the strongest can be significant."""

PERMUTATIONS = 100
"""Times that captions are shuffled across samples to see what chance scores."""

RESAMPLES = 200
"""Bootstrap resamples behind an interval, and behind the stability of a name."""

BOOTSTRAP_GROUPS = 10_000
"""Samples are resampled in at most so many groups: more cost time and change no interval."""

READ_ROWS = 4096
"""Samples whose words are scored at once: 50 MB with 1,500 words."""

SUM_ROWS = 2**18
"""Samples of sparse features whose products are added up at once: the product of fewer is as
large, words x atoms, and would be added more often."""

CHECK_SHARE = 1 / 3
"""Share of the training samples on which penalties and dampings are compared."""

CHECK_ROWS = 5_000
"""Samples for that at most; the rest goes to learning."""

RIDGES = tuple(10.0 ** (power / 4) for power in range(-16, 9))
"""Penalties tried, in units of the mean squared norm of a feature: steps of 1.8 are finer
than what an inner split can tell apart."""

DAMPINGS = tuple(step / 20 for step in range(31))
"""Factors tried for added evidence. Zero is among them: evidence of no use is not used."""

CENTRINGS = (0.0, 0.5, 1.0)
"""Shares of the mean evidence tried to be taken off. On Flickr8k names gain .003-.009 in precision
at 5 with all of it; naive Bayes, which has evidence against words too, loses .007-.012."""

EVIDENCE_SMOOTHING = 5
"""Uses of an atom, at its overall rate, added to those with and to those without a word.
1, 5 and 20 ranked words equally well (Flickr8k, precision at 5 within .004)."""

EVIDENCE_Z2 = 4
"""Squared standard score at which evidence counts half: two standard errors. From 0 to 4
naive Bayes gained .004-.011 in precision at 5 on Flickr8k, at 8 nothing more."""

BASELINE_ROWS = 50_000
"""Rows that the atoms of baselines are learned from at most, in memory."""

SAME_ATOM = 0.8
"""Atoms of two fits with a larger ``|cos|`` count as the same. Of such pairs on Flickr8k 53 %
had the same name, of all 26 %."""

REFITTED_ATOMS = 512
"""Atoms a word up to which the weights of given pairs are fitted together: each word solves a
system of that size, and a mapping with more is no list of names."""

MATCHED_ATOMS = 4096
"""Atoms up to which two dictionaries are matched on all pairs, 268 MB of costs. With more
each atom may only go to its `MATCH_CANDIDATES` nearest."""

MATCH_CANDIDATES = 32
"""Nearest atoms considered; true partners are among the first."""

# --- embedding of images -----------------------------------------------------

EMBED_CHUNK_BYTES = 16 * 2**20
"""Size aimed at for one chunk of embeddings; the store grows by whole chunks."""

EMBED_LEAST_ROWS = 1024
"""Rows of a chunk at least, as a store of few images may grow."""

EMBED_BATCH = (8, 256)
"""Least and most images of one forward pass, when the user sets no number."""

EMBED_CPU_BATCH = 32
"""The same on a processor, where more gain nothing: ViT-S/14 takes 52-57 ms an
image at 16, 32 and 64."""

EMBED_MEMORY_SHARE = 0.25
"""Share of the free memory of a graphics card that one batch may take."""

EMBED_ACTIVATIONS = 16
"""Bytes of activations that an inner layer keeps, as a multiple of the bytes of its
tokens: queries, keys, values, the hidden layer of four times the width, and copies."""

EMBED_AHEAD = 3
"""Batches that are decoded ahead of the model."""

FETCH_THREADS = 32
"""Images fetched from URLs side by side: they wait for servers, not for cores."""

FETCH_AHEAD = 1024
"""Images fetched ahead, compressed as they come: one slow server holds up none of them."""

CLUSTER_AHEAD = 2
"""Batches sent ahead to each thread of a cluster."""

THUMBNAIL_BYTES = 8192
"""Most bytes of one stored thumbnail. A JPEG of 128 x 128 takes 3-6 kB; one that
is larger is compressed further."""

THUMBNAIL_ROWS = 64
"""Thumbnails in one chunk: a few are read at a time."""

# --- looking at results ------------------------------------------------------

INDEX_PART = 2**21
"""Nonzeros sorted at a time for the index by atom: about 150 MB with the work space."""

INDEX_CHUNK = 2**15
"""Uses in one stored chunk of that index: 256 kB, read in a few milliseconds."""

INDEX_FINGERPRINT_CHUNKS = 8
"""Chunks of codes that are hashed to tell whether an index is theirs. Codes of another
dictionary differ in every chunk."""

COMPANIONS = 20
"""Atoms used together with an atom that its index keeps."""

COMPANION_ROWS = 200_000
"""Rows that joint uses are counted on, at most: a correlation of use is then known to .002."""

VALUE_BINS = 512
"""Bins of the histogram of all coefficients; pictures join some of them."""

VIEW_MATRIX = 2**23
"""Words times atoms up to which a measure of labels is kept in memory (64 MB); above, each
look reads what it shows."""

CAPTION_PARTS = 32
"""Parts of a table of captions kept in memory: a look at an atom touches about 20."""

VIEW_IMAGE_SIDE = 256
"""Pixels of the longer side of an image that is shown, at most."""

LAYOUT_STEPS, LAYOUT_START, LAYOUT_PULL = 150, 0.1, 0.05
"""Steps of a spring layout, how far a node goes in the first (of a disc of radius 1), and the
pull towards the middle that keeps unconnected parts in the picture."""

NEAREST_ATOMS = 4
"""Nearest atoms that springs on the map of atoms join; more make one ball of them."""

CHARACTER_WIDTH = 0.56
"""Mean width of a letter, in units of the font size."""

LABEL_ZOOMS = (0.4, 0.63, 1.0, 1.6, 2.5, 4.0, 6.5, 10.0, 16.0)
"""Zooms at which labels of a graph are chosen anew; narrow windows have less than 1."""

# --- the dashboard -----------------------------------------------------------

DASHBOARD_NARROW = 900
"""Width of a window in pixels under which columns stand one above the other: a list and
an atom of two cards need about that."""

DASHBOARD_LISTED = 50
"""Atoms listed at first: more than fill a screen, few enough to be sent at each letter typed."""

DASHBOARD_START = 30
"""Seconds until the server of a dashboard listens, at most; it takes a fraction of one."""

DASHBOARD_TURN = 0.0005
"""Seconds after which Python lets the thread that answers go on, while another draws: with the
usual 0.005 each of the hundred small reads of an answer waits as long."""

DASHBOARD_SAME = 0.8
"""|cos| from which on two atoms are said to have the same direction: of such pairs half had
the same first word in two fits of one set, of the others few."""

REPORT_ATOMS = 256
"""Atoms with images and pictures in a report, when the user sets no number."""

REPORT_MEGABYTES = 9.5
"""Images in a report take at most this; the page then stays under 15 MB, of which Bokeh is 1."""

REPORT_IMAGES = (
    {"side": 128, "quality": 75, "top": 12, "opposite": 6, "n_quantiles": 4, "per": 3, "controls": 6},
    {"side": 96, "quality": 70, "top": 9, "opposite": 3, "n_quantiles": 3, "per": 3, "controls": 3},
    {"side": 80, "quality": 60, "top": 9, "opposite": 3, "n_quantiles": 3, "per": 2, "controls": 3},
    {"side": 64, "quality": 50, "top": 8, "opposite": 2, "n_quantiles": 2, "per": 2, "controls": 2},
    {"side": 56, "quality": 45, "top": 4, "opposite": 0, "n_quantiles": 0, "per": 0, "controls": 0},
)
"""Galleries of a report, richest first: pixels and quality of images, and how many of each sort."""

WORD_ATOMS = 12
"""Atoms of a word that the search of a report knows."""
