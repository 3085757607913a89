"""A classifier that sees codes alone, and says by which named atoms it decides."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
import scipy.sparse as sp

from ..arguments import integer, seed
from ..execution import WORKER_TIMEOUT
from ..naming.inputs import split_samples
from ..tracking.parts import shows_parts
from .passes import ATOMS, FREQUENT_CLASS, gather_rows, open_material
from .probes import PROBE_ROWS, some_rows
from .scores import wilson

if TYPE_CHECKING:
    import numpy.typing as npt
    from distributed import Client

    from ..coding.inputs import CodesLike
    from ..fitting.result import Result
    from ..rows.source import ArrayLike


@dataclasses.dataclass(frozen=True, eq=False)
class Bottleneck:
    """What `concept_bottleneck` found.

    Attributes
    ----------
    table : pandas.DataFrame
        By features: ``accuracy`` on held-out samples with its 95 % Wilson interval, and ``recall``, the mean
        over classes of the share that is told.
    reasons : pandas.DataFrame
        By (class, place), the strongest first: ``atom``, ``side``, ``name``, the ``weight`` of its
        coefficient, and ``share``, its mean part of the evidence for the class in training samples of it.
    weights : (2m, C) array
        Of the coefficients of both sides of atoms.
    intercept : (C,) array
    classes : list of str
    attrs : dict
    """

    table: pd.DataFrame
    reasons: pd.DataFrame
    weights: np.ndarray
    intercept: np.ndarray
    classes: list[str]
    attrs: dict[str, Any]

    def __repr__(self) -> str:
        told = [
            f"{name} {row.accuracy:.3f} ({row.accuracy_low:.3f} to {row.accuracy_high:.3f})"
            for name, row in self.table.iterrows()
        ]
        return (
            f"<Bottleneck: {len(self.classes)} classes, {self.attrs['n_test']:,} held-out samples; accuracy "
            f"{', '.join(told)}>"
        )


@shows_parts("classifier")
def concept_bottleneck(
    codes: CodesLike,
    classes: npt.ArrayLike,
    *,
    words: Sequence[str] | None = None,
    embeddings: ArrayLike | None = None,
    result: Result | None = None,
    others: Mapping[str, CodesLike] | None = None,
    train: float | npt.ArrayLike | None = None,
    top: int = 5,
    random_state: int | np.random.Generator | None = None,
    client: Client | None = None,
    worker_timeout: float | None = WORKER_TIMEOUT,
    progress: bool = False,
) -> Bottleneck:
    """Classify samples linearly by their codes, and by embeddings beside that.

    Parameters
    ----------
    codes, embeddings, result, others, train : as for `sparse_probes`
    classes : (n,) array
        The class of every sample.
    words : sequence of str, optional
        Names of the atoms, such as ``label_table`` or ``labels.top_word`` have.
    top : int
        Atoms that are told of each class.
    random_state, client, worker_timeout, progress : as for `sparse_probes`

    Returns
    -------
    Bottleneck

    Raises
    ------
    TypeError, ValueError, FileNotFoundError
        If arguments do not fit together, or the training samples are of one class.

    Notes
    -----
    A concept bottleneck (Koh et al. 2020) whose concepts are atoms: a multinomial logistic regression, fitted
    on `PROBE_ROWS` training samples at most with features in standard deviations.
    """
    number, top = seed("random_state", random_state), integer("top", top, 1)
    classes = np.asarray(classes)
    if classes.ndim != 1 or len(classes) < 2:
        raise ValueError(f"classes has shape {classes.shape}; it must be one class a sample")
    names, place = np.unique(classes, return_inverse=True)
    one_hot = sp.csr_matrix((np.ones(len(place)), (np.arange(len(place)), place)))
    material = open_material(
        codes,
        one_hot,
        embeddings=embeddings,
        result=result,
        others=others,
        seed=0 if number is None else number,
    )
    rng = np.random.default_rng(number)
    training = split_samples(train, np.arange(material.n), rng)
    kinds, how = list(material.features), (client, worker_timeout)
    m = material.features[ATOMS].m or 0
    if words is not None and len(words) != m:
        raise ValueError(f"words has {len(words)} names; codes has {m} atoms")
    fitting = some_rows(training, PROBE_ROWS, rng)
    *gathered, truth = material.run(kinds, _gather, gather_rows, None, fitting, *how)
    y = np.asarray(truth.argmax(axis=1)).ravel()
    if len(np.unique(y)) < 2:
        raise ValueError("classes has one class among the training samples; there must be two at least")
    models = [_fit(x, y, len(names)) for x in gathered]
    confusion = material.run(kinds, _confusion, _add, models, ~training, *how)
    table = {kind: _measures(counts) for kind, counts in zip(kinds, confusion, strict=True)}
    most = np.zeros_like(confusion[0])
    most[:, np.bincount(y).argmax()] = confusion[0].sum(axis=1)
    table[FREQUENT_CLASS] = _measures(most)
    weights, intercept = models[kinds.index(ATOMS)]
    reasons = _reasons(gathered[kinds.index(ATOMS)], y, weights, list(map(str, names)), words, top)
    attrs = {"n_train": int(training.sum()), "n_fitted": len(y), "n_test": int((~training).sum())}
    frame = pd.DataFrame(table).T.rename_axis("features")
    return Bottleneck(frame, reasons, weights, intercept, list(map(str, names)), attrs)


def _fit(x, y, n_classes):
    """Weights (f, C) and intercepts (C,) of scikit-learn's logistic regression."""
    try:
        from sklearn.linear_model import LogisticRegression
    except ImportError as error:
        raise ImportError(
            'a classifier needs scikit-learn; install it with: pip install "daskksvd[sklearn]"'
        ) from error
    mean = np.zeros(x.shape[1]) if sp.issparse(x) else x.mean(axis=0)
    square = x.multiply(x).mean(axis=0) if sp.issparse(x) else ((x - mean) ** 2).mean(axis=0)
    std = np.sqrt(np.asarray(square, float)).ravel()
    std[std == 0] = 1
    scaled = sp.csr_matrix(x @ sp.diags(1 / std)) if sp.issparse(x) else (x - mean) / std
    model = LogisticRegression(max_iter=500).fit(scaled, y)
    coef, intercept = model.coef_, model.intercept_
    if len(coef) == 1:  # of two classes
        coef, intercept = np.vstack([-coef, coef]) / 2, np.concatenate([-intercept, intercept]) / 2
    weights, constant = np.zeros((x.shape[1], n_classes)), np.full(n_classes, -np.inf)
    weights[:, model.classes_] = (coef / std).T
    constant[model.classes_] = intercept - coef @ (mean / std)
    return weights, constant


