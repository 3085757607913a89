"""Learning a dictionary: from an array to a result."""

CHECKPOINT_EVERY = 16
"""Rounds between two checkpoints within a pass."""
