"""Symmetric matrices."""

from .jit import kernel

_TILE = 16  # numbers of a cache line of single precision: each line is read and written once a tile


@kernel
def mirror(square):
    """Put the numbers below the diagonal of a square matrix above it, too."""
    p = len(square)
    for top in range(0, p, _TILE):
        for left in range(0, top + 1, _TILE):
            for i in range(top, min(top + _TILE, p)):
                for j in range(left, min(left + _TILE, i)):
                    square[j, i] = square[i, j]
