"""The prediction as an object, and in words."""

import html
from dataclasses import dataclass
from typing import Any

import pandas as pd
from dask.utils import format_bytes, format_time

from ..cards import card, grid
from .model import Round, Scaling, Seconds, Traffic

_TITLES = {"survey": "survey", "wave": "pass in waves", "full": "full pass", "ksvd": "K-SVD iteration"}

_PARTS = {
    "reading": ("reading", "a round has no more tasks that could read"),
    "coding": ("coding rows", "a round has no more than {tasks:,} tasks"),
    "preparing": ("Gram matrix", "every process makes the Gram matrix of the dictionary first"),
    "adding": ("adding up", "partial results are added up one group after the other"),
    "sending": ("sending tasks", "client and scheduler send out one task after the other"),
    "network": ("network", "messages, the dictionary and partial results travel"),
    "driver": ("driver", "the driver updates the dictionary alone"),
}
"""Of every field of `Seconds` what it is called, and why it does not get shorter."""


@dataclass(frozen=True)
class PassPlan:
    """One pass over the data, or the survey before all of them.

    Attributes
    ----------
    kind : str
        ``"survey"``, ``"wave"``, ``"full"`` or ``"ksvd"``.
    count : int
        Most passes of this kind in the fit.
    rounds : tuple of Round
        Waves, parts of a full pass, or blocks of atoms, one after the other.
    read_bytes : int
        Bytes read in a pass, as they are once decoded; 0 where rows stay in memory.
    seconds : float
        Of one such pass, with the coding of rows held out.
    parts : Seconds
        What they are spent on.
    traffic : Traffic
        Bytes moved in the largest round.
    scaling : Scaling
        How far more workers, or threads, make such a pass faster.
    """

    kind: str
    count: int
    rounds: tuple[Round, ...]
    read_bytes: int
    seconds: float
    parts: Seconds
    traffic: Traffic
    scaling: Scaling

    @property
    def n_rounds(self) -> int:
        """Rounds in a pass."""
        return len(self.rounds)

    @property
    def seconds_per_round(self) -> float:
        return self.seconds / self.n_rounds

    @property
    def rows_per_round(self) -> float:
        """Rows of a round, on average."""
        return sum(round_.rows for round_ in self.rounds) / self.n_rounds

    @property
    def tasks_per_round(self) -> int:
        """Tasks of the largest round."""
        return max(round_.tasks for round_ in self.rounds)

    @property
    def chunk_reads(self) -> int:
        """Chunks read in a pass at most; tasks side by side in one process share them."""
        return sum(round_.reads for round_ in self.rounds)

    def to_dict(self) -> dict[str, Any]:
        """As plain numbers and strings."""
        names = (
            "kind", "count", "n_rounds", "rows_per_round", "tasks_per_round", "chunk_reads", "read_bytes",
            "seconds", "seconds_per_round",
        )  # fmt: skip
        values = {name: getattr(self, name) for name in names}
        return values | {name: getattr(self, name)._asdict() for name in ("parts", "traffic", "scaling")}


