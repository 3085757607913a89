"""Correlations of a residual with all atoms, and the largest of them.

What matching pursuit does at every step. It is written in LLVM's vectors,
since what LLVM makes of Numba's loops takes half as long again. They have 64
bytes; on processors with smaller registers LLVM takes several for each.
"""

from llvmlite import ir
from numba import types
from numba.core import cgutils
from numba.extending import intrinsic

from .jit import fetch_line, magnitude_type

_VECTOR_BYTES = 64

_VECTORS = 4
"""Vectors of correlations that an inner loop holds in registers. A multiplication
takes as many cycles, in each of which another can begin."""

_FUSED = ("contract",)

_LINE_BYTES = 64


class _Vectors:
    """LLVM's types and operations for the float type of some correlations.

    ``positive`` is the type of that argument, None's where correlations of both signs count.
    """

    def __init__(self, context, builder, element, positive):
        self.context, self.builder = context, builder
        self.signed = isinstance(positive, types.NoneType)
        self.bits = element.bitwidth
        self.lanes = _VECTOR_BYTES * 8 // self.bits
        self.floats = ir.VectorType(context.get_data_type(element), self.lanes)
        self.integer = ir.IntType(self.bits)
        self.integers = ir.VectorType(self.integer, self.lanes)
        self._mask = self.same((1 << (self.bits - 1)) - 1)

    def array(self, kind, value):
        return self.context.make_array(kind)(self.context, self.builder, value)

    def length(self, array):
        """Of an array's first dimension."""
        return self.builder.extract_value(array.shape, 0)

    def at(self, data, place, kind=None):
        pointer = self.builder.gep(data, [place])
        return pointer if kind is None else self.builder.bitcast(pointer, kind.as_pointer())

    def row(self, matrix, row):
        """Where a row of a matrix begins."""
        n_columns = self.builder.extract_value(matrix.shape, 1)
        return self.at(matrix.data, self.builder.mul(row, n_columns))

    def load(self, data, place, kind):
        align = kind.element.get_abi_size(self.context.target_data)
        return self.builder.load(self.at(data, place, kind), align=align)

    def store(self, value, data, place):
        align = value.type.element.get_abi_size(self.context.target_data)
        self.builder.store(value, self.at(data, place, value.type), align=align)

    def same(self, number):
        """Integers, one number in all lanes."""
        return ir.Constant(self.integers, [number] * self.lanes)

    def spread(self, value):
        """A vector with ``value`` in all lanes."""
        kind = ir.VectorType(value.type, self.lanes)
        unset = ir.Constant(kind, ir.Undefined)
        places = ir.Constant(ir.VectorType(ir.IntType(32), self.lanes), [0] * self.lanes)
        one = self.builder.insert_element(unset, value, ir.IntType(32)(0))
        return self.builder.shuffle_vector(one, unset, places)

    def take(self, value, weight, others):
        """``value - weight others``, fused."""
        taken = self.builder.fmul(weight, others, flags=_FUSED)
        return self.builder.fsub(value, taken, flags=_FUSED)

    def strengths(self, floats):
        """As `jit.strength`."""
        bits = self.builder.bitcast(floats, self.integers)
        return self.builder.and_(bits, self._mask) if self.signed else bits

    def larger(self, a, b):
        return self.builder.select(self.builder.icmp_signed(">", a, b), a, b)

    def smaller(self, a, b):
        return self.builder.select(self.builder.icmp_signed("<", a, b), a, b)

    def reduce(self, name, integers):
        """``smax`` or ``smin`` of all lanes."""
        kind = ir.FunctionType(self.integer, [self.integers])
        name = f"llvm.vector.reduce.{name}.v{self.lanes}i{self.bits}"
        return self.builder.call(cgutils.get_or_insert_function(self.builder.module, kind, name), [integers])

    def columns(self, block):
        """Where the vectors of a block of correlations begin."""
        number = block.type
        start = self.builder.mul(block, number(self.lanes * _VECTORS))
        return [self.builder.add(start, number(v * self.lanes)) for v in range(_VECTORS)]


