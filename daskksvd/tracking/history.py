"""The history of a fit as an xarray Dataset."""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING

import numpy as np

from .events import Event, PassFinished, PassStarted, WaveFinished

if TYPE_CHECKING:
    import numpy.typing as npt
    import xarray as xr

PASS_COLUMNS = {
    "relative_error": "||Y - X D|| / ||Y|| in the coding space, over the pass",
    "relative_error_original": "the same in the metric of the data",
    "fvu": "fraction of variance unexplained, in the metric of the data",
    "mean_nonzeros": "nonzero coefficients per row",
    "used_atoms": "atoms used by at least one row",
    "replaced_atoms": "atoms replaced by badly represented rows",
    "holdout_error": "relative error of the rows held out, after the pass",
    "seconds": "wall time [s]",
    "rows_per_second": "rows coded per second of wall time [1/s]",
    "kind": "wave: updates after every wave; full: one after the pass; ksvd: blocks of atoms",
}
WAVE_COLUMNS = {
    "relative_error": "||Y - X D|| / ||Y|| of the rows of the wave, before its update",
    "fvu": "fraction of variance unexplained of those rows, in the metric of the data",
    "mean_nonzeros": "nonzero coefficients per row",
    "n_samples": "rows coded",
    "used_atoms": "atoms used by those rows",
    "replaced_atoms": "atoms replaced after the wave",
    "seconds": "wall time [s]",
    "rows_per_second": "rows coded per second of wall time [1/s]",
    "pass_index": "pass that the wave belongs to",
}


class HistoryRecorder:
    """Callback that collects events into columns."""

    def __init__(self, passes: dict[str, list] | None = None, waves: dict[str, list] | None = None) -> None:
        self.passes = passes if passes is not None else {name: [] for name in PASS_COLUMNS}
        self.waves = waves if waves is not None else {name: [] for name in WAVE_COLUMNS}

    def __call__(self, event: Event) -> None:
        if isinstance(event, PassStarted):
            self._forget_rounds(event.index, event.first_round)
        if isinstance(event, PassFinished):
            columns = self.passes
        elif isinstance(event, WaveFinished):
            columns = self.waves
        else:
            return
        values = dataclasses.asdict(event)
        for name, column in columns.items():
            column.append(values[name])

    def _forget_rounds(self, index: int, first_round: int) -> None:
        """Drop rounds of a pass that are going to be done again."""
        kept = self.waves["pass_index"].index(index) if index in self.waves["pass_index"] else None
        if kept is not None:
            for column in self.waves.values():
                del column[kept + first_round :]

    def to_dataset(self) -> xr.Dataset:
        """Per pass (dimension ``pass``) and per wave (dimension ``wave``)."""
        import xarray as xr

        variables = {}
        for name, meaning in PASS_COLUMNS.items():
            values = np.array(self.passes[name], dtype=_dtype(name))
            variables[name] = ("pass", values, {"long_name": meaning})
        for name, meaning in WAVE_COLUMNS.items():
            values = np.array(self.waves[name], dtype=_dtype(name))
            label = "wave_pass" if name == "pass_index" else f"wave_{name}"
            variables[label] = ("wave", values, {"long_name": meaning})
        coords = {
            "pass": np.arange(1, len(self.passes["seconds"]) + 1),
            "wave": np.arange(1, len(self.waves["seconds"]) + 1),
        }
        return xr.Dataset(variables, coords)


def _dtype(name: str) -> npt.DTypeLike:
    if name == "kind":
        return "U8"
    return np.int64 if name in _WHOLE else np.float64


_WHOLE = {"used_atoms", "replaced_atoms", "n_samples", "pass_index"}
