"""Files of other packages to arrays, whichever package they are of."""

from __future__ import annotations

import os

from .layouts import overcomplete, saelens, saev, visaebench
from .parts import Autoencoder
from .tensors import load_safetensors, load_torch


def read(path: str) -> Autoencoder:
    """The weights of an autoencoder, of any of the layouts; nothing is ever unpickled but tensors.

    Parameters
    ----------
    path : str
        Of a folder of SAELens or ViSAEBench, a file of saev, or a state_dict of overcomplete.

    Raises
    ------
    FileNotFoundError
    ValueError
        If it is none of them, or damaged; the message says what was found.
    """
    if not os.path.exists(path):
        raise FileNotFoundError(f"path={path!r}: there is nothing")
    if os.path.isdir(path):
        for layout in (saelens, visaebench):
            if layout.is_at(path):
                return layout.read(path)
        found = ", ".join(sorted(os.listdir(path))[:8]) or "nothing"
        raise ValueError(
            f"path={path!r} is a folder with {found}; one of SAELens has {saelens.CONFIG} and "
            f"{saelens.WEIGHTS}, one of ViSAEBench {visaebench.CONFIG} and {visaebench.WEIGHTS} or sae.pt"
        )
    if path.endswith(".safetensors"):
        return _of_state(load_safetensors(path), path)
    if saev.is_at(path):
        return saev.read(path)
    with open(path, "rb") as file:
        return _of_state(load_torch(file.read(), path), path)


def _of_state(tensors, path):
    """What a file of tensors alone is, by their names."""
    if overcomplete.WEIGHTS in tensors or "decoder.weight" in tensors:
        found = visaebench.of_state(tensors, path)
        return found._replace(about=found.about or {"format": "visaebench"})
    have = ", ".join(sorted(tensors)) or "nothing"
    raise ValueError(
        f"path={path!r} has the tensors {have[:200]}; of overcomplete it has {overcomplete.WEIGHTS!r}, of "
        "ViSAEBench 'encoder.weight' and 'decoder.weight'"
    )
