"""SAELens 6: a folder of ``cfg.json`` and ``sae_weights.safetensors``."""

from __future__ import annotations

import os
from typing import Any

import numpy as np

from ..parts import Autoencoder
from ..tensors import load_safetensors, read_json, save_safetensors, tensor, whole, write_json

CONFIG, WEIGHTS = "cfg.json", "sae_weights.safetensors"

VERSION = "6.0.0"
"""Of the layout; SAELens takes a file without one for an old one."""

_COUNTS = ("k", "max_iterations", "n_nonzero_coefs")
"""What architectures call the number of latents of a row."""

MEAN_COUNT = "mean_nonzeros"
"""In the metadata of an export whose architecture has no such number, or only the most of a row."""

_ENDS = ("rtol", "threshold")
"""What ends a row of `PURSUIT` before it has as many."""

PURSUIT = "daskksvd_pursuit"
"""Architecture that `daskksvd.interop.saelens` registers."""


def write(place: str, architecture: str, parts: Autoencoder, metadata: dict[str, Any]) -> None:
    """Write a folder.

    Parameters
    ----------
    place : str
        Of a folder to be made.
    architecture : {"topk", "jumprelu", "matching_pursuit"}
    parts : Autoencoder
    metadata : dict
    """
    s, d = parts.decoder.shape
    extra: dict[str, Any] = {"k": parts.k, "rescale_acts_by_decoder_norm": False}
    tensors = {"W_dec": parts.decoder, "b_dec": parts.offset}
    if architecture == "matching_pursuit":
        extra = {"max_iterations": parts.k, "residual_threshold": 0.0, "stop_on_duplicate_support": False}
    else:
        assert parts.encoder is not None and parts.bias is not None
        tensors |= {"W_enc": parts.encoder, "b_enc": parts.bias}
    if architecture == "jumprelu":
        extra, metadata = {}, {MEAN_COUNT: parts.k, **metadata}
        tensors["threshold"] = np.full(s, parts.threshold, np.float32)
    write_folder(place, architecture, (d, s), extra, tensors, metadata)


def write_folder(
    place: str,
    architecture: str,
    sizes: tuple[int, int],
    extra: dict[str, Any],
    tensors: dict[str, np.ndarray],
    metadata: dict[str, Any],
) -> None:
    """Write the two files; ``sizes`` are those of rows and of codes, ``extra`` is of the architecture."""
    os.mkdir(place)
    config = {
        "architecture": architecture,
        "d_in": sizes[0],
        "d_sae": sizes[1],
        "dtype": "float32",
        "device": "cpu",
        "apply_b_dec_to_input": True,
        "normalize_activations": "none",
        "reshape_activations": "none",
        "metadata": {"sae_lens_version": VERSION, "sae_lens_training_version": None, **metadata},
        **extra,
    }
    write_json(config, os.path.join(place, CONFIG))
    save_safetensors(tensors, os.path.join(place, WEIGHTS))


def is_at(path: str) -> bool:
    """Whether a folder is one of SAELens."""
    return os.path.isfile(os.path.join(path, CONFIG)) and os.path.isfile(os.path.join(path, WEIGHTS))


def read(path: str) -> Autoencoder:
    """What a folder of any architecture with one linear decoder holds."""
    config = read_json(os.path.join(path, CONFIG))
    normalized = config.get("normalize_activations", "none")
    if normalized not in ("none", None, False):
        raise ValueError(
            f"path={path!r} is of rows that are normalised as they come (normalize_activations="
            f"{normalized!r}), which a dictionary does not do; it must be 'none'"
        )
    place = os.path.join(path, WEIGHTS)
    tensors = load_safetensors(place)
    decoder = tensor(tensors, "W_dec", (None, None), place)
    s, d = decoder.shape
    offset = tensor(tensors, "b_dec", (d,), place) if "b_dec" in tensors else np.zeros(d, np.float32)
    metadata = config.get("metadata")
    named = config | (metadata if isinstance(metadata, dict) else {})
    ends_sooner = any(config.get(name) for name in _ENDS)
    names = (MEAN_COUNT,) if ends_sooner else (*_COUNTS, MEAN_COUNT)
    k = next(filter(None, (whole(named, name, path) for name in names)), None)
    about = {"format": "saelens", "architecture": str(config.get("architecture"))}
    if "W_enc" not in tensors:
        return Autoencoder(decoder, offset, k=k, about=about)
    encoder = tensor(tensors, "W_enc", (d, s), place)
    bias = tensor(tensors, "b_enc", (s,), place) if "b_enc" in tensors else np.zeros(s, np.float32)
    if config.get("apply_b_dec_to_input", True) is not True:
        bias = bias + offset @ encoder
    if config.get("rescale_acts_by_decoder_norm") is True:
        norms = np.linalg.norm(decoder, axis=1)
        encoder, bias = encoder * norms, bias * norms
        decoder = decoder / np.where(norms > 0, norms, 1)[:, None]
    return Autoencoder(decoder, offset, encoder, bias, k, about=about)
