"""Overcomplete 0.3: the state_dict of an ``MpSAE`` or a ``TopKSAE``, in a file of PyTorch."""

from __future__ import annotations

from typing import Any

import numpy as np

from ..parts import Autoencoder
from ..tensors import tensor, torch_bytes

WEIGHTS, MULTIPLIER = "dictionary._weights", "dictionary.multiplier"
ENCODER, BIAS = "encoder.final_block.0.weight", "encoder.final_block.0.bias"


def write(place: str, architecture: str, parts: Autoencoder, metadata: dict[str, Any]) -> None:
    """Write a file for ``MpSAE(d, s, k).load_state_dict(torch.load(place))``, or for a ``TopKSAE``.

    The package has no offset, and the multiplier is the logarithm of one. Atoms of ``MpSAE`` have unit norms,
    its own. Those of ``TopKSAE(d, s, k, dictionary_params={"normalization": "identity"})`` have the gains of
    the encoder for norms: the package would take them away without that argument.

    Parameters
    ----------
    place : str
    architecture : {"matching_pursuit", "topk"}
    parts : Autoencoder
    metadata : dict
        Not kept by the format.

    Raises
    ------
    ValueError
        If rows are centred.
    """
    if parts.offset.any():
        raise ValueError(
            "result codes centred rows, and overcomplete has no offset; pass rows='transformed', "
            "and it rows of result.coder.transformed(rows)"
        )
    tensors: dict[str, np.ndarray | float] = {WEIGHTS: parts.decoder, MULTIPLIER: 0.0}
    if architecture == "topk":
        assert parts.encoder is not None and parts.bias is not None
        tensors |= {ENCODER: np.ascontiguousarray(parts.encoder.T), BIAS: parts.bias}
    with open(place, "wb") as file:
        file.write(torch_bytes(tensors))


def of_state(tensors: dict[str, np.ndarray], path: str) -> Autoencoder:
    """What a state_dict with a dictionary layer holds, and a linear encoder if there is one."""
    decoder = tensor(tensors, WEIGHTS, (None, None), path)
    s, d = decoder.shape
    if MULTIPLIER in tensors:
        decoder = decoder * np.exp(tensor(tensors, MULTIPLIER, (), path))
    about = {"format": "overcomplete", "architecture": "MpSAE"}
    offset = np.zeros(d, np.float32)
    if ENCODER not in tensors:
        return Autoencoder(decoder, offset, about=about)
    about["architecture"] = "linear encoder"
    encoder = tensor(tensors, ENCODER, (s, d), path).T
    bias = tensor(tensors, BIAS, (s,), path)
    return Autoencoder(decoder, offset, encoder, bias, about=about)
