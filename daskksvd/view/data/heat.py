"""Heat of an atom over an image, and patches with what is around them, as pictures."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from .images import placeholder

if TYPE_CHECKING:
    import PIL.Image

    from .patches import Patches
    from .view import View

HEAT_COLOURS = ((0, 114, 178), (213, 94, 0))
"""Of positive and of negative coefficients: the blue and the vermilion of Okabe and Ito."""

HEAT_SIDE = 224
"""Pixels of the longer side of an image under a heat map, at least: small ones are enlarged."""

HEAT_OPACITY = 0.8
"""Of the largest coefficient of an atom; others in proportion."""

HEAT_FADE = 0.35
"""Share of its contrast and colour that an image keeps under a heat map, so that it does not hide it."""

CROP_PATCHES = 5
"""Patches a side of a crop: the patch in the middle with two around it."""

CROP_SIDE = 112
"""Pixels of a crop."""

CROPPED_SIDE = 1024
"""Pixels of the longer side of the image that a crop is cut from, at most."""


class HeatMap(NamedTuple):
    """The coefficients of an atom over an image.

    Attributes
    ----------
    image : PIL.Image.Image
        RGB, faded under the colours of the coefficients.
    heat : (height, width) float32 array
        Coefficient of every patch, 0 where it does not use the atom, NaN where it is no row.
    box : (float, float, float, float)
        What the model sees: left, upper, right, lower edge as shares of the image.
    largest : float
        Magnitude that has the full colour.
    """

    image: PIL.Image.Image
    heat: np.ndarray
    box: tuple[float, float, float, float]
    largest: float


def heat_map(view: View, atom: int, row: int, side: int = HEAT_SIDE) -> HeatMap:
    """An image with the coefficients of an atom over it; see `HeatMap`.

    Parameters
    ----------
    view : View
        Of codes of patches.
    atom, row : int
        The row of an image.
    side : int
        Pixels of the longer side, at least.

    Raises
    ------
    ValueError
        If codes are not of patches.
    """
    patches, atom = patches_of(view), view.check_atom(atom)
    return heat_over(view, atom, row, patches.heat(atom, row), side)


def heat_over(view: View, atom: int, row: int, heat: np.ndarray, side: int = HEAT_SIDE) -> HeatMap:
    """The same of coefficients that are given, (height, width), on the scale of the atom."""
    patches = patches_of(view)
    image = _enlarged(view.image(row), side)
    box = patches.seen(row, *image.size)
    # where only class tokens of the strongest images use it, by what this image has
    largest = patches.largest(view.coded(), atom) or float(np.nanmax(np.abs(heat))) or 1.0
    return HeatMap(painted(image, heat, box, largest), heat, box, largest)


def painted(
    image: PIL.Image.Image, heat: np.ndarray, box: tuple[float, float, float, float], largest: float
) -> PIL.Image.Image:
    """A faded image under the colours of coefficients, which are interpolated between patches.

    Parameters
    ----------
    image : PIL.Image.Image
    heat : (height, width) array
        NaN where nothing is known.
    box : tuple of float
        Where in the image the grid lies, as shares of its sides.
    largest : float
        Magnitude of the full colour.
    """
    from PIL import Image

    width, height = image.size
    base = np.asarray(image.convert("RGB"), np.float32)
    grey = base.mean(2, keepdims=True)
    base = (HEAT_FADE * base + (1 - HEAT_FADE) * (0.5 * grey + 0.5 * 232)).astype(np.float32)
    known = np.isfinite(heat)
    left, upper, right, lower = box
    at = left * width, upper * height, right * width, lower * height

    def spread(values):
        """Values of patches over all pixels, interpolated; 0 outside the grid."""
        rows, columns = values.shape
        # the affine map from pixels of the image to the grid, whose first centre is at .5
        scale_x, scale_y = columns / (at[2] - at[0]), rows / (at[3] - at[1])
        grid = Image.fromarray(np.pad(values, 1, mode="edge").astype(np.float32))
        found = grid.transform(
            (width, height), Image.Transform.AFFINE,
            (scale_x, 0, 1 - at[0] * scale_x, 0, scale_y, 1 - at[1] * scale_y), Image.Resampling.BILINEAR,
        )  # fmt: skip
        return np.asarray(found)

    weight = spread(known.astype(np.float32))
    value = spread(np.where(known, heat, 0)) / np.maximum(weight, 1e-6)
    value = np.where(weight > 0.2, value, 0) / largest
    x, y = (np.arange(width) + 0.5) / width, (np.arange(height) + 0.5) / height
    inside = ((y >= upper) & (y <= lower))[:, None] & ((x >= left) & (x <= right))[None]
    alpha = (HEAT_OPACITY * np.clip(np.abs(value), 0, 1) ** 0.7 * inside)[..., None]
    colour = np.where((value > 0)[..., None], *(np.array(one, np.float32) for one in HEAT_COLOURS))
    made = base * (1 - alpha) + colour * alpha
    return Image.fromarray(np.clip(made, 0, 255).round().astype(np.uint8))


def crop(view: View, atom: int, row: int) -> tuple[PIL.Image.Image, float, bool]:
    """The patch of an image that uses an atom most, framed, with what is around it.

    Returns
    -------
    image : PIL.Image.Image
    value : float
        Its coefficient.
    found : bool
        Whether there is such a patch, and an image; without one it is grey. The class token may use an
        atom where no patch does.
    """
    from PIL import Image, ImageDraw

    patches = patches_of(view)
    heat = patches.heat(view.check_atom(atom), row)
    place = int(np.nanargmax(np.abs(heat)))
    value = float(heat.flat[place])
    image, found = (placeholder(), False) if view.images is None else view.images.get(row, CROPPED_SIDE)
    if not found or not value:
        return image, value, False
    left, upper, right, lower = patches.seen(row, *image.size)
    rows, columns = heat.shape
    wide, high = (right - left) * image.width / columns, (lower - upper) * image.height / rows
    down, across = divmod(place, columns)
    x, y = left * image.width + (across + 0.5) * wide, upper * image.height + (down + 0.5) * high
    half = CROP_PATCHES / 2
    # moved inside the image where that can be done
    x0 = float(np.clip(x - half * wide, 0, max(0, image.width - 2 * half * wide)))
    y0 = float(np.clip(y - half * high, 0, max(0, image.height - 2 * half * high)))
    part = image.convert("RGB").transform(
        (CROP_SIDE, CROP_SIDE), Image.Transform.EXTENT,
        (x0, y0, x0 + 2 * half * wide, y0 + 2 * half * high), Image.Resampling.BICUBIC,
    )  # fmt: skip
    scale = CROP_SIDE / CROP_PATCHES
    corner = (x - x0) / wide * scale - scale / 2, (y - y0) / high * scale - scale / 2
    frame = (*corner, corner[0] + scale, corner[1] + scale)
    pen = ImageDraw.Draw(part)
    pen.rectangle([frame[0] - 1, frame[1] - 1, frame[2] + 1, frame[3] + 1], outline="white", width=3)
    pen.rectangle(frame, outline=HEAT_COLOURS[0 if value > 0 else 1], width=2)
    return part, value, True


def patches_of(view: View) -> Patches:
    """Codes of patches that a view has; an error without."""
    if view.patches is None:
        raise ValueError(
            "there are no codes of patches to see where in images atoms are; open the view with codes of "
            "patches, and with the embeddings that they are of"
        )
    return view.patches


def _enlarged(image, side):
    """An image whose longer side has so many pixels at least."""
    factor = side / max(image.size)
    if factor <= 1:
        return image
    from PIL import Image

    size = tuple(max(1, round(length * factor)) for length in image.size)
    return image.resize(size, Image.Resampling.BICUBIC)
