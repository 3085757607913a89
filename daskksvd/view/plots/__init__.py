"""Pictures of a result: functions from a `View` to a HoloViews element, each usable by itself."""

from .atoms import coefficient_histogram, coherence, nonzeros_histogram, usage_by_rank
from .gradients import gradient_curves
from .graph import concept_graph_element
from .heat import heat_map, heat_maps
from .learning import atom_curves, error_curves, learning_curves, pareto
from .maps import atom_map
from .sets import for_atom, overview
from .words import correlation_histogram, word_heatmap

__all__ = [
    "atom_curves",
    "atom_map",
    "coefficient_histogram",
    "coherence",
    "concept_graph_element",
    "correlation_histogram",
    "error_curves",
    "for_atom",
    "gradient_curves",
    "heat_map",
    "heat_maps",
    "learning_curves",
    "nonzeros_histogram",
    "overview",
    "pareto",
    "usage_by_rank",
    "word_heatmap",
]
