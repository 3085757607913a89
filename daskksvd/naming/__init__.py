"""What atoms mean, in words: captions of the samples that use them say it."""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
