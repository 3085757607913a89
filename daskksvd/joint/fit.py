"""`daskksvd.fit_joint`: from images and texts to one dictionary of both."""

from __future__ import annotations

import inspect
from typing import TYPE_CHECKING, Any, Literal, NamedTuple, TypeAlias, get_args

import numpy as np

from ..arguments import choice, number
from ..execution import WorkersLost, make_executor
from ..fitting.fit import FitInterrupted, fit
from ..fitting.result import Result
from ..fitting.settings import check_settings
from .halves import make_halves, survey_pairs
from .pairs import as_pairs
from .refit import text_vectors
from .result import JointResult

if TYPE_CHECKING:
    import numpy.typing as npt

    from ..rows.source import ArrayLike, MissingChunks

TextsAs: TypeAlias = Literal["captions", "predicted"]

TEXTS_AS = get_args(TextsAs)

_OWN = (
    "array",
    "n_components",
    "n_nonzero_coefs",
    "whiten",
    "center",
    "scale",
    "init",
    "holdout",
    "missing_chunks",
)
"""Arguments of `fit` that a joint fit gives itself."""

OPTIONS = {
    name: parameter.default
    for name, parameter in inspect.signature(fit).parameters.items()
    if name not in _OWN
}
"""Those that are passed on, with their defaults."""


def fit_joint(
    images: ArrayLike,
    texts: ArrayLike,
    *,
    n_components: int,
    n_nonzero_coefs: int | None = None,
    text_weight: float | Literal["auto"] = 0.2,
    texts_as: TextsAs = "captions",
    whiten: float | bool | None = None,
    paired: npt.ArrayLike | None = None,
    missing_chunks: MissingChunks = "error",
    **options: Any,
) -> JointResult:
    """Learn one dictionary of images and texts: a code for each pair, atoms with a half for each.

    Rows are ``[sqrt(1 - w) y, sqrt(w) t]``, where the image ``y`` and the text ``t`` are centred and scaled
    so that each has unit variance in all (images may be whitened before); ``w`` is ``text_weight``. They
    are joined chunk by chunk as they are read, and learned from as by `daskksvd.fit`: coupled K-SVD (Yang,
    Wright, Huang, Ma 2010 for two signals; Zhang, Li 2010 for labels). The halves of the atoms, set to unit
    norm, code images alone and texts alone.

    Parameters
    ----------
    images : as for `daskksvd.fit`
        Embeddings of images, n x d.
    texts : as for `daskksvd.fit`, or Encodings
        Encodings of their captions, n x e, row by row. In a store of encodings rows without captions have
        no text.
    n_components, n_nonzero_coefs : int
        As for `daskksvd.fit`.
    text_weight : float or "auto"
        Weight of texts, above 0 and below 1. More of it makes atoms that are named more surely and that other
        seeds find again, and leaves more of the images unexplained.
    texts_as : {"captions", "predicted"}
        What the text half of a row is: the encoding of its captions, for names; or that encoding as ridge
        predicts it from the image, for codes that say as much of captions as images do.
    whiten : float or True, optional
        As for `daskksvd.fit`, of the images.
    paired : (n,) bool array, optional
        Which rows have a text; by default all, or those with captions.
    missing_chunks : {"error", "fill"}
        As for `daskksvd.fit`.
    **options
        Other arguments of `daskksvd.fit`: ``client``, ``rtol``, ``pursuit``, ``update``, ``max_passes``,
        ``tol``, ``random_state``, ``checkpoint``, ``callbacks``, ``worker_timeout`` and so on.

    Returns
    -------
    JointResult

    Raises
    ------
    TypeError, ValueError
        For arguments or data that cannot work: the message names the argument, what was found and what is
        allowed.
    """
    learning = _check(n_components, n_nonzero_coefs, whiten, options)
    whiten = learning.whiten
    if text_weight != "auto":
        allowed = "a number above 0 and below 1, or 'auto'"
        text_weight = number("text_weight", text_weight, 0, 1, allowed, open_ends=True)
    choice("texts_as", texts_as, TEXTS_AS)
    pairs = as_pairs(images, texts, paired, missing_chunks=missing_chunks)
    n_pairs = int(pairs.both.sum())
    if n_pairs < n_components:
        raise ValueError(
            f"{n_pairs} rows have both an image and a text, fewer than n_components={n_components}; give "
            "more pairs or ask for fewer atoms"
        )
    pairs = pairs.where(pairs.both)
    executor = learning.executor()
    try:
        facts = survey_pairs(pairs, executor, whiten, texts_as == "predicted")
    finally:
        executor.close()
    halves = make_halves(facts, text_weight, whiten)
    try:
        both = learning.run(pairs, halves)
    except (FitInterrupted, WorkersLost) as stop:
        if stop.result is not None:
            stop.result = _as_learned(stop.result, pairs.d, text_weight, texts_as, facts)
        raise
    result = _as_learned(both, pairs.d, text_weight, texts_as, facts)
    executor = learning.executor()
    try:
        found = text_vectors(pairs, result.images.coder, facts.texts.mean, executor)
    finally:
        executor.close()
    result.text_vectors, result.text_offset = found.vectors, found.offset
    result.figures["text_explained"] = found.explained
    return result


class _Learning(NamedTuple):
    """Arguments of `fit`, checked.

    Attributes
    ----------
    arguments : dict
    whiten : float or None
        Of the images.
    dtype : numpy.dtype
    """

    arguments: dict[str, Any]
    whiten: float | None
    dtype: np.dtype

    def executor(self) -> Any:
        given = [self.arguments[name] for name in ("client", "n_threads", "worker_timeout")]
        return make_executor(*given)

    def run(self, pairs, halves, **more):
        """Learn from joined rows; the result codes images and texts side by side, as they are given."""
        try:
            found = fit(halves.joined(pairs, self.dtype), **{**self.arguments, **more})
        except (FitInterrupted, WorkersLost) as stop:
            if stop.result is not None:
                stop.result = self.of_raw(stop.result, halves)
            raise
        return self.of_raw(found, halves)

    def of_raw(self, found, halves):
        """A result of joined rows as one of images and texts as they are given."""
        transform = halves.transform()
        dictionary = transform.from_coding(found.dictionary.values)
        settings = {**found.settings, "whiten_images": self.whiten}
        return Result(dictionary, transform, found.coder.target, found.history, found.stop_reason, settings)


def _check(n_components: Any, n_nonzero_coefs: Any, whiten: Any, options: dict[str, Any]) -> _Learning:
    """Check what can be checked without data."""
    unknown = [name for name in options if name not in OPTIONS]
    if unknown:
        raise TypeError(
            f"fit_joint() has no argument {unknown[0]!r}; those of fit that it takes are {', '.join(OPTIONS)}"
        )
    given = OPTIONS | options
    outside = ("client", "persist", "checkpoint", "checkpoint_every", "callbacks", "progress", "n_threads")
    rest = {name: value for name, value in given.items() if name not in (*outside, "worker_timeout")}
    rest |= {"init": "rows", "center": True, "scale": False, "holdout": 0.0, "whiten": whiten}
    settings = check_settings(n_components, n_nonzero_coefs=n_nonzero_coefs, **rest)
    arguments = {"n_components": n_components, "n_nonzero_coefs": n_nonzero_coefs, **given}
    arguments["random_state"] = settings.random_state
    return _Learning(arguments, settings.whiten, settings.dtype)


def _as_learned(both, d, text_weight, texts_as, facts):
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
