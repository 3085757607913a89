"""Correlations of a residual with all atoms, and the largest of them.

What matching pursuit does at every step. It is written in LLVM's vectors,
since what LLVM makes of Numba's loops takes half as long again. They have 64
bytes; on processors with smaller registers LLVM takes several for each.
"""

from llvmlite import ir
from numba import types
from numba.core import cgutils
from numba.extending import intrinsic

from .jit import fetch_line, kernel, magnitude

_VECTOR_BYTES = 64

_VECTORS = 4
"""Vectors of correlations that an inner loop holds in registers. A multiplication
takes as many cycles, in each of which another can begin."""

_FUSED = ("contract",)

_LINE_BYTES = 64


def tops_size(n_atoms):
    """Length of the work space ``tops`` of `subtract_atoms`."""
    return n_atoms // _VECTORS


class _Vectors:
    """LLVM's types and operations for the float type of some correlations."""

    def __init__(self, context, builder, element):
        self.context, self.builder = context, builder
        self.bits = element.bitwidth
        self.lanes = _VECTOR_BYTES * 8 // self.bits
        self.floats = ir.VectorType(context.get_data_type(element), self.lanes)
        self.integers = ir.VectorType(ir.IntType(self.bits), self.lanes)
        self._mask = ir.Constant(self.integers, [(1 << (self.bits - 1)) - 1] * self.lanes)

    def array(self, kind, value):
        return self.context.make_array(kind)(self.context, self.builder, value)

    def length(self, array):
        """Of an array's first dimension."""
        return self.builder.extract_value(array.shape, 0)

    def at(self, data, place, kind=None):
        pointer = self.builder.gep(data, [place])
        return pointer if kind is None else self.builder.bitcast(pointer, kind.as_pointer())

    def load(self, data, place, kind):
        align = kind.element.get_abi_size(self.context.target_data)
        return self.builder.load(self.at(data, place, kind), align=align)

    def store(self, value, data, place):
        align = value.type.element.get_abi_size(self.context.target_data)
        self.builder.store(value, self.at(data, place, value.type), align=align)

    def spread(self, value):
        """A vector with ``value`` in all lanes."""
        kind = ir.VectorType(value.type, self.lanes)
        unset = ir.Constant(kind, ir.Undefined)
        places = ir.Constant(ir.VectorType(ir.IntType(32), self.lanes), [0] * self.lanes)
        one = self.builder.insert_element(unset, value, ir.IntType(32)(0))
        return self.builder.shuffle_vector(one, unset, places)

    def magnitudes(self, floats):
        """As `jit.magnitude`."""
        return self.builder.and_(self.builder.bitcast(floats, self.integers), self._mask)

    def larger(self, a, b):
        return self.builder.select(self.builder.icmp_signed(">", a, b), a, b)

    def equal(self, a, b):
        """One bit a lane, as an integer."""
        return self.builder.bitcast(self.builder.icmp_signed("==", a, b), ir.IntType(self.lanes))

    def part_of_row(self, array, row, n_parts):
        """Where a row of a matrix begins, and the cache lines of each of ``n_parts`` parts."""
        builder = self.builder
        n_columns = builder.extract_value(array.shape, 1)
        number = n_columns.type
        start = builder.bitcast(self.at(array.data, builder.mul(row, n_columns)), ir.IntType(8).as_pointer())
        n_bytes = builder.mul(n_columns, builder.extract_value(array.strides, 1))
        part_bytes = builder.mul(n_parts, number(_LINE_BYTES))
        n_bytes = builder.add(n_bytes, builder.sub(part_bytes, number(1)))  # rounded up
        return start, builder.sdiv(n_bytes, part_bytes)

    def fetch(self, start, first, count):
        """Fetch ``count`` cache lines of a row."""
        with cgutils.for_range(self.builder, count) as loop:
            place = self.builder.mul(self.builder.add(first, loop.index), count.type(_LINE_BYTES))
            fetch_line(self.builder, self.at(start, place))

    def columns(self, block):
        """Where the vectors of a block of correlations begin."""
        number = block.type
        start = self.builder.mul(block, number(self.lanes * _VECTORS))
        return [self.builder.add(start, number(v * self.lanes)) for v in range(_VECTORS)]


