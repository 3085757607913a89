"""Slow, obvious versions of what the package computes, in float64 NumPy."""

import threading
from collections import Counter

import dask.array as da
import numpy as np
import scipy.optimize
import scipy.sparse as sp

from daskksvd.coding import SparseCoder, SparsityTarget, make_products
from daskksvd.coding.how import How
from daskksvd.coding.nonzeros import as_csr
from daskksvd.execution import ThreadExecutor
from daskksvd.naming.counting import Counts
from daskksvd.rows import Reader, Transform, as_source, cut_jobs, cut_pieces


def unit_atoms(rng, m, d, common=0.0):
    """Random unit atoms; ``common`` > 0 makes them alike."""
    atoms = rng.standard_normal((m, d)) + common * rng.standard_normal(d)
    return atoms / np.linalg.norm(atoms, axis=1, keepdims=True)


def omp(row, atoms, k, rtol=0.0, threshold=0.0):
    """Orthogonal matching pursuit of one row: support in the order chosen, coefficients.

    Every step refits all coefficients by least squares (Pati, Rezaiifar,
    Krishnaprasad 1993).
    """
    support, coefs, residual = [], np.empty(0), row
    while len(support) < k:
        if residual @ residual <= rtol**2 * (row @ row):
            break
        j = int(np.argmax(np.abs(atoms @ residual)))
        if j in support or abs(atoms[j] @ residual) < threshold:
            break  # nothing is left but rounding, or not enough
        support.append(j)
        coefs = np.linalg.lstsq(atoms[support].T, row, rcond=None)[0]
        residual = row - coefs @ atoms[support]
    return support, coefs


def mp(row, atoms, k, rtol=0.0, threshold=0.0, most_steps=None):
    """Matching pursuit of one row with its coefficients refitted at the end."""
    support, residual = [], row
    for _ in range(most_steps or 4 * k):
        if residual @ residual <= rtol**2 * (row @ row):
            break
        j = int(np.argmax(np.abs(atoms @ residual)))
        if abs(atoms[j] @ residual) < threshold:
            break
        if j not in support:
            if len(support) == k:
                break
            support.append(j)
        residual = residual - (atoms[j] @ residual) * atoms[j]
    if not support:
        return [], np.empty(0)
    return support, np.linalg.lstsq(atoms[support].T, row, rcond=None)[0]


def nonnegative_omp(row, atoms, k, rtol=0.0, threshold=0.0, candidates=None):
    """Non-negative orthogonal matching pursuit of one row: Lawson and Hanson's steps, up to k atoms."""
    support, x = [], np.empty(0)
    for _ in range(4 * k):
        residual = row - x @ atoms[support]
        if len(support) == k or residual @ residual <= rtol**2 * (row @ row):
            break
        correlations = atoms @ residual
        correlations[support] = -1
        if candidates is not None:
            correlations[[i for i in range(len(atoms)) if i not in candidates]] = -1
        j = int(np.argmax(correlations))
        if correlations[j] <= 1e-13 * np.linalg.norm(row) or correlations[j] < threshold:
            break
        support, x = [*support, j], np.append(x, 0.0)
        while True:
            wanted = np.linalg.lstsq(atoms[support].T, row, rcond=None)[0]
            if (wanted > 0).all():
                x = wanted
                break
            share = [x[s] / (x[s] - wanted[s]) if wanted[s] <= 0 else 2 for s in range(len(x))]
            out = int(np.argmin(share))
            x = np.delete(x + share[out] * (wanted - x), out)
            support.pop(out)
    return support, x


def nonnegative_mp(row, atoms, k, rtol=0.0, threshold=0.0):
    """Matching pursuit by positive steps, coefficients refitted by non-negative least squares."""
    support, residual = [], row
    for _ in range(4 * k):
        j = int(np.argmax(atoms @ residual))
        correlation = atoms[j] @ residual
        done = residual @ residual <= rtol**2 * (row @ row)
        if done or correlation <= 1e-13 * np.linalg.norm(row) or correlation < threshold:
            break
        if j not in support:
            if len(support) == k:
                break
            support.append(j)
        residual = residual - correlation * atoms[j]
    if not support:
        return [], np.empty(0)
    x, _ = scipy.optimize.nnls(atoms[support].T, row)
    return [atom for atom, value in zip(support, x, strict=True) if value > 0], x[x > 0]


