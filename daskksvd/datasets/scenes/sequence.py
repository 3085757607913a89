"""Captioned scenes in a row, each made when it is asked for."""

from __future__ import annotations

import operator
from collections.abc import Sequence
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from .captions import caption
from .concepts import CONCEPTS, FORMS, GROUPS, WORDS
from .law import describe

if TYPE_CHECKING:
    import PIL.Image

    from .law import Description

SCENE_SMALLEST = 16
"""Pixels a side below which nothing in a scene can be recognised."""

_TAG = 0x7363656E
"""Mixed into every seed, so that no scene follows the random numbers of another
data set, and none those of the scenes the shipped encoder learned from."""

_DESCRIPTION, _DRAWING, _CAPTIONS = range(3)
"""Streams of random numbers of a scene. They are apart, so that the truth needs no drawing."""


class Scene(NamedTuple):
    """An image and the truth about it.

    Attributes
    ----------
    image : PIL.Image.Image
        RGB, square.
    captions : list of str
        Different ways to say what is in it. None says all.
    concepts : tuple of str
        All that is in it: some of `Scenes.concepts`, in their order.
    """

    image: PIL.Image.Image
    captions: list[str]
    concepts: tuple[str, ...]


class Scenes(Sequence):
    """Captioned images of a world whose concepts are known; see `make_scenes`.

    Indexing draws a scene and slicing gives fewer scenes; iterating draws them
    one by one, as often as it is done. Nothing is kept: a pickle holds a seed.

    Attributes
    ----------
    size : int
        Pixels a side.
    captions_per_image : int
    random_state : int
        Its seed, drawn if it was None: with it the same scenes can be made again.
    concepts : tuple of str
        Names of all concepts of the world.
    groups : dict
        Concept -> "object", "colour", "size", "count", "position", "texture", "background" or
        "action".
    words : dict
        Concept -> the lemmas that express it, the usual one first. No lemma has two concepts.
    forms : dict
        Concept -> every form of those, in lower case, in which captions write it.
    """

    concepts = CONCEPTS
    groups = GROUPS
    words = WORDS
    forms = FORMS

    def __init__(self, numbers: range, size: int, captions_per_image: int, entropy: tuple[int, int]) -> None:
        self._numbers = numbers
        self._entropy = entropy
        self.size = size
        self.captions_per_image = captions_per_image

    @property
    def random_state(self) -> int:
        return self._entropy[1]

    def __len__(self) -> int:
        return len(self._numbers)

    def __getitem__(self, index):
        if isinstance(index, slice):
            return Scenes(self._numbers[index], self.size, self.captions_per_image, self._entropy)
        number = self._number(index)
        description = self._describe(number)
        image, _ = self._draw(number, description)
        return Scene(image, self._write(number, description), description.concepts)

    def __repr__(self) -> str:
        return f"<daskksvd.Scenes: {len(self):,} of {self.size} x {self.size} pixels>"

    def describe(self, index: int) -> Description:
        """What is in a scene, without drawing it.

        Parameters
        ----------
        index : int

        Returns
        -------
        Description
            ``background`` and ``groups``, each with ``object``, ``colour``, ``size``, ``count``,
            ``position``, ``texture`` and ``action``; ``concepts`` are their names.
        """
        return self._describe(self._number(index))

    def captions(self, index: int) -> list[str]:
        """Captions of a scene, without drawing it.

        Parameters
        ----------
        index : int

        Returns
        -------
        list of str
        """
        number = self._number(index)
        return self._write(number, self._describe(number))

    def boxes(self, index: int) -> dict[str, list[tuple[float, float, float, float]]]:
        """Where in a scene its concepts are, which takes as long as drawing it.

        Parameters
        ----------
        index : int

        Returns
        -------
        dict
            Object, colour, size, texture and action to boxes, one an object that shows it: left, upper,
            right and lower edge as shares of the image's sides.
        """
        number = self._number(index)
        description = self._describe(number)
        _, places = self._draw(number, description)
        found: dict[str, list[tuple[float, float, float, float]]] = {}
        for group, at in zip(description.groups, places, strict=True):
            boxes = [(max(0.0, x - r), max(0.0, y - r), min(1.0, x + r), min(1.0, y + r)) for x, y, r in at]
            for concept in (group.object, group.colour, group.size, group.texture, group.action):
                if concept is not None:
                    found.setdefault(concept, []).extend(boxes)
        return found

    def truth(self, start: int = 0, stop: int | None = None) -> np.ndarray:
        """Which concepts are in which scenes, without drawing them.

        Parameters
        ----------
        start, stop : int
            Scenes, as in a slice; all by default.

        Returns
        -------
        numpy.ndarray
            (scenes, concepts), bool; columns as in ``concepts``.
        """
        numbers = self._numbers[start:stop]
        place = {concept: column for column, concept in enumerate(CONCEPTS)}
        truth = np.zeros((len(numbers), len(CONCEPTS)), bool)
        for row, number in enumerate(numbers):
            truth[row, [place[concept] for concept in self._describe(number).concepts]] = True
        return truth

    def _number(self, index):
        index = operator.index(index)
        if not -len(self) <= index < len(self):
            raise IndexError(f"there is no scene {index} among {len(self):,}")
        return self._numbers[index]

    def _rng(self, number, stream):
        return np.random.default_rng(np.random.SeedSequence(self._entropy, spawn_key=(number, stream)))

    def _draw(self, number, description):
        """A scene as an image, and the places of its objects by group."""
        try:
            from .drawing import draw_placed
        except ImportError as error:
            raise ImportError(
                "scenes are drawn with Pillow; pip install 'daskksvd[embed]' brings it"
            ) from error
        return draw_placed(description, self.size, self._rng(number, _DRAWING))

    def _describe(self, number):
        return describe(self._rng(number, _DESCRIPTION))

    def _write(self, number, description):
        rng = self._rng(number, _CAPTIONS)
        return [caption(description, rng) for _ in range(self.captions_per_image)]


