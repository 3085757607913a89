"""`map_tokens`: words of atoms by a text encoder."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, Literal, NamedTuple, TypeAlias, get_args

import numpy as np

from ...arguments import integer, number
from ...coding.nonzeros import open_code_rows
from ...embedding.slots import text_model, token_words
from ...embedding.texts import as_text_encoder
from ...execution import WORKER_TIMEOUT
from ...tracking.parts import parts_shown
from ..store import check_labels
from .descent import best_words, descend, gains_of, text_vectors, weigh
from .gradient import refine
from .inputs import Material, captioned_rows, draw_rows, open_material, read_rows, words_to_try
from .mapping import make_mapping, mapping_of_labels
from .parting import LEAST, VALIDATION, Parts, check_enough, draw_parts, fair_parts
from .prompts import check_templates, encode_prompts
from .reranking import rerank as rerank_words
from .sums import Prediction, Sums, add_sums, sum_up, sum_up_parts, weighed

if TYPE_CHECKING:
    import os

    import numpy.typing as npt
    import xarray as xr
    from distributed import Client

    from ...captions.by_sample import CaptionsLike
    from ...captions.words.tokens import Tokenizer
    from ...coding.inputs import CodesLike
    from ...embedding.encodings import Encodings
    from ...embedding.store import Embeddings
    from ...embedding.texts import EncoderLike
    from .prompts import TemplateLike

Method: TypeAlias = Literal["greedy", "descent", "gradient", "labels"]

GRADIENT_CANDIDATES = 20
"""Words of a side that gradients choose among, by default."""


def map_tokens(
    codes: CodesLike,
    captions: CaptionsLike | None,
    encoder: EncoderLike,
    *,
    vocabulary: Sequence[str] | Literal["tokens"] | None = None,
    n_slots: int = 3,
    n_words: int = 1,
    template: TemplateLike = None,
    method: Method = "descent",
    labels: xr.Dataset | None = None,
    significant_only: bool = False,
    encodings: Encodings | str | os.PathLike[str] | npt.ArrayLike | None = None,
    embeddings: Embeddings | str | os.PathLike[str] | None = None,
    sample_ids: npt.ArrayLike | None = None,
    tokenizer: Tokenizer | str | None = None,
    train: npt.ArrayLike | None = None,
    validation: float = VALIDATION,
    rerank: int = 0,
    random_state: int | np.random.Generator | None = None,
    client: Client | None = None,
    worker_timeout: float | None = WORKER_TIMEOUT,
    progress: bool = False,
    **gradient: Any,
) -> xr.Dataset:
    """Words of atoms that make prompts come near to captions, as a text encoder reads both.

    A sample's prompt lists the words of its strongest sides of atoms. Words are chosen so that its encoding
    is near to those of the captions. Names say what an atom goes with, and are what `daskksvd.label` gives;
    these words say what a prompt needs, given those of the other atoms, which is often something else.

    Parameters
    ----------
    codes : path, dask.array.Array, sparse.COO, SciPy sparse or dense array
        n x m, one row a sample.
    captions : path, DataFrame, Series, list or dict
        As for `daskksvd.label`. None where ``encodings`` and ``vocabulary`` are given.
    encoder : str, path, callable or TextEncoder
        A sentence encoder or the text side of a CLIP-like model, as for `daskksvd.embed_texts`, or a
        function from texts to vectors.
    vocabulary : list of str or "tokens", optional
        Words to try, used as they are; or all tokens of the model that can be written as words. By default
        words of at least 5 samples' captions.
    n_slots : int
        Words a prompt.
    n_words : int
        Most words a side. With more than one, words have weights, and a prompt lists those of largest
        summed weight; for ``method="descent"``.
    template : str, Template or sequence of these, optional
        Text with ``{}`` where the words go; of several the mean of the encodings is taken. By default
        "An image of an object characterized by: - dog - snow".
    method : {"descent", "greedy", "gradient", "labels"}
        ``"greedy"``: the best word of each atom, first in prompts of one slot, then, given the others, of
        two, and so on. ``"descent"``: each side has the best word given those of all others, for captions
        as ridge regression on the codes predicts them, which rids the choice of most of their noise; a
        prompt lists the sides whose coefficients say most of captions. Both take one encoding a word, and
        sums. ``"gradient"``: softmax over candidate words with falling
        temperature, by PyTorch, from the words of descent; see `naming.tokens.gradient.refine` for its
        further arguments, and ``n_candidates``, 20 by default. ``"labels"``: the first word of labels.
    labels : xarray.Dataset, optional
        From `daskksvd.label`, for ``method="labels"`` and ``significant_only``.
    significant_only : bool
        Let a side have only its significant words by ``labels``, or none: truer, and less near to captions.
    encodings : Encodings, path or (n, e) array, optional
        Mean encodings of the captions of every row, zeros where there are none, as
        `daskksvd.embed_captions` writes them. Made here in memory otherwise.
    embeddings, sample_ids, tokenizer
        As for `daskksvd.label`.
    train : boolean array or array of int, optional
        Rows that words are chosen by; all by default.
    validation : float
        Share of these rows that penalties, and changes by the encoder, are compared on.
    rerank : int
        Candidates a side that the encoder itself compares, in prompts of up to 2,000 samples; a change
        counts where validation gets better. 0, the default, does without: on Flickr8k it gains nothing
        on other samples.
    random_state : int or numpy.random.Generator, optional
    client : distributed.Client, optional
        Where sums are added up.
    worker_timeout : float, optional
        Seconds to wait for workers that are gone; see `daskksvd.fit`.
    progress : bool
        Whether to show a bar of the texts that are encoded, and of the parts of every pass.

    Returns
    -------
    xarray.Dataset
        Dimensions (atom, side, slot), variables as in `naming.tokens.TOKENS`: a word is empty where a side
        is never listed. One that would be in every prompt tells no sample from another, and gives its slot
        to the next. Prompts list words by ``weight`` times coefficient: by descent it is the root of the
        length of what a side adds to captions' encodings, over the largest; by greedy search it is one, and 0
        for a side in every prompt. With ``n_words`` above one also ``vector``, what a side adds to the
        encoding of a sample's captions, and the ``vocabulary``. ``attrs`` has how it was made.

    Raises
    ------
    FileNotFoundError, TypeError, ValueError
        If an argument is not as above, or codes and captions are not of the same samples.

    Notes
    -----
    The vocabulary-constrained update is that of K-SVD (Aharon, Elad, Bruckstein 2006, equation 20) on the
    text half: an atom changes given all others, but only to a multiple of a word's encoding.
    """
    check_choice(method, n_words, significant_only, labels, gradient)
    n_slots, n_words, rerank = (
        integer(name, value, least)
        for name, value, least in (("n_slots", n_slots, 1), ("n_words", n_words, 1), ("rerank", rerank, 0))
    )
    allowed_share = "a share, more than 0 and at most 0.5"
    validation = number("validation", validation, 0, 0.5, allowed_share)
    if validation == 0:
        raise ValueError(f"validation=0; it must be {allowed_share}")
    if labels is not None:
        check_labels(labels, open_code_rows(codes).m, "codes")
    templates, encoder = check_templates(template), as_text_encoder(encoder)
    about: dict[str, Any] = {
        "method": method,
        "n_slots": n_slots,
        "template": [list(one) for one in templates],
    }
    if method == "labels" and labels is not None:
        return mapping_of_labels(labels, n_words).assign_attrs(
            make_mapping([], np.empty((2, 0), int), np.empty((2, 0)), np.zeros(2), **about).attrs
        )
    with parts_shown(progress, "words of atoms"):
        if isinstance(vocabulary, str) and vocabulary == "tokens":
            vocabulary = token_words(text_model(encoder), templates[0].prompt, n_slots)
        material = open_material(
            codes, captions, encoder, encodings=encodings, embeddings=embeddings, sample_ids=sample_ids
        )
        rng = np.random.default_rng(random_state)
        parts = draw_parts(train, material.codes.n, validation, rng)
        how: dict[str, Any] = {"client": client, "worker_timeout": worker_timeout}
        words = words_to_try(material, vocabulary, tokenizer, client, worker_timeout)
        vectors = encode_prompts(encoder, templates, [[word] for word in words]).astype(np.float64)
        if vectors.shape[1] != material.encodings.shape[1]:
            raise ValueError(
                f"encodings has {material.encodings.shape[1]} features, and encoder gives "
                f"{vectors.shape[1]}; both must be by the same encoder"
            )
        centred = vectors - vectors.mean(axis=0)
        about |= {"encoder": encoder.identity(), "n_tried": len(words)}
        allowed = allowed_words(labels, words) if significant_only and labels is not None else None
        if n_words > 1:
            regressed = _regression(material, parts, validation, rng, how)
            return _weighted(regressed, words, centred, allowed, n_words, about)
        if method == "greedy":
            chosen, sums, weights = _greedily(material, parts.rows, centred, allowed, n_slots, how)
        else:
            regressed = _regression(material, parts, validation, rng, how)
            chosen, sums, weights = _by_descent(material, regressed, centred, allowed, n_slots, how)
            parts, about["ridge"] = regressed.parts, regressed.ridge
        captioned: Any = captioned_rows(material) if rerank or method == "gradient" else None
        about |= {
            "n": sums.n,
            "scale": chosen.scale,
            "losses": [round(float(loss), 6) for loss in chosen.losses],
        }
        word = chosen.word
        if method == "gradient":
            word, figures = _by_gradient(
                material, parts.rows & captioned, encoder, templates, words, centred, chosen, sums, weights,
                allowed, n_slots, rng, gradient,
            )  # fmt: skip
            about |= figures
        if rerank:
            word, figures = rerank_words(
                material, encoder, templates, words, centred, word, chosen.scale, sums.centred(), weights,
                [part & captioned for part in fair_parts(parts, captioned, validation, rng)],
                n_slots, rerank, allowed, rng,
            )  # fmt: skip
            about |= figures
        return make_mapping(words, word[:, None], weights[:, None], sums.uses, **about)


def _greedily(material: Material, rows, words, allowed, n_slots, how):
    """The best word of every side, in prompts of one slot, then of two, and so on."""
    word, weights = None, np.ones(2 * material.codes.m)
    for slots in range(1, n_slots + 1):
        sums = _sum_listed(material, slots, rows, weights, None, how)
        now = sums.centred()
        first = best_words(now, words, allowed)
        # a side that is among the strongest for the first time has no word yet
        word = first if word is None else np.where(word < 0, first, word)
        chosen = descend(now, words, np.where(weights > 0, word, -1), allowed, min(slots - 1, 1))
        word = chosen.word
    return chosen, sums, weights


def _sum_listed(material, n_slots, rows, weights, prediction, how):
    """Sums over sides as prompts list them; one in every prompt gives its slot to the next, by weight 0."""
    while True:
        sums = sum_up(
            material.codes, material.encodings, n_slots=n_slots, rows=rows, weights=weights,
            prediction=prediction, **how,
        )  # fmt: skip
        _check_captioned(sums)
        always = sums.uses == sums.n
        if not always.any():
            return sums
        weights[always] = 0


def _by_descent(material: Material, regressed: _Regressed, words, allowed, n_slots, how):
    """The best word of every side given all others, for encodings as codes predict them."""
    centred, vectors = regressed.whole.centred(), regressed.vectors
    sizes = np.sqrt(np.linalg.norm(vectors, axis=1))
    weights = sizes / (sizes.max() or 1.0)
    if allowed is not None:
        weights[~allowed.any(axis=1)] = 0  # sides that can have no word take no slot
    prediction = Prediction(centred.encoding - centred.mean @ vectors, vectors)
    sums = _sum_listed(material, n_slots, regressed.parts.rows, weights, prediction, how)
    # losses are shares of what captions say, not of what is predicted of it
    now = sums.centred()._replace(energy=centred.energy)
    return descend(now, words, best_words(now, words, allowed), allowed), sums, weights


def _by_gradient(
    material, rows, encoder, templates, words, centred, chosen, sums, weights, allowed, n_slots, rng, settings
):
    """Words by gradients through the encoder, among the best few of each side, from those by descent."""
    settings = dict(settings)
    most = settings.pop("n_candidates", GRADIENT_CANDIDATES)
    gains = gains_of(sums.centred(), centred, chosen.word, chosen.scale)
    if allowed is not None:
        gains[~allowed] = -np.inf
    order = np.argsort(-gains, axis=1)[:, : integer("n_candidates", most, 2)]
    named = chosen.word >= 0
    candidates = [
        [words[number] for number in numbers if np.isfinite(gains[side, number])] if named[side] else []
        for side, numbers in enumerate(order)
    ]
    sizes = [settings.get(name, least) for name, least in (("n_train", 4096), ("n_held_out", 2048))]
    sides, encodings = read_rows(material, draw_rows(rows, sum(sizes), rng))
    start = [words[number] if number >= 0 else "" for number in chosen.word]
    settings = {"random_state": int(rng.integers(2**31)), **settings}
    refined = refine(
        weighed(sides, weights), encodings, encoder, candidates, start, prompt=templates[0].prompt,
        n_slots=n_slots, **settings,
    )  # fmt: skip
    place = {name: number for number, name in enumerate(words)}
    curve = {name: refined.curve[name].values.tolist() for name in refined.curve.variables}
    figures = {key: value for key, value in refined.curve.attrs.items() if key not in ("n_slots",)}
    return np.array([place.get(name, -1) for name in refined.words]), {**figures, "curve": curve}


class _Regressed(NamedTuple):
    """Ridge regression of encodings on all magnitudes.

    Attributes
    ----------
    vectors : (2m, e) float64 array
    ridge : float
    whole : Sums
        Over the rows of both parts.
    parts : Parts
    """

    vectors: np.ndarray
    ridge: float
    whole: Sums
    parts: Parts


def _regression(material, parts, validation, rng, how):
    """From one pass, and two more where parts that were drawn have too few captions."""
    sums = sum_up_parts(material.codes, material.encodings, parts, **how)
    check_enough(sum(one.n for one in sums), parts)
    if min(one.n for one in sums) < LEAST:
        parts = fair_parts(parts, captioned_rows(material), validation, rng)
        sums = sum_up_parts(material.codes, material.encodings, parts, **how)
    whole = add_sums(sums)
    found = text_vectors(*(one.centred() for one in (*sums, whole)))
    return _Regressed(found.vectors, found.ridge, whole, parts)


def _weighted(regressed: _Regressed, words, centred, allowed, n_words, about):
    """Several weighted words a side: regression of encodings on codes, written in words."""
    whole = regressed.whole
    word, weight = weigh(regressed.vectors, centred, n_words, allowed)
    unused = whole.uses == 0
    word[unused], weight[unused] = -1, 0
    about = {**about, "n": whole.n, "ridge": regressed.ridge}
    return make_mapping(words, word, weight, whole.uses, vectors=regressed.vectors, **about)


def allowed_words(labels: xr.Dataset, words: Sequence[str]) -> np.ndarray:
    """Whether a word is significant for a side by labels, (2m, W)."""
    place = labels.indexes["word"].get_indexer(list(words))
    alpha = float(labels.attrs["alpha"])
    positive = labels.orientation.values > 0
    sides = []
    for name in ("q_value", "minority_q_value"):
        table = np.zeros((len(words), labels.sizes["atom"]), bool)
        values = labels[name].transpose("word", "atom").values
        with np.errstate(invalid="ignore"):
            table[place >= 0] = values[place[place >= 0]] <= alpha
        sides.append(table.T)
    majority, minority = sides
    positive = positive[:, None]
    return np.concatenate([np.where(positive, majority, minority), np.where(positive, minority, majority)])


def check_choice(
    method: str,
    n_words: int,
    significant_only: bool,
    labels: xr.Dataset | None,
    gradient: Mapping[str, Any] = MappingProxyType({}),
) -> None:
    """Refuse arguments of `map_tokens` that do not go with each other."""
    if method not in get_args(Method):
        raise ValueError(f"method={method!r}; it must be one of {', '.join(map(repr, get_args(Method)))}")
    if method in ("greedy", "gradient") and n_words != 1:
        raise ValueError(f"n_words={n_words} goes with method='descent'; {method!r} gives a side one word")
    if (method == "labels" or significant_only) and labels is None:
        what = "method='labels'" if method == "labels" else "significant_only=True"
        raise ValueError(f"{what} goes with labels=, what daskksvd.label returned")
    if gradient and method != "gradient":
        raise TypeError(f"{next(iter(gradient))}= goes with method='gradient'")


def _check_captioned(sums: Sums) -> None:
    if sums.n < 2:
        raise ValueError(
            f"encodings has {sums.n} rows that count and have captions; there must be two at least"
        )
