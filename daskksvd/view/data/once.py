"""What takes long to make is made once, by whichever thread asks first."""

import functools
import threading
from collections.abc import Callable
from typing import ParamSpec, TypeVar

P = ParamSpec("P")
T = TypeVar("T")


def once(method: Callable[P, T]) -> Callable[P, T]:
    """Keep what a method returns, for each of its arguments.

    Threads that ask while it is being made wait for it. What fails is not
    kept: the next to ask is told the reason too.
    """

    @functools.wraps(method)
    def kept(self, *arguments):
        made, locks = self.__dict__.setdefault("_once", ({}, {}))
        key = (method.__name__, *arguments)
        if key not in made:
            with locks.setdefault(key, threading.RLock()):
                if key not in made:
                    made[key] = method(self, *arguments)
        return made[key]

    return kept  # type: ignore[return-value]  # whose first argument is that of the method
