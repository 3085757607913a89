"""Means, scales and whitening of images and of texts, and texts as images predict them: one survey."""

from __future__ import annotations

import dataclasses
import math
from typing import NamedTuple

import dask
import numpy as np

from ..fitting.ridge import Products, ridge
from ..machine.blas import single_threaded_blas
from ..rows import (
    Survey,
    Transform,
    make_transform,
    run_survey,
    split_holdout,
)
from ..rows.transform import ZERO_VARIANCE
from .pairs import IMAGE, TEXT, pair_jobs, plain_halves

KEPT_BACK = 0.25
"""Share of the rows (the last of every chunk) on which penalties and weights are chosen."""


class Facts(NamedTuple):
    """What the survey says of images and texts.

    Attributes
    ----------
    images, texts : Survey
        Count, mean and scatter of the rows that have each.
    image_to_text : (d, e) float64 array or None
        Ridge regression of centred texts on centred images, where it was asked for.
    predicted_share : float
        Share of the variance of texts that it explained on rows kept back; NaN without it.
    """

    images: Survey
    texts: Survey
    image_to_text: np.ndarray | None
    predicted_share: float


@dataclasses.dataclass(frozen=True, eq=False)
class Halves:
    """From a pair to a row: each half centred and scaled, the weights folded into the scales.

    Attributes
    ----------
    image, text : rows.Transform
        The halves of a row, ``sqrt(1 - lambda)`` and ``sqrt(lambda)`` times what has unit variance in all.
    text_map : (d, e) float64 array or None
        From the half of an image to the text half that stands for its captions.
    """

    image: Transform
    text: Transform
    text_map: np.ndarray | None = None

    def cast(self, dtype):
        """The same in the dtype of the computation."""
        text_map = None if self.text_map is None else self.text_map.astype(dtype)
        return Halves(self.image.cast(dtype), self.text.cast(dtype), text_map)

    def joined(self, pairs, dtype, fill=None):
        """Rows to learn from, lazily: n x (d + e); ``fill`` (`missing.Fill`) fills halves."""
        # nodes of the graph; chunks refer to them
        shared = {"halves": dask.delayed(Halves.cast, pure=True)(self, dtype)}
        if fill is not None:
            shared["fill"] = dask.delayed(_same, pure=True)(fill)
        return pairs.blocks(join_block, pairs.d + pairs.e, dtype, **shared)

    def transform(self):
        """The same map of images and texts side by side."""
        d, e = len(self.image.mean), len(self.text.mean)
        basis = None
        if self.image.basis is not None:
            basis = np.eye(d + e)
            basis[:d, :d] = self.image.basis
        both = zip(self.image, self.text, strict=True)
        (mean, _, scale) = (
            None if one is None or other is None else np.concatenate([one, other]) for one, other in both
        )
        return Transform(mean, basis, scale)


def _same(value):
    return value


def join_block(images, texts, present, halves, fill=None, block_info=None):
    """Rows of one chunk; a half that is not there is zero, or filled."""
    images, texts = plain_halves(images, texts, block_info)
    d, e, dtype = images.shape[1], texts.shape[1], halves.image.scale.dtype
    rows = np.empty((len(images), d + e), dtype)
    with single_threaded_blas():  # bits depend on its number of threads
        rows[:, :d] = halves.image.apply(images, dtype)
        rows[~present[:, IMAGE], :d] = 0
        if halves.text_map is not None:
            rows[:, d:] = rows[:, :d] @ halves.text_map
        else:
            rows[:, d:] = halves.text.apply(texts, dtype)
            rows[~present[:, TEXT], d:] = 0
    if fill is not None:
        fill.rows(rows, present)
    return rows


def survey_pairs(pairs, executor, whiten, predicted):
    """All that weights and halves follow from, in one pass.

    Parameters
    ----------
    pairs : Pairs
    executor : execution.Executor
    whiten : float or None
    predicted : bool
        Whether texts are to be predicted from images.

    Raises
    ------
    ValueError
        If a row has values that are not finite, or all images, or texts, are equal.
    """
    wide = predicted or whiten is not None
    kept = split_holdout(pairs.chunk_rows, KEPT_BACK if predicted else 0)
    parts = [_survey(pairs, executor, None, kept, wide)]
    if predicted and sum(kept) < pairs.n:
        parts.append(_survey(pairs, executor, kept, None, wide))
    for part in parts:
        check_survey(part)
    d = pairs.d
    images, texts = (_half(parts, columns, flag) for columns, flag in ((slice(0, d), -2), (slice(d, -2), -1)))
    for name, half in (("images", images), ("texts", texts)):
        if half.variance.sum() <= ZERO_VARIANCE * (half.mean**2).sum() + np.finfo(float).tiny:
            raise ValueError(
                f"all rows of {name} are equal; nothing is left after centring: give varying rows"
            )
    if not predicted:
        return Facts(images, texts, None, math.nan)
    products = [_products(part, images.mean, texts.mean) for part in parts]
    found = ridge(products)
    return Facts(images, texts, found.coefficients, found.explained)