def make_scenes(
    n_samples: int, *, size: int = 64, captions_per_image: int = 3, random_state: int | None = 0
) -> Scenes:
    """Draw captioned images of a small world whose concepts are known.

    Every scene has a background and one to three groups of like objects, and
    every group a colour, a count, a position, a texture and perhaps a size and
    something that it does. Some concepts are independent, some go together
    (fish are mostly seen at sea), and common ones are far more common than
    rare ones, as with words. Captions have synonyms, plurals and verbs in
    several forms, and leave much unsaid.

    Parameters
    ----------
    n_samples : int
        Number of scenes. Any number costs nothing: a scene is drawn when it is asked for.
    size : int
        Width and height in pixels, 16 or more.
    captions_per_image : int
        Captions of every scene.
    random_state : int, optional
        Seed, 0 or more. Scene i depends on it and i alone. None is a seed of its own every time.

    Returns
    -------
    Scenes

    Raises
    ------
    TypeError, ValueError
        An argument is no integer, or too small.

    Examples
    --------
    >>> from daskksvd.datasets import make_scenes
    >>> scenes = make_scenes(1_000)
    >>> image, captions, concepts = scenes[0]
    >>> truth = scenes.truth()  # 1,000 x 52, bool
    """
    n_samples = _integer("n_samples", n_samples, 0)
    size = _integer("size", size, SCENE_SMALLEST)
    captions_per_image = _integer("captions_per_image", captions_per_image, 1)
    if random_state is None:
        random_state = np.random.SeedSequence().entropy  # type: ignore[assignment]  # an int if not given
    return scenes_of(_TAG, n_samples, size, captions_per_image, _integer("random_state", random_state, 0))


def scenes_of(tag, n_samples, size, captions_per_image, random_state):
    """Scenes that share no random number with those of any other tag."""
    return Scenes(range(n_samples), size, captions_per_image, (tag, random_state))


def _integer(name, value, least):
    """An argument as an int of at least some size."""
    try:
        if isinstance(value, bool | np.bool_):
            raise TypeError
        number = operator.index(value)
    except TypeError:
        raise TypeError(f"{name}={value!r}; it must be an integer, {least} or more") from None
    if number < least:
        raise ValueError(f"{name}={number}; it must be {least} or more")
    return number
