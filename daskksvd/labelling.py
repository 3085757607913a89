"""The names that `daskksvd.naming`, `daskksvd.evaluation` and `daskksvd.captions` had together until 0.1."""

import warnings

from . import captions, evaluation, naming

__all__ = sorted({*captions.__all__, *evaluation.__all__, *naming.__all__})


def __getattr__(name):
    for room in (naming, evaluation, captions):
        if name in room.__all__:
            warnings.warn(
                f"daskksvd.labelling.{name} is now {room.__name__}.{name}; "
                "the old name goes with the next release",
                DeprecationWarning,
                stacklevel=2,
            )
            return getattr(room, name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
