"""Ways to update a dictionary: after every mini-batch, after every pass, or atom by atom (K-SVD)."""

from .batch import ClosingPasses, FullPasses
from .ksvd import KSVDPasses
from .online import Waves

UPDATES = {"online": (Waves, ClosingPasses), "batch": (FullPasses,), "ksvd": (KSVDPasses,)}
"""The kinds of passes that each way makes, in their order."""
