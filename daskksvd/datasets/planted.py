"""Samples made of a known dictionary."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal, NamedTuple

import dask.array as da
import numpy as np
import sparse

if TYPE_CHECKING:
    import numpy.typing as npt

_TAG = 0x6B737664
"""Mixed into every seed: a planted dictionary must differ from what a fit with
the same ``random_state`` starts from, or it would start at the answer."""


class Planted(NamedTuple):
    """Samples and the truth behind them.

    Attributes
    ----------
    array : dask.array.Array
        Samples (n, d), lazy.
    dictionary : numpy.ndarray
        Unit-norm atoms (m, d), float64.
    codes : dask.array.Array
        True codes (n, m), chunks of `sparse.COO`, lazy.
    """

    array: da.Array
    dictionary: np.ndarray
    codes: da.Array


def make_planted(
    n_samples: int,
    n_features: int,
    n_components: int,
    n_nonzero_coefs: int,
    *,
    noise: float = 0.05,
    coefficients: Literal["uniform", "gaussian"] = "uniform",
    usage: Literal["even", "power"] = "even",
    chunks: int | Literal["auto"] = "auto",
    dtype: npt.DTypeLike = "float32",
    random_state: int | None = None,
) -> Planted:
    """Sparse sums of random unit atoms, plus noise; lazy, of any size.

    Parameters
    ----------
    n_samples, n_features, n_components, n_nonzero_coefs : int
        n, d, m, and k: the atoms in every sample.
    noise : float
        Norm of the noise relative to that of the signal.
    coefficients : {"uniform", "gaussian"}
        Magnitudes from U[1, 2] with random signs, or standard normal.
    usage : {"even", "power"}
        Atoms drawn alike, or atom j with probability proportional to 1 / (j + 1).
    chunks : int or "auto"
        Rows of a chunk; about 32 MB by default. The samples depend on it.
    dtype : dtype
        Of the samples.
    random_state : int, optional
        Seed.

    Returns
    -------
    Planted
    """
    if n_nonzero_coefs > n_components:
        raise ValueError(f"n_nonzero_coefs={n_nonzero_coefs} is more than n_components={n_components}")
    for name, value, allowed in (
        ("coefficients", coefficients, ("uniform", "gaussian")),
        ("usage", usage, ("even", "power")),
    ):
        if value not in allowed:
            raise ValueError(f"{name}={value!r}; it must be one of {', '.join(map(repr, allowed))}")
    dtype = np.dtype(dtype)
    root = np.random.SeedSequence([_TAG] if random_state is None else [_TAG, random_state])
    if random_state is None:
        root = np.random.SeedSequence()
    rng = np.random.default_rng(root.spawn(1)[0])
    dictionary = rng.standard_normal((n_components, n_features))
    dictionary /= np.linalg.norm(dictionary, axis=1, keepdims=True)
    if chunks == "auto":
        chunks = max(1, min(n_samples, 32 * 2**20 // (4 * n_features)))
    rows = da.core.normalize_chunks((chunks,), (n_samples,))[0]
    weights = None
    if usage == "power":
        weights = 1 / np.arange(1, n_components + 1)
        weights /= weights.sum()
    entropy = root.entropy
    index = da.arange(len(rows), chunks=1)
    law = (entropy, rows, n_nonzero_coefs, n_components, coefficients, weights)
    codes = da.map_blocks(
        _codes_chunk,
        index[:, None],
        law,
        chunks=(rows, (n_components,)),
        dtype=np.float64,
        meta=sparse.COO(
            np.empty((2, 0), np.int64), np.empty(0), shape=(0, 0), has_duplicates=False, sorted=True
        ),
    )
    array = da.map_blocks(
        _samples_chunk,
        index[:, None],
        law,
        dictionary,
        noise,
        dtype,
        chunks=(rows, (n_features,)),
        dtype=dtype,
        meta=np.empty((0, 0), dtype),
    )
    return Planted(array, dictionary, codes)


def _draw(index, law):
    """Supports and coefficients of a chunk, and its generator."""
    entropy, rows, k, m, coefficients, weights = law
    number = int(index[0, 0])
    n = rows[number]
    rng = np.random.default_rng(np.random.SeedSequence(entropy, spawn_key=(1, number)))
    keys = rng.random((n, m))
    if weights is not None:  # exponential races draw without replacement by weight
        keys = -np.log1p(-keys) / weights
    support = np.argpartition(keys, k - 1, axis=1)[:, :k]
    if coefficients == "uniform":
        values = rng.uniform(1, 2, (n, k)) * rng.choice([-1.0, 1.0], (n, k))
    else:
        values = rng.standard_normal((n, k))
    return support, values, rng


def _codes_chunk(index, law):
    support, values, _ = _draw(index, law)
    n, k = support.shape
    coords = np.stack([np.repeat(np.arange(n), k), support.ravel()])
    return sparse.COO(coords, values.ravel(), shape=(n, law[3]))


def _samples_chunk(index, law, dictionary, noise, dtype):
    support, values, rng = _draw(index, law)
    n, d = len(support), dictionary.shape[1]
    samples = np.zeros((n, d), np.float32 if dtype.itemsize <= 4 else np.float64)
    atoms = dictionary.astype(samples.dtype)
    for slot in range(support.shape[1]):
        samples += values[:, slot, None].astype(samples.dtype) * atoms[support[:, slot]]
    if noise:
        signal = np.sqrt(np.einsum("ij,ij->", samples, samples, dtype=np.float64) / samples.size)
        samples += rng.standard_normal(samples.shape, dtype=samples.dtype) * samples.dtype.type(
            noise * signal
        )
    return samples.astype(dtype)


def recovered_atoms(found: npt.ArrayLike, truth: npt.ArrayLike, threshold: float = 0.95) -> float:
    """Share of true atoms that some found atom matches, sign aside.

    Parameters
    ----------
    found, truth : (m, d) arrays
        Unit-norm atoms.
    threshold : float
        Least ``|cos|`` of a match.

    Returns
    -------
    float
    """
    cosines = np.abs(np.asarray(truth, np.float64) @ np.asarray(found, np.float64).T)
    return float((cosines.max(axis=1) > threshold).mean())
