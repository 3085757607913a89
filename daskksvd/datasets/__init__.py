"""Data to try things on, made where it is used."""

from .planted import Planted, make_planted, recovered_atoms
from .scenes import Scene, Scenes, make_scenes

__all__ = ["Planted", "Scene", "Scenes", "make_planted", "make_scenes", "recovered_atoms"]
