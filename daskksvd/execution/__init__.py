"""Where tasks run: threads of this process, or a Dask cluster."""

from .cluster import ClusterRunner
from .executor import NOTHING, Blueprint, Once, WorkersLost, given
from .threads import ThreadRunner
from .watching import WORKER_TIMEOUT, check_timeout

__all__ = [
    "NOTHING",
    "WORKER_TIMEOUT",
    "Blueprint",
    "ClusterRunner",
    "Once",
    "ThreadRunner",
    "WorkersLost",
    "given",
    "make_runner",
]


def make_runner(client=None, n_threads=None, worker_timeout=WORKER_TIMEOUT):
    """A runner on ``client``, or on local threads if there is none."""
    worker_timeout = check_timeout(worker_timeout)
    if client is None:
        return ThreadRunner(n_threads)
    return ClusterRunner(client, worker_timeout)
