"""Which weight of texts: the largest that costs images next to nothing, on rows kept back."""

import numpy as np
import xarray as xr

from ..rows import split_holdout
from .halves import KEPT_BACK, make_halves
from .result import read_joint

WEIGHTS = (0.05, 0.1, 0.2, 0.35, 0.5, 0.65, 0.8)
"""Tried."""

MOST_COST = 0.01
"""How much larger the share of the variance of images that is left may be than without texts."""


def choose_weight(pairs, learning, facts, texts_as):
    """Fit with each weight on the pairs but the last quarter of every chunk, and see what it costs there.

    Parameters
    ----------
    pairs : Pairs
        With both.
    learning : learning.Learning
    facts : halves.Facts
    texts_as : str

    Returns
    -------
    weight : float
    costs : xarray.Dataset
        ``image_fvu`` and ``image_cost`` by ``text_weight``, 0 for images alone.
    """
    kept = split_holdout(pairs.chunk_rows, KEPT_BACK)
    inside = [np.arange(rows) < first for rows, first in zip(pairs.chunk_rows, kept, strict=True)]
    mask = np.concatenate(inside)
    learn, held = pairs.where(mask), pairs.where(~mask)
    if learn.n < learning.n_components or not held.n:
        raise ValueError(
            f"text_weight='auto' learns from {learn.n} of {pairs.n} pairs and looks at the others, fewer "
            f"than n_components={learning.n_components}; give more pairs, or a weight"
        )
    beside = {"checkpoint": None}
    how = {name: learning.arguments[name] for name in ("client", "worker_timeout")}
    alone = learning.run(learn.images, **beside, whiten=learning.whiten, center=True)
    left = [alone.evaluate(held.images, **how)["fvu"]]
    for weight in WEIGHTS:
        halves = make_halves(facts, weight, learning.whiten)
        both = learning.of_both(learning.run(halves.joined(learn, learning.dtype), **beside), halves)
        result = read_joint(both, pairs.d, weight, texts_as, facts)
        left.append(result.images.evaluate(held.images, **how)["fvu"])
    fvu = np.array(left)
    cost = fvu / fvu[0] - 1
    cheap = np.flatnonzero(cost[1:] <= MOST_COST)
    weight = WEIGHTS[cheap[-1] if len(cheap) else 0]
    coords = {"text_weight": np.array([0.0, *WEIGHTS])}
    about = {
        "image_fvu": ("text_weight", fvu, {"long_name": "variance of images unexplained on rows kept back"}),
        "image_cost": ("text_weight", cost, {"long_name": "how much more that is than without texts"}),
    }
    return weight, xr.Dataset(about, coords)
