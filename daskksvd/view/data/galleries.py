"""The images of an atom as data: its strongest samples, samples from each band, and controls."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from typing import TYPE_CHECKING, Any, NamedTuple, TypeAlias

import numpy as np

from .heat import crop, heat_map

if TYPE_CHECKING:
    import PIL.Image

    from .view import View


SMALL_SIDE = 64
"""Pixels of a side up to which an image is small."""

ImagesOf: TypeAlias = "Callable[[np.ndarray], list[tuple[Any, bool]]]"


class Caption(NamedTuple):
    """A caption, and where it says a word of the atom.

    Attributes
    ----------
    text : str
        As it was written; it may hold anything.
    spans : list of (start, stop)
    """

    text: str
    spans: list[tuple[int, int]]


class Sample(NamedTuple):
    """One image.

    Attributes
    ----------
    row : int
    value : float
        Coefficient of the atom, NaN where the atom is not used.
    captions : list of Caption
    image : PIL.Image.Image
    found : bool
        Whether there is an image; if not, ``image`` is a grey one.
    kind : str
        Empty for the image of the row itself; else what was made of it, for an atom.
    """

    row: int
    value: float
    captions: list[Caption]
    image: PIL.Image.Image
    found: bool
    kind: str = ""

    @property
    def key(self) -> str:
        """Names its image among all others."""
        return f"{self.kind}{self.row}"

    @property
    def told(self) -> list[Caption]:
        """Captions, those that say a word of the atom first."""
        return sorted(self.captions, key=lambda caption: not caption.spans)

    @property
    def small(self) -> bool:
        """Whether it can be shown no larger than a thumbnail."""
        return max(self.image.size) <= SMALL_SIDE


class Panel(NamedTuple):
    """Samples that belong together.

    Attributes
    ----------
    key : str
        ``"top"``, ``"heat"`` and ``"crops"`` where codes are of patches, ``"opposite"``, ``"band-1"``
        and on, ``"controls"``.
    title : str
    note : str
        How to read it, one sentence.
    samples : list of Sample
    """

    key: str
    title: str
    note: str
    samples: list[Sample]


def gallery(
    view: View,
    atom: int,
    *,
    top: int = 12,
    opposite: int = 6,
    n_quantiles: int = 4,
    per: int = 3,
    controls: int = 6,
) -> list[Panel]:
    """Gather images that show what an atom stands for.

    Parameters
    ----------
    view : View
        With codes; without images or captions these stay empty.
    atom : int
    top : int
        Samples of the strongest coefficients on the named side.
    opposite : int
        Samples of the strongest coefficients of the other sign, if there are any.
    n_quantiles, per : int
        Bands of equally many samples, and samples drawn from each; see
        `View.quantile_rows`.
    controls : int
        Samples drawn from those that do not use the atom.

    Returns
    -------
    list of Panel
        Without those that would be empty, but for one of heat maps that says why.
    """
    return list(panels(view, atom, choose(view, atom, top, opposite, n_quantiles, per, controls)))


class Chosen(NamedTuple):
    """Samples of a panel that is to be made: its key, title and note, rows, and their coefficients."""

    key: str
    title: str
    note: str
    rows: np.ndarray
    values: np.ndarray
    words: list[str]


def choose(
    view: View,
    atom: int,
    top: int = 12,
    opposite: int = 6,
    n_quantiles: int = 4,
    per: int = 3,
    controls: int = 6,
) -> list[Chosen]:
    """Choose the samples of the panels of `gallery`; nothing of them is read yet."""
    side = int(view.sides[view.check_atom(atom)])
    uses = int(view.index.uses[atom]) if view.index is not None else 0
    word = "positive" if side > 0 else "negative"
    other = "negative" if side > 0 else "positive"
    largest = "The largest {} coefficients.".format
    found = [
        ("top", "Strongest", largest(word), view.top_rows(atom, side, top)),
        ("opposite", "Other sign", largest(other), view.top_rows(atom, -side, opposite)),
    ]
    if uses > top and n_quantiles:
        for number, band in enumerate(view.quantile_rows(atom, n_quantiles, per)):
            low, high = number / n_quantiles, (number + 1) / n_quantiles
            note = f"Drawn from the {low:.0%} to {high:.0%} strongest of its samples."
            found.append((f"band-{number + 1}", f"{low:.0%} to {high:.0%}", note, band))
    rows = view.control_rows(atom, controls)
    note = "Drawn from the samples that do not use the atom."
    found.append(("controls", "Without the atom", note, (rows, np.full(len(rows), np.nan))))
    words = view.names[atom]
    chosen = []
    for key, title, note, (rows, values) in found:
        if len(rows):
            chosen.append(Chosen(key, title, note, rows, values, words))
    return chosen


def panels(
    view: View, atom: int, chosen: Iterable[Chosen], images_of: ImagesOf | None = None
) -> Iterator[Panel]:
    """Make panels one after the other, so that the strongest samples can be shown at once.

    Parameters
    ----------
    view : View
    atom : int
    chosen : list of Chosen
        What `choose` gave for the atom.
    images_of : callable, optional
        Takes rows and returns a list of images, each with whether there is one; by default
        `View.images_of`.
    """
    for key, title, note, rows, values, words in chosen:
        samples = samples_of(view, rows, values, words, images_of)
        yield Panel(key, title, note, samples)
        if key == "top" and view.patches is not None:
            yield from _where(view, atom, samples)


def _where(view: View, atom: int, samples: list[Sample]) -> Iterator[Panel]:
    """Where in its strongest images an atom is: heat maps, and its strongest patches."""
    shown, nowhere = [], 0
    for sample in samples:
        if sample.found:
            drawn = heat_map(view, atom, sample.row, max(sample.image.size))
            if np.nan_to_num(drawn.heat).any():
                shown.append(sample._replace(image=drawn.image, captions=[], kind=f"heat-{atom}-"))
            else:
                nowhere += 1
    if shown:
        note = (
            "The same images: blue where patches use the atom with positive coefficients, orange with "
            "negative ones; the full colour is its largest coefficient in any image."
        )
        if nowhere:
            note += f" In {nowhere} of them no patch does, only the class token."
        yield Panel("heat", "Where in the image", note, shown)
    elif nowhere:
        note = "In none of these images does a patch use the atom, only the class token, which lies nowhere."
        yield Panel("heat", "Where in the image", note, [])
    shown = []
    for row in (sample.row for sample in samples):
        image, value, found = crop(view, atom, row)
        if found:
            shown.append(Sample(row, value, [], image, True, f"crop-{atom}-"))
    if shown:
        note = "Of each image the patch, framed, with the largest coefficient, and what is around it."
        yield Panel("crops", "Strongest patches", note, shown)


def samples_of(
    view: View,
    rows: np.ndarray,
    values: np.ndarray,
    words: list[str],
    images_of: ImagesOf | None = None,
) -> list[Sample]:
    """Samples of rows with their values; words are marked in their captions."""
    images = (images_of or view.images_of)(rows)
    captions = view.captions_of(rows)
    return [
        Sample(int(row), float(value), [_marked(view, text, words) for text in texts], *image)
        for row, value, texts, image in zip(rows, values, captions, images, strict=True)
    ]


def _marked(view: View, text: str, words: list[str]) -> Caption:
    return Caption(text, view.marker.spans(text, words) if view.marker is not None and words else [])
