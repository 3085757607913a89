"""Matrix products of numbers rounded to bfloat16, summed in single precision.

Some processors multiply pairs of such numbers (of 8 bits, with the exponent
of a single) and add them up in single precision at twice the rate of single
precision: `supported` tells. NumPy's BLAS has no such product.
"""

import llvmlite.binding
import numba
import numpy as np
from llvmlite import ir
from numba import types
from numba.core import cgutils
from numba.extending import intrinsic

from .jit import kernel

PANEL = 64
"""Atoms that one inner loop works on: four vector registers."""

_TILE = 6
"""Rows that it works on: 24 sums, four atoms' pairs and one row's pair fit 32 registers."""

_LANES = 16
"""Single-precision numbers in a register."""

_LLVM = (20,)
"""The first version that compiles this; 15, which Numba 0.61 brings, ends the process."""


def supported():
    """Whether the processor, as Numba compiles for it, has the instructions."""
    config = numba.config
    chosen = config.CPU_NAME or config.CPU_FEATURES is not None  # by the user, for any processor
    if llvmlite.binding.llvm_version_info < _LLVM:
        return False
    return not chosen and bool(llvmlite.binding.get_host_cpu_features().get("avx512bf16"))


class _Bfloat16(ir.Type):
    """LLVM's ``bfloat``, which llvmlite does not name."""

    def _to_string(self):
        return "bfloat"

    def __eq__(self, other):
        return isinstance(other, _Bfloat16)

    def __hash__(self):
        return hash(_Bfloat16)


_PAIRS = ir.VectorType(_Bfloat16(), 2 * _LANES)
_WORDS = ir.VectorType(ir.IntType(32), _LANES)
_SUMS = ir.VectorType(ir.FloatType(), _LANES)


@intrinsic
def _rounded(typing_context, value):
    """Bits of a single-precision number rounded to bfloat16."""

    def generate(context, builder, signature, arguments):
        return builder.bitcast(builder.fptrunc(arguments[0], _Bfloat16()), ir.IntType(16))

    return types.uint16(types.float32), generate


@kernel
def round_rows(rows, out):
    """Round rows (n, d) to bfloat16: their bits, into ``out`` of `pair_shape`, uint16."""
    n, d = rows.shape
    for row in range(n):
        source, target = rows[row], out[row]
        for f in range(d):
            target[f] = _rounded(source[f])
        for f in range(d, out.shape[1]):
            target[f] = 0


@kernel
def round_products(products, factor, out):
    """Round numbers (n, m) times ``factor`` to 16 bits; they must not be too large for those."""
    for row in range(products.shape[0]):
        source, target = products[row], out[row]
        for i in range(source.shape[0]):
            target[i] = np.int16(np.rint(source[i] * source.dtype.type(factor)))


def pair_shape(n, d):
    """Shape of rows of whole pairs."""
    return n, d + d % 2


def pack(dictionary, empty=np.empty):
    """Atoms (p, d) rounded, in the order in which `correlate` reads them.

    Parameters
    ----------
    dictionary : (p, d) float32 array
    empty : callable
        Makes the array that is returned, from shape and dtype.

    Returns
    -------
    (p / 64, pairs, 64) uint32 array
        Two neighbouring features of an atom in each.
    """
    rounded = np.empty(pair_shape(*dictionary.shape), np.uint16)
    round_rows(dictionary, rounded)
    pairs = rounded.view(np.uint32)
    pairs = pairs.reshape(-1, PANEL, pairs.shape[1]).transpose(0, 2, 1)
    packed = empty(pairs.shape, np.uint32)
    packed[...] = pairs
    return packed


def _tile(n_rows):
    """A function that multiplies ``n_rows`` rows with a panel of atoms.

    All its sums stay in registers. Each number is the sum over pairs in their
    order, whatever ``n_rows`` is.
    """
    registers = PANEL // _LANES

    @intrinsic
    def tile(typing_context, pairs, row, packed, panel, products):
        signature = types.void(pairs, types.intp, packed, types.intp, products)

        def generate(context, builder, signature, arguments):
            pairs, packed, products = (
                context.make_array(signature.args[place])(context, builder, arguments[place])
                for place in (0, 2, 4)
            )
            _, row, _, panel, _ = arguments
            n_pairs = cgutils.unpack_tuple(builder, pairs.shape, 2)[1]
            n_atoms = cgutils.unpack_tuple(builder, products.shape, 2)[1]
            number = n_pairs.type

            def at(data, place, vector=None):
                pointer = builder.gep(data, [place])
                return pointer if vector is None else builder.bitcast(pointer, vector.as_pointer())

            multiply = cgutils.get_or_insert_function(
                builder.module,
                ir.FunctionType(_SUMS, [_SUMS, _PAIRS, _PAIRS]),
                "llvm.x86.avx512bf16.dpbf16ps.512",
            )
            rows = [builder.add(row, number(r)) for r in range(n_rows)]
            sources = [at(pairs.data, builder.mul(r, n_pairs)) for r in rows]
            atoms = at(packed.data, builder.mul(builder.mul(panel, n_pairs), number(PANEL)))
            nothing = ir.Constant(_SUMS, [0.0] * _LANES)
            unset, first = ir.Constant(_WORDS, ir.Undefined), ir.Constant(_WORDS, [0] * _LANES)
            sums = [cgutils.alloca_once(builder, _SUMS) for _ in range(n_rows * registers)]
            for total in sums:
                builder.store(nothing, total)
            with cgutils.for_range(builder, n_pairs) as loop:
                line = at(atoms, builder.mul(loop.index, number(PANEL)))
                of_atoms = []
                for c in range(registers):
                    words = builder.load(at(line, number(c * _LANES), _WORDS), align=4)
                    of_atoms.append(builder.bitcast(words, _PAIRS))
                for r in range(n_rows):
                    pair = builder.load(at(sources[r], loop.index))
                    words = builder.insert_element(unset, pair, ir.IntType(32)(0))
                    of_row = builder.bitcast(builder.shuffle_vector(words, unset, first), _PAIRS)
                    for c in range(registers):
                        total = sums[r * registers + c]
                        added = builder.call(multiply, [builder.load(total), of_row, of_atoms[c]])
                        builder.store(added, total)
            for r in range(n_rows):
                place = builder.add(builder.mul(rows[r], n_atoms), builder.mul(panel, number(PANEL)))
                for c in range(registers):
                    target = at(products.data, builder.add(place, number(c * _LANES)), _SUMS)
                    builder.store(builder.load(sums[r * registers + c]), target, align=4)
            return context.get_dummy_value()

        return signature, generate

    return tile


_many = _tile(_TILE)
_one = _tile(1)


@kernel
def correlate(pairs, packed, products):
    """Products of rounded rows and atoms.

    Parameters
    ----------
    pairs : (n, pairs) uint32 array
        Rows from `round_rows`, two features in each.
    packed : (p / 64, pairs, 64) uint32 array
        From `pack`.
    products : (n, p) float32 array
        Filled.
    """
    n = pairs.shape[0]
    whole = n - n % _TILE
    for panel in range(packed.shape[0]):  # which stays in the second-level cache
        for row in range(0, whole, _TILE):
            _many(pairs, row, packed, panel, products)
        for row in range(whole, n):
            _one(pairs, row, packed, panel, products)
