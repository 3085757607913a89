"""Compare what a fit needs with what there is, before it starts."""

import psutil

from ..constants import BLOCK_BYTES, BLOCK_ROWS, FLOAT_GRAM_ATOMS, MEMORY_SHARE, PROCESS_BYTES
from .limits import memory_left


def task_bytes(m, width, itemsize, chunk_bytes, block_row_bytes, statistics):
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


def coder_bytes(m, d, itemsize):
    """Memory that a process needs for a dictionary, its Gram matrix and its rounded atoms.

    Products that the matrix is filled from take less in every thread than its task later.
    """
    atoms = m * d * (itemsize + 2)
    if m <= FLOAT_GRAM_ATOMS:
        return m * m * (itemsize + 2) + atoms
    return 2 * m * m + atoms


def check_memory(runner, per_task, per_process, advice):
    """Raise `MemoryError` where a worker has less than its threads will need.

    Parameters
    ----------
    runner : Runner
    per_task, per_process : int
        Bytes, for every thread and for every worker.
    advice : str
        What the user can change.
    """
    for name, threads, limit in runner.memory():
        if not limit:
            continue
        needed = PROCESS_BYTES + per_process + threads * per_task
        if needed > MEMORY_SHARE * limit:
            raise MemoryError(
                f"{name} needs about {_gib(needed)} ({threads} thread{'s' if threads > 1 else ''} at "
                f"{_gib(per_task)} each, {_gib(per_process + PROCESS_BYTES)} for itself) and may use "
                f"{_gib(MEMORY_SHARE * limit)} of the {_gib(limit)} it has; {advice}"
            )


def available_bytes():
    """Memory free for this process: in the machine, and in its control groups."""
    free, left = psutil.virtual_memory().available, memory_left()
    return free if left is None else min(free, left)


def _gib(size):
    return f"{size / 2**30:.2f} GiB"
