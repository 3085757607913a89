"""Do codes say what captions say? Words read off from active atoms, against captions."""

from __future__ import annotations

import numbers
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

import numpy as np
import scipy.sparse as sp

from ..naming.inputs import document_counts, frequent, gather, split_samples
from ..tracking.parts import shows_parts
from .diagram import SCORED_ROWS, faithfulness_by_encoder
from .features import Dense
from .mapping import as_mapping, choose_mapping
from .predictors import (
    CEILING,
    HUMAN,
    METHODS,
    UNION,
    Problem,
    make_models,
    score_human,
    score_model,
    score_union,
)
from .ranking import MEASURES, group_sums
from .scores import RESAMPLES
from .summary import summarise_words

if TYPE_CHECKING:
    import os

    import numpy.typing as npt
    import pandas as pd
    import xarray as xr

    from ..captions.by_sample import CaptionsLike
    from ..captions.words.tokens import Tokenizer
    from ..coding.inputs import CodesLike
    from ..embedding.encodings import Encodings
    from ..embedding.texts import EncoderLike
    from ..naming.tokens.prompts import TemplateLike
    from ..rows.source import ArrayLike

BOOTSTRAP_GROUPS = 10_000
"""Samples are resampled in at most so many groups: more cost time and change no interval."""


@shows_parts("words of samples")
def faithfulness(
    mapping: xr.Dataset | xr.DataArray | pd.DataFrame | Mapping | npt.ArrayLike | None,
    codes: CodesLike,
    captions: CaptionsLike,
    *,
    embeddings: ArrayLike | None = None,
    decoder: npt.ArrayLike | None = None,
    vocabulary: Sequence[str] | None = None,
    tokenizer: Tokenizer | str | None = None,
    sample_ids: npt.ArrayLike | None = None,
    train: float | npt.ArrayLike | None = None,
    top: int = 3,
    ks: int | Sequence[int] = (1, 5, 10),
    n_resamples: int = RESAMPLES,
    random_state: int | np.random.Generator | None = None,
    encoder: EncoderLike | None = None,
    encodings: Encodings | str | os.PathLike[str] | npt.ArrayLike | None = None,
    n_slots: int | None = None,
    template: TemplateLike = None,
    n_scored: int = SCORED_ROWS,
    progress: bool = False,
) -> xr.Dataset:
    """Score a mapping from atoms to words by the captions of held-out samples.

    If atoms mean what their words say, then image to codes to words leads to
    the same place as image to caption. Words are ranked for every held-out
    sample by a prior plus the damped evidence of its active atoms, and compared
    with the words of its captions. Beside the mapping stand: what needs no
    mapping (the most frequent words), the mapping with atoms shuffled, its
    words without a prior, its pairs with weights fitted together, what could
    be read from the codes with all pairs (naive Bayes, ridge regression), and
    from the embeddings themselves (ridge regression, the ceiling of a linear
    read-out).

    Parameters
    ----------
    mapping : None, xarray.Dataset, DataFrame, DataArray, dict or (m, V) array
        Labels from `daskksvd.label`, made from the training samples: their
        ``top`` words an atom count, with evidence estimated on training
        samples. Or weights: of a table with atoms as rows and words as
        columns, or of a dict from atoms to a word, words (of weight 1), or
        weights by word. None: the words that rank first by the signed root
        of the likelihood ratio on the training samples.
    codes, captions, vocabulary, tokenizer, sample_ids, train
        As for `score_labels`. Words of the mapping outside the vocabulary are
        left out and counted. The vocabulary must not depend on the mapping
        where mappings are compared.
    embeddings : array-like, dask.array.Array, zarr.Array or path, optional
        What was coded, n x d, for the ceiling.
    decoder : (m, d) array, optional
        `Result.decoder`: with the embeddings, adds a ridge regression that is
        drawn to what the regression on the embeddings says about the atoms.
    top : int
        Words an atom, where the mapping ranks them.
    ks : sequence of int
        Ranks at which to score.
    n_resamples : int
        Bootstrap resamples of held-out samples behind the intervals.
    random_state : int or numpy.random.Generator, optional
    encoder : str, path, callable or TextEncoder, optional
        Score by encodings of texts instead, as `daskksvd.naming.map_tokens` takes it: the prompt made of
        the words of a sample's atoms against its captions. ``top``, ``ks`` and ``decoder`` do not count then.
    encodings : Encodings, path or (n, e) array, optional
        Mean encodings of captions by ``encoder``; made here in memory otherwise.
    n_slots : int, optional
        Words a prompt; as many as the mapping was made for, or 3.
    template : str, Template or sequence of these, optional
        As for `daskksvd.naming.map_tokens`; by default that of the mapping.
    n_scored : int
        Held-out samples whose prompts are encoded.
    progress : bool
        Whether to show a bar of what is done of each pass.

    Returns
    -------
    xarray.Dataset
        With an ``encoder``: by ``way`` from an image to a text encoding, from chance over the mapping to
        what people write, the share of variance of caption encodings explained (``r2``), ``cosine``,
        ``recall_at_1``, ``_5``, ``_10`` and ``median_rank`` of the own captions among 1,000, with
        95 % bootstrap limits; see `evaluation.diagram`. Without one: ``precision``, ``recall`` and
        ``ndcg`` by (readout, k), each with 95 % bootstrap limits (``_low``, ``_high``); with embeddings also
        ``share_of_ceiling``, precision over that of the ceiling;
        ``strength``, the damping or penalty chosen on an inner split of the
        training samples. ``attrs["summary"]`` says it in a sentence.

    Raises
    ------
    TypeError, ValueError, FileNotFoundError
        For arguments or data that cannot work.

    Notes
    -----
    An atom counts as active with its more frequent sign, in proportion to its
    coefficient: the evidence of a coefficient as large as the atom's root
    mean square counts once. Evidence is that of naive Bayes, shrunk where
    data is scarce. Held-out samples without any word of the vocabulary are
    not scored. For one caption against the others, the words of one random
    caption of each sample stand in the order of their frequency, and the
    truth is the words of its other captions.
    """
    ks, top = _check_ranks(ks), _check_count("top", top, 1)
    n_resamples = _check_count("n_resamples", n_resamples, 0)
    if encoder is not None:
        return faithfulness_by_encoder(
            mapping, codes, captions, encoder, encodings=encodings, embeddings=embeddings,
            sample_ids=sample_ids, train=train, n_slots=n_slots, template=template, vocabulary=vocabulary,
            tokenizer=tokenizer, n_scored=n_scored, n_resamples=n_resamples, random_state=random_state,
        )  # fmt: skip
    for name, value in (("encodings", encodings), ("n_slots", n_slots), ("template", template)):
        if value is not None:
            raise ValueError(f"{name} was given without encoder; it is of use with one only")
    samples = gather(codes, captions, vocabulary=vocabulary, tokenizer=tokenizer, sample_ids=sample_ids)
    n_given = len(samples.rows) + samples.n_left_out
    rng = np.random.default_rng(random_state)
    training = split_samples(train, samples.rows, rng)
    if vocabulary is None:
        kept = frequent(samples.words, np.flatnonzero(training))
    else:
        kept = np.argsort(-document_counts(samples.words, np.flatnonzero(training)), kind="stable")
    words, names = samples.words[:, kept], samples.vocabulary[kept]
    words.sort_indices()
    if max(ks) > len(names):
        raise ValueError(f"ks={ks}; they must be at most the {len(names)} words of the vocabulary")
    dense = _check_embeddings(embeddings, decoder, n_given, samples)
    m = samples.codes.shape[1]
    problem = Problem(samples.codes, words, training, rng, _orientation(mapping, m))
    if mapping is None:
        mapping = choose_mapping(problem.counts, top)
    else:
        if sp.issparse(mapping) or isinstance(mapping, np.ndarray):
            mapping = _reordered(mapping, m, len(samples.vocabulary), kept)
        mapping = as_mapping(mapping, m, names, top)

    models, features = make_models(problem, mapping, dense, decoder, rng)
    scored = {}
    for method, model in models.items():
        scored[method] = score_model(model, features[method], words, ~training, ks)
    scored[UNION] = score_union(mapping, problem, ~training, ks)
    if samples.lines is not None:
        human = score_human(samples.lines, kept, ~training, ks, rng)
        scored |= {HUMAN: human} if human is not None else {}
    methods = [method for method in METHODS if method in scored]
    table = _table({method: scored[method] for method in methods}, ks, n_resamples, rng)
    strengths = [models[method].strength if method in models else np.nan for method in methods]
    table["strength"] = ("readout", np.array(strengths))
    table.attrs = {
        "n_train": int(training.sum()),
        "n_test": int((~training).sum()),
        "n_without_captions": samples.n_left_out,
        "n_without_words": int((np.diff(words.indptr)[~training] == 0).sum()),
        "m": m,
        "nonzeros": float(samples.codes.nnz / samples.codes.shape[0]),
        "n_words": len(names),
        "n_pairs": int(mapping.weights.nnz),
        "n_unknown_words": mapping.n_unknown,
        "words_a_sample": float(words.nnz / words.shape[0]),
        "n_resamples": n_resamples,
    }
    table.attrs["summary"] = summarise_words(table)
    return table


