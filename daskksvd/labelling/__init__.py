"""What atoms mean, in words: captions of the samples that use them say it."""

import importlib

_WHERE = {
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
}

__all__ = sorted(_WHERE)


def __getattr__(name):
    """Import on first use: lemmatisers and graphs take long."""
    if name not in _WHERE:
        raise AttributeError(f"module 'daskksvd.labelling' has no attribute {name!r}")
    return getattr(importlib.import_module(f".{_WHERE[name]}", __name__), name)
