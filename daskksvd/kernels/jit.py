"""The one place that owns Numba's flags."""

import numba
import numpy as np
from numba import types
from numba.extending import intrinsic

# nogil: Dask's threads run kernels side by side, each kernel serial.
# fastmath only allows multiply and add to be fused. The rest stays off: the
# kernels compare with zero and stop on ties, and must see NaN as NaN.
# cache: compiled once a machine, not once a process.
kernel = numba.njit(
    nogil=True,
    cache=True,
    fastmath={"contract"},
    error_model="numpy",
    boundscheck=False,
)


@intrinsic
def float_bits(typing_context, value):
    """Bits of a float32 or float64 as a signed integer of the same width.

    With the sign bit masked away, such integers order like absolute values,
    and LLVM vectorises their maximum, which it does not do for floats.
    """
    integer = types.int32 if value == types.float32 else types.int64

    def generate(context, builder, signature, arguments):
        return builder.bitcast(arguments[0], context.get_value_type(integer))

    return integer(value), generate


def sign_mask(dtype):
    """All bits but the sign, as a scalar of the integer type of that width."""
    if np.dtype(dtype) == np.float32:
        return np.int32(0x7FFFFFFF)
    return np.int64(0x7FFFFFFFFFFFFFFF)
