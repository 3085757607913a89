"""Captions as people have them, and their words: one reader for `embed`, `label` and `view`."""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
