"""A progress bar in the terminal or the notebook."""

from .events import FitFinished, FitStarted, PassFinished, PassStarted, WaveFinished


class ProgressBar:
    """Callback that shows rounds done, the error so far and the time left."""

    def __init__(self):
        self._bar = None
        self._error = None

    def __call__(self, event):
        if isinstance(event, FitStarted):
            from tqdm.auto import tqdm

            self._bar = tqdm(
                total=sum(event.rounds),
                initial=sum(event.rounds[: event.first_pass]),
                desc=f"dictionary of {event.n_components} atoms",
                unit="round",
                dynamic_ncols=True,
            )
            self._rounds = event.rounds
        elif self._bar is None:
            return
        elif isinstance(event, PassStarted):
            self._bar.set_description(f"pass {event.index + 1}/{len(self._rounds)} ({event.kind})")
        elif isinstance(event, WaveFinished):
            if event.n_samples:
                self._bar.set_postfix_str(f"relative error {event.relative_error:.4f}", refresh=False)
            self._bar.update()
        elif isinstance(event, PassFinished):
            # an early stop, or a resumed pass, leaves the count where it belongs
            self._bar.n = sum(self._rounds[: event.index + 1])
            self._bar.refresh()
        elif isinstance(event, FitFinished):
            self.close()

    def close(self):
        """Leave the bar as it stands."""
        if self._bar is not None:
            self._bar.close()
            self._bar = None
