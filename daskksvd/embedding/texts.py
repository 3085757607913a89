"""Encoders of texts: sentence encoders, the text side of CLIP-like models, and functions of one's own."""

from __future__ import annotations

import abc
import contextlib
import os
import threading
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any, TypeAlias

import numpy as np

from ..arguments import integer
from .errors import model_named
from .models import cached_encoder, check_text_spec, forget_encoder
from .models.threads import threads_kept

if TYPE_CHECKING:
    from .models.base import Encoder, ModelSpec, Precision

EncoderLike: TypeAlias = "str | os.PathLike[str] | TextEncoder | Callable[[list[str]], np.ndarray]"
"""What `as_text_encoder` takes."""

TEXT_BATCH = 256
"""Texts that a model is given at a time."""

_IMAGES = ("pooling", "layer", "preprocessing")
"""What the identity of a model says of images only."""

_encoding = threading.Lock()
"""One text model works at a time in a process: it uses all threads by itself, and tokenizers are not made
for several."""


class TextEncoder(abc.ABC):
    """Texts to vectors of unit norm.

    It travels to workers as a name: each loads the model when it first encodes, and keeps it.
    """

    def encode(
        self, texts: Sequence[str], batch_size: int = TEXT_BATCH, *, n_threads: int | None = None
    ) -> np.ndarray:
        """Vectors of texts.

        Parameters
        ----------
        texts : sequence of str
            One at least.
        batch_size : int
            Texts that go through the model at a time.
        n_threads : int, optional
            Threads of a processor that the model may use; all by default.

        Returns
        -------
        numpy.ndarray
            (t, e) float32, rows of unit norm; one of zeros stays.

        Raises
        ------
        TypeError, ValueError
            If texts are no strings, or the encoder does not give one finite vector for each.
        """
        texts = check_texts(texts)
        integer("batch_size", batch_size, 1)
        vectors = self._vectors(texts, batch_size, n_threads)
        norms = np.sqrt((vectors.astype(np.float64) ** 2).sum(1, keepdims=True))
        if not np.isfinite(norms).all():
            bad = texts[int(np.argmin(np.isfinite(norms[:, 0])))]
            raise ValueError(f"encoder gives a vector that is not finite for {bad!r}; all must be finite")
        return (vectors / np.where(norms > 0, norms, 1)).astype(np.float32)

    @abc.abstractmethod
    def _vectors(self, texts: list[str], batch_size: int, n_threads: int | None) -> np.ndarray:
        """Vectors (t, e) of a list of texts, of any norm."""

    @abc.abstractmethod
    def identity(self) -> dict[str, Any]:
        """What fixes the vectors: a dict that JSON can hold."""

    @abc.abstractmethod
    def forget(self) -> None:
        """Let go of the model, if this process keeps it."""


class ModelTexts(TextEncoder):
    """The texts of a model that is named.

    Parameters
    ----------
    spec : ModelSpec
    name : str
        Of the argument that named it; for messages.
    """

    def __init__(self, spec: ModelSpec, name: str = "encoder") -> None:
        self.spec, self._name = spec, name
        self._identity: dict[str, Any] | None = None

    def _vectors(self, texts: list[str], batch_size: int, n_threads: int | None) -> np.ndarray:
        # of like length, so that little is filled up
        order = np.argsort([len(text) for text in texts], kind="stable")
        with _encoding, model_named(self._name):
            model = cached_encoder(self.spec)
            with _threads(model, n_threads):
                found = model.encode_texts([texts[place] for place in order], batch_size)
        vectors = np.empty_like(found)
        vectors[order] = found
        return vectors

    def identity(self) -> dict[str, Any]:
        if self._identity is None:
            with model_named(self._name):
                found = cached_encoder(self.spec).identity()
            self._identity = {key: value for key, value in found.items() if key not in _IMAGES}
        return self._identity

    def forget(self) -> None:
        forget_encoder(self.spec)

    def __repr__(self) -> str:
        return f"<daskksvd.TextEncoder: {self.spec.library} {self.spec.name}>"


