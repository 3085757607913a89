"""What a Dask array is made of: Zarr arrays and which of their rows, clusters that hold blocks."""

import numpy as np
from dask._task_spec import Alias, DataNode, TaskRef  # noqa: PLC2701  nodes of graphs have no public name
from dask.blockwise import Blockwise
from dask.core import flatten
from dask.highlevelgraph import MaterializedLayer

_WRAPPERS = ("xarray", "daskksvd", "dask")
"""Packages whose objects are looked into for the array that they read."""

_DEPTH = 10
"""Objects of theirs that may lie around one array."""


def zarr_arrays(array):
    """The Zarr arrays in the graph of a Dask array; nothing is computed, and the graph not made in full.

    Parameters
    ----------
    array : dask.array.Array

    Returns
    -------
    list of zarr.Array
        Two-dimensional.
    """
    found = {}
    for value in _values(array):
        stored = _stored(value)
        if stored is not None and stored.ndim == 2:
            found[id(stored)] = stored
    return list(found.values())


def clients(array):
    """Clients of the clusters that hold blocks of a Dask array, or of what it is made of."""
    return list({id(value.client): value.client for value in _values(array) if is_future(value)}.values())


def is_future(value):
    """Whether a node of a graph lies on a cluster."""
    return hasattr(value, "client") and hasattr(value, "key")


def _values(array):
    """What layers of a graph refer to that is in no task."""
    for layer in array.__dask_graph__().layers.values():
        if isinstance(layer, Blockwise):
            yield from (value for value, index in layer.indices if index is None)
        elif isinstance(layer, MaterializedLayer):
            yield from (part for node in layer.mapping.values() for part in _parts(node))


def rows_read(array, stored):
    """Rows of a Zarr array that a Dask array reads, as pairs (start, stop); None if it may be all."""
    graph = dict(array.__dask_graph__().cull(set(flatten(array.__dask_keys__()))))
    keys = {key for key, node in graph.items() if _stored(node) is stored}
    rows = []
    for node in graph.values():
        parts = [part.value if isinstance(part, DataNode) else part for part in _parts(node)]
        if not any(_refers(part, keys, stored) for part in parts) or _stored(node) is stored:
            continue
        index = [part for part in parts if isinstance(part, tuple) and part and isinstance(part[0], slice)]
        if len(index) != 1:
            return None
        start, stop, step = index[0][0].indices(stored.shape[0])
        if step < 0:
            return None
        rows.append((start, stop))
    return rows


def _parts(node):
    """A node of a graph itself, or the arguments of a task."""
    if hasattr(node, "args"):
        return node.args
    return node if isinstance(node, tuple) else (node,)


def _refers(part, keys, stored):
    if isinstance(part, (TaskRef, Alias)):  # the latter in Dask before 2025.5
        return getattr(part, "target", part.key) in keys
    if isinstance(part, str):
        return part in keys
    return _stored(part) is stored


def _stored(value):
    """The Zarr array that an object is, or reads as a whole; else None."""
    if isinstance(value, DataNode):
        value = value.value
    for _ in range(_DEPTH):
        kind = type(value)
        module = kind.__module__.split(".")[0]
        if module == "zarr":
            return value if kind.__name__ == "Array" else None
        if module not in _WRAPPERS or isinstance(value, np.ndarray):
            return None
        value = getattr(value, "array", getattr(value, "_array", None))
    return None
