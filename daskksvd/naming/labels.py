"""Words for every atom: counts to statistics, tests and names."""

from __future__ import annotations

import json
import numbers
import os
import warnings
from collections import Counter
from collections.abc import Sequence
from itertools import pairwise
from typing import TYPE_CHECKING, Literal

import numpy as np

from .. import arguments
from ..captions.by_sample import open_rows
from ..captions.partitions import compute
from ..captions.words.tokens import Tokenizer, as_tokenizer
from ..captions.words.vocabulary import (
    WORD_SHARE_MOST,
    check_bounds,
    choose_words,
    document_frequencies,
)
from ..coding.nonzeros import open_code_rows
from ..embedding.opening import open_embeddings
from ..execution import WORKER_TIMEOUT, make_executor
from ..execution.executor import TREE_FAN_IN
from ..machine.files import absolute
from ..machine.memory import MEMORY_SHARE, available_bytes, check_memory
from ..tracking.parts import parts_shown
from . import association
from .counting import count, table_bytes, tree
from .images import codes_of_images, rows_of_image
from .measures import name_atoms
from .resuming import Progress, identity_of, tokenizer_identity
from .thresholds import ATOM_USES, JOINT_LEAST, SIGNIFICANCE

if TYPE_CHECKING:
    import numpy.typing as npt
    import xarray as xr
    from distributed import Client

    from ..captions.by_sample import CaptionsLike
    from ..coding.by_image import UsedBy
    from ..coding.inputs import CodesLike
    from ..embedding.store import Embeddings

LABEL_IMAGES = 2**12
"""Images of one task, where codes are of patches: an image of 256 uses up to some thousand atoms."""

LABEL_TABLES = 24
"""Tables of words x atoms in double precision that exist while atoms are named."""


