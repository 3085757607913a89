"""Rows to codes: the sparse coding step, the same code on every scheduler."""

from .coder import SparseCoder
from .formats import codes_to_coo, reconstruct
from .oneshot import OneShot
from .products import (
    Codes,
    Products,
    check_finite,
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
    "OneShot",
    "Products",
    "SparseCoder",
    "SparsityTarget",
    "check_finite",
    "code_block",
    "code_blocks",
    "code_rows",
    "codes_to_coo",
    "iterate_blocks",
    "join_codes",
    "make_products",
    "reconstruct",
]
