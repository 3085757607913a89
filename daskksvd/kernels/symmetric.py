"""Symmetric matrices."""

from .jit import kernel

_TILE = 16  # numbers of a cache line of single precision: each line is read and written once a tile


@kernel
def mirror(matrix, start, stop):
    """Put what some rows of a square matrix have below the diagonal above it, too."""
    for top in range(start, stop, _TILE):
        bottom = min(top + _TILE, stop)
        for left in range(0, bottom, _TILE):
            for i in range(top, bottom):
                for j in range(left, min(left + _TILE, i)):
                    matrix[j, i] = matrix[i, j]
