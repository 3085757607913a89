"""Whether samples have the features that a dictionary was learned on, in the same order."""

import numpy as np

_SHOWN = 5
"""Names listed in a message at most."""


def check_features(rows, names, dims, name="array"):
    """Refuse samples whose features are others than those learned on, or in another order.

    As in scikit-learn, names must be the same in the same order. Where only
    one side has names, or numbers 0, 1, 2 ... in their place, they are not
    compared; the same numbers in another order are refused all the same.

    Parameters
    ----------
    rows : Source
        Samples given.
    names : list or None
        Names of the features learned on, None if they had none.
    dims : tuple of two str, or None
        Names of the dimensions of what was learned from.
    name : str
        What messages call the samples.

    Raises
    ------
    ValueError
        Naming the first feature that differs, those missing and those unexpected.
    """
    if dims and rows.dims and dims[0] != dims[1] and (rows.dims[1] == dims[0] or rows.dims[0] == dims[1]):
        raise ValueError(
            f"{name} has dimensions ({', '.join(rows.dims)}), and the dictionary was learned from "
            f"({', '.join(dims)}): samples and features have changed places; transpose it"
        )
    if rows.feature_names is None:
        return
    numbers = list(map(str, range(rows.d)))
    learned = numbers if names is None else list(map(_text, names))
    given = list(map(_text, rows.feature_names))
    if learned == given:
        return
    missing, unexpected = _without(learned, given), _without(given, learned)
    if (missing or unexpected) and (names is None or given == numbers):
        return
    pairs = zip(learned, given, strict=False)
    place = next((i for i, (one, other) in enumerate(pairs) if one != other), min(len(learned), len(given)))
    parts = [f"missing: {_listed(missing)}"] * bool(missing)
    parts += [f"unexpected: {_listed(unexpected)}"] * bool(unexpected)
    found = repr(given[place]) if place < len(given) else "none"
    wanted = repr(learned[place]) if place < len(learned) else "none"
    raise ValueError(
        f"{name} has other features than the dictionary was learned on; the feature names should match those "
        f"learned, in their order: feature {place} is {found}, and {wanted} was learned "
        f"({'; '.join(parts) or 'the same names in another order'})"
    )


def _text(name):
    if isinstance(name, np.datetime64):
        return str(name.astype("datetime64[ns]"))
    if isinstance(name, np.timedelta64):
        return str(name.astype("timedelta64[ns]"))
    return str(name)


def _without(names, others):
    others = set(others)
    return [name for name in names if name not in others]


def _listed(names):
    more = f" and {len(names) - _SHOWN} more" if len(names) > _SHOWN else ""
    return ", ".join(map(repr, names[:_SHOWN])) + more
