"""Fill values of sparse arrays: Dask keeps them, within a process and between those of a cluster.

Codes are zero where they have no entry, but little that is made of them is: in
``codes + 1`` it is one, and in ``codes.sum()``, an array without dimensions, it
is the sum. `distributed` sends a `sparse.COO` without it, and whoever gets it
puts zero there. So such arrays are left to pickle, which sends all of them, and
copies nothing either. And Dask adds up sums of chunks after it has put them in
one array, which `sparse` refuses where the chunks' fill values differ, as those
of sums over unlike numbers of rows do.

To import this module is to mend both in this process. A pickled array refers to
it: every process that gets one is mended before it sends on what it makes of it.
"""

import copyreg

import numpy as np
import sparse
from dask.array.dispatch import (
    concatenate_lookup,
    nannumel_lookup,
    numel_lookup,
    take_lookup,
    tensordot_lookup,
)
from distributed.protocol import dask_serialize

from . import sparse_kernels  # noqa: F401  kept wherever such arrays are worked with
from .pickling import leave_to_pickle


def _new():
    """A `sparse.COO` before pickle gives it its parts."""
    return sparse.COO.__new__(sparse.COO)


def _reduce(array):
    return _new, (), array.__getstate__()


def _concatenate(arrays, axis=0):
    """As `sparse.concatenate`, of arrays of any fill values; the first one's stays."""
    if all(isinstance(array, sparse.COO) for array in arrays):
        dtype = np.result_type(*(array.dtype for array in arrays))
        fill_value = arrays[0].fill_value.astype(dtype)
        arrays = [_filled(array.astype(dtype), fill_value) for array in arrays]
    return sparse.concatenate(arrays, axis=axis)


def _filled(array, fill_value):
    """The same array with another fill value, and entries where it was not that."""
    if array.fill_value.tobytes() == fill_value.tobytes():
        return array
    return sparse.COO.from_numpy(array.todense(), fill_value=fill_value)


# Theirs are registered when a type is first looked up, by Dask all of its functions for arrays at
# once, whichever is looked up first: later they would take the place of ours.
for _lookup in (
    dask_serialize, concatenate_lookup, nannumel_lookup, numel_lookup, take_lookup, tensordot_lookup,
):  # fmt: skip
    _lookup.dispatch(sparse.COO)
dask_serialize.register(sparse.COO, leave_to_pickle)
concatenate_lookup.register(sparse.COO, _concatenate)
copyreg.pickle(sparse.COO, _reduce)
