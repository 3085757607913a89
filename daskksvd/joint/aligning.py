"""Images and texts in one space, by what pairs say: ridge, canonical correlation, Procrustes rotation."""

from __future__ import annotations

import math
import warnings
from typing import TYPE_CHECKING, Any, Literal, TypeAlias, get_args

import dask
import dask.array as da
import numpy as np

from ..arguments import choice, integer
from ..execution import WORKER_TIMEOUT, make_executor
from ..fitting.ridge import Products, ridge
from ..rows import as_source, run_survey, split_holdout
from ..rows.blocks import plain
from ..tracking.parts import shows_parts
from .halves import KEPT_BACK, check_survey
from .pairs import as_pairs, pair_jobs, text_rows

if TYPE_CHECKING:
    import numpy.typing as npt
    from distributed import Client

    from ..rows.source import ArrayLike, MissingChunks

Method: TypeAlias = Literal["ridge", "cca", "procrustes", "none"]

METHODS = get_args(Method)

DIMENSIONS = 64
"""Of the common space of canonical variates or principal components, at most."""

RIDGE = 1e-2
"""Added to the eigenvalues of either covariance before they are inverted, times the mean one: without it
canonical correlations of hundreds of features are those of noise."""

LEAST_CORRELATION = 0.05
"""Mean correlation of features on pairs under which two spaces are taken to have nothing to do with each
other. Of a dictionary of rows of images and texts of Flickr8k as they are, ViT features and MiniLM, no atom
is shared, and .1 % of the pairs have one in common where .2 % would by chance."""


class Alignment:
    """Maps of images and of texts into one space, where each has unit variance in all.

    Attributes
    ----------
    method : {"ridge", "cca", "procrustes", "none"}
    image_mean, text_mean : (d,) and (e,) float64 arrays
    image_map, text_map : (d, r) and (e, r) float64 arrays
    correlations : (r,) float64 array
        Of images and texts along each axis of the common space, on the pairs kept back.
    """

    def __init__(
        self,
        method: Method,
        image_mean: np.ndarray,
        text_mean: np.ndarray,
        image_map: np.ndarray,
        text_map: np.ndarray,
        correlations: np.ndarray,
    ) -> None:
        self.method = method
        self.image_mean, self.text_mean = image_mean, text_mean
        self.image_map, self.text_map = image_map, text_map
        self.correlations = correlations

    def __repr__(self) -> str:
        d, r = self.image_map.shape
        return (
            f"<daskksvd.joint.Alignment: images of {d} and texts of {len(self.text_map)} features in {r}, "
            f"by {self.method}>"
        )

    def images(self, images: ArrayLike, *, missing_chunks: MissingChunks = "error") -> da.Array:
        """Images in the common space, lazily, (n, r) float32."""
        return _mapped(as_source(images, "images", missing_chunks).array, self.image_mean, self.image_map)

    def texts(self, texts: ArrayLike, *, missing_chunks: MissingChunks = "error") -> da.Array:
        """Texts in the common space, lazily, (n, r) float32; those without captions are left out."""
        rows, captioned = text_rows(texts)
        mapped = _mapped(as_source(rows, "texts", missing_chunks).array, self.text_mean, self.text_map)
        return mapped if captioned is None or captioned.all() else mapped[np.flatnonzero(captioned)]

    def union(
        self, images: ArrayLike, texts: ArrayLike, *, missing_chunks: MissingChunks = "error"
    ) -> da.Array:
        """Rows of images, and then of texts, to learn from: each is of one kind."""
        how: Any = {"missing_chunks": missing_chunks}
        return da.concatenate([self.images(images, **how), self.texts(texts, **how)])


@shows_parts("pairs")
def align(
    images: ArrayLike,
    texts: ArrayLike,
    *,
    method: Method = "ridge",
    n_dims: int = DIMENSIONS,
    paired: npt.ArrayLike | None = None,
    client: Client | None = None,
    n_threads: int | None = None,
    worker_timeout: float | None = WORKER_TIMEOUT,
    missing_chunks: MissingChunks = "error",
    progress: bool = False,
) -> Alignment:
    """Bring images and texts into one space, so that a dictionary of rows of either has atoms of both.

    Atoms of a plain union of embeddings of two models are of one kind or the other: directions of different
    spaces have nothing to do with each other. What pairs say makes one space of them:
    ``fit(found.union(images, texts))`` then learns from rows of either, and `shared_atoms` says which atoms
    are of both.

    Parameters
    ----------
    images, texts : as for `fit_joint`
        Pairs.
    method : {"ridge", "cca", "procrustes", "none"}
        ``"ridge"`` predicts images from texts, in the space of images. ``"cca"``: canonical variates
        (Hotelling 1936) of covariances with a ridge. ``"procrustes"``: principal components of either, those
        of texts turned to fit (Schoenemann 1966). ``"none"``: the same features as they are, centred, for
        models that embed both; others are warned about.
    n_dims : int
        Dimensions of the common space of ``"cca"`` and ``"procrustes"``, at most.
    paired : (n,) bool array, optional
        Which rows have a text.
    client, n_threads, worker_timeout, missing_chunks
        As for `daskksvd.fit`.
    progress : bool
        Whether to show a bar of the parts of each pass that are done.

    Returns
    -------
    Alignment

    Raises
    ------
    TypeError, ValueError
        If arguments or data do not fit together.
    """
    choice("method", method, METHODS)
    n_dims = integer("n_dims", n_dims, 1)
    pairs = as_pairs(images, texts, paired, missing_chunks=missing_chunks)
    pairs = pairs.where(pairs.both)
    if method == "none" and pairs.d != pairs.e:
        raise ValueError(
            f"method='none', but images has {pairs.d} features and texts {pairs.e}: they are of different "
            "spaces, in which no atom is of both; let pairs make one space of them (method='ridge' or 'cca')"
        )
    executor = make_executor(client, n_threads, worker_timeout)
    try:
        return _align(pairs, executor, method, n_dims)
    finally:
        executor.close()


