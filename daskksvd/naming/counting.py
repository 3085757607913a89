"""How often words and atoms meet: caption words joined with codes, range of rows by range."""

from typing import NamedTuple

import numpy as np
import pandas as pd
import scipy.sparse as sp
from dask.base import tokenize

from ..captions.by_sample import find_words
from ..captions.partitions import compute
from ..execution import WORKER_TIMEOUT
from ..execution.executor import TREE_FAN_IN

JOIN_ROWS = 2**18
"""Joined rows, of a word and an atom of one sample, that exist at any time in a task: few enough
for the cache, and for memory to be used again, not returned and taken anew."""

CAPTIONED, BLANK, LINES = range(3)
"""Marks that follow the words of the vocabulary: the sample has a caption (once a sample, and how
many), blank captions, and lines of the table that belong to samples."""


class Counts(NamedTuple):
    """Counts over the samples, of the words, and of the positive and negative side of atoms.

    Attributes
    ----------
    n : int
        Samples counted: those with captions.
    joint : (2, V, m) int64 array
        Samples with the word that use the atom, positively and negatively.
    weight : (2, V, m) float64 array
        Sums of their absolute coefficients.
    share : (2, V, m) float64 array or None
        Sums of the share of captions with the word, over samples that use the atom.
    words : (V,) int64 array
        Samples with the word.
    share_sums, share_squares : (V,) float64 array or None
        Sums of the share and of its square.
    uses : (2, m) int64 array
        Samples that use the atom.
    weights, squares : (2, m) float64 arrays
        Sums of their absolute coefficients, and of the squares.
    n_captions, n_blank, n_lines : int
        Captions that were counted and that were blank; lines of the table
        that belong to samples.
    """

    n: int
    joint: np.ndarray
    weight: np.ndarray
    share: np.ndarray | None
    words: np.ndarray
    share_sums: np.ndarray | None
    share_squares: np.ndarray | None
    uses: np.ndarray
    weights: np.ndarray
    squares: np.ndarray
    n_captions: int = 0
    n_blank: int = 0
    n_lines: int = 0


def table_bytes(n_words, m, share):
    """Memory of the counts of words and atoms."""
    return (n_words + 1) * 2 * m * 8 * (3 if share else 2)


def add_counts(parts):
    """Counts of several sets of samples together."""
    total = [value.copy() if isinstance(value, np.ndarray) else value for value in parts[0]]
    for part in parts[1:]:
        for place, value in enumerate(part):
            if isinstance(value, np.ndarray):
                total[place] += value
            elif value is not None:
                total[place] = total[place] + value
    return Counts(*total)


def pack(counts):
    """Counts as a dict of arrays, for a file."""
    return {name: np.asarray(value) for name, value in counts._asdict().items() if value is not None}


def unpack(arrays):
    """Counts of such a dict."""
    return Counts(
        **(
            {"share": None, "share_sums": None, "share_squares": None}
            | {name: value if value.ndim else int(value) for name, value in arrays.items()}
        )
    )


def count(
    codes, captions, tokenizer, vocabulary, *, share=False, missing="exclude", client=None,
    worker_timeout=WORKER_TIMEOUT, progress=None,
):  # fmt: skip
    """Count words and atoms through joins of both on the sample.

    A Dask DataFrame of caption words and one of code nonzeros are cut at the
    same rows, so partitions are joined pairwise, without a shuffle; their
    counts are added in a tree.

    Parameters
    ----------
    codes : CodeRows
    captions : CaptionRows
    tokenizer : Tokenizer
    vocabulary : list of str
    share : bool
        Also add up shares of captions.
    missing : str
        ``"exclude"`` leaves samples without captions out; ``"empty"`` counts
        them as samples without words.
    client : distributed.Client, optional
    worker_timeout : float, optional
        Seconds to wait for workers that are gone; see `daskksvd.fit`.
    progress : resuming.Progress, optional
        Where what is counted is kept, and gone on from.

    Returns
    -------
    Counts
    """
    words, nonzeros = frames(codes, captions, tokenizer, vocabulary, share=share, missing=missing)
    size = len(vocabulary), codes.m
    counted = words.map_partitions(
        count_joined, nonzeros, *size, meta=pd.Series(dtype=object), enforce_metadata=False
    )
    parts = counted.to_delayed()
    if progress is not None:
        return progress.reduce(
            "counts", (add_counts, pack, unpack), parts, client, worker_timeout, token=tokenize(vocabulary)
        )
    return compute(tree(add_counts, parts), client, worker_timeout)


def frames(codes, captions, tokenizer, vocabulary, *, share=False, missing="exclude"):
    """Caption words and code nonzeros as two Dask DataFrames with the same divisions.

    Returns
    -------
    words : dask.dataframe.DataFrame
        As `word_frame` makes its partitions.
    nonzeros : dask.dataframe.DataFrame
        As `code_rows.nonzeros` does.
    """
    import dask
    import dask.dataframe as dd

    index = dask.delayed({word: number for number, word in enumerate(vocabulary)}, pure=False)
    tokenizer = dask.delayed(tokenizer, pure=False, traverse=False)
    pairs = list(zip(codes.edges[:-1], codes.edges[1:], strict=True))
    make = dask.delayed(word_frame, pure=False)
    words = [make(captions.delayed(*pair), tokenizer, index, *pair, share, missing) for pair in pairs]
    columns = {"word": np.int64, "times": np.int64} | ({"share": np.float64} if share else {})
    meta = empty_frame(columns)
    divisions = (*codes.edges[:-1], codes.edges[-1] - 1)
    blank = empty_frame({"side": np.int64, "weight": np.float64})
    how = {"divisions": divisions, "verify_meta": False}
    return (
        dd.from_delayed(words, meta=meta, **how),
        dd.from_delayed([codes.delayed(*pair) for pair in pairs], meta=blank, **how),
    )


