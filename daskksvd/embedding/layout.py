"""Tokens of an image as rows: how many there are, and where in the image each lies."""

from __future__ import annotations

from typing import Any, Literal, NamedTuple, TypeAlias, get_args

import numpy as np

Tokens: TypeAlias = Literal["cls", "patches", "cls+patches"]

TOKENS = get_args(Tokens)

CLS_POSITION = -1
"""Position of the class token, which lies nowhere."""


class Layout(NamedTuple):
    """Which tokens of an image are rows, in the order of rows: the class token, then patches by position.

    Attributes
    ----------
    grid : (int, int)
        Rows and columns of patches; position p lies in row p // columns.
    n_patches : int
        Patches of an image that are rows, at most all of the grid.
    cls : bool
        Whether the class token comes first.
    seed : int
        Of the draw, where not all patches are rows.
    frame : dict or None
        How images are resized and cropped before they enter the model; see `seen_box`.
    """

    grid: tuple[int, int]
    n_patches: int
    cls: bool = False
    seed: int = 0
    frame: dict[str, Any] | None = None

    @property
    def rows_per_image(self) -> int:
        """Rows of one image."""
        return self.n_patches + self.cls

    def positions(self, sample: int) -> np.ndarray:
        """Positions of the rows of one image, (rows_per_image,) int64; -1 for the class token.

        Parameters
        ----------
        sample : int
            Stable id of the image: the draw depends on it and the seed alone.
        """
        n_all = self.grid[0] * self.grid[1]
        found = np.arange(n_all)
        if self.n_patches < n_all:
            rng = np.random.default_rng(np.random.SeedSequence(self.seed, spawn_key=(int(sample),)))
            found = np.sort(rng.choice(n_all, self.n_patches, replace=False))
        return np.concatenate([[CLS_POSITION], found]) if self.cls else found

    def chosen(self, tokens: np.ndarray, sample: int) -> np.ndarray:
        """Of all tokens of an image, class token (if it is wanted) and patches, those that are rows."""
        if self.n_patches == self.grid[0] * self.grid[1]:
            return tokens
        return tokens[self.positions(sample) + self.cls]

    def attributes(self) -> dict[str, Any]:
        """The same as a store has it."""
        return {
            "rows_per_image": self.rows_per_image,
            "grid": list(self.grid),
            "cls": self.cls,
            "n_patches": self.n_patches,
            "seed": self.seed,
            "frame": self.frame,
        }


def read_layout(attributes: dict[str, Any] | None) -> Layout | None:
    """The layout that a store tells of; None where a row is an image."""
    if not attributes:
        return None
    height, width = attributes["grid"]
    return Layout(
        (int(height), int(width)),
        int(attributes["n_patches"]),
        bool(attributes["cls"]),
        int(attributes["seed"]),
        attributes.get("frame"),
    )


def image_slice(layout: Layout | None, image: int) -> slice:
    """Rows of an image, counted from 0: those of a layout, or the one where there is none."""
    each = 1 if layout is None else layout.rows_per_image
    return slice(image * each, (image + 1) * each)


def frame_of(size: dict[str, int] | None, crop: tuple[int, int]) -> dict[str, Any]:
    """How an image comes into the frame that a model sees.

    Parameters
    ----------
    size : dict or None
        ``{"shortest_edge": s}``, ``{"longest_edge": s}`` or ``{"height": h, "width": w}``; None for no
        resizing.
    crop : (int, int)
        Height and width of what enters the model, cut from the middle.
    """
    return {"size": size, "crop": [int(crop[0]), int(crop[1])]}


def seen_box(
    frame: dict[str, Any] | None, width: int, height: int, *, copied: bool = True
) -> tuple[float, float, float, float]:
    """What a model sees of an image: left, upper, right and lower edge as shares of its width and height.

    Edges outside 0 to 1 are of a margin that was added.

    Parameters
    ----------
    frame : dict or None
        As `frame_of` makes it; None for the whole image.
    width, height : int
        Of the image, or of a copy of another size.
    copied : bool
        Whether it may be a copy of another size. One that was not resized before it entered the model is
        then taken to have had the size of what enters it.
    """
    if frame is None:
        return 0.0, 0.0, 1.0, 1.0
    size, (crop_height, crop_width) = frame["size"], frame["crop"]
    if size is None:
        scaled = (crop_width, crop_height) if copied else (width, height)
    elif "height" in size:
        scaled = size["width"], size["height"]
    else:
        edge = size.get("shortest_edge") or size["longest_edge"]
        factor = edge / (min if "shortest_edge" in size else max)(width, height)
        scaled = width * factor, height * factor
    across, down = crop_width / scaled[0], crop_height / scaled[1]
    return (1 - across) / 2, (1 - down) / 2, (1 + across) / 2, (1 + down) / 2


def check_tokens(tokens, pooling):
    """Refuse tokens that are none, or do not go with a pooling."""
    if tokens is not None and tokens not in TOKENS:
        raise ValueError(f"tokens={tokens!r}; it must be one of {', '.join(map(repr, TOKENS))}, or None")
    if tokens is not None and pooling != "pooled":
        raise ValueError(
            f"pooling={pooling!r} makes one row of an image; with tokens={tokens!r} leave it out"
        )


def drawn_patches(grid, share):
    """Patches of an image that are rows: a share of all, one at least."""
    return max(1, round(share * grid[0] * grid[1]))
