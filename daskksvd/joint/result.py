"""What a joint fit leaves: one dictionary, coded from images, from texts, or from both."""

from __future__ import annotations

import functools
from typing import TYPE_CHECKING

import dask.array as da
import numpy as np

from ..coding.formats import decode
from ..fitting.initial import normalised
from ..fitting.result import Result
from ..rows import Transform
from . import saving
from .missing import unit_halves
from .pairs import as_pairs

if TYPE_CHECKING:
    import os

    import xarray as xr

    from ..coding.inputs import CodesLike
    from ..rows.source import ArrayLike, MissingChunks


class JointResult:
    """A dictionary of images and texts, ``D = [D_image, D_text]``, one code for a pair.

    Attributes
    ----------
    both : daskksvd.Result
        The dictionary as it was learned; codes pairs, as rows of an image and a text side by side.
    text_vectors : (m, e) float64 array
        Texts from codes of images alone: ``texts ~ codes @ text_vectors + text_offset``.
    text_offset : (e,) float64 array
    text_weight : float
        Weight of texts, lambda; that of images is one less it.
    texts_as : {"captions", "predicted"}
        What the text half of a pair was: its captions, or what ridge predicts of them from the image.
    text_map : (d, e) float64 array or None
        What predicts the encoding of a caption from an image that is centred, for ``"predicted"``.
    costs : xarray.Dataset or None
        Where the weight was chosen: per ``text_weight`` the fraction of the variance of images that is left
        (``image_fvu``) on rows kept back, and how much more that is than without texts (``image_cost``).
    words : xarray.Dataset or None
        Where text halves were held to words: ``word`` and ``weight`` by (atom, side, slot), as from
        `naming.map_tokens`. Words are of the positive side.
    figures : dict
        Shares of the variance of texts that are explained on pairs kept back: ``text_explained`` by
        ``text_vectors``, and ``text_predicted`` by ridge from images, where that was used. The former
        flatters, as the dictionary has seen those pairs.
    """

    def __init__(
        self,
        both: Result,
        n_image_features: int,
        *,
        text_vectors: np.ndarray,
        text_offset: np.ndarray,
        text_weight: float,
        texts_as: str = "captions",
        text_map: np.ndarray | None = None,
        costs: xr.Dataset | None = None,
        words: xr.Dataset | None = None,
        figures: dict[str, float] | None = None,
    ) -> None:
        self.both = both
        self.n_image_features = n_image_features
        self.text_vectors = text_vectors
        self.text_offset = text_offset
        self.text_weight = text_weight
        self.texts_as = texts_as
        self.text_map = text_map
        self.costs = costs
        self.words = words
        self.figures = figures or {}

    def __repr__(self) -> str:
        m, width = self.both.dictionary.shape
        d = self.n_image_features
        return (
            f"<daskksvd.JointResult: {m} atoms of {d} features of images and {width - d} of texts, weight of "
            f"texts {self.text_weight:g} ({self.texts_as}), stopped by {self.both.stop_reason}>"
        )

    @functools.cached_property
    def images(self) -> Result:
        """A dictionary that codes images alone.

        Of captions it is the halves of images, set to unit norm. Of predicted texts it is the whole
        dictionary: the text half of a row is a linear map of its image, so that images are coded in a
        metric in which directions count for more that say something of captions.
        """
        images = half(self.both, slice(0, self.n_image_features))
        return images if self.text_map is None else with_texts(images, self.text_map, self.text_scale)

    @functools.cached_property
    def texts(self) -> Result:
        """The halves of texts as a dictionary of their own, unit atoms: codes texts alone."""
        return half(self.both, slice(self.n_image_features, None))

    @property
    def text_scale(self) -> np.ndarray:
        """What centred texts are divided by, (e,): the square root of their weight over their variance."""
        scale = self.both.coder.transform.scale
        assert scale is not None
        return scale[self.n_image_features :]

    @property
    def norms(self) -> np.ndarray:
        """Norms of both halves of every atom, (m, 2); their squares add up to one."""
        d, atoms = self.n_image_features, self.both.coder.dictionary.astype(np.float64)
        return np.stack([np.linalg.norm(part, axis=1) for part in (atoms[:, :d], atoms[:, d:])], axis=1)

    def encode(
        self,
        images: ArrayLike | None = None,
        texts: ArrayLike | None = None,
        *,
        missing_chunks: MissingChunks = "error",
    ) -> da.Array:
        """Sparse codes of images, of texts, or of pairs, lazily.

        Parameters
        ----------
        images : as for `daskksvd.fit`, optional
            n x d.
        texts : as for `daskksvd.fit`, or Encodings, optional
            n x e; of the same rows if both are given.
        missing_chunks : {"error", "fill"}

        Returns
        -------
        dask.array.Array
            n x m, chunks of `sparse.COO`.
        """
        if texts is None and images is None:
            raise ValueError("neither images nor texts were given; give one, or both")
        if texts is None:
            return self.images.encode(images, missing_chunks=missing_chunks)
        if images is None:
            return self.texts.encode(getattr(texts, "array", texts), missing_chunks=missing_chunks)
        pairs = as_pairs(images, texts, missing_chunks=missing_chunks)
        if not pairs.both.all():
            raise ValueError(
                f"texts has {pairs.n - int(pairs.both.sum())} rows without captions; code these images alone"
            )
        return self.both.encode(da.concatenate([pairs.images, pairs.texts], axis=1).rechunk({1: -1}))

    def predict_texts(self, codes: CodesLike) -> da.Array | np.ndarray:
        """Encodings of captions that codes of images alone stand for, (n, e); lazy if ``codes`` are."""
        return decode(codes, self.text_vectors, self.text_offset)

    def save(self, path: str | os.PathLike[str], *, overwrite: bool = False) -> None:
        """Save as a Zarr group, which `load_joint` and xarray read.

        Parameters
        ----------
        path : str or path
        overwrite : bool
            Whether a joint result that is there may be replaced.

        Raises
        ------
        FileExistsError, ValueError
            If something is there that may not be replaced.
        """
        saving.save(self, path, overwrite)