class _Largest:
    """The two largest strengths in each lane so far, and where the first is.

    Which vector a strength lies in is kept beside it: to look for it
    afterwards would end at a place that no processor can foresee.
    """

    def __init__(self, v):
        self.v, self.builder = v, v.builder
        self.first, self.second, self.vector = (
            cgutils.alloca_once_value(self.builder, v.same(number)) for number in (-1, -1, 0)
        )

    def add(self, floats, column):
        """Look at the correlations from ``column`` on, in ascending order."""
        v, builder = self.v, self.builder
        strengths = v.strengths(floats)
        vector = builder.sdiv(column, column.type(v.lanes))
        if v.bits < column.type.width:
            vector = builder.trunc(vector, v.integer)
        first, second = builder.load(self.first), builder.load(self.second)
        more = builder.icmp_signed(">", strengths, first)
        builder.store(v.larger(first, strengths), self.first)
        builder.store(v.larger(second, v.smaller(first, strengths)), self.second)
        builder.store(builder.select(more, v.spread(vector), builder.load(self.vector)), self.vector)

    def found(self, number):
        """The first index of the largest strength, and the second largest strength."""
        v, builder = self.v, self.builder
        first, vector = builder.load(self.first), builder.load(self.vector)
        best = v.spread(v.reduce("smax", first))
        lanes = ir.Constant(v.integers, list(range(v.lanes)))
        indices = builder.add(builder.mul(vector, v.same(v.lanes)), lanes)
        is_best = builder.icmp_signed("==", first, best)
        index = v.reduce("smin", builder.select(is_best, indices, v.same((1 << (v.bits - 1)) - 1)))
        here = builder.icmp_signed("==", indices, v.spread(index))
        second = v.reduce("smax", builder.select(here, builder.load(self.second), first))
        return builder.sext(index, number) if v.bits < number.width else index, second


def _walk(v, n_atoms, change, ahead=None):
    """Code that goes over all correlations, a block of vectors at a time.

    ``change(columns)`` gives the vectors of a block as they are to be looked
    at, ``ahead(block, n_blocks)`` is called before.
    """
    builder, number = v.builder, n_atoms.type
    n_blocks = builder.sdiv(n_atoms, number(v.lanes * _VECTORS))
    largest = _Largest(v)
    with cgutils.for_range(builder, n_blocks) as block:
        if ahead is not None:
            ahead(block.index, n_blocks)
        columns = v.columns(block.index)
        for vector, column in zip(change(columns), columns, strict=True):
            largest.add(vector, column)
    return largest.found(number)


@intrinsic
def largest(typing_context, p, positive):
    """The first index of the largest strength in ``p``, and the second largest strength.

    Parameters
    ----------
    p : (m,) float array
        m is a multiple of `ATOM_PAD`.
    positive : None or True
        See `jit.strength`. Where nothing is positive, index and strength mean nothing: the
        correlation at the index is not positive either.
    """
    found = types.Tuple((types.intp, magnitude_type(p.dtype)))

    def generate(context, builder, signature, arguments):
        kind = signature.args[0]
        v = _Vectors(context, builder, kind.dtype, positive)
        p = v.array(kind, arguments[0])
        result = _walk(v, v.length(p), lambda columns: [v.load(p.data, c, v.floats) for c in columns])
        return context.make_tuple(builder, signature.return_type, result)

    return found(p, positive), generate


@intrinsic
def next_close(typing_context, p, start, bound, positive):
    """The first index from ``start`` on of a strength of at least ``bound``; m if there is none.

    Parameters
    ----------
    p : (m,) float array
    start : int
    bound : int
        As `jit.strength`.
    positive : None or True
    """

    def generate(context, builder, signature, arguments):
        kind = signature.args[0]
        v = _Vectors(context, builder, kind.dtype, positive)
        p, start, bound = v.array(kind, arguments[0]), arguments[1], v.spread(arguments[2])
        n_atoms = v.length(p)
        number = n_atoms.type
        lanes = number(v.lanes)
        found = cgutils.alloca_once_value(builder, n_atoms)
        n_vectors, first = builder.sdiv(n_atoms, lanes), builder.sdiv(start, lanes)
        with cgutils.for_range(builder, n_vectors, start=first) as loop:
            begin = builder.mul(loop.index, lanes)
            close = builder.icmp_signed(">=", v.strengths(v.load(p.data, begin, v.floats)), bound)
            hits = builder.zext(builder.bitcast(close, ir.IntType(v.lanes)), number)
            before = builder.sub(start, begin)  # lanes of the first vector that are not to be looked at
            before = builder.select(builder.icmp_signed(">", before, number(0)), before, number(0))
            hits = builder.and_(hits, builder.shl(number(-1), before))
            with builder.if_then(builder.icmp_signed("!=", hits, number(0)), likely=False):
                builder.store(builder.add(begin, builder.cttz(hits, ir.IntType(1)(0))), found)
                loop.do_break()
        return builder.load(found)

    return types.intp(p, types.intp, bound, positive), generate


@intrinsic
def subtract_atom(typing_context, p, gram, atom, step, positive):
    """Take ``step`` times a row of ``gram`` out of ``p``; returns what `largest` does."""
    found = types.Tuple((types.intp, magnitude_type(p.dtype)))

    def generate(context, builder, signature, arguments):
        kinds = signature.args
        v = _Vectors(context, builder, kinds[0].dtype, positive)
        p, gram = (v.array(kinds[i], arguments[i]) for i in range(2))
        row, step = v.row(gram, arguments[2]), v.spread(arguments[3])

        def change(columns):
            for column in columns:
                left = v.take(v.load(p.data, column, v.floats), step, v.load(row, column, v.floats))
                v.store(left, p.data, column)
                yield left

        return context.make_tuple(builder, signature.return_type, _walk(v, v.length(p), change))

    return found(p, gram, types.intp, p.dtype, positive), generate


