"""Correlations of rounded numbers choose the same atoms.

Where the processor has no instruction for them, plain loops stand in for it.
"""

import numpy as np
import plain_rounded
import pytest
import reference
from numpy.testing import assert_allclose, assert_array_equal
from reference import products_of

from daskksvd.coding import code_block
from daskksvd.coding import products as coding
from daskksvd.kernels import rounded

torch = pytest.importorskip("torch", reason="its bfloat16 is compared with")


@pytest.fixture(autouse=True)
def instruction(monkeypatch):
    """The processor's, or a stand-in."""
    if not rounded.supported():
        for name in ("round_rows", "correlate"):
            for module in (rounded, coding):
                monkeypatch.setattr(module, name, getattr(plain_rounded, name))
        monkeypatch.setattr(coding, "supported", lambda: True)


@pytest.mark.skipif(not rounded.supported(), reason="the processor has no bfloat16 products")
@pytest.mark.parametrize(("n", "d"), [(1, 64), (7, 65), (40, 300)])
def test_the_stand_in_makes_the_same_bits(n, d):
    rng = np.random.default_rng(d)
    rows = (rng.standard_normal((n, d)) * 10.0 ** rng.integers(-6, 7, (n, 1))).astype(np.float32)
    atoms = rng.standard_normal((128, d)).astype(np.float32)
    found = []
    for kind in (rounded, plain_rounded):
        pairs, products = np.empty(rounded.pair_shape(n, d), np.uint16), np.empty((n, 128), np.float32)
        kind.round_rows(rows, pairs)
        kind.correlate(pairs.view(np.uint32), rounded.pack(atoms), products)
        found.append((pairs, products))
    for ours, theirs in zip(*found, strict=True):
        assert_array_equal(ours, theirs)


def as_bfloat16(array):
    return torch.from_numpy(array).bfloat16()


def both(atoms, *target):
    """Products with rounded correlations, and without."""
    products = products_of(atoms, *target)
    assert products.packed is not None
    full = products._replace(packed=None, doubt=None)
    return products, full._replace(gram=products.inner, scale=1.0) if products.inner.size else full


def sparse_rows(rng, atoms, n, k, noise):
    """Sums of k atoms with Gaussian coefficients, and noise of a part of their norm."""
    m, d = atoms.shape
    rows = np.stack([rng.standard_normal(k) @ atoms[rng.choice(m, k, replace=False)] for _ in range(n)])
    norms = np.linalg.norm(rows, axis=1, keepdims=True)
    return (rows + noise * norms * rng.standard_normal((n, d)) / np.sqrt(d)).astype(np.float32)


