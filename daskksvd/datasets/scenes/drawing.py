"""Scenes as images."""

import functools
import math

import numpy as np
from PIL import Image, ImageChops, ImageDraw

from .shapes import DETAIL, PARTS

SCENE_OVERSAMPLING = 3
"""Scenes are drawn this many times larger and averaged, so that edges are smooth.
Twice leaves steps on leaning lines; four times takes 1.5 times as long."""

SCENE_OVERSAMPLING_SIZE = 128
"""Pixels up to which that holds. In larger images steps show less and pixels
cost more: they are drawn twice as large."""

_COLOURS = {
    "red": (214, 40, 40),
    "orange": (246, 140, 30),
    "yellow": (250, 216, 50),
    "green": (52, 158, 66),
    "blue": (44, 92, 208),
    "purple": (132, 60, 170),
    "pink": (248, 142, 184),
    "brown": (134, 84, 46),
    "black": (34, 34, 38),
    "white": (250, 250, 248),
}
_TOP = {
    "sky": (150, 205, 245),
    "grass": (150, 200, 110),
    "sea": (70, 150, 190),
    "sand": (238, 216, 165),
    "night": (14, 18, 48),
    "snow": (222, 230, 240),
}
_BOTTOM = {
    "sky": (205, 232, 250),
    "grass": (104, 168, 78),
    "sea": (28, 96, 150),
    "sand": (222, 192, 132),
    "night": (38, 40, 84),
    "snow": (240, 244, 248),
}
_MARKS = {
    "sky": (252, 253, 255),
    "grass": (70, 130, 56),
    "sea": (150, 205, 225),
    "sand": (186, 152, 98),
    "night": (225, 225, 245),
    "snow": (255, 255, 255),
}
_RADIUS = {"small": (0.075, 0.095), None: (0.115, 0.14), "large": (0.18, 0.24)}
"""Half the width of an object, least and most, of the image's width."""

_REGIONS = {
    1: {
        "middle": (0.05, 0.05, 0.95, 0.95),
        "left": (0.03, 0.05, 0.55, 0.95),
        "right": (0.45, 0.05, 0.97, 0.95),
        "top": (0.05, 0.03, 0.95, 0.55),
        "bottom": (0.05, 0.45, 0.95, 0.97),
    },
    2: {
        "left": (0.03, 0.05, 0.5, 0.95),
        "right": (0.5, 0.05, 0.97, 0.95),
        "top": (0.05, 0.03, 0.95, 0.5),
        "bottom": (0.05, 0.5, 0.95, 0.97),
    },
    "across": {
        "left": (0.02, 0.05, 0.34, 0.95),
        "middle": (0.34, 0.05, 0.66, 0.95),
        "right": (0.66, 0.05, 0.98, 0.95),
    },
    "down": {
        "top": (0.05, 0.02, 0.95, 0.34),
        "middle": (0.05, 0.34, 0.95, 0.66),
        "bottom": (0.05, 0.66, 0.95, 0.98),
    },
}
"""Where groups are: left, upper, right, lower edge as shares of the image."""

_TILT = {
    None: (-8, 8),
    "stand": (0, 0),
    "float": (-14, 14),
    "fall": (18, 50),
    "roll": (15, 40),
    "shine": (-8, 8),
}
"""Degrees an object leans by; falling and rolling ones to either side."""

_ONE_WAY = {"house", "tree", "leaf", "flower", "star", "heart"}
"""Objects whose mirror image looks the same, or wrong."""


def draw(description, size, rng):
    """Draw a scene; see `draw_placed`. Returns a `PIL.Image.Image`, RGB."""
    return draw_placed(description, size, rng)[0]


def draw_placed(description, size, rng):
    """Draw a scene, and say where its objects are.

    Parameters
    ----------
    description : Description
    size : int
        Width and height in pixels.
    rng : numpy.random.Generator
        For places, tilts, shades: all that the description leaves open.

    Returns
    -------
    image : PIL.Image.Image
        RGB.
    places : list of list of (x, y, radius)
        Of the objects of each group: centre and half the width, as shares of the width.
    """
    factor = SCENE_OVERSAMPLING if size <= SCENE_OVERSAMPLING_SIZE else 2
    image, pen = _background(description.background, size * factor, rng)
    shape = len(description.groups)
    if shape == 3:
        shape = "across" if description.groups[0].position == "left" else "down"
    places = []
    for group in description.groups:
        colour = _varied(_COLOURS[group.colour], 6, rng)
        places.append([])
        for x, y, radius in _places(group, _REGIONS[shape][group.position], rng):
            places[-1].append((x, y, radius))
            at = (x * image.width, y * image.width, radius * image.width)
            _draw_action(pen, group.action, description.background, at, rng)
            _draw_object(image, pen, group, colour, description.background, at, rng)
    return image.reduce(factor), places


