"""A bar of the parts that are done, for calls that make passes over rows."""

from __future__ import annotations

import contextlib
import functools
import threading
from collections.abc import Callable, Collection, Iterable, Iterator
from contextvars import ContextVar
from typing import Any, ParamSpec, TypeVar

from ..arguments import flag

Item = TypeVar("Item")
P = ParamSpec("P")
R = TypeVar("R")


class _Bar:
    """The bar of a call, for one pass after the other; drawn once there is something to count."""

    def __init__(self, title: str, unit: str) -> None:
        self._title, self._unit, self._bar = whole_title(title), unit, None
        self._drawing = threading.Lock()
        self.counting = self._closed = False

    def begin(self, total: int) -> None:
        """Count up to ``total`` from 0."""
        with self._drawing:
            if self._bar is None:
                from tqdm.auto import tqdm

                # without the thread of tqdm that draws bars which nobody updates
                kind: Any = type("PartsBar", (tqdm,), {"monitor_interval": 0})
                self._bar = kind(
                    desc=self._title, total=total, unit=self._unit, leave=False, dynamic_ncols=True
                )
            else:
                self._bar.reset(total)

    def tick(self, number: int = 1) -> None:
        """So many parts more are done; any thread may say so."""
        with self._drawing:
            if not self._closed and self._bar is not None:
                self._bar.update(number)

    def close(self) -> None:
        with self._drawing:
            self._closed = True
            if self._bar is not None:
                self._bar.close()


_shown: ContextVar[_Bar | None] = ContextVar("daskksvd_parts", default=None)
_before: ContextVar[str] = ContextVar("daskksvd_titles", default="")


@contextlib.contextmanager
def titled(text: str) -> Iterator[None]:
    """Have this before the titles of all bars that begin in this block."""
    token = _before.set(text)
    try:
        yield
    finally:
        _before.reset(token)


def whole_title(title: str) -> str:
    """The title of a bar, with what blocks of `titled` have before it."""
    before = _before.get()
    return f"{before}, {title}" if before else title


@contextlib.contextmanager
def parts_shown(shown: bool, title: str, unit: str = " parts") -> Iterator[None]:
    """Show a bar of the parts of every pass that is made in this block, by this thread.

    The bar is gone with the end of the block, however it ends.

    Parameters
    ----------
    shown : bool
        Whether to: else a bar of an outer block is gone on with, if there is one.
    title : str
        Stands before the bar.
    unit : str
        What is counted.

    Raises
    ------
    TypeError
        If ``shown`` is neither True nor False.
    """
    if not flag("progress", shown):
        yield
        return
    bar = _Bar(title, unit)
    token = _shown.set(bar)
    try:
        yield
    finally:
        _shown.reset(token)
        bar.close()


def shows_parts(title: str, unit: str = " parts") -> Callable[[Callable[P, R]], Callable[P, R]]:
    """Decorates a function: where its keyword ``progress`` is true, all of it is a block of `parts_shown`."""

    def decorated(function: Callable[P, R]) -> Callable[P, R]:
        @functools.wraps(function)
        def call(*arguments: P.args, **named: P.kwargs) -> R:
            with parts_shown(named.get("progress", False), title, unit):  # type: ignore[arg-type]
                return function(*arguments, **named)

        return call

    return decorated


@contextlib.contextmanager
def parts_counted(total: int | Callable[[], int]) -> Iterator[Callable[[int], None] | None]:
    """What counts parts of a pass: a call with the number of them that were done; None if nobody looks.

    Parts of a pass that is a part of another are not counted.

    Parameters
    ----------
    total : int or callable
        How many there are, or what tells it where somebody looks.
    """
    bar = _shown.get()
    if bar is None or bar.counting:
        yield None
        return
    bar.counting = True
    try:
        bar.begin(total() if callable(total) else total)
        yield bar.tick
    finally:
        bar.counting = False


def each_counted(some: Collection[Item]) -> Iterator[Item]:
    """The items of a collection, each of which is a part."""
    return counted_by(some, len(some), lambda one: 1)


def counted_by(some: Iterable[Item], total: int, size: Callable[[Item], int]) -> Iterator[Item]:
    """The items of an iterable, which count by size when the next one is asked for."""
    with parts_counted(total) as tick:
        for one in some:
            yield one
            if tick is not None:
                tick(size(one))
