"""The state that PyTorch computes in here: no gradients, products of full precision."""

import contextlib
import threading

import torch


class _Limit:
    """How many computations are inside, and the precision before them."""

    def __init__(self):
        self.lock = threading.Lock()
        self.inside = 0
        self.before = "highest"


_limit = _Limit()


@contextlib.contextmanager
def computing():
    """Hold matrix products at single precision, and gradients off. Decorates functions, too.

    A program may have allowed products of less; that is the process's, so the first in sets
    it, and the last one out sets it back.
    """
    with _limit.lock:
        if _limit.inside == 0:
            _limit.before = torch.get_float32_matmul_precision()
            if _limit.before != "highest":
                torch.set_float32_matmul_precision("highest")
        _limit.inside += 1
    try:
        with torch.inference_mode():
            yield
    finally:
        with _limit.lock:
            _limit.inside -= 1
            if _limit.inside == 0 and _limit.before != "highest":
                torch.set_float32_matmul_precision(_limit.before)
