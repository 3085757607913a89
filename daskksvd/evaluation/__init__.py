"""How good atoms and their names are: on held-out samples, against known concepts, between fits."""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
