"""Arguments under the names they had until 0.1."""

import warnings


def renamed(old, given, new, value):
    """The value of an argument, which may have come under its old name; that warns for one release."""
    if given is None:
        return value
    warnings.warn(
        f"{old}= is now {new}=; the old name goes with the next release", DeprecationWarning, stacklevel=3
    )
    return given
