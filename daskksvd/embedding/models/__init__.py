"""Vision and text models behind one interface: an image in, one vector out."""

from .base import POOLINGS, PRECISIONS, Encoder, ModelSpec
from .loading import (
    TEXTS_ONLY,
    cached_encoder,
    check_spec,
    check_text_spec,
    forget_encoder,
    load_encoder,
)

__all__ = [
    "POOLINGS",
    "PRECISIONS",
    "TEXTS_ONLY",
    "Encoder",
    "ModelSpec",
    "cached_encoder",
    "check_spec",
    "check_text_spec",
    "forget_encoder",
    "load_encoder",
]
