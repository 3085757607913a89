"""What an encoder offers, and how hidden states become one vector."""

import abc
import contextlib
from typing import Any, Literal, NamedTuple, TypeAlias, get_args

import numpy as np

from ...tracking.parts import counted_by
from ..errors import first_line

EMBED_BATCH = (8, 256)
"""Least and most images of one forward pass, when the user sets no number."""

EMBED_CPU_BATCH = 32
"""The same on a processor, where more gain nothing: ViT-S/14 takes 52-57 ms an
image at 16, 32 and 64."""

EMBED_MEMORY_SHARE = 0.25
"""Share of the free memory of a graphics card that one batch may take."""

EMBED_ACTIVATIONS = 16
"""Bytes of activations that an inner layer keeps, as a multiple of the bytes of its
tokens: queries, keys, values, the hidden layer of four times the width, and copies."""

Pooling: TypeAlias = Literal["pooled", "cls", "mean", "cls+mean"]
Precision: TypeAlias = Literal["auto", "float32", "bfloat16", "float16"]

POOLINGS, PRECISIONS = get_args(Pooling), get_args(Precision)


class ModelSpec(NamedTuple):
    """Which model, and what of it; travels to workers.

    Attributes
    ----------
    library : str
        ``"transformers"``, ``"open_clip"``, ``"sentence_transformers"``, or ``"transformers_text"`` for
        models of transformers that see no images.
    name : str
        Hub id, architecture, or folder.
    pretrained : str or None
        Tag or file of weights, for open_clip.
    revision : str or None
        Commit, tag or branch on the hub.
    pooling : str
        One of `POOLINGS`.
    layer : int, tuple of int, or None
        Hidden layer, 0 for what enters the first block; None for the output. Of several the vectors
        stand side by side.
    resize : int, False or None
        Short side that images are resized to; None for what the model says.
    precision : str
        One of `PRECISIONS`.
    device : str
        ``"auto"``, or as PyTorch names it.
    tokens : str or None
        ``"patches"`` or ``"cls+patches"``: a vector a token; None for one an image.
    """

    library: str
    name: str
    pretrained: str | None = None
    revision: str | None = None
    pooling: str = "pooled"
    layer: int | tuple[int, ...] | None = None
    resize: int | bool | None = None
    precision: str = "auto"
    device: str = "auto"
    tokens: str | None = None


