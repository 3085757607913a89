"""Do the images that an atom is used in look alike to another encoder?"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
import pandas as pd

from ..arguments import integer
from ..execution import WORKER_TIMEOUT
from ..tracking.parts import shows_parts
from .passes import ATOMS, EMBEDDINGS, open_material

if TYPE_CHECKING:
    from distributed import Client

    from ..coding.inputs import CodesLike
    from ..rows.source import ArrayLike

LEAST_USES = 10
"""Samples that must use a side of an atom for its score to be told."""


class Sums(NamedTuple):
    """Sums over samples, for every kind of codes."""

    n: int
    judged: np.ndarray
    weight: tuple[np.ndarray, ...]
    square: tuple[np.ndarray, ...]
    uses: tuple[np.ndarray, ...]
    joint: tuple[np.ndarray, ...]


@dataclasses.dataclass(frozen=True, eq=False)
class Monosemanticity:
    """What `monosemanticity` found.

    Attributes
    ----------
    table : pandas.DataFrame
        By (codes, atom, side): ``uses``, and the ``score``.
    chance : float
        Mean similarity of all pairs of samples: what a side scores that is used at random.
    attrs : dict
    """

    table: pd.DataFrame
    chance: float
    attrs: dict[str, Any]

    @property
    def means(self) -> pd.DataFrame:
        """By codes: the mean score of sides, its 95 % bootstrap interval over sides, and their number."""
        rng, rows = np.random.default_rng(0), {}
        for name, part in self.table.groupby(level="codes", sort=False):
            values = part.score.to_numpy()
            drawn = rng.integers(len(values), size=(self.attrs["n_resamples"], len(values)))
            means = values[drawn].mean(axis=1)
            low, high = np.percentile(means, [2.5, 97.5]) if len(means) else (np.nan, np.nan)
            rows[name] = {
                "score": values.mean(),
                "score_low": low,
                "score_high": high,
                "n_sides": len(values),
            }
        return pd.DataFrame(rows).T.rename_axis("codes").astype({"n_sides": int})

    def __repr__(self) -> str:
        told = [
            f"{name} {row.score:.3f} ({row.score_low:.3f} to {row.score_high:.3f}, {row.n_sides:.0f} sides)"
            for name, row in self.means.iterrows()
        ]
        return (
            f"<Monosemanticity of {self.attrs['n']:,} samples: {'; '.join(told)}; chance {self.chance:.3f}>"
        )


@shows_parts("likeness")
def monosemanticity(
    codes: CodesLike,
    judge: ArrayLike,
    *,
    others: Mapping[str, CodesLike] | None = None,
    n_resamples: int = 200,
    client: Client | None = None,
    worker_timeout: float | None = WORKER_TIMEOUT,
    progress: bool = False,
) -> Monosemanticity:
    """How alike the samples are that use a side of an atom, as another encoder sees them.

    Parameters
    ----------
    codes : dask.array.Array, path, sparse.COO, SciPy sparse or dense array
        n x m.
    judge : array-like, dask.array.Array, zarr.Array or path
        Embeddings of the same samples by another encoder, n x e. Their mean is taken off.
    others : dict of str to codes, optional
        Codes of the same samples to compare with, such as those of `baseline_codes`.
    n_resamples : int
        Of the bootstrap over sides.
    client, worker_timeout : as for `daskksvd.fit`
    progress : bool
        Whether to show a bar of the parts of each pass that are done.

    Returns
    -------
    Monosemanticity

    Raises
    ------
    TypeError, ValueError, FileNotFoundError
        If arguments do not fit together, or no side is used in `LEAST_USES` samples.

    Notes
    -----
    The mean cosine of all pairs of samples, weighted by the product of their coefficients (after Pach et al.
    2025, "Sparse autoencoders learn monosemantic features in vision-language models"). For unit vectors e and
    weights a the sum over ordered pairs is ``||sum a e||^2 - sum a^2``, so that two passes of sums give it
    exactly, as was also seen for a loss of that kind ("MonoLoss", arXiv 2602.12403).
    """
    n_resamples = integer("n_resamples", n_resamples, 0)
    material = open_material(codes, embeddings=judge, others=others)
    kinds = [ATOMS, *[kind for kind in material.features if kind not in (ATOMS, EMBEDDINGS)]]
    how = (None, client, worker_timeout)
    mean = material.run([EMBEDDINGS], _mean, sum, None, *how) / material.n
    sums = material.run([EMBEDDINGS, *kinds], _sum, _add, mean, *how)
    tables = {}
    for place, kind in enumerate(kinds):
        weight, square = sums.weight[place], sums.square[place]
        pairs = np.einsum("se,se->s", sums.joint[place], sums.joint[place]) - square
        kept = np.flatnonzero((sums.uses[place] >= LEAST_USES) & (weight**2 - square > 0))
        m = len(weight) // 2
        index = pd.MultiIndex.from_arrays([kept % m, np.where(kept < m, 1, -1)], names=["atom", "side"])
        score = pairs[kept] / (weight[kept] ** 2 - square[kept])
        tables[kind] = pd.DataFrame({"uses": sums.uses[place][kept], "score": score}, index=index)
    if not len(tables[ATOMS]):
        raise ValueError(f"codes has no atom with a side that {LEAST_USES} samples use")
    n = material.n
    chance = float((sums.judged @ sums.judged - n) / (n * (n - 1)))
    return Monosemanticity(pd.concat(tables, names=["codes"]), chance, {"n": n, "n_resamples": n_resamples})


def _mean(features, labels, numbers, shared):
    return features[0].sum(axis=0)


def _sum(features, labels, numbers, mean):
    judged = features[0] - mean
    norms = np.linalg.norm(judged, axis=1, keepdims=True)
    judged /= np.where(norms > 0, norms, 1)
    sides = features[1:]
    return Sums(
        len(judged),
        judged.sum(axis=0),
        tuple(np.asarray(side.sum(axis=0)).ravel() for side in sides),
        tuple(np.asarray(side.multiply(side).sum(axis=0)).ravel() for side in sides),
        tuple(np.bincount(side.indices, minlength=side.shape[1]) for side in sides),
        tuple(np.asarray(side.T @ judged) for side in sides),
    )


def _add(parts):
    total = parts[0]
    for part in parts[1:]:
        several = [
            tuple(a + b for a, b in zip(one, other, strict=True))
            for one, other in zip(total[2:], part[2:], strict=True)
        ]
        total = Sums(total.n + part.n, total.judged + part.judged, *several)
    return total