def _align(pairs, executor, method, n_dims):
    kept = split_holdout(pairs.chunk_rows, KEPT_BACK)
    learn, held = (_survey(pairs, executor, *part) for part in ((None, kept), (kept, None)))
    d = pairs.d
    means = learn.mean[:d], learn.mean[d:-2]
    maps = common_maps(learn, d, method, n_dims, held)
    covariance = learn.covariance
    maps = [
        one / max(math.sqrt(float(np.einsum("ij,ij->", one, own @ one))), np.finfo(float).tiny)
        for one, own in zip(maps, (covariance[:d, :d], covariance[d:-2, d:-2]), strict=True)
    ]
    correlations = _correlations(held, d, maps) if held is not None else np.full(maps[0].shape[1], np.nan)
    if method == "none" and np.nanmean(correlations) < LEAST_CORRELATION:
        warnings.warn(
            f"features of images and texts of the same row correlate by {np.nanmean(correlations):.2f} on "
            "average: they are not of one space, and a dictionary of rows of both will have atoms of one "
            "kind only; let pairs make one space of them (method='ridge' or 'cca')",
            stacklevel=3,
        )
    return Alignment(method, *means, *maps, correlations)


def common_maps(survey, d, method, n_dims, held=None):
    """Maps of centred images and texts into one space, (d, r) and (e, r).

    Parameters
    ----------
    survey : rows.Survey
        Of pairs side by side, with covariance.
    d : int
    method : str
    n_dims : int
    held : rows.Survey, optional
        Of pairs kept back, for the penalty of ``"ridge"``.
    """
    from scipy.linalg import eigh, svd

    if method == "none":
        return [np.eye(d), np.eye(d)]
    if method == "ridge":
        parts = [_backwards(part, survey.mean, d) for part in (survey, held) if part is not None]
        return [np.eye(d), ridge(parts).coefficients]
    covariance = survey.covariance
    size = min(n_dims, d, len(covariance) - 2 - d)
    maps = []
    for own in (covariance[:d, :d], covariance[d:-2, d:-2]):
        values, vectors = eigh(own)
        if method == "cca":
            maps.append(vectors / np.sqrt(values + RIDGE * values.mean()))
        else:
            maps.append(vectors[:, ::-1][:, :size])
    left, _, right = svd(maps[0].T @ covariance[:d, d:-2] @ maps[1], full_matrices=False)
    return [maps[0] @ left[:, :size], maps[1] @ right.T[:, :size]]


def aligned_cosines(dictionaries, pairs, executor, kept, method):
    """Cosines of all atoms of images with all of texts in a space of both, (m, m').

    ``kept`` rows of every chunk are looked at, for canonical variates or a Procrustes rotation.
    """
    maps = common_maps(_survey(pairs, executor, None, kept), pairs.d, method, DIMENSIONS)
    atoms = [
        result.coder.transform.decoder(result.dictionary.values) @ one
        for result, one in zip(dictionaries, maps, strict=True)
    ]
    tiny = np.finfo(float).tiny
    first, second = (one / np.maximum(np.linalg.norm(one, axis=1, keepdims=True), tiny) for one in atoms)
    return first @ second.T


def _survey(pairs, executor, begin, end):
    """A survey of some rows of every chunk, None of none."""
    reader, jobs = pair_jobs(pairs, executor, begin, end)
    if not jobs:
        return None
    survey = run_survey(reader, jobs, np.empty(0, np.int64), True)
    check_survey(survey)
    return survey


def _backwards(survey, mean, d):
    """Products for the regression of images on texts."""
    shift = survey.mean - mean
    products = survey.covariance + np.outer(shift, shift)
    texts, cross = products[d:-2, d:-2], products[d:-2, :d]
    return Products(survey.count, texts, cross, float(np.trace(products[:d, :d])))


def _correlations(survey, d, maps):
    """Of images and texts along every axis of the common space."""
    covariance = survey.covariance
    both = np.einsum("ir,ir->r", maps[0], covariance[:d, d:-2] @ maps[1])
    spreads = [
        np.einsum("ir,ir->r", one, own @ one)
        for one, own in zip(maps, (covariance[:d, :d], covariance[d:-2, d:-2]), strict=True)
    ]
    spread = np.sqrt(np.maximum(spreads[0] * spreads[1], 0))
    return np.divide(both, spread, out=np.zeros(len(both)), where=spread > 0)


def _mapped(rows, mean, matrix):
    if rows.shape[1] != len(mean):
        raise ValueError(f"rows have {rows.shape[1]} features; those aligned have {len(mean)}")
    shared = dask.delayed(_same, pure=True)((mean, matrix.astype(np.float32)))
    chunks = (rows.chunks[0], (matrix.shape[1],))
    return da.map_blocks(_map_block, rows, maps=shared, chunks=chunks, dtype=np.float32, meta=_EMPTY)


_EMPTY = np.empty((0, 0), np.float32)


def _same(value):
    return value


def _map_block(rows, maps):
    mean, matrix = maps
    return (plain(rows).astype(np.float64) - mean).astype(np.float32) @ matrix
