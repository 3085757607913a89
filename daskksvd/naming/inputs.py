"""Codes and captions, in whatever form, as two sparse matrices over the same samples."""

import numbers
import os
from typing import NamedTuple

import numpy as np
import pandas as pd
import scipy.sparse as sp

from .. import arguments
from ..captions.by_sample import check_ids, occurrence, open_captions
from ..captions.words.tokens import as_tokenizer
from ..captions.words.vocabulary import WORD_SAMPLES, WORD_SHARE_MOST, base_form, build_vocabulary
from ..coding.by_image import codes_by_image
from ..coding.nonzeros import as_csr
from .images import codes_of_images

CHECK_SHARE = 1 / 3
"""Share of the training samples on which penalties and dampings are compared."""

CHECK_ROWS = 5_000
"""Samples for that at most; the rest goes to learning."""


class Samples(NamedTuple):
    """Codes and words of the samples that have captions.

    Attributes
    ----------
    codes : (n, m) scipy.sparse.csr_matrix
        Signed coefficients, float64, no explicit zeros.
    words : (n, V) scipy.sparse.csr_matrix
        1 where a caption has the word, or the share of captions, float64.
    vocabulary : (V,) array of str
    rows : (n,) int array
        Rows of the codes given that these samples are.
    n_left_out : int
        Rows of the codes without captions.
    lines : Lines or None
        Words of every single caption, where there were captions.
    """

    codes: sp.csr_matrix
    words: sp.csr_matrix
    vocabulary: np.ndarray
    rows: np.ndarray
    n_left_out: int
    lines: "Lines | None" = None


class Lines(NamedTuple):
    """Words of single captions.

    Attributes
    ----------
    words : (c, V) scipy.sparse.csr_matrix
        1 where a caption has the word.
    sample : (c,) int array
        Position of its sample among `Samples`.
    """

    words: sp.csr_matrix
    sample: np.ndarray


def gather(codes, captions, *, vocabulary=None, tokenizer=None, sample_ids=None, used_by="any"):
    """Codes and captions as matrices; samples without captions are left out.

    Parameters
    ----------
    codes : dask.array.Array, path, sparse.COO, SciPy sparse or dense array
        n x m; a path names what `Result.write_codes` wrote. Those of patches are taken by image.
    captions : path, frame, list, ..., or SciPy sparse or dense matrix
        What `daskksvd.label` takes, or word occurrence itself, n x V.
    vocabulary : sequence of str, optional
        Words to count; for a matrix the names of its columns.
    tokenizer : captions.Tokenizer, optional
    sample_ids : (n,) array of int, optional
        Sample of each row of the codes.
    used_by : {"any"} or float
        Share of an image's patches that must use an atom, see `image_codes`.

    Returns
    -------
    Samples
    """
    codes = codes_matrix(codes_of_images(codes, captions, sample_ids=sample_ids, used_by=used_by))
    n = codes.shape[0]
    matrix = isinstance(captions, np.ndarray) and captions.ndim == 2 and captions.dtype.kind in "fiub"
    if sp.issparse(captions) or matrix:
        words = sp.csr_matrix(captions, dtype=np.float64)
        if words.shape[0] != n:
            raise ValueError(f"captions has {words.shape[0]} rows; codes has {n}; they must be the same")
        if words.nnz and not (words.data.min() >= 0 and words.data.max() <= 1):
            raise ValueError("captions is a matrix with values outside 0 to 1; it must say which words occur")
        names = distinct_words(map(str, range(words.shape[1])) if vocabulary is None else vocabulary)
        if len(names) != words.shape[1]:
            raise ValueError(f"vocabulary has {len(names)} words; captions has {words.shape[1]} columns")
        words.eliminate_zeros()
        return Samples(codes, words, names, np.arange(n), 0)
    row, texts = _known(open_captions(captions, n=n if sample_ids is None else None), n, sample_ids)
    rows, sample = np.unique(row, return_inverse=True)
    tokenizer = as_tokenizer(tokenizer)
    if vocabulary is None:
        table = pd.DataFrame({"row": row, "caption": texts})
        vocabulary = build_vocabulary(table, tokenizer, min_df=WORD_SAMPLES[0], max_df=1.0)
    else:  # in the order given, which a matrix of weights may follow
        vocabulary = [base_form(word, tokenizer) for word in distinct_words(vocabulary)]
    names = distinct_words(vocabulary)
    table = pd.DataFrame({"row": np.arange(len(texts)), "caption": texts})
    lines = indicator(occurrence(table, tokenizer, list(names), len(texts)).astype(np.float64))
    owner = sp.csr_matrix((np.ones(len(sample)), (sample, np.arange(len(sample)))))
    lines_of = Lines(lines, sample)
    return Samples(codes[rows], indicator(owner @ lines), names, rows, n - len(rows), lines_of)


