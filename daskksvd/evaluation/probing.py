"""Logistic regressions on a few features, and what counts of their scores say."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
import scipy.sparse as sp

PROBE_BINS = 512
"""Scores are told apart by so many bins at most: areas change by less than .001."""

Z95 = 1.959964
"""Of a normal 95 % interval."""


class Fitted(NamedTuple):
    """Probes of all k and labels, label after label for each k.

    Attributes
    ----------
    weights : (f, p) scipy.sparse.csc_matrix
        Of the gathered features.
    scaled : (p, k) array
        The same for features in standard deviations, in the order of choice; NaN after the k-th.
    edges : (p, PROBE_BINS - 1) array
        Rising scores at which bins begin; infinite after the last.
    threshold : (p,) int array
        Bin from which on a label is told.
    """

    weights: sp.csc_matrix
    scaled: np.ndarray
    edges: np.ndarray
    threshold: np.ndarray


def fit_probes(rows: Any, truth: np.ndarray, places: np.ndarray, ks: Sequence[int]) -> Fitted:
    """Logistic regressions of labels (n, L) on the first k of their chosen columns (L, K) of rows (n, f)."""
    n_labels = truth.shape[1]
    dense = rows.tocsc() if sp.issparse(rows) else rows
    weights, scaled, edges, thresholds = [], [], [], []
    for k in ks:
        for label in range(n_labels):
            columns = places[label][:k]
            x = dense[:, columns]
            x = x.toarray() if sp.issparse(x) else np.asarray(x, float)
            std = x.std(axis=0)
            std[std == 0] = 1
            coef = logistic(x / std, truth[:, label])
            vector = np.zeros(rows.shape[1])
            vector[columns] = coef / std
            scores = x @ (coef / std)
            cuts = cut_scores(scores)
            bins = np.searchsorted(cuts, scores, side="right")
            counts = np.stack(
                [np.bincount(bins, weights=truth[:, label] == side, minlength=PROBE_BINS) for side in (0, 1)],
                1,
            )
            weights.append(vector)
            scaled.append(np.pad(coef, (0, max(ks) - len(coef)), constant_values=np.nan))
            edges.append(cuts)
            thresholds.append(int(np.argmax(f1_scores(counts))))
    return Fitted(sp.csc_matrix(np.array(weights).T), np.array(scaled), np.array(edges), np.array(thresholds))


def cut_scores(scores: np.ndarray) -> np.ndarray:
    """Where bins begin, (PROBE_BINS - 1,): at every score that there is, or at quantiles of those, and after.

    Scores between two of them have a bin of their own: many samples are tied at the score of
    those that use no atom, and those that use one a little are not among them.
    """
    found, most = np.unique(scores), (PROBE_BINS - 1) // 2
    if len(found) > most:
        found = found[np.linspace(0, len(found) - 1, most).round().astype(int)]
    found = np.stack([found, np.nextafter(found, np.inf)], axis=1).ravel()
    return np.pad(found, (0, PROBE_BINS - 1 - len(found)), constant_values=np.inf)


def logistic(x: np.ndarray, y: np.ndarray) -> np.ndarray:
    """Weights of scikit-learn's logistic regression, (k,), without the intercept."""
    try:
        from sklearn.linear_model import LogisticRegression
    except ImportError as error:
        raise ImportError(
            'probes need scikit-learn; install it with: pip install "daskksvd[sklearn]"'
        ) from error
    return LogisticRegression(solver="newton-cholesky", max_iter=200).fit(x, y).coef_[0]


def areas(counts: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """AUROC and average precision of counts (p, bins, 2) of samples without and with a label, by score."""
    without, true = counts[:, ::-1, 0].astype(float), counts[:, ::-1, 1].astype(float)
    below = without.sum(axis=1, keepdims=True) - np.cumsum(without, axis=1)
    n0, n1 = without.sum(axis=1), true.sum(axis=1)
    with np.errstate(divide="ignore", invalid="ignore"):
        auroc = (true * (below + without / 2)).sum(axis=1) / (n0 * n1)
        precision = np.cumsum(true, axis=1) / np.maximum(np.cumsum(true + without, axis=1), 1)
        return auroc, (true * precision).sum(axis=1) / n1


def f1_scores(counts: np.ndarray) -> np.ndarray:
    """F1 (..., bins) of telling the label from each bin on."""
    true = counts[..., ::-1, 1].cumsum(axis=-1)[..., ::-1]
    told = counts.sum(axis=-1)[..., ::-1].cumsum(axis=-1)[..., ::-1]
    return 2 * true / np.maximum(told + counts[..., 1].sum(axis=-1)[..., None], 1)


def measures(counts: np.ndarray, threshold: np.ndarray) -> pd.DataFrame:
    """What counts (p, bins, 2) say of probes, and of telling labels from the bins ``threshold`` on."""
    auroc, precision = areas(counts)
    n1 = counts[:, :, 1].sum(axis=1)
    n0 = counts[:, :, 0].sum(axis=1)
    with np.errstate(divide="ignore", invalid="ignore"):
        q1, q2 = auroc / (2 - auroc), 2 * auroc**2 / (1 + auroc)
        spread = auroc * (1 - auroc) + (n1 - 1) * (q1 - auroc**2) + (n0 - 1) * (q2 - auroc**2)
        error = np.sqrt(np.maximum(spread, 0) / (n0 * n1))
    f1 = np.take_along_axis(f1_scores(counts), threshold[:, None], axis=1)[:, 0]
    return pd.DataFrame(
        {
            "positive": n1.astype(int),
            "auroc": auroc,
            "auroc_low": np.maximum(auroc - Z95 * error, 0),
            "auroc_high": np.minimum(auroc + Z95 * error, 1),
            "f1": f1,
            "average_precision": precision,
        }
    )
