"""Arguments as users give them: checked, each refused in one sentence, or taken under its old name."""

import numbers
import warnings

import numpy as np


def integer(name, value, least):
    """A whole number of at least ``least``."""
    if isinstance(value, (bool, np.bool_)) or not isinstance(value, numbers.Integral):
        raise TypeError(f"{name} is {value!r}; it must be a whole number of at least {least}")
    if value < least:
        raise ValueError(f"{name}={value}; it must be at least {least}")
    return int(value)


def number(name, value, low, high, allowed, open_ends=False):
    """A real number in a range; ``allowed`` says the range in words."""
    if isinstance(value, (bool, np.bool_)) or not isinstance(value, numbers.Real):
        raise TypeError(f"{name} is {value!r}; it must be {allowed}")
    inside = low < value < high if open_ends else low <= value <= high
    if not inside:
        raise ValueError(f"{name}={value}; it must be {allowed}")
    return float(value)


def flag(name, value):
    """True or False."""
    if not isinstance(value, (bool, np.bool_)):
        raise TypeError(f"{name} is {value!r}; it must be True or False")
    return bool(value)


def words(name, value):
    """A list of words, not one text."""
    if isinstance(value, str):
        raise TypeError(f"{name}={value!r} is one text; it must be a list of words")
    value = list(value)
    for word in value:
        if not isinstance(word, str):
            raise TypeError(f"{name} has {word!r}; all of it must be text")
    return value


def row_numbers(name, value, n):
    """Numbers of some of n rows, rising and each once, of a boolean array or of numbers."""
    rows = np.asarray(value)
    if rows.shape == (n,) and rows.dtype == bool:
        return np.flatnonzero(rows)
    if rows.ndim != 1 or rows.dtype.kind not in "iu":
        raise ValueError(
            f"{name} has dtype {rows.dtype} and shape {rows.shape}; it must be a boolean array of "
            f"{n:,} entries, or the numbers of rows"
        )
    wrong = rows[(rows < 0) | (rows >= n)]
    if len(wrong):
        raise ValueError(f"{name} has row {wrong[0]}; rows have the numbers 0 to {n - 1:,}")
    return np.unique(rows)


def callables(name, value):
    """A sequence of callables, as a list."""
    if callable(value) or not hasattr(value, "__iter__") or not all(map(callable, value)):
        raise TypeError(f"{name} is {value!r}; it must be a sequence of callables, such as [print]")
    return list(value)


def choice(name, value, allowed, also=""):
    """One of a few words."""
    if value not in allowed:
        words = ", ".join(repr(word) for word in allowed)
        raise ValueError(f"{name}={value!r}; it must be one of {words}{' ' + also if also else ''}")


def seed(name, value):
    """A seed: an int, None, or drawn from a generator."""
    if value is None:
        return None
    if isinstance(value, (np.random.Generator, np.random.RandomState)):
        draw = getattr(value, "integers", None) or value.randint
        return int(draw(2**31 - 1))
    return integer(name, value, 0)


def renamed(old, given, new, value):
    """The value of an argument, which may have come under its old name; that warns for one release."""
    if given is None:
        return value
    warnings.warn(
        f"{old}= is now {new}=; the old name goes with the next release", DeprecationWarning, stacklevel=3
    )
    return given
