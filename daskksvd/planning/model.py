"""What rounds of tasks take and move, from what each step costs: arithmetic alone."""

import functools
import math
from collections import Counter
from typing import NamedTuple

from ..execution.executor import Executor

WORTH = 0.1
"""More workers are worth it where they make it faster by this share."""

_UNITS = sorted({round(2 ** (power / 8)) for power in range(14 * 8 + 1)})
"""Numbers of workers, or of threads, that are tried."""


class Round(NamedTuple):
    """What the schedule asks of one round.

    Attributes
    ----------
    tasks, rows : int
        Tasks, and rows in all of them together.
    reads : int
        Chunks that they read; one that two tasks need counts twice.
    """

    tasks: int
    rows: int
    reads: int


class Work(NamedTuple):
    """The rounds of one kind in a pass, and the size of what they pass on.

    Attributes
    ----------
    rounds : tuple of Round
    sent : int
        Bytes that every worker needs before a round: dictionary, means.
    partial, total : int
        Bytes of what one task returns, and of a sum of those.
    result : int
        Bytes that come back to the driver after a round.
    """

    rounds: tuple[Round, ...]
    sent: int = 0
    partial: int = 0
    total: int = 0
    result: int = 0


class Cost(NamedTuple):
    """Seconds of every step of such rounds.

    Attributes
    ----------
    task, row : float
        Of a task however small, and of each of its rows beside that.
    read : float
        Of reading one chunk.
    share : float
        Of making products of atoms, once a round in every process.
    add : float
        Of adding one partial result to a sum.
    finish : float
        Of what one worker does with the sum of a round.
    driver, end : float
        Of what the driver does after each round, and once after all of them.
    """

    task: float = 0.0
    row: float = 0.0
    read: float = 0.0
    share: float = 0.0
    add: float = 0.0
    finish: float = 0.0
    driver: float = 0.0
    end: float = 0.0


class Network(NamedTuple):
    """What lies between the driver and workers in other processes.

    Attributes
    ----------
    latency : float
        Seconds of messages to and fro in every round, whatever they carry.
    bandwidth : float
        Bytes a second, into or out of one process.
    dispatch : float
        Seconds of client and scheduler for every task, one after the other.
    """

    latency: float
    bandwidth: float
    dispatch: float


class Seconds(NamedTuple):
    """Seconds by what they are spent on; they add up.

    Attributes
    ----------
    reading, coding : float
        Chunks, and everything that tasks do with their rows.
    preparing : float
        Making products of atoms, before any task can start.
    adding : float
        Partial results, as far as it is not done beside the coding.
    sending, network : float
        Waiting for tasks to be sent out, and for messages and arrays.
    driver : float
        Updates of the dictionary, while workers wait.
    """

    reading: float = 0.0
    coding: float = 0.0
    preparing: float = 0.0
    adding: float = 0.0
    sending: float = 0.0
    network: float = 0.0
    driver: float = 0.0

    @property
    def total(self):
        return sum(self)


class Traffic(NamedTuple):
    """Bytes that a round moves between processes.

    Attributes
    ----------
    out : int
        Dictionary and means, to every worker.
    tree : int
        Partial results between workers, to be added up.
    back : int
        The sum, to the driver.
    """

    out: int
    tree: int
    back: int

    @property
    def total(self):
        return sum(self)


class Scaling(NamedTuple):
    """How far more workers help.

    Attributes
    ----------
    n_workers, n_threads : int
        Workers of so many threads beyond which no number of them gains `WORTH`;
        without workers, threads alone.
    gain : float
        Share by which the best number beyond is faster.
    part : str
        The field of `Seconds` that stands in the way.
    """

    n_workers: int | None
    n_threads: int
    gain: float
    part: str


class Tree(NamedTuple):
    """The shape of a reduction tree, as the executors build it.

    Attributes
    ----------
    calls : int
        Additions of a group.
    leaves, sums : int
        Partial results and sums that are added one after the other on the way
        from the last leaf to the root.
    far_leaves, far_sums : int
        Those of them that come from another worker.
    moved_leaves, moved_sums : int
        As many of the whole tree.
    """

    calls: int
    leaves: int
    sums: int
    far_leaves: int
    far_sums: int
    moved_leaves: int
    moved_sums: int


class _Result(NamedTuple):
    """A handle of `_Counter`: where it is made, and what was added on the longest way to it."""

    worker: int
    is_leaf: bool
    added: tuple = (0, 0, 0, 0)


