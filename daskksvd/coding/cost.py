"""Work and memory that coding takes, of every row, task and process."""

from .products import BLOCK_BYTES, BLOCK_ROWS, FLOAT_GRAM_ATOMS


def task_bytes(
    m: int, width: int, itemsize: int, chunk_bytes: int, block_row_bytes: int, statistics: int
) -> int:
    """Most memory that one task takes, in bytes.

    A chunk as stored and as read, a block of prepared rows and its
    correlations, the directions of two rows' supports, and the statistics: one
    partial result of its own and, in double precision, one sum and the part
    being added to it.

    Parameters
    ----------
    m, width, itemsize : int
        Atoms, most nonzeros a row, and bytes of a number of the computation.
    chunk_bytes, block_row_bytes : int
        Of the largest chunk, and of one block of prepared rows.
    statistics : int
        Numbers in one partial result.
    """
    block = max(BLOCK_BYTES, BLOCK_ROWS[0] * m * itemsize) + 2 * width * m * itemsize
    return 2 * chunk_bytes + block + 2 * block_row_bytes + statistics * (2 * itemsize + 8)


def process_bytes(m: int, d: int, itemsize: int) -> int:
    """Memory that a process needs for a dictionary, its Gram matrix and its rounded atoms.

    Products that the matrix is filled from take less in every thread than its task later.
    """
    atoms = m * d * (itemsize + 2)
    if m <= FLOAT_GRAM_ATOMS:
        return m * m * (itemsize + 2) + atoms
    return 2 * m * m + atoms


def row_flops(m: int, d: int, width: int) -> int:
    """Operations that coding a row takes, about: its correlations, and ``width`` steps of pursuit."""
    return 2 * m * d + m * width * (width + 3)
