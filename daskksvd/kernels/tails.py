"""Tails of the hypergeometric distribution."""

import math

from .jit import kernel


@kernel
def hypergeometric_tails(joint, ones, twos, total, out):
    """Chance of at least as many joint samples, margins given.

    ``P(X >= joint)`` where ``ones`` and ``twos`` of ``total`` samples are
    drawn at random (Fisher's exact test, one-sided). Terms are added from
    ``joint`` away from the mean, each from the one before, until they no
    longer change the sum; below the mean it is one less the other tail.

    Parameters
    ----------
    joint, ones, twos : (p,) int64 arrays
    total : int
    out : (p,) float64 array
    """
    for i in range(len(joint)):
        x, a, b = joint[i], ones[i], twos[i]
        least, most = max(0, a + b - total), min(a, b)
        if x <= least:
            out[i] = 1.0
            continue
        if x > most:
            out[i] = 0.0
            continue
        upper = x * total >= a * b
        start = x if upper else x - 1
        log_term = (
            math.lgamma(a + 1.0)
            + math.lgamma(total - a + 1.0)
            + math.lgamma(b + 1.0)
            + math.lgamma(total - b + 1.0)
            - math.lgamma(total + 1.0)
            - math.lgamma(start + 1.0)
            - math.lgamma(a - start + 1.0)
            - math.lgamma(b - start + 1.0)
            - math.lgamma(total - a - b + start + 1.0)
        )
        term, tail, k = 1.0, 1.0, start
        while True:
            if upper:
                if k == most:
                    break
                term *= (a - k) / (k + 1.0) * ((b - k) / (total - a - b + k + 1.0))
                k += 1
            else:
                if k == least:
                    break
                term *= k / (a - k + 1.0) * ((total - a - b + k) / (b - k + 1.0))
                k -= 1
            tail += term
            if term < 1e-17 * tail:
                break
        mass = math.exp(log_term + math.log(tail))
        out[i] = min(1.0, mass) if upper else max(0.0, 1.0 - mass)
