"""Tasks on a Dask cluster, through the user's client."""

import uuid

from .base import Runner, WorkersLost

RETRIES = 3


class ClusterRunner(Runner):
    """Submits tasks to a `distributed.Client` that the user brings."""

    def __init__(self, client):
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
        self._name = f"daskksvd-{uuid.uuid4().hex[:8]}"
        self._count = 0
        self._pending = []
        client.wait_for_workers(1)

    @property
    def n_threads(self):
        return sum(self.client.nthreads().values())

    def memory(self):
        workers = self.client.scheduler_info(n_workers=-1)["workers"]
        return [
            (f"worker {address}", worker["nthreads"], worker["memory_limit"] or 0)
            for address, worker in workers.items()
        ]

    def share(self, value):
        # hash=False: scattering equal content twice under one key goes wrong.
        # The value rides in a one-item list, or a NamedTuple would be taken
        # for a collection of things to scatter one by one.
        with self._lost_workers_named():
            [handle] = self.client.scatter([value], broadcast=True, hash=False)
        return handle

    def submit(self, function, *arguments):
        self._count += 1
        name = getattr(function, "__name__", "call")
        handle = self.client.submit(
            function,
            *arguments,
            key=f"{self._name}-{name}-{self._count}",
            pure=False,
            retries=RETRIES,
        )
        self._pending.append(handle)
        return handle

    def gather(self, handles):
        with self._lost_workers_named():
            values = self.client.gather(handles)
        self._pending.clear()
        return values

    def cancel(self):
        self.client.cancel(self._pending, force=True)
        self._pending.clear()

    def hold(self, graph, keys):
        return self.client.get(graph, keys, sync=False)

    moves_arrays = True

    def place(self, values):
        if not values:
            return []
        with self._lost_workers_named():
            return self.client.scatter(values, hash=False)

    def check_future(self, future):
        return future

    def close(self):
        self._pending.clear()

    def _lost_workers_named(self):
        return _LostWorkersNamed(self)


class _LostWorkersNamed:
    """Raises `WorkersLost` in place of what distributed raises for it."""

    def __init__(self, runner):
        self.runner = runner

    def __enter__(self):
        return self

    def __exit__(self, kind, error, traceback):
        if kind is None:
            return False
        from distributed.client import FutureCancelledError
        from distributed.scheduler import KilledWorker

        if issubclass(kind, (FutureCancelledError, KilledWorker, TimeoutError)):
            self.runner._pending.clear()
            raise WorkersLost(
                f"workers were lost, or the data they held: {error}. "
                "If a worker was killed for memory, use smaller chunks or fewer threads a worker"
            ) from error
        return False
