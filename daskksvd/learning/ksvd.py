"""K-SVD proper: atoms by dominant singular vectors, their coefficients with them.

Aharon, Elad, Bruckstein, "K-SVD", IEEE Trans. Signal Processing 54 (2006).
Atoms are worked through in blocks. For each atom j of a block the tasks sum
the Gram matrix of ``E_j``, the residual without j's own share, over the
samples that use j; its dominant eigenvector is the dominant right singular
vector of ``E_j``. Before the next block every sample's residual and
coefficients are brought up to date. With one atom a block this is the
textbook algorithm.
"""

from typing import NamedTuple

import numpy as np
import scipy.linalg
import scipy.sparse.linalg

from ..coding import Codes, code_block, iterate_blocks
from ..constants import KSVD_BLOCKS, KSVD_GRAM_BYTES
from ..kernels.moments import subtract_reconstruction
from ..kernels.update import replace_coefficients
from ..running.base import run_job
from .moments import Totals, add_all


class _Change(NamedTuple):
    """The block worked through last: what tasks still have to take in."""

    dictionary: np.ndarray  # before the change
    atoms: np.ndarray
    after: np.ndarray


def count_blocks(settings, d):
    """Blocks of atoms an iteration works through."""
    m = settings.n_components
    if settings.n_blocks:
        return settings.n_blocks
    by_memory = -(-m * d * d * settings.dtype.itemsize // KSVD_GRAM_BYTES)
    return min(m, max(KSVD_BLOCKS, by_memory))


def ksvd_pass(runner, rows, jobs, coder, preprocessing, n_worst, n_blocks, block_done):
    """One iteration of K-SVD.

    Parameters
    ----------
    runner : running.Runner
    rows : rows.Rows
    jobs : list of rows.Job
    coder : coding.Coder
        Of the dictionary to start from.
    preprocessing : rows.Preprocessing
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
    m = coder.n_components
    dictionary = np.array(coder.dictionary[:m])
    shared, mapping = runner.share(coder), runner.share(preprocessing)
    jobs = [(job, rows.inputs(job)) for job in jobs]
    coded = [runner.submit(run_job, _code_job, job, inputs, shared, mapping, n_worst) for job, inputs in jobs]
    codes = [runner.submit(_first, pair) for pair in coded]
    root = runner.tree(add_all, (runner.submit(_second, pair) for pair in coded))
    [moments] = runner.gather([root])
    del coded, root
    change = None
    for index, atoms in enumerate(np.array_split(np.arange(m), n_blocks)):
        request = runner.share((change, dictionary, atoms))
        updated = [
            runner.submit(run_job, _block_job, job, inputs, old, request, mapping)
            for (job, inputs), old in zip(jobs, codes, strict=True)
        ]
        codes = [runner.submit(_first, pair) for pair in updated]
        grams = runner.tree(_add, (runner.submit(_second, pair) for pair in updated))
        [after] = runner.gather([runner.submit(_dominant, grams, dictionary[atoms])])
        del updated, grams
        change = _Change(dictionary, atoms, after)
        dictionary = dictionary.copy()
        dictionary[atoms] = after
        block_done(index, moments if index == 0 else None)
    return dictionary, moments


def _code_job(job, inputs, coder, preprocessing, n_worst):
    """Code a job's rows. Returns the codes of every piece, and moments."""
    dtype = coder.dictionary.dtype
    m, d = coder.n_components, coder.dictionary.shape[1]
    total = Totals(n_worst, d, dtype)
    uses = np.zeros(m, np.int64)
    pieces = []
    for _, raw in job.read(inputs):
        parts = []
        for block in iterate_blocks(len(raw), coder):
            rows = preprocessing.apply(raw[block], dtype)
            codes, energy, explained = code_block(rows, coder)
            parts.append(codes)
            uses += np.bincount(codes.indices[codes.indices >= 0], minlength=m)
            total.add(rows, codes, energy, np.maximum(energy - explained, 0), coder, preprocessing)
        pieces.append(Codes(*map(np.concatenate, zip(*parts, strict=True))))
    return pieces, total.moments(uses, None, None)


def _block_job(job, inputs, codes, request, preprocessing):
    """Take in the last block's change, then sum the Gram matrices of the next.

    Returns the codes brought up to date, and a (b, d, d) array.
    """
    change, dictionary, atoms = request
    m, d = dictionary.shape
    dtype = dictionary.dtype
    slots = np.full(m, -1)
    slots[atoms] = np.arange(len(atoms))
    grams = np.zeros((len(atoms), d, d), dtype)
    pieces = []
    for (_, raw), old in zip(job.read(inputs), codes, strict=True):
        residuals = preprocessing.apply(raw, dtype)
        values = old.values.copy()
        if change is None:
            subtract_reconstruction(residuals, dictionary, old.indices, values)
        else:
            before = change.dictionary
            subtract_reconstruction(residuals, before, old.indices, values)
            last = np.full(m, -1)
            last[change.atoms] = np.arange(len(change.atoms))
            replace_coefficients(residuals, old.indices, values, last, before[change.atoms], change.after)
        pieces.append(Codes(old.indices, values))
        _add_grams(grams, residuals, pieces[-1], slots, dictionary[atoms])
    return pieces, grams


def _add_grams(grams, residuals, codes, slots, atoms):
    """Add ``E_j' E_j`` for the atoms of a block."""
    slot = np.where(codes.indices >= 0, slots[codes.indices], -1)
    row, column = np.nonzero(slot >= 0)
    owner = slot[row, column]
    order = np.argsort(owner, kind="stable")
    row, column, owner = row[order], column[order], owner[order]
    bounds = np.searchsorted(owner, np.arange(len(atoms) + 1))
    for j in range(len(atoms)):
        users = slice(bounds[j], bounds[j + 1])
        if users.start == users.stop:
            continue
        x = codes.values[row[users], column[users]]
        E = residuals[row[users]] + x[:, None] * atoms[j]
        grams[j] += E.T @ E


def _dominant(grams, atoms):
    """Dominant eigenvector of every Gram matrix, on the side of the old atom."""
    new = atoms.copy()
    for j, gram in enumerate(grams):
        if not gram.any():
            continue  # nobody uses the atom: it stays
        vector = dominant_eigenvector(gram, atoms[j])
        new[j] = vector if vector @ atoms[j] >= 0 else -vector
    return new


def dominant_eigenvector(gram, start):
    """Unit eigenvector of the largest eigenvalue of a (d, d) Gram matrix."""
    d = len(gram)
    gram = gram.astype(np.float64)
    if d > 64:  # Lanczos from the old atom needs a few dozen products
        try:
            _, vectors = scipy.sparse.linalg.eigsh(gram, k=1, v0=start.astype(np.float64))
            return vectors[:, 0]
        except scipy.sparse.linalg.ArpackError:
            pass
    _, vectors = scipy.linalg.eigh(gram, subset_by_index=[d - 1, d - 1])
    return vectors[:, 0]


def _first(pair):
    return pair[0]


def _second(pair):
    return pair[1]


def _add(arrays):
    total = arrays[0].astype(np.float64)
    for array in arrays[1:]:
        total += array
    return total
