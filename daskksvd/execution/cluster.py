"""Tasks on a Dask cluster, through the user's client."""

import contextlib
import os
import uuid
import weakref

import dask
from dask.sizeof import sizeof

from .counting import keys_of
from .executor import Executor, RoundLost, WorkersLost, run_task, same, say_farewell, to_make
from .watching import WORKER_TIMEOUT, Watch

RETRIES = 3
"""Times the scheduler gives a task to another worker when one dies under it."""

_INLINE_BYTES = 50_000
"""Values up to this size travel inside the tasks."""

_GOODBYE = 10
"""Seconds that workers have to let go of what they keep; one that hangs must not hold up the end."""


def leave_thread():
    """Where this is called by a task of a worker, let other tasks have its thread; returns whether so.

    A task that waits for others on the same worker would keep them waiting.
    """
    from distributed import secede
    from distributed.threadpoolexecutor import thread_state as pool
    from distributed.utils import thread_state as task

    inside = hasattr(task, "start_time") and getattr(pool, "proceed", False)
    if inside:
        secede()
    return inside


class ClusterExecutor(Executor):
    """Submits tasks to a `distributed.Client` that the user brings.

    Parameters
    ----------
    client : distributed.Client
    worker_timeout : float or None
        Seconds to wait for workers that are gone; None for ever.
    """

    def __init__(self, client, worker_timeout=WORKER_TIMEOUT):
        from distributed import Client

        if not isinstance(client, Client):
            raise TypeError(
                f"client is a {type(client).__name__}; it must be a distributed.Client, "
                "for example Client() or Client('tcp://host:8786')"
            )
        if client.asynchronous:
            raise ValueError("client is asynchronous; fit needs a Client(asynchronous=False)")
        if client.status != "running":
            raise ValueError(f"client is {client.status}; it must be connected to a scheduler")
        self.client = client
        self._left_thread = leave_thread()
        self._token = uuid.uuid4().hex[:8]
        self._count = 0
        # only those that somebody waits for: workers keep what a handle refers to
        self._pending = weakref.WeakSet()
        self._keys = []  # of the round
        self._earlier_keys = []  # of the one before
        self._held = []
        self._lost = set()  # keys of rounds that were lost
        self._generation = client.generation
        self._watch = Watch(client, worker_timeout, self._ours)
        self._watch.until_well()

    def listen(self, tell):
        self._watch.tell = tell

    def memory(self):
        workers = self._facts(self.client.scheduler_info, n_workers=-1)["workers"]
        return [
            (f"worker {address}", worker["nthreads"], worker["memory_limit"] or 0)
            for address, worker in workers.items()
        ]

    def share(self, function, arguments, everywhere=False):
        # A task, not a scatter: the scheduler can make it again when the
        # worker that holds it dies, and scattering to all workers waits for
        # ever when one of them dies meanwhile. One worker calls the
        # function, the others copy its result from each other.
        if function is same and sizeof(arguments) <= _INLINE_BYTES:
            return arguments[0]
        with dask.config.set({"distributed.admin.large-graph-warning-threshold": "1GiB"}):
            if everywhere:
                sent = [self.submit(same, argument) for argument in arguments]
                return to_make(self._token, sent[0].key, function, sent)
            return self.submit(function, *arguments)

    def submit(self, function, *arguments, place=None):
        # what comes before the token names a kind of task: the scheduler learns how
        # long those take, and so whether an idle worker should take one over
        called = arguments[0] if function is run_task else function
        with self._losses_named():
            handle = self.client.submit(
                function,
                *arguments,
                key=self._key(getattr(called, "__name__", "call").strip("_").replace("_", "-")),
                pure=False,
                retries=RETRIES,
                workers=place,
                allow_other_workers=place is not None,
            )
        self._pending.add(handle)
        return handle

    def _key(self, kind):
        self._count += 1
        self._keys.append(f"daskksvd-{kind}-{self._token}-{self._count}")
        return self._keys[-1]

    def _ours(self, keys):
        held = {future.key for future in self._held}
        return {key for key in keys if key in held or f"-{self._token}-" in str(key)}

    def places(self, count):
        # The scheduler puts tasks where the dictionary is, and so too many of
        # the few tasks of a wave on one worker. Neighbours go to the same one:
        # what they return is added up there.
        workers = self._run(lambda: self.client.scheduler.ncores(workers=None))
        slots = sorted(worker for worker, number in workers.items() for _ in range(number))
        return [slots[i * len(slots) // count] if slots else None for i in range(count)]

    def counted(self, handles, tick):
        counting = self._watch.count(tick)
        for handle in handles:
            counting.append(handle.key)
            yield handle

    def gather(self, handles):
        try:
            values = self._run(lambda: self.client.gather(handles, asynchronous=True), handles)
        finally:
            self._watch.count(None)
        if self.client.generation != self._generation:
            # a handle from before a restart lets go of nothing, and its task may have been done all the same
            self._generation = self.client.generation
            self._lost |= self._of_rounds() - {future.key for future in self._held}
            self._release_lost()
        self._earlier_keys, self._keys = self._keys, []
        return values

    def _of_rounds(self):
        """Keys of this round and of the one before, which may end before a restart is known here."""
        return {*self._earlier_keys, *self._keys}

    def cancel(self):
        # not client.cancel: where a task waits for one, it ends the scheduler's connection to the client
        for future in list(self._pending):
            _release(future)

    def hold(self, graph, keys):
        with self._losses_named():
            return self._hold(self.client.get(graph, keys, sync=False))

    def begin(self, value, tick=None):
        self._check_futures(value)
        if tick is not None:
            self._watch.count(tick, keys_of(value))
        with self._losses_named():
            return self._hold([self.client.compute(value, retries=RETRIES)])

    def _check_futures(self, collection):
        from distributed import futures_of

        for future in futures_of(collection):
            self.check_future(future)

    def persist(self, array):
        from distributed import futures_of

        self._check_futures(array)
        with self._losses_named():
            array = self.client.persist(array)
        self._hold(futures_of(array))
        return array

    moves_arrays = True

    def place(self, values):
        if not values:
            return []
        values = {self._key("rows"): value for value in values}
        scattered = self._run(lambda: self.client.scatter(values, hash=False, asynchronous=True))
        return self._hold([scattered[key] for key in values])

    def _hold(self, futures):
        """Note futures that are to be let go of in the end."""
        self._held += futures
        return futures

    def recover(self):
        keys = self._of_rounds() | {future.key for future in (*self._pending, *self._held)}
        self._earlier_keys, self._keys = [], []
        self._let_go()
        self._lost |= keys
        self._release_lost()
        self._watch.until_well()

    def _release_lost(self):
        """Have the scheduler forget tasks of rounds that were lost.

        Of one that was sent while the scheduler forgot all others, only the client has
        forgotten. It may get to the scheduler's list after what is said here of it,
        so that it is said again in the end.
        """
        from distributed import Future

        for key in self._lost:
            _release(Future(key, self.client))

    def everywhere(self, function, *arguments, **named):
        """What a function returns on every worker, by address; see `Client.run`."""
        return self._facts(self.client.run, function, *arguments, **named)

    def check_path(self, path, name):
        # Zarr reads what it does not find as zeros, so look before.
        for worker, found in self.everywhere(os.path.exists, path, on_error="return").items():
            if found is False:
                raise FileNotFoundError(
                    f"{name} is at {path!r}, which worker {worker} cannot see; all workers need the "
                    "same file system, or use a store that all can reach, such as an s3:// URL"
                )

    def check_future(self, future):
        if future.status in ("cancelled", "lost"):
            raise WorkersLost(
                "what was persisted on the cluster is lost with the workers that held it; persist it again"
            )
        return future

    def close(self):
        self._let_go()
        if self.client.generation != self._generation:
            self._lost |= self._of_rounds()
        self._release_lost()
        farewell = self._token, self._farewells
        say_farewell(*farewell)  # workers may be threads of this process, and gone
        if self.client.status == "running":
            goodbye = self._watch.begin(self.client.run, say_farewell, *farewell, on_error="ignore")
            if not self._watch.waiting:  # else they are told when they return, if they do
                with contextlib.suppress(Exception):  # those that are gone keep nothing
                    Watch(self.client, _GOODBYE, self._ours, quiet=True).until(goodbye)
        if self._left_thread:
            from distributed import rejoin

            rejoin()
            self._left_thread = False

    def _let_go(self):
        """Let go of all that a round, and those before it, left on the cluster."""
        self.cancel()
        held, self._held = self._held, []
        for future in held:
            _release(future)

    def _facts(self, function, *arguments, **named):
        """What a blocking call of the client says, once there are workers that can."""
        while True:
            try:
                return self._result(self._watch.call(function, *arguments, **named))
            except RoundLost:
                self._watch.until_well()

    def _run(self, begin, handles=()):
        """What a coroutine that ``begin`` makes returns; ``handles`` are of the tasks that it waits for."""
        with self._losses_named():  # of a client that closed this moment
            coroutine = begin()
        return self._result(self._watch.run(coroutine, [handle.key for handle in handles]), handles)

    def _result(self, future, handles=()):
        """What a future that is done has, or its error named; ``handles`` are of the tasks that it is of."""
        with self._losses_named(handles):
            return future.result()

    @contextlib.contextmanager
    def _losses_named(self, handles=()):
        """Raise `RoundLost` in place of what distributed raises for it."""
        from distributed.client import ClosedClientError, FutureCancelledError
        from distributed.scheduler import KilledWorker

        try:
            yield
        except WorkersLost:
            raise
        except Exception as error:
            if isinstance(error, KilledWorker):
                raise RoundLost(
                    f"workers were lost again and again with a task ({error}); if they were killed for "
                    "memory, use smaller chunks or fewer threads a worker",
                    killed=True,
                ) from error
            if any(handle.status == "error" for handle in handles):
                raise  # a task's own: of a storage that timed out, say
            lost = (FutureCancelledError, ClosedClientError, OSError, TimeoutError)
            if isinstance(error, lost) or self.client.status != "running":
                raise RoundLost(f"data on the cluster was lost ({type(error).__name__}: {error})") from error
            raise


def _release(future):
    """Let go of a future; nothing happens if that was done, or the client is closed."""
    with contextlib.suppress(Exception):
        future.release()
