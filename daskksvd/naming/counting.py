"""How often words and atoms meet: caption words joined with codes, range of rows by range."""

from typing import NamedTuple

import numpy as np
import pandas as pd
from dask.base import tokenize

from ..captions.by_sample import find_words
from ..captions.partitions import compute
from ..execution import WORKER_TIMEOUT
from ..execution.executor import TREE_FAN_IN
from ..kernels.jit import read_only
from ..kernels.pairs import add_pairs

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
    """Join the words and the codes of some samples, and count; the joined lines are never made."""
    marks = words["word"].to_numpy()
    n_blank, n_lines = (int(words["times"].to_numpy()[marks == v + mark].sum()) for mark in (BLANK, LINES))
    words = words[marks <= v + CAPTIONED]
    word, times = words["word"].to_numpy(), words["times"].to_numpy()
    side, weight = nonzeros["side"].to_numpy(), nonzeros["weight"].to_numpy()
    row, code_row = words.index.to_numpy(), nonzeros.index.to_numpy()
    low = row[0] if len(row) else 0
    edges = np.arange(low, row[-1] + 2) if len(row) else np.zeros(1, np.int64)
    of_words, of_codes = np.searchsorted(row, edges), np.searchsorted(code_row, edges)
    used = slice(of_codes[0], of_codes[-1])  # codes of the rows that have words
    of_codes, side, weight, code_row = of_codes - of_codes[0], side[used], weight[used], code_row[used] - low

    def add(*arguments):
        total = np.zeros((v + 1, 2 * m))
        add_pairs(*map(read_only, arguments), total)
        return total.reshape(v + 1, 2, m).swapaxes(0, 1)

    rows = np.arange(len(edges) - 1)
    joint = add(of_words, word, rows, of_codes, side, rows, np.ones(len(rows))).astype(np.int64)
    # every nonzero, and then every word, is a sample by itself, which has a weight
    one = np.arange(len(side) + 1)
    weights = add(of_words, word, code_row, one, side, one[:-1], weight)
    captioned = np.isin(code_row, row[word == v] - low)
    in_samples = np.bincount(word, minlength=v + 1)
    squares = np.bincount(side[captioned], weight[captioned] ** 2, minlength=2 * m).astype(float)
    share, shares = None, [None, None]
    if "share" in words:
        one, share = np.arange(len(word) + 1), words["share"].to_numpy()
        # of no words at all bincount makes integers
        shares = [np.bincount(word, share**power, minlength=v + 1)[:v].astype(float) for power in (1, 2)]
        share = add(one, word, one[:-1], of_codes, side, row - low, share)[:, :v]
    return Counts(
        n=int(in_samples[v]),
        joint=joint[:, :v],
        weight=weights[:, :v],
        share=share,
        words=in_samples[:v],
        share_sums=shares[0],
        share_squares=shares[1],
        uses=joint[:, v].copy(),
        weights=weights[:, v].copy(),
        squares=squares.reshape(2, m),
        n_captions=int(times[word == v].sum()),
        n_blank=n_blank,
        n_lines=n_lines,
    )


def tree(combine, parts):
    """Reduce delayed values in a tree."""
    import dask

    combine = dask.delayed(combine, pure=False)
    parts = list(parts)
    while len(parts) > TREE_FAN_IN:
        parts = [combine(parts[start : start + TREE_FAN_IN]) for start in range(0, len(parts), TREE_FAN_IN)]
    return combine(parts)
