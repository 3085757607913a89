"""What all stores have in common: checksums, a closing record, and one error for damage."""

from .checked import CheckedStore
from .damage import DamagedStore
from .growing import Growing, growing
from .opening import Opened, open_store
from .reading import StoredArray, read_part
from .record import RECORD, seal, unseal
from .store import Store, Variable, beside
from .writing import compressors, write_dataset

__all__ = [
    "RECORD",
    "CheckedStore",
    "DamagedStore",
    "Growing",
    "Opened",
    "Store",
    "StoredArray",
    "Variable",
    "beside",
    "compressors",
    "growing",
    "open_store",
    "read_part",
    "seal",
    "unseal",
    "write_dataset",
]
