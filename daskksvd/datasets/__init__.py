"""Data to try things on, made where it is used."""

from .planted import Planted, make_planted, recovered_atoms

__all__ = ["Planted", "make_planted", "recovered_atoms"]
