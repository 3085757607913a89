from .agreement import consensus as consensus
from .baselines import baseline_codes as baseline_codes
from .bottleneck import Bottleneck as Bottleneck
from .bottleneck import concept_bottleneck as concept_bottleneck
from .interventions import InterventionEffect as InterventionEffect
from .interventions import intervention_effect as intervention_effect
from .interventions import turned_texts as turned_texts
from .localization import localization as localization
from .localization import localization_summary as localization_summary
from .matching import match_atoms as match_atoms
from .monosemanticity import Monosemanticity as Monosemanticity
from .monosemanticity import monosemanticity as monosemanticity
from .probes import Probes as Probes
from .probes import sparse_probes as sparse_probes
from .recovery import concept_recovery as concept_recovery
from .recovery import names_right as names_right
from .recovery import recovery_table as recovery_table
from .retrieval import Retrieval as Retrieval
from .retrieval import retrieval as retrieval
from .scores import score_labels as score_labels
from .stability import compare_fits as compare_fits
from .stability import recurrence as recurrence
from .summary import atom_table as atom_table
from .summary import method_table as method_table
from .summary import summarise as summarise
from .word_prediction import faithfulness as faithfulness

__all__ = [
    "Bottleneck",
    "InterventionEffect",
    "Monosemanticity",
    "Probes",
    "Retrieval",
    "atom_table",
    "baseline_codes",
    "compare_fits",
    "concept_bottleneck",
    "concept_recovery",
    "consensus",
    "faithfulness",
    "intervention_effect",
    "localization",
    "localization_summary",
    "match_atoms",
    "method_table",
    "monosemanticity",
    "names_right",
    "recovery_table",
    "recurrence",
    "retrieval",
    "score_labels",
    "sparse_probes",
    "summarise",
    "turned_texts",
]
