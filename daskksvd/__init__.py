"""Dictionary learning for data that does not fit in memory.

`fit` learns an overcomplete dictionary from rows of any size; its `Result`
encodes, decodes, scores and saves. `KSVD` is the same as a scikit-learn
estimator.
"""

import logging

import lazy_loader

__version__ = "0.1.0"

# silent, unless whoever imports it asks for more: logging.basicConfig(level="INFO")
logging.getLogger(__name__).addHandler(logging.NullHandler())

_lazy, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)


def __getattr__(name):
    if name == "labelling":  # its name until 0.1, which warns
        import importlib

        return importlib.import_module(f"{__name__}.labelling")
    return _lazy(name)
