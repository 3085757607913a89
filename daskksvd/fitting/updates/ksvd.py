"""K-SVD proper: atoms by dominant singular vectors, their coefficients with them.

Aharon, Elad, Bruckstein, "K-SVD", IEEE Trans. Signal Processing 54 (2006).
Atoms are worked through in blocks. For each atom j of a block the tasks
gather ``E_j``, the residuals of the samples that use j without j's own share,
as rows while there are few and as the Gram matrix ``E_j' E_j`` once that is
smaller; either gives the dominant right singular vector of ``E_j``. Before
the next block every sample's residual and coefficients are brought up to
date. With one atom a block this is the textbook algorithm.

Of non-negative codes (Aharon, Elad, Bruckstein, "K-SVD and its non-negative
variant", Proc. SPIE 5914, 2005) the singular vector would have coefficients of
both signs. There an atom becomes ``E_j' x`` with ``x = max(E_j d_j, 0)``, the best
one for those coefficients, which then are found anew; neither can raise the
error of the atom.
"""

import dataclasses
from typing import NamedTuple

import numpy as np
import scipy.linalg
import scipy.sparse.linalg

from ...coding import Codes
from ...execution.executor import run_task, same
from ...kernels.moments import subtract_reconstruction
from ...kernels.update import replace_coefficients
from ...machine.blas import single_threaded_blas
from ...tracking import PassStarted
from ..replacement import replace
from ..schedule import KSVD
from ..statistics import Wanted, add_all, job_moments, residual_deviation
from .passes import Passes, surplus

KSVD_BLOCKS = 8
"""Least number of blocks of atoms an iteration works through, one after the
other, with the codes brought up to date between them."""

KSVD_GRAM_BYTES = 96 * 2**20
"""Most bytes of per-atom Gram matrices held by one task; more atoms or
features mean more blocks, not more memory."""

_DENSE_EIGEN = 200
"""Matrices up to this size are solved outright."""


class KSVDPasses(Passes):
    """Passes of ``update="ksvd"``: iterations of K-SVD, with a round for each block of atoms."""

    kind = KSVD

    def run(self, engine):
        """One iteration; begun again as a whole if workers are lost."""
        problem, index = self.problem, engine.state.pass_index
        reader = problem.reader
        [jobs] = problem.schedule.rounds(index, KSVD, problem.seed)
        n_blocks = count_blocks(problem.settings, reader.source.d)
        may_replace = self.may_replace(engine.state)

        def block_done(number, moments):
            engine.tick()
            engine.announce_round(number, KSVD, moments, [])

        def iteration():
            # (again) from the first block, whose events replace earlier ones
            engine.notify(PassStarted(index, KSVD, n_blocks, 0))
            return ksvd_pass(
                reader,
                [reader.job(pieces) for pieces in jobs],
                self.coder(engine.state),
                self.n_worst if may_replace else 0,
                n_blocks,
                block_done,
            )

        dictionary, moments = reader.executor.retrying(iteration, reader.place)
        replaced = []
        if may_replace:
            atoms = surplus(
                dictionary, moments.uses, moments.uses.astype(float), problem.coder.target.positive
            )
            dictionary, _, _, replaced = replace(dictionary, None, None, atoms, moments)
        state = dataclasses.replace(
            engine.state,
            dictionary=dictionary,
            totals=moments.without_statistics(),
            replaced=len(replaced),
            updated=True,
            deviation=residual_deviation(moments, dictionary.shape[1]),
        )
        engine.advance(state, replaced)
        return True


class _Change(NamedTuple):
    """The block worked through last: what tasks still have to take in."""

    dictionary: np.ndarray  # before the change
    atoms: np.ndarray
    after: np.ndarray


class _Request(NamedTuple):
    """What the tasks of one block need."""

    change: _Change | None
    dictionary: np.ndarray
    atoms: np.ndarray  # of the block
    positive: bool | None  # whether coefficients are positive only, as kernels take it


class Spread(NamedTuple):
    """``E_j`` of every atom of a block, in one of two forms.

    Of non-negative codes without the rows that would have a negative coefficient.

    Attributes
    ----------
    rows : (r, d) array or None
        Rows of the ``E_j``, atom by atom.
    counts : (b,) int64 array
        Rows of each; with ``grams`` only whether there were any.
    grams : (b, d, d) array or None
        ``E_j' E_j`` instead of rows.
    """

    rows: np.ndarray | None
    counts: np.ndarray
    grams: np.ndarray | None


