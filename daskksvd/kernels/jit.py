"""The one place that owns Numba's flags."""

import numba
from numba import types
from numba.extending import intrinsic

# nogil: Dask's threads run kernels side by side, each kernel serial.
# fastmath only allows multiply and add to be fused. The rest stays off: the
# kernels compare with zero and stop on ties, and must see NaN as NaN.
# cache: compiled once a machine, not once a process.
OPTIONS = {
    "nogil": True,
    "cache": True,
    "fastmath": {"contract"},
    "error_model": "numpy",
    "boundscheck": False,
}
kernel = numba.njit(**OPTIONS)


@intrinsic
def magnitude(typing_context, value):
    """Bits of ``|value|``, float32 or float64, as a signed integer of the same width.

    Such integers order like absolute values, and LLVM vectorises their
    maximum, which it does not do for floats. In Numba's own arithmetic an
    int32 grows to int64, which halves the speed; here it does not.
    """
    integer = types.int32 if value == types.float32 else types.int64

    def generate(context, builder, signature, arguments):
        bits = context.get_value_type(integer)
        mask = bits((1 << (integer.bitwidth - 1)) - 1)
        return builder.and_(builder.bitcast(arguments[0], bits), mask)

    return integer(value), generate


@intrinsic
def zero_magnitude(typing_context, value):
    """What `magnitude` gives for a zero of the type of ``value``."""
    integer = types.int32 if value == types.float32 else types.int64

    def generate(context, builder, signature, arguments):
        return context.get_value_type(integer)(0)

    return integer(value), generate
