"""saev, schema 5: one file, a line of JSON and then a state_dict of PyTorch."""

from __future__ import annotations

import json
from typing import Any

import numpy as np

from ... import __version__
from ..parts import Autoencoder
from ..tensors import MOST_JSON, load_json, load_torch, tensor, torch_bytes, whole

SCHEMA = 5

_NO_SPARSITY = {"cls": "NoSparsity", "params": {"key": "no-sparsity"}}
_AUXILIARY = {"cls": "AuxK", "params": {"key": "auxk", "k_aux": 512, "alpha": 1 / 32}}

_ACTIVATIONS = {"topk": ("TopK", "top-k"), "jumprelu": ("BatchTopK", "batch-top-k")}
"""Names there; the batch's has one threshold for all when it is used."""


def write(place: str, architecture: str, parts: Autoencoder, metadata: dict[str, Any]) -> None:
    """Write a file for ``saev.nn.load``.

    Parameters
    ----------
    place : str
    architecture : {"topk", "jumprelu"}
        The second as ``BatchTopK`` with its threshold.
    parts : Autoencoder
    metadata : dict
        Not kept by the format.
    """
    assert parts.encoder is not None and parts.bias is not None
    s, d = parts.decoder.shape
    name, key = _ACTIVATIONS[architecture]
    params: dict[str, Any] = {"key": key, "top_k": parts.k, "sparsity": _NO_SPARSITY, "aux": _AUXILIARY}
    tensors: dict[str, np.ndarray | float] = {
        "W_dec": parts.decoder,
        "b_dec": parts.offset,
        "W_enc": parts.encoder,
        "b_enc": (parts.bias - parts.offset @ parts.encoder).astype(np.float32),
    }
    if architecture == "jumprelu":
        params["momentum"] = 0.1
        tensors["activation.threshold"] = parts.threshold
    config = {
        "d_model": d,
        "d_sae": s,
        "activation": {"cls": name, "params": params},
        "reinit_blend": 0.8,
        "reinit_enc_dec_tranpose": True,
        "remove_parallel_grads": True,
        "normalize_w_dec": True,
    }
    header = {"schema": SCHEMA, "cfg": config, "commit": "unknown", "lib": f"daskksvd {__version__}"}
    with open(place, "wb") as file:
        file.write(json.dumps(header).encode() + b"\n")
        file.write(torch_bytes(tensors))


def is_at(path: str) -> bool:
    """Whether a file begins with a line of JSON, as these do."""
    with open(path, "rb") as file:
        return file.read(1) == b"{"


def read(path: str) -> Autoencoder:
    """What a file holds, of this schema or an earlier one."""
    with open(path, "rb") as file:
        header = load_json(file.readline(MOST_JSON), path)
        tensors = load_torch(file.read(), path)
    schema = header.get("schema", 0)
    if not isinstance(schema, int) or schema > SCHEMA:
        raise ValueError(f"path={path!r} is of schema {schema!r} of saev; {SCHEMA} and earlier are read")
    decoder = tensor(tensors, "W_dec", (None, None), path)
    s, d = decoder.shape
    offset = tensor(tensors, "b_dec", (d,), path)
    encoder, bias = tensor(tensors, "W_enc", (d, s), path), tensor(tensors, "b_enc", (s,), path)
    if schema:  # before, rows were centred
        bias = bias + offset @ encoder
    config = header.get("cfg")
    activation = config.get("activation") if isinstance(config, dict) else None
    params = activation.get("params") if isinstance(activation, dict) else None
    k = whole(params, "top_k", path) if isinstance(params, dict) else None
    name = str(activation.get("cls")) if isinstance(activation, dict) else "Relu"
    return Autoencoder(decoder, offset, encoder, bias, k, about={"format": "saev", "architecture": name})
