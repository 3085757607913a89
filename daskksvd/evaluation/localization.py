"""Where in images atoms are, against where their concepts are."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, Literal, NamedTuple

import numpy as np
import scipy.sparse as sp

from ..arguments import number, words
from ..coding.inputs import plain_codes
from ..coding.nonzeros import as_csr
from ..coding.store import open_codes
from ..naming.association import phi
from ..tracking.parts import counted_by, shows_parts
from .scores import RESAMPLES

if TYPE_CHECKING:
    import pandas as pd

    from ..coding.inputs import CodesLike

Box = tuple[float, float, float, float]

COVER_PIXELS = 8
"""Points a side of a patch at which it is seen whether a box covers it."""

LOCALIZED_USES = 10
"""Images on either half that a side must be used in with its concept, to be scored."""

MEANINGS = {
    "atom": "atom whose use goes with the concept most, on the images it is chosen on",
    "side": "its sign: 1 or -1",
    "phi": "correlation of its use with the concept there, in patches or in images",
    "images": "other images that show the concept and use the atom",
    "inside": "share of the atom's heat in them that lies in the concept's boxes",
    "chance": "the same, if heat were spread evenly over each image",
    "hit": "share of them whose strongest patch lies in a box, by the share of the patch that does",
    "hit_chance": "share of these images that boxes cover",
}
"""Columns of what `localization` returns."""


IMAGES_AT_ONCE = 256
"""Images whose codes are in memory at a time."""


class _Side(NamedTuple):
    atom: int
    side: int
    phi: float


@shows_parts("heat")
def localization(
    codes: CodesLike,
    embeddings: Any,
    regions: Callable[[int], Mapping[str, Sequence[Box]]] | Sequence[Mapping[str, Sequence[Box]]],
    *,
    concepts: Sequence[str] | None = None,
    choose: Literal["patches", "images"] = "patches",
    train: float = 0.5,
    random_state: int | np.random.Generator | None = 0,
    progress: bool = False,
) -> pd.DataFrame:
    """How well heat maps of atoms find the things that they go with.

    On one part of the images every concept is given the side of an atom whose use goes with it most,
    in patches or in whole images. On the others it is seen where the heat of that side, its
    coefficients over the patches, lies.

    Parameters
    ----------
    codes : path, dask.array.Array, sparse.COO, SciPy sparse or dense array
        Of patches, n_images * rows_per_image x m.
    embeddings : Embeddings or Activations
        Whose rows they are of.
    regions : callable or sequence
        Image (its stable id) to concept to boxes: left, upper, right, lower edge as shares of what the
        model sees. `datasets.Scenes.boxes` is one.
    concepts : sequence of str, optional
        Those to score; by default all that regions have.
    choose : {"patches", "images"}
        Whether use in patches of which boxes cover half or more chooses, or use in images that show
        the concept. Images know nothing of places: what is always seen with a concept, as the sea with
        fish, can then be taken for it.
    train : float
        Share of the images to choose on.
    random_state : int or numpy.random.Generator, optional
    progress : bool
        Whether to show a bar of the images of each of the two passes that are done.

    Returns
    -------
    pandas.DataFrame
        By concept, columns as in `MEANINGS`; without concepts that are too rare, or go with no atom.

    Raises
    ------
    TypeError, ValueError
        If rows of the embeddings are no patches, or codes are not of them.

    Notes
    -----
    Heat is summed over all these images, so images with much of it count more, in ``inside`` as in
    ``chance``. Memory holds a block of images, and a number for every atom and concept.
    """
    import pandas as pd

    layout = getattr(embeddings, "layout", None)
    if layout is None:
        raise TypeError("embeddings has one row an image; localization is of rows that are patches")
    rows: Any = plain_codes(open_codes(codes) if isinstance(codes, (str, os.PathLike)) else codes)
    n, each = embeddings.n_images, layout.rows_per_image
    shape = np.shape(rows)
    if len(shape) != 2 or not shape[1]:
        raise ValueError(f"codes has shape {shape}; it must be n x m, one column an atom")
    if shape[0] != n * each:
        raise ValueError(f"codes has {shape[0]:,} rows; embeddings has {n:,} images of {each} rows")
    train = number("train", train, 0, 1, "a share between 0 and 1", open_ends=True)
    if choose not in ("patches", "images"):
        raise ValueError(f"choose={choose!r}; it must be 'patches' or 'images'")
    read = regions if callable(regions) else regions.__getitem__
    boxes = [read(int(sample)) for sample in embeddings.sample]
    given = concepts is not None
    names = words("concepts", concepts) if given else sorted({name for one in boxes for name in one})
    if not names:
        raise ValueError(f"{'concepts' if given else 'regions'} has no concept; there must be one at least")
    training = np.random.default_rng(random_state).permutation(n) < round(train * n)
    chosen = _choose(_blocks(rows, embeddings, boxes, names, training), names, choose == "images")
    sums = _heat_sums(_blocks(rows, embeddings, boxes, names, ~training), names, chosen)
    table = pd.DataFrame(
        [
            {"concept": name, **chosen[name]._asdict(), **sums[name]}
            for name in names
            if name in chosen and sums[name]["images"] >= LOCALIZED_USES
        ],
        columns=["concept", *MEANINGS],
    )
    return table.set_index("concept")


def localization_summary(
    table: pd.DataFrame, *, n_resamples: int = RESAMPLES, random_state: int | None = 0
) -> dict[str, Any]:
    """Means over concepts of what `localization` returned, with 95 % bootstrap intervals over concepts.

    Returns
    -------
    dict
        ``inside``, ``chance``, ``hit``, ``hit_chance``: ``(mean, low, high)``; ``lift``, the ratio of the
        means of inside and chance, the same; ``concepts``, how many.
    """
    rng = np.random.default_rng(random_state)
    values = table[["inside", "chance", "hit", "hit_chance"]].to_numpy(float)
    if not len(values):
        raise ValueError("table has no concept; localization found none that is frequent enough")
    draws = values[rng.integers(0, len(values), (n_resamples, len(values)))].mean(1)
    means = values.mean(0)
    found = {
        name: (float(means[place]), *np.quantile(draws[:, place], [0.025, 0.975]).tolist())
        for place, name in enumerate(("inside", "chance", "hit", "hit_chance"))
    }
    lift = draws[:, 0] / draws[:, 1]
    found["lift"] = (float(means[0] / means[1]), *np.quantile(lift, [0.025, 0.975]).tolist())
    return {**found, "concepts": len(values)}


def covered(boxes: Sequence[Box], grid: tuple[int, int]) -> np.ndarray:
    """Share of every patch of a grid that some boxes cover, (height, width) float.

    Parameters
    ----------
    boxes : sequence of (left, upper, right, lower)
        Shares of the sides of the grid.
    grid : (int, int)
    """
    points = [(np.arange(size * COVER_PIXELS) + 0.5) / (size * COVER_PIXELS) for size in grid]
    inside = np.zeros(tuple(map(len, points)), bool)
    for left, upper, right, lower in boxes:
        down, across = (points[0] >= upper) & (points[0] < lower), (points[1] >= left) & (points[1] < right)
        inside |= down[:, None] & across[None]
    return inside.reshape(grid[0], COVER_PIXELS, grid[1], COVER_PIXELS).mean((1, 3))


class _Block(NamedTuple):
    """Some images: codes of their patches, and how far boxes of each concept cover these.

    Attributes
    ----------
    codes : (images * patches, m) csr_matrix
    cover : (images, patches, C) float array
    area : (images, C) float array
        Of all the grid.
    """

    codes: Any
    cover: np.ndarray
    area: np.ndarray


def _blocks(codes, embeddings, boxes, names, wanted):
    """Blocks of those images that are wanted; rows of class tokens are left out."""
    each, grid = embeddings.layout.rows_per_image, embeddings.layout.grid
    n = embeddings.n_images
    firsts = range(0, n, IMAGES_AT_ONCE)
    for low in counted_by(firsts, n, lambda first: min(IMAGES_AT_ONCE, n - first)):
        images = np.arange(low, min(low + IMAGES_AT_ONCE, n))
        block = codes[low * each : (images[-1] + 1) * each]
        images = images[wanted[images]]
        if not len(images):
            continue
        block = as_csr(block.compute() if hasattr(block, "compute") else block)
        places = np.stack([embeddings.positions(image) for image in images])
        rows = (images[:, None] - low) * each + np.arange(each)
        inside = places[0] >= 0  # the class token is in the same place everywhere
        cover = np.stack([[covered(boxes[image].get(name, ()), grid) for name in names] for image in images])
        cover = cover.reshape(len(images), len(names), -1)
        at = np.take_along_axis(cover, places[:, None, inside], 2).swapaxes(1, 2)
        yield _Block(block[rows[:, inside].ravel()], at, cover.mean(2))


def _choose(blocks, names, by_image):
    """The side of an atom that goes with each concept most, in patches or in images."""
    totals: dict[int, list] = {}
    for codes, cover, area in blocks:
        images, patches = cover.shape[:2]
        shown = (area > 0).astype(float)
        truth = shown if by_image else (cover.reshape(-1, len(names)) >= 0.5).astype(float)
        owner = sp.csr_matrix(
            (np.ones(images * patches), np.arange(images * patches), np.arange(images + 1) * patches)
        )
        for side in (1, -1):
            use = (codes.multiply(side) > 0).astype(float)
            in_images = as_csr(owner @ use)
            in_images.data[:] = 1
            some = in_images if by_image else use
            uses, truths = np.asarray(some.sum(0)).ravel(), truth.sum(0)
            parts = [(some.T @ truth).T, truths, uses, len(truth), (in_images.T @ shown).T]
            before = totals.get(side)
            totals[side] = parts if before is None else [x + y for x, y in zip(before, parts, strict=True)]
    best: dict[str, _Side] = {}
    for side, (both, truths, uses, n, together) in totals.items():
        correlation = np.nan_to_num(phi(both, truths, uses, n), nan=-1.0)
        correlation[together < LOCALIZED_USES] = -1
        for name, row in zip(names, correlation, strict=True):
            atom = int(np.argmax(row))
            if row[atom] > max(0, best[name].phi if name in best else 0):
                best[name] = _Side(atom, side, float(row[atom]))
    return best


def _heat_sums(blocks, names, chosen):
    """Heat inside boxes and by chance, and strongest patches that lie in them, by concept."""
    places = [names.index(name) for name in chosen]
    atoms, sides = [one.atom for one in chosen.values()], np.array([one.side for one in chosen.values()])
    totals = np.zeros((len(chosen), 6))
    for codes, cover, area in blocks:
        if not chosen:
            break
        heat = np.maximum(codes[:, atoms].toarray().reshape(*cover.shape[:2], -1) * sides, 0)
        cover, area = cover[:, :, places], area[:, places]
        whole = heat.sum(1)
        seen = (whole > 0) & (area > 0)
        strongest = np.take_along_axis(cover, heat.argmax(1)[:, None], 1)[:, 0]
        for place, value in enumerate((1, whole, (heat * cover).sum(1), whole * area, strongest, area)):
            totals[:, place] += (value * seen).sum(0)
    found = {}
    for name, (images, heat, inside, chance, hit, area) in zip(chosen, totals.tolist(), strict=True):
        over, among = heat or 1.0, images or 1.0
        found[name] = {
            "images": int(images), "inside": inside / over, "chance": chance / over, "hit": hit / among,
            "hit_chance": area / among,
        }  # fmt: skip
    return found
