"""The one place that owns Numba's flags."""

import numba
from llvmlite import ir
from numba import types
from numba.core import cgutils
from numba.extending import intrinsic

# nogil: Dask's threads run kernels side by side, each kernel serial.
# fastmath only allows multiply and add to be fused. The rest stays off: the
# kernels compare with zero and stop on ties, and must see NaN as NaN.
# cache: compiled once a machine, not once a process.
_OPTIONS = {
    "nogil": True,
    "cache": True,
    "fastmath": {"contract"},
    "error_model": "numpy",
    "boundscheck": False,
}
kernel = numba.njit(**_OPTIONS)

# Sums may be taken in any order: otherwise they could not be vectorised.
reordering_kernel = numba.njit(**{**_OPTIONS, "fastmath": {"contract", "reassoc"}})


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


@intrinsic
def from_magnitude(typing_context, bits, model):
    """The positive number of the type of ``model`` that has this `magnitude`."""

    def generate(context, builder, signature, arguments):
        return builder.bitcast(arguments[0], context.get_value_type(model))

    return model(bits, model), generate


@intrinsic
def as_number(typing_context, value, model):
    """A float, or a 16-bit integer, as a float of the type of ``model``."""

    def generate(context, builder, signature, arguments):
        if isinstance(signature.args[0], types.Integer):
            return builder.sitofp(arguments[0], context.get_value_type(model))
        return arguments[0]

    return model(value, model), generate


@intrinsic
def _prefetch(typing_context, array, index):
    """Start loading the cache line of an element into the second-level cache."""

    def generate(context, builder, signature, arguments):
        byte, int32 = ir.IntType(8).as_pointer(), ir.IntType(32)
        kind = ir.FunctionType(ir.VoidType(), [byte, int32, int32, int32])
        function = cgutils.get_or_insert_function(builder.module, kind, "llvm.prefetch.p0")
        data = context.make_array(signature.args[0])(context, builder, arguments[0]).data
        address = builder.bitcast(builder.gep(data, [arguments[1]]), byte)
        builder.call(function, [address, int32(0), int32(2), int32(1)])
        return context.get_dummy_value()

    return types.void(array, types.intp), generate


@kernel
def prefetch(row):
    """Start loading all of a contiguous row."""
    line = 64 // row.itemsize
    for i in range(0, row.shape[0], line):
        _prefetch(row, i)
