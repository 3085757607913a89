"""A progress bar in the terminal or the notebook."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from .events import (
    FitFinished,
    FitStarted,
    PassFinished,
    PassStarted,
    WaitingForWorkers,
    WaveFinished,
    WorkersReturned,
)
from .parts import whole_title

if TYPE_CHECKING:
    from .events import Event


class ProgressBar:
    """Callback that shows the pass, its rounds and the error so far."""

    def __init__(self) -> None:
        self._bar: Any = None

    def __call__(self, event: Event) -> None:
        if isinstance(event, FitStarted):
            from tqdm.auto import tqdm

            self.close()
            self._bar = tqdm(desc=whole_title("pass 1"), unit="round", dynamic_ncols=True)
            self._max_passes = event.max_passes
        elif isinstance(event, (WaitingForWorkers, WorkersReturned)):
            self._waiting(event)
        elif self._bar is None:
            return
        elif isinstance(event, PassStarted):
            self._bar.reset(event.n_rounds)
            self._bar.update(event.first_round)
            title = f"pass {event.index + 1} of at most {self._max_passes} ({event.kind})"
            self._bar.set_description(whole_title(title))
        elif isinstance(event, WaveFinished):
            if event.n_samples:
                self._bar.set_postfix_str(f"relative error {event.relative_error:.4f}", refresh=False)
            self._bar.update()
        elif isinstance(event, PassFinished):
            self._bar.set_postfix_str(f"relative error {event.relative_error:.4f}")
        elif isinstance(event, FitFinished):
            self.close()

    def _waiting(self, event: WaitingForWorkers | WorkersReturned) -> None:
        """Show what is waited for, also before there is a bar."""
        if self._bar is None:
            from tqdm.auto import tqdm

            self._bar = tqdm(unit="round", dynamic_ncols=True)
        if isinstance(event, WorkersReturned):
            self._bar.set_postfix_str("workers are back")
        else:
            self._bar.set_postfix_str(f"waiting for {event.reason} ({event.seconds:.0f} s)")

    def close(self) -> None:
        """Leave the bar as it stands."""
        if self._bar is not None:
            self._bar.close()
            self._bar = None
