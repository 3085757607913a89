"""Captions by sample: any storage, a range of samples at a time, as words."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping, Sequence
from itertools import pairwise
from typing import TYPE_CHECKING, Any, Literal, NamedTuple, TypeAlias

import numpy as np
import pandas as pd

from .partitions import Partition, compute, cut, one_a_line, open_table, read_lines
from .words.tokens import as_tokenizer

if TYPE_CHECKING:
    import dask.dataframe as dd
    import numpy.typing as npt
    import scipy.sparse
    from dask.delayed import Delayed

    from .partitions import Table
    from .words.tokens import Tokenizer


CaptionsLike: TypeAlias = (
    "str | os.PathLike[str] | pd.DataFrame | pd.Series | dd.DataFrame | np.ndarray | Sequence[Any] "
    "| Mapping[int, Any] | Captions"
)
"""What `open_captions` takes."""


class Captions:
    """Captions keyed by sample.

    Iterating yields one `Partition` (sample, caption) after the other; no
    sample is in two.

    Attributes
    ----------
    key : str
        ``"row"`` or ``"sample"``: what the keys are.
    first, last : int
        Least and greatest key.
    n_lines : int
        Lines of the table; those with lists hold several captions.
    by : str
        How their rows were found: ``"row"``, ``"sample"``, ``"name"`` of the image, or ``"order"`` of
        images or lines.
    names : list of str or None
        Names of images by row, where captions are in the order of these.
    """

    def __init__(self, table: Table) -> None:
        self.table = table
        self.key = table.key
        self.by, self.names = table.by, table.names
        self.n_lines = table.n_lines
        self._lows, self._highs = np.array(table.bounds, np.int64).reshape(-1, 2).T
        self.first, self.last = int(self._lows[0]), int(self._highs[-1])

    def __iter__(self) -> Iterator[Partition]:
        for low, high in self.ranges():
            yield self.read(low, high)

    def ranges(self) -> list[tuple[int, int]]:
        """Bounds [low, high) of key ranges that hold all captions, one a part."""
        edges = [*np.unique(self._lows).tolist(), self.last + 1]
        return list(pairwise(edges))

    def delayed(self, low: int, high: int) -> Delayed:
        """The captions with keys in [low, high), a `Partition`, as a delayed value."""
        return self.reading(_read, low, high)

    def read(self, low: int, high: int) -> Partition:
        """The same, at once: without Dask where no part needs it, as its import takes long."""
        parts = self._parts(low, high)
        if any(hasattr(part, "__dask_graph__") for part in parts):
            return compute(self.delayed(low, high))
        return _read(parts, self.key, low, high)

    def by_row(self, n: int, sample_ids: npt.ArrayLike | None = None) -> CaptionRows:
        """The same captions by row of n codes, as `CaptionRows`; see there."""
        if self.table.n not in (None, n):
            raise ValueError(
                f"captions are of {self.table.n:,} rows in their order, and there are {n:,} rows"
            )
        return CaptionRows(self, n, sample_ids)

    def reading(self, function, low, high, *more):
        """What a function makes of the parts with keys in [low, high), their key and the bounds, delayed."""
        import dask

        read = dask.delayed(function, pure=False)
        return read(self._parts(low, high), self.key, low, high, *more)

    def _parts(self, low, high):
        """Parts of the table that have keys in [low, high)."""
        first = int(np.searchsorted(self._highs, low, side="left"))
        last = int(np.searchsorted(self._lows, high, side="left"))
        return [cut(part, self.key, low, high) for part in self.table.parts[first:last]]

    def in_memory(self) -> Partition:
        """All captions as one `Partition`."""
        return compute(self.delayed(self.first, self.last + 1))


def open_captions(
    captions: CaptionsLike,
    *,
    key: Literal["row", "sample"] | None = None,
    embeddings: str | os.PathLike[str] | Sequence[str] | Any | None = None,
    n: int | None = None,
) -> Captions:
    """Captions of samples, from wherever they are.

    Parameters
    ----------
    captions : path, DataFrame, Series, list or dict
        A parquet file, a folder of them, or the folder that `daskksvd.embed`
        made; a .csv, .tsv, .txt, .jsonl or .json file (read whole), perhaps
        compressed; a pandas or Dask DataFrame. Tables have a column ``row`` (row
        of the codes) or ``sample`` (an id, or the row too), of integers, and
        ``caption`` (text) or ``captions`` (lists of text); or they name images, as
        COCO's JSON does, see ``embeddings``. Or a Series, list or dict of text, or of
        lists of it, by row. What is not sorted by sample is sorted in memory.
    key : str, optional
        Which of the two columns to use, where there may be both.
    embeddings : Embeddings, path or sequence of str, optional
        What `daskksvd.embed` made of the images, or their names by row: for
        captions that name images. Names may be written in other ways, see
        `captions.names.Names`; captions of other images have the row -1.
    n : int, optional
        Rows there are. A table without rows, samples and ``embeddings`` is then taken to be in their
        order: it must name n images, each row having all captions of its own, or have n lines.

    Returns
    -------
    Captions

    Raises
    ------
    FileNotFoundError, TypeError, ValueError
        If there are no captions, or columns are missing or of another type.

    Warns
    -----
    UserWarning
        Of lines of a file that cannot be used, with their number and the first ones.
    """
    if isinstance(captions, Captions):
        if key not in (None, captions.key):
            raise ValueError(f"captions are keyed by {captions.key}; here they must be keyed by {key}")
        return captions
    return Captions(open_table(captions, key, embeddings, n))


def _read(parts, key, low, high):
    return one_a_line(*read_lines(parts, key, low, high))


class CaptionRows:
    """Captions by the row of the codes that they belong to.

    Parameters
    ----------
    captions : Captions
    n : int
        Rows of the codes.
    sample_ids : (n,) array of int, optional
        Sample of each row. Without it keys of captions are rows.

    Raises
    ------
    ValueError
        If the ids are no n distinct integers, or no caption can belong to a row.
    """

    def __init__(self, captions, n, sample_ids=None):
        self.n = n
        self.n_lines = captions.n_lines
        self._ids = None
        known = 0, n - 1
        if sample_ids is not None:
            self._ids = check_ids(sample_ids, n)
            known = int(self._ids.min()), int(self._ids.max())
        if captions.last < known[0] or captions.first > known[1]:
            raise ValueError(
                f"captions have none for the {n:,} rows: their {captions.key} goes from {captions.first} to "
                f"{captions.last}, that of the rows from {known[0]} to {known[1]}"
            )
        if self._ids is not None and (np.diff(self._ids) < 0).any():
            captions, self._ids = _reordered(captions, self._ids), None
        self._captions = captions

    def delayed(self, low, high):
        """Captions of rows [low, high) as (`Partition` by row, lines of the table), delayed."""
        if self._ids is None:
            return self._captions.reading(_read_rows, low, high)
        ids = self._ids[low:high]
        return self._captions.reading(_read_rows, int(ids[0]), int(ids[-1]) + 1, ids, low)


def open_rows(captions, n=None, *, sample_ids=None, embeddings=None, what="codes have"):
    """Captions by rows of something: by the number of the row, by sample, or by the name of its image.

    Parameters
    ----------
    captions : as for `open_captions`
    n : int, optional
        Rows; without it as many as there are ids or embeddings, or as captions name.
    sample_ids : (n,) array of int, optional
        Sample of each row, for captions by sample.
    embeddings : Embeddings or sequence of str, optional
        What `daskksvd.embed` made of the images of the rows, or their names.
    what : str
        What tells of so many rows; for messages.

    Returns
    -------
    opened : Captions
    rows : CaptionRows

    Raises
    ------
    TypeError, ValueError
        If captions cannot be opened, or rows and ids are not of the same images.
    """
    opened = open_captions(
        captions,
        key=None if sample_ids is None else "sample",
        embeddings=embeddings,
        n=n if sample_ids is None else None,
    )
    if n is None:
        n = _number_of_rows(opened, sample_ids, embeddings)
    ids = ids_of(embeddings, n, what)
    table = isinstance(captions, (str, os.PathLike)) or hasattr(captions, "columns")  # a list is by row
    if sample_ids is None and opened.key == "sample" and table:
        sample_ids = ids
    return opened, opened.by_row(n, sample_ids if opened.key == "sample" else None)


def _number_of_rows(opened, sample_ids, embeddings):
    """Rows that ids or embeddings tell of; else those that captions name."""
    for value in (sample_ids, embeddings):
        if value is not None:
            return getattr(value, "n_images", None) or len(value)
    n = max(opened.last + 1, 1)
    if n > _MOST_WITHOUT * opened.n_lines:
        raise ValueError(
            f"captions have {opened.n_lines:,} lines, and their {opened.key} goes up to {opened.last:,}; "
            "give n= for so many rows, or embeddings= or sample_ids= where these are no rows"
        )
    return n


_MOST_WITHOUT = 10
"""Rows a caption at most that are made without being asked for: samples of large ids are no rows."""


def ids_of(embeddings, n, what="codes have"):
    """Samples of the n rows, if embeddings of the same images tell."""
    if embeddings is None:
        return None
    ids = getattr(embeddings, "sample", None)
    n_names = len(embeddings if ids is None else ids)
    if n_names != n:
        kind = "names" if ids is None else "samples"
        raise ValueError(
            f"embeddings has {n_names:,} {kind}, {what} {n:,} rows; they must be of the same images"
        )
    return ids


def check_ids(sample_ids, n):
    """Ids of n samples as int64, all different."""
    ids = np.asarray(sample_ids)
    if ids.shape != (n,) or ids.dtype.kind not in "iu":
        raise ValueError(
            f"sample_ids has shape {ids.shape} and dtype {ids.dtype}; it must be {n} integers, one a row"
        )
    if len(np.unique(ids)) < n:
        raise ValueError("sample_ids has an id twice; all must differ")
    return ids.astype(np.int64)


def _read_rows(parts, key, low, high, ids=None, first=0):
    """Captions by row, and how many lines of the table they were."""
    sample, cells = read_lines(parts, key, low, high)
    if ids is not None:
        sample, known = rows_of(sample, ids)
        sample, cells = sample[known] + first, cells[known]
    return one_a_line(sample, cells), len(sample)


def rows_of(samples, ids):
    """Rows of samples among ascending ids, and which of the samples are there."""
    rows = np.minimum(np.searchsorted(ids, samples), len(ids) - 1)
    return rows, ids[rows] == samples


def _reordered(captions, ids):
    """Captions in memory by row, for rows that are not in the order of their ids."""
    sample, cells = compute(captions.reading(read_lines, captions.first, captions.last + 1))
    order = np.argsort(ids)
    rows, known = rows_of(sample, ids[order])
    frame = pd.DataFrame({"row": order[rows[known]], "caption": cells[known]})
    return Captions(open_table(frame))


class Words(NamedTuple):
    """Which words of a vocabulary the captions of some samples have.

    Attributes
    ----------
    sample : (p,) int64 array
    word : (p,) int64 array
        Pairs of a sample and a word, each once, sorted.
    times : (p,) int64 array
        Captions of the sample that have the word.
    captioned : (c,) int64 array
        Samples with a caption that is not blank, ascending.
    n_captions : (c,) int64 array
        How many each has.
    n_blank : int
        Captions that are missing or blank.
    """

    sample: np.ndarray
    word: np.ndarray
    times: np.ndarray
    captioned: np.ndarray
    n_captions: np.ndarray
    n_blank: int


def find_words(partition, tokenizer, index):
    """Words of captions, once a caption.

    Parameters
    ----------
    partition : Partition
    tokenizer : Tokenizer
    index : dict of str to int
        Position of each word in the vocabulary.

    Returns
    -------
    Words
    """
    written = np.array([bool(text) and not text.isspace() for text in partition.caption], bool)
    captioned, n_captions = np.unique(partition.sample[written], return_counts=True)
    caption, word, names = tokenizer.encode(partition.caption[written])
    numbers = np.array([tokenizer.place(name, index) for name in names], np.int64)
    word = numbers[word]
    caption, word = caption[word >= 0], word[word >= 0]
    v = max(1, len(index))
    # once a caption, then over the captions of a sample
    pairs = each_once(caption * v + word)
    place = np.searchsorted(captioned, partition.sample[written])
    pairs, times = np.unique(place[pairs // v] * v + pairs % v, return_counts=True)
    return Words(
        captioned[pairs // v], pairs % v, times, captioned, n_captions, int(len(written) - written.sum())
    )


def each_once(values):
    """Sorted distinct integers. NumPy's own unique takes ten times as long for many."""
    values = np.sort(values)
    return values[np.diff(values, prepend=values[:1] - 1) > 0]