def _places(group, region, rng):
    """Centres and radii, as shares of the width, of a group's objects within its region."""
    left, upper, right, lower = region
    width, height = right - left, lower - upper
    columns, rows = max(
        ((columns, math.ceil(group.count / columns)) for columns in range(1, group.count + 1)),
        key=lambda shape: min(width / shape[0], height / shape[1]),
    )
    cell = min(width / columns, height / rows)
    least, most = _RADIUS[group.size]
    radius = rng.uniform(least, min(most, cell / 2.1))
    pitch = min(cell, 2.7 * radius)
    slack = (width - columns * pitch) / 2, (height - rows * pitch) / 2
    x = (left + right) / 2 + rng.uniform(-0.4, 0.4) * slack[0]
    y = (upper + lower) / 2 + rng.uniform(-0.4, 0.4) * slack[1]
    loose = max(0.0, (pitch - 2 * radius) / 2)
    for number in range(group.count):
        row, column = divmod(number, columns)
        yield (
            x + (column - (columns - 1) / 2) * pitch + rng.uniform(-loose, loose),
            y + (row - (rows - 1) / 2) * pitch + rng.uniform(-loose, loose),
            radius * rng.uniform(0.95, 1.0),
        )


def _draw_object(image, pen, group, colour, background, at, rng):
    x, y, radius = at
    lean = math.radians(rng.uniform(*_TILT[group.action]))
    if group.action in ("fall", "roll") and rng.random() < 0.5:
        lean = -lean
    flip = -1 if group.object not in _ONE_WAY and rng.random() < 0.5 else 1
    turn = radius * np.array(
        [[flip * math.cos(lean), flip * math.sin(lean)], [-math.sin(lean), math.cos(lean)]]
    )
    ink = _mixed(colour, (255, 255, 255), 0.55) if background == "night" else _mixed(colour, (0, 0, 0), 0.6)
    fills = {
        "body": colour,
        "shade": _mixed(colour, (0, 0, 0), 0.35),
        "tint": _mixed(colour, (255, 255, 255), 0.5),
        "ink": ink,
        **DETAIL,
    }
    line = max(1, round(0.07 * radius))
    for part in PARTS[group.object]:
        loops = [(loop @ turn + (x, y)).ravel().tolist() for loop in part.loops]
        path = [corner for loop in loops for corner in (*loop, *loop[:2])]
        pen.polygon(path, fill=fills[part.fill])
        if part.fill == "body" and group.texture != "plain":
            _draw_texture(image, path, group.texture, colour, radius)
        if part.fill in ("body", "shade"):
            for loop in loops:
                pen.line([*loop, *loop[:4]], fill=ink, width=line)


def _draw_texture(image, path, texture, colour, radius):
    """Cover the inside of a path with stripes, dots or checks of a lighter or darker colour."""
    left, upper = math.floor(min(path[::2])), math.floor(min(path[1::2]))
    width, height = math.ceil(max(path[::2])) - left + 1, math.ceil(max(path[1::2])) - upper + 1
    inside = Image.new("L", (width, height))
    shifted = [value - (upper if number % 2 else left) for number, value in enumerate(path)]
    ImageDraw.Draw(inside).polygon(shifted, fill=255)
    pattern = _pattern(texture, round(radius)).crop((0, 0, width, height))
    dark = sum(colour) > 600 or min(colour[:2]) > 200
    other = _mixed(colour, (0, 0, 0), 0.45) if dark else _mixed(colour, (255, 255, 255), 0.75)
    image.paste(other, (left, upper), ImageChops.multiply(inside, pattern))


