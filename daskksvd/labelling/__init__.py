"""What atoms mean, in words: captions of the samples that use them say it."""

from ..lazy import lazy

__all__, __getattr__, __dir__ = lazy(
    __name__,
    {
        "Tokenizer": "tokens",
        "atom_table": "summary",
        "atoms_of_word": "table",
        "baseline_codes": "baselines",
        "build_vocabulary": "vocabulary",
        "compare_fits": "stability",
        "concept_graph": "graph",
        "concept_recovery": "truth",
        "faithfulness": "word_prediction",
        "find_phrases": "vocabulary",
        "label": "labels",
        "label_table": "table",
        "match_atoms": "matching",
        "method_table": "summary",
        "names_right": "truth",
        "occurrence": "captions",
        "open_captions": "captions",
        "open_labels": "store",
        "recovery_table": "truth",
        "save_labels": "store",
        "score_labels": "scores",
        "summarise": "summary",
        "words_of_atom": "table",
        "write_graph": "graph",
        "write_table": "table",
    },
)
