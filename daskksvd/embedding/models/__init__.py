"""Vision and text models behind one interface: an image in, one vector out."""

from .base import POOLINGS, PRECISIONS, Encoder, ModelSpec
from .loading import cached_encoder, check_spec, forget_encoder, load_encoder

__all__ = [
    "POOLINGS",
    "PRECISIONS",
    "Encoder",
    "ModelSpec",
    "cached_encoder",
    "check_spec",
    "forget_encoder",
    "load_encoder",
]
