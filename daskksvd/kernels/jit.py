"""The one place that owns Numba's flags."""

from typing import Any

import llvmlite.binding
import numba
from llvmlite import ir
from numba import types
from numba.core import cgutils
from numba.extending import intrinsic
from numba.np.arrayobj import populate_array

# nogil: Dask's threads run kernels side by side, each kernel serial.
# fastmath only allows multiply and add to be fused. The rest stays off: the
# kernels compare with zero and stop on ties, and must see NaN as NaN.
# cache: compiled once a machine, not once a process.
_OPTIONS: dict[str, Any] = {
    "nogil": True,
    "cache": True,
    "fastmath": {"contract"},
    "error_model": "numpy",
    "boundscheck": False,
}
kernel = numba.njit(**_OPTIONS)

# Of a few lines, called at every step, where LLVM does not see that calling takes longer.
inlined_kernel = numba.njit(**_OPTIONS, forceinline=True)

# Sums may be taken in any order: otherwise they could not be vectorised.
reordering_kernel = numba.njit(**{**_OPTIONS, "fastmath": {"contract", "reassoc"}})


def host_has(feature):
    """Whether the processor, as Numba compiles for it, has a feature of LLVM's name."""
    if (
        numba.config.CPU_NAME or numba.config.CPU_FEATURES is not None
    ):  # chosen by the user, for any processor
        return False
    return bool(llvmlite.binding.get_host_cpu_features().get(feature))


def read_only(array):
    """A view that cannot be written to.

    Arrays from another process are like that; with all of them so, a kernel is
    compiled once.
    """
    view = array.view()
    view.flags.writeable = False
    return view


def magnitude_type(kind):
    """The type of what `magnitude` gives for a float type."""
    return types.int32 if kind == types.float32 else types.int64


@intrinsic
def magnitude(typing_context, value):
    """Bits of ``|value|``, float32 or float64, as a signed integer of the same width.

    Such integers order like absolute values, and LLVM vectorises their
    maximum, which it does not do for floats. In Numba's own arithmetic an
    int32 grows to int64, which halves the speed; here it does not.
    """
    integer = magnitude_type(value)

    def generate(context, builder, signature, arguments):
        bits = context.get_value_type(integer)
        mask = bits((1 << (integer.bitwidth - 1)) - 1)
        return builder.and_(builder.bitcast(arguments[0], bits), mask)

    return integer(value), generate


@intrinsic
def strength(typing_context, value, positive):
    """What atoms are chosen by: the bits of ``|value|``, or of ``value`` where only positive ones count.

    ``positive`` is None or True, which are two types: code is compiled for
    each, and no loop asks. Bits of negative values are negative integers.
    """
    integer = magnitude_type(value)
    signed = isinstance(positive, types.NoneType)

    def generate(context, builder, signature, arguments):
        bits = context.get_value_type(integer)
        mask = bits((1 << (integer.bitwidth - 1)) - 1 if signed else -1)
        return builder.and_(builder.bitcast(arguments[0], bits), mask)

    return integer(value, positive), generate


@intrinsic
def zero_magnitude(typing_context, value):
    """What `magnitude` gives for a zero of the type of ``value``."""
    integer = magnitude_type(value)

    def generate(context, builder, signature, arguments):
        return context.get_value_type(integer)(0)

    return integer(value), generate


def _uncounted(context, builder, kind, value, n_indices):
    """Code for an array in a contiguous array, or all of it, to which no references are counted."""
    whole = context.make_array(kind)(context, builder, value[0])
    shape, strides = (cgutils.unpack_tuple(builder, sizes) for sizes in (whole.shape, whole.strides))
    data = whole.data
    for index, stride in zip(value[1:], strides, strict=False):
        data = cgutils.pointer_add(builder, data, builder.mul(index, stride))
    kind = kind.copy(ndim=kind.ndim - n_indices)
    result = context.make_array(kind)(context, builder)
    populate_array(result, data, shape[n_indices:], strides[n_indices:], whole.itemsize, None)
    return result._getvalue()  # noqa: SLF001  which Numba has no public name for


@intrinsic
def part(typing_context, array, index):
    """``array[index]`` of a contiguous array, which must outlive it.

    Numba counts the references to an array that it makes, by instructions that
    wait for other cores: 18 of them a step, a tenth of the time of a pursuit.
    """

    def generate(context, builder, signature, arguments):
        return _uncounted(context, builder, signature.args[0], arguments, 1)

    return array.copy(ndim=array.ndim - 1)(array, types.intp), generate


@intrinsic
def uncounted(typing_context, array):
    """A contiguous array, which must outlive this one; see `part`."""

    def generate(context, builder, signature, arguments):
        return _uncounted(context, builder, signature.args[0], arguments, 0)

    return array(array), generate


@intrinsic
def is_float(typing_context, array):
    """Whether an array is of a float type: a constant, by which code that is never reached is left out."""
    known = isinstance(array.dtype, types.Float)

    def generate(context, builder, signature, arguments):
        return context.get_constant(types.boolean, known)

    return types.boolean(array), generate


@intrinsic
def natural(typing_context, index):
    """``index``, which is not negative: code that counts from the end of an array is left out."""

    def generate(context, builder, signature, arguments):
        kind = ir.FunctionType(ir.VoidType(), [ir.IntType(1)])
        assume = cgutils.get_or_insert_function(builder.module, kind, "llvm.assume")
        builder.call(assume, [builder.icmp_signed(">=", arguments[0], arguments[0].type(0))])
        return arguments[0]

    return types.intp(types.intp), generate


def fetch_line(builder, address):
    """Let code start loading the cache line at an address into the second-level cache."""
    byte, int32 = ir.IntType(8).as_pointer(), ir.IntType(32)
    kind = ir.FunctionType(ir.VoidType(), [byte, int32, int32, int32])
    function = cgutils.get_or_insert_function(builder.module, kind, "llvm.prefetch.p0")
    builder.call(function, [builder.bitcast(address, byte), int32(0), int32(2), int32(1)])


@intrinsic
def prefetch(typing_context, matrix, row, column):
    """Start loading what is near an element of a contiguous matrix."""

    def generate(context, builder, signature, arguments):
        array = context.make_array(signature.args[0])(context, builder, arguments[0])
        place = builder.mul(arguments[1], builder.extract_value(array.shape, 1))
        fetch_line(builder, builder.gep(array.data, [builder.add(place, arguments[2])]))
        return context.get_dummy_value()

    return types.void(matrix, types.intp, types.intp), generate
