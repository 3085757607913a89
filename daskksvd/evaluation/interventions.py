"""What turning atoms changes: what it is to change, all else, and the same beside random atoms."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
import scipy.sparse as sp

from ..arguments import integer, row_numbers
from ..coding.nonzeros import as_csr
from ..embedding.texts import as_text_encoder
from ..naming.choosing import auroc
from ..tracking.parts import each_counted, shows_parts
from ..turning import as_turn
from .features import Dense
from .ranking import top_words

if TYPE_CHECKING:
    import numpy.typing as npt

    from ..embedding.texts import EncoderLike
    from ..fitting.result import Result
    from ..rows.source import ArrayLike
    from ..turning import Mode

READ_SAMPLES = 2_000
"""Samples that are turned by default: means over them are exact to hundredths of a standard deviation."""

LEAST_SAMPLES = 10
"""Samples that must show a concept for its effect to be told."""

ATOMS = "its atoms"
OTHERS = "other atoms"
DIRECTIONS = "random directions"
WAYS = (ATOMS, OTHERS, DIRECTIONS)
"""What is turned: atoms of the concept; as many others that the sample uses; a shift as long, any way."""


@dataclasses.dataclass(frozen=True, eq=False)
class InterventionEffect:
    """What `intervention_effect` found.

    Attributes
    ----------
    table : pandas.DataFrame
        By (concept, turned): ``n_atoms``, ``n_samples`` that show the concept, ``target`` (mean change of
        its score in those, in standard deviations of the score) with 95 % bootstrap limits ``target_low``
        and ``target_high``, ``others`` (mean magnitude of the mean changes of concepts of other groups),
        ``rivals`` (mean change of those of its own group), ``shift`` (mean length of the change, as a share
        of the length of a sample), ``auroc_before`` and ``auroc_after`` (how well the score tells the
        samples that show the concept from others, all of them turned), and ``others_auroc`` (mean change of
        that of all other concepts).
    changes : pandas.DataFrame
        Mean change of every score (column) where the atoms of a concept (row) are turned.
    attrs : dict
        Numbers of samples, concepts and controls, and how atoms were turned.
    """

    table: pd.DataFrame
    changes: pd.DataFrame
    attrs: dict[str, Any]

    @property
    def means(self) -> pd.DataFrame:
        """Means over concepts by what was turned, with 95 % bootstrap limits of ``target`` and ``others``."""
        rng, rows = np.random.default_rng(0), {}
        for way in WAYS:
            part = self.table.xs(way, level="turned")
            row = {name: float(part[name].mean()) for name in part}
            for name in ("target", "others"):
                drawn = rng.integers(len(part), size=(self.attrs["n_resamples"], len(part)))
                means = part[name].to_numpy()[drawn].mean(axis=1)
                if len(means):
                    row[f"{name}_low"], row[f"{name}_high"] = np.percentile(means, [2.5, 97.5])
            rows[way] = row
        return pd.DataFrame(rows).T.rename_axis("turned")

    def __repr__(self) -> str:
        means, a = self.means, self.attrs
        own, other = means.loc[ATOMS], means.loc[OTHERS]
        return (
            f"<InterventionEffect: {a['n_concepts']} concepts, {a['n_samples']:,} samples, {a['mode']} "
            f"{a['value']:g}: its own score {own.target:+.2f} sd ({own.target_low:+.2f} to "
            f"{own.target_high:+.2f}), other concepts {own.others:.2f} sd; as many other atoms "
            f"{other.target:+.2f} and {other.others:.2f}>"
        )


@shows_parts("turns")
def intervention_effect(
    result: Result,
    embeddings: ArrayLike,
    texts: Mapping[str, Sequence[str] | npt.ArrayLike],
    atoms: Mapping[str, Sequence[int]],
    *,
    encoder: EncoderLike | None = None,
    truth: npt.ArrayLike | None = None,
    groups: Mapping[str, str] | None = None,
    value: float = 0.0,
    mode: Mode = "set",
    rows: npt.ArrayLike | None = None,
    n_samples: int = READ_SAMPLES,
    n_controls: int = 5,
    n_resamples: int = 200,
    random_state: int | np.random.Generator | None = None,
    progress: bool = False,
) -> InterventionEffect:
    """Turn the atoms of a concept, and see what the texts of a contrastive model say of it.

    The score of a concept is the cosine of a sample with the mean encoding of its texts, less that of all
    texts, in standard deviations over the samples before. It should move for the concept whose atoms are
    turned, and for no other.

    Parameters
    ----------
    result : daskksvd.Result
        Learned on the pooled image vectors of a contrastive model.
    embeddings : array-like, dask.array.Array, zarr.Array or path
        n x d such vectors, better not those learned from.
    texts : dict of str to sequence of str, or (t, d) array
        Concept -> prompts or captions that say it, or their encodings.
    atoms : dict of str to sequence of int
        Concept -> its atoms, such as those it names; of concepts among ``texts``.
    encoder : str, path, TextEncoder or callable, optional
        The text side of the model, unless all texts are encodings; see `daskksvd.embed_texts`.
    truth : (n, C) boolean array, optional
        Which samples show which concepts, in the order of ``texts``. Without it those count that
        use an atom of the concept.
    groups : dict of str to str, optional
        Concept -> what it is a kind of: red and blue are colours, and where the one goes the other may come.
    value, mode : optional
        See `Result.intervene`; by default atoms are turned off.
    rows : array of int or boolean array, optional
        Samples that may be used; all by default.
    n_samples : int
        So many of them are, at most, at random: memory does not grow with n.
    n_controls : int
        Draws of other atoms, and of random directions.
    n_resamples : int
        Bootstrap resamples of samples, and of concepts, behind intervals.
    random_state : int or numpy.random.Generator, optional
    progress : bool
        Whether to show a bar of the concepts whose atoms were turned.

    Returns
    -------
    InterventionEffect

    Raises
    ------
    TypeError, ValueError
        If arguments do not fit together.

    Notes
    -----
    Controls turn, in every sample, as many of the other atoms that it uses (for other values than zero, as
    many other atoms, as often used), and shift every sample as far in a direction drawn at random.
    """
    rng = np.random.default_rng(random_state)
    names, vectors = _directions(texts, encoder, result.dictionary.shape[1])
    wanted = _atoms(atoms, names)
    n_controls, n_resamples = integer("n_controls", n_controls, 1), integer("n_resamples", n_resamples, 0)
    dense = Dense(embeddings)
    true = None if truth is None else _truth(truth, dense.shape[0], len(names))
    chosen, x = _read(dense, rows, integer("n_samples", n_samples, LEAST_SAMPLES), rng)
    true = None if true is None else true[chosen]
    family = np.array([(groups or {}).get(name, name) for name in names], object)
    codes = as_csr(result.coder.encode(x))
    scale = Scores(vectors).fit(x)
    table, changes = {}, {}
    for concept, own in each_counted(wanted.items()):
        target = names.index(concept)
        turn = as_turn(dict.fromkeys(own, value), mode, result.coder)
        there = codes[:, turn.atoms].toarray()
        shows = there.any(axis=1) if true is None else true[:, target]
        if not LEAST_SAMPLES <= shows.sum() < len(x):
            continue
        known = shows[:, None] & (np.arange(len(names)) == target) if true is None else true
        shift = turn.changes(there) @ result.decoder[turn.atoms]
        lengths = np.linalg.norm(shift, axis=1, keepdims=True)
        shifts = {ATOMS: [shift], OTHERS: [], DIRECTIONS: []}
        for _ in range(n_controls):
            shifts[OTHERS].append(_of_others(codes, turn, value, mode, result, rng))
            shifts[DIRECTIONS].append(_unit(rng.standard_normal(x.shape)) * lengths)
        for way, several in shifts.items():
            found = [_effect(scale, x, one, shows, known, target, family) for one in several]
            moved = np.mean([one.pop("moved") for one in found], axis=0)
            if way == ATOMS:
                changes[concept] = moved.mean(axis=0)
            row: dict[str, Any] = {"n_atoms": len(own), "n_samples": int(shows.sum())}
            row |= {name: float(np.mean([one[name] for one in found])) for name in found[0]}
            row["target_low"], row["target_high"] = _limits(moved[:, target], n_resamples, rng)
            table[concept, way] = row
    if not table:
        raise ValueError(
            f"no concept with atoms is in {LEAST_SAMPLES} of the {len(x)} samples, and not in all"
        )
    frame = (
        pd.DataFrame(table).T.rename_axis(["concept", "turned"]).astype({"n_atoms": int, "n_samples": int})
    )
    attrs: dict[str, Any] = {"n_samples": len(x), "n_concepts": len(changes), "n_controls": n_controls}
    attrs |= {"n_resamples": n_resamples, "value": float(value), "mode": mode}
    return InterventionEffect(frame, pd.DataFrame(changes, index=names).T, attrs)


def turned_texts(
    before: npt.ArrayLike,
    after: npt.ArrayLike,
    texts: Sequence[str],
    encodings: npt.ArrayLike,
    *,
    top: int = 5,
    scale: float = 100.0,
) -> pd.DataFrame:
    """The nearest texts of samples before and after a turn: captions, or classes of a zero-shot classifier.

    Parameters
    ----------
    before, after : (n, d) arrays
        A few image vectors, and what `Result.intervene` made of them.
    texts : sequence of str
    encodings : (t, d) array
        What the text side of the same model makes of them.
    top : int
        Texts that are told of each.
    scale : float
        Of cosines, before the softmax over all texts; CLIP's, 100.

    Returns
    -------
    pandas.DataFrame
        By (sample, rank): the text ``before``, its ``score_before`` (cosine) and ``share_before`` (softmax),
        and the same after.

    Raises
    ------
    ValueError
        If the arrays do not fit together.
    """
    vectors, said = _unit(np.atleast_2d(np.asarray(encodings, float))), np.array(list(texts), object)
    rows = [np.atleast_2d(np.asarray(one, float)) for one in (before, after)]
    if rows[0].shape != rows[1].shape or rows[0].shape[1] != vectors.shape[1] or len(said) != len(vectors):
        raise ValueError(
            f"before has shape {rows[0].shape}, after {rows[1].shape}, encodings {vectors.shape}, and there "
            f"are {len(said)} texts; they must be n x d, n x d, t x d and t"
        )
    top = min(integer("top", top, 1), len(said))
    n = len(rows[0])
    columns: dict[str, np.ndarray] = {}
    for name, one in zip(("before", "after"), rows, strict=True):
        cosines = _unit(one) @ vectors.T
        best = top_words(cosines, top)
        shares = np.exp(scale * (cosines - cosines.max(axis=1, keepdims=True)))
        shares /= shares.sum(axis=1, keepdims=True)
        columns[name] = said[best].ravel()
        columns[f"score_{name}"] = np.take_along_axis(cosines, best, axis=1).ravel()
        columns[f"share_{name}"] = np.take_along_axis(shares, best, axis=1).ravel()
    index = pd.MultiIndex.from_product([range(n), range(1, top + 1)], names=["sample", "rank"])
    return pd.DataFrame(columns, index=index)


class Scores:
    """Scores of concepts in standard deviations over the samples that it was fitted to."""

    def __init__(self, vectors: np.ndarray) -> None:
        self.vectors = vectors

    def fit(self, x: np.ndarray) -> Scores:
        """Learn means and deviations, and return itself."""
        raw = _unit(x) @ self.vectors.T
        self.mean, self.std = raw.mean(axis=0), raw.std(axis=0)
        return self

    def of(self, x: np.ndarray) -> np.ndarray:
        """Scores (n, C)."""
        return (_unit(x) @ self.vectors.T - self.mean) / np.where(self.std > 0, self.std, 1)


def _effect(scale, x, shift, shows, known, target, family):
    """Changes of all scores in the samples that show the concept, and what the table says of them."""
    before, after = scale.of(x), scale.of(x + shift)
    moved = (after - before)[shows]
    mean = moved.mean(axis=0)
    kin = (family == family[target]) & (np.arange(len(family)) != target)
    others = (family != family[target]) & (np.arange(len(family)) != target)
    areas = [aurocs(one, known) for one in (before, after)]
    gained = np.delete(areas[1] - areas[0], target)
    return {
        "moved": moved,
        "target": mean[target],
        "others": np.abs(mean[others]).mean() if others.any() else np.nan,
        "rivals": mean[kin].mean() if kin.any() else np.nan,
        "shift": (np.linalg.norm(shift, axis=1) / np.linalg.norm(x, axis=1))[shows].mean(),
        "auroc_before": areas[0][target],
        "auroc_after": areas[1][target],
        "others_auroc": np.nan if np.isnan(gained).all() else np.nanmean(gained),
    }


def aurocs(scores, truth):
    """Area under the ROC curve of every column of scores (n, C) against that of truth; ties count half."""
    from scipy.stats import rankdata

    n, true = len(scores), truth.sum(axis=0)
    return auroc((rankdata(scores, axis=0) * truth).sum(axis=0), true, true, n, n)


def _of_others(codes, turn, value, mode, result, rng):
    """The shift that as many other atoms make."""
    m = codes.shape[1]
    if value != 0 or mode == "add":
        uses = np.bincount(codes.indices, minlength=m).astype(float)
        uses[turn.atoms] = 0
        atoms = rng.choice(
            m, min(len(turn.atoms), np.count_nonzero(uses)), replace=False, p=uses / uses.sum()
        )
        other = as_turn(dict.fromkeys(atoms.tolist(), value), mode, result.coder)
        return other.changes(codes[:, other.atoms].toarray()) @ result.decoder[other.atoms]
    own = np.isin(codes.indices, turn.atoms)
    rows = np.repeat(np.arange(codes.shape[0]), np.diff(codes.indptr))
    number = np.bincount(rows[own], minlength=codes.shape[0])
    free = np.flatnonzero(~own)
    free = free[np.lexsort((rng.random(len(free)), rows[free]))]
    first = np.searchsorted(rows[free], np.arange(codes.shape[0]))
    taken = free[np.arange(len(free)) - first[rows[free]] < number[rows[free]]]
    off = sp.csr_matrix((-codes.data[taken], (rows[taken], codes.indices[taken])), shape=codes.shape)
    return off @ result.decoder


def _directions(texts, encoder, d):
    """Names of concepts, and unit vectors (C, d) of their texts, less the mean of all."""
    if not isinstance(texts, Mapping) or not texts:
        raise TypeError("texts must be a dict from concepts to texts, or to their encodings")
    names, found = list(map(str, texts)), []
    for name, given in texts.items():
        given = [given] if isinstance(given, str) else list(given)
        if not given:
            raise ValueError(f"texts has no text for {name!r}; it must have one at least")
        if isinstance(given[0], str):
            if encoder is None:
                raise ValueError("texts has texts, but encoder was not given; give one, or their encodings")
            found.append(as_text_encoder(encoder).encode(given))
        else:
            found.append(_unit(np.atleast_2d(np.asarray(given, float))))
        if found[-1].shape[1] != d:
            raise ValueError(
                f"texts of {name!r} have {found[-1].shape[1]} features; the dictionary was learned on {d}: "
                "both must be of the space that images and texts share"
            )
    every = np.concatenate(found).mean(axis=0) if len(found) > 1 else 0
    return names, _unit(np.array([one.mean(axis=0) for one in found]) - every)


def _atoms(atoms, names):
    """Atoms by concept, those without any left out."""
    if not isinstance(atoms, Mapping):
        raise TypeError(f"atoms is a {type(atoms).__name__}; it must be a dict from concepts to atoms")
    unknown = [name for name in atoms if name not in names]
    if unknown:
        raise ValueError(f"atoms has {unknown[0]!r}, of which there are no texts")
    found = {name: [int(atom) for atom in some] for name, some in atoms.items() if len(some)}
    if not found:
        raise ValueError("atoms has no atom for any concept")
    return found


def _truth(truth, n, n_concepts):
    """Which samples show which concepts."""
    truth = np.asarray(truth)
    if truth.shape != (n, n_concepts):
        raise ValueError(
            f"truth has shape {truth.shape}; it must have a row for each of {n:,} samples, and a column for "
            f"each of the {n_concepts} concepts of texts"
        )
    return truth.astype(bool)


def _read(dense, rows, n_samples, rng):
    """Numbers of some samples in rising order, and the samples."""
    n = dense.shape[0]
    rows = np.arange(n) if rows is None else row_numbers("rows", rows, n)
    if not len(rows):
        raise ValueError(f"rows has no samples; it must have {LEAST_SAMPLES} at least")
    if len(rows) > n_samples:
        rows = np.sort(rng.choice(rows, n_samples, replace=False))
    return rows, np.concatenate([block for _, block in dense.take(rows).blocks()])


def _unit(rows):
    norms = np.linalg.norm(rows, axis=1, keepdims=True)
    return rows / np.where(norms > 0, norms, 1)


def _limits(values, n_resamples, rng):
    """95 % bootstrap limits of a mean."""
    if not n_resamples:
        return np.nan, np.nan
    means = values[rng.integers(len(values), size=(n_resamples, len(values)))].mean(axis=1)
    return tuple(np.percentile(means, [2.5, 97.5]))