def make_halves(facts, weight, whiten):
    """The halves with a weight for texts, and one less that for images.

    Images are transformed as by `daskksvd.fit` and divided so that their variance in all is one; texts
    are centred and divided likewise. Texts that images predict have the scale of what is predicted.
    """
    image = make_transform(facts.images, True, False, whiten)
    covariance = facts.images.scatter / facts.images.count
    if whiten is None:
        spread = math.sqrt(facts.images.variance.sum())
        scale = np.ones(len(facts.images.mean))
    else:
        scale = image.scale
        spread = math.sqrt(
            float((np.einsum("ij,ij->j", image.basis, covariance @ image.basis) / scale**2).sum())
        )
    image = image._replace(scale=scale * (spread / math.sqrt(1 - weight)))
    e = len(facts.texts.mean)
    to_text = facts.image_to_text
    if to_text is None:
        width = math.sqrt(facts.texts.variance.sum())
        return Halves(image, Transform(facts.texts.mean, None, np.full(e, width / math.sqrt(weight))))
    width = math.sqrt(float(np.einsum("ij,ij->", to_text, covariance @ to_text)))
    text = Transform(facts.texts.mean, None, np.full(e, width / math.sqrt(weight)))
    back = image.scale[:, None] * (to_text if image.basis is None else image.basis.T @ to_text)
    return Halves(image, text, back / text.scale)


def _survey(pairs, executor, begin, end, wide):
    reader, jobs = pair_jobs(pairs, executor, begin, end)
    return run_survey(reader, jobs, np.empty(0, np.int64), wide)


def check_survey(survey):
    """Refuse rows with values that are not finite."""
    if survey.n_bad:
        raise ValueError(
            f"images or texts have {survey.n_bad} row{'s' if survey.n_bad > 1 else ''} with NaN or infinite "
            f"values, the first is row {survey.first_bad}; all values must be finite"
        )


def _sums(part, columns):
    """Sums of some columns, and of their squares or products."""
    mean = part.mean[columns]
    if part.scatter.ndim == 1:
        return part.count * mean, part.scatter[columns] + part.count * mean**2
    return part.count * mean, part.scatter[columns, columns] + part.count * np.outer(mean, mean)


def _half(parts, columns, flag):
    """The survey of the rows that have one half: others are zero there, which is taken out again."""
    count = sum(round(part.count * part.mean[flag]) for part in parts)
    sums, squares = (sum(found) for found in zip(*(_sums(part, columns) for part in parts), strict=True))
    mean = sums / count
    scatter = squares - (count * mean**2 if squares.ndim == 1 else count * np.outer(mean, mean))
    first = parts[0]
    nothing = {"sample_index": first.sample_index, "sample": first.sample}
    return first._replace(count=count, mean=mean, scatter=scatter, **nothing)


def _products(part, image_mean, text_mean):
    """Mean products of centred images, over rows with an image, and with texts, over pairs."""
    d = len(image_mean)
    second = part.scatter + part.count * np.outer(part.mean, part.mean)
    n_images, n_texts, n_pairs = second[-2, -2], second[-1, -1], second[-2, -1]
    centred = second[:d, :d] - np.outer(second[:d, -2], image_mean)
    centred += n_images * np.outer(image_mean, image_mean) - np.outer(image_mean, second[:d, -2])
    cross = second[:d, d:-2] - np.outer(second[:d, -1], text_mean) - np.outer(image_mean, second[d:-2, -2])
    cross += n_pairs * np.outer(image_mean, text_mean)
    texts = np.diagonal(second)[d:-2] - 2 * second[d:-2, -1] * text_mean + n_texts * text_mean**2
    return Products(n_pairs, centred / n_images, cross / n_pairs, float(texts.sum()) / n_texts)