def label(
    codes: CodesLike,
    captions: CaptionsLike,
    *,
    vocabulary: Sequence[str] | None = None,
    tokenizer: Tokenizer | str | None = None,
    phrases: Sequence[str] = (),
    min_df: float | None = None,
    max_df: float | None = WORD_SHARE_MOST,
    occurrence: Literal["any", "share"] = "any",
    missing: Literal["exclude", "empty"] = "exclude",
    used_by: UsedBy = "any",
    sample_ids: npt.ArrayLike | None = None,
    rank_by: association.Ranking = "g",
    top: int = 3,
    test: association.Test = "auto",
    alpha: float = SIGNIFICANCE,
    min_uses: int = ATOM_USES,
    min_joint: int = JOINT_LEAST,
    client: Client | None = None,
    worker_timeout: float | None = WORKER_TIMEOUT,
    embeddings: Embeddings | str | os.PathLike[str] | None = None,
    checkpoint: str | os.PathLike[str] | None = None,
    words: Sequence[str] | None = None,
    progress: bool = False,
) -> xr.Dataset:
    """Name atoms with the words of captions, and say how sure that is.

    Parameters
    ----------
    codes : path, dask.array.Array, sparse.COO, SciPy sparse or dense array
        n x m, one row a sample; a path names what `Result.write_codes` wrote.
    captions : path, DataFrame, Series, list or dict
        See `captions.open_captions`. Those of samples without codes are
        left out and counted.
    vocabulary : list of str, optional
        Words to count, nouns say. By default those of the captions within
        ``min_df`` and ``max_df``.
    tokenizer : captions.Tokenizer or str, optional
        What a word is, or a language code; English by default.
    phrases : list of str
        Expressions such as "polar bear" to count as words too; for a
        tokenizer of your own, give them to it.
    min_df, max_df : int or float, optional
        Least and most samples that have a word: a number, or a share as a
        float. By default at least 20 and 1 %, at most 90 %.
    occurrence : str
        Of several captions a sample, ``"any"`` that has the word makes it
        occur; ``"share"`` correlates the share of them that have it. Counts
        and tests are of any.
    missing : str
        ``"exclude"`` leaves samples without captions, or with blank ones,
        out; ``"empty"`` counts them as samples without words.
    used_by : {"any"} or float
        Of codes whose rows are patches: an image uses an atom if any of them does, or such a share
        of them, with the coefficient of largest magnitude; see `image_codes`. Samples are images.
    sample_ids : (n,) array of int, optional
        Sample of each row of the codes, for captions by sample. Without it
        column ``row`` of the captions is used, or ``sample`` as the row.
    rank_by : str
        Measure by which words are ranked: ``"g"``, ``"phi"``,
        ``"weighted_correlation"``, ``"lift"``, ``"shrunk_lift"``, ``"pmi"``
        or ``"f1"``.
    top : int
        Most words an atom.
    test : str
        ``"auto"``, ``"exact"`` or ``"chi2"``; see `association.p_values`.
    alpha : float
        False discovery rate.
    min_uses, min_joint : int
        Samples that must use an atom, or its minority side, for it to be
        tested, and that it and a word must share for the word to name it.
    client : distributed.Client, optional
    worker_timeout : float, optional
        Seconds to wait for workers that are gone; see `daskksvd.fit`.
    embeddings : Embeddings or path, optional
        What `daskksvd.embed` made of the images of the codes: for captions that
        name images, as COCO's JSON, or are by sample.
    checkpoint : path, optional
        File in which what is counted is kept on the way. After an
        interruption the same call goes on from there, to the same labels;
        options that only choose among words may differ. `save_labels` removes
        it with labels saved.
    words : list of str, optional
        Old name of ``vocabulary``.
    progress : bool
        Whether to show a bar for each of the two passes.

    Returns
    -------
    xarray.Dataset
        Dimensions (word, atom, rank); variables as in `daskksvd.naming.store.LABELS`.

    Raises
    ------
    FileNotFoundError, TypeError, ValueError
        If there are no codes or captions, an argument is not as above, or
        ``checkpoint`` is of others.
    MemoryError
        If counts or labels of so many words and atoms do not fit, before
        they are made.

    Notes
    -----
    ``correlation`` is the published measure: of a word's occurrence with the
    use of an atom, whatever the sign. An atom used with both signs can mean
    two things, so names and all other measures are those of the side most of
    its samples use; what starts with ``minority_`` is of the other side. For
    codes of one sign ``phi`` is ``correlation``.

    A word names an atom if it is significant over all pairs of the side
    (q-value at most ``alpha``), the atom is among those with any word, and
    both meet often enough. The dictionary must not have been learned from
    captions; then all samples may choose and test names.
    """
    vocabulary = arguments.renamed("words", words, "vocabulary", vocabulary)
    _check_choices(occurrence=occurrence, missing=missing, rank_by=rank_by, test=test)
    _check_numbers(alpha, top=top, min_uses=min_uses, min_joint=min_joint)
    check_bounds(min_df, max_df)
    tokenizer = _tokenizer(tokenizer, phrases, vocabulary)
    for name, value in (("codes", codes), ("captions", captions)):
        if client is None and on_cluster(value):
            raise ValueError(
                f"{name} live on a Dask cluster (they were persisted there), but no client was given; pass "
                "client=, the Client that persisted them"
            )
    if isinstance(embeddings, (str, os.PathLike)):
        embeddings = open_embeddings(embeddings)
    code_rows, each = _code_rows(codes, captions, embeddings, sample_ids, used_by)
    opened, caption_rows = open_rows(captions, code_rows.n, sample_ids=sample_ids, embeddings=embeddings)
    kept = None
    if checkpoint is not None:
        where = getattr(embeddings, "path", embeddings)
        counted = {"codes": codes, "captions": captions, "sample_ids": sample_ids, "embeddings": where}
        kept = Progress(
            checkpoint,
            {name: value if value is None else identity_of(value, name) for name, value in counted.items()}
            | {"tokenizer": tokenizer_identity(tokenizer), "occurrence": occurrence, "missing": missing}
            | {"ranges of rows": code_rows.edges}
            | ({} if each == 1 else {"rows_per_image": each, "used_by": used_by}),
        )
    executor = make_executor(client, worker_timeout=worker_timeout)
    try:
        for name, value in (("codes", codes), ("captions", captions)):
            if isinstance(value, (str, os.PathLike)) and "://" not in os.fspath(value):
                executor.check_path(absolute(value), name)
        how = {"client": client, "worker_timeout": worker_timeout}
        with parts_shown(progress, "words of captions"):
            counter, n_captioned = frequencies(code_rows.edges, caption_rows, tokenizer, kept, **how)
        vocabulary = choose_words(
            counter, n_captioned, tokenizer, vocabulary=vocabulary, min_df=min_df, max_df=max_df
        )
        size = table_bytes(len(vocabulary), code_rows.m, occurrence == "share")
        advice = "name fewer words: raise min_df, or give a vocabulary"
        check_memory(executor, 2 * size, TREE_FAN_IN * size, advice)
        _check_room(len(vocabulary), code_rows.m, advice)
    finally:
        executor.close()
    with parts_shown(progress, "words and atoms"):
        counts = count(
            code_rows,
            caption_rows,
            tokenizer,
            vocabulary,
            share=occurrence == "share",
            missing=missing,
            client=client,
            progress=kept,
            worker_timeout=worker_timeout,
        )
    n_unknown = opened.n_lines - counts.n_lines
    if n_unknown:
        warnings.warn(
            f"{n_unknown:,} of {opened.n_lines:,} lines of captions are of no row of the codes: left out",
            stacklevel=2,
        )
    labels = name_atoms(
        counts, vocabulary, rank_by=rank_by, top=top, test=test, alpha=alpha, min_df=min_df,
        min_uses=min_uses, min_joint=min_joint,
    )  # fmt: skip
    labels.attrs.update(
        n_rows=code_rows.n,
        captions_by=opened.by,
        n_without_captions=code_rows.n - n_captioned,
        n_captions=counts.n_captions,
        n_blank_captions=counts.n_blank,
        n_unknown_lines=n_unknown,
        missing=missing,
        occurrence=occurrence,
        tokenizer=json.dumps(tokenizer.settings()),
    )
    if each > 1:
        labels.attrs.update(rows_per_image=each, used_by=used_by)
    if kept is not None:
        kept.save()
        labels.encoding["checkpoint"] = kept.path
    return labels


