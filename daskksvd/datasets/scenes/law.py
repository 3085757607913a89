"""What is in a scene: the law that scenes are drawn from at random."""

import bisect
import itertools
from typing import NamedTuple

from .concepts import CONCEPTS, MEMBERS

_PLACE = {concept: place for place, concept in enumerate(CONCEPTS)}


class Group(NamedTuple):
    """One to four like objects side by side.

    Attributes
    ----------
    object, colour, position, texture : str
        Concepts.
    size : str or None
        "small", "large", or neither.
    count : int
        1 to 4.
    action : str or None
        What they do, if anything.
    """

    object: str
    colour: str
    size: str | None
    count: int  # type: ignore[assignment]
    position: str
    texture: str
    action: str | None


class Description(NamedTuple):
    """A background and one to three groups, no two of the same object."""

    background: str
    groups: tuple[Group, ...]

    @property
    def concepts(self):
        """Names of all that is in the scene, in the order of `CONCEPTS`."""
        found = {self.background}
        for group in self.groups:
            found.add(MEMBERS["count"][group.count - 1])
            found.update(
                (group.object, group.colour, group.size, group.position, group.texture, group.action)
            )
        found.discard(None)
        return tuple(sorted(found, key=_PLACE.__getitem__))


class _Choice:
    """Names with weights, drawn by bisection: quicker than ``Generator.choice``."""

    def __init__(self, weights):
        self.names = tuple(weights)
        self.edges = tuple(itertools.accumulate(weights.values()))

    def draw(self, rng):
        place = bisect.bisect_right(self.edges, rng.random() * self.edges[-1])
        return self.names[min(place, len(self.names) - 1)]


def _power(names, exponent):
    """Frequencies that fall like a power of the rank, as those of words do."""
    return {name: 1 / (1 + rank) ** exponent for rank, name in enumerate(names)}


_GROUPS = _Choice({1: 0.45, 2: 0.40, 3: 0.15})
_BACKGROUND = _Choice(_power(MEMBERS["background"], 0.6))
_COUNT = _Choice({1: 0.50, 2: 0.25, 3: 0.15, 4: 0.10})
_SINGLE = _Choice({1: 0.85, 2: 0.10, 3: 0.05})
_SOLITARY = {"house", "moon"}
"""Objects of which there is mostly one."""

_TEXTURE = _Choice({"plain": 0.64, "striped": 0.16, "dotted": 0.12, "checked": 0.08})
_COLOUR = _Choice(_power(MEMBERS["colour"], 0.5))

_AFFINITY = {
    "sky": {"ball": 1.5, "star": 1.5, "heart": 1.5, "leaf": 1.5, "fish": 0.2, "boat": 0.3, "mouse": 0.4},
    "grass": {"tree": 2.5, "flower": 3, "house": 2, "leaf": 2, "mouse": 3, "fish": 0.1, "boat": 0.1},
    "sea": {"fish": 8, "boat": 8, "tree": 0.2, "house": 0.3, "flower": 0.3, "car": 0.1, "mouse": 0.2},
    "sand": {"ball": 2, "car": 2, "boat": 1.5, "fish": 0.4, "leaf": 0.5, "flower": 0.5},
    "night": {"moon": 8, "star": 4, "house": 1.5, "flower": 0.4, "fish": 0.3, "boat": 0.6},
    "snow": {"tree": 2, "house": 2.5, "flower": 0.3, "leaf": 0.6, "fish": 0.2, "boat": 0.2},
}
"""How many times more often than elsewhere an object is seen on a background."""

_OBJECT = {
    background: _Choice(
        {name: weight * near.get(name, 1) for name, weight in _power(MEMBERS["object"], 0.5).items()}
    )
    for background, near in _AFFINITY.items()
}

