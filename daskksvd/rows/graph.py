"""Take a Dask array's graph apart, so that one task can read a chunk by itself.

A task that learns from a chunk should also read it: then a chunk is on one
worker, for as long as it is looked at, and moves nowhere. So the part of the
graph that leads to a chunk travels inside the task. Two things do not: what
every chunk needs (the mean in ``x - x.mean(0)``) is computed once, and what
already lies on a cluster is taken from there.
"""

from dataclasses import dataclass
from typing import Any, NamedTuple

import dask
import numpy as np
from dask._task_spec import DataNode, convert_legacy_graph  # noqa: PLC2701  has no public name
from dask.core import reverse_dict, toposort
from dask.typing import Key

from .blocks import check_block, plain
from .inputs.underlying import is_future


@dataclass(frozen=True, slots=True)
class Chunk:
    """How to compute one chunk of an array.

    No tuple: Dask looks into those, finds tasks in the graph, and would read
    the chunk before the task that is to read it starts, once for every piece.

    Attributes
    ----------
    graph : dict
        Tasks that lead to the chunk.
    key : key
        The chunk's own key.
    needs : tuple of keys
        Inputs that come from outside the graph.
    first : int
        Number of its first row.
    """

    graph: dict
    key: Key
    needs: tuple
    first: int = 0

    @property
    def lies_in_memory(self):
        """Whether there is nothing to compute, but for a check."""
        node = self.graph.get(self.key)
        if getattr(node, "func", None) is check_block:
            [key] = node.dependencies
            node = self.graph.get(key)
        return isinstance(node, (DataNode, type(None)))

    def read(self, inputs, masked=False):
        """Compute the chunk; ``inputs`` maps each of `needs` to its value.

        Masked values are refused, unless ``masked`` says that the caller sees to them.
        """
        node = self.graph.get(self.key)
        if isinstance(node, DataNode):
            rows = node.value
        elif node is None:
            rows = inputs[self.key]
        else:
            graph = dict(self.graph)
            for key in self.needs:
                graph[key] = DataNode(key, inputs[key])
            rows = dask.get(graph, self.key)
        return rows if masked and np.ma.isMaskedArray(rows) else plain(rows, self.first)


class Layout(NamedTuple):
    """An array's graph taken apart.

    Attributes
    ----------
    chunks : list of Chunk
    common : dict
        Graph of what all chunks need, to be computed once.
    common_keys : list of keys
        Its outputs.
    placed : dict
        Outside inputs that exist already: futures, or arrays of this process
        that should move to the workers once (key to value).
    """

    chunks: list
    common: dict
    common_keys: list
    placed: dict


def take_apart(array, move_arrays):
    """Split the graph of a Dask array with one chunk column.

    Parameters
    ----------
    array : dask.array.Array
    move_arrays : bool
        Whether arrays held in the graph itself become outside inputs.

    Returns
    -------
    Layout
    """
    outputs = [(array.name, i, 0) for i in range(array.numblocks[0])]
    placed: dict[Key, Any] = {}
    graph = {}
    for key, node in dict(array.__dask_graph__()).items():
        if is_future(node):
            placed[key] = node
        else:
            graph[key] = node
    graph = convert_legacy_graph(graph, all_keys=set(graph) | set(placed))
    dependencies = {key: set(node.dependencies) for key, node in graph.items()}
    for key in placed:
        dependencies[key] = set()
    if move_arrays:
        for key, node in graph.items():
            # those with masks stay: they would lose them where Dask sends arrays
            if (
                isinstance(node, DataNode)
                and isinstance(node.value, np.ndarray)
                and not np.ma.isMaskedArray(node.value)
            ):
                placed[key] = node.value
    order = toposort(graph, dependencies=dependencies)

    # What all chunks need is computed once. From the chunks backwards, note the
    # first and the last chunk that each key leads to other than by way of such
    # a key: a block of x in ``x - x.mean(0)`` is read again, not kept.
    first = dict.fromkeys(order, len(outputs))
    last = dict.fromkeys(order, -1)
    for index, key in enumerate(outputs):
        first[key] = last[key] = index
    edge = set()
    for key in reversed(order):
        wide = first[key] == 0 and last[key] == len(outputs) - 1 > 0
        if wide and key not in placed and not isinstance(graph[key], DataNode):
            edge.add(key)
            continue
        for needed in dependencies[key]:
            first[needed] = min(first[needed], first[key])
            last[needed] = max(last[needed], last[key])
    dependents = reverse_dict(dependencies)
    common = _needed(edge, graph, dependencies, stop=())
    common.update({key: value for key, value in placed.items() if _feeds(key, dependents, common)})
    stop = edge | set(placed)
    chunks = []
    first_rows = np.cumsum([0, *array.chunks[0]]).tolist()
    for key, first_row in zip(outputs, first_rows, strict=False):
        part = _needed([key], graph, dependencies, stop)
        needs = {key} & stop
        for inner in part:
            needs |= dependencies[inner] & stop
        chunks.append(Chunk(part, key, tuple(sorted(needs, key=str)), first_row))
    return Layout(chunks, common, sorted(edge, key=str), placed)


def _feeds(key, dependents, graph):
    return any(user in graph for user in dependents[key])


def _needed(keys, graph, dependencies, stop):
    """The part of a graph that leads to ``keys``, not going past ``stop``."""
    part = {}
    stack = [key for key in keys if key not in stop]
    while stack:
        key = stack.pop()
        if key in part or key not in graph:
            continue
        part[key] = graph[key]
        stack.extend(needed for needed in dependencies[key] if needed not in stop)
    return part