@intrinsic
def subtract_direction(
    typing_context, p, gram, atom, factor, basis, weights, size, step, dictionary, next_atom, next_row,
    positive,
):  # fmt: skip
    """Make an atom orthogonal to the support, and take it out of the residual.

    Row ``size`` of ``basis`` becomes ``factor gram[atom] - weights basis[:size]``:
    the inner products of all atoms with a new direction, where the rows above
    hold those with the directions before. Then ``step`` times that row is
    taken out of ``p``. Meanwhile what is needed next is fetched, a few cache
    lines at a time: more at once would have to wait.

    Parameters
    ----------
    p : (m,) float array
        Correlations of all atoms with the residual. m is a multiple of `ATOM_PAD`.
    gram : (m, m) float or int16 array
    atom : int
    factor : float
    basis : (k, m) array
        Of the type of ``gram``; integers are rounded to, within the limits of their type.
    weights : (k,) float array
    size : int
    step : float
    dictionary : (m, d) float array
        Atoms.
    next_atom, next_row : int
        Of ``dictionary`` and of ``gram``, the row to fetch; -1 for none.
    positive : None or True
        As for `largest`.

    Returns
    -------
    index, second : int
        As `largest`.
    """
    found = types.Tuple((types.intp, magnitude_type(p.dtype)))
    signature = found(
        p, gram, types.intp, p.dtype, basis, weights, types.intp, p.dtype, dictionary, types.intp, types.intp,
        positive,
    )  # fmt: skip

    def generate(context, builder, signature, arguments):
        kinds = signature.args
        v = _Vectors(context, builder, kinds[0].dtype, positive)
        p, gram, basis, weights, dictionary = (v.array(kinds[i], arguments[i]) for i in (0, 1, 4, 5, 8))
        row, factor, size = v.row(gram, arguments[2]), v.spread(arguments[3]), arguments[6]
        target, step = v.row(basis, size), v.spread(arguments[7])
        stored = ir.VectorType(context.get_data_type(kinds[1].dtype), v.lanes)
        directions = [cgutils.alloca_once(builder, v.floats) for _ in range(_VECTORS)]
        wanted = [
            (v.row(matrix, i), matrix, i) for matrix, i in ((dictionary, arguments[9]), (gram, arguments[10]))
        ]
        integer = isinstance(kinds[1].dtype, types.Integer)

        def load(row, column):
            values = v.load(row, column, stored)
            return builder.sitofp(values, v.floats) if integer else values

        def save(values, column):
            if integer:
                kind = ir.FunctionType(v.floats, [v.floats])
                rint = cgutils.get_or_insert_function(builder.module, kind, f"llvm.rint.v{v.lanes}f{v.bits}")
                values = builder.fptosi(builder.call(rint, [values]), v.integers)
                limits = v.same(-(2**15)), v.same(2**15 - 1)
                values = v.larger(v.smaller(values, limits[1]), limits[0])
                values = builder.trunc(values, stored)
            v.store(values, target, column)

        def ahead(block, n_blocks):
            for start, matrix, i in wanted:
                with builder.if_then(builder.icmp_signed(">=", i, i.type(0))):
                    _fetch_part(v, start, matrix, block, n_blocks)

        def change(columns):
            for direction, column in zip(directions, columns, strict=True):
                builder.store(builder.fmul(factor, load(row, column)), direction)
            with cgutils.for_range(builder, size) as loop:
                other = v.row(basis, loop.index)
                weight = v.spread(builder.load(v.at(weights.data, loop.index)))
                for direction, column in zip(directions, columns, strict=True):
                    left = v.take(builder.load(direction), weight, load(other, column))
                    builder.store(left, direction)
            for direction, column in zip(directions, columns, strict=True):
                values = builder.load(direction)
                save(values, column)
                left = v.take(v.load(p.data, column, v.floats), step, values)
                v.store(left, p.data, column)
                yield left

        return context.make_tuple(builder, signature.return_type, _walk(v, v.length(p), change, ahead))

    return signature, generate


def _fetch_part(v, start, matrix, block, n_blocks):
    """Fetch a part of a matrix's row: of ``n_blocks`` such parts the one numbered ``block``."""
    builder, number = v.builder, block.type
    n_bytes = builder.extract_value(matrix.strides, 0)
    part_bytes = builder.mul(n_blocks, number(_LINE_BYTES))
    n_lines = builder.sdiv(builder.add(n_bytes, builder.sub(part_bytes, number(1))), part_bytes)  # rounded up
    start = builder.bitcast(start, ir.IntType(8).as_pointer())
    first = builder.mul(block, n_lines)
    with cgutils.for_range(builder, n_lines) as loop:
        place = builder.mul(builder.add(first, loop.index), number(_LINE_BYTES))
        fetch_line(builder, v.at(start, place))
