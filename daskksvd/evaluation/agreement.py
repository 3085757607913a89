"""One dictionary of several fits: atoms that recur over seeds, refitted."""

from __future__ import annotations

import glob
import os
import warnings
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from ..arguments import integer, number, seed
from ..execution import WORKER_TIMEOUT, WorkersLost
from ..fitting.fit import FitInterrupted, fit
from ..fitting.result import Result
from ..fitting.saving import stability
from ..machine.blas import blas_for
from ..rows import as_source
from ..stores.keys import crc32c
from ..tracking.parts import titled
from .matching import match_atoms, unit_atoms
from .stability import SAME_ATOM

if TYPE_CHECKING:
    from ..rows.source import ArrayLike, MissingChunks

WEIGHT_POWER = 2
"""Atoms are averaged with weights ``|cos|`` to this power. Means of six fits of ViT features (512 atoms, 10
nonzeros) leave .2417 of the variance held out, with equal weights .2440, with the eighth power .2462."""

ROUNDS = 3
"""Rounds of matching and averaging. After two of them partners hardly change any more."""

WAVES_ONLY = {"ramp": False, "twins": None, "growth": None, "prefix_sums": 0.0, "incoherence": 0.0}
"""Options that belong to waves, which a refit has not."""


class Agreement(NamedTuple):
    """What several dictionaries have in common.

    Attributes
    ----------
    atoms : (m, d) float64 array
        Means of atoms matched with each other, of unit norm.
    likeness : (fits, m) float64 array
        How near the atom of a fit comes to the mean of those of the others; 0 where it has none.
    """

    atoms: np.ndarray
    likeness: np.ndarray

    @property
    def recurrence(self) -> np.ndarray:
        """Share of the fits that found an atom, (m,): in which it is nearer than `SAME_ATOM`."""
        return (self.likeness >= SAME_ATOM).mean(axis=0)


