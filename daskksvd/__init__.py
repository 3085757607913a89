"""Dictionary learning for data that does not fit in memory.

`fit` learns an overcomplete dictionary from rows of any size; its `Result`
encodes, decodes, scores and saves. `KSVD` is the same as a scikit-learn
estimator.
"""

from .lazy import lazy

__version__ = "0.1.0"

__all__, __getattr__, __dir__ = lazy(
    __name__,
    {
        "Embeddings": "embedding",
        "FitInterrupted": "learning.fit",
        "KSVD": "estimator",
        "Result": "result",
        "StopFit": "tracking",
        "WorkersLost": "running",
        "concept_graph": "labelling.graph",
        "datasets": "datasets",
        "embed": "embedding",
        "embed_texts": "embedding",
        "faithfulness": "labelling",
        "fit": "learning.fit",
        "label": "labelling.labels",
        "labelling": "labelling",
        "load": "result",
        "open_codes": "coding.store",
        "open_embeddings": "embedding",
        "open_labels": "labelling.store",
        "plan": "planning",
        "view": "view",
    },
)
