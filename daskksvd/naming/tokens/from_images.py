"""Words of atoms without captions: by a model that sees images and reads texts."""

from __future__ import annotations

import os
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, Literal, NamedTuple, TypeAlias, get_args

import numpy as np
import scipy.special

from ...arguments import choice, flag, integer, number
from ...captions.partitions import compute
from ...coding.by_image import codes_by_image
from ...coding.nonzeros import open_code_rows
from ...embedding.opening import open_embeddings
from ...embedding.store import Embeddings
from ...embedding.texts import as_text_encoder
from ...execution import WORKER_TIMEOUT
from ...fitting.result import load
from ...machine.files import absolute
from ...rows import as_source
from ...rows.inputs.opening import EMBEDDINGS as GROUP
from ...tracking.parts import shows_parts
from ..inputs import distinct_words
from ..thresholds import ATOM_USES
from .dissection import count_uses, find_examples, log_evidence, sum_images, unit
from .mapping import make_mapping
from .prompts import check_templates, encode_prompts

if TYPE_CHECKING:
    import xarray as xr
    from distributed import Client

    from ...coding.inputs import CodesLike
    from ...embedding.texts import EncoderLike
    from ...fitting.result import Result
    from ...rows.source import ArrayLike
    from .prompts import TemplateLike

Method: TypeAlias = Literal["correlation", "cosine", "soft_wpmi"]

TEMPLATES = ("{}", "a photo of a {}", "there is a {}")
"""Texts for a word: their mean names one atom in fifty more rightly than the word alone."""

EXAMPLES = 100
"""Images that use a side most, by which soft-WPMI judges it, as in CLIP-Dissect."""

TEMPERATURE = 10.0
"""By which similarities are multiplied before the softmax over words, as in CLIP-Dissect."""


