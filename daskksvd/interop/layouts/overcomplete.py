"""Overcomplete 0.3: the state_dict of an ``MpSAE``, in a file of PyTorch."""

from __future__ import annotations

from typing import Any

import numpy as np

from ..parts import Autoencoder
from ..tensors import tensor, torch_bytes

WEIGHTS, MULTIPLIER = "dictionary._weights", "dictionary.multiplier"


def write(place: str, architecture: str, parts: Autoencoder, metadata: dict[str, Any]) -> None:
    """Write a file for ``MpSAE(d, s, k).load_state_dict(torch.load(place))``.

    The package has no offset, and its unit norms are its own: the multiplier is the logarithm of one.

    Raises
    ------
    ValueError
        If rows are centred.
    """
    if parts.offset.any():
        raise ValueError(
            "result codes centred rows, and MpSAE of overcomplete has no offset; pass rows='transformed', "
            "and it rows of result.coder.transformed(rows)"
        )
    with open(place, "wb") as file:
        file.write(torch_bytes({WEIGHTS: parts.decoder, MULTIPLIER: 0.0}))


def of_state(tensors: dict[str, np.ndarray], path: str) -> Autoencoder:
    """What a state_dict with a dictionary layer holds, and a linear encoder if there is one."""
    decoder = tensor(tensors, WEIGHTS, (None, None), path)
    s, d = decoder.shape
    if MULTIPLIER in tensors:
        decoder = decoder * np.exp(tensor(tensors, MULTIPLIER, (), path))
    about = {"format": "overcomplete", "architecture": "MpSAE"}
    offset = np.zeros(d, np.float32)
    if "encoder.final_block.0.weight" not in tensors:
        return Autoencoder(decoder, offset, about=about)
    about["architecture"] = "linear encoder"
    encoder = tensor(tensors, "encoder.final_block.0.weight", (s, d), path).T
    bias = tensor(tensors, "encoder.final_block.0.bias", (s,), path)
    return Autoencoder(decoder, offset, encoder, bias, about=about)