def occurrence(
    captions: CaptionsLike,
    tokenizer: Tokenizer | str | None,
    vocabulary: Sequence[str],
    n_samples: int,
    *,
    share: bool = False,
) -> scipy.sparse.csr_matrix:
    """Which words occur in which samples, as one sparse matrix.

    Parameters
    ----------
    captions : as for `open_captions`
    tokenizer : Tokenizer or str
    vocabulary : list of str
    n_samples : int
        Rows of the matrix; captions of other samples are left out.
    share : bool
        Give the share of the captions of a sample that have the word, in
        place of 1 if any has it.

    Returns
    -------
    (n_samples, V) scipy.sparse.csr_matrix of float64
    """
    import scipy.sparse

    tokenizer = as_tokenizer(tokenizer)
    index = {word: number for number, word in enumerate(vocabulary)}
    blocks = []
    for partition in open_captions(captions):
        inside = (partition.sample >= 0) & (partition.sample < n_samples)
        found = find_words(Partition(*(column[inside] for column in partition)), tokenizer, index)
        counts = found.n_captions[np.searchsorted(found.captioned, found.sample)]
        blocks.append((found.times / counts if share else np.ones(len(found.word)), found.sample, found.word))
    values, rows, columns = (np.concatenate(column) for column in zip(*blocks, strict=True))
    return scipy.sparse.csr_matrix((values, (rows, columns)), shape=(n_samples, len(index)))