@shows_parts("words of atoms")
def words_from_encoder(
    result: Result | str | os.PathLike[str] | None,
    encoder: EncoderLike,
    *,
    vocabulary: Sequence[str],
    embeddings: Embeddings | ArrayLike | None = None,
    codes: CodesLike | None = None,
    judge: Embeddings | ArrayLike | None = None,
    method: Method = "correlation",
    template: TemplateLike = None,
    top: int = 3,
    min_uses: int = ATOM_USES,
    center: bool = True,
    n_examples: int = EXAMPLES,
    temperature: float = TEMPERATURE,
    prior: float | None = None,
    client: Client | None = None,
    worker_timeout: float | None = WORKER_TIMEOUT,
    progress: bool = False,
) -> xr.Dataset:
    """Words for both sides of every atom by a contrastive model, without any caption.

    Parameters
    ----------
    result : Result, path or None
        The dictionary; not needed where ``codes`` and images are given, but for ``"cosine"``.
    encoder : str, path, TextEncoder or callable
        The text side of a contrastive model, whose images are ``judge`` or ``embeddings``; see
        `embedding.texts.as_text_encoder`.
    vocabulary : sequence of str
        Words to choose from, as they are to be read; `captions.build_vocabulary` makes one of captions.
    embeddings : Embeddings, path or array, optional
        Rows that the dictionary is of, n x d.
    codes : path, dask.array.Array, sparse.COO, SciPy sparse or dense array, optional
        n x m; by default those of ``embeddings``.
    judge : Embeddings, path or array, optional
        Pooled embeddings of the same images by the model of ``encoder``, n x e: for atoms of models that
        read no text. By default ``embeddings``.
    method : {"correlation", "cosine", "soft_wpmi"}
        ``"correlation"``: of the use of a side with how similar images are to the word.
        ``"cosine"``: of what the atom adds to a row, its decoder, and the word; only in the space of
        ``encoder``.
        ``"soft_wpmi"``: how well the word tells the images that use the side most, as CLIP-Dissect.
    template : str, Template or sequence of them
        Text with ``{}`` for the word; of several the mean encoding is taken. `TEMPLATES` by default.
    top : int
        Words a side, at most.
    min_uses : int
        Samples that must use a side for it to get words.
    center : bool
        Whether the mean of each modality is taken away before they are compared.
    n_examples, temperature, prior
        Of ``"soft_wpmi"``: images a side, factor of similarities, and weight of the prior, 0 by default
        where modalities are centred, else 1.
    client : distributed.Client, optional
    worker_timeout : float, optional
        Seconds to wait for workers that are gone; see `daskksvd.fit`.
    progress : bool
        Whether to show a bar of the parts of each pass that are done.

    Returns
    -------
    xarray.Dataset
        Dimensions (atom, side, slot): ``word``, and its ``weight``, the score by the method; only words
        above 0 are given. By (atom, side) ``uses``, the samples.

    Raises
    ------
    TypeError, ValueError
        If an argument is not as above, what a method needs was not given, or images are not in the
        space of the texts.

    Notes
    -----
    Texts and images of a contrastive model lie in two cones apart, so that the mean of each is taken
    away (over the vocabulary, and over the images). Correlation is Pearson's, of a sample using the side
    with the similarity of its image to the word.

    soft-WPMI (Oikarinen and Weng 2023) is ``log P(word | examples) - prior * log P(word)``; see
    `dissection.log_evidence`. P(word) is the mean over sides. Its weight is how far it is above that of
    the mean word, as a side's own level tells nothing. ``center=False`` is as published. The prior is
    against words that are near all images, and centring takes those away already.

    Where the truth is known (4,000 scenes, 128 atoms), correlation and soft-WPMI name 72 and 74 % of the
    atoms rightly, the cosine 61 %, soft-WPMI as published 29 %, and labels by captions 88 %; atoms of a layer
    without text 85 and 76 %, and labels 91 %. Shuffled images give 3 %. With captions, `label` is the
    better way.
    """
    choice("method", method, get_args(Method))
    words = distinct_words(vocabulary).tolist()
    for name, value in (("top", top), ("min_uses", min_uses), ("n_examples", n_examples)):
        integer(name, value, 1)
    number("temperature", temperature, 0, np.inf, "a number above 0", open_ends=True)
    flag("center", center)
    prior = number(
        "prior", float(not center) if prior is None else prior, 0, np.inf, "a number of at least 0"
    )
    templates = check_templates(TEMPLATES if template is None else template)
    how = {"client": client, "worker_timeout": worker_timeout}
    result = load(result) if isinstance(result, (str, os.PathLike)) else result
    rows = open_images(embeddings, "embeddings")
    images = rows if judge is None else open_images(judge, "judge")
    code_rows = _open_codes(codes, result, rows)
    for one in (rows, images):
        if one is not None and one.array.shape[0] != code_rows.n:
            raise ValueError(
                f"{one.name} has {one.array.shape[0]:,} rows, and codes have {code_rows.n:,}; they must be "
                "of the same images"
            )
    encoder = as_text_encoder(encoder)
    texts = unit(encode_prompts(encoder, templates, [[word] for word in words]))
    texts = unit(texts - texts.mean(axis=0)) if center else texts
    identity = encoder.identity()
    if method == "cosine":
        if result is None:
            raise ValueError("method='cosine' compares atoms with words; pass the result that they are of")
        _check_space(rows or Images("result", result.decoder, None), texts.shape[1], identity)
        uses = count_uses(code_rows, **how)
        scores = _cosines(result, rows, texts, center, how)
    elif images is None:
        raise ValueError(
            f"method={method!r} looks at images; pass judge=, or embeddings= where they are the encoder's own"
        )
    else:
        _check_space(images, texts.shape[1], identity)
        sums = sum_images(code_rows, images.array, **how)
        if not np.isfinite(sums.image).all():
            raise ValueError(f"{images.name} has values that are not finite; all must be")
        uses = sums.uses
        if method == "correlation":
            scores = sums.correlations(texts)
        else:
            examples = find_examples(code_rows, n_examples, **how)
            evidence = log_evidence(
                code_rows, images.array, examples, texts, mean=sums.mean if center else None,
                temperature=temperature, most=n_examples, **how,
            )  # fmt: skip
            scores = above_prior(evidence, uses, min_uses, n_examples, prior)
    best, weight = _best(scores, uses >= min_uses, top)
    said = [one.prompt(["{}"]) for one in templates]
    return make_mapping(
        words, best, weight, uses, method=method, template=said[0] if len(said) == 1 else said,
        encoder=identity, n=code_rows.n, n_words=len(words), min_uses=min_uses, center=int(center),
    )  # fmt: skip


