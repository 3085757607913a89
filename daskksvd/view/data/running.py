"""An image run through the model that its patches are of, with atoms turned in their layer."""

from __future__ import annotations

import os
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from ...embedding.models import cached_encoder, check_spec
from ...turning import find_output
from .once import once

if TYPE_CHECKING:
    import PIL.Image

    from ...embedding.models import Encoder, ModelSpec
    from ...fitting.result import Result


class ModelOutput(NamedTuple):
    """What a model makes of an image, before and after.

    Attributes
    ----------
    likeness : float
        Mean cosine of the patches that it makes of the picture at hand with those of the store.
    before, after : (1, e) float32 arrays
        Its pooled output.
    """

    likeness: float
    before: np.ndarray
    after: np.ndarray


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
        layer = made.get("layer")
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
        encoder = cached_encoder(self._spec)
        if encoder.grid != self._layout.grid:
            grids = " and ".join(f"{tall} x {wide}" for tall, wide in (encoder.grid, self._layout.grid))
            raise ValueError(
                f"encoder={self._spec.name!r} makes another grid of patches than the embeddings have "
                f"({grids}); it must be the model that they are of"
            )
        return encoder

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
            If no layer of the model gives the rows of the store.
        """
        encoder = self._encoder
        prepared = encoder.prepare(image)[None]
        if prepared.shape[1:] != encoder.shape:
            raise ValueError(f"image {row} has another grid of patches than the others")
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
        return ModelOutput(likeness, before, after)


def patch_model(encoder: Any, embeddings: Any) -> PatchModel:
    """A `PatchModel` of a model that is named, with the revision and weights that the store tells of.

    Raises
    ------
    TypeError, ValueError
        If it is no model, or another than that of the embeddings.
    """
    made: dict[str, Any] = embeddings.attrs["model"]
    spec = getattr(encoder, "spec", None)
    if spec is None:
        library, name, revision = (made.get(key) for key in ("library", "name", "revision"))
        weights = {"pretrained": revision} if library == "open_clip" and _is_tag(revision) else {}
        if library == "transformers" and str(encoder) == name and not os.path.isdir(name):
            weights = {"revision": revision}
        spec = check_spec(encoder, **weights)
    return PatchModel(spec, embeddings)


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
