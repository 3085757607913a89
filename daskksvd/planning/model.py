"""What rounds of tasks take and move, from what each step costs: arithmetic alone."""

import functools
import math
from collections import Counter
from typing import NamedTuple

import numpy as np

from ..execution.executor import TREE_FAN_IN

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


class Cost(NamedTuple):
    """Seconds and bytes of every step of rounds of one kind.

    Attributes
    ----------
    row, read : float
        Of coding one row, and of reading one chunk.
    share : float
        Of making products of atoms, once a round in every process.
    add : float
        Of adding one partial result to a sum.
    driver, end : float
        Of what one process does with the sum of each round, and once after all of them.
    sent, part, result : int
        Bytes that every worker needs before a round (dictionary, means), of a partial
        result or a sum of those, and of what comes back to the driver.
    """

    row: float = 0.0
    read: float = 0.0
    share: float = 0.0
    add: float = 0.0
    driver: float = 0.0
    end: float = 0.0
    sent: int = 0
    part: int = 0
    result: int = 0


class Network(NamedTuple):
    """What lies between the driver and workers in other processes; see `plan`."""

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
    way, far : int
        Results that are added one after the other from the last leaf to the root,
        and those of them that come from another worker.
    moved : int
        Results of the whole tree that do.
    """

    calls: int
    way: int
    far: int
    moved: int


@functools.cache
def tree_of(tasks, n_workers=1):
    """The `Tree` of so many tasks, of which neighbours run on the same worker."""

    def node(first, count):  # the worker of a sum, and its tree
        if count <= TREE_FAN_IN:
            workers = [number * n_workers // tasks for number in range(first, first + count)]
            worker = max(workers, key=workers.count)
            away = count - workers.count(worker)
            return worker, Tree(1, count, away, away)
        (worker, left), (other, right) = node(first, count // 2), node(first + count // 2, count - count // 2)
        away = worker != other
        longest = max(left, right, key=lambda tree: tree.way)
        moved = left.moved + right.moved + away
        return worker, Tree(left.calls + right.calls + 1, longest.way + 2, longest.far + away, moved)

    return node(0, tasks)[1]


def predict(steps, network, n_workers, n_threads):
    """`Seconds` of rounds with their costs, one after the other; arguments as for `round_seconds`."""
    parts = [Seconds(driver=sum(cost.end for cost in {cost for _, cost in steps}))]
    for (round_, cost), count in Counter(steps).items():
        parts.append(times(count, round_seconds(round_, cost, network, n_workers, n_threads)))
    return add_seconds(parts)


def times(count, seconds):
    """`Seconds` of what is done so many times."""
    return Seconds(*(count * part for part in seconds))


def add_seconds(parts):
    """The sum of several `Seconds`."""
    return Seconds(*map(sum, zip(*parts, strict=True)))


def round_seconds(round_, cost, network, n_workers, n_threads):
    """Seconds of one round; without a `Network` on threads of one process."""
    slots = n_workers * n_threads
    turns = math.ceil(round_.tasks / slots)
    reading = turns * round_.reads / round_.tasks * cost.read
    coding = turns * round_.rows / round_.tasks * cost.row
    tree = tree_of(round_.tasks, min(n_workers, round_.tasks))
    # of all additions, those that nothing is left to do beside
    beside = (round_.tasks + tree.calls - 1 - tree.way) * cost.add / slots
    sending = moving = 0.0
    if network is not None:
        moved = cost.sent * (1 + math.ceil(math.log2(n_workers))) + cost.result + tree.far * cost.part
        # tasks are sent, and partial results travel, while others are coded
        busy = reading + coding + beside
        sending = max(0.0, (round_.tasks + tree.calls) * network.dispatch - busy)
        late = tree.moved * cost.part / n_workers / network.bandwidth - busy - sending
        moving = network.latency + moved / network.bandwidth + max(0.0, late)
    return Seconds(reading, coding, cost.share, beside + tree.way * cost.add, sending, moving, cost.driver)


def traffic(round_, cost, n_workers):
    """`Traffic` of one round between so many workers and the driver."""
    moved = tree_of(round_.tasks, min(n_workers, round_.tasks)).moved
    return Traffic(n_workers * cost.sent, moved * cost.part, cost.result)


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
    totals = np.array([seconds_of(units).total for units in _UNITS])
    best = np.minimum.accumulate(totals[::-1])[::-1]
    worth = np.flatnonzero(totals[:-1] * (1 - WORTH) > best[1:])
    stop = worth[-1] + 1 if len(worth) else 0
    gain = max(0.0, 1 - best[stop] / totals[stop])
    now, twice = (np.array(seconds_of(units)) for units in (_UNITS[stop], 2 * _UNITS[stop]))
    return _UNITS[stop], float(gain), Seconds._fields[int(np.argmax(twice - now / 2))]