class Encoder(abc.ABC):
    """A model that is loaded, and how its images are prepared.

    Attributes
    ----------
    spec : ModelSpec
    d : int
        Numbers in a vector.
    image_size : int
        Short side of what enters the model, in pixels.
    resizes : bool
        Whether images are brought to a size before they are cropped.
    grid : (int, int) or None
        Rows and columns of patches, where a vector is of a token.
    frame : dict or None
        How images are resized and cropped, see `layout.frame_of`; with the grid.
    shape : tuple or None
        Of a prepared image, where others are refused: they have other grids, or the model cannot read them.
    model : torch.nn.Module
        Of the library.
    """

    model: Any

    grid: tuple[int, int] | None = None
    frame: dict | None = None
    shape: tuple[int, ...] | None = None
    image_size: int
    resizes = True

    def __init__(self, spec):
        self.spec = spec
        self.device = choose_device(spec.device)
        self.dtype = choose_dtype(spec.precision, self.device)

    @property
    def short_side(self):
        """Pixels that the shorter side of an image is scaled to, no less; None where it stays as it is."""
        return max(self.image_size, self.spec.resize or 0) if self.resizes else None

    @abc.abstractmethod
    def prepare(self, image):
        """The input of the model for one RGB image: (3, height, width) float32."""

    @abc.abstractmethod
    def vectors(self, pixels):
        """Vectors (rows, d), or (rows, tokens, d), of a tensor of prepared images on the device."""

    @abc.abstractmethod
    def output(self, pixels):
        """What the whole model says of prepared images, (rows, e): pooled, whatever its spec asks for."""

    @abc.abstractmethod
    def text_vectors(self, texts):
        """Vectors of a few texts in the space of the pooled images, a tensor."""

    @abc.abstractmethod
    def tokens(self, texts):
        """What the model reads of texts: a dict with ``"input_ids"`` (texts, length), on the device."""

    @abc.abstractmethod
    def token_vectors(self, tokens):
        """Vectors of texts from their `tokens`, as `text_vectors` gives them, a tensor with its gradient."""

    @abc.abstractmethod
    def token_embedding(self):
        """The layer that gives every token its vector, a `torch.nn.Embedding`."""

    @abc.abstractmethod
    def tokenizer(self):
        """What parts texts into tokens; its ``decode`` gives the text of ids."""

    @abc.abstractmethod
    def identity(self):
        """What fixes the vectors, for the store: JSON-able."""

    def encode(self, prepared):
        """Vectors of prepared images.

        Parameters
        ----------
        prepared : sequence of numpy.ndarray
            As `prepare` returns them.

        Returns
        -------
        numpy.ndarray
            (rows, d) float32, or (rows, tokens, d) where the spec asks for tokens. Where a batch does not
            fit on the device, its halves are tried.
        """
        import torch

        if not len(prepared):
            return np.empty((0, self.d), np.float32)
        shapes = [one.shape for one in prepared]
        if len(set(shapes)) > 1:
            return self._encode_by_shape(prepared, shapes)
        pixels = torch.from_numpy(np.stack(prepared))
        try:
            with torch.inference_mode(), self.autocast():
                vectors = self.vectors(pixels.to(self.device, non_blocking=True))
                return vectors.float().cpu().numpy()
        except torch.OutOfMemoryError:
            if len(prepared) == 1:
                raise
            half = len(prepared) // 2
        torch.cuda.empty_cache()
        return np.concatenate([self.encode(prepared[:half]), self.encode(prepared[half:])])

    def _encode_by_shape(self, prepared, shapes):
        """The same of images of several shapes, which cannot be in one tensor."""
        found = [np.empty(0)] * len(shapes)
        for shape in dict.fromkeys(shapes):
            places = [place for place, one in enumerate(shapes) if one == shape]
            vectors = self.encode([prepared[place] for place in places])
            for place, vector in zip(places, vectors, strict=True):
                found[place] = vector
        return np.stack(found)

    def outputs(self, prepared):
        """Pooled outputs of a few prepared images, (rows, e) float32: see `output`."""
        import torch

        with torch.inference_mode(), self.autocast():
            return self.output(torch.from_numpy(np.stack(prepared)).to(self.device)).float().cpu().numpy()

    def encode_texts(self, texts, batch_size=256):
        """Vectors of texts.

        Parameters
        ----------
        texts : sequence of str
        batch_size : int

        Returns
        -------
        numpy.ndarray
            (texts, e) float32.
        """
        import torch

        parts = []
        firsts, n = range(0, len(texts), batch_size), len(texts)
        for start in counted_by(firsts, n, lambda first: min(batch_size, n - first)):
            with torch.inference_mode(), self.autocast():
                parts.append(self.text_vectors(list(texts[start : start + batch_size])).float().cpu().numpy())
        return np.concatenate(parts)

    def autocast(self):
        """Where matrix products run in the precision asked for."""
        import torch

        if self.dtype == torch.float32:
            return contextlib.nullcontext()
        return torch.autocast(self.device.type, dtype=self.dtype)

    def batch_size(self, tokens, width):
        """Images that one forward pass should take on this device."""
        import torch

        if self.device.type != "cuda":
            return EMBED_CPU_BATCH
        free, _ = torch.cuda.mem_get_info(self.device)
        each = EMBED_ACTIVATIONS * tokens * width * self.dtype.itemsize + 3 * 4 * self.image_size**2
        fits = max(1, int(EMBED_MEMORY_SHARE * free / each))
        return int(np.clip(2 ** int(np.log2(fits)), *EMBED_BATCH))

    @abc.abstractmethod
    def default_batch(self):
        """`batch_size` for this model."""


