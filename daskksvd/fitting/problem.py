"""What a fit is of: the same from its first round to its last."""

import dataclasses
from typing import NamedTuple

from ..coding import SparseCoder
from ..rows import Reader
from .schedule import Schedule
from .settings import Settings
from .state import State
from .thresholds import while_learning


class Problem(NamedTuple):
    """Rows, settings, and all that follows from them before the first round.

    Attributes
    ----------
    reader : rows.Reader
    settings : Settings
    schedule : Schedule
    coder : coding.SparseCoder
        With the dictionary that the fit, or the call that goes on with it, began with.
    variance : float
        Sum over features of the variance of the data, in its own metric.
    seed : int
    """

    reader: Reader
    settings: Settings
    schedule: Schedule
    coder: SparseCoder
    variance: float
    seed: int

    def coder_of(self, state: State) -> SparseCoder:
        """The coder with the dictionary of the moment, as rows are learned from."""
        target = while_learning(self.settings, self.coder.target, state)
        prefixes = self.settings.groups or ()
        return dataclasses.replace(self.coder, dictionary=state.atoms, target=target, prefixes=prefixes)
