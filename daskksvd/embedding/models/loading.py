"""From the name of a model to an encoder, loaded once in a process."""

import contextlib
import importlib
import importlib.util
import json
import os
import threading

from ..layout import check_tokens
from .base import POOLINGS, PRECISIONS, ModelSpec

_LIBRARIES = {
    "transformers": ("huggingface", "HuggingFaceEncoder", "embed"),
    "open_clip": ("openclip", "OpenClipEncoder", "open-clip"),
    "sentence_transformers": ("sentences", "SentenceEncoder", "sentences"),
    "transformers_text": ("plain_text", "TextModelEncoder", "embed"),
}
"""Module and class of the encoder, and the extra that installs the library."""

TEXTS_ONLY = ("sentence_transformers", "transformers_text")
"""Those that see no images."""

_loaded: dict = {}
_loading = threading.Lock()


def check_spec(
    model,
    *,
    pretrained=None,
    revision=None,
    pooling="pooled",
    layer=None,
    resize=None,
    precision="auto",
    device="auto",
    tokens=None,
):
    """A `ModelSpec` from arguments, checked as far as names go; see `daskksvd.embed`.

    Raises
    ------
    TypeError, ValueError
        If an argument is not one of those allowed.
    ImportError
        If the library is not installed.
    """
    if not isinstance(model, (str, os.PathLike)):
        raise TypeError(f"model is a {type(model).__name__}; it must be a name or the path of a folder")
    name = os.fspath(model)
    library, found, rest = name.partition(":")
    # a drive letter is no library
    if found and len(library) > 1:
        if library not in _LIBRARIES:
            raise ValueError(f"model={name!r}; before the colon it must be one of {', '.join(_LIBRARIES)}")
        name = rest
    else:
        library = "transformers"
    if not name:
        raise ValueError("model is empty; it must be a name or the path of a folder")
    if name == "scenes" and library == "transformers":
        from ...datasets.scenes import MODEL_FOLDER

        name = os.fspath(MODEL_FOLDER)
    for key, value, allowed in (("pooling", pooling, POOLINGS), ("precision", precision, PRECISIONS)):
        if value not in allowed:
            raise ValueError(f"{key}={value!r}; it must be one of {', '.join(map(repr, allowed))}")
    if pretrained is not None and library != "open_clip":
        raise ValueError(
            f"pretrained={pretrained!r} goes with open_clip models; a {library} model has its own weights"
        )
    layer = _check_layer(layer)
    check_tokens(tokens, pooling)
    if tokens == "cls":  # which is one vector an image
        pooling, tokens = "cls", None
    if layer is not None and pooling == "pooled" and tokens is None:
        said = list(layer) if isinstance(layer, tuple) else layer
        raise ValueError(
            f"layer={said} goes with pooling 'cls', 'mean' or 'cls+mean': only the output is pooled"
        )
    if (
        resize is not None
        and resize is not False
        and (isinstance(resize, bool) or not isinstance(resize, int) or resize < 1)
    ):
        raise ValueError(f"resize={resize!r}; it must be a number of pixels, or False")
    if importlib.util.find_spec(library.removesuffix("_text")) is None:
        extra = _LIBRARIES[library][2]
        raise ImportError(
            f"{library.removesuffix('_text')} is not installed; pip install 'daskksvd[{extra}]' brings it"
        )
    return ModelSpec(library, name, pretrained, revision, pooling, layer, resize, precision, device, tokens)


def _check_layer(layer):
    """A layer, or several, as a number or a tuple of numbers."""
    if layer is None:
        return None
    layers = tuple(layer) if isinstance(layer, (list, tuple, range)) else (layer,)
    if any(isinstance(one, bool) or not isinstance(one, int) for one in layers):
        raise TypeError(f"layer is {layer!r}; it must be a whole number, several, or None for the output")
    if not layers:
        raise ValueError("layer is empty; it must name one hidden layer at least")
    return layers if len(layers) > 1 else layers[0]


def check_text_spec(model, **options):
    """The same for a model that is to read texts.

    A folder says of itself whether it holds a sentence encoder, or a model that sees no images.
    """
    spec = check_spec(model, **options)
    if spec.library != "transformers" or not os.path.isdir(spec.name):
        return spec
    if os.path.isfile(os.path.join(spec.name, "modules.json")):
        prefix = "sentence_transformers"
    else:
        config = {}
        with contextlib.suppress(OSError, ValueError), open(os.path.join(spec.name, "config.json")) as file:
            config = json.load(file)
        sees = not isinstance(config, dict) or not config or {"vision_config", "patch_size"} & config.keys()
        prefix = "transformers" if sees else "transformers_text"
    return check_spec(f"{prefix}:{spec.name}", **options)


def load_encoder(spec):
    """Load the model that a `ModelSpec` names."""
    module, name, _ = _LIBRARIES[spec.library]
    return getattr(importlib.import_module(f".{module}", __package__), name)(spec)


def cached_encoder(spec):
    """The encoder, loaded once in a process: loading takes seconds."""
    with _loading:
        if spec not in _loaded:
            _loaded.clear()  # one at a time: they are large
            _loaded[spec] = load_encoder(spec)
        return _loaded[spec]


def forget_encoder(spec):
    """Let go of an encoder, if it is the one that is kept."""
    with _loading:
        _loaded.pop(spec, None)
