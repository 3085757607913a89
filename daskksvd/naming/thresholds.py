"""How much evidence a name needs."""

ATOM_USES = 20
"""Samples that must use an atom, or the minority side of one, for it to be named."""

JOINT_LEAST = 5
"""Samples in which an atom and the word that names it must meet."""

SIGNIFICANCE = 0.05
"""False discovery rate at which a word names an atom."""
