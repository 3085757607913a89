"""Matrix products of numbers rounded to bfloat16, summed in single precision.

Numbers of 8 bits with the exponent of a single. Some processors add up
products of them at several times the rate of single precision, of which
NumPy's BLAS makes no use. They differ in the order in which they add, so
there are two ways:

"avx512"
    ``VDPBF16PS`` of AVX-512 BF16: pair after pair of features is added, the
    second of each pair first.
"amx"
    ``TDPBF16PS`` of AMX: of 32 features the even ones are added, and the odd
    ones, then both, then those to what is there.

Each has a twin in plain loops, which makes the same bits on any processor
(but for numbers under 1e-38, which the instructions take for zero): what was
begun on one machine goes on on another.
"""

from typing import NamedTuple

import llvmlite.binding
import numpy as np

from . import amx, avx512
from .avx512 import PANEL
from .jit import host_has, kernel

_LLVM = (20,)
"""The first version that compiles the instructions; 15, which Numba 0.61 brings, ends the process."""


class _Way(NamedTuple):
    """One way to add up.

    Attributes
    ----------
    feature : str
        Of the processor, as LLVM names it.
    permitted : callable
        Whether the operating system lets a process use it.
    features : int
        The number of features is brought to a multiple of this by zeros.
    correlate, twin : callable
        ``correlate(pairs, packed, products)``: with the instruction, and on any processor.
    """

    feature: str
    permitted: object
    features: int
    correlate: object
    twin: object


def native(way):
    """Whether this processor, as Numba compiles for it, has the instruction of a way."""
    if llvmlite.binding.llvm_version_info < _LLVM:
        return False
    kind = WAYS[way]
    return host_has(kind.feature) and kind.permitted()


def native_ways() -> tuple[str, ...]:
    """Names of the ways for which this processor has instructions."""
    return tuple(way for way in WAYS if native(way))


@kernel
def _round(bits, out):
    n, d = bits.shape
    for row in range(n):
        source, target = bits[row], out[row]
        for f in range(d):
            b = source[f]
            target[f] = np.uint16(
                (b + np.uint32(0x7FFF) + ((b >> np.uint32(16)) & np.uint32(1))) >> np.uint32(16)
            )
        for f in range(d, out.shape[1]):
            target[f] = 0


def round_rows(rows, out):
    """Round float32 rows (n, d) to bfloat16: their bits, into ``out`` of `pair_shape`, uint16."""
    _round(rows.view(np.uint32), out)


@kernel
def round_products(products, factor, out):
    """Round numbers (n, m) times ``factor`` to 16 bits; they must not be too large for those."""
    for row in range(products.shape[0]):
        source, target = products[row], out[row]
        for i in range(source.shape[0]):
            target[i] = np.int16(np.rint(source[i] * source.dtype.type(factor)))


def pair_shape(n, d, way):
    """Shape of n rows of d features as `correlate` takes them."""
    features = WAYS[way].features
    return n, -(-d // features) * features


class Packed(NamedTuple):
    """Atoms rounded, in the order in which `correlate` reads them.

    Attributes
    ----------
    way : str
    atoms : (p / 64, pairs, 64) uint32 array, or (p / 64, features, 64) float32 array
        Two neighbouring features of an atom in each, for the instruction; or
        one, for its twin.
    """

    way: str
    atoms: np.ndarray


def pack(dictionary, way, empty=np.empty):
    """Atoms (p, d) rounded; returns `Packed`.

    Parameters
    ----------
    dictionary : (p, d) float32 array
        p is a multiple of `PANEL`.
    way : str
    empty : callable
        Makes the array that is returned, from shape and dtype.
    """
    rounded = np.empty(pair_shape(*dictionary.shape, way), np.uint16)
    round_rows(dictionary, rounded)
    numbers = rounded.view(np.uint32) if native(way) else _single(rounded)
    numbers = numbers.reshape(-1, PANEL, numbers.shape[1]).transpose(0, 2, 1)
    packed = empty(numbers.shape, numbers.dtype)
    packed[...] = numbers
    return Packed(way, packed)


def _single(rounded):
    """The numbers of bits of bfloat16, in single precision."""
    return (rounded.astype(np.uint32) << np.uint32(16)).view(np.float32)


def correlate(pairs, packed, products):
    """Products of rounded rows and atoms.

    Parameters
    ----------
    pairs : (n, features) uint16 array
        Rows from `round_rows`.
    packed : Packed
    products : (n, p) float32 array
        Filled. A row's products do not depend on the other rows.
    """
    way, atoms = WAYS[packed.way], packed.atoms
    if atoms.dtype == np.uint32 and native(packed.way):
        way.correlate(pairs.view(np.uint32), atoms, products)
        return
    if atoms.dtype == np.uint32:  # packed in another process, for an instruction that this one has not
        halves = atoms.view(np.uint16).reshape(*atoms.shape, 2).transpose(0, 1, 3, 2)
        atoms = _single(np.ascontiguousarray(halves).reshape(len(atoms), -1, PANEL))
    way.twin(_single(pairs), atoms, products)


@kernel
def _twin_of_avx512(rows, atoms, products):
    products[:] = 0
    for panel in range(atoms.shape[0]):
        for row in range(rows.shape[0]):
            total = products[row, panel * PANEL : (panel + 1) * PANEL]
            for pair in range(0, rows.shape[1], 2):
                for feature in (pair + 1, pair):
                    factor, line = rows[row, feature], atoms[panel, feature]
                    for atom in range(PANEL):
                        total[atom] += factor * line[atom]


@kernel
def _twin_of_amx(rows, atoms, products):
    products[:] = 0
    even, odd = np.empty(PANEL, np.float32), np.empty(PANEL, np.float32)
    for panel in range(atoms.shape[0]):
        for row in range(rows.shape[0]):
            total = products[row, panel * PANEL : (panel + 1) * PANEL]
            for first in range(0, rows.shape[1], amx.FEATURES):
                even[:] = 0
                odd[:] = 0
                for feature in range(first, first + amx.FEATURES, 2):
                    a, b = rows[row, feature], rows[row, feature + 1]
                    line, other = atoms[panel, feature], atoms[panel, feature + 1]
                    for atom in range(PANEL):
                        even[atom] += a * line[atom]
                        odd[atom] += b * other[atom]
                for atom in range(PANEL):
                    total[atom] += even[atom] + odd[atom]


WAYS = {
    "amx": _Way("amx-bf16", amx.permitted, amx.FEATURES, amx.correlate, _twin_of_amx),
    "avx512": _Way("avx512bf16", lambda: True, 2, avx512.correlate, _twin_of_avx512),
}
"""The fastest first."""
