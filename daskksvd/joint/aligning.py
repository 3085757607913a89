"""Atoms of two spaces in one: canonical correlation analysis, or a Procrustes rotation, of pairs."""

import numpy as np

from ..rows import run_survey
from .pairs import pair_jobs

DIMENSIONS = 64
"""Of the common space, at most."""

RIDGE = 1e-2
"""Added to the eigenvalues of either covariance before they are inverted, times the mean one: without it
canonical correlations of hundreds of features are those of noise."""


def aligned_cosines(dictionaries, pairs, executor, kept, method):
    """Cosines of all atoms of images with all of texts in a space of both.

    Parameters
    ----------
    dictionaries : two daskksvd.Result
    pairs : Pairs
    executor : execution.Executor
    kept : list of int
        Rows of every chunk that are looked at.
    method : {"cca", "procrustes"}
        Canonical variates (Hotelling 1936) of covariances with a ridge; or principal components of either
        space, those of texts turned to fit (Schoenemann 1966).

    Returns
    -------
    (m, m') float64 array
    """
    from scipy.linalg import eigh, svd

    reader, jobs = pair_jobs(pairs, executor, None, kept)
    survey = run_survey(reader, jobs, np.empty(0, np.int64), True)
    d, covariance = pairs.d, survey.covariance
    images, cross, texts = covariance[:d, :d], covariance[:d, d:-2], covariance[d:-2, d:-2]
    size = min(DIMENSIONS, pairs.d, pairs.e)
    maps = []
    for own in (images, texts):
        values, vectors = eigh(own)
        if method == "cca":
            spread = values + RIDGE * values.mean()
            maps.append(vectors / np.sqrt(spread))
        else:
            maps.append(vectors[:, ::-1][:, :size])
    left, _, right = svd(maps[0].T @ cross @ maps[1], full_matrices=False)
    turned = [maps[0] @ left[:, :size], maps[1] @ right.T[:, :size]]
    atoms = [
        result.coder.transform.decoder(result.dictionary.values) @ turn
        for result, turn in zip(dictionaries, turned, strict=True)
    ]
    first, second = (one / np.maximum(np.linalg.norm(one, axis=1, keepdims=True), 1e-300) for one in atoms)
    return first @ second.T
