"""How much the names of atoms are worth: chosen on some samples, scored on others."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Literal

import numpy as np

from ..arguments import renamed
from ..coding.by_image import image_codes
from ..naming.association import MEASURES, benjamini_hochberg
from ..naming.choosing import (
    best_words,
    count,
    count_pairs,
    joint_samples,
    name_auroc,
    rank,
)
from ..naming.images import codes_of_images, rows_of_image
from ..naming.inputs import codes_matrix, frequent, gather, indicator, one_side, orient, split_samples
from ..naming.thresholds import SIGNIFICANCE
from ..tracking.parts import each_counted, parts_shown
from .summary import summarise

if TYPE_CHECKING:
    import numpy.typing as npt
    import xarray as xr

    from ..captions.by_sample import CaptionsLike
    from ..captions.words.tokens import Tokenizer
    from ..coding.by_image import UsedBy
    from ..coding.inputs import CodesLike

SCORED_USES = 10
"""Held-out samples that must use an atom for its name to be scored: with fewer no
association but the strongest can be significant."""

PERMUTATIONS = 100
"""Times that captions are shuffled across samples to see what chance scores."""

RESAMPLES = 200
"""Bootstrap resamples behind an interval, and behind the stability of a name."""

TOP = 3
"""Words an atom that are told; the first is scored."""

EFFECTS = ("correlation", "precision", "recall", "f1", "lift")
TEST = "one-sided exact hypergeometric test, Benjamini-Hochberg"

MEANINGS = {
    "word": "word that names the atom, chosen on the training samples",
    "orientation": "sign of the coefficients that the name stands for: the more frequent one",
    "uses": "held-out samples that use the atom with that sign",
    "correlation": "phi: Pearson correlation of word and use on held-out samples",
    "precision": "share of the held-out samples using the atom that have the word",
    "recall": "share of the held-out samples with the word that use the atom",
    "f1": "harmonic mean of precision and recall",
    "lift": "precision over the share of all held-out samples with the word",
    "auroc": "area under the ROC curve of the word as told by the magnitude of the coefficient",
    "p_value": "one-sided exact hypergeometric test on held-out samples",
    "q_value": "p_value adjusted by Benjamini and Hochberg over scored atoms",
    "significant": "whether q_value is under alpha",
    "q_permutation": "as q_value, with p-values from captions shuffled across samples",
    "stability": "share of bootstrap resamples of the training samples that choose the same word",
}

SUMMARIES = {
    "n_scored": "atoms with enough held-out uses to be scored",
    "n_significant": "scored atoms whose name is significant",
    "share_significant": "n_significant over n_scored",
    "chance_share": "share_significant with captions shuffled across samples, mean of all shuffles",
    "chance_share_most": "the most of all shuffles",
    "share_above_chance": "share of scored atoms with q_permutation under alpha",
    "words": "first words of the atom on the training samples, best first",
}


def score_labels(
    codes: CodesLike,
    captions: CaptionsLike,
    *,
    vocabulary: Sequence[str] | None = None,
    tokenizer: Tokenizer | str | None = None,
    sample_ids: npt.ArrayLike | None = None,
    train: float | npt.ArrayLike | None = None,
    rank_by: Literal["g", "phi", "lift", "shrunk_lift", "pmi", "f1"] = "g",
    baselines: Mapping[str, CodesLike] | None = None,
    n_permutations: int = PERMUTATIONS,
    n_resamples: int = RESAMPLES,
    alpha: float = SIGNIFICANCE,
    random_state: int | np.random.Generator | None = None,
    level: float | None = None,
    used_by: UsedBy = "any",
    progress: bool = False,
) -> xr.Dataset:
    """Name atoms on one part of the samples, score the names on the rest.

    Every atom is oriented to its more frequent sign. Its name is the word
    ranked first among the training samples, and is then tested on samples
    that did not choose it. Chance is seen by doing the same with captions
    shuffled across samples.

    Parameters
    ----------
    codes : dask.array.Array, path, sparse.COO, SciPy sparse or dense array
        n x m. Those of patches are taken by image; see ``used_by``.
    captions : path, frame, list, ..., or SciPy sparse or dense matrix
        What `daskksvd.label` takes, or word occurrence (n x V, 0 or 1).
        Samples without captions are left out.
    vocabulary : sequence of str, optional
        Words that may be names. By default those frequent enough among the
        training samples. For a matrix: names of its columns, all used.
    tokenizer : captions.Tokenizer, optional
    sample_ids : (n,) array of int, optional
        Sample of each row of the codes, where captions are keyed by sample.
    train : float, boolean array or array of int, optional
        Samples that names are chosen on: a share, a mask of the rows of the
        codes, or their numbers. A random half by default. Rows that the
        dictionary was learned from belong here.
    rank_by : {"g", "phi", "lift", "shrunk_lift", "pmi", "f1"}
        What ranks words; ``"g"`` is the signed root of the likelihood ratio.
    baselines : dict of str to codes, optional
        Other codes of the same samples, n x any number of atoms, to be scored
        in the same way: `baseline_codes` makes some.
    n_permutations : int
        Shuffles of the captions; 0 for none.
    n_resamples : int
        Bootstrap resamples; 0 for none.
    alpha : float
        False discovery rate.
    random_state : int or numpy.random.Generator, optional
    level : float, optional
        Old name of ``alpha``.
    used_by : {"any"} or float
        Of codes of patches, and of baselines that are of patches: an image uses an atom if any of its
        patches does, or such a share of them. As for `daskksvd.label`, whose names are scored.
    progress : bool
        Whether to show bars: of the pass over captions, of resamples and of shuffles.

    Returns
    -------
    xarray.Dataset
        By atom what `MEANINGS` lists and the first ``words``, NaN (and an
        empty word) where there is no name or fewer than `SCORED_USES` held-out
        uses; by ``dictionary`` (the codes and the baselines) the share of
        atoms with a significant name, its 95 % Wilson interval, and medians of
        the effects with bootstrap intervals; and what shuffled captions give.
        ``attrs["summary"]`` says it in a sentence. Atoms with uses but without
        a name count as not significant.

    Raises
    ------
    TypeError, ValueError, FileNotFoundError
        For arguments or data that cannot work.

    Notes
    -----
    The share of significant names tells the power of the test, and grows with
    the number of samples; samples used as atoms reach high shares too. Read
    it beside the baselines, the effects, and `faithfulness`. Every shuffle
    and every resample takes as long as counting once: about half a second for
    800,000 samples.
    """
    import xarray as xr

    if rank_by not in MEASURES:
        raise ValueError(f"rank_by={rank_by!r}; it must be one of {', '.join(map(repr, MEASURES))}")
    for name, value in (("n_permutations", n_permutations), ("n_resamples", n_resamples)):
        if isinstance(value, bool) or not isinstance(value, (int, np.integer)) or value < 0:
            raise ValueError(f"{name}={value!r}; it must be a whole number, 0 or more")
    alpha = renamed("level", level, "alpha", alpha)
    if not 0 < alpha < 1:
        raise ValueError(f"alpha={alpha!r}; it must be between 0 and 1")
    others = {}
    each = rows_of_image(codes, captions, sample_ids=sample_ids)
    codes = codes_of_images(codes, captions, sample_ids=sample_ids, used_by=used_by)
    for name, given in (baselines or {}).items():
        said = f"baselines[{name!r}]"
        its = rows_of_image(given, captions, sample_ids=sample_ids, name=said)
        others[name] = codes_matrix(image_codes(given, its, used_by=used_by) if its > 1 else given, said)
    with parts_shown(progress, "words of captions"):
        samples = gather(
            codes,
            captions,
            vocabulary=vocabulary,
            tokenizer=tokenizer,
            sample_ids=sample_ids,
        )
    n_given = len(samples.rows) + samples.n_left_out
    for name, value in others.items():
        if value.shape[0] != n_given:
            raise ValueError(f"baselines[{name!r}] has {value.shape[0]} rows; codes has {n_given}")
    rng = np.random.default_rng(random_state)
    training = split_samples(train, samples.rows, rng)
    words, names = indicator(samples.words), samples.vocabulary
    if vocabulary is None:
        kept = frequent(words, np.flatnonzero(training))
        words, names = words[:, kept], names[kept]

    main = _Trial(samples.codes, words, training, rank_by)
    with parts_shown(progress, "resamples and shuffles"):
        atoms, by_method = _score(main, names, alpha, n_resamples, rng)
        atoms["stability"] = main.stability(n_resamples, rng)
        rows = [by_method]
        for value in others.values():
            trial = _Trial(value[samples.rows], words, training, rank_by)
            rows.append(_score(trial, names, alpha, n_resamples, rng)[1])
        chance, atoms["q_permutation"] = _chance(main, atoms, alpha, n_permutations, rng)

    scores = xr.Dataset(
        {name: ("atom", values, {"long_name": MEANINGS[name]}) for name, values in atoms.items()},
        coords={
            "atom": np.arange(samples.codes.shape[1]),
            "dictionary": np.array(["codes", *others], object),
        },
        attrs={
            "n_train": int(training.sum()),
            "n_test": int((~training).sum()),
            "n_without_captions": samples.n_left_out,
            "m": samples.codes.shape[1],
            "k": float(samples.codes.nnz / samples.codes.shape[0]),
            "n_words": len(names),
            "test": TEST,
            "alpha": alpha,
            "rank_by": rank_by,
            **({} if each == 1 else {"used_by": used_by}),
            "least_uses": SCORED_USES,
            "n_permutations": n_permutations,
            "n_resamples": n_resamples,
        },
    )
    scores["words"] = (("atom", "rank"), np.where(main.top >= 0, names[np.maximum(main.top, 0)], ""))
    for name in rows[0]:
        scores[name] = ("dictionary", np.array([row[name] for row in rows]))
    for name, value in chance.items():
        scores[name] = value
    for name, meaning in SUMMARIES.items():
        scores[name].attrs["long_name"] = meaning
    scores.attrs["summary"] = summarise(scores)
    return scores


class _Trial:
    """Names chosen on the training samples, and the samples to score them on."""

    def __init__(self, codes, words, training, rank_by):
        self.orientation = orient(codes[np.flatnonzero(training)])
        magnitudes = one_side(codes, self.orientation)
        self.words, self.active = words, indicator(magnitudes)
        self.train, self.test = np.flatnonzero(training), np.flatnonzero(~training)
        self.magnitudes, self.tested = magnitudes[self.test], self.active[self.test]
        self.rank_by = rank_by
        self.uses = np.bincount(self.magnitudes.indices, minlength=codes.shape[1])
        self.top = self.choose(top=TOP)
        self.choice = self.top[:, 0]

    def choose(self, weights=None, order=None, top=1):
        """Best words of each atom by the training samples, (m, top).

        ``weights`` are those of the training samples; ``order`` gives every
        sample the words of another one.
        """
        given = None if order is None else order[self.train]
        counts = count(self.words, self.active, self.train, weights, given)
        return best_words(rank(counts, self.rank_by), top)

    def pairs(self, choice, words):
        """Held-out counts of names, NaN for atoms that are not scored."""
        return count_pairs(np.where(self.scored, choice, -1), words[self.test], self.tested)

    @property
    def scored(self):
        return self.uses >= SCORED_USES

    def stability(self, n_resamples, rng):
        """Share of bootstrap resamples of the training samples that choose the same name."""
        same = np.zeros(len(self.choice))
        for _ in each_counted(range(n_resamples)):
            weights = rng.multinomial(len(self.train), np.full(len(self.train), 1 / len(self.train)))
            same += self.choose(weights)[:, 0] == self.choice
        return np.where(self.choice >= 0, same / n_resamples if n_resamples else np.nan, np.nan)


def _score(trial, names, alpha, n_resamples, rng):
    """Per-atom scores and their summary over atoms."""
    pairs = trial.pairs(trial.choice, trial.words)
    choice = np.where(trial.scored, trial.choice, -1)
    atoms = {
        "word": np.where(trial.choice >= 0, names[np.maximum(trial.choice, 0)], ""),
        "orientation": trial.orientation,
        "uses": trial.uses,
        **{name: getattr(pairs, name) for name in EFFECTS},
        "auroc": name_auroc(choice, trial.words[trial.test], trial.magnitudes),
        "p_value": pairs.p_value,
    }
    atoms["q_value"] = benjamini_hochberg(_without_name(atoms["p_value"], trial.scored))
    atoms["significant"] = atoms["q_value"] < alpha
    n_scored, n_found = int(trial.scored.sum()), int(atoms["significant"].sum())
    low, high = wilson(n_found, n_scored)
    summary = {"n_scored": n_scored, "n_significant": n_found}
    summary |= {"share_significant": n_found / n_scored if n_scored else np.nan}
    summary |= {"share_significant_low": low, "share_significant_high": high}
    drawn = _resampled(trial, choice, n_resamples, rng)
    for name in (*EFFECTS, "auroc"):
        summary[f"median_{name}"] = _median(atoms[name])
        if name in drawn:
            limits = np.nanpercentile(drawn[name], [2.5, 97.5]) if len(drawn[name]) else np.full(2, np.nan)
            # the basic bootstrap: resampling adds noise to every atom, which percentiles would keep
            low, high = 2 * summary[f"median_{name}"] - limits[::-1]
            summary |= {f"median_{name}_low": low, f"median_{name}_high": high}
    return atoms, summary


def _resampled(trial, choice, n_resamples, rng):
    """Medians of correlation and precision over bootstrap resamples of the held-out samples."""
    joint, named = joint_samples(choice, trial.words[trial.test], trial.tested)
    n = joint.shape[0]
    found = {"correlation": [], "precision": []}
    turned = [matrix.T.tocsr() for matrix in (joint, named, trial.tested)]
    for _ in each_counted(range(n_resamples)):
        weights = rng.multinomial(n, np.full(n, 1 / n)).astype(float)
        with_both, with_word, users = (matrix @ weights for matrix in turned)
        with_both[choice < 0] = np.nan
        with np.errstate(divide="ignore", invalid="ignore"):
            spread = np.sqrt(with_word * (n - with_word) * users * (n - users))
            found["correlation"].append(_median((n * with_both - with_word * users) / spread))
            found["precision"].append(_median(with_both / users))
    return found


def _chance(trial, atoms, alpha, n_permutations, rng):
    """What names score when captions are shuffled across samples."""
    g = trial.pairs(trial.choice, trial.words).g
    shares, null = [], []
    for _ in each_counted(range(n_permutations)):
        order = rng.permutation(trial.words.shape[0])
        pairs = trial.pairs(trial.choose(order=order)[:, 0], trial.words[order])
        q_values = benjamini_hochberg(_without_name(pairs.p_value, trial.scored))
        shares.append((q_values < alpha).sum() / max(1, trial.scored.sum()))
        null.append(pairs.g[~np.isnan(pairs.g)])
    q_values = np.full(len(g), np.nan)
    found = {"chance_share": np.nan, "chance_share_most": np.nan}
    if n_permutations:
        null = np.sort(np.concatenate(null))
        above = len(null) - np.searchsorted(null, g, side="left")
        p_values = np.where(np.isnan(g), np.nan, (1 + above) / (1 + len(null)))
        q_values = benjamini_hochberg(_without_name(p_values, trial.scored))
        found = {"chance_share": float(np.mean(shares)), "chance_share_most": float(np.max(shares))}
    n_better, n_scored = int((q_values < alpha).sum()), int(trial.scored.sum())
    low, high = wilson(n_better, n_scored) if n_permutations else (np.nan, np.nan)
    share = n_better / n_scored if n_permutations and n_scored else np.nan
    found |= {"share_above_chance": share, "share_above_chance_low": low, "share_above_chance_high": high}
    return found, q_values


def wilson(successes, trials):
    """Wilson's 95 % interval of a share; NaN without trials."""
    if not trials:
        return np.nan, np.nan
    from scipy.stats import binomtest

    return tuple(map(float, binomtest(successes, trials).proportion_ci(method="wilson")))


def _without_name(p_values, scored):
    """P-values of scored atoms: one for those without a name, which count as tests too."""
    return np.where(scored, np.where(np.isnan(p_values), 1.0, p_values), np.nan)


def _median(values):
    values = values[~np.isnan(values)]
    return float(np.median(values)) if len(values) else np.nan
