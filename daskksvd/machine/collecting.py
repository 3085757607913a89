"""The collector of reference cycles, which at times goes through all objects that there are."""

import contextlib
import gc

ALLOCATIONS = 100_000
"""Objects made before the collector looks at new ones, in place of Python's 700 or 2,000."""


@contextlib.contextmanager
def seldom_collected():
    """Have the collector look more seldom in this block, for all threads.

    What makes many small objects that stay spends a quarter of its time in collections that find nothing.
    """
    before = gc.get_threshold()
    if not before[0] or before[0] >= ALLOCATIONS:  # off, or as seldom
        yield
        return
    gc.set_threshold(ALLOCATIONS, *before[1:])
    try:
        yield
    finally:
        gc.set_threshold(*before)
