"""Is the way from image to codes to words to text as good as that from image to caption?

Proposition 1 of the project: if atoms mean what their words say, the diagram

    image -> code -> words of its atoms -> prompt -> text encoding
      |                                                  ^
      +------------------- caption ----------------------+

commutes. How nearly it does is measured on samples that no word was chosen by.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from itertools import pairwise
from typing import TYPE_CHECKING, Any

import numpy as np
import scipy.sparse as sp

from ..arguments import integer
from ..captions.partitions import compute
from ..captions.words.tokens import as_tokenizer
from ..embedding.texts import as_text_encoder
from ..execution import WORKER_TIMEOUT
from ..naming.inputs import inner_split, split_samples
from ..naming.tokens.descent import text_vectors, weigh
from ..naming.tokens.inputs import captioned_rows, draw_rows, open_material, read_rows, words_to_try
from ..naming.tokens.mapping import (
    is_mapping,
    make_mapping,
    mapping_of_labels,
    ranked_words,
    weights_of,
    word_lists,
)
from ..naming.tokens.prompts import Template, check_templates, encode_prompts
from ..naming.tokens.sums import Sums, add_sums, sum_up_parts
from .features import Dense
from .mapping import as_mapping

if TYPE_CHECKING:
    import xarray as xr

RANKED = 1_000
"""Captions among which the true ones are looked for."""

SCORED_ROWS = 1_000
"""Held-out samples that are scored by default: several prompts are encoded for each."""

CEILING_ROWS = 100_000
"""Samples that the regression on embeddings learns from at most."""

MEAN = "mean caption"
FREQUENT = "most frequent words"
SHUFFLED = "words of shuffled atoms"
MAPPING = "words of atoms"
PREDICTED = "words of the predicted encoding"
CODES = "ridge on codes"
CEILING = "ridge on embeddings"
HUMAN_WORDS = "words of another caption"
HUMAN = "another caption"
WAYS = (MEAN, FREQUENT, SHUFFLED, MAPPING, PREDICTED, CODES, CEILING, HUMAN_WORDS, HUMAN)
"""Ways from an image to a text encoding, from chance to what people write."""

MEASURES = {
    "r2": "share of the variance of caption encodings explained, after one fitted scale",
    "cosine": "mean cosine of the two encodings, each centred",
    "recall_at_1": f"share of samples whose own captions come first of {RANKED:,}",
    "recall_at_5": f"share whose own captions are among the first 5 of {RANKED:,}",
    "recall_at_10": f"share whose own captions are among the first 10 of {RANKED:,}",
    "median_rank": f"median rank of the own captions among {RANKED:,}",
}


def faithfulness_by_encoder(
    mapping: Any,
    codes: Any,
    captions: Any,
    encoder: Any,
    *,
    encodings: Any = None,
    embeddings: Any = None,
    sample_ids: Any = None,
    train: Any = None,
    n_slots: int | None = None,
    template: Any = None,
    vocabulary: Sequence[str] | None = None,
    tokenizer: Any = None,
    n_scored: int = SCORED_ROWS,
    n_resamples: int = 200,
    random_state: Any = None,
    client: Any = None,
    worker_timeout: float | None = WORKER_TIMEOUT,
) -> xr.Dataset:
    """What `daskksvd.faithfulness` does with an encoder; see there."""
    encoder = as_text_encoder(encoder)
    n_slots, templates = _how(mapping, n_slots, template)
    material = open_material(codes, captions, encoder, encodings=encodings, sample_ids=sample_ids)
    rng = np.random.default_rng(random_state)
    n, m = material.codes.n, material.codes.m
    known = draw_rows(captioned_rows(material), n, rng)
    training = np.zeros(n, bool)
    training[known] = split_samples(train, known, rng)
    testing = np.zeros(n, bool)
    testing[known] = ~training[known]
    how = {"client": client, "worker_timeout": worker_timeout}

    fit, check = inner_split(training, rng)
    fitted, checked = sum_up_parts(material.codes, material.encodings, (fit, check), **how)
    whole = add_sums([fitted, checked])
    centred = whole.centred()
    regression = text_vectors(fitted.centred(), checked.centred(), centred)
    rows = draw_rows(testing, integer("n_scored", n_scored, 2), rng)
    if len(rows) < 2:
        raise ValueError(
            f"train leaves {len(rows)} rows with captions to score on; there must be two at least"
        )
    sides, vectors = read_rows(material, rows)
    truth = vectors - centred.encoding

    common: list[str] | None = None
    words: list[str] | None = None
    if material.captions is not None:
        common = words = words_to_try(material, None, tokenizer, client, worker_timeout)
    if vocabulary is not None:
        words = words_to_try(material, vocabulary, tokenizer, client, worker_timeout)
    encoded: dict[str, np.ndarray] = {MEAN: np.zeros_like(truth)}

    def say(lists):
        return encode_prompts(encoder, templates, lists).astype(np.float64)

    if common is not None:
        encoded[FREQUENT] = np.repeat(say([common[:n_slots]]), len(rows), axis=0)
    given = None
    if mapping is not None:
        given = _as_tokens(mapping, m, sides, words)
        weights, names = weights_of(given)
        encoded[MAPPING] = say(word_lists(ranked_words(sides, weights, n_slots), names))
        order = rng.permutation(2 * m)
        encoded[SHUFFLED] = say(word_lists(ranked_words(sides, weights[order], n_slots), names))
    predicted = (sides - centred.mean) @ regression.vectors
    encoded[CODES] = np.asarray(predicted)
    tried = given.vocabulary.values.tolist() if given is not None and "vocabulary" in given else words
    if tried is not None:
        single = say([[word] for word in tried])
        chosen, _ = weigh(encoded[CODES], single - single.mean(axis=0), n_slots)
        encoded[PREDICTED] = say(word_lists(chosen, np.array(tried, object)))
    if embeddings is not None:
        encoded[CEILING] = _ceiling(embeddings, material, (fit, check), rows, rng)
    human = {}
    if material.captions is not None and words is not None:
        human = _human(
            material, rows, vectors, encoder, say, set(words), as_tokenizer(tokenizer), n_slots, rng
        )
    targets = dict.fromkeys(encoded, truth)
    for name, (found, truth) in human.items():
        encoded[name], targets[name] = found, truth - centred.encoding
    table = _table(encoded, targets, n_resamples, rng)
    table.attrs = {
        "n_train": int(training.sum()),
        "n_test": int(testing.sum()),
        "n_scored": len(rows),
        "n_without_captions": int(n - len(known)),
        "m": m,
        "n_slots": n_slots,
        "template": str([list(one) for one in templates]),
        "encoder": str(encoder.identity()),
        "method": "none" if given is None else str(given.attrs.get("method", "given")),
        "ranked_among": min(RANKED, len(rows)),
        "n_resamples": n_resamples,
    }
    table.attrs["summary"] = summarise(table)
    return table


def _how(mapping, n_slots, template):
    """Words a prompt and templates: as given, else those that the mapping was made for."""
    attrs = getattr(mapping, "attrs", {})
    n_slots = integer("n_slots", attrs.get("n_slots", 3) if n_slots is None else n_slots, 1)
    if template is None and "template" in attrs and is_mapping(mapping):
        return n_slots, tuple(Template(*one) for one in json.loads(attrs["template"]))
    return n_slots, check_templates(template)


def _as_tokens(mapping, m, sides, words):
    """Any mapping as words of both sides of every atom."""
    if is_mapping(mapping):
        given = mapping
    elif "top_word" in getattr(mapping, "data_vars", ()):
        given = mapping_of_labels(mapping)
    else:
        if words is None:
            raise ValueError("mapping has weights of words, but there is no vocabulary; pass vocabulary=")
        # of the side most used, as where words are counted
        weights = as_mapping(mapping, m, np.array(words, object), 1).weights
        uses = np.bincount(sides.indices, minlength=2 * m).reshape(2, m)
        positive = sp.diags((uses[0] >= uses[1]).astype(float))
        both = sp.vstack([positive @ weights, (sp.identity(m) - positive) @ weights]).tocsr()
        width = max(1, int(np.diff(both.indptr).max()))
        word, weight = np.full((2 * m, width), -1), np.zeros((2 * m, width))
        for side in range(2 * m):
            chosen = slice(*both.indptr[side : side + 2])
            kept = both.data[chosen] > 0
            number = int(kept.sum())
            word[side, :number], weight[side, :number] = both.indices[chosen][kept], both.data[chosen][kept]
        given = make_mapping(words, word, weight, uses.ravel(), method="given")
    if given.sizes["atom"] != m:
        raise ValueError(f"mapping has {given.sizes['atom']} atoms; codes has {m}")
    return given


def _ceiling(embeddings, material, parts, rows, rng):
    """Encodings as ridge regression on embeddings predicts them."""
    dense = Dense(embeddings)
    if dense.shape[0] != material.codes.n:
        raise ValueError(
            f"embeddings has {dense.shape[0]} rows; codes has {material.codes.n}; they must be the same"
        )
    origin, sums = None, []
    for part, most in zip(parts, (CEILING_ROWS, CEILING_ROWS // 2), strict=True):
        chosen = draw_rows(part, most, rng)
        found = Sums(0, 0, 0, 0.0, 0, 0, 0)
        for start, block in dense.take(chosen).blocks():
            origin = block.mean(axis=0) if origin is None else origin
            block = block - origin
            captions = _take(material.encodings, chosen[start : start + len(block)])
            found = add_sums(
                [
                    found,
                    Sums(
                        len(block),
                        block.sum(axis=0),
                        captions.sum(axis=0),
                        float(np.vdot(captions, captions)),
                        0,
                        block.T @ block,
                        block.T @ captions,
                    ),
                ]
            )
        sums.append(found)
    whole = add_sums(sums).centred()
    found = text_vectors(sums[0].centred(), sums[1].centred(), whole)
    predicted = [(block - origin - whole.mean) @ found.vectors for _, block in dense.take(rows).blocks()]
    return np.concatenate(predicted)


def _take(encodings, rows):
    part = encodings[rows]
    return np.asarray(part.compute() if hasattr(part, "compute") else part, np.float64)


def _human(material, rows, means, encoder, say, words, tokenizer, n_slots, rng):
    """One caption of each sample, and its words, against the mean of its others; nothing without others."""
    texts, places, counts = [], [], []
    for low, high in pairwise(material.codes.edges):
        inside = rows[np.searchsorted(rows, low) : np.searchsorted(rows, high)]
        if not len(inside):
            continue
        partition, _ = compute(material.captions.delayed(low, high))
        written = np.array([bool(text) and not text.isspace() for text in partition.caption], bool)
        sample, caption = partition.sample[written], partition.caption[written]
        for row in inside:
            own = caption[np.searchsorted(sample, row) : np.searchsorted(sample, row + 1)]
            if len(own) > 1:
                texts.append(str(own[rng.integers(len(own))]))
                places.append(int(np.searchsorted(rows, row)))
                counts.append(len(own))
    if not texts:
        return {}
    said, many = encoder.encode(texts).astype(np.float64), np.array(counts)[:, None]
    truth = (many * means[places] - said) / (many - 1)
    lists = [
        list(dict.fromkeys(word for word in tokenizer.words(text) if word in words))[:n_slots]
        for text in texts
    ]
    return {HUMAN_WORDS: (say(lists), truth), HUMAN: (said, truth)}


def _table(encoded, targets, n_resamples, rng):
    """Measures with bootstrap limits."""
    import xarray as xr

    ways = [way for way in WAYS if way in encoded]
    table = xr.Dataset(coords={"way": np.array(ways, object)})
    found = [_measures(encoded[way], targets[way], n_resamples, rng) for way in ways]
    for number, (name, meaning) in enumerate(MEASURES.items()):
        values = np.stack([one[number] for one in found])
        table[name] = ("way", values[:, 0], {"long_name": meaning})
        limits = np.full((2, len(ways)), np.nan)
        if n_resamples:
            limits = np.percentile(values[:, 1:], [2.5, 97.5], axis=1)
        table[f"{name}_low"], table[f"{name}_high"] = (("way", limit) for limit in limits)
    return table


def _measures(found, truth, n_resamples, rng):
    """The `MEASURES` of some encodings, (6, 1 + n_resamples): of the samples, and of resamples of them."""
    found = found - found.mean(axis=0)
    n = len(found)
    norms, sizes = np.linalg.norm(found, axis=1), np.linalg.norm(truth, axis=1)
    shared = np.einsum("ij,ij->i", found, truth)
    with np.errstate(divide="ignore", invalid="ignore"):
        cosine = np.where((norms > 1e-9) & (sizes > 0), shared / (norms * sizes), 0.0)
    ranks = _ranks(_units(found), _units(truth), rng)
    drawn = np.concatenate([np.arange(n)[None], rng.integers(n, size=(n_resamples, n))])
    both, own, total = (values[drawn].sum(axis=1) for values in (shared, norms**2, sizes**2))
    with np.errstate(divide="ignore", invalid="ignore"):
        r2 = np.where(own > 1e-12 * total, np.maximum(both, 0) ** 2 / (own * total), 0.0)
    hits = [(ranks <= k)[drawn].mean(axis=1) for k in (1, 5, 10)]
    return np.stack([r2, cosine[drawn].mean(axis=1), *hits, np.median(ranks[drawn], axis=1)])


def _units(rows):
    norms = np.linalg.norm(rows, axis=1, keepdims=True)
    return np.where(norms > 1e-9, rows / np.maximum(norms, 1e-9), 0.0)


def _ranks(found, truth, rng):
    """Rank of the own captions of every sample among `RANKED`, by cosine; ties share the middle one."""
    n = len(found)
    order, ranks = rng.permutation(n), np.empty(n)
    for start in range(0, n, RANKED):
        rows = order[start : start + RANKED]
        among = rows if len(rows) == RANKED else order[-RANKED:]
        near = found[rows] @ truth[among].T
        own = np.einsum("ij,ij->i", found[rows], truth[rows])[:, None]
        others = among[None, :] != rows[:, None]
        above = ((near > own + 1e-12) & others).sum(axis=1)
        equal = ((np.abs(near - own) <= 1e-12) & others).sum(axis=1)
        ranks[rows] = 1 + above + equal / 2
    return ranks


def summarise(table: xr.Dataset) -> str:
    """How nearly the diagram commutes, in one sentence."""
    a = table.attrs

    def one(way: str) -> str:
        row = table.sel(way=way)
        return (
            f"{way} {float(row.r2):.3f} ({float(row.r2_low):.3f}-{float(row.r2_high):.3f}), "
            f"median rank {float(row.median_rank):.0f}"
        )

    said = "; ".join(one(str(way)) for way in table.way.values if way != MEAN)
    return (
        f"Share of the variance of caption encodings explained, and rank of the own captions among "
        f"{a['ranked_among']:,}, on {a['n_scored']:,} held-out samples (m={a['m']}, {a['n_slots']} words a "
        f"prompt, words by {a['method']}, 95 % bootstrap intervals): {said}."
    )


def held_out_figures(table: xr.Dataset) -> dict[str, Any]:
    """Figures of `faithfulness` that words of atoms keep, as plain values.

    As JSON in ``attrs["held_out"]`` of a mapping that was chosen by the training samples, pages show them.
    """
    names = ("r2", "r2_low", "r2_high", "median_rank", "recall_at_10")
    ways = {
        str(way): {name: round(float(table[name].sel(way=way)), 4) for name in names}
        for way in table.way.values
    }
    facts = {name: int(table.attrs[name]) for name in ("n_train", "n_scored", "ranked_among", "n_slots")}
    return {**facts, "ways": ways}