_OWN_COLOUR = {
    "tree": _Choice({"green": 0.8, "orange": 0.1, "white": 0.1}),
    "leaf": _Choice({"green": 0.5, "brown": 0.2, "orange": 0.15, "red": 0.15}),
    "heart": _Choice({"red": 0.7, "pink": 0.3}),
    "moon": _Choice({"yellow": 0.7, "white": 0.3}),
    "star": _Choice({"yellow": 0.8, "white": 0.2}),
    "mouse": _Choice({"brown": 0.6, "white": 0.2, "black": 0.2}),
    "fish": _Choice({"orange": 0.6, "blue": 0.4}),
}
"""Colours these objects often have."""

_OWN_COLOUR_SHARE = 0.5
"""How often they do; else they have any colour, those included."""

_ACTIONS = {
    "ball": _Choice({"roll": 0.5, "float": 0.2, "fall": 0.2, "stand": 0.1}),
    "tree": _Choice({"stand": 0.8, "fall": 0.2}),
    "star": _Choice({"shine": 0.6, "fall": 0.3, "float": 0.1}),
    "house": _Choice({"stand": 0.9, "float": 0.1}),
    "flower": _Choice({"stand": 0.6, "fall": 0.2, "float": 0.2}),
    "fish": _Choice({"float": 0.7, "fall": 0.3}),
    "car": _Choice({"roll": 0.6, "stand": 0.4}),
    "boat": _Choice({"float": 0.8, "stand": 0.2}),
    "leaf": _Choice({"fall": 0.7, "float": 0.3}),
    "mouse": _Choice({"stand": 0.6, "roll": 0.4}),
    "moon": _Choice({"shine": 0.8, "float": 0.2}),
    "ring": _Choice({"roll": 0.5, "shine": 0.3, "float": 0.2}),
}
_ANY_ACTION = _Choice({"stand": 0.3, "float": 0.2, "fall": 0.2, "roll": 0.15, "shine": 0.15})
_ACTIVE = 0.65
"""Share of groups that do something."""

_POSITIONS = {
    1: _Choice({("middle",): 0.5, ("left",): 0.125, ("right",): 0.125, ("top",): 0.125, ("bottom",): 0.125}),
    2: _Choice({("left", "right"): 0.6, ("top", "bottom"): 0.4}),
    3: _Choice({("left", "middle", "right"): 0.7, ("top", "middle", "bottom"): 0.3}),
}

_ROOM = {1: (2, 2, 1, 1), 2: (2, 2, 1, 0), 3: (1, 1, 1, 0)}
"""Groups -> by count, the largest size there is room for, as a place in `_SIZES`."""

_SIZES = (
    _Choice({"small": 1.0}),
    _Choice({"small": 0.45, None: 0.55}),
    _Choice({"small": 0.25, None: 0.35, "large": 0.40}),
)
"""Sizes where only small, medium, or all objects fit. Nobody mentions a medium one."""


def describe(rng):
    """Draw what is in a scene.

    Parameters
    ----------
    rng : numpy.random.Generator

    Returns
    -------
    Description
    """
    background = _BACKGROUND.draw(rng)
    positions = _POSITIONS[_GROUPS.draw(rng)].draw(rng)
    groups = []
    for position in positions:
        taken = {group.object for group in groups}
        name = _OBJECT[background].draw(rng)
        while name in taken:
            name = _OBJECT[background].draw(rng)
        count = (_SINGLE if name in _SOLITARY else _COUNT).draw(rng)
        own = name in _OWN_COLOUR and rng.random() < _OWN_COLOUR_SHARE
        groups.append(
            Group(
                object=name,
                colour=(_OWN_COLOUR[name] if own else _COLOUR).draw(rng),
                size=_SIZES[_ROOM[len(positions)][count - 1]].draw(rng),
                count=count,
                position=position,
                texture=_TEXTURE.draw(rng),
                action=_ACTIONS.get(name, _ANY_ACTION).draw(rng) if rng.random() < _ACTIVE else None,
            )
        )
    return Description(background, tuple(groups))
