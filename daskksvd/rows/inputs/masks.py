"""Masks stay with arrays that `distributed` sends: it takes masked arrays for plain ones, and drops the mask.

To import this module mends that in this process: such arrays are left to pickle.
"""

import contextlib

import numpy as np
from distributed.protocol import dask_serialize

from ...execution import WORKER_TIMEOUT, make_executor
from ...machine.pickling import leave_to_pickle

dask_serialize.dispatch(np.ma.MaskedArray)  # looked up as a plain array before, and remembered so
dask_serialize.register(np.ma.MaskedArray, leave_to_pickle)


def keep_masks(client, worker_timeout=WORKER_TIMEOUT):
    """Mend all workers of a `distributed.Client` that may hold masked arrays, waiting so long for one."""
    if client.status == "running" and not client.asynchronous:
        with contextlib.closing(make_executor(client, worker_timeout=worker_timeout)) as executor:
            executor.everywhere(_mended)


def _mended():
    """Nothing: to send this function imports the module."""
