"""Dictionary learning for data that does not fit in memory.

`fit` learns an overcomplete dictionary from rows of any size; its `Result`
encodes, decodes, scores and saves. `KSVD` is the same as a scikit-learn
estimator.
"""

import importlib

__version__ = "0.1.0"

_WHERE = {
    "Embeddings": "daskksvd.embedding",
    "FitInterrupted": "daskksvd.learning.fit",
    "KSVD": "daskksvd.estimator",
    "Result": "daskksvd.result",
    "StopFit": "daskksvd.tracking",
    "concept_graph": "daskksvd.labelling.graph",
    "datasets": "daskksvd.datasets",
    "embed": "daskksvd.embedding",
    "embed_texts": "daskksvd.embedding",
    "faithfulness": "daskksvd.labelling",
    "fit": "daskksvd.learning.fit",
    "label": "daskksvd.labelling.labels",
    "labelling": "daskksvd.labelling",
    "load": "daskksvd.result",
    "open_codes": "daskksvd.coding.store",
    "open_embeddings": "daskksvd.embedding",
    "open_labels": "daskksvd.labelling.store",
    "plan": "daskksvd.planning",
    "view": "daskksvd.view",
}

__all__ = sorted(_WHERE)


def __getattr__(name):
    """Import on first use, so that ``import daskksvd`` is quick."""
    if name not in _WHERE:
        raise AttributeError(f"module 'daskksvd' has no attribute {name!r}")
    module = importlib.import_module(_WHERE[name])
    return module if _WHERE[name] == f"daskksvd.{name}" else getattr(module, name)


def __dir__():
    return sorted([*globals(), *__all__])