def _known(captions, n, sample_ids):
    """Rows of the codes and texts of all captions that belong to one."""
    part = captions.in_memory()
    row = part.sample
    if sample_ids is not None and captions.key != "row":
        ids = check_ids(sample_ids, n)
        order = np.argsort(ids, kind="stable")
        place = np.minimum(np.searchsorted(ids[order], row), n - 1)
        row = np.where(ids[order][place] == row, order[place], -1)
    written = [isinstance(text, str) and bool(text.strip()) for text in part.caption]
    known = (row >= 0) & (row < n) & np.array(written, bool)
    if not known.any():
        raise ValueError(f"captions has none for the {n} samples of codes; their sample ids must agree")
    return row[known], part.caption[known]


def codes_matrix(codes, name="codes"):
    """Codes in any form, by image, as a CSR matrix in float64 without explicit zeros."""
    codes = codes_by_image(codes)
    if isinstance(codes, (str, os.PathLike)):
        from ..coding.store import open_codes

        codes = open_codes(codes)
    if hasattr(codes, "compute"):
        codes = codes.compute()
    if len(getattr(codes, "shape", np.shape(codes))) != 2 or 0 in np.shape(codes):
        raise ValueError(f"{name} has shape {np.shape(codes)}; it must be n x m, samples x atoms")
    codes = as_csr(codes)
    if codes.dtype.kind not in "fiub":
        raise TypeError(f"{name} has dtype {codes.dtype}; it must be real")
    return codes.astype(np.float64)


def distinct_words(vocabulary):
    """A list of distinct words as an array of text."""
    names = np.array(arguments.words("vocabulary", vocabulary), object)
    if not len(names):
        raise ValueError("vocabulary is empty; it must have at least one word")
    if len(set(names)) < len(names):
        twice = next(name for number, name in enumerate(names) if name in names[:number])
        raise ValueError(f"vocabulary has {twice!r} twice, perhaps in two forms; all words must differ")
    return names


def frequent(words, rows):
    """Columns of words frequent enough in some rows to be learned, most frequent first.

    The bounds are `WORD_SAMPLES` and `WORD_SHARE_MOST`.
    """
    counts, n = document_counts(words, rows), len(rows)
    least, share = WORD_SAMPLES
    fit = (counts >= max(least, share * n)) & (counts <= WORD_SHARE_MOST * n)
    if not fit.any():
        raise ValueError(
            f"captions has no word in {max(least, share * n):g} to {WORD_SHARE_MOST * n:g} of the {n} "
            "training samples; give a vocabulary, or more samples"
        )
    order = np.argsort(-counts, kind="stable")
    return order[fit[order]]


def document_counts(words, rows):
    """Samples among some rows that have each word, (V,)."""
    return np.bincount(words[rows].indices, minlength=words.shape[1])


def split_samples(train, rows, rng):
    """Which samples are learned from: half of them, or those named.

    Parameters
    ----------
    train : None, float, (n,) boolean array or array of int
        A random half; a random share; or rows of the codes.
    rows : (n',) int array
        Rows of the codes that the samples are.
    rng : numpy.random.Generator

    Returns
    -------
    (n',) boolean array
    """
    n = len(rows)
    if train is None or (isinstance(train, numbers.Real) and not isinstance(train, bool)):
        share = 0.5 if train is None else float(train)
        if not 0 < share < 1:
            raise ValueError(f"train={train}; as a share of the samples it must be between 0 and 1")
        chosen = np.zeros(n, bool)
        chosen[rng.permutation(n)[: round(share * n)]] = True
    else:
        train = np.asarray(train)
        if train.dtype == bool and train.ndim == 1 and len(train) > rows[-1]:
            chosen = train[rows]
        elif train.dtype.kind in "iu" and train.ndim == 1:
            if len(train) and train.min() < 0:
                raise ValueError(f"train has row {train.min()}; rows have numbers from 0 on")
            chosen = np.isin(rows, train)
        else:
            raise ValueError(
                f"train has dtype {train.dtype} and shape {train.shape}; it must be a share, "
                "a boolean array with one entry a row of the codes, or the numbers of such rows"
            )
    if not chosen.any() or chosen.all():
        raise ValueError(
            f"train leaves {int(chosen.sum())} of {n} samples with captions to learn from; "
            "there must be some, and others to score on"
        )
    return chosen


def inner_split(train, rng):
    """Training samples in two disjoint sets: to fit on, and to choose settings on."""
    places = rng.permutation(np.flatnonzero(train))
    n_check = max(1, min(CHECK_ROWS, round(CHECK_SHARE * len(places))))
    fit, check = np.zeros((2, len(train)), bool)
    check[places[:n_check]] = True
    fit[places[n_check:]] = True
    return fit, check


def orient(codes):
    """The sign with which each atom is mostly used, 1 where both are as frequent; (m,) int."""
    positive = np.bincount(codes.indices[codes.data > 0], minlength=codes.shape[1])
    negative = np.bincount(codes.indices[codes.data < 0], minlength=codes.shape[1])
    return np.where(positive >= negative, 1, -1)


def one_side(codes, orientation):
    """Magnitudes of the coefficients of one sign an atom; the others are left out."""
    side = codes.copy()
    side.data = side.data * orientation[side.indices]
    side.data[side.data < 0] = 0
    side.eliminate_zeros()
    return side


def indicator(matrix):
    """1 where a matrix has an entry."""
    matrix = matrix.copy()
    matrix.data = np.ones(len(matrix.data))
    return matrix