class CalledTexts(TextEncoder):
    """Texts by a function of one's own.

    Parameters
    ----------
    function : callable
        A list of texts to an array, (t, e).
    """

    def __init__(self, function: Callable[[list[str]], Any]) -> None:
        self.function = function

    def _vectors(self, texts: list[str], batch_size: int, n_threads: int | None) -> np.ndarray:
        parts: list[np.ndarray] = []
        for start in range(0, len(texts), batch_size):
            batch = texts[start : start + batch_size]
            found = np.asarray(self.function(batch))
            if found.ndim != 2 or len(found) != len(batch) or found.dtype.kind not in "fiu":
                raise ValueError(
                    f"encoder gives shape {found.shape} of {found.dtype} for {len(batch)} texts; it must "
                    "give one row of numbers for each"
                )
            parts.append(found)
        return np.concatenate(parts)

    def identity(self) -> dict[str, Any]:
        function = self.function
        kind = type(function) if not hasattr(function, "__qualname__") else function
        return {"library": "python", "name": f"{kind.__module__}.{kind.__qualname__}"}

    def forget(self) -> None:
        """Nothing: a function is its owner's."""

    def __repr__(self) -> str:
        return f"<daskksvd.TextEncoder: {self.identity()['name']}>"


def text_encoder(
    model: EncoderLike,
    *,
    pretrained: str | None = None,
    revision: str | None = None,
    precision: Precision = "auto",
    device: str = "auto",
) -> TextEncoder:
    """What makes vectors of texts, for everything that takes an ``encoder``.

    A name alone does there, too, with the weights that it comes with.

    Parameters
    ----------
    model : str, path, TextEncoder or callable
        A model as for `daskksvd.embed_texts`; or ``model(texts)``, which gives an array (t, e) with a row
        for each of a list of texts.
    pretrained, revision, precision, device
        Of a model that is named; see `daskksvd.embed`.

    Returns
    -------
    TextEncoder
        The model is loaded when texts are first encoded. Its ``encode(texts)`` gives float32 rows of unit
        norm.

    Raises
    ------
    TypeError, ValueError
        If it is none of these. Whether the model reads texts shows when it is loaded.
    ImportError
        If the library of the model is not installed.

    Examples
    --------
    The weights of open_clip have names of their own::

        encoder = daskksvd.text_encoder("open_clip:ViT-B-32", pretrained="laion2b_s34b_b79k")
        tokens = daskksvd.naming.map_tokens("result-codes.zarr", "captions.csv", encoder)

    The small model that comes with the scenes:

    >>> import daskksvd
    >>> daskksvd.text_encoder("scenes").encode(["a red circle", "a blue square"]).shape
    (2, 128)
    """
    how: Any = {"pretrained": pretrained, "revision": revision, "precision": precision, "device": device}
    return as_text_encoder(model, **how, name="model")


def as_text_encoder(
    encoder: EncoderLike,
    *,
    pretrained: str | None = None,
    revision: str | None = None,
    precision: Precision = "auto",
    device: str = "auto",
    name: str = "encoder",
) -> TextEncoder:
    """As `text_encoder`, for an argument that is called ``name`` in messages."""
    how: Any = {"pretrained": pretrained, "revision": revision, "precision": precision, "device": device}
    if isinstance(encoder, (str, os.PathLike)):
        with model_named(name):
            return ModelTexts(check_text_spec(encoder, **how), name)
    for key, value in how.items():
        if value not in (None, "auto"):
            raise ValueError(
                f"{key}={value!r} goes with the name of a model; {name} is a {type(encoder).__name__}"
            )
    if isinstance(encoder, TextEncoder):
        return encoder
    if not callable(encoder):
        raise TypeError(
            f"{name} is a {type(encoder).__name__}; it must be the name or folder of a model, or a function "
            "from a list of texts to an array with a row for each"
        )
    return CalledTexts(encoder)


def check_texts(texts: Sequence[str]) -> list[str]:
    """A sequence of texts as a list, one at least."""
    if isinstance(texts, str):
        raise TypeError("texts is one string; it must be a sequence of them")
    texts = list(texts)
    if not texts or not all(isinstance(text, str) for text in texts):
        raise TypeError("texts must be strings, one at least")
    return texts


def _threads(model: Encoder, n_threads: int | None) -> contextlib.AbstractContextManager:
    """Where a model uses so many threads of a processor."""
    if n_threads is None or model.device.type != "cpu":
        return contextlib.nullcontext()
    return threads_kept(n_threads)