def empty_frame(columns):
    """A frame indexed by row without any, for Dask to know its columns."""
    data = {name: np.empty(0, dtype) for name, dtype in columns.items()}
    return pd.DataFrame(data, index=pd.Index(np.empty(0, np.int64), name="row"))


def word_frame(read, tokenizer, index, low, high, share, missing):
    """Words of the samples of a range of rows, and marks, as a frame indexed by row.

    Parameters
    ----------
    read : (Partition, int)
        Captions by row, and how many lines of the table they took.
    tokenizer : Tokenizer
    index : dict of str to int
    low, high : int
    share, missing : as for `count`

    Returns
    -------
    pandas.DataFrame
        Columns ``word`` (V and more are marks), ``times`` (captions that have
        it) and, if asked for, ``share``.
    """
    partition, n_lines = read
    found = find_words(partition, tokenizer, index)
    marked, times = found.captioned, found.n_captions
    v = len(index)
    if missing == "empty":
        marked = np.arange(low, high)
        times = np.zeros(high - low, np.int64)
        times[found.captioned - low] = found.n_captions
    row = np.concatenate([found.sample, marked, [low, low]])
    word = np.concatenate([found.word, np.full(len(marked), v + CAPTIONED), [v + BLANK, v + LINES]])
    columns = {"word": word, "times": np.concatenate([found.times, times, [found.n_blank, n_lines]])}
    if share:
        counts = found.n_captions[np.searchsorted(found.captioned, found.sample)]
        columns["share"] = np.concatenate([found.times / counts, np.ones(len(marked)), [0, 0]])
    order = np.argsort(row, kind="stable")
    frame = pd.DataFrame({name: column[order] for name, column in columns.items()})
    frame.index = pd.Index(row[order], name="row")
    return frame


def count_joined(words, nonzeros, v, m):
    """Join the words and the codes of some samples, and count.

    The join is made of blocks of at most about `JOIN_ROWS` joined rows, one
    for each word and atom of a sample.
    """
    marks = words["word"].to_numpy()
    n_blank, n_lines = (int(words["times"].to_numpy()[marks == v + mark].sum()) for mark in (BLANK, LINES))
    words = words[marks <= v + CAPTIONED]
    word, times = words["word"].to_numpy(), words["times"].to_numpy()
    names = ["weight", "share"] if "share" in words else ["weight"]
    sums = {name: np.zeros((v + 1) * 2 * m) for name in names}
    joint = np.zeros((v + 1) * 2 * m, np.int64)
    squares = np.zeros(2 * m)
    for left, right in blocks_of(words.index.to_numpy(), nonzeros.index.to_numpy()):
        joined = words.iloc[left].join(nonzeros.iloc[right], how="inner")
        cell = joined["word"].to_numpy() * (2 * m) + joined["side"].to_numpy()
        np.add.at(joint, cell, 1)
        for name, sum_ in sums.items():
            np.add.at(sum_, cell, joined[name].to_numpy())
        marked = joined[joined["word"].to_numpy() == v]
        np.add.at(squares, marked["side"].to_numpy(), marked["weight"].to_numpy() ** 2)
    joint = joint.reshape(v + 1, 2, m).swapaxes(0, 1)
    sums = {name: sum_.reshape(v + 1, 2, m).swapaxes(0, 1) for name, sum_ in sums.items()}
    in_samples = np.bincount(word, minlength=v + 1)
    shares = [None, None]
    if "share" in words:
        share = words["share"].to_numpy()
        # of no words at all bincount makes integers
        shares = [np.bincount(word, share**power, minlength=v + 1)[:v].astype(float) for power in (1, 2)]
    return Counts(
        n=int(in_samples[v]),
        joint=joint[:, :v],
        weight=sums["weight"][:, :v],
        share=sums["share"][:, :v] if "share" in sums else None,
        words=in_samples[:v],
        share_sums=shares[0],
        share_squares=shares[1],
        uses=joint[:, v].copy(),
        weights=sums["weight"][:, v].copy(),
        squares=squares.reshape(2, m),
        n_captions=int(times[word == v].sum()),
        n_blank=n_blank,
        n_lines=n_lines,
    )


def blocks_of(left, right):
    """Cut two sorted lists of rows into slices whose join has about `JOIN_ROWS` lines."""
    if not len(left):
        return
    rows, starts, n_left = np.unique(left, return_index=True, return_counts=True)
    n_right = np.searchsorted(right, rows, side="right") - np.searchsorted(right, rows)
    block = np.cumsum(n_left * n_right) // JOIN_ROWS
    firsts = np.flatnonzero(np.diff(block, prepend=-1))
    for first, last in zip(firsts, [*firsts[1:], len(rows)], strict=True):
        stop = starts[last] if last < len(rows) else len(left)
        bounds = np.searchsorted(right, [rows[first], rows[last - 1] + 1])
        yield slice(starts[first], stop), slice(*bounds)


def tree(combine, parts):
    """Reduce delayed values in a tree."""
    import dask

    combine = dask.delayed(combine, pure=False)
    parts = list(parts)
    while len(parts) > TREE_FAN_IN:
        parts = [combine(parts[start : start + TREE_FAN_IN]) for start in range(0, len(parts), TREE_FAN_IN)]
    return combine(parts)


def counts_of(codes, words):
    """The same counts of matrices in memory, by sparse products.

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
    from ..coding.nonzeros import as_csr

    codes, shares = as_csr(codes).astype(np.float64), as_csr(words).astype(np.float64)
    if codes.shape[0] != shares.shape[0]:
        raise ValueError(
            f"codes has {codes.shape[0]} rows and words {shares.shape[0]}; they must have as many"
        )
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
