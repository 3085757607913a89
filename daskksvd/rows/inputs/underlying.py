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


def in_order(array, stored):
    """Whether rows of a Dask array are those of a Zarr array below it, in its order, as far as layers tell.

    Work by blocks and other chunks keep the order; indexing, joining and the like may not.

    Parameters
    ----------
    array : dask.array.Array
    stored : zarr.Array

    Returns
    -------
    bool
    """
    graph = array.__dask_graph__()
    names, seen = [array.name], set()
    while names:
        name = names.pop()
        layer = graph.layers.get(name)
        if layer is None or name in seen:
            continue
        seen.add(name)
        if isinstance(layer, Blockwise):
            values = [value for value, index in layer.indices if index is None]
            held = [getattr(value, "key", value) for value in values]  # a layer of the array alone
            for value in [*values, *(part for key in held for part in _alone(graph, key))]:
                if _stored(value) is stored:
                    return not _indexed(value)
            rows = layer.output_indices[0]
            names += [value for value, index in layer.indices if index and rows in index]
        elif name.startswith(_KEEP):
            names += graph.dependencies[name]
    return False


_KEEP = ("rechunk-",)
"""What names of layers that are not by blocks, but keep the order of rows, begin with."""


def _alone(graph, key):
    """The value of a layer that holds one, an array that was not put into tasks."""
    layer = graph.layers.get(key) if isinstance(key, str) else None
    return (
        [*layer.mapping.values()] if isinstance(layer, MaterializedLayer) and len(layer.mapping) == 1 else []
    )


def _indexed(value):
    """Whether what reads a Zarr array takes some of its rows, or in another order, as xarray may."""
    value = value.value if isinstance(value, DataNode) else value
    for _ in range(_DEPTH):
        if type(value).__module__.split(".")[0] == "zarr":
            return False
        key = getattr(getattr(value, "key", None), "tuple", ())
        if key and not (isinstance(key[0], slice) and key[0].start in (None, 0) and key[0].step in (None, 1)):
            return True
        value = getattr(value, "array", getattr(value, "_array", None))
    return False


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
