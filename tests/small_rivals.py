"""Autoencoders of other packages as their descriptions have them, in float64 NumPy."""

import json

import numpy as np
import torch
from safetensors.numpy import load_file


def relu(values):
    return np.maximum(values, 0)


def top(scores, k):
    """The k largest of every row; the others zero."""
    kept = np.zeros_like(scores)
    for row, out in zip(scores, kept, strict=True):
        best = np.argsort(-row)[:k]
        out[best] = row[best]
    return kept


def pursue(rows, atoms, k):
    """Matching pursuit without signs: k times the atom that correlates most, its product added."""
    codes, residual = np.zeros((len(rows), len(atoms))), rows.copy()
    for _ in range(k):
        products = residual @ atoms.T
        best = products.argmax(axis=1)
        values = relu(products[np.arange(len(rows)), best])
        codes[np.arange(len(rows)), best] += values
        residual -= values[:, None] * atoms[best]
    return codes


def saelens(path, rows):
    """Codes and rows made of them by a folder of SAELens."""
    config = json.loads((path / "cfg.json").read_text())
    weights = {
        name: value.astype(float) for name, value in load_file(path / "sae_weights.safetensors").items()
    }
    assert config["normalize_activations"] == "none" and config["apply_b_dec_to_input"]
    assert weights["W_dec"].shape == (config["d_sae"], config["d_in"])
    centred = rows - weights["b_dec"]
    if config["architecture"] == "matching_pursuit":
        assert config["residual_threshold"] == 0 and not config["stop_on_duplicate_support"]
        codes = pursue(centred, weights["W_dec"], config["max_iterations"])
    else:
        scores = centred @ weights["W_enc"] + weights["b_enc"]
        if config["architecture"] == "topk":
            codes = top(relu(scores), config["k"])
        else:
            codes = relu(scores) * (scores > weights["threshold"])
    return codes, codes @ weights["W_dec"] + weights["b_dec"]


def saev(path, rows):
    """The same of a file of saev."""
    with open(path, "rb") as file:
        header = json.loads(file.readline())
        weights = torch.load(file, weights_only=True)
    weights = {name: value.double().numpy() for name, value in weights.items()}
    config = header["cfg"]
    assert header["schema"] == 5 and weights["W_dec"].shape == (config["d_sae"], config["d_model"])
    scores = rows @ weights["W_enc"] + weights["b_enc"]
    if config["activation"]["cls"] == "TopK":
        codes = top(scores, config["activation"]["params"]["top_k"])
    else:
        codes = scores * (scores > weights["activation.threshold"])
    return codes, codes @ weights["W_dec"] + weights["b_dec"]


def visaebench(path, rows):
    """The same of a folder of ViSAEBench."""
    config = json.loads((path / "config.json").read_text())
    weights = {name: value.astype(float) for name, value in load_file(path / "model.safetensors").items()}
    scores = relu(rows @ weights["encoder.weight"].T + weights["encoder.bias"])
    assert scores.shape[1] == config["hidden_dim"] and rows.shape[1] == config["input_dim"]
    if config["activation"] == "topk":
        codes = top(scores, config["k"])
    else:
        codes = scores * (scores > weights["jump_thresholds"])
    return codes, codes @ weights["decoder.weight"] + weights["decoder.bias"]


def overcomplete(path, rows, k):
    """The same of the state of an ``MpSAE`` of overcomplete."""
    state = torch.load(path, weights_only=True)
    atoms = state["dictionary._weights"].double().numpy()
    atoms = (
        atoms / np.linalg.norm(atoms, axis=1, keepdims=True) * np.exp(float(state["dictionary.multiplier"]))
    )
    codes = pursue(rows, atoms, k)
    return codes, codes @ atoms