def _orientation(mapping, m):
    """Which side of each atom labels name; None for other mappings."""
    if "orientation" not in getattr(mapping, "variables", ()):
        return None
    orientation = mapping["orientation"].values
    if orientation.shape != (m,):
        raise ValueError(f"mapping has {len(orientation)} atoms; codes has {m}")
    return orientation


def _table(scored, ks, n_resamples, rng):
    """Means with bootstrap limits, and shares of the ceiling."""
    import xarray as xr

    groups = {method: group_sums(values, BOOTSTRAP_GROUPS) for method, values in scored.items()}
    n_groups = next(iter(groups.values()))[0].shape[-1]
    weights = rng.multinomial(n_groups, np.full(n_groups, 1 / n_groups), size=n_resamples).astype(float)
    weights = np.concatenate([np.ones((1, n_groups)), weights])  # the first is the data itself
    drawn = {}
    for method, (sums, counts) in groups.items():
        with np.errstate(invalid="ignore"):
            drawn[method] = (sums @ weights.T) / (counts @ weights.T)
    table = xr.Dataset(coords={"readout": np.array(list(scored), object), "k": np.array(ks)})
    for number, measure in enumerate(MEASURES):
        _add(table, measure, [drawn[method][number] for method in scored])
    if CEILING in scored:
        _add(table, "share_of_ceiling", [drawn[method][0] / drawn[CEILING][0] for method in scored])
    return table