class _Counter:
    """Stands in for an executor, on workers that add up what most of is theirs."""

    def __init__(self):
        self.calls = self.moved_leaves = self.moved_sums = 0

    def submit(self, function, group):
        self.calls += 1
        (worker, _) = Counter(result.worker for result in group).most_common(1)[0]
        leaves = sum(result.is_leaf for result in group)
        far = [result.is_leaf for result in group if result.worker != worker]
        here = leaves, len(group) - leaves, sum(far), len(far) - sum(far)
        self.moved_leaves += here[2]
        self.moved_sums += here[3]
        before = max((result.added for result in group), key=lambda added: added[0] + added[1])
        return _Result(worker, False, tuple(map(sum, zip(before, here, strict=True))))


@functools.cache
def tree_of(tasks, n_workers=1):
    """The `Tree` of so many tasks, of which neighbours run on the same worker."""
    counter = _Counter()
    leaves = [_Result(number * n_workers // tasks, True) for number in range(tasks)]
    root = Executor.tree(counter, None, leaves, tasks)
    return Tree(counter.calls, *root.added, counter.moved_leaves, counter.moved_sums)


def predict(work, cost, network, n_workers, n_threads):
    """Seconds of all rounds of one kind in a pass.

    Parameters
    ----------
    work : Work
    cost : Cost
    network : Network or None
        None for threads of one process, where nothing travels.
    n_workers, n_threads : int
        Processes, and threads of each.

    Returns
    -------
    Seconds
    """
    parts = [Seconds(driver=cost.end)] if work.rounds else []
    for round_, count in Counter(work.rounds).items():
        seconds = round_seconds(round_, work, cost, network, n_workers, n_threads)
        parts.append(Seconds(*(count * part for part in seconds)))
    return add_seconds(parts)


def add_seconds(parts):
    """The sum of several `Seconds`."""
    return Seconds(*map(sum, zip(Seconds(), *parts, strict=True)))


def round_seconds(round_, work, cost, network, n_workers, n_threads):
    """Seconds of one round; arguments as for `predict`."""
    slots = n_workers * n_threads
    turns = math.ceil(round_.tasks / slots)
    reading = turns * round_.reads / round_.tasks * cost.read
    coding = turns * (cost.task + round_.rows / round_.tasks * cost.row)
    tree = tree_of(round_.tasks, n_workers)
    # of all additions, those that nothing is left to do beside
    last = tree.leaves + tree.sums
    beside = (round_.tasks + tree.calls - 1 - last) * cost.add / slots
    adding = beside + last * cost.add + cost.finish
    sending = moving = 0.0
    if network is not None:
        moving = network.latency
        moving += work.sent / network.bandwidth * (1 + math.ceil(math.log2(n_workers)))
        moving += work.result / network.bandwidth
        moving += (tree.far_leaves * work.partial + tree.far_sums * work.total) / network.bandwidth
        # tasks are sent, and partial results travel, while others are coded
        busy = reading + coding + beside
        sent = (round_.tasks + tree.calls) * network.dispatch
        moved = traffic(round_, work, n_workers).tree / n_workers / network.bandwidth
        if sent >= moved:
            sending = max(0.0, sent - busy)
        else:
            moving += max(0.0, moved - busy)
    return Seconds(reading, coding, cost.share, adding, sending, moving, cost.driver)


def traffic(round_, work, n_workers):
    """`Traffic` of one round between so many workers and the driver."""
    tree = tree_of(round_.tasks, n_workers)
    between = tree.moved_leaves * work.partial + tree.moved_sums * work.total
    return Traffic(n_workers * work.sent, between, work.result)


def where_scaling_stops(seconds_of):
    """The first number of units beyond which no number of them is `WORTH` it.

    Parameters
    ----------
    seconds_of : callable
        ``seconds_of(units) -> Seconds`` of workers or threads.

    Returns
    -------
    units : int
    gain : float
        Share by which the best larger number is faster.
    part : str
        What stands in the way: the field of `Seconds` that twice as many units
        shorten least.
    """
    totals = [seconds_of(units).total for units in _UNITS]
    stop, best = len(_UNITS) - 1, totals[-1]
    gain = 0.0
    for index in reversed(range(len(_UNITS) - 1)):
        if totals[index] * (1 - WORTH) > best:
            break
        stop, gain = index, max(0.0, 1 - best / totals[index])
        best = min(best, totals[index])
    units = _UNITS[stop]
    pairs = zip(seconds_of(units), seconds_of(2 * units), strict=True)
    excess = [twice - now / 2 for now, twice in pairs]
    return units, gain, Seconds._fields[excess.index(max(excess))]