@dataclass(frozen=True, repr=False)
class Plan:
    """What a fit will take; see `daskksvd.plan`. Printing it gives a table.

    Attributes
    ----------
    n_samples, n_features, n_components, n_nonzero_coefs : int
        Rows to learn from, d, m, and most nonzeros a row.
    n_workers : int or None
        Processes, None for threads of this one.
    n_threads : int
        Threads of each.
    survey : PassPlan
        The look at all rows before learning, and the choice of the first atoms.
    wave, full, ksvd : PassPlan or None
        A pass of each kind, None where there is none.
    seconds : float
        Survey and all passes, the most there can be.
    worker_bytes : int
        Peak memory of a worker, or of this process.
    driver_bytes : int
        Peak memory of the process that calls `fit`.
    scaling : Scaling
        How far more workers, or threads, make the whole fit faster.
    notes : tuple of str
        What was assumed, a sentence each.
    """

    n_samples: int
    n_features: int
    n_components: int
    n_nonzero_coefs: int
    n_workers: int | None
    n_threads: int
    survey: PassPlan
    wave: PassPlan | None
    full: PassPlan | None
    ksvd: PassPlan | None
    seconds: float
    worker_bytes: int
    driver_bytes: int
    scaling: Scaling
    notes: tuple[str, ...] = ()

    @property
    def passes(self) -> tuple[PassPlan, ...]:
        """The kinds of passes there are, in order."""
        return tuple(part for part in (self.wave, self.full, self.ksvd) if part is not None)

    @property
    def n_waves(self) -> int:
        """Dictionary updates in a pass of waves; 0 without waves."""
        return self.wave.n_rounds if self.wave is not None else 0

    def to_dict(self) -> dict[str, Any]:
        """As plain numbers and strings, for JSON."""
        values = {name: getattr(self, name) for name in self.__dataclass_fields__}
        passes = {part.kind: part.to_dict() for part in (self.survey, *self.passes)}
        return {**values, **passes, "scaling": self.scaling._asdict(), "notes": list(self.notes)}

    def __repr__(self) -> str:
        return str(self)

    def __str__(self) -> str:
        return "\n".join([*self._head(), "", self._table().to_string(), "", *self._foot()])

    def _repr_html_(self) -> str:
        where, size = self._head()
        foot = "".join(f'<div class="note">{html.escape(line)}</div>' for line in self._foot())
        table = self._table().reset_index(names="")
        return card(where, {"for": size}, grid([table, *table.values]), foot, fallback=f"{where}, {size}")

    def _head(self):
        return [
            f"Plan of a fit on {_places(self.n_workers, self.n_threads)}",
            f"{self.n_samples:,} rows x {self.n_features} features, {self.n_components:,} atoms, "
            f"at most {self.n_nonzero_coefs} nonzeros a row",
        ]

    def _table(self):
        """Figures of every kind of pass, without lines that say nothing."""

        def column(part):
            seconds = part.parts._asdict().items()
            return {
                "passes, at most": f"{part.count}",
                "a pass takes": format_time(part.seconds),
                **{f"  {_PARTS[name][0]}": f"{value / part.seconds:.0%}" for name, value in seconds},
                "rounds in a pass": f"{part.n_rounds:,}",
                "a round takes": format_time(part.seconds_per_round),
                "  rows": f"{part.rows_per_round:,.0f}",
                "  tasks": f"{part.tasks_per_round:,}",
                "  sent to workers": format_bytes(part.traffic.out),
                "  between workers": format_bytes(part.traffic.tree),
                "  to the driver": format_bytes(part.traffic.back),
                "chunks read in a pass": f"{part.chunk_reads:,}",
                "  that is": format_bytes(part.read_bytes),
                "  and a second": format_bytes(int(part.read_bytes / part.seconds)),
            }

        table = pd.DataFrame({_TITLES[part.kind]: column(part) for part in (self.survey, *self.passes)})
        table = table.replace(["0", "0%", "0 B"], "-")
        return table[(table != "-").any(axis=1)]

    def _foot(self):
        count = sum(part.count for part in self.passes)
        here = f"a worker, {format_bytes(self.driver_bytes)} here" if self.n_workers else "in this process"
        lines = [
            f"In all {format_time(self.seconds)}: the survey and {count} passes, the most there can be",
            f"Memory: {format_bytes(self.worker_bytes)} {here}",
        ]
        for part in self.passes:
            n_workers, n_threads, gain, name = part.scaling
            reason = _PARTS[name][1].format(tasks=part.tasks_per_round)
            faster = f"a {_TITLES[part.kind]} gets at most {gain:.0%} faster"
            lines.append(f"Beyond {_places(n_workers, n_threads)} {faster}: {reason}")
        return [*lines, *self.notes]


def _places(n_workers, n_threads):
    threads = f"{n_threads:,} thread{'s' if n_threads > 1 else ''}"
    if n_workers is None:
        return f"{threads} of this process"
    return f"{n_workers:,} worker{'s' if n_workers > 1 else ''} x {threads}"
