"""Files of tensors: safetensors, and those of PyTorch, of which no code is ever run."""

from __future__ import annotations

import io
import json
import math
import os
from typing import Any

import numpy as np

MOST_JSON = 2**24
"""Bytes of a configuration that are read; real ones have a thousand."""


def torch_library():
    """PyTorch, which is imported late.

    Raises
    ------
    ImportError
        That says what to install.
    """
    try:
        import torch
    except ImportError as error:
        raise ImportError(
            "files of autoencoders are read and written with PyTorch; pip install 'daskksvd[embed]' brings it"
        ) from error
    return torch


def save_safetensors(tensors: dict[str, np.ndarray], path: str) -> None:
    """Write arrays of float32 by name."""
    try:
        from safetensors.numpy import save_file
    except ImportError as error:
        raise ImportError("this format needs safetensors; pip install 'daskksvd[embed]' brings it") from error
    save_file(tensors, path)


def load_safetensors(path: str) -> dict[str, np.ndarray]:
    """Arrays of float32 by name.

    Raises
    ------
    ValueError
        If the file is not whole, or no file of safetensors.
    """
    torch_library()
    from safetensors import SafetensorError, safe_open

    try:
        with safe_open(path, framework="pt") as file:
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
            return _plain(tensors, path, os.path.getsize(path))
    except (SafetensorError, RuntimeError, OSError) as error:
        raise ValueError(f"path={path!r} is no whole safetensors file ({_said(error)})") from error


def torch_bytes(tensors: dict[str, np.ndarray | float]) -> bytes:
    """Arrays by name as `torch.save` writes a state_dict."""
    torch = torch_library()
    buffer = io.BytesIO()
    torch.save({name: torch.tensor(value) for name, value in tensors.items()}, buffer)
    return buffer.getvalue()


def load_torch(content: bytes, path: str) -> dict[str, np.ndarray]:
    """Arrays of float32 of a state_dict; a file that would run code is refused.

    Raises
    ------
    ValueError
        If it has anything but tensors, or is damaged.
    """
    torch = torch_library()
    try:
        state = torch.load(io.BytesIO(content), map_location="cpu", weights_only=True)
    except Exception as error:  # of many kinds, of the zip file, the pickle and what it asks for
        raise ValueError(
            f"path={path!r} is no state_dict of PyTorch that holds tensors alone ({_said(error)})"
        ) from error
    if not isinstance(state, dict):
        raise ValueError(f"path={path!r} holds a {type(state).__name__}; it must be a state_dict of PyTorch")
    tensors = {name: value for name, value in state.items() if isinstance(value, torch.Tensor)}
    return _plain(tensors, path, len(content))


def _plain(tensors, path, size):
    """Arrays of float32 of tensors in so many bytes, of which views may say that they are more."""
    arrays = {}
    total = 0
    for name, tensor in tensors.items():
        if not tensor.is_floating_point():
            continue
        total += tensor.numel()
        if total > size:
            raise ValueError(
                f"path={path!r}: tensors up to {name!r} say that they have {total:,} numbers; the file has "
                f"{size:,} bytes"
            )
        try:
            array = tensor.detach().to_dense().float().numpy()
        except (RuntimeError, NotImplementedError) as error:
            raise ValueError(f"path={path!r}: {name!r} cannot be read ({_said(error)})") from error
        if not np.isfinite(array).all():
            raise ValueError(f"path={path!r}: {name!r} has NaN or infinite values; all must be finite")
        arrays[str(name)] = array
    return arrays


def _said(error):
    """The first line of what a library said."""
    return (str(error).strip().splitlines() or [type(error).__name__])[0][:200]


def load_json(content: bytes, path: str) -> dict[str, Any]:
    """A JSON object.

    Raises
    ------
    ValueError
        If it is none.
    """
    try:
        value = json.loads(content)
    except (ValueError, RecursionError) as error:
        raise ValueError(f"path={path!r} is not JSON ({_said(error)})") from error
    if not isinstance(value, dict):
        raise ValueError(f"path={path!r} has JSON that is a {type(value).__name__}; it must be an object")
    return value


def read_json(path: str) -> dict[str, Any]:
    """The JSON object in a file; see `load_json`."""
    if os.path.getsize(path) > MOST_JSON:
        raise ValueError(f"path={path!r} has {os.path.getsize(path):,} bytes; a configuration has a thousand")
    with open(path, "rb") as file:
        return load_json(file.read(), path)


def write_json(value: dict[str, Any], path: str) -> None:
    """Write a JSON object."""
    with open(path, "w", encoding="utf-8") as file:
        json.dump(value, file, indent=2)
        file.write("\n")


def tensor(tensors: dict[str, np.ndarray], name: str, shape: tuple[int | None, ...], path: str) -> np.ndarray:
    """One of the arrays, of a shape in which None is any size.

    Raises
    ------
    ValueError
        If it is not there, or has another shape.
    """
    if name not in tensors:
        have = ", ".join(sorted(tensors)) or "nothing"
        raise ValueError(f"path={path!r} has no tensor {name!r}; it has {have[:200]}")
    array = tensors[name]
    fits = len(array.shape) == len(shape) and all(
        size is None or size == found for size, found in zip(shape, array.shape, strict=True)
    )
    if not fits or math.prod(array.shape) == 0:
        wanted = " x ".join("any" if size is None else str(size) for size in shape) or "one number"
        raise ValueError(f"path={path!r}: {name!r} has shape {array.shape}; it must be {wanted}")
    return array


def whole(config: dict[str, Any], name: str, path: str) -> int | None:
    """A positive whole number of a configuration, None where it has none.

    Raises
    ------
    ValueError
        If there is something else.
    """
    value = config.get(name)
    if value is None:
        return None
    if isinstance(value, bool) or not isinstance(value, (int, float)) or value != value or value < 1:
        raise ValueError(f"path={path!r}: {name} is {value!r}; it must be a positive whole number")
    return round(value) if value < 2**31 else 2**31
