"""Waiting for a cluster, with an end: what is amiss is told, and waited for so long and no longer."""

import asyncio
import concurrent.futures
import math
import threading
import time
import warnings
from typing import NamedTuple

from ..arguments import number
from ..tracking.events import WaitingForWorkers, WorkersReturned
from .counting import Count
from .executor import RoundLost, WorkersLost

WORKER_TIMEOUT = 300.0
"""Seconds to wait for workers by default."""

_LOOK = 1.0
"""Seconds between looks at the cluster while something is waited for."""

_LOOK_SHARE = 50
"""Looks take this share of the time at most: facts of thousands of workers are many."""

_LONGEST_LOOK = 10.0
"""But they are no further apart: on a busy machine an answer takes long without being much work."""

_ANSWER = 10.0
"""Seconds in which a scheduler answers, however busy it is."""

_NOTICE = 3.0
"""Seconds before a wait is told of: a worker that a nanny starts again is back sooner."""

_SILENT = 20.0
"""Seconds without a heartbeat, of which there is one or more in two, before a worker counts as silent."""


class _Facts(NamedTuple):
    """What a scheduler says."""

    workers: dict  # by address
    states: dict  # of the keys waited for, None where it knows nothing of one
    processing: dict  # keys by worker
    counted: dict  # states of tasks that are counted


