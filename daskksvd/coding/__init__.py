"""Rows to codes: the sparse coding step, the same code on every scheduler."""

from .coder import SparseCoder
from .formats import codes_to_coo, reconstruct
from .products import (
    Codes,
    Products,
    code_block,
    code_blocks,
    code_rows,
    iterate_blocks,
    join_codes,
    make_products,
)
from .target import SparsityTarget

__all__ = [
    "Codes",
    "Products",
    "SparseCoder",
    "SparsityTarget",
    "code_block",
    "code_blocks",
    "code_rows",
    "codes_to_coo",
    "iterate_blocks",
    "join_codes",
    "make_products",
    "reconstruct",
]
