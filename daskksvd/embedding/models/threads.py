"""PyTorch's threads: how many it uses, and as many afterwards as before."""

import contextlib
import threading


def one_thread():
    """Let this thread compute alone what it computes."""
    import torch

    torch.set_num_threads(1)


_keeping = threading.Lock()
_kept: list = []
"""PyTorch's number of threads before the first of those that now keep it, once for each."""


@contextlib.contextmanager
def threads_kept(number=None):
    """Leave PyTorch with as many threads as it had, however many do so at a time.

    This thread has ``number`` of them meanwhile, if that is given.
    """
    import torch

    with _keeping:
        before = _kept[0] if _kept else torch.get_num_threads()
        _kept.append(before)
    try:
        if number is not None:
            torch.set_num_threads(number)
        yield
    finally:
        with _keeping:
            _kept.pop()
            torch.set_num_threads(before)
