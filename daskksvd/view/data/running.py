"""An image run through the model that its patches are of, with atoms turned in their layer."""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from ...embedding.errors import model_named
from ...embedding.models import cached_encoder, check_spec
from ...embedding.texts import ModelTexts, as_text_encoder
from ...turning import find_output
from .once import once

if TYPE_CHECKING:
    import PIL.Image

    from ...embedding.models import Encoder, ModelSpec
    from ...embedding.texts import EncoderLike, TextEncoder
    from ...fitting.result import Result


class ModelOutput(NamedTuple):
    """What a model makes of an image, before and after.

    Attributes
    ----------
    likeness : float
        Mean cosine of the patches that it makes of the picture at hand with those of the store.
    before, after : (1, e) float32 arrays
        Its pooled output.
    doubt : str or None
        A sentence, where its weights are others than those that the rows are of.
    """

    likeness: float
    before: np.ndarray
    after: np.ndarray
    doubt: str | None


class PatchModel:
    """The model that the patches of a store are of.

    Parameters
    ----------
    spec : ModelSpec
        Which it is.
    embeddings : Embeddings
        Rows of patches.

    Raises
    ------
    ValueError
        If rows are of several layers: no single one gives them.
    """

    def __init__(self, spec: ModelSpec, embeddings: Any) -> None:
        made: dict[str, Any] = embeddings.attrs["model"]
        layer = _layer(made)
        if isinstance(layer, (list, tuple)):
            raise ValueError(
                f"encoder={spec.name!r}: rows are of the layers {', '.join(map(str, layer))} side by side, "
                "and atoms are turned in the model in one; leave encoder out, or embed one layer"
            )
        tokens = "cls+patches" if embeddings.layout.cls else "patches"
        self._spec = spec._replace(pooling="pooled", layer=layer, tokens=tokens, resize=_resized(made))
        self._layout = embeddings.layout
        self._embeddings = embeddings

    @property
    @once
    def _encoder(self) -> Encoder:
        name, made = self._spec.name, self._embeddings.attrs["model"]
        if made.get("library") == "files":
            raise ValueError(
                f"encoder={name!r}: the files of these activations do not tell of which layer they are, so "
                "atoms are not turned in the model; the rows of daskksvd.embed and of saev's shards tell it"
            )
        with model_named("encoder"):
            encoder = cached_encoder(self._spec)
        d = self._embeddings.array.shape[1]
        own = encoder.identity()
        for what, mine, its in (
            *((key, own.get(key), made.get(key)) for key in _SAME if made.get("library") in _LIBRARIES),
            ("number of features", encoder.d, d),
            ("grid of patches", *("{} x {}".format(*one.grid) for one in (encoder, self._layout))),
        ):
            if None not in (mine, its) and mine != its:
                raise ValueError(
                    f"encoder={name!r} has another {what} than the model of the embeddings ({mine}, not "
                    f"{its}); it must be the model that they are of"
                )
        return encoder

    @property
    @once
    def _doubt(self) -> str | None:
        """A sentence, where the weights are known to be others than those of the store."""
        made = self._embeddings.attrs["model"]
        own, its = self._encoder.identity().get("revision"), made.get("revision")
        known = made.get("library") in _LIBRARIES and _kind(own) == _kind(its) is not None
        if not known or own == its:
            return None
        return f"its weights are {own}, and those of the embeddings were {its}: it is not the same model"

    @once
    def encode(self, texts: tuple[str, ...]) -> np.ndarray | None:
        """Encodings of texts in the space of the pooled output, (t, e); None where it reads no texts."""
        encoder = self._encoder
        try:
            encoder.tokenizer()
        except ValueError:
            return None
        return encoder.encode_texts(list(texts))

    def run(
        self,
        image: PIL.Image.Image,
        row: int,
        stored: np.ndarray,
        result: Result,
        atoms: Mapping[int, float],
        patches: np.ndarray,
    ) -> ModelOutput:
        """Run an image twice, the second time with atoms turned in some of its patches.

        Parameters
        ----------
        image : PIL.Image.Image
        row : int
            Of the image.
        stored : (rows_per_image, d) array
            Its rows in the store.
        result : Result
        atoms : dict of int to float
        patches : (p,) int array
            Places in the grid; that they are rows of the store is not needed.

        Raises
        ------
        ValueError
            If it is another model, no layer of it gives the rows of the store, the picture has another size,
            or the output is not finite.
        OSError, ImportError
            If the model cannot be loaded.
        """
        encoder = self._encoder
        prepared = encoder.prepare(image)[None]
        wanted: Any = encoder.shape
        if prepared.shape[1:] != wanted:
            sizes = [f"{shape[-1]} x {shape[-2]}" for shape in (prepared.shape, wanted)]
            raise ValueError(
                f"the picture at hand of image {row}, which may be a thumbnail, is {sizes[0]} pixels as the "
                f"model sees it, and that of its rows was {sizes[1]}; images= (--images) gives the pictures "
                "themselves"
            )
        tokens = encoder.encode(prepared)[0]
        own = self._layout.chosen(tokens, int(self._embeddings.sample[row]))
        likeness = float(np.mean(np.sum(_unit(own) * _unit(stored), axis=1)))
        layer: Any = self._spec.layer
        if layer is None:
            layer = find_output(
                encoder.model, lambda: encoder.outputs(prepared), tokens[int(self._layout.cls) :]
            )
            if layer is None:
                raise ValueError(
                    f"encoder={self._spec.name!r} makes its output of other vectors than these rows, the "
                    "output of its patches; embed a layer (layer=) to turn atoms in the model"
                )
        before = encoder.outputs(prepared)
        with result.intervening(encoder.model, layer, atoms, tokens="patches", patches=patches):
            after = encoder.outputs(prepared)
        if not np.isfinite(after).all():
            raise ValueError("the output of the model is not finite with atoms turned so far")
        return ModelOutput(likeness, before, after, self._doubt)


