from .by_sample import occurrence as occurrence
from .by_sample import open_captions as open_captions
from .words.tokens import Tokenizer as Tokenizer
from .words.vocabulary import build_vocabulary as build_vocabulary
from .words.vocabulary import find_phrases as find_phrases

__all__ = [
    "Tokenizer",
    "build_vocabulary",
    "find_phrases",
    "occurrence",
    "open_captions",
]
