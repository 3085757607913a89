"""ViSAEBench: a folder of ``config.json`` and ``model.safetensors`` or ``sae.pt``."""

from __future__ import annotations

import os
from typing import Any

import numpy as np

from ..parts import Autoencoder
from ..tensors import load_safetensors, load_torch, read_json, save_safetensors, tensor, whole, write_json
from . import overcomplete

CONFIG, WEIGHTS = "config.json", "model.safetensors"

OTHER_WEIGHTS = ("sae.pt", "model.pt")


def write(place: str, architecture: str, parts: Autoencoder, metadata: dict[str, Any]) -> None:
    """Write a folder for ``visaebench.load_sae``.

    Parameters
    ----------
    place : str
        Of a folder to be made.
    architecture : {"topk", "jumprelu"}
    parts : Autoencoder
    metadata : dict
        Added to the configuration.
    """
    assert parts.encoder is not None and parts.bias is not None
    s, d = parts.decoder.shape
    os.mkdir(place)
    config = {"activation": architecture, "input_dim": d, "hidden_dim": s, "k": parts.k, **metadata}
    write_json(config, os.path.join(place, CONFIG))
    tensors = {
        "encoder.weight": np.ascontiguousarray(parts.encoder.T),
        "encoder.bias": (parts.bias - parts.offset @ parts.encoder).astype(np.float32),
        "decoder.weight": parts.decoder,
        "decoder.bias": parts.offset,
    }
    if architecture == "jumprelu":
        tensors["jump_thresholds"] = np.full(s, parts.threshold, np.float32)
    save_safetensors(tensors, os.path.join(place, WEIGHTS))


def is_at(path: str) -> bool:
    """Whether a folder is one of ViSAEBench."""
    return os.path.isfile(os.path.join(path, CONFIG)) and _weights(path) is not None


def _weights(path):
    names = (WEIGHTS, *OTHER_WEIGHTS)
    return next((name for name in names if os.path.isfile(os.path.join(path, name))), None)


def read(path: str) -> Autoencoder:
    """What a folder holds, in either convention of names."""
    config = read_json(os.path.join(path, CONFIG))
    place = os.path.join(path, _weights(path))
    if place.endswith(".safetensors"):
        tensors = load_safetensors(place)
    else:
        with open(place, "rb") as file:
            tensors = load_torch(file.read(), place)
    about = {"format": "visaebench", "architecture": str(config.get("activation"))}
    return of_state(tensors, place)._replace(k=whole(config, "k", path), about=about)


def of_state(tensors: dict[str, np.ndarray], path: str) -> Autoencoder:
    """What the tensors of either convention are."""
    if overcomplete.WEIGHTS in tensors:
        return overcomplete.of_state(tensors, path)
    decoder = tensor(tensors, "decoder.weight", (None, None), path)
    encoder = tensor(tensors, "encoder.weight", (None, None), path).T
    if decoder.shape[::-1] != encoder.shape:
        raise ValueError(
            f"path={path!r}: 'decoder.weight' has shape {decoder.shape}; it must be that of "
            f"'encoder.weight', {encoder.shape[::-1]}"
        )
    s, d = decoder.shape
    bias = tensor(tensors, "encoder.bias", (s,), path)
    offset = np.zeros(d, np.float32)
    if "decoder.bias" in tensors:
        offset = tensor(tensors, "decoder.bias", (d,), path)
    return Autoencoder(decoder, offset, encoder, bias + offset @ encoder)
