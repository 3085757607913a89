"""The arguments of `daskksvd.fit`, checked before any work starts."""

import math
from itertools import count
from typing import Literal, NamedTuple, TypeAlias, get_args

import numpy as np

from ..arguments import choice, flag, integer, number, seed
from ..coding.how import check_device
from ..coding.target import Pursuit
from ..rows.jobs import split_holdout
from .schedule import FULL_SHARE, RAMP_PASSES
from .stopping import Stopping, Threshold, check_stopping
from .structure import Structure, check_structure

Update: TypeAlias = Literal["online", "batch", "ksvd"]
Init: TypeAlias = Literal["rows", "random", "k-means++"]
Precision: TypeAlias = Literal["float32", "float64"]

UPDATES, INITS = map(get_args, (Update, Init))

SINCE = {"nonnegative": False, "threshold": None, "ramp": False, **Structure()._asdict()}
"""Settings that results and checkpoints of earlier versions have not, and what they meant."""


class Settings(NamedTuple):
    """Checked arguments; see `daskksvd.fit` for what they mean."""

    n_components: int
    n_nonzero_coefs: int | None
    rtol: float | None
    pursuit: Pursuit
    update: Update
    init: object
    max_passes: int | None
    tol: float
    max_time: float | None
    random_state: int | None
    center: bool
    scale: bool
    whiten: float | None
    holdout: float
    n_blocks: int | None
    replace_atoms: bool
    dtype: np.dtype
    device: str | None = None
    nonnegative: bool = False
    threshold: float | Threshold | None = None
    ramp: bool = False
    groups: tuple[int, ...] | None = None
    prefix_sums: float = 0.0
    twins: float | None = None
    growth: int | None = None
    incoherence: float = 0.0

    def identity(self):
        """What must agree between a checkpoint and a call, as plain values."""
        values = self._asdict()
        del values["max_time"]
        values["init"] = self.init if isinstance(self.init, str) else "array"
        values["dtype"] = self.dtype.name
        values["groups"] = None if self.groups is None else list(self.groups)  # as JSON has it
        return values

    @property
    def stopping(self):
        """When the coding of a row stops, as it was asked for."""
        return Stopping(*(getattr(self, name) for name in Stopping._fields))

    def target(self, d):
        """As `Stopping.target`."""
        return self.stopping.target(d)


def check_settings(n_components, **arguments):
    """Check what can be checked without the array; returns `Settings`."""
    a = arguments
    names = [name for name in Stopping._fields if name in a]
    stopping = check_stopping(n_components, **{name: a[name] for name in names})
    n_components = stopping.n_components
    choice("update", a["update"], UPDATES)
    if isinstance(a["init"], str):
        choice("init", a["init"], INITS, "or an array of n_components x n_features")
    max_passes = a["max_passes"]
    if max_passes is not None:
        max_passes = integer("max_passes", max_passes, 1)
    tol = number("tol", a["tol"], 0, 1, "a share from 0 to 1")
    max_time = a["max_time"]
    if max_time is not None:
        max_time = number("max_time", max_time, 0, math.inf, "a number of seconds above 0", True)
    holdout = number("holdout", a["holdout"], 0, 0.9, "a share from 0 to 0.9")
    whiten = a["whiten"]
    if whiten is True or (whiten is not None and whiten is not False and whiten != 0):
        # True means full whitening, as elsewhere
        whiten = 0.5 if whiten is True else whiten
        whiten = number("whiten", whiten, 0, 1, "an exponent above 0, up to 1 (0.25 is half-whitening)")
        if a["scale"]:
            raise ValueError(
                "scale=True and whiten were both given; whitening already scales the principal "
                "components, so leave one of them out"
            )
    else:
        whiten = None
    n_blocks = a["n_blocks"]
    if n_blocks is not None:
        if a["update"] != "ksvd":
            raise ValueError(f"n_blocks was given with update={a['update']!r}; it goes with update='ksvd'")
        n_blocks = integer("n_blocks", n_blocks, 1)
        if n_blocks > n_components:
            raise ValueError(
                f"n_blocks={n_blocks} is more than n_components={n_components}; "
                "there is at least one atom a block"
            )
    try:
        dtype = np.dtype(a["dtype"])
    except (TypeError, ValueError):
        dtype = None
    if a["dtype"] is None or dtype not in (np.float32, np.float64):
        raise ValueError(f"dtype is {a['dtype']}; it must be 'float32' or 'float64'")
    device = check_device(a.get("device"))
    asked = {name: a[name] for name in Structure._fields if name in a}
    structure = check_structure(stopping, a["update"], device, **asked)
    if structure.growth is not None and not isinstance(a["init"], str):
        raise ValueError(
            f"growth={structure.growth} was given with an array as init, most of whose atoms it would not "
            "begin with; give one of the two"
        )
    return Settings(
        n_components,
        stopping.n_nonzero_coefs,
        stopping.rtol,
        stopping.pursuit,
        a["update"],
        a["init"],
        max_passes,
        tol,
        max_time,
        seed("random_state", a["random_state"]),
        flag("center", a["center"]),
        flag("scale", a["scale"]),
        whiten,
        holdout,
        n_blocks,
        flag("replace_atoms", a["replace_atoms"]),
        dtype,
        device,
        stopping.nonnegative,
        stopping.threshold,
        _ramp(flag("ramp", a.get("ramp", False)), stopping, a["update"], max_passes),
        *structure,
    )


def _ramp(ramp, stopping, update, max_passes):
    """``ramp``, with which some other arguments do not go."""
    if not ramp:
        return ramp
    if update != "online":
        raise ValueError(f"ramp=True was given with update={update!r}; it goes with update='online'")
    if stopping.n_nonzero_coefs is None:
        raise ValueError(
            "ramp=True was given without n_nonzero_coefs; give the number of nonzeros to come up to"
        )
    if max_passes is not None and max_passes - int(FULL_SHARE * max_passes) < RAMP_PASSES:
        least = next(n for n in count(RAMP_PASSES) if n - int(FULL_SHARE * n) >= RAMP_PASSES)
        raise ValueError(
            f"ramp=True was given with max_passes={max_passes}; it takes {RAMP_PASSES} passes in waves, so "
            f"that max_passes must be at least {least}"
        )
    return ramp


def check_shape(settings, chunk_rows, d):
    """Check the settings against an array of ``d`` features with chunks of ``chunk_rows`` rows."""
    m, k, n = settings.n_components, settings.n_nonzero_coefs, sum(chunk_rows)
    if n < m:
        raise ValueError(
            f"array has {n} sample{'s' if n != 1 else ''}, fewer than n_components={m}; give more "
            "samples or ask for fewer atoms"
        )
    kept = sum(split_holdout(chunk_rows, settings.holdout))
    if kept < m:
        raise ValueError(
            f"holdout={settings.holdout} leaves {kept} of {n} samples, fewer than n_components={m}"
        )
    if k is not None and k > d:
        raise ValueError(
            f"n_nonzero_coefs={k} is more than the {d} features of array; {d} atoms already span the space"
        )
