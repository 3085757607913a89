"""Statistics of coded rows that the dictionary updates need."""

from .jit import kernel


@kernel
def add_moments(rows, indices, values, XX, XY, uses):
    """Add ``X'X``, ``X'Y`` and the use counts of a block to running sums.

    Parameters
    ----------
    rows : (n, d) float array
    indices, values : (n, k) arrays
        Fixed-width codes; -1 ends a support.
    XX : (m, m) float array
    XY : (m, d) float array
    uses : (m,) int64 array
    """
    n, d = rows.shape
    k = indices.shape[1]
    for row in range(n):
        y = rows[row]
        for a in range(k):
            i = indices[row, a]
            if i < 0:
                break
            x = values[row, a]
            uses[i] += 1
            to = XY[i]
            for f in range(d):
                to[f] += x * y[f]
            line = XX[i]
            for b in range(k):
                j = indices[row, b]
                if j < 0:
                    break
                line[j] += x * values[row, b]


@kernel
def add_residual_moments(residuals, indices, values, power, XR, uses):
    """Add the diagonal of ``X'X``, ``X'R`` and the use counts of a block to running sums.

    Parameters
    ----------
    residuals : (n, d) float array
        ``R = Y - X D``.
    indices, values : (n, k) arrays
        Fixed-width codes; -1 ends a support.
    power : (m,) float array
    XR : (m, d) float array
    uses : (m,) int64 array
    """
    n, d = residuals.shape
    k = indices.shape[1]
    for row in range(n):
        r = residuals[row]
        for a in range(k):
            i = indices[row, a]
            if i < 0:
                break
            x = values[row, a]
            uses[i] += 1
            power[i] += x * x
            to = XR[i]
            for f in range(d):
                to[f] += x * r[f]


@kernel
def subtract_reconstruction(rows, dictionary, indices, values):
    """Turn a block of rows into its residuals ``Y - X D``, in place."""
    n, d = rows.shape
    k = indices.shape[1]
    for row in range(n):
        y = rows[row]
        for a in range(k):
            i = indices[row, a]
            if i < 0:
                break
            x = values[row, a]
            atom = dictionary[i]
            for f in range(d):
                y[f] -= x * atom[f]
