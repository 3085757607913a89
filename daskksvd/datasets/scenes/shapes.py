"""Outlines of the objects: polygons in a square from -1 to 1, y pointing down."""

from typing import NamedTuple

import numpy as np


class Part(NamedTuple):
    """An area of an object.

    Attributes
    ----------
    loops : tuple of numpy.ndarray
        Closed polygons (n, 2), float64, of its edge: an outer one and perhaps that of a hole.
    fill : str
        "body" for the object's colour and texture, "shade" for the colour darkened, "tint" for
        the colour lightened, "ink" for that of outlines, or a key of `DETAIL`.
    """

    loops: tuple[np.ndarray, ...]
    fill: str


DETAIL = {"wood": (112, 78, 48), "glass": (205, 225, 235), "tyre": (40, 40, 45), "cloth": (245, 240, 225)}
"""Colours, RGB, of parts that have the same whatever the colour of the object."""


def _ellipse(x, y, width, height=None, corners=28):
    height = width if height is None else height
    angle = np.linspace(0, 2 * np.pi, corners, endpoint=False)
    return np.stack([x + width * np.cos(angle), y + height * np.sin(angle)], axis=1)


def _box(left, top, right, bottom):
    return np.array([(left, top), (right, top), (right, bottom), (left, bottom)], float)


def _polygon(*points):
    return np.array(points, float)


def _polar(radius, corners):
    """A closed curve: the radius as a function of the angle from straight up."""
    angle = np.linspace(0, 2 * np.pi, corners, endpoint=False)
    length = radius(angle)
    return np.stack([length * np.sin(angle), -length * np.cos(angle)], axis=1)


def _heart():
    t = np.linspace(0, 2 * np.pi, 36, endpoint=False)
    x = 16 * np.sin(t) ** 3
    y = 13 * np.cos(t) - 5 * np.cos(2 * t) - 2 * np.cos(3 * t) - np.cos(4 * t)
    return np.stack([x / 16.5, -(y + 2.5) / 16.5], axis=1)


def _crescent():
    outer = np.radians(np.linspace(50, 310, 30))
    tip = np.array([np.cos(outer[0]), np.sin(outer[0])])
    centre = tip[0] + 0.02
    radius = tip[1]
    inner = np.linspace(-np.pi / 2, -3 * np.pi / 2, 22)[1:-1]
    x = np.concatenate([np.cos(outer), centre + 0.75 * radius * np.cos(inner)])
    y = np.concatenate([np.sin(outer), radius * np.sin(inner)])
    return np.stack([x + 0.1, y], axis=1)


def _leaf():
    along = np.linspace(-1, 1, 15)
    width = 0.52 * (1 - along**2) ** 0.8 * (1 + 0.25 * along)
    return np.concatenate([np.stack([width, along], 1), np.stack([-width, along], 1)[-2:0:-1]])