def patch_model(encoder: Any, embeddings: Any) -> PatchModel:
    """A `PatchModel` of a model that is named, with the revision and weights that the store tells of.

    Raises
    ------
    TypeError, ValueError
        If it is no model, or another than that of the embeddings.
    """
    spec = getattr(encoder, "spec", None)
    if spec is None:
        with model_named("encoder"):
            spec = check_spec(encoder, **recorded_weights(encoder, embeddings))
        folder = os.path.isabs(spec.name) or spec.name.startswith((".", "~"))
        if spec.library == "transformers" and folder and not os.path.isdir(spec.name):
            raise FileNotFoundError(f"encoder={spec.name!r}: there is no such folder")
    _check_weights(spec, embeddings)
    return PatchModel(spec, embeddings)


def text_model(encoder: EncoderLike, embeddings: Any) -> TextEncoder:
    """The text side of a model that is named, with the revision and weights that the store tells of.

    Raises
    ------
    TypeError, ValueError
        If it is none, or its weights are not known.
    """
    found = as_text_encoder(encoder, **recorded_weights(encoder, embeddings))
    if isinstance(found, ModelTexts):
        _check_weights(found.spec, embeddings)
    return found


def recorded_weights(encoder: Any, embeddings: Any) -> dict[str, Any]:
    """Arguments of the weights of a named model, where it is the one that the store tells of."""
    if not isinstance(encoder, (str, os.PathLike)):
        return {}
    made: dict[str, Any] = embeddings.attrs.get("model") or {}
    library, name, revision = (made.get(key) for key in ("library", "name", "revision"))
    if library == "open_clip" and os.fspath(encoder) == f"open_clip:{name}" and _is_tag(revision):
        return {"pretrained": revision}
    own = library == "transformers" and os.fspath(encoder) == name and not os.path.isdir(name)
    if own and _kind(revision) != "fingerprint":  # that of a folder, which is elsewhere now
        return {"revision": revision}
    return {}


def _check_weights(spec, embeddings):
    """Refuse a model that would get random ones."""
    if spec.library == "open_clip" and not spec.pretrained and not spec.name.startswith(_WHOLE):
        made = embeddings.attrs.get("model") or {}
        raise ValueError(
            f"encoder='open_clip:{spec.name}' names no weights, and those of the embeddings "
            f"({made.get('revision')}) cannot be found by their record; give them "
            f"(--pretrained, or encoder=daskksvd.text_encoder('open_clip:{spec.name}', pretrained=...)), "
            "or leave encoder out"
        )


_LIBRARIES = ("transformers", "open_clip")
"""Those whose models daskksvd.embed records; other tools have other names for the same."""

_SAME = ("library", "architecture")
"""What must be as it was."""

_WHOLE = ("hf-hub:", "local-dir:")
"""Names of open_clip's models that say which weights they have."""

_COMMIT = re.compile(r"[0-9a-f]{40,64}")


def _layer(made):
    """The layer of rows as `daskksvd.embed` counts, where 0 enters the first block.

    Layer i of saev is what leaves block i, which is 1 + i; one counted from the end is the same.
    """
    layer = made.get("layer")
    return layer + 1 if made.get("library") == "saev" and layer is not None and layer >= 0 else layer


def _kind(revision):
    """What a record of weights is: only those of a kind can be compared. None where it says nothing sure."""
    if revision is None:
        return None
    revision = str(revision)
    if revision.startswith("sha256:"):
        return "fingerprint"
    if _COMMIT.fullmatch(revision):
        return "commit"
    return None if revision == "main" else "tag"


def _is_tag(revision):
    """Whether a record of open_clip's weights is a name, not a file and its size."""
    return revision is not None and not str(revision).endswith(" bytes)")


def _resized(made):
    """What `daskksvd.embed` was told as ``resize``, from what the store says of the preprocessing."""
    settings = made.get("preprocessing")
    if made.get("library") != "transformers" or not isinstance(settings, dict):
        return None
    if not settings.get("do_resize", True):
        return False
    size = settings.get("size") or {}
    square = size.get("height") if size.get("height") == size.get("width") else None
    return size.get("shortest_edge") or square


def _unit(rows):
    norms = np.linalg.norm(np.asarray(rows, np.float32), axis=1, keepdims=True)
    return rows / np.where(norms > 0, norms, 1)
