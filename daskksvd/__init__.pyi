from . import captions as captions
from . import datasets as datasets
from . import evaluation as evaluation
from . import joint as joint
from . import naming as naming
from . import view as view
from .activations import Activations as Activations
from .activations import open_activations as open_activations
from .coding import SparseCoder as SparseCoder
from .coding.by_image import image_codes as image_codes
from .coding.store import open_codes as open_codes
from .embedding import Embeddings as Embeddings
from .embedding import Encodings as Encodings
from .embedding import TextEncoder as TextEncoder
from .embedding import embed as embed
from .embedding import embed_captions as embed_captions
from .embedding import embed_texts as embed_texts
from .embedding import open_embeddings as open_embeddings
from .embedding import open_encodings as open_encodings
from .embedding import plan_embed as plan_embed
from .embedding import text_encoder as text_encoder
from .estimator import KSVD as KSVD
from .evaluation import consensus as consensus
from .evaluation import faithfulness as faithfulness
from .execution import WorkersLost as WorkersLost
from .fitting.fit import FitInterrupted as FitInterrupted
from .fitting.fit import fit as fit
from .fitting.foreign import from_sae as from_sae
from .fitting.result import Result as Result
from .fitting.result import load as load
from .joint import JointResult as JointResult
from .joint import fit_joint as fit_joint
from .joint import load_joint as load_joint
from .joint import shared_atoms as shared_atoms
from .naming import concept_graph as concept_graph
from .naming import label as label
from .naming import open_labels as open_labels
from .planning import plan as plan
from .tracking import StopFit as StopFit
from .versions import show_versions as show_versions

__version__: str

__all__ = [
    "KSVD",
    "Activations",
    "Embeddings",
    "Encodings",
    "FitInterrupted",
    "JointResult",
    "Result",
    "SparseCoder",
    "StopFit",
    "TextEncoder",
    "WorkersLost",
    "captions",
    "concept_graph",
    "consensus",
    "datasets",
    "embed",
    "embed_captions",
    "embed_texts",
    "evaluation",
    "faithfulness",
    "fit",
    "fit_joint",
    "from_sae",
    "image_codes",
    "joint",
    "label",
    "load",
    "load_joint",
    "naming",
    "open_activations",
    "open_codes",
    "open_embeddings",
    "open_encodings",
    "open_labels",
    "plan",
    "plan_embed",
    "shared_atoms",
    "show_versions",
    "text_encoder",
    "view",
]