def count_blocks(settings, d):
    """Blocks of atoms an iteration works through."""
    m = settings.n_components
    if settings.n_blocks:
        return settings.n_blocks
    by_memory = -(-m * d * d * settings.dtype.itemsize // KSVD_GRAM_BYTES)
    return min(m, max(KSVD_BLOCKS, by_memory))


def ksvd_pass(reader, jobs, coder, n_worst, n_blocks, block_done):
    """One iteration of K-SVD.

    Parameters
    ----------
    reader : rows.Reader
    jobs : list of rows.Job
    coder : coding.SparseCoder
        With the dictionary to start from.
    n_worst : int
        Worst-represented rows to return.
    n_blocks : int
        Blocks of atoms.
    block_done : callable
        ``block_done(index, moments)`` after the coding (with its moments) and
        after each further block (with None).

    Returns
    -------
    dictionary : (m, d') float array
    moments : Moments
        Of the coding, without statistics.
    """
    executor = reader.executor
    dictionary, transform = coder.dictionary, coder.transform.cast(coder.dictionary.dtype)
    m, positive = len(dictionary), coder.target.positive
    products, wanted = executor.share(*coder.shared()), Wanted(None, n_worst)
    transform = executor.share(same, (transform,))
    jobs = [(job, reader.inputs(job)) for job in jobs]
    coded = [executor.submit(run_task, _code_job, job, inputs, products, wanted) for job, inputs in jobs]
    codes = [executor.submit(_first, pair) for pair in coded]
    root = executor.tree(add_all, (executor.submit(_second, pair) for pair in coded), len(jobs))
    [moments] = executor.gather([root])
    del coded, root
    change = None
    for index, atoms in enumerate(np.array_split(np.arange(m), n_blocks)):
        request = executor.share(_Request, (change, dictionary, atoms, positive))
        updated = [
            executor.submit(run_task, _block_job, job, inputs, old, request, transform)
            for (job, inputs), old in zip(jobs, codes, strict=True)
        ]
        codes = [executor.submit(_first, pair) for pair in updated]
        spread = executor.tree(add_spreads, (executor.submit(_second, pair) for pair in updated), len(jobs))
        [after] = executor.gather([executor.submit(dominant_directions, spread, dictionary[atoms], positive)])
        del updated, spread
        change = _Change(dictionary, atoms, after)
        dictionary = dictionary.copy()
        dictionary[atoms] = after
        block_done(index, moments if index == 0 else None)
    return dictionary, moments


def _code_job(job, inputs, products, wanted):
    """Code a job's rows. Returns the codes of every piece, and moments."""
    codes = []
    moments = job_moments(job, inputs, products, wanted, codes)
    return codes, moments


def _block_job(job, inputs, codes, request, transform):
    """Take in the last block's change, then gather the residuals of the next.

    Returns the codes brought up to date, and a `Spread`.
    """
    change, dictionary, atoms, positive = request
    m = len(dictionary)
    slots = _slots(m, atoms)
    pieces, spreads = [], []
    for (_, raw), old in zip(job.read(inputs), codes, strict=True):
        residuals = transform.apply(raw, dictionary.dtype)
        values = old.values.copy()
        if change is None:
            subtract_reconstruction(residuals, dictionary, old.indices, values)
        else:
            before, last = change.dictionary, _slots(m, change.atoms)
            subtract_reconstruction(residuals, before, old.indices, values)
            replace_coefficients(
                residuals, old.indices, values, last, before[change.atoms], change.after, positive
            )
        pieces.append(Codes(old.indices, values))
        spreads.append(_spread(residuals, pieces[-1], slots, dictionary[atoms], positive))
    return pieces, add_spreads(spreads)


def _slots(m, atoms):
    """Position of each of m atoms within a block, -1 outside."""
    slots = np.full(m, -1)
    slots[atoms] = np.arange(len(atoms))
    return slots


def _spread(residuals, codes, slots, atoms, positive):
    """``E_j`` of every atom of a block, over some samples."""
    slot = np.where(codes.indices >= 0, slots[codes.indices], -1)
    row, column = np.nonzero(slot >= 0)
    owner = slot[row, column]
    if positive:
        along = np.einsum("ij,ij->i", residuals[row], atoms[owner]) + codes.values[row, column]
        row, column, owner = row[along > 0], column[along > 0], owner[along > 0]
    order = np.argsort(owner, kind="stable")
    row, column, owner = row[order], column[order], owner[order]
    counts = np.bincount(owner, minlength=len(atoms))
    b, d = atoms.shape
    if 2 * len(row) <= b * d:
        return Spread(residuals[row] + codes.values[row, column, None] * atoms[owner], counts, None)
    grams = np.zeros((b, d, d), residuals.dtype)
    for j, users in enumerate(_groups(counts)):
        E = residuals[row[users]] + codes.values[row[users], column[users], None] * atoms[j]
        grams[j] = E.T @ E
    return Spread(None, counts, grams)


def _groups(counts):
    """Slices of consecutive groups of these sizes."""
    ends = np.cumsum(counts)
    return [slice(end - count, end) for end, count in zip(ends, counts, strict=True)]


def add_spreads(parts):
    """Join spreads of the same block: rows while they are fewer than half the Gram matrices."""
    if len(parts) == 1:
        return parts[0]
    counts = sum(part.counts for part in parts)
    if all(part.grams is None for part in parts):
        d = parts[0].rows.shape[1]
        if 2 * counts.sum() <= len(counts) * d:
            owner = np.concatenate([np.repeat(np.arange(len(counts)), part.counts) for part in parts])
            rows = np.concatenate([part.rows for part in parts])
            return Spread(rows[np.argsort(owner, kind="stable")], counts, None)
    total = _grams(parts[0]).astype(np.float64)
    for part in parts[1:]:
        total += _grams(part)
    return Spread(None, counts, total)


def _grams(spread):
    if spread.grams is not None:
        return spread.grams
    return np.stack([spread.rows[group].T @ spread.rows[group] for group in _groups(spread.counts)])


def dominant_directions(spread, atoms, positive=None):
    """Dominant right singular vector of every ``E_j``, on the side of the old atom.

    With ``positive`` coefficients only one step towards it, see above.

    Parameters
    ----------
    spread : Spread
    atoms : (b, d) array
        The old atoms; one that nobody uses stays.

    Returns
    -------
    (b, d) array
        Unit rows.
    """
    new = atoms.copy()
    groups = _groups(spread.counts)
    with single_threaded_blas():
        for j in np.flatnonzero(spread.counts):
            if positive and spread.grams is not None:
                vector = spread.grams[j] @ atoms[j].astype(np.float64)
            elif positive:
                E = spread.rows[groups[j]].astype(np.float64)
                vector = (E @ atoms[j]) @ E
            elif spread.grams is not None:
                vector = _dominant_eigenvector(spread.grams[j], atoms[j])
            else:
                E = spread.rows[groups[j]].astype(np.float64)
                if len(E) < E.shape[1]:  # the smaller of the two Gram matrices
                    vector = _dominant_eigenvector(E @ E.T, E @ atoms[j]) @ E
                else:
                    vector = _dominant_eigenvector(E.T @ E, atoms[j])
            norm = np.linalg.norm(vector)
            if norm > 0:
                new[j] = vector / (norm if vector @ atoms[j] >= 0 else -norm)
    return new


def _dominant_eigenvector(gram, start):
    """Unit eigenvector of the largest eigenvalue of a Gram matrix."""
    size = len(gram)
    tolerance = np.finfo(start.dtype).eps
    gram = gram.astype(np.float64)
    if size > _DENSE_EIGEN:
        try:  # Lanczos from the old atom takes a few dozen products
            start = start.astype(np.float64)
            _, vectors = scipy.sparse.linalg.eigsh(gram, k=1, v0=start, tol=tolerance)
            return vectors[:, 0]
        except scipy.sparse.linalg.ArpackError:
            pass
    _, vectors = scipy.linalg.eigh(gram, subset_by_index=[size - 1, size - 1])
    return vectors[:, 0]


def _first(pair):
    return pair[0]


def _second(pair):
    return pair[1]
