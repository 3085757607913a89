"""What must not be left on a cluster."""

import time

from daskksvd.execution import executor as base
from daskksvd.machine.buffers import lender


def kept():
    """What the process that is asked keeps for later tasks."""
    return len(base._made) + len(lender._free)


def tasks(dask_scheduler):
    return sorted(str(key) for key in dask_scheduler.tasks)


def assert_nothing_left(client, but=()):
    """No tasks on the scheduler but those with such a name, and nothing in the workers' caches."""
    end = time.monotonic() + 60  # what a client lets go of is let go of a moment later
    while True:
        left = [key for key in client.run_on_scheduler(tasks) if not any(name in key for name in but)]
        memory = client.run(kept)
        if not left and not any(memory.values()):
            return
        assert time.monotonic() < end, (left[:5], len(left), memory)
        time.sleep(0.1)
