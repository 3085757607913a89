"""A small world of captioned scenes, whose concepts are known, and an encoder that learned from it."""

import pathlib

from .sequence import Scene, Scenes, make_scenes

__all__ = ["MODEL_FOLDER", "Scene", "Scenes", "make_scenes"]

MODEL_FOLDER = pathlib.Path(__file__).parent / "model"
"""A `transformers.CLIPModel` as ``save_pretrained`` stores it, trained by ``benchmarks/scenes_encoder``."""
