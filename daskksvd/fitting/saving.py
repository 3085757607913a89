"""Results on disk: one Zarr group, which xarray reads too."""

import json
import math

import numpy as np

from ..coding import OneShot, SparsityTarget
from ..rows import Transform
from ..stores import DamagedStore, Store, Variable

UNIT_TOLERANCE = 1e-3
"""A stored atom whose norm is further than this from one is not an atom."""

_FLOATS = ("float32", "float64")

NAMED, NUMBERED = "names of the features, as the samples have them", "numbers of the features"
"""What the coordinate ``feature`` says it is."""

RESULT = Store(
    kind="result",
    format="daskksvd.result",
    version=1,
    variables={
        "dictionary": Variable(
            ("atom", "feature"), _FLOATS, "unit-norm atoms, one a row, on the original features", dense=True
        ),
        "preprocessing_mean": Variable(
            ("feature",), ("float64",), "mean subtracted from samples", optional=True
        ),
        "preprocessing_basis": Variable(
            ("feature", "component"),
            ("float64",),
            "principal components, one a column",
            optional=True,
            dense=True,
        ),
        "preprocessing_scale": Variable(
            ("component",),
            ("float64",),
            "divisor of each feature, or component, before coding",
            optional=True,
            dense=True,
        ),
        "encoder_weights": Variable(
            ("atom", "component"),
            _FLOATS,
            "scores of atoms are samples, as they are coded, times these",
            optional=True,
        ),
        "encoder_bias": Variable(("atom",), _FLOATS, "plus this", optional=True),
        "encoder_gains": Variable(
            ("atom",), _FLOATS, "a score times this is about a coefficient", optional=True
        ),
        "encoder_threshold": Variable(
            (), ("float64",), "above it are as many scores as pursuit takes atoms", optional=True
        ),
        "encoder_mean_nonzeros": Variable(
            (), ("float64",), "atoms that pursuit takes of a sample, on average", optional=True
        ),
        "stability_likeness": Variable(
            ("atom",), ("float64",), "how near fits of other seeds come to the atom, |cos|", optional=True
        ),
        "stability_recurrence": Variable(
            ("atom",), ("float64",), "share of fits that found the atom", optional=True
        ),
    },
    refusal="not a result of daskksvd",
)
"""Beside these variables a result has its history."""

_TARGET = ("width", "rtol", "pursuit", "nonnegative", "threshold")
"""Names of the parts of a sparsity target, as they are stored."""

_SINCE = {"nonnegative": False, "threshold": 0.0}
"""Those that results of earlier versions have not, and what they meant."""

STABILITY = ("likeness", "recurrence")
"""What is told of every atom of a consensus of several fits."""

_TIMES = {"s": "seconds", "ms": "milliseconds", "us": "microseconds", "ns": "nanoseconds"}
"""Units of names that are times, as xarray reads them."""


def to_dataset(result):
    """Everything of a result as one `xarray.Dataset`."""
    import xarray as xr

    transform, target = result.coder.transform, result.coder.target
    variables = {"dictionary": result.dictionary}
    for name, value in transform._asdict().items():
        if value is not None:
            stored = RESULT.variables[f"preprocessing_{name}"]
            about = {"long_name": stored.meaning}
            variables[f"preprocessing_{name}"] = (stored.dims, value, about)
    for name, value in (result.encoder._asdict() if result.encoder else {}).items():
        stored = RESULT.variables[f"encoder_{name}"]
        variables[f"encoder_{name}"] = (stored.dims, value, {"long_name": stored.meaning})
    for name in STABILITY if result.stability is not None else ():
        stored = RESULT.variables[f"stability_{name}"]
        about = {"long_name": stored.meaning}
        variables[f"stability_{name}"] = (stored.dims, result.stability[name].values, about)
    history = result.history.copy()
    kinds = sorted(set(history.kind.values.tolist()))
    codes = np.searchsorted(kinds, history.kind.values) if kinds else history.kind.values
    flags = {"flag_values": list(range(len(kinds))), "flag_meanings": " ".join(kinds)}
    history["kind"] = ("pass", codes.astype(np.int8), {**history.kind.attrs, **flags})
    dataset = xr.Dataset(variables).merge(history)
    dataset["feature"] = _stored_names(result.dictionary.feature)
    dataset.attrs = {
        **RESULT.marks,
        "feature_dtype": str(result.dictionary.feature.dtype),
        "stop_reason": result.stop_reason,
        "stopping": json.dumps(dict(zip(_TARGET, target, strict=True))),
        "settings": json.dumps(result.settings),
    }
    return dataset


def save(result, path, overwrite):
    """What `Result.save` does."""
    dataset = to_dataset(result)
    RESULT.save(dataset, path, overwrite, {"dictionary": dataset["dictionary"].shape})


def read(path):
    """What `Result` takes, as `save` stored it; see `load` for the errors."""
    opened = RESULT.open(path)
    path = opened.path
    opened.verify()
    try:
        return parts_of(opened.dataset(), path)
    except DamagedStore:
        _check_atoms_at(path)  # which says more, where others wrote into the store
        raise
    except (KeyError, TypeError, AttributeError, json.JSONDecodeError) as error:
        raise DamagedStore(
            f"path={path!r} is a damaged result ({type(error).__name__}: {error}); save it again"
        ) from error


