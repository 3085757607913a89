"""Rows to codes: the sparse coding step, the same code on every scheduler."""

from .coder import Coder, Codes, Stopping, code_block, code_blocks, iterate_blocks, join_codes, make_coder
from .formats import codes_to_coo, reconstruct

__all__ = [
    "Coder",
    "Codes",
    "Stopping",
    "code_block",
    "code_blocks",
    "codes_to_coo",
    "iterate_blocks",
    "join_codes",
    "make_coder",
    "reconstruct",
]