class Watch:
    """Waits for what a cluster does, and looks meanwhile whether it can do anything.

    Parameters
    ----------
    client : distributed.Client
    timeout : float or None
        Seconds to wait for workers that are gone; None for ever.
    ours : callable
        ``ours(keys)``: those of them that stand for tasks of the fit.
    quiet : bool
        Whether nobody is to be told.
    """

    def __init__(self, client, timeout, ours, quiet=False):
        self.client = client
        self.timeout = math.inf if timeout is None else timeout
        self.ours = ours
        self.quiet = quiet
        self.tell = lambda event: None
        self._address = getattr(client.scheduler, "address", "")
        self._since = None  # when something was amiss first
        self._told = False
        self._heard = {}  # by worker: its last heartbeat, and when we first saw that one
        self._before = None  # the tasks that were being processed at the last look
        self._count = Count(None, [])
        self._unknown = 0  # looks in turn at which the scheduler knew nothing of what is waited for

    def run(self, coroutine, keys=()):
        """Run a coroutine on the client's loop; see `until`."""
        return self.until(self._started(coroutine), keys)

    def call(self, function, *arguments, **named):
        """Make a blocking call on a thread of its own; see `until`."""
        return self.until(self.begin(function, *arguments, **named))

    @staticmethod
    def begin(function, *arguments, **named):
        """Begin a blocking call on a thread of its own; returns its future."""
        future = concurrent.futures.Future()
        future.set_running_or_notify_cancel()  # else the call's own end finds it cancelled, and says so

        def call():
            try:
                future.set_result(function(*arguments, **named))
            except BaseException as error:
                future.set_exception(error)

        threading.Thread(target=call, name="daskksvd-call", daemon=True).start()
        return future

    def count(self, tick, keys=()):
        """Have ``tick(number)`` called with the number of tasks that were done from one look to the next.

        Returns the list of their keys, to which more may be added in the order in which they are sent.
        """
        self._count = Count(tick, list(keys))
        return self._count.keys

    @property
    def waiting(self):
        """Whether something was amiss when it was last looked."""
        return self._since is not None

    def until(self, future, keys=()):
        """Wait until a `concurrent.futures.Future` is done, for ``keys`` on the cluster; returns it.

        Raises
        ------
        WorkersLost
            If something was amiss for longer than the timeout.
        RoundLost
            If the scheduler knows nothing (more) of a key.
        """
        self._unknown, self._before, pause = 0, None, _LOOK
        try:
            while True:
                concurrent.futures.wait([future], pause)
                if future.done():
                    if not future.cancelled() and future.exception() is None:
                        self._all_is_well()
                    return future
                began = time.monotonic()
                self.look(keys, future)
                pause = max(
                    _LOOK, min(_LOOK_SHARE * (time.monotonic() - began), _LONGEST_LOOK, self.timeout / 4)
                )
                if self._since is not None:
                    pause = min(_LOOK, self._left() + 0.1)
        except BaseException:
            future.cancel()
            raise

    def until_well(self):
        """Return once there are workers, and they can be reached."""
        while self.look():
            time.sleep(min(_LOOK, self._left() + 0.1))

    def look(self, keys=(), future=None):
        """Look at the cluster once; returns whether something is amiss.

        Nothing is, once ``future`` is done.
        """
        began = time.monotonic()
        amiss = self._amiss(keys, future)
        if amiss is None:
            if future is None or not future.done():
                self._all_is_well()
            return False
        now = time.monotonic()
        if self._since is None:
            self._since = began
        waited = now - self._since
        if waited >= self.timeout:
            raise WorkersLost(f"waited {waited:.0f} s for {amiss}")
        if waited >= min(_NOTICE, self.timeout / 2) and not self.quiet:
            if not self._told:
                self._told = True
                warnings.warn(self._text(amiss), RuntimeWarning, stacklevel=2)
            self.tell(WaitingForWorkers(amiss, waited, None if math.isinf(self.timeout) else self.timeout))
        return True

    def _all_is_well(self):
        since, told = self._since, self._told
        self._since, self._told = None, False
        if told:
            self.tell(WorkersReturned(time.monotonic() - since))

    def _left(self):
        """Seconds until the timeout."""
        return 0 if self._since is None else max(0, self._since + self.timeout - time.monotonic())

    def _text(self, amiss):
        until = "" if math.isinf(self.timeout) else f", for {self.timeout:g} s at most (worker_timeout)"
        return f"waiting since {time.strftime('%H:%M:%S')} for {amiss}{until}"

    def _amiss(self, keys, future):
        """What there is to wait for, or None if all is well."""
        status = self.client.status
        if status not in ("running", "connecting"):
            raise WorkersLost(self._gone())
        facts = self._ask(keys, future) if status == "running" else None
        if future is not None and future.done():
            return None
        if facts is not None:
            self._count.look(facts.counted)
        if facts is None:
            return f"the scheduler at {self._address}, which does not answer"
        if not facts.workers:
            return f"workers: the cluster at {self._address} has none"
        # a task that the scheduler has not heard of yet is on its way; but not from one look to the next
        unknown = any(state is None for state in facts.states.values())
        self._unknown = self._unknown + 1 if unknown else 0
        if self._unknown > 1:
            raise RoundLost("the scheduler knows nothing of a task any more")
        return self._silent(facts)

    def _ask(self, keys, other=None):
        """`_Facts`, or None where the scheduler does not answer, or ``other`` is done sooner."""
        scheduler, waited = self.client.scheduler, self._count.waited()

        async def ask():
            identity = await scheduler.identity(n_workers=-1)
            states = await scheduler.get_task_status(keys=list(keys)) if keys else {}
            counted = await scheduler.get_task_status(keys=waited) if waited else {}
            processing = {}
            if any(seconds > _SILENT for seconds in self._silences(identity["workers"]).values()):
                processing = await scheduler.processing(workers=None)
            return _Facts(identity["workers"], states, processing, counted)

        if scheduler is None:  # the client closed this moment
            return None
        asked = self._started(ask())
        both = [asked] if other is None else [asked, other]
        seconds = min(_ANSWER, max(self.timeout, _LOOK))
        concurrent.futures.wait(both, seconds, concurrent.futures.FIRST_COMPLETED)
        try:
            return asked.result(0)
        except (OSError, TimeoutError, RuntimeError, concurrent.futures.CancelledError):
            return None
        finally:
            asked.cancel()

    def _started(self, coroutine):
        try:
            return asyncio.run_coroutine_threadsafe(coroutine, self.client.loop.asyncio_loop)
        except RuntimeError as error:  # the loop of a client that is closed
            coroutine.close()
            raise WorkersLost(self._gone()) from error

    def _gone(self):
        return f"the scheduler at {self._address} is gone (the client is {self.client.status})"

    def _silences(self, workers):
        """Seconds since each worker was heard of, by the clock of this process."""
        now = time.monotonic()
        for address, worker in workers.items():
            if self._heard.get(address, (None,))[0] != worker["last_seen"]:
                self._heard[address] = worker["last_seen"], now
        self._heard = {address: self._heard[address] for address in workers}
        return {address: now - seen for address, (_, seen) in self._heard.items()}

    def _silent(self, facts):
        """Which worker is waited for that is there, but silent, or None.

        One that is silent is nothing to wait for while others get on. A task may
        take hours, but the worker that runs it is heard of.
        """
        silent = {address for address, seconds in self._silences(facts.workers).items() if seconds > _SILENT}
        ours = {address: self.ours(keys) for address, keys in facts.processing.items()}
        before, self._before = self._before, ours if silent else None
        if not silent or before != ours:
            return None
        others = [worker for address, worker in facts.workers.items() if address not in silent]
        counts = [worker["metrics"].get("task_counts", {}) for worker in others]
        busy = any(count.get("executing", 0) or count.get("long-running", 0) for count in counts)
        stuck = sorted(address for address in silent if ours.get(address)) or ([] if busy else sorted(silent))
        if not stuck:
            return None
        more = f" and {len(stuck) - 1} more" if len(stuck) > 1 else ""
        return f"worker {stuck[0]}{more}, of which nothing was heard for {_SILENT:g} s or more"


def check_timeout(value):
    """A worker_timeout: seconds above 0, or None."""
    if value is None or value == math.inf:
        return None
    return number("worker_timeout", value, 0, math.inf, "seconds above 0, or None to wait for ever", True)
