"""Where captioned images come from; `open_source` tells which kind it is."""

from .base import Failure, Item, Source, Url
from .opening import open_source

__all__ = ["Failure", "Item", "Source", "Url", "open_source"]
