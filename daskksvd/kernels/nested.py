"""Prefixes of a dictionary from which atoms are chosen one after the other.

Atoms come from the first prefix until none correlates with what is left as it
must, or its share of the nonzeros is used; then from the next, which holds the
first as well. Without prefixes (None) code is compiled that knows nothing of them.
"""

from .jit import kernel, strength, zero_magnitude
from .residual import largest


@kernel
def leading(q, ends, stage, positive):
    """The atom of a prefix that correlates most, and the second largest strength; see `residual.largest`.

    Parameters
    ----------
    q : (m,) float array
    ends : None or (s,) int64 array
        Ends of prefixes, the last one m.
    stage : int
        Number of the prefix.
    positive : None or True
    """
    if ends is None:
        return largest(q, positive)
    if stage + 1 == len(ends):
        return largest(q, positive)
    first = second = zero_magnitude(q[0]) - 1
    atom = 0
    for i in range(ends[stage]):
        here = strength(q[i], positive)
        if here > second:
            if here > first:
                first, second, atom = here, first, i
            else:
                second = here
    return atom, second


@kernel
def stage_of(q, ends, rooms, stage, size, least, atom, second, positive):
    """The first prefix, from ``stage`` on, with room for an atom and one that is stronger than ``least``.

    Parameters
    ----------
    q : (m,) float array
        Correlations of atoms with the residual.
    ends, rooms : (s,) int64 arrays
        Ends of prefixes, and most atoms up to the end of each.
    stage, size : int
        The prefix of the moment, and atoms so far.
    least : int
        As `jit.strength`.
    atom, second : int
        As `leading` gives them for ``stage``.
    positive : None or True

    Returns
    -------
    stage, atom, second : int
    """
    while stage + 1 < len(ends) and (size >= rooms[stage] or strength(q[atom], positive) <= least):
        stage += 1
        atom, second = leading(q, ends, stage, positive)
    return stage, atom, second
