"""Names of features: those that a store gives back exactly."""

import datetime

import numpy as np

ALLOWED = "all strings, all integers, all floats, all booleans, all datetime64 or all timedelta64"

_KINDS = (
    ("booleans", (bool, np.bool_)),
    ("integers", (int, np.integer)),
    ("floats", (float, np.floating)),
    ("strings", (str,)),
    ("dates", (datetime.datetime, np.datetime64)),
    ("durations", (datetime.timedelta, np.timedelta64)),
)
"""Kinds of Python objects; the first that one is of is its kind."""


def check_names(names, what="array"):
    """Names of features as an array that a store gives back exactly.

    Parameters
    ----------
    names : sequence or array
        One a feature: labels of a coordinate, or of columns.
    what : str
        What messages call the samples.

    Returns
    -------
    (d,) array of str, int, float, bool, datetime64 or timedelta64
        Of the dtype that they have, in the byte order of this machine.

    Raises
    ------
    TypeError, ValueError
        If they are of another kind or of several, or some are missing.
    """
    found = names if hasattr(names, "dtype") else _objects(names)
    found = np.asarray(found, object) if found.dtype.kind not in "UiufbMm" else np.asarray(found)
    if found.ndim != 1:
        raise TypeError(f"{what} has names of features in {found.ndim} dimensions; it must be one a feature")
    if found.dtype.kind == "O":
        found = _of_one_kind(found.tolist(), what)
    missing = np.isnat(found) if found.dtype.kind in "Mm" else found != found
    if missing.any():
        place = int(np.argmax(missing))
        raise ValueError(_refusal(what, place, f"missing ({found[place]})"))
    if found.dtype.kind == "f" and found.dtype.itemsize > 8:
        raise TypeError(_refusal(what, 0, f"of dtype {found.dtype}"))
    if found.dtype.kind == "U":
        for place, name in enumerate(found.tolist()):
            if any("\ud800" <= letter <= "\udfff" for letter in name):
                raise ValueError(_refusal(what, place, f"{name!r}, half a character, which cannot be stored"))
    return np.ascontiguousarray(found.astype(found.dtype.newbyteorder("=")))


def _objects(names):
    """Names in an array of objects: nothing is turned into text."""
    names = list(names)
    found = np.empty(len(names), object)
    found[:] = names
    return found


def _of_one_kind(names, what):
    """Python objects of one kind as an array of that kind."""
    if not names:
        return np.empty(0, str)
    first = _kind(names[0])
    for place, name in enumerate(names):
        kind = _kind(name)
        if kind is None or kind != first:
            before = f", after {first}" if place else ""
            raise TypeError(_refusal(what, place, f"{name!r} ({type(name).__name__}){before}"))
    if first == "dates":  # those of pandas have nanoseconds
        zoned = [place for place, name in enumerate(names) if getattr(name, "tzinfo", None) is not None]
        if zoned:
            raise TypeError(_refusal(what, zoned[0], f"{names[zoned[0]]} with a time zone"))
        found = np.array([name.to_datetime64() if hasattr(name, "to_datetime64") else name for name in names])
        return found.astype("datetime64") if found.dtype.kind == "O" else found
    if first == "durations":
        found = np.array(
            [name.to_timedelta64() if hasattr(name, "to_timedelta64") else name for name in names]
        )
        return found.astype("timedelta64") if found.dtype.kind == "O" else found
    found = np.array(names)
    if first == "integers" and found.dtype.kind not in "iu" and min(names) >= 0 and max(names) < 2**64:
        found = np.array(names, np.uint64)
    for place, (name, kept) in enumerate(zip(names, found.tolist(), strict=True)):
        if found.dtype.kind == "O" or kept != name:  # NUL at the end, or more than 64 bits
            raise ValueError(_refusal(what, place, f"{name!r}, which is not kept exactly"))
    return found


def _kind(name):
    if isinstance(name, np.timedelta64):
        return "durations"
    return next((kind for kind, types in _KINDS if isinstance(name, types)), None)


def _refusal(what, place, found):
    return (
        f"{what} has names of features that cannot be stored: that of feature {place} is {found}; "
        f"names must be {ALLOWED}, none missing; rename them, or leave them away"
    )
