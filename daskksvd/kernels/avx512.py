"""Products of numbers rounded to bfloat16 with the instruction of AVX-512; see `rounded`."""

from llvmlite import ir
from numba import types
from numba.core import cgutils
from numba.extending import intrinsic

from .jit import kernel

PANEL = 64
"""Atoms that lie side by side in what `rounded.pack` makes: here four vector registers."""

_TILE = 6
"""Rows that it works on: 24 sums, four atoms' pairs and one row's pair fit 32 registers."""

_LANES = 16
"""Single-precision numbers in a register."""


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
        Two features in each.
    packed : (p / 64, pairs, 64) uint32 array
        As `rounded.pack` makes them.
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