def dense(codes, m):
    """Fixed-width codes as a dense (n, m) array, one assignment at a time."""
    X = np.zeros((len(codes.indices), m))
    for row, (support, values) in enumerate(zip(codes.indices, codes.values, strict=True)):
        for atom, value in zip(support, values, strict=True):
            if atom >= 0:
                X[row, atom] = value
    return X


def code_all(rows, atoms, k, rtol=0.0, pursuit=omp):
    """Dense codes of all rows by a reference pursuit."""
    X = np.zeros((len(rows), len(atoms)))
    for row, y in enumerate(rows):
        support, coefs = pursuit(y, atoms, k, rtol)
        X[row, support] = coefs
    return X


def sweep(dictionary, XX, XY, n_sweeps):
    """Block-coordinate descent over unit atoms at fixed codes, one atom after the other."""
    D = np.array(dictionary, np.float64)
    for _ in range(n_sweeps):
        for j in range(len(D)):
            if XX[j, j] == 0:
                continue
            others = [i for i in range(len(D)) if i != j]
            direction = XY[j] - XX[j, others] @ D[others]
            D[j] = direction / np.linalg.norm(direction)
    return D


class Counted:
    """A lazy array that counts how often each of its chunks is computed."""

    def __init__(self, values, chunk_rows):
        self.reads = Counter()
        self._lock = threading.Lock()
        array = da.from_array(values, chunks=(chunk_rows, values.shape[1]))
        numbers = da.arange(array.numblocks[0], chunks=1)[:, None]
        meta = np.empty((0, 0), values.dtype)
        self.array = da.map_blocks(
            self._read, array, numbers, chunks=array.chunks, dtype=array.dtype, meta=meta
        )

    def _read(self, block, number):
        with self._lock:
            self.reads[int(number[0, 0])] += 1
        return block.copy()  # as from a disk


def prepared(array, n_threads=2, most=None, **split):
    """A thread executor, a reader on it, and the jobs that go through all rows once."""
    executor = ThreadExecutor(n_threads)
    reader = Reader(as_source(array), executor)
    chunk_rows = reader.source.chunk_rows
    pieces = cut_pieces(chunk_rows, most or max(chunk_rows), **split)
    jobs = [reader.job(job) for job in cut_jobs(pieces, most or max(chunk_rows))]
    return executor, reader, jobs


def counts_of(codes, words):
    """Words and atoms of matrices in memory, counted by sparse products.

    Parameters
    ----------
    codes : (n, m) scipy.sparse matrix or array
        Signed coefficients.
    words : (n, V) scipy.sparse matrix or array
        1 where a sample has a word, or a share of its captions.

    Returns
    -------
    Counts
    """
    codes, shares = as_csr(codes).astype(np.float64), as_csr(words).astype(np.float64)
    occurs = sp.csr_matrix((np.ones(len(shares.data)), shares.indices, shares.indptr), shape=shares.shape)
    sides = [codes.maximum(0), (-codes).maximum(0)]
    used = [(side > 0).astype(np.float64) for side in sides]
    for side in sides:
        side.eliminate_zeros()

    def products(left, rights):
        return np.stack([(left.T @ right).toarray() for right in rights])

    def totals(matrices):
        return np.stack([np.asarray(matrix.sum(axis=0)).ravel() for matrix in matrices])

    return Counts(
        n=codes.shape[0],
        joint=products(occurs, used).astype(np.int64),
        weight=products(occurs, sides),
        share=products(shares, used),
        words=totals([occurs])[0].astype(np.int64),
        share_sums=totals([shares])[0],
        share_squares=totals([shares.multiply(shares)])[0],
        uses=totals(used).astype(np.int64),
        weights=totals(sides),
        squares=totals([side.multiply(side) for side in sides]),
    )


def products_of(
    atoms, n_nonzero_coefs, rtol=0.0, pursuit="omp", transform=None, n_threads=1, how=None, **more
):
    """Atoms ready to code rows with, as they are by default.

    ``how`` is a `How`, or its products; ``more`` are parts of the target.
    """
    target = SparsityTarget(n_nonzero_coefs, rtol, pursuit, **more)
    how = How(how) if isinstance(how, str) else how
    return make_products(SparseCoder(atoms, transform or Transform(), target, how=how), n_threads)
