"""The prediction as an object, and in words."""

import html
from dataclasses import dataclass
from typing import Any

from dask.utils import format_bytes, format_time

from ..cards import card, grid
from .model import Round, Scaling, Seconds, Traffic

TITLES = {
    "survey": "survey",
    "wave": "pass in waves",
    "full": "full pass",
    "ksvd": "K-SVD iteration",
}

_PARTS = {
    "reading": ("reading", "a round has no more tasks that could read"),
    "coding": ("coding rows", "a round has no more than {tasks} tasks"),
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
        return self.seconds / len(self.rounds)

    @property
    def rows_per_round(self) -> float:
        """Rows of a round, on average."""
        return sum(round_.rows for round_ in self.rounds) / len(self.rounds)

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
        for name in ("survey", "wave", "full", "ksvd"):
            values[name] = values[name].to_dict() if values[name] is not None else None
        return {**values, "scaling": self.scaling._asdict(), "notes": list(self.notes)}

    def __repr__(self) -> str:
        return str(self)

    def __str__(self) -> str:
        return "\n".join([*self._head(), "", *self._table(), "", *self._foot()])

    def _repr_html_(self) -> str:
        where, size = self._head()
        foot = "".join(f'<div class="note">{html.escape(line)}</div>' for line in self._foot())
        return card(where, {"for": size}, grid(self._lines()), foot, fallback=f"{where}, {size}")

    def _head(self):
        where = _places(self.n_workers, self.n_threads)
        return [
            f"Plan of a fit on {where}",
            f"{self.n_samples:,} rows x {self.n_features} features, {self.n_components:,} atoms, "
            f"at most {self.n_nonzero_coefs} nonzeros a row",
        ]

    def _lines(self):
        """Figures of every kind of pass as lists of texts; the first has titles."""
        columns = [self.survey, *self.passes]
        lines = [["", *(TITLES[part.kind] for part in columns)]]

        def line(title, value):
            cells = [value(part) for part in columns]
            if any(cell not in ("-", "0 B") for cell in cells):
                lines.append([title, *cells])

        line("passes, at most", lambda part: str(part.count))
        line("a pass takes", lambda part: format_time(part.seconds))
        for name, (title, _) in _PARTS.items():
            line(f"  {title}", lambda part, name=name: _share(getattr(part.parts, name), part.seconds))
        line("rounds in a pass", lambda part: f"{part.n_rounds:,}")
        line("a round takes", lambda part: format_time(part.seconds_per_round))
        line("  rows", lambda part: f"{part.rows_per_round:,.0f}")
        line("  tasks", lambda part: f"{part.tasks_per_round:,}")
        line("  sent to workers", lambda part: format_bytes(part.traffic.out))
        line("  between workers", lambda part: format_bytes(part.traffic.tree))
        line("  to the driver", lambda part: format_bytes(part.traffic.back))
        line("chunks read in a pass", lambda part: f"{part.chunk_reads:,}" if part.chunk_reads else "-")
        line("  that is", lambda part: format_bytes(part.read_bytes))
        line("  and a second", lambda part: format_bytes(int(part.read_bytes / part.seconds)))
        return lines

    def _table(self):
        titles, *columns = zip(*self._lines(), strict=True)
        columns = [_aligned(titles, str.ljust), *(_aligned(column, str.rjust) for column in columns)]
        return ["  ".join(cells).rstrip() for cells in zip(*columns, strict=True)]

    def _foot(self):
        count = sum(part.count for part in self.passes)
        lines = [
            f"In all {format_time(self.seconds)}: the survey and {count} passes, the most there can be",
            f"Memory: {format_bytes(self.worker_bytes)} "
            + (
                "in this process"
                if self.n_workers is None
                else f"a worker, {format_bytes(self.driver_bytes)} here"
            ),
        ]
        for part in self.passes:
            scaling = part.scaling
            reason = _PARTS[scaling.part][1].format(tasks=f"{part.tasks_per_round:,}")
            places = _places(scaling.n_workers, scaling.n_threads)
            lines.append(
                f"Beyond {places} a {TITLES[part.kind]} gets at most {scaling.gain:.0%} faster: {reason}"
            )
        return [*lines, *self.notes]


def _aligned(cells, how):
    return [how(cell, max(map(len, cells))) for cell in cells]


def _share(part, whole):
    return f"{part / whole:.0%}" if part >= 0.005 * whole else "-"


def _places(n_workers, n_threads):
    threads = f"{n_threads:,} thread{'s' if n_threads > 1 else ''}"
    if n_workers is None:
        return f"{threads} of this process"
    return f"{n_workers:,} worker{'s' if n_workers > 1 else ''} x {threads}"