def half(both, columns):
    """A dictionary of some of the columns of another: unit atoms, and the transform of those features.

    An atom without such a half stands for the direction in which samples vary least, and is hardly used.
    """
    coder = both.coder
    atoms = coder.dictionary[:, columns]
    mean, basis, scale = coder.transform
    basis = None if basis is None else basis[columns, columns]
    atoms, _ = unit_halves(atoms.astype(np.float64))
    transform = Transform(mean[columns], basis, scale[columns])
    dictionary = transform.from_coding(atoms.astype(coder.dictionary.dtype))
    return Result(dictionary, transform, coder.target, both.history, both.stop_reason, both.settings)


def read_joint(both, d, text_weight, texts_as, facts):
    """A joint result with texts as the dictionary has them, before they are fitted to codes of images."""
    m, e = len(both.dictionary), len(facts.texts.mean)
    result = JointResult(
        both,
        d,
        text_vectors=np.zeros((m, e)),
        text_offset=facts.texts.mean,
        text_weight=text_weight,
        texts_as=texts_as,
        text_map=facts.image_to_text,
    )
    norms = np.ones(m) if facts.image_to_text is not None else result.norms[:, 0]
    atoms = both.coder.dictionary[:, d:] * result.text_scale
    result.text_vectors = atoms / np.maximum(norms, np.finfo(np.float32).tiny)[:, None]
    if facts.image_to_text is not None:
        result.figures["text_predicted"] = facts.predicted_share
    return result


def with_texts(images, text_map, text_scale):
    """A dictionary of images, coded in the metric of an image and the text that it predicts.

    The squared norm of a row ``[A y, B y]`` is ``y' (A'A + B'B) y``: of ``A'A + B'B = U S U'`` the
    principal axes ``U`` and the scales ``S ** -.5`` are a transform of images with the same inner products.
    """
    coder = images.coder
    mean, basis, scale = coder.transform
    axes = np.diag(1 / scale) if basis is None else basis / scale
    predicted = text_map / text_scale
    values, vectors = np.linalg.eigh(axes @ axes.T + predicted @ predicted.T)
    signs = np.sign(vectors[np.abs(vectors).argmax(axis=0), np.arange(len(vectors))])
    transform = Transform(mean, np.ascontiguousarray(vectors * signs), 1 / np.sqrt(values))
    atoms = coder.transform._replace(mean=None).undo(coder.dictionary.astype(np.float64))
    atoms = normalised(transform._replace(mean=None).apply(atoms, np.float64))
    dictionary = transform.from_coding(atoms).astype(coder.dictionary.dtype)
    return Result(dictionary, transform, coder.target, images.history, images.stop_reason, images.settings)


def load_joint(path: str | os.PathLike[str]) -> JointResult:
    """Load a result saved by `JointResult.save`.

    Parameters
    ----------
    path : str or path

    Raises
    ------
    FileNotFoundError, ValueError
        If there is no joint result.
    DamagedStore
        If a file of it is missing or is not what was written; the message names it.
    """
    result, n_image_features, rest = saving.read(path)
    return JointResult(Result(*result), n_image_features, **rest)
