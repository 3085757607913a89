"""Compare what a fit needs with what there is, before it starts."""

import psutil

from .limits import memory_left

MEMORY_SHARE = 0.8
"""Share of a worker's memory limit that one fit may plan to use; the rest is
for the interpreter, the libraries and fragmentation."""

PROCESS_BYTES = 300 * 2**20
"""What a Python process with NumPy, Numba and Dask loaded takes by itself."""


def check_memory(executor, per_task, per_process, advice):
    """Raise `MemoryError` where a worker has less than its threads will need.

    Parameters
    ----------
    executor : Executor
    per_task, per_process : int
        Bytes, for every thread and for every worker.
    advice : str
        What the user can change.
    """
    for name, threads, limit in executor.memory():
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