def consensus(
    array: ArrayLike,
    *,
    n_fits: int = 5,
    min_recurrence: float = 0.0,
    refit_passes: int = 1,
    random_state: int | np.random.Generator | np.random.RandomState | None = None,
    checkpoint: str | os.PathLike[str] | None = None,
    missing_chunks: MissingChunks = "error",
    worker_timeout: float | None = WORKER_TIMEOUT,
    **options: Any,
) -> Result:
    """Learn from several seeds, and keep what they agree on.

    Atoms of all fits are matched one to one and averaged, and the means are
    refitted to the rows. They come in the order in which fits agree on them, so
    that ``result.first(100)`` has the hundred that recur most.

    Parameters
    ----------
    array : as for `daskksvd.fit`
    n_fits : int
        Fits, each of a seed of its own; at least 2. It takes about as many times as long as one.
    min_recurrence : float
        Keep atoms only that at least this share of the fits found, from 0 to 1, but at least
        ``n_nonzero_coefs``. By default all ``n_components`` are kept.
    refit_passes : int
        Passes over the rows, with one update after each, that refit the means.
    random_state : int, numpy.random.Generator or RandomState, optional
        Seed of the seeds of the fits.
    checkpoint : path, optional
        The state of fit ``i`` is written to ``"<checkpoint>.<i>"`` and that of the refit to
        ``"<checkpoint>.refit-<digest>"``, by what is refitted. The same call goes on from there, also with
        more ``n_fits``, ``max_passes`` or another ``min_recurrence``; fits that were finished are not made
        again.
    missing_chunks, worker_timeout : as for `daskksvd.fit`
    **options
        Those of `daskksvd.fit`, for every fit: ``n_components=``, ``n_nonzero_coefs=``, ``client=`` and
        so on. ``max_time`` is that of one fit. Not ``groups``, nor an array as ``init``.

    Returns
    -------
    daskksvd.Result
        With ``stability``: by ``atom``, its ``likeness``, the mean over fits of the ``|cos|`` of their atom
        with the mean of those of the others (``cos``, with ``nonnegative``), and its ``recurrence``, the
        share of fits in which that is at least .8. Both are saved with it. History is that of the refit,
        whose errors are those before an update (of one pass: of the means);
        ``settings["seconds"]`` is of everything, and ``settings["consensus"]`` has seeds and arguments, and
        by what each fit was stopped.

    Raises
    ------
    TypeError, ValueError
        For arguments or data that cannot work.
    FitInterrupted, WorkersLost
        As `daskksvd.fit`, with the result of the fit that was running, or of the last one that was finished
        if that had learned nothing.

    Notes
    -----
    Each fit has one vote an atom. Beginning with the atoms of the first fit (the largest, where growth was
    cut short), atoms of every fit are
    matched with the means by `match_atoms` and averaged, signs aligned, with
    weights ``cos^2``, three times. That atoms pooled over seeds make a more stable
    dictionary has been found for sparse autoencoders too (arXiv 2606.12138).

    Examples
    --------
    Forty atoms for rows made of 32: what fits do not agree on is left out.

    >>> import daskksvd
    >>> rows = daskksvd.datasets.make_planted(2_000, 16, 32, 3, random_state=0).array
    >>> result = daskksvd.consensus(
    ...     rows, n_components=32, n_nonzero_coefs=3, n_fits=3, min_recurrence=0.6, random_state=1
    ... )
    >>> bool((result.stability.recurrence >= 0.6).all())
    True
    """
    n_fits = integer("n_fits", n_fits, 2)
    min_recurrence = number("min_recurrence", min_recurrence, 0, 1, "a share of the fits from 0 to 1")
    refit_passes = integer("refit_passes", refit_passes, 1)
    _check_options(options)
    given = seed("random_state", random_state)
    seeds = [None if given is None else _seed(given, index) for index in range(n_fits)]
    rows = as_source(array, missing_chunks=missing_chunks, worker_timeout=worker_timeout)
    options |= {"missing_chunks": missing_chunks, "worker_timeout": worker_timeout}
    fits: list[Result] = []
    for index, each in enumerate(seeds):
        try:
            with titled(f"fit {index + 1} of {n_fits}"):
                fits.append(fit(rows, random_state=each, checkpoint=_beside(checkpoint, index), **options))
        except (FitInterrupted, WorkersLost) as stop:
            stop.result = stop.result or (fits[-1] if fits else None)
            stop.add_note(
                f"That was in fit {index + 1} of {n_fits}; a result is that of one fit, not of a consensus."
            )
            raise
    first = fits[0]
    with blas_for(*first.dictionary.shape):
        found = agree([one.dictionary.values for one in fits], signed=first.coder.target.nonnegative)
    kept = _kept(found, min_recurrence, min(first.settings["n_nonzero_coefs"] or 1, len(found.atoms)))
    seconds = sum(one.settings["seconds"] for one in fits)
    about = {
        "n_fits": n_fits,
        "min_recurrence": min_recurrence,
        "refit_passes": refit_passes,
        "seeds": [one.settings["random_state"] for one in fits],
        "update": first.settings["update"],
        "stop_reasons": [one.stop_reason for one in fits],
    }
    result = _refitted(rows, found.atoms[kept], first, refit_passes, given, checkpoint, options)
    result.settings |= {"consensus": about, "seconds": seconds + result.settings["seconds"]}
    result.stability = stability(found.likeness.mean(axis=0)[kept], found.recurrence[kept])
    return result


def agree(dictionaries: Sequence[np.ndarray], *, signed: bool = False) -> Agreement:
    """Match the atoms of several dictionaries, and average those that belong together.

    Parameters
    ----------
    dictionaries : sequence of (m, d) float array
        At least two, of the same features. Of different sizes the largest is begun with, and others have no
        atom for some of its.
    signed : bool
        Whether an atom and its opposite are different.

    Returns
    -------
    Agreement
        In the order of the dictionary begun with.
    """
    dictionaries = [unit_atoms(one, "dictionary") for one in dictionaries]
    atoms = max(dictionaries, key=len)
    for _ in range(ROUNDS):
        matches = [match_atoms(atoms, one, signed=signed) for one in dictionaries]
        pairs = [
            (match.first, _aligned(match, one)) for match, one in zip(matches, dictionaries, strict=True)
        ]
        total = np.zeros_like(atoms)
        for atom, partners in pairs:
            total[atom] += partners
        atoms = _units(total, atoms)
    likeness = np.zeros((len(dictionaries), len(atoms)))
    for row, (atom, partners) in zip(likeness, pairs, strict=True):
        row[atom] = _cosines(partners, total[atom] - partners)
    return Agreement(atoms, likeness)