def _make():
    points = np.arange(10)
    length = np.where(points % 2, 0.42, 1.0)
    turn = np.pi * points / 5
    star = np.stack([length * np.sin(turn), -length * np.cos(turn)], axis=1)
    arm = 0.34
    cross = _polygon(
        (-arm, -0.9), (arm, -0.9), (arm, -arm), (0.9, -arm), (0.9, arm), (arm, arm),
        (arm, 0.9), (-arm, 0.9), (-arm, arm), (-0.9, arm), (-0.9, -arm), (-arm, -arm),
    )  # fmt: skip
    car = _polygon(
        (-1, 0.45), (-1, 0), (-0.6, -0.1), (-0.35, -0.6), (0.4, -0.6), (0.7, -0.1), (1, 0.02), (1, 0.45)
    )  # fmt: skip
    tail = _polygon((0.6, 0.4), (1.0, 0.2), (1.15, -0.35), (1.22, -0.33), (1.1, 0.3), (0.62, 0.55))
    mouse = _polygon(
        (-1.0, 0.42), (-0.55, -0.15), (0, -0.38), (0.5, -0.2), (0.75, 0.25), (0.6, 0.62), (-0.6, 0.62)
    )
    return {
        "ball": [(_ellipse(0, 0, 0.92, corners=36), "body"), (_ellipse(-0.35, -0.4, 0.2, 0.15, 12), "tint")],
        "square": [(_box(-0.85, -0.85, 0.85, 0.85), "body")],
        "triangle": [(_polygon((0, -0.9), (0.95, 0.8), (-0.95, 0.8)), "body")],
        "star": [(star, "body")],
        "heart": [(_heart(), "body")],
        "cross": [(cross, "body")],
        "ring": [((_ellipse(0, 0, 0.95, corners=32), _ellipse(0, 0, 0.52)), "body")],
        "moon": [(_crescent(), "body")],
        "leaf": [
            (_polygon((-0.05, 0), (0.05, 0), (0.07, 1.35), (-0.07, 1.35)), "wood"),
            (_leaf(), "body"),
            (_polygon((-0.03, -0.7), (0.03, -0.7), (0.05, 0.9), (-0.05, 0.9)), "ink"),
        ],
        "tree": [
            (_box(-0.17, 0.2, 0.17, 1.0), "wood"),
            (_polar(lambda a: 0.72 * (1 + 0.1 * np.cos(7 * a)), 42) - (0, 0.28), "body"),
        ],
        "house": [
            (_box(-0.75, -0.15, 0.75, 0.9), "body"),
            (_polygon((0, -0.95), (0.98, -0.12), (-0.98, -0.12)), "shade"),
            (_box(-0.2, 0.3, 0.2, 0.9), "wood"),
            (_box(0.34, 0.1, 0.62, 0.42), "glass"),
        ],
        "flower": [
            (_polar(lambda a: 0.66 + 0.32 * np.cos(5 * a), 50), "body"),
            (_ellipse(0, 0, 0.27, corners=14), "shade"),
            (_ellipse(0, 0, 0.14, corners=10), "cloth"),
        ],
        "fish": [
            (_polygon((0.45, 0), (1.0, -0.5), (0.9, 0), (1.0, 0.5)), "shade"),
            (_ellipse(-0.2, 0, 0.78, 0.5), "body"),
            (_ellipse(-0.6, -0.12, 0.13, corners=12), "cloth"),
            (_ellipse(-0.63, -0.12, 0.06, corners=8), "ink"),
        ],
        "car": [
            (car, "body"),
            (_polygon((-0.42, -0.1), (-0.25, -0.45), (-0.02, -0.45), (-0.02, -0.1)), "glass"),
            (_polygon((0.1, -0.1), (0.1, -0.45), (0.32, -0.45), (0.5, -0.1)), "glass"),
            (_ellipse(-0.52, 0.45, 0.26, corners=16), "tyre"),
            (_ellipse(0.52, 0.45, 0.26, corners=16), "tyre"),
            (_ellipse(-0.52, 0.45, 0.11, corners=10), "glass"),
            (_ellipse(0.52, 0.45, 0.11, corners=10), "glass"),
        ],
        "boat": [
            (_box(-0.06, -0.95, 0.04, 0.3), "wood"),
            (_polygon((0.1, -0.9), (0.8, 0.15), (0.1, 0.15)), "cloth"),
            (_polygon((-0.12, -0.7), (-0.12, 0.15), (-0.6, 0.15)), "tint"),
            (_polygon((-1, 0.28), (1, 0.28), (0.62, 0.85), (-0.62, 0.85)), "body"),
        ],
        "mouse": [
            (tail, "shade"),
            (mouse, "body"),
            (_ellipse(-0.42, -0.32, 0.32, corners=18), "body"),
            (_ellipse(-0.42, -0.32, 0.17, corners=12), "tint"),
            (_ellipse(-0.68, 0.16, 0.08, corners=8), "ink"),
        ],
    }


PARTS = {
    name: tuple(Part(area if isinstance(area, tuple) else (area,), fill) for area, fill in parts)
    for name, parts in _make().items()
}
"""Object -> its parts, to be drawn one over the other."""