def _gather(features, labels, numbers, shared):
    return [*features, labels]


def _confusion(features, labels, numbers, models):
    """Counts (true, told) for every kind of features."""
    true = np.asarray(labels.argmax(axis=1)).ravel()
    n = labels.shape[1]
    found = []
    for x, (weights, intercept) in zip(features, models, strict=True):
        told = np.argmax(np.asarray(x @ weights) + intercept, axis=1)
        found.append(np.bincount(n * true + told, minlength=n * n).reshape(n, n))
    return found


def _add(parts):
    return [sum(several) for several in zip(*parts, strict=True)]


def _measures(counts):
    right, n = int(np.trace(counts)), int(counts.sum())
    low, high = wilson(right, n)
    there = counts.sum(axis=1) > 0
    recall = float((np.diag(counts)[there] / counts.sum(axis=1)[there]).mean())
    return {"accuracy": right / n, "accuracy_low": low, "accuracy_high": high, "recall": recall}


def _reasons(sides, y, weights, classes, words, top):
    """The atoms that speak for each class."""
    m = sides.shape[1] // 2
    rows = {}
    for number, name in enumerate(classes):
        of = sides[np.flatnonzero(y == number)]
        if not of.shape[0]:
            continue
        # of the evidence that sets the class apart from the mean of all classes
        part = np.asarray(of.mean(axis=0)).ravel() * (weights[:, number] - weights.mean(axis=1))
        total = part[part > 0].sum() or 1.0
        for at, side in enumerate(np.argsort(-part, kind="stable")[:top], 1):
            atom = int(side % m)
            rows[name, at] = {
                "atom": atom,
                "side": 1 if side < m else -1,
                "name": "" if words is None else str(words[atom]),
                "weight": float(weights[side, number]),
                "share": float(part[side] / total),
            }
    return pd.DataFrame(rows).T.rename_axis(["class", "place"]).infer_objects()
