"""Products of numbers rounded to bfloat16 with the tiles of AMX; see `rounded`.

A tile is a register of 16 rows of 64 bytes. One instruction multiplies 16 rows
of 32 features with 16 atoms, and adds the products to a tile of sums.
"""

import ctypes
import functools
import platform

import numpy as np
from llvmlite import ir
from numba import types
from numba.core import cgutils
from numba.extending import intrinsic

from .avx512 import PANEL
from .jit import kernel

FEATURES = 32
"""Features that one instruction goes through."""

_SIDE = 16
"""Rows of a tile, and numbers of 32 bits in each."""

_BLOCK = 2 * _SIDE
"""Rows, and atoms, that an inner loop works on: four tiles of sums, two of rows, two of atoms."""

_ARCH_PRCTL, _REQUEST, _TILE_DATA = 158, 0x1023, 18
"""Linux's call by which a process asks for a part of the processor's state, and the part."""


@functools.cache
def permitted():
    """Ask the operating system for the registers; whether this process may use them."""
    if platform.system() != "Linux" or platform.machine() != "x86_64":
        return False
    try:
        return ctypes.CDLL(None).syscall(_ARCH_PRCTL, _REQUEST, _TILE_DATA) == 0
    except (OSError, AttributeError):
        return False


def _configuration():
    """What the processor is told of the tiles: all eight are of 16 rows of 64 bytes."""
    told = np.zeros(64, np.uint8)
    told[0] = 1  # the kind of configuration, of which there is one
    told[16:32].view(np.uint16)[:] = 4 * _SIDE
    told[48:56] = _SIDE
    return told


_CONFIGURATION = _configuration()

_BYTE, _WORD = ir.IntType(8), ir.IntType(64)
_POINTER = _BYTE.as_pointer()


def _call(builder, name, kinds, arguments):
    kind = ir.FunctionType(ir.VoidType(), kinds)
    builder.call(cgutils.get_or_insert_function(builder.module, kind, f"llvm.x86.{name}"), arguments)


@intrinsic
def _configure(typing_context, told):
    def generate(context, builder, signature, arguments):
        array = context.make_array(signature.args[0])(context, builder, arguments[0])
        _call(builder, "ldtilecfg", [_POINTER], [builder.bitcast(array.data, _POINTER)])
        return context.get_dummy_value()

    return types.void(told), generate


@intrinsic
def _release(typing_context):
    def generate(context, builder, signature, arguments):
        _call(builder, "tilerelease", [], [])
        return context.get_dummy_value()

    return types.void(), generate


@intrinsic
def _multiply(typing_context, pairs, row, packed, panel, first, products, to_row, to_column):
    """Multiply 32 rows from ``row`` on with 32 atoms from ``first`` of a panel on.

    The products are stored from ``products[to_row, to_column]`` on.
    """
    signature = types.void(
        pairs, types.intp, packed, types.intp, types.intp, products, types.intp, types.intp
    )

    def generate(context, builder, signature, arguments):
        pairs, packed, products = (
            context.make_array(signature.args[place])(context, builder, arguments[place])
            for place in (0, 2, 5)
        )
        _, row, _, panel, first, _, to_row, to_column = arguments
        n_pairs = cgutils.unpack_tuple(builder, pairs.shape, 2)[1]
        n_atoms = cgutils.unpack_tuple(builder, products.shape, 2)[1]
        number = n_pairs.type

        def at(data, place):
            return builder.bitcast(builder.gep(data, [place]), _POINTER)

        def load(tile, data, place, stride):
            _call(builder, "tileloadd64", [_BYTE, _POINTER, _WORD], [_BYTE(tile), at(data, place), stride])

        def add_products(sums, rows, atoms):
            _call(builder, "tdpbf16ps", [_BYTE] * 3, [_BYTE(sums), _BYTE(rows), _BYTE(atoms)])

        for sums in range(4):
            _call(builder, "tilezero", [_BYTE], [_BYTE(sums)])
        rows = [builder.mul(builder.add(row, number(r)), n_pairs) for r in (0, _SIDE)]
        atoms = builder.add(builder.mul(builder.mul(panel, n_pairs), number(PANEL)), first)
        row_bytes, panel_bytes = builder.mul(n_pairs, number(4)), number(4 * PANEL)
        with cgutils.for_range(builder, builder.sdiv(n_pairs, number(_SIDE))) as loop:
            pair = builder.mul(loop.index, number(_SIDE))
            line = builder.add(atoms, builder.mul(pair, number(PANEL)))
            load(4, pairs.data, builder.add(rows[0], pair), row_bytes)
            load(6, packed.data, line, panel_bytes)
            add_products(0, 4, 6)
            load(7, packed.data, builder.add(line, number(_SIDE)), panel_bytes)
            add_products(1, 4, 7)
            load(5, pairs.data, builder.add(rows[1], pair), row_bytes)
            add_products(2, 5, 6)
            add_products(3, 5, 7)
        for sums in range(4):
            target = builder.mul(builder.add(to_row, number(sums // 2 * _SIDE)), n_atoms)
            target = builder.add(target, builder.add(to_column, number(sums % 2 * _SIDE)))
            place = at(products.data, target)
            stride = builder.mul(n_atoms, number(4))
            _call(builder, "tilestored64", [_BYTE, _POINTER, _WORD], [_BYTE(sums), place, stride])
        return context.get_dummy_value()

    return signature, generate


@kernel
def _correlate(pairs, packed, products, rest, sums, told):
    _configure(told)
    n = pairs.shape[0]
    whole = n - n % _BLOCK
    for panel in range(packed.shape[0]):  # which stays in the second-level cache
        for row in range(0, whole, _BLOCK):
            for first in range(0, PANEL, _BLOCK):
                _multiply(pairs, row, packed, panel, first, products, row, panel * PANEL + first)
        if whole < n:
            for first in range(0, PANEL, _BLOCK):
                _multiply(rest, 0, packed, panel, first, sums, 0, first)
            for row in range(whole, n):
                for atom in range(PANEL):
                    products[row, panel * PANEL + atom] = sums[row - whole, atom]
    _release()


def correlate(pairs, packed, products):
    """Products of rounded rows and atoms.

    Parameters
    ----------
    pairs : (n, pairs) uint32 array
        Two features in each; a multiple of 16 of them.
    packed : (p / 64, pairs, 64) uint32 array
    products : (n, p) float32 array
        Filled.
    """
    n = len(pairs)
    rest = np.zeros((_BLOCK, pairs.shape[1]), np.uint32)  # the last rows, and zeros
    if n % _BLOCK:
        rest[: n % _BLOCK] = pairs[n - n % _BLOCK :]
    _correlate(pairs, packed, products, rest, np.empty((_BLOCK, PANEL), np.float32), _CONFIGURATION)
