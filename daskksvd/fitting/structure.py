"""What a dictionary is to be beside of little error, as it is asked for."""

from collections.abc import Sequence
from typing import Literal, NamedTuple, TypeAlias

from ..arguments import integer, number

Groups: TypeAlias = Sequence[int] | Literal["nested"]

NESTED = 4
"""Ratio of the sizes of two prefixes of ``groups="nested"``, and"""

SMALLEST = 16
"""atoms of the smallest."""


class Structure(NamedTuple):
    """Checked arguments; see `daskksvd.fit` for what they mean."""

    groups: tuple[int, ...] | None = None
    prefix_sums: float = 0.0
    twins: float | None = None
    growth: int | None = None
    incoherence: float = 0.0


def check_structure(
    stopping, update, device, groups=None, prefix_sums=0.0, twins=None, growth=None, incoherence=0.0
):
    """Check what can be checked without the array; returns `Structure`."""
    m = stopping.n_components
    if groups is not None:
        groups = _prefixes(
            groups, m, None if isinstance(stopping.threshold, float) else stopping.n_nonzero_coefs
        )
        if stopping.pursuit != "omp":
            raise ValueError(
                f"groups was given with pursuit={stopping.pursuit!r}; it goes with pursuit='omp'"
            )
        if stopping.n_nonzero_coefs is None and not isinstance(stopping.threshold, float):
            raise ValueError(
                "groups was given with neither n_nonzero_coefs nor a number as threshold, one of which says "
                "how much of a row each group is to take"
            )
        if update == "ksvd":
            raise ValueError("groups was given with update='ksvd'; it goes with 'online' and 'batch'")
        if device is not None:
            raise ValueError(f"groups was given with device={device!r}; processors alone code in groups")
    prefix_sums = number("prefix_sums", prefix_sums, 0, 1, "a share from 0 to 1")
    if twins is not None:
        allowed = "a |cos| above 0 and below 1, above which two atoms are twins"
        twins = number("twins", twins, 0, 1, allowed, open_ends=True)
    if growth is not None:
        growth = integer("growth", growth, 1)
        if growth > m:
            raise ValueError(f"growth={growth} is more than n_components={m}; a dictionary grows to that")
        growth = None if growth == m else growth
    incoherence = number("incoherence", incoherence, 0, 0.1, "a step from 0 to 0.1")
    for name, value in (
        ("prefix_sums", prefix_sums),
        ("twins", twins),
        ("growth", growth),
        ("incoherence", incoherence),
    ):
        if value and update != "online":
            raise ValueError(f"{name} was given with update={update!r}; it goes with update='online'")
    if prefix_sums and not groups:
        found = "without groups" if groups is None else "with groups that hold all atoms"
        raise ValueError(f"prefix_sums was given {found}; it takes the sum of the errors of several")
    return Structure(groups, prefix_sums, twins, growth, incoherence)


def _prefixes(groups, m, k):
    """Sizes of prefixes, those of all atoms left out; with k each has a nonzero of its own at least."""
    if isinstance(groups, str):
        if groups != "nested":
            raise ValueError(f"groups={groups!r}; it must be 'nested', or numbers of first atoms")
        sizes, size = [], SMALLEST
        while size < m:
            sizes.append(size)
            size *= NESTED
        return tuple(sizes if k is None else sizes[max(0, len(sizes) + 1 - k) :])
    if not hasattr(groups, "__iter__"):
        raise TypeError(f"groups is {groups!r}; it must be 'nested', or numbers of first atoms")
    sizes = [integer("groups", size, 1) for size in groups]
    if sizes != sorted(set(sizes)) or (sizes and sizes[-1] > m):
        raise ValueError(f"groups={sizes}; numbers of first atoms must rise, up to n_components={m} at most")
    sizes = tuple(size for size in sizes if size < m)
    if k is not None and len(sizes) + 1 > k:
        raise ValueError(
            f"groups={[*sizes]} was given with n_nonzero_coefs={k}; with the rest of the atoms these are "
            f"{len(sizes) + 1} groups, of which some would take no atom: give fewer, or a threshold"
        )
    return sizes
