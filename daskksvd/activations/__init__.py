"""Activations that other tools have written, as rows to learn from; nothing in them is ever run."""

from .opening import Activations, open_activations

__all__ = ["Activations", "open_activations"]