class Images(NamedTuple):
    """Embeddings of images.

    Attributes
    ----------
    name : str
        Of the argument.
    array : dask.array.Array
        n x e.
    model : dict or None
        Identity of the model, where it is known.
    """

    name: str
    array: Any
    model: dict | None


def open_images(value: Any, name: str) -> Images | None:
    """Embeddings of any form; None where there are none."""
    if value is None:
        return None
    if isinstance(value, (str, os.PathLike)) and os.path.isdir(os.path.join(absolute(value), GROUP)):
        value = open_embeddings(value)
    if isinstance(value, Embeddings):
        return Images(name, value.array, value.attrs["model"])
    return Images(name, as_source(value, name).array, None)


def _open_codes(codes, result, rows):
    """Codes that are given, or those of embeddings."""
    if codes is None:
        if result is None or rows is None:
            raise ValueError(
                "neither codes, nor embeddings and a result to code them by, were given; codes tell which "
                "samples use a side"
            )
        codes = result.encode(rows.array)
    found = open_code_rows(codes_by_image(codes))
    if result is not None and len(result.dictionary) != found.m:
        raise ValueError(f"codes have {found.m:,} atoms, and result has {len(result.dictionary):,}")
    return found


def _check_space(images, e, encoder):
    """Refuse embeddings that do not lie where the texts of an encoder do, as far as can be told."""
    d, model = images.array.shape[1], images.model
    if d != e:
        raise ValueError(
            f"{images.name} has {d} features, and encoder gives {e} numbers a text; they must be one space: "
            "pass as judge= pooled embeddings of the same images by the encoder's own model"
        )
    if model is None:
        return
    keys = [key for key in ("library", "name") if key in encoder and encoder[key] != model.get(key)]
    if encoder.get("library") != "python" and keys:
        raise ValueError(
            f"{images.name} was made by the model {model.get('name')!r}, and encoder is {encoder['name']!r}; "
            "they must be one model"
        )
    if model.get("pooling", "pooled") != "pooled":
        raise ValueError(
            f"{images.name} was made with pooling {model['pooling']!r}, which has no texts in its space; "
            "embed the images with pooling='pooled', and pass these as judge="
        )


def _cosines(result, rows, texts, center, how):
    """Cosines of what both sides of atoms add to rows with texts, (2m, V)."""
    directions = np.asarray(result.decoder, np.float64)
    if center and result.mean is None and rows is not None:  # atoms hold parts of the mean
        mean = unit(compute(rows.array.astype(np.float64).mean(axis=0), **how)[None])[0]
        directions = directions - np.outer(directions @ mean, mean)
    found = unit(directions) @ texts.T
    return np.concatenate([found, -found])


def above_prior(
    evidence: np.ndarray, uses: np.ndarray, min_uses: int, n_examples: int, prior: float
) -> np.ndarray:
    """soft-WPMI from `log_evidence`, less its mean over words, (2m, V)."""
    alike = uses >= n_examples  # a sum over fewer examples is larger
    alike = alike if alike.any() else uses >= min_uses
    scores = evidence.astype(np.float64)
    if alike.any():
        scores -= prior * (scipy.special.logsumexp(scores[alike], axis=0) - np.log(alike.sum()))
    return scores - scores.mean(axis=1, keepdims=True)


def _best(scores, known, top):
    """Numbers of the words of largest scores of every side, and the scores; -1 where there are fewer."""
    top = min(top, scores.shape[1])
    order = np.argsort(-scores, axis=1, kind="stable")[:, :top]
    weight = np.take_along_axis(scores, order, axis=1)
    return np.where(known[:, None] & (weight > 0), order, -1), weight
