"""Initial dictionaries."""

import warnings

import numpy as np

INIT_CANDIDATES = 4
"""Rows sampled per atom for the initial dictionary, to have distinct, nonzero
ones left to choose from."""


_NORMS = 1024
"""Rows in double precision at a time: all of them would take new memory, which is slow to get."""

_LARGEST = 1e100
"""Of numbers up to this, and down to its inverse, squares are added safely in double precision."""


def sample_size(settings, n):
    """Rows that the survey should bring back for the initial dictionary."""
    if not isinstance(settings.init, str):
        return 0
    if settings.init == "rows":
        return min(n, settings.n_components * INIT_CANDIDATES)
    if settings.init == "k-means++":
        return min(n, settings.n_components * 4 * INIT_CANDIDATES)
    return 0


def initial_dictionary(settings, sample, transform, d, rng):
    """The dictionary to start from, in the coding space.

    Parameters
    ----------
    settings : Settings
        ``init`` is ``"rows"`` (distinct random samples), ``"random"`` (uniform
        directions), ``"k-means++"`` (samples drawn one after the other, far
        from those before) or an array on the original features.
    sample : (s, d) array
        Random rows, in random order.
    transform : rows.Transform
    d : int
        Number of features.
    rng : numpy.random.Generator

    Returns
    -------
    (m, d) array of ``settings.dtype``
        Unit atoms.
    """
    m, dtype = settings.n_components, settings.dtype
    if not isinstance(settings.init, str):
        atoms = transform.to_coding(np.asarray(settings.init, np.float64))
        return normalised(atoms).astype(dtype)
    if settings.init == "random":
        return normalised(rng.standard_normal((m, d))).astype(dtype)
    transform = transform.cast(np.dtype(np.float64))

    def prepared(rows):
        return transform.apply(rows, np.float64)

    parts = (sample[start : start + _NORMS] for start in range(0, len(sample), _NORMS))
    norms = np.concatenate([np.empty(0), *(np.linalg.norm(prepared(part), axis=1) for part in parts)])
    sample = sample[norms > 1e-6 * max(norms.max(initial=0), np.finfo(float).tiny)]
    if settings.init == "k-means++":
        atoms = _far_apart(_distinct(normalised(prepared(sample)), len(sample)), m, rng, settings.nonnegative)
    else:
        atoms = _distinct(normalised(prepared(sample[: 2 * m])), m)
        if len(atoms) < m:  # many are alike
            atoms = _distinct(normalised(prepared(sample)), m)
    if len(atoms) < m:
        warnings.warn(
            f"only {len(atoms)} of {len(norms)} sampled rows are distinct and not zero; the other "
            f"{m - len(atoms)} of n_components={m} atoms start as random directions",
            stacklevel=4,
        )
        more = normalised(rng.standard_normal((m - len(atoms), d)))
        atoms = np.concatenate([atoms, more])
    return np.ascontiguousarray(atoms, dtype)


def check_init(init, n_components, d):
    """Check a dictionary given as ``init``; returns it as an array."""
    init = np.asarray(getattr(init, "values", init))
    if init.ndim != 2 or init.shape != (n_components, d):
        raise ValueError(
            f"init has shape {init.shape}; it must be n_components x n_features, here ({n_components}, {d})"
        )
    if init.dtype.kind not in "fiu":
        raise TypeError(f"init has dtype {init.dtype}; it must be real numbers")
    init = init.astype(np.float64)
    if not np.isfinite(init).all():
        atom = int(np.argmax(~np.isfinite(init).all(axis=1)))
        raise ValueError(f"init has NaN or infinite values, first in atom {atom}; all must be finite")
    zero = np.flatnonzero(~init.any(axis=1))
    if len(zero):
        raise ValueError(
            f"init has {len(zero)} zero atom{'s' if len(zero) > 1 else ''} (first: atom {zero[0]}); "
            "every atom needs a direction (other norms are set to one)"
        )
    return _within_range(init)


def normalised(rows):
    """Rows divided by their norms."""
    rows = _within_range(rows)
    return rows / np.linalg.norm(rows, axis=1, keepdims=True)


def _within_range(rows):
    """The same rows, those divided by their largest number whose norm would overflow or vanish."""
    largest = np.abs(rows).max(axis=1, initial=0, keepdims=True)
    far = (largest > _LARGEST) | ((largest < 1 / _LARGEST) & (largest > 0))
    return np.where(far, rows / np.where(far, largest, 1), rows) if far.any() else rows


def _distinct(directions, most):
    """The first ``most`` directions that are not repeated; keeps the order."""
    seen = {}
    for i, direction in enumerate(directions):
        if len(seen) == most:
            break
        seen.setdefault((np.round(direction, 6) + 0.0).tobytes(), i)
    return directions[list(seen.values())]


def _far_apart(directions, m, rng, positive):
    """k-means++ seeding (Arthur, Vassilvitskii 2007) on lines: distance 1 - cos^2.

    With ``positive`` on half-lines: opposite ones are as far from each other as those at right angles.
    """
    if not len(directions):
        return directions
    chosen = [int(rng.integers(len(directions)))]
    distance = np.ones(len(directions))
    while len(chosen) < min(m, len(directions)):
        cosine = directions @ directions[chosen[-1]]
        cosine = np.maximum(cosine, 0) if positive else cosine
        distance = np.minimum(distance, np.maximum(1 - cosine**2, 0))
        distance[chosen[-1]] = 0
        total = distance.sum()
        if total <= 0:
            break
        chosen.append(int(np.searchsorted(np.cumsum(distance), rng.random() * total, side="right")))
        chosen[-1] = min(chosen[-1], len(directions) - 1)
    return directions[chosen]