@intrinsic
def subtract_atoms(typing_context, p, q, gram, support, x, size, tops, dictionary, next_atom, next_row):
    """Set ``q`` to ``p - x gram[support]``, and ``tops`` to the magnitudes in it.

    Each number of ``tops`` is the largest of four magnitudes in ``q``, which
    lie a vector apart. Meanwhile what is needed next is fetched, a few cache
    lines at a time: more at once would have to wait.

    Parameters
    ----------
    p, q : (m,) float array
        May be one array. m is a multiple of `ATOM_PAD`.
    gram : (m, m) float or int16 array
    support : (k,) int64 array
    x : (k,) float array
    size : int
        How many atoms of ``support`` to subtract.
    tops : (m / 4,) integer array
        Of the width of the floats.
    dictionary : (m, d) float array
        Atoms.
    next_atom, next_row : int
        Of ``dictionary`` and of ``gram``, the row to fetch; -1 for none.
    """
    signature = types.void(
        p, q, gram, support, x, types.intp, tops, dictionary, types.intp, types.intp
    )  # fmt: skip

    def generate(context, builder, signature, arguments):
        kinds = signature.args
        v = _Vectors(context, builder, kinds[0].dtype)
        p, q, gram, support, x = (v.array(kinds[i], arguments[i]) for i in range(5))
        size, tops = arguments[5], v.array(kinds[6], arguments[6])
        wanted = [(v.array(kinds[7], arguments[7]), arguments[8]), (gram, arguments[9])]
        stored = ir.VectorType(context.get_data_type(kinds[2].dtype), v.lanes)
        n_atoms = v.length(p)
        n_blocks = builder.sdiv(n_atoms, n_atoms.type(v.lanes * _VECTORS))
        sums = [cgutils.alloca_once(builder, v.floats) for _ in range(_VECTORS)]
        parts = [(row, *v.part_of_row(matrix, row, n_blocks)) for matrix, row in wanted]
        with cgutils.for_range(builder, n_blocks) as block:
            for row, start, n_lines in parts:
                with builder.if_then(builder.icmp_signed(">=", row, row.type(0))):
                    v.fetch(start, builder.mul(block.index, n_lines), n_lines)
            columns = v.columns(block.index)
            for total, column in zip(sums, columns, strict=True):
                builder.store(v.load(p.data, column, v.floats), total)
            with cgutils.for_range(builder, size) as loop:
                atom = builder.load(v.at(support.data, loop.index))
                row = v.at(gram.data, builder.mul(atom, n_atoms))
                weight = v.spread(builder.load(v.at(x.data, loop.index)))
                for total, column in zip(sums, columns, strict=True):
                    values = v.load(row, column, stored)
                    if isinstance(kinds[2].dtype, types.Integer):
                        values = builder.sitofp(values, v.floats)
                    taken = builder.fmul(weight, values, flags=_FUSED)
                    builder.store(builder.fsub(builder.load(total), taken, flags=_FUSED), total)
            top = None
            for total, column in zip(sums, columns, strict=True):
                value = builder.load(total)
                v.store(value, q.data, column)
                top = v.magnitudes(value) if top is None else v.larger(top, v.magnitudes(value))
            v.store(top, tops.data, builder.mul(block.index, n_atoms.type(v.lanes)))
        return context.get_dummy_value()

    return signature, generate


@intrinsic
def find(typing_context, q, tops, best):
    """First index at which ``|q|`` has the magnitude ``best``, which is in ``tops``."""

    def generate(context, builder, signature, arguments):
        kinds = signature.args
        v = _Vectors(context, builder, kinds[0].dtype)
        q, tops = (v.array(kinds[i], arguments[i]) for i in range(2))
        wanted = v.spread(arguments[2])
        n_tops = v.length(tops)
        number = n_tops.type
        found = cgutils.alloca_once_value(builder, number(0))
        with cgutils.for_range(builder, builder.sdiv(n_tops, number(v.lanes))) as block:
            values = v.load(tops.data, builder.mul(block.index, number(v.lanes)), v.integers)
            hits = v.equal(values, wanted)
            with builder.if_then(builder.icmp_signed("!=", hits, hits.type(0)), likely=False):
                builder.store(block.index, found)
                block.do_break()
        columns = v.columns(builder.load(found))
        hits = number(0)
        for i, column in enumerate(columns):
            lanes = v.equal(v.magnitudes(v.load(q.data, column, v.floats)), wanted)
            lanes = builder.shl(builder.zext(lanes, number), number(i * v.lanes))
            hits = builder.or_(hits, lanes)
        return builder.add(columns[0], builder.cttz(hits, ir.IntType(1)(0)))

    return types.intp(q, tops, best), generate


@kernel
def largest(tops):
    """The largest magnitude."""
    best = tops[0]
    for i in range(tops.shape[0]):
        best = max(best, tops[i])
    return best


@kernel
def take_out(q, tops, index):
    """Set one correlation to zero, and ``tops`` accordingly."""
    q[index] = 0
    lanes = _VECTOR_BYTES // q.itemsize
    block, lane = index // (_VECTORS * lanes), index % lanes
    first = block * _VECTORS * lanes + lane
    top = magnitude(q[first])
    for i in range(1, _VECTORS):
        top = max(top, magnitude(q[first + i * lanes]))
    tops[block * lanes + lane] = top