def _add(table, name, drawn):
    """A measure with its limits; the first of the last axis is the value itself."""
    drawn = np.stack(drawn)
    table[name] = (("readout", "k"), drawn[..., 0])
    limits = np.full((2, *drawn.shape[:2]), np.nan)
    if drawn.shape[-1] > 1:
        limits = np.percentile(drawn[..., 1:], [2.5, 97.5], axis=-1)
    table[f"{name}_low"], table[f"{name}_high"] = ((("readout", "k"), limit) for limit in limits)


def _check_ranks(ks) -> tuple[int, ...]:
    ks = tuple(np.atleast_1d(ks).tolist())
    if not ks or any(isinstance(k, bool) or not isinstance(k, int) or k < 1 for k in ks):
        raise ValueError(f"ks={ks!r}; they must be whole numbers, 1 or more")
    return tuple(sorted(set(ks)))


def _check_count(name, value, least):
    if isinstance(value, bool) or not isinstance(value, numbers.Integral) or value < least:
        raise ValueError(f"{name}={value!r}; it must be a whole number, {least} or more")
    return int(value)


def _check_embeddings(embeddings, decoder, n_given, samples):
    """The embeddings of the samples that count, or None."""
    if embeddings is None:
        if decoder is not None:
            raise ValueError("decoder was given without embeddings; it is of use with both only")
        return None
    dense = Dense(embeddings)
    if dense.shape[0] != n_given:
        raise ValueError(f"embeddings has {dense.shape[0]} rows; codes has {n_given}; they must be the same")
    if decoder is not None:
        expected = (samples.codes.shape[1], dense.shape[1])
        if np.shape(decoder) != expected:
            raise ValueError(f"decoder has shape {np.shape(decoder)}; it must have {expected}")
    return dense.take(samples.rows)


def _reordered(matrix, m, v, kept):
    """Columns of a matrix over the given vocabulary, in the order used here."""
    if matrix.shape != (m, v):
        raise ValueError(
            f"mapping has shape {matrix.shape}; it must be {m} x {v}, atoms x words, "
            "and vocabulary must name its columns"
        )
    return sp.csr_matrix(matrix, dtype=np.float64)[:, kept]
