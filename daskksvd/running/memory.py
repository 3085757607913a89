"""Compare what a fit needs with what there is, before it starts."""

import psutil

from ..constants import BLOCK_BYTES, MEMORY_SHARE, PROCESS_BYTES


def task_bytes(m, d, width, itemsize, chunk_bytes, block_row_bytes, statistics=True):
    """Most memory that one task takes, in bytes.

    A chunk as stored, a block of prepared rows and its correlations, the work
    space of the pursuit, and the statistics: one partial result of its own
    and, in double precision, one sum and the part being added to it.
    """
    size = chunk_bytes + BLOCK_BYTES + 3 * block_row_bytes + width * m * itemsize
    if statistics:
        size += (m * m + m * d) * (2 * itemsize + 8)
    return size


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
    """Memory free for this process."""
    return psutil.virtual_memory().available


def _gib(size):
    return f"{size / 2**30:.2f} GiB"