def _check_atoms_at(path):
    """Refuse a dictionary that is whole, but not one of ours."""
    import zarr

    try:
        dictionary = zarr.open_group(path, mode="r")["dictionary"][:]
    except Exception:  # it is damaged itself
        return
    check_atoms(dictionary, f"path={path!r}: the dictionary")


def parts_of(dataset, path):
    """The parts of a result from its stored variables."""
    for name in ("dictionary", "kind"):
        if name not in dataset:
            raise ValueError(f"path={path!r} is a damaged result: there is no {name} in it")
    for name, (dims, *_) in RESULT.variables.items():
        if name in dataset and dataset[name].dims != dims:
            raise ValueError(f"path={path!r}: {name} has dimensions {dataset[name].dims}, not {dims}")
    dictionary = dataset["dictionary"]
    check_atoms(dictionary.values, f"path={path!r}: the dictionary")
    parts = {
        name: dataset[f"preprocessing_{name}"].values if f"preprocessing_{name}" in dataset else None
        for name in Transform._fields
    }
    target = _SINCE | json.loads(dataset.attrs["stopping"])
    history = dataset[[name for name in dataset if name not in RESULT.variables]]
    history = history.drop_vars(["atom", "feature"], errors="ignore")
    history.attrs = {}
    kinds = np.array(history.kind.attrs.pop("flag_meanings", "").split(), "U8")
    history.kind.attrs.pop("flag_values", None)
    history["kind"] = ("pass", kinds[history.kind.values], history.kind.attrs)
    return (
        dictionary.values,
        Transform(**parts),
        SparsityTarget(*(target[name] for name in _TARGET)),
        history,
        dataset.attrs["stop_reason"],
        json.loads(dataset.attrs["settings"]),
        *_features_of(dictionary.feature, dataset.attrs.get("feature_dtype")),
        _encoder_of(dataset),
        _stability_of(dataset),
    )


def _encoder_of(dataset):
    """The encoder of a stored result, None where none was fitted."""
    if "encoder_weights" not in dataset:
        return None
    weights, bias, gains = (dataset[f"encoder_{name}"].values for name in OneShot._fields[:3])
    mean = float(dataset["encoder_mean_nonzeros"]) if "encoder_mean_nonzeros" in dataset else math.nan
    return OneShot(weights, bias, gains, float(dataset["encoder_threshold"]), mean)


def _stability_of(dataset):
    """What fits agree on, None for a result of one fit."""
    if not all(f"stability_{name}" in dataset for name in STABILITY):
        return None
    return stability(*(dataset[f"stability_{name}"].values for name in STABILITY))


def stability(likeness, recurrence):
    """What is told of every atom as one `xarray.Dataset`; see `Result.stability`."""
    import xarray as xr

    values = zip(STABILITY, (likeness, recurrence), strict=True)
    about = {name: {"long_name": RESULT.variables[f"stability_{name}"].meaning} for name in STABILITY}
    atoms = {"atom": np.arange(len(likeness))}
    return xr.Dataset({name: ("atom", value, about[name]) for name, value in values}, coords=atoms)


def agreement(stability):
    """How far fits agree, in words."""
    likeness, recurrence = (stability[name].values for name in STABILITY)
    return (
        f"likeness {likeness.mean():.2f}; {int((recurrence == 1).sum()):,} of {len(likeness):,} atoms are "
        f"found by all fits, {int((recurrence >= 0.5).sum()):,} by half of them"
    )


def _features_of(feature, dtype):
    """Names of features and of the dimensions of samples, as a stored coordinate has them."""
    dims = feature.attrs.get("sample_dims")
    values = _read_names(feature.values, dtype)
    # stores of earlier versions do not say whether numbers are names
    numbered = NUMBERED if values.dtype.kind == "i" and (values == np.arange(len(values))).all() else NAMED
    if feature.attrs.get("long_name", numbered) == NUMBERED:
        return None, dims
    return values, dims


def _stored_names(feature):
    """The coordinate of features as one that Zarr has a type for and that xarray reads as what they are."""
    names = feature.values
    if names.dtype.kind == "U":  # Zarr specifies text of variable length only
        return "feature", names.astype(object), feature.attrs
    if names.dtype.kind not in "Mm":
        return "feature", names, feature.attrs
    unit = _TIMES[np.datetime_data(names.dtype)[0]]
    since = " since 1970-01-01" if names.dtype.kind == "M" else ""
    attributes = {"units": unit + since} | ({"calendar": "proleptic_gregorian"} if since else {})
    return "feature", names.astype(np.int64), feature.attrs | attributes


def _read_names(names, dtype):
    """What `_stored_names` stored, exactly; an earlier version did not store the dtype."""
    return names if dtype is None or dtype.startswith("<U") else names.astype(dtype)


def check_atoms(dictionary, name):
    """Refuse atoms that are not of unit norm."""
    norms = np.linalg.norm(dictionary, axis=1)
    wrong = ~(np.abs(norms - 1) <= UNIT_TOLERANCE)
    if wrong.any():
        atom = int(np.argmax(wrong))
        raise ValueError(
            f"{name} has {int(wrong.sum())} atoms that are not of unit norm "
            f"(first: atom {atom}, norm {norms[atom]:.4g}); all must have norm 1"
        )
