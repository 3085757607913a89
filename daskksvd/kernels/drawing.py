"""Drawings: forces between nodes, and labels that do not overlap."""

import numpy as np

from .jit import kernel, reordering_kernel


@reordering_kernel
def repel(x, y, i, strength):
    """Sum of the forces that push node i away from all others: ``strength / distance`` each.

    Parameters
    ----------
    x, y : (n,) float32 arrays
    i : int
    strength : float32
    """
    at_x, at_y = x[i], y[i]
    out_x = out_y = np.float32(0)
    near = np.float32(1e-6)  # of a node to itself the force is zero, as its direction is
    for j in range(x.shape[0]):
        across, up = at_x - x[j], at_y - y[j]
        force = strength / (across * across + up * up + near)
        out_x += across * force
        out_y += up * force
    return out_x, out_y


@kernel
def relax(x, y, sources, targets, weights, pull, steps):
    """Move nodes until springs and repulsion balance (Fruchterman and Reingold 1991).

    Parameters
    ----------
    x, y : (n,) float32 arrays
        Places of nodes; they are moved.
    sources, targets : (e,) int64 arrays
    weights : (e,) float32 array
        Springs; 1 is the usual strength.
    pull : float32
        Towards the middle, so that parts without a connection stay.
    steps : (s,) float32 array
        Farthest a node moves in each step.
    """
    n = x.shape[0]
    ideal = np.float32(1) / np.float32(np.sqrt(n))
    move_x, move_y = np.empty(n, np.float32), np.empty(n, np.float32)
    for step in steps:
        for i in range(n):
            out_x, out_y = repel(x, y, i, ideal * ideal)
            move_x[i] = out_x - pull * x[i]
            move_y[i] = out_y - pull * y[i]
        for e in range(sources.shape[0]):
            i, j = sources[e], targets[e]
            across, up = x[j] - x[i], y[j] - y[i]
            force = weights[e] * np.float32(np.sqrt(across * across + up * up)) / ideal
            move_x[i] += across * force
            move_y[i] += up * force
            move_x[j] -= across * force
            move_y[j] -= up * force
        for i in range(n):
            length = np.float32(np.sqrt(move_x[i] * move_x[i] + move_y[i] * move_y[i]))
            if length > 0:
                scale = min(length, step) / length
                x[i] += move_x[i] * scale
                y[i] += move_y[i] * scale


@kernel
def choose_labels(x, y, half_width, half_height, order, zooms, out):
    """Give labels room one after the other, at one zoom after the other.

    Parameters
    ----------
    x, y : (n,) float64 arrays
        Middle of each label, pixels at zoom 1.
    half_width, half_height : (n,) float64 arrays
        Pixels, at any zoom.
    order : (n,) int64 array
        Who goes first.
    zooms : (z,) float64 array
        Rising.
    out : (n,) float64 array
        Zoom from which on each is shown; infinity where there is never room.
    """
    n = x.shape[0]
    kept = np.empty(n, np.int64)
    n_kept = 0
    out[:] = np.inf
    for zoom in zooms:
        for i in order:
            if out[i] < np.inf:
                continue
            free = True
            for place in range(n_kept):
                j = kept[place]
                if (
                    abs(x[i] - x[j]) * zoom < half_width[i] + half_width[j]
                    and abs(y[i] - y[j]) * zoom < half_height[i] + half_height[j]
                ):
                    free = False
                    break
            if free:
                out[i] = zoom
                kept[n_kept] = i
                n_kept += 1