def choose_device(name):
    """The device of that name; CUDA or Apple's, if there is one, for "auto"."""
    import torch

    if name != "auto":
        try:
            device = torch.device(name)
            torch.empty(1, device=device)
        except (RuntimeError, AssertionError) as error:
            raise ValueError(f"device={name!r} cannot be used here ({first_line(error)})") from error
        return device
    if torch.cuda.is_available():
        return torch.device("cuda")
    if torch.backends.mps.is_available():
        return torch.device("mps")
    return torch.device("cpu")


def choose_dtype(precision, device):
    """The dtype of matrix products: half on graphics cards, single on processors."""
    import torch

    if precision != "auto":
        return getattr(torch, precision)
    if device.type == "cuda":
        return torch.bfloat16 if torch.cuda.is_bf16_supported() else torch.float16
    return torch.float32


def pool(pooling, prefix, patches):
    """One vector an image from its tokens.

    Parameters
    ----------
    pooling : {"cls", "mean", "cls+mean"}
    prefix : torch.Tensor
        (rows, tokens that are no patches, width), the class token first.
    patches : torch.Tensor
        (rows, patches, width).
    """
    import torch

    if pooling == "cls":
        return prefix[:, 0]
    mean = patches.mean(1)
    return mean if pooling == "mean" else torch.cat([prefix[:, 0], mean], 1)


def vectors_of(spec, prefix, patches):
    """What a `ModelSpec` asks for of the tokens of a layer: see `pool`, or tokens (rows, tokens, width)."""
    import torch

    if spec.tokens is None:
        return pool(spec.pooling, prefix, patches)
    return patches if spec.tokens == "patches" else torch.cat([prefix[:, :1], patches], 1)


def side_by_side(parts):
    """Vectors of several layers as one."""
    import torch

    return parts[0] if len(parts) == 1 else torch.cat(parts, -1)


def check_pooling(pooling, n_prefix, name, tokens=None):
    """Refuse a class token where the model has none."""
    if tokens == "cls+patches" and not n_prefix:
        raise ValueError(f"tokens={tokens!r}, but {name} has no class token; use 'patches'")
    if pooling in ("cls", "cls+mean") and not n_prefix:
        raise ValueError(f"pooling={pooling!r}, but {name} has no class token; use 'pooled' or 'mean'")


def check_layers(layer, n_layers, name):
    """Hidden layers, of one or several, each counted from the front."""
    layers = [check_layer(one, n_layers, name) for one in (layer if isinstance(layer, tuple) else (layer,))]
    if len(set(layers)) < len(layers):
        raise ValueError(f"layer={list(layer)} names a layer of {name} twice; all must differ")
    return layers


def check_layer(layer, n_layers, name):
    """A hidden layer counted from the front."""
    if not -n_layers - 1 <= layer <= n_layers:
        raise ValueError(f"layer={layer}, but {name} has {n_layers} blocks; it must be at most {n_layers}")
    return layer if layer >= 0 else n_layers + 1 + layer


def input_embedding(module, name):
    """The layer of a text model that gives every token its vector.

    Parameters
    ----------
    module : torch.nn.Module
        Of transformers, open_clip, or the first of sentence_transformers, which may hold one of transformers.
    name : str
        Of the model, for the refusal.

    Returns
    -------
    torch.nn.Embedding
    """
    import torch

    for holder in (module, *(getattr(module, key, None) for key in ("auto_model", "transformer"))):
        found = getattr(holder, "token_embedding", None)
        if found is None and hasattr(holder, "get_input_embeddings"):
            found = holder.get_input_embeddings()
        if isinstance(found, torch.nn.Embedding):
            return found
    raise ValueError(f"model {name!r} shows no layer that gives tokens their vectors")
