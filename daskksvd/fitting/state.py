"""Everything that a fit carries from one round to the next."""

from dataclasses import dataclass

import numpy as np

from .statistics import COUPLED, SEPARATE, Moments

_ARRAYS = ("dictionary", "XX", "XY", "idle")
_PLAIN = (
    "kind",
    "n_updates",
    "pass_index",
    "round_index",
    "updated",
    "replaced",
    "marks",
    "promised",
    "last_error",
    "pass_seconds",
    "seconds",
    "deviation",
    "grown",
)


@dataclass(frozen=True)
class State:
    """State at a boundary between rounds; never changed, only replaced by the next.

    Attributes
    ----------
    dictionary : (m, d') float array
        In the coding space.
    XX, XY : (m, m) or (m,), and (m, d') float64 arrays
        Faded statistics of the waves so far, as in `Moments`.
    idle : (m,) float64 array
        Uses that an average atom has had since each atom was last used.
    n_updates : int
        Waves so far.
    kind : str
        Kind of the pass that is running or comes next.
    pass_index, round_index : int
        The round to do next.
    updated : bool
        Whether the update at the end of this pass is done, but not the pass.
    totals : Moments or None
        Sums over the rounds of this pass.
    replaced : int
        Atoms replaced in this pass.
    marks : tuple of (float, float)
        Residual and energy of this pass after half and three quarters of its
        waves.
    promised : float
        Share by which the update after a full pass lowers the error at its
        codes; infinite if that is not known.
    last_error : float
        Relative error of the pass before.
    pass_seconds, seconds : float
        Time spent on this pass, and in all.
    deviation : float
        Of the numbers of what the last round left of its rows; 0 before the first.
    grown : int
        Atoms that rows are coded with, while the dictionary grows; 0 for all.
    recent : (m,) float64 array or None
        Faded uses of atoms, where twins are replaced.
    """

    dictionary: np.ndarray
    XX: np.ndarray
    XY: np.ndarray
    idle: np.ndarray
    kind: str
    n_updates: int = 0
    pass_index: int = 0
    round_index: int = 0
    updated: bool = False
    totals: Moments | None = None
    replaced: int = 0
    marks: tuple = ()
    promised: float = np.inf
    last_error: float = np.inf
    pass_seconds: float = 0.0
    seconds: float = 0.0
    deviation: float = 0.0
    grown: int = 0
    recent: np.ndarray | None = None

    @classmethod
    def start(cls, dictionary, kind, coupled, grown=0):
        """The state before the first round, of a pass of some kind.

        ``coupled`` says whether waves bring all of ``X'X``.
        """
        m, d = dictionary.shape
        XX = np.zeros((m, m) if coupled else m)
        return cls(dictionary, XX, np.zeros((m, d)), np.zeros(m), kind, grown=grown)

    @property
    def atoms(self):
        """The atoms that rows are coded with."""
        return self.dictionary[: self.grown] if self.grown else self.dictionary

    @property
    def wave_statistics(self):
        """Statistics that waves gather, to be added to those of the waves before."""
        return COUPLED if self.XX.ndim == 2 else SEPARATE

    def dump(self):
        """As plain values and arrays, for a checkpoint."""
        header = {name: getattr(self, name) for name in _PLAIN}
        arrays = {name: getattr(self, name) for name in _ARRAYS}
        if self.recent is not None:
            arrays["recent"] = self.recent
        header["totals"] = None
        if self.totals is not None:
            header["totals"] = {}
            for name, value in self.totals._asdict().items():
                if isinstance(value, np.ndarray):
                    arrays[f"totals_{name}"] = value
                else:
                    header["totals"][name] = value
        return header, arrays

    @classmethod
    def restore(cls, header, arrays):
        """The inverse of `dump`."""
        totals = None
        if header["totals"] is not None:
            values = {name: arrays.get(f"totals_{name}") for name in Moments._fields}
            totals = Moments(**{**values, **header["totals"]})
        return cls(
            **{name: arrays[name] for name in _ARRAYS},
            recent=arrays.get("recent"),
            # checkpoints of earlier versions have no deviation, nor do they grow
            **{name: header[name] for name in _PLAIN if name in header},
            totals=totals,
        )
