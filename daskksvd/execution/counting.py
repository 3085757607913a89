"""How many tasks are done, for who looks on."""

import dask
from dask.base import unpack_collections
from dask.callbacks import Callback

_DONE = ("memory", "erred", "released", "forgotten")
"""States of tasks that are done: what they made is there, or was asked for and let go of."""


def keys_of(value):
    """Keys of the tasks of something delayed, or of a list of such."""
    return [key for one in unpack_collections(value)[0] for key in one.__dask_graph__()]


def computed_here(value, tick=None, **options):
    """The value of something delayed, by threads of Dask; ``tick(1)`` is called after every task."""
    if tick is not None:
        after_each = (None, None, None, lambda *task: tick(1), None)
        options["callbacks"] = [*Callback.active, after_each]  # those of the user too
    return dask.compute(value, scheduler="threads", **options)[0]


class Count:
    """Tells how many tasks are done, by what a scheduler says of them.

    It forgets one that is done once nothing waits for it any more. That it has not heard of one
    yet looks the same, so that only those count that were sent no later than another that it knows.
    """

    def __init__(self, tick, keys):
        self.tick, self.keys = tick, keys
        self._left, self._taken, self._known = {}, 0, -1

    def waited(self):
        """Keys of those that are not done as far as is known, in the order in which they were sent."""
        if self.tick is None:
            return []
        end = len(self.keys)
        self._left |= dict.fromkeys(range(self._taken, end))
        self._taken = end
        return [self.keys[number] for number in self._left]

    def look(self, states):
        """Count those that are done by the states of `waited`."""
        if self.tick is None or not states:
            return
        found = {number: states[self.keys[number]] for number in self._left if self.keys[number] in states}
        self._known = max([self._known, *(number for number, state in found.items() if state is not None)])
        done = [n for n, state in found.items() if state in _DONE or (state is None and n <= self._known)]
        for number in done:
            del self._left[number]
        if done:
            self.tick(len(done))
