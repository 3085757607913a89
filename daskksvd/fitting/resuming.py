"""What a checkpoint of a fit holds, and how a fit goes on from it."""

import dataclasses
import hashlib
import json
import os

import numpy as np

from ..coding import SparseCoder
from ..coding.how import How
from ..rows import Transform, cut_pieces
from ..rows.checksums import run_checksums
from ..tracking import HistoryRecorder
from .schedule import DONE, reading_jobs
from .settings import SINCE
from .state import State

PROMISED_SHARE = 0.25
"""Full passes end, too, when the last update lowers the error at fixed codes by
less than this share of ``tol``. Coding anew gains more than that, up to a few times."""

EXTENDS = ("max_passes", "tol")
"""Settings that only say how far a fit goes: they may change between a checkpoint and a call."""


def problem_identity(reader, settings):
    """What a checkpoint must agree with: settings, shape, chunks, first rows."""
    source, executor = reader.source, reader.executor
    digest = hashlib.sha256(json.dumps(source.chunk_rows).encode())
    [piece] = cut_pieces(source.chunk_rows[:1], source.chunk_rows[0])
    job = reader.job([piece])
    [head] = executor.retrying(
        lambda: executor.gather([executor.submit(_first_rows, job, reader.inputs(job))]), reader.place
    )
    digest.update(np.ascontiguousarray(head).tobytes())
    if not isinstance(settings.init, str):
        digest.update(np.ascontiguousarray(settings.init).tobytes())
    return {
        "shape": [source.n, source.d],
        "array_dtype": str(source.dtype),
        "rows": digest.hexdigest(),
        **settings.identity(),
    }


def _first_rows(job, inputs):
    for _, rows in job.read(inputs):
        return rows[:64].copy()


def resume(path, header, arrays, identity, settings, schedule):
    """Continue from a checkpoint of the same problem.

    Returns
    -------
    coder : coding.SparseCoder
    variance : float
    state : State
    seed : int
    recorder : HistoryRecorder
    checksums : (chunks,) uint32 array or None
        Of the rows that it was begun with; None where they were not taken.
    """
    name = f"checkpoint={os.fspath(path)!r}"
    for key, value in identity.items():
        found = header["identity"].get(key, SINCE.get(key))
        if key in EXTENDS or found == value or (key == "random_state" and value is None):
            continue
        what = "the rows or their chunks" if key == "rows" else key
        values = "" if key == "rows" else f" ({found!r} there, {value!r} here)"
        raise ValueError(_another(name, f"{what} differ{values}"))
    parts = {key: arrays.get(f"preprocessing_{key}") for key in Transform._fields}
    recorder = HistoryRecorder(header["history"]["passes"], header["history"]["waves"])
    state = State.restore(header["state"], arrays)
    _check_passes(name, state, settings)
    state = reopened(state, recorder.passes, header["identity"]["tol"], settings, schedule.phases)
    checksums = arrays.get("chunk_checksums")
    target = settings.target(state.dictionary.shape[1])
    coder = SparseCoder(state.dictionary, Transform(**parts), target, how=_how_of(header))
    return coder, header["variance"], state, header["seed"], recorder, checksums


def _how_of(header):
    """How rows were coded; earlier versions did not note it."""
    return How(header["how"]) if "how" in header else None


def _another(name, why):
    return f"{name} belongs to another problem: {why}; name another path, or remove the file to start anew"


def _check_passes(name, state, settings):
    """Refuse fewer passes than were made: what they taught cannot be taken back."""
    made = state.pass_index + (state.round_index > 0 or state.updated)
    if settings.max_passes is not None and made > settings.max_passes:
        raise ValueError(
            f"max_passes={settings.max_passes}, but {name} is in pass {made} already; "
            f"max_passes must be at least {made} to go on from it"
        )


def reopened(state, passes, tol, settings, phases):
    """The state of a fit that had settled, as a call with a smaller ``tol`` goes on from it.

    ``passes`` is its history and ``tol`` that of before. It goes on with passes
    of the last kind, unless the last gained too little for the new ``tol``, too.
    """
    if state.kind != DONE or settings.tol >= tol > 0:
        return state
    kind = phases.then or phases.first
    errors = [error for error, of in zip(passes["relative_error"], passes["kind"], strict=True) if of == kind]
    last, before = errors[-1], errors[-2] if len(errors) > 1 else np.inf
    if has_settled(last, before, state.promised, settings.tol):
        return state
    return dataclasses.replace(state, kind=kind, last_error=last, promised=np.inf)


def has_settled(error, last_error, promised, tol):
    """Whether passes gain too little to go on: the last one did, or the next one promises no more."""
    if tol == 0:
        return False
    return last_error - error <= tol * last_error < np.inf or promised <= PROMISED_SHARE * tol


def check_rows(path, reader, checksums):
    """Read all rows and refuse them if they are not those that a checkpoint was begun with."""
    chunk_rows = reader.source.chunk_rows
    found = run_checksums(reader, [reader.job(pieces) for pieces in reading_jobs(chunk_rows)])
    differ = np.flatnonzero(found != checksums)
    if len(differ):
        ends = np.cumsum(chunk_rows)
        first = differ[0]
        more = f" and those of {len(differ) - 1} more chunks" if len(differ) > 1 else ""
        raise ValueError(
            _another(
                f"checkpoint={os.fspath(path)!r}",
                f"rows {ends[first] - chunk_rows[first]} to {ends[first] - 1} of array{more} "
                "differ from those it was begun with",
            )
        )


def saver(writer, identity, seed, recorder, checksums):
    """What writes the checkpoint of an engine, and returns its path."""

    def save(engine):
        header, arrays = engine.state.dump()
        for name, value in engine.problem.coder.transform._asdict().items():
            if value is not None:
                arrays[f"preprocessing_{name}"] = value
        if checksums is not None:
            arrays["chunk_checksums"] = checksums
        history = {"passes": recorder.passes, "waves": recorder.waves}
        writer.write(
            {
                "identity": identity,
                "seed": seed,
                "variance": engine.problem.variance,
                "how": engine.problem.coder.how.products,
                "history": history,
                "state": header,
            },
            arrays,
        )
        return writer.path

    return save
