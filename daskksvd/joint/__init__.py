"""One dictionary of images and texts together: a code for a pair, atoms with a half for each."""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