@functools.lru_cache(maxsize=512)
def _pattern(texture, radius):
    """A mask, L, that covers an object of some radius in pixels however it leans."""
    side = 3 * radius + 4
    y, x = np.mgrid[:side, :side] / max(radius, 1)
    if texture == "striped":
        inside = y % 0.5 < 0.25
    elif texture == "dotted":
        shifted = x + 0.29 * (y // 0.58 % 2)
        inside = (shifted % 0.58 - 0.29) ** 2 + (y % 0.58 - 0.29) ** 2 < 0.19**2
    else:
        inside = (x // 0.42 + y // 0.42) % 2 < 1
    return Image.fromarray(np.where(inside, 255, 0).astype(np.uint8))


def _draw_action(pen, action, background, at, rng):
    """What tells what an object does: its shadow, lines behind it, or rays."""
    x, y, radius = at
    dark = background in ("night", "sea")
    colour = (235, 240, 250) if dark else (95, 95, 110)
    line = max(1, round(0.09 * radius))
    if action == "stand":
        shadow = _mixed(_BOTTOM[background], (0, 0, 0), 0.5)
        pen.ellipse((x - 1.2 * radius, y + 0.75 * radius, x + 1.2 * radius, y + 1.12 * radius), fill=shadow)
    elif action == "float":
        shadow = _mixed(_BOTTOM[background], (0, 0, 0), 0.4)
        pen.ellipse((x - 0.7 * radius, y + 1.25 * radius, x + 0.7 * radius, y + 1.5 * radius), fill=shadow)
    elif action == "fall":
        for offset in (-0.5, 0, 0.5):
            top = y - (1.65 - abs(offset) / 3) * radius
            pen.line(
                (x + offset * radius, top, x + offset * radius, top + 0.6 * radius), fill=colour, width=line
            )
    elif action == "roll":
        side = 1 if rng.random() < 0.5 else -1
        for offset in (-0.45, 0, 0.45):
            end = x + side * 1.65 * radius
            pen.line(
                (end - side * 0.55 * radius, y + offset * radius, end, y + offset * radius), colour, line
            )
    elif action == "shine":
        for angle in np.arange(12) * math.pi / 6 + rng.uniform(0, math.pi / 6):
            along = np.array([math.cos(angle), math.sin(angle)])
            ray = np.concatenate([(x, y) + 1.15 * radius * along, (x, y) + 1.5 * radius * along])
            pen.line(ray.tolist(), fill=(255, 205, 30), width=line)


def _background(name, side, rng):
    """An image with nothing but a background in it, and its pen."""
    ends = np.array([_varied(_TOP[name], 8, rng), _varied(_BOTTOM[name], 8, rng)], float)
    ramp = np.linspace(0, 1, side)[:, None]
    column = (ends[0] * (1 - ramp) + ends[1] * ramp).round().astype(np.uint8)
    image = Image.fromarray(column[:, None]).resize((side, side), Image.Resampling.NEAREST)
    pen = ImageDraw.Draw(image)
    _DECORATIONS[name](pen, side, _MARKS[name], rng)
    return image, pen


def _clouds(pen, side, colour, rng):
    for _ in range(rng.integers(2, 5)):
        x, y, width = rng.random(3) * (side, side, 0.1 * side) + (0, 0, 0.08 * side)
        for shift, rise, size in ((-0.8, 0, 0.6), (0, -0.25, 0.9), (0.8, 0, 0.65)):
            cx, cy, r = x + shift * width, y + rise * width, size * width
            pen.ellipse((cx - r, cy - 0.6 * r, cx + r, cy + 0.6 * r), fill=colour)


def _blades(pen, side, colour, rng):
    places = rng.random((40, 3)) * (side, side, 0.03 * side)
    for x, y, lean in places.tolist():
        pen.line((x, y, x + lean - 0.015 * side, y - 0.05 * side), fill=colour, width=max(1, side // 96))


def _waves(pen, side, colour, rng):
    across = np.linspace(0, side, 17)
    for height in np.arange(0.5, 7) / 7 * side + rng.uniform(-0.03, 0.03, 7) * side:
        line = height + 0.015 * side * np.sin(across * (40 / side) + rng.uniform(0, 6))
        pen.line(np.stack([across, line], 1).ravel().tolist(), fill=colour, width=max(1, side // 96))


def _dots(number, least, most):
    def scatter(pen, side, colour, rng):
        places = rng.random((number, 3)) * (side, side, (most - least) * side) + (0, 0, least * side)
        for x, y, r in places.tolist():
            pen.ellipse((x - r, y - r, x + r, y + r), fill=colour)

    return scatter


_DECORATIONS = {
    "sky": _clouds,
    "grass": _blades,
    "sea": _waves,
    "sand": _dots(60, 0.002, 0.006),
    "night": _dots(28, 0.002, 0.008),
    "snow": _dots(36, 0.006, 0.014),
}


def _varied(colour, spread, rng):
    """A colour a little off."""
    shifts = rng.integers(-spread, spread + 1, 3).tolist()
    return tuple(min(255, max(0, value + shift)) for value, shift in zip(colour, shifts, strict=True))


def _mixed(colour, other, share):
    """A colour with a share of another in it."""
    return tuple(round(a + (b - a) * share) for a, b in zip(colour, other, strict=True))
