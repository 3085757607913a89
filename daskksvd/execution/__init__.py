"""Where tasks run: threads of this process, or a Dask cluster."""

from .cluster import ClusterExecutor
from .executor import Blueprint, Executor, Once, WorkersLost, given
from .ordered import in_flight, in_order
from .threads import ThreadExecutor
from .watching import WORKER_TIMEOUT, check_timeout

__all__ = [
    "WORKER_TIMEOUT",
    "Blueprint",
    "ClusterExecutor",
    "Executor",
    "Once",
    "ThreadExecutor",
    "WorkersLost",
    "given",
    "in_flight",
    "in_order",
    "make_executor",
]


def make_executor(client=None, n_threads=None, worker_timeout=WORKER_TIMEOUT):
    """An executor on ``client``, or on local threads if there is none."""
    worker_timeout = check_timeout(worker_timeout)
    if client is None:
        return ThreadExecutor(n_threads)
    return ClusterExecutor(client, worker_timeout)
