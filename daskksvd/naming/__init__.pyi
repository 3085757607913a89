from .graph import concept_graph as concept_graph
from .graph import write_graph as write_graph
from .labels import label as label
from .store import open_labels as open_labels
from .store import save_labels as save_labels
from .table import atoms_of_word as atoms_of_word
from .table import label_table as label_table
from .table import words_of_atom as words_of_atom
from .table import write_table as write_table
from .tokens.choosing import map_tokens as map_tokens
from .tokens.from_images import words_from_encoder as words_from_encoder
from .tokens.store import open_tokens as open_tokens
from .tokens.store import save_tokens as save_tokens

__all__ = [
    "atoms_of_word",
    "concept_graph",
    "label",
    "label_table",
    "map_tokens",
    "open_labels",
    "open_tokens",
    "save_labels",
    "save_tokens",
    "words_from_encoder",
    "words_of_atom",
    "write_graph",
    "write_table",
]
