"""Rows to codes: the sparse coding step, the same code on every scheduler."""

from .coder import SparseCoder
from .codes import Coded, Codes, join_codes
from .formats import codes_to_coo, reconstruct
from .oneshot import OneShot
from .products import (
    Products,
    check_finite,
    code_block,
    code_blocks,
    code_rows,
    iterate_blocks,
    make_products,
)
from .target import SparsityTarget

__all__ = [
    "Coded",
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
