"""Settings of the whole process, for one that serves a dashboard and does nothing else."""

import contextlib
import gc
import sys
import threading

DASHBOARD_TURN = 0.0005
"""Seconds after which Python lets the thread that answers go on, while another draws: with the
usual 0.005 each of the hundred small reads of an answer waits as long."""

_owned = threading.Event()
_stays = threading.RLock()


@contextlib.contextmanager
def own_process():
    """Tune this process to serve a dashboard and do nothing else.

    Threads that draw give way sooner to the one that answers, and what
    `staying` reads is not looked through for garbage. Others' processes,
    those of notebooks, are left as they are.
    """
    turns, frozen = sys.getswitchinterval(), gc.get_freeze_count()
    sys.setswitchinterval(min(turns, DASHBOARD_TURN))
    _owned.set()
    try:
        yield
    finally:
        with _stays:
            _owned.clear()
            sys.setswitchinterval(turns)
            if not frozen:
                gc.unfreeze()


@contextlib.contextmanager
def staying():
    """In a process of ours what is imported and read here stays: it is not looked through for garbage.

    That held up opening, and answers, by tenths of a second each time.
    """
    with _stays:
        if not _owned.is_set():
            yield
            return
        collects = gc.isenabled()
        gc.disable()
        try:
            yield
        finally:
            gc.freeze()
            if collects:
                gc.enable()