@pytest.mark.parametrize(("n", "d"), [(1, 64), (6, 65), (13, 2), (20, 1), (601, 130)])
def test_products_of_rounded_numbers(n, d):
    rng = np.random.default_rng(n)
    rows = (rng.standard_normal((n, d)) * 10.0 ** rng.integers(-6, 7, (n, 1))).astype(np.float32)
    atoms = rng.standard_normal((192, d)).astype(np.float32)
    pairs = np.empty(rounded.pair_shape(n, d), np.uint16)
    rounded.round_rows(rows, pairs)
    assert_array_equal(pairs[:, :d], as_bfloat16(rows).view(torch.uint16).numpy())
    products = np.full((n, 192), np.nan, np.float32)
    rounded.correlate(pairs.view(np.uint32), rounded.pack(atoms), products)
    left, right = (as_bfloat16(part).double().numpy() for part in (rows, atoms))
    assert np.all(np.abs(products - left @ right.T) <= 1e-5 * (np.abs(left) @ np.abs(right).T))
    # a row's products do not depend on those beside it
    for row in (0, n // 2, n - 1):
        alone = np.empty((1, 192), np.float32)
        rounded.correlate(pairs[row : row + 1].view(np.uint32), rounded.pack(atoms), alone)
        assert_array_equal(alone[0], products[row])


@pytest.mark.parametrize("large_gram", [False, True])
@pytest.mark.parametrize("rtol", [0.0, 0.1])
@pytest.mark.parametrize("noise", [0.0, 0.05, 1.0])
def test_the_same_codes_as_with_full_products(monkeypatch, noise, rtol, large_gram):
    if large_gram:
        monkeypatch.setattr(coding, "FLOAT_GRAM_ATOMS", 100)
    rng = np.random.default_rng(7)
    atoms = reference.unit_atoms(rng, 900, 300).astype(np.float32)
    rows = sparse_rows(rng, atoms, 1_000, 6, noise)
    products, full = both(atoms, 6, rtol)
    found, energy, explained = code_block(rows, products)
    expected, same_energy, same_explained = code_block(rows, full)
    assert_array_equal(energy, same_energy)
    alike = (np.sort(found.indices, 1) == np.sort(expected.indices, 1)).all(axis=1)
    assert alike.mean() >= (0.999 if noise else 0.99)  # without noise, almost nothing may be left of a row
    assert np.all(np.abs(explained - same_explained) <= np.where(alike, 2e-6, 1e-4) * energy)
    dense = [reference.dense(codes, 900)[alike] for codes in (found, expected)]
    assert_allclose(*dense, atol=2e-5 * np.abs(dense[0]).max())


def test_atoms_that_rounding_cannot_tell_apart():
    rng = np.random.default_rng(0)
    base = reference.unit_atoms(rng, 300, 200)
    close = base + 0.02 * reference.unit_atoms(rng, 300, 200)  # correlations differ by 2e-4
    atoms = np.concatenate([base, close]).astype(np.float32)
    atoms /= np.linalg.norm(atoms, axis=1, keepdims=True)
    rows = atoms[rng.permutation(600)] + 1e-3 * rng.standard_normal((600, 200)).astype(np.float32)
    products, full = both(atoms, 1)
    found, expected = (code_block(rows, which)[0].indices[:, 0] for which in (products, full))
    assert np.mean(found == expected) > 0.995
    # without a second look many of them would be taken for one another
    blind = products._replace(doubt=np.zeros_like(products.doubt))
    assert np.mean(code_block(rows, blind)[0].indices[:, 0] == expected) < 0.97


@pytest.mark.parametrize("k", [10, 40])
def test_atoms_that_are_all_alike(monkeypatch, k):
    """What rounding of inner products does wrong is carried from direction to direction."""
    rng = np.random.default_rng(8)
    atoms = rng.standard_normal((1024, 256)) + 3 * rng.standard_normal(256)
    atoms = (atoms / np.linalg.norm(atoms, axis=1, keepdims=True)).astype(np.float32)
    rows = (rng.standard_normal((500, 256)) + 50 * atoms.mean(axis=0)).astype(np.float32)
    monkeypatch.setattr(coding, "ROUNDED_WORK", 0)
    products, full = both(atoms, k)
    found, energy, explained = code_block(rows, products)
    expected, _, same = code_block(rows, full)
    assert np.mean((np.sort(found.indices, 1) == np.sort(expected.indices, 1)).all(axis=1)) > 0.98
    assert abs(np.mean((explained - same) / energy)) < 5e-6  # no worse on average
    left = rows - reference.dense(found, 1024) @ atoms.astype(np.float64)
    assert_allclose(explained / energy, 1 - (left**2).sum(axis=1) / energy, atol=2e-5)


def test_features_that_outshine_the_rest():
    """As some features of transformers do; the doubt knows which features the atoms live on."""
    rng = np.random.default_rng(1)
    size = np.ones(256)
    size[[3, 77]] = 60
    atoms = rng.standard_normal((600, 256)) * size
    atoms = (atoms / np.linalg.norm(atoms, axis=1, keepdims=True)).astype(np.float32)
    rows = (rng.standard_normal((1_000, 256)) * size).astype(np.float32)
    products, full = both(atoms, 4)
    found, _, explained = code_block(rows, products)
    expected, _, same = code_block(rows, full)
    assert np.mean((found.indices == expected.indices).all(axis=1)) > 0.99
    assert_allclose(explained.sum(), same.sum(), rtol=1e-6)


def test_rows_with_nothing_left_stop():
    rng = np.random.default_rng(2)
    atoms = reference.unit_atoms(rng, 700, 400).astype(np.float32)
    rows = sparse_rows(rng, atoms, 200, 2, 0.0)
    rows[5] = 0
    products, _ = both(atoms, 8)
    codes, energy, explained = code_block(rows, products)
    used = (codes.indices >= 0).sum(axis=1)
    assert used[5] == 0 and np.median(used) == 2
    large = np.where(codes.indices[:, 2:] >= 0, np.abs(codes.values[:, 2:]), 0)
    assert large.max() < 1e-5  # what rounding of single precision leaves, as with full products
    assert_allclose(explained, energy, rtol=1e-6)


def test_rows_that_no_atom_has_anything_in_common_with():
    rng = np.random.default_rng(3)
    atoms = np.pad(reference.unit_atoms(rng, 600, 300), ((0, 0), (0, 20))).astype(np.float32)
    rows = np.zeros((3, 320), np.float32)
    rows[0, 300:], rows[1, :300] = 1, atoms[7, :300]
    products, _ = both(atoms, 4)
    codes, _, explained = code_block(rows, products)
    assert_array_equal(codes.indices[:, 0], [-1, 7, -1])
    assert_allclose(explained, [0, 1, 0], atol=1e-6)


def test_bad_rows_are_told_by_their_energy():
    rng = np.random.default_rng(4)
    atoms = reference.unit_atoms(rng, 600, 300).astype(np.float32)
    rows = rng.standard_normal((9, 300)).astype(np.float32)
    clean = code_block(rows, both(atoms, 4)[0])
    rows[2, 7], rows[6, 0] = np.nan, np.inf
    codes, energy, _ = code_block(rows, both(atoms, 4)[0])
    good = np.isfinite(energy)
    assert good.tolist() == [row not in (2, 6) for row in range(9)]
    assert_array_equal(codes.indices[good], clean[0].indices[good])


@pytest.mark.parametrize(
    ("dtype", "width", "pursuit"), [("f8", 4, "omp"), ("f4", 4, "mp"), ("f4", 40, "omp")]
)
def test_where_full_products_stay(dtype, width, pursuit):
    atoms = reference.unit_atoms(np.random.default_rng(5), 600, 300).astype(dtype)
    assert products_of(atoms, width, 0.0, pursuit).packed is None


def test_processors_without_them(monkeypatch):
    atoms = reference.unit_atoms(np.random.default_rng(6), 600, 300).astype("f4")
    monkeypatch.setattr(coding, "supported", lambda: False)
    assert products_of(atoms, 4).packed is None
    monkeypatch.setattr(rounded.numba.config, "CPU_NAME", "generic")
    assert not rounded.supported()


def test_an_llvm_that_does_not_compile_it_is_not_asked(monkeypatch):
    monkeypatch.setattr(rounded.llvmlite.binding, "llvm_version_info", (15, 0, 7))
    assert not rounded.supported()