def _code_rows(codes, captions, embeddings, sample_ids, used_by):
    """Codes by image, and how many rows of those given an image has."""
    known = {"embeddings": embeddings, "sample_ids": sample_ids}
    by_image = codes_of_images(codes, captions, **known, used_by=used_by)
    each = rows_of_image(codes, captions, **known)
    return open_code_rows(by_image, **({} if each == 1 else {"size": LABEL_IMAGES})), each


def _tokenizer(tokenizer, phrases, vocabulary) -> Tokenizer:
    """The tokenizer to use, with the phrases that are asked for."""
    given = arguments.words("vocabulary", () if vocabulary is None else vocabulary)
    several = [word for word in given if len(word.split()) > 1]
    if isinstance(tokenizer, Tokenizer):
        if len(phrases):
            raise ValueError(
                "phrases and a tokenizer of your own were given; give the phrases to the tokenizer"
            )
        return tokenizer
    if len(phrases) or several:
        return Tokenizer(tokenizer or "en", phrases=[*phrases, *several])
    return as_tokenizer(tokenizer)


def frequencies(edges, captions, tokenizer, progress, client, worker_timeout):
    """Samples with each word, and samples with captions, from one pass over the captions."""
    import dask

    shared = dask.delayed(tokenizer, pure=False, traverse=False)
    read = dask.delayed(_document_frequencies, pure=False)
    parts = [read(captions.delayed(*pair), shared) for pair in pairwise(edges)]
    if progress is None:
        counter, n_captioned = compute(tree(_add_frequencies, parts), client, worker_timeout)
    else:
        blueprint = (_add_frequencies, _pack, _unpack)
        counter, n_captioned = progress.reduce("words", blueprint, parts, client, worker_timeout)
    if not n_captioned:
        raise ValueError("captions has no text for any row of the codes; their rows or samples must agree")
    return counter, n_captioned


def _check_room(n_words, m, advice):
    """Refuse tables of words and atoms that this process has no memory for."""
    needed, free = LABEL_TABLES * n_words * m * 8, available_bytes()
    if needed > MEMORY_SHARE * free:
        raise MemoryError(
            f"labels of {n_words:,} words and {m:,} atoms take about {needed / 2**30:.1f} GiB in this "
            f"process, and {free / 2**30:.1f} GiB are free; {advice}"
        )


def on_cluster(value):
    """Whether a Dask collection holds what a cluster computed."""
    graph = value.__dask_graph__() if hasattr(value, "__dask_graph__") else {}
    return any(hasattr(node, "client") and hasattr(node, "key") for node in dict(graph or {}).values())


def _document_frequencies(read, tokenizer):
    return document_frequencies(read[0], tokenizer)


def _add_frequencies(parts):
    total = Counter()
    for counter, _ in parts:
        total.update(counter)
    return total, sum(number for _, number in parts)


def _pack(frequencies):
    """Words, in order, with the samples that have them, as arrays for a file."""
    counter, n_captioned = frequencies
    text = json.dumps(list(counter)).encode()
    numbers_ = np.fromiter(counter.values(), np.int64, len(counter))
    return {"words": np.frombuffer(text, np.uint8), "samples": numbers_, "n": np.asarray(n_captioned)}


def _unpack(arrays):
    words = json.loads(arrays["words"].tobytes())
    return Counter(dict(zip(words, arrays["samples"].tolist(), strict=True))), int(arrays["n"])


CHOICES = {
    "occurrence": ("any", "share"),
    "missing": ("exclude", "empty"),
    "rank_by": association.RANKINGS,
    "test": association.TESTS,
}


def _check_choices(**arguments):
    for name, value in arguments.items():
        if value not in CHOICES[name]:
            raise ValueError(f"{name}={value!r}; it must be one of {', '.join(map(repr, CHOICES[name]))}")


def _check_numbers(alpha, **arguments):
    if not (isinstance(alpha, numbers.Real) and 0 < alpha < 1):
        raise ValueError(f"alpha={alpha!r}; it must be a rate between 0 and 1")
    for name, value in arguments.items():
        if isinstance(value, bool) or not isinstance(value, numbers.Integral) or value < 1:
            raise ValueError(f"{name}={value!r}; it must be an integer of 1 or more")
