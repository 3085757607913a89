"""Atoms turned up, down or off, in rows and inside models.

A row x with the code z becomes ``x + decode(z') - decode(z)``: only what turned atoms say of it
changes, and what the code leaves unexplained stays. `rows` does it for arrays, `models` in a layer
of a model while it runs.
"""

from .models import Intervention, Tokens, find_output
from .rows import turn_rows
from .turn import Mode, Turn, as_turn

__all__ = ["Intervention", "Mode", "Tokens", "Turn", "as_turn", "find_output", "turn_rows"]
