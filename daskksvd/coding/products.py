"""A dictionary made ready for coding: its products, and blocks of rows coded with them."""

from typing import NamedTuple

import numpy as np

from ..execution.threads import spread_over
from ..kernels.matching import mp
from ..kernels.nonnegative import pursue_nonnegative
from ..kernels.precise import correct_explained, pursue
from ..kernels.pursuit import omp
from ..kernels.rounded import Packed, correlate, pack, pair_shape, round_products, round_rows
from ..kernels.rows import squared_norms, weighted_norms
from ..kernels.symmetric import mirror
from ..machine.blas import PRODUCT_ROWS, THREADED_PRODUCT, product_by_rows, single_threaded_blas
from ..machine.buffers import aligned
from ..rows import Transform
from .codes import Coded, Codes, join_codes
from .how import PLAIN, How, choose_products, device_here
from .oneshot import OneShot, choose, refit, score, unused_last
from .rules import DISTANCE, MP_STEPS_PER_COEF, NEARLY_ALL, PIVOT_MIN, ROUNDING
from .space import Space, kept_space
from .target import SparsityTarget

ROUNDED_DOUBT = 2.0**-6
"""Atoms whose rounded correlations with a row differ by less than this, as a part
of the root of the sum of squared products, are compared in full precision. Each of
the two factors is wrong by 0.0017 (root mean square, measured), the difference of
two correlations by 0.0033: this is 4.7 times as much."""

ATOM_PAD = 64
"""Dictionaries are padded with zero atoms to a multiple of this, so that the
kernels' inner loops run on whole vector registers. A zero atom correlates
with nothing and is never chosen."""

FLOAT_GRAM_ATOMS = 8192
"""Atoms up to which the Gram matrix is kept in the dtype of the computation,
268 MB in float32. That of more is rounded to 16 bits, 537 MB for 16,384."""

GRAM_UNIT = 2.0**-14
"""Unit of rounded inner products of unit atoms, so the error is 3e-5 at most. It
can only swap atoms that a row correlates with as closely as that."""

GRAM_ROWS = (64, 256)
"""Least and most rows of a Gram matrix made by one matrix product."""

GRAM_BYTES = 2**22
"""Size of such a product, and as many are made at a time as threads."""

TRANSPOSED_BYTES = 2**18
"""Dictionaries up to this size are kept transposed, too: their product with 1,024 rows of
128 features takes 0.45 us a row where that with the others takes 0.47 to 0.55, with the
same bits. Larger ones gain less, and take long to transpose."""

BLOCK_BYTES = 6 * 2**20
"""Size aimed at for one block's correlations (rows x atoms): a compromise
between long matrix products and staying near the second-level cache."""

BLOCK_ROWS = (64, 1024)
"""Least and most rows coded by one matrix product."""


class Products(NamedTuple):
    """A `SparseCoder` made ready, once in a process. Arrays are read-only.

    Attributes
    ----------
    dictionary : (p, d') float array
        Unit atoms, padded with zero rows to a multiple of `ATOM_PAD`.
    gram : (p, p) float or int16 array
        Inner products of the padded atoms, divided by ``scale``.
    scale : float
        1, or the unit of inner products rounded to 16 bits.
    inner : (p, p) float array
        Inner products in full precision, maybe ``gram`` itself; empty where there are too many atoms.
    columns : (d', p) float array
        The transposed dictionary, with which rows are multiplied.
    n_components : int
        Number of real atoms.
    transform : rows.Transform
        In the dtype of the dictionary.
    target : SparsityTarget
    packed : kernels.rounded.Packed or None
        The atoms rounded to bfloat16, where rows are correlated with those.
    doubt : (d',) float array or None
        Weights of the squared features of a row that add up to the square of
        how wrong its rounded correlations may be.
    encoder : OneShot or None
        With which rows are coded in place of pursuit.
    prefixes : tuple of int
        See `SparseCoder`.
    """

    dictionary: np.ndarray
    gram: np.ndarray
    scale: float
    inner: np.ndarray
    columns: np.ndarray
    n_components: int
    transform: Transform
    target: SparsityTarget
    packed: Packed | None = None
    doubt: np.ndarray | None = None
    encoder: OneShot | None = None
    prefixes: tuple[int, ...] = ()