def _aligned(match, dictionary):
    """Partners in a dictionary, turned the way of what they are matched with, and weighted."""
    weights = match.likeness * np.abs(match.cosines) ** (WEIGHT_POWER - 1)
    weights = np.maximum(weights, 0) * (1 if match.signed else np.where(match.cosines < 0, -1, 1))
    return weights[:, None] * dictionary[match.second]


def _units(vectors, others):
    """Vectors by their norms; in place of zeros those of ``others``."""
    norms = np.linalg.norm(vectors, axis=1, keepdims=True)
    return np.where(norms > 0, vectors / np.where(norms > 0, norms, 1), others)


def _cosines(first, second):
    """Of pairs of vectors; 0 where one is zero."""
    norms = np.linalg.norm(first, axis=1) * np.linalg.norm(second, axis=1)
    return np.einsum("ij,ij->i", first, second) / np.where(norms > 0, norms, 1)


def _kept(found, min_recurrence, least):
    """Atoms to keep, those that fits agree on most first; ``least`` at least."""
    order = np.argsort(-found.likeness.mean(axis=0), kind="stable")
    recur = order[found.recurrence[order] >= min_recurrence]
    if len(recur) >= least:
        return recur
    warnings.warn(
        f"{len(recur)} of {len(order)} atoms were found by a share of {min_recurrence:g} of the fits "
        f"(min_recurrence); the {least} that fits agree on most are kept, as a row may use so many",
        stacklevel=3,
    )
    return order[np.sort(np.argsort(-found.recurrence[order], kind="stable")[:least])]


def _refitted(rows, atoms, first, passes, random_state, checkpoint, options):
    """The result of atoms that are refitted."""
    update = "ksvd" if first.settings["update"] == "ksvd" else "batch"
    how = {**options, **WAVES_ONLY, "update": update, "n_components": len(atoms), "init": atoms}
    if how.get("n_blocks") is not None:
        how["n_blocks"] = min(how["n_blocks"], len(atoms))
    if how.get("n_nonzero_coefs") is not None:  # there are fewer atoms where growth was cut short
        how["n_nonzero_coefs"] = min(how["n_nonzero_coefs"], len(atoms))
    how |= {"max_passes": passes, "replace_atoms": False, "random_state": random_state}
    if checkpoint is not None:
        # of other means there may be one from before; to refit takes little beside what was refitted
        digest = crc32c(np.ascontiguousarray(atoms).tobytes() + bytes(str(passes), "ascii"))
        checkpoint = _beside(checkpoint, f"refit-{digest:08x}")
        for old in glob.glob(f"{glob.escape(checkpoint[:-8])}{'[0-9a-f]' * 8}"):
            if old != checkpoint:
                os.remove(old)
    with titled("refit"):
        return fit(rows, checkpoint=checkpoint, **how)


def _check_options(options):
    """Refuse options of `fit` with which several fits make no sense."""
    if options.get("groups") is not None:
        raise ValueError(
            f"groups={options['groups']!r} was given; atoms of a consensus come in the order in which fits "
            "agree on them, so leave it out"
        )
    if not isinstance(options.get("init", "rows"), str):
        raise ValueError(
            "init was given as an array, from which all fits would begin; it must be 'rows', 'random' or "
            "'k-means++'"
        )


def _seed(given, index):
    """The seed of a fit; others when there are more fits stay as they are."""
    return int(np.random.SeedSequence([given, index]).generate_state(1)[0])


def _beside(checkpoint, part):
    return None if checkpoint is None else f"{os.fspath(checkpoint)}.{part}"
