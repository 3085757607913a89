"""Where tasks run: threads of this process, or a Dask cluster."""

from .base import Blueprint, Once, WorkersLost, given
from .cluster import ClusterRunner
from .threads import ThreadRunner

__all__ = ["Blueprint", "ClusterRunner", "Once", "ThreadRunner", "WorkersLost", "given", "make_runner"]


def make_runner(client=None, n_threads=None):
    """A runner on ``client``, or on local threads if there is none."""
    if client is None:
        return ThreadRunner(n_threads)
    return ClusterRunner(client)
