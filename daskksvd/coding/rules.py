"""Where single steps of a pursuit in the Gram domain end, on processors and on devices."""

PIVOT_MIN = 1e-4
"""Where the squared sine between the next atom and the span of those chosen falls
under this, inner products are too coarse: atoms are made orthogonal themselves."""

ROUNDING = 8
"""A residual is nothing when no atom correlates with it by more than this many
units of rounding of the row's norm: what is left is error of the products."""

MP_STEPS_PER_COEF = 4
"""Matching pursuit may come back to an atom; it gives up looking for
``n_nonzero_coefs`` distinct ones after this many steps per coefficient."""

DISTANCE = 32
"""Units of rounding that an atom must lie off the span of others: nearer, its direction is rounding."""

NEARLY_ALL = 2**13
"""Where less than so many units of rounding of a row's energy are left, they are measured.

Of more, the difference of the two energies is right to some 1e-4, and the sum over rows to 1e-5.
"""