def make_products(coder, n_threads=1):
    """Pad the dictionary (m, d') of a `SparseCoder` and take its Gram matrix.

    Orthogonal matching pursuit may choose atoms by rounded numbers: by
    correlations of rounded rows and atoms, where the processor is faster at
    those, and by inner products of 16 bits, so that fewer bytes of them come
    from far. Of a large dictionary there are no others.

    ``n_threads`` may be used for it. Where the coder names a device, its
    `device.DeviceProducts` are made instead.
    """
    how = coder.how or How(choose_products(coder))
    device = device_here(how.device)
    if device is not None:
        from .device import DeviceProducts  # which imports PyTorch

        return DeviceProducts(coder, device)
    dictionary, target, way = coder.dictionary, coder.target, how.products
    m, d = dictionary.shape
    p = -(-m // ATOM_PAD) * ATOM_PAD
    padded = aligned((p, d), dictionary.dtype)
    padded[:m], padded[m:] = dictionary, 0
    encoder = None if coder.encoder is None else coder.encoder.cast(padded.dtype)
    rounded = ()
    if way != PLAIN:
        rounded = (pack(padded, way, aligned), ROUNDED_DOUBT**2 * np.square(dictionary).mean(axis=0))
    inner = np.empty((0, 0), padded.dtype)
    if p <= FLOAT_GRAM_ATOMS or target.pursuit == "mp":
        inner = aligned((p, p), padded.dtype)
    gram, unit = inner, 1.0
    if rounded or not inner.size:
        gram, unit = aligned((p, p), np.int16), GRAM_UNIT
    columns = padded.T
    if padded.nbytes <= TRANSPOSED_BYTES:
        columns = aligned((d, p), padded.dtype)
        for start in range(0, p, ATOM_PAD):  # by parts that stay near, in half the time
            columns[:, start : start + ATOM_PAD] = padded[start : start + ATOM_PAD].T
    _fill_gram(padded, columns, inner, gram, n_threads)
    transform = coder.transform.cast(dictionary.dtype)
    products = Products(padded, gram, unit, inner, columns, m, transform, target, *rounded)
    return freeze(products._replace(encoder=encoder, prefixes=coder.prefixes))


def _fill_gram(atoms, columns, inner, gram, n_threads):
    """Fill ``inner``, unless empty, and ``gram``, unless the same, with inner products of atoms.

    A large one by some rows up to the diagonal, on several threads, and mirrored:
    cut alike for any number of threads, so that no bit depends on that. They are
    not BLAS's own threads, which keep cores busy for a while after. NumPy makes the
    product of a matrix with its own transpose by halves and mirrors it, which takes
    twice as long at 256 atoms; with a copy it does not, but some of BLAS's kernels
    then sum (i, j) and (j, i) in different orders, and one of them is kept.
    """
    p, d = atoms.shape
    most = int(np.clip(GRAM_BYTES // (p * atoms.itemsize), *GRAM_ROWS))
    if p * p * d < THREADED_PRODUCT:
        most, n_threads = p, 1

    def fill(start):
        stop = min(start + most, p)
        products = inner[start:stop, :stop] if inner.size else np.empty((stop - start, stop), atoms.dtype)
        rows = atoms[start:stop] if start or columns.flags.c_contiguous else atoms[:stop].copy()
        np.matmul(rows, columns[:, :stop], out=products)
        if inner.size:
            mirror(inner, start, stop)
        if gram is not inner:
            round_products(products, 1 / GRAM_UNIT, gram[start:stop, :stop])
            mirror(gram, start, stop)

    with single_threaded_blas(), spread_over(n_threads) as spread:
        list(spread(fill, range(0, p, most)[::-1]))  # the longest first


def freeze(products):
    """Mark arrays of products read-only.

    They arrive so from another process; marking them here as well means that
    every kernel is compiled for one array type only.
    """
    for array in (*products, *(products.packed or ())):
        if isinstance(array, np.ndarray):
            array.flags.writeable = False
    return products


def block_rows(n_components, itemsize):
    """Rows coded by one matrix product."""
    least, most = BLOCK_ROWS
    rows = min(max(BLOCK_BYTES // (n_components * itemsize), least), most)
    return rows // PRODUCT_ROWS * PRODUCT_ROWS


def iterate_blocks(n_rows, products):
    """Slices that cut ``n_rows`` rows into blocks for `code_block`."""
    step = block_rows(len(products.gram), products.dictionary.itemsize)
    for start in range(0, n_rows, step):
        yield slice(start, min(start + step, n_rows))


def code_block(rows, products, space=None):
    """Code one block of prepared rows.

    Parameters
    ----------
    rows : (n, d') float array
        Rows in the space of the dictionary, of its dtype.
    products : Products
    space : Space, optional
        Memory to be used again by the next block.

    Returns
    -------
    codes : Codes
    energy : (n,) float64 array
        Squared norms of the rows.
    explained : (n,) float64 array
        The part of ``energy`` that the codes capture. The squared residual
        norm is the difference.
    """
    freeze(products)
    if products.encoder is not None:
        return _code_once(rows, products)
    space = Space() if space is None else space
    dtype = products.dictionary.dtype
    width = products.target.n_nonzero_coefs
    n, p = len(rows), len(products.dictionary)
    energy = np.empty(n)
    squared_norms(rows, energy)
    correlations = space.array("correlations", (n, p), dtype)
    doubts = np.empty(0, dtype)
    with np.errstate(invalid="ignore", over="ignore"):  # the energy tells of bad rows
        if products.packed is None:
            product_by_rows(rows, products.columns, correlations)
        else:
            doubts = correlate_rounded(rows, products, correlations, space)
    codes = Codes(np.empty((n, width), np.int32), np.empty((n, width), dtype))
    explained, hard = np.empty(n), np.empty(n, bool)
    target, eps = products.target, float(np.finfo(dtype).eps)
    stops = (target.rtol**2, float(target.threshold), ROUNDING * eps)
    is_omp = target.pursuit == "omp"
    if is_omp:
        pursuit, extra = omp, space.array("bases", (2, width, p), products.gram.dtype)
        atoms = (products.gram, dtype.type(products.scale), products.inner, products.dictionary, rows, doubts)
    else:
        pursuit, extra, atoms = mp, width * MP_STEPS_PER_COEF, (products.gram,)
    stages = target.stages(products.prefixes, products.n_components, p)
    pursuit(
        correlations, *atoms, energy, *stops, PIVOT_MIN, extra, target.positive, *(stages if is_omp else ()),
        *codes, hard, explained,
    )  # fmt: skip
    if hard.any():
        precise = pursue_nonnegative if target.nonnegative else pursue
        precise(
            rows, products.dictionary, products.n_components, energy, *stops,
            max((DISTANCE * eps) ** 2, 4 * float(np.finfo(float).eps)), hard, is_omp, *stages, *codes,
            explained,
        )  # fmt: skip
    correct_explained(rows, products.dictionary, *codes, energy, NEARLY_ALL * eps, explained)
    return codes, energy, explained


def _code_once(rows, products):
    """`code_block` by the scores of an encoder."""
    dtype, positive = products.dictionary.dtype, products.target.nonnegative
    energy = np.empty(len(rows))
    squared_norms(rows, energy)
    with np.errstate(invalid="ignore", over="ignore"):  # the energy tells of bad rows
        chosen = choose(score(rows, products.encoder), products.encoder, products.target)
        values, explained = refit(rows, products.dictionary, products.inner, *chosen, positive)
    parts = unused_last(chosen[0], values.astype(dtype))
    codes = Codes(*(np.ascontiguousarray(part[:, : products.target.n_nonzero_coefs]) for part in parts))
    eps = float(np.finfo(dtype).eps)
    correct_explained(rows, products.dictionary, *codes, energy, NEARLY_ALL * eps, explained)
    return codes, energy, explained


def correlate_rounded(rows, products, correlations, space):
    """Correlate rows with atoms in rounded numbers.

    Returns
    -------
    doubts : (n,) float array
        By how much the correlations of two atoms with a row are wrong towards
        one another at most, but for chance: an error has the variance of the
        sum of squares of the products, and the atoms' mean square is put for
        the squares of one of them.
    """
    pairs = space.array("pairs", pair_shape(*rows.shape, products.packed.way), np.uint16)
    round_rows(rows, pairs)
    correlate(pairs, products.packed, correlations)
    doubts = np.empty(len(rows), rows.dtype)
    weighted_norms(rows, products.doubt, doubts)
    return doubts


def code_blocks(raw, products):
    """Prepare and code rows block by block; yields `Coded`.

    Parameters
    ----------
    raw : (n, d) array
        Samples as they are stored.
    products : Products or device.DeviceProducts
    """
    if not isinstance(products, Products):
        yield from (block.here() for _, block in products.code([raw]))
        return
    dtype, d = products.dictionary.dtype, products.dictionary.shape[1]
    with kept_space() as space:
        for block in iterate_blocks(len(raw), products):
            work = space.array("rows", (block.stop - block.start, d), dtype)
            rows = products.transform.apply(raw[block], dtype, work)
            yield Coded(block.start, rows, *code_block(rows, products, space))


def code_rows(raw, products, offset=0):
    """Fixed-width codes of raw rows; ``offset`` is the number of the first."""
    parts = []
    for block in code_blocks(raw, products):
        check_finite(block, offset)
        parts.append(block.codes)
    return join_codes(parts)


def check_finite(block, offset):
    """Refuse rows that are not finite in a `Coded` block; ``offset`` is the number of the first row given."""
    if not np.isfinite(block.energy).all():
        row = offset + block.start + int(np.argmax(~np.isfinite(block.energy)))
        raise ValueError(
            f"array has a row with NaN, infinite or too large values (row {row}); all values must be finite"
        )
