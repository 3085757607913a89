"""Correlations of rounded numbers choose the same atoms, however they are made."""

import numpy as np
import pytest
import reference
from numpy.testing import assert_allclose, assert_array_equal
from reference import products_of

from daskksvd.coding import code_block
from daskksvd.coding import products as coding
from daskksvd.kernels import rounded

torch = pytest.importorskip("torch", reason="its bfloat16 is compared with")


@pytest.fixture(params=["amx", "avx512"])
def way(request):
    return request.param


@pytest.fixture(params=["instruction", "twin"], autouse=True)
def made_by(request, way, monkeypatch):
    """By the processor's instruction, or in plain loops that make the same bits."""
    if request.param == "instruction" and not rounded.native(way):
        pytest.skip(f"the processor has no instruction for {way}")
    if request.param == "twin":
        monkeypatch.setattr(rounded, "native", lambda way: False)


@pytest.mark.parametrize(("n", "d"), [(1, 64), (7, 65), (40, 300), (77, 96)])
def test_the_twin_makes_the_same_bits(n, d, way, monkeypatch):
    if not rounded.native(way):
        pytest.skip("there is nothing to compare it with")
    rng = np.random.default_rng(d)
    rows = (rng.standard_normal((n, d)) * 10.0 ** rng.integers(-6, 7, (n, 1))).astype(np.float32)
    atoms = rng.standard_normal((128, d)).astype(np.float32)
    ours = correlations(rows, atoms, way)
    monkeypatch.setattr(rounded, "native", lambda way: False)
    assert_array_equal(ours, correlations(rows, atoms, way))


def test_atoms_packed_where_the_instruction_is(way, monkeypatch):
    """And sent to a process that has not: it makes the same bits without."""
    if not rounded.native(way):
        pytest.skip("there is no instruction to pack for")
    rng = np.random.default_rng(1)
    rows, atoms = (rng.standard_normal((n, 70)).astype(np.float32) for n in (40, 128))
    packed = rounded.pack(atoms, way)
    expected = correlations(rows, atoms, way)
    monkeypatch.setattr(rounded, "native", lambda way: False)
    assert_array_equal(correlations(rows, atoms, way, packed), expected)


def correlations(rows, atoms, way, packed=None):
    pairs = np.empty(rounded.pair_shape(*rows.shape, way), np.uint16)
    rounded.round_rows(rows, pairs)
    products = np.full((len(rows), len(atoms)), np.nan, np.float32)
    rounded.correlate(pairs, packed or rounded.pack(atoms, way), products)
    return products


def as_bfloat16(array):
    return torch.from_numpy(array).bfloat16()


def both(atoms, way, *target):
    """Products with rounded correlations, and without."""
    products = products_of(atoms, *target, how=way)
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
def test_products_of_rounded_numbers(n, d, way):
    rng = np.random.default_rng(n)
    rows = (rng.standard_normal((n, d)) * 10.0 ** rng.integers(-6, 7, (n, 1))).astype(np.float32)
    atoms = rng.standard_normal((192, d)).astype(np.float32)
    pairs = np.empty(rounded.pair_shape(n, d, way), np.uint16)
    rounded.round_rows(rows, pairs)
    assert_array_equal(pairs[:, :d], as_bfloat16(rows).view(torch.uint16).numpy())
    assert not pairs[:, d:].any()
    products = correlations(rows, atoms, way)
    left, right = (as_bfloat16(part).double().numpy() for part in (rows, atoms))
    assert np.all(np.abs(products - left @ right.T) <= 1e-5 * (np.abs(left) @ np.abs(right).T))
    # a row's products do not depend on those beside it
    for row in (0, n // 2, n - 1):
        assert_array_equal(correlations(rows[row : row + 1], atoms, way)[0], products[row])


@pytest.mark.parametrize("large_gram", [False, True])
@pytest.mark.parametrize("rtol", [0.0, 0.1])
@pytest.mark.parametrize("noise", [0.0, 0.05, 1.0])
def test_the_same_codes_as_with_full_products(monkeypatch, noise, rtol, large_gram, way):
    if large_gram:
        monkeypatch.setattr(coding, "FLOAT_GRAM_ATOMS", 100)
    rng = np.random.default_rng(7)
    atoms = reference.unit_atoms(rng, 900, 300).astype(np.float32)
    rows = sparse_rows(rng, atoms, 1_000, 6, noise)
    products, full = both(atoms, way, 6, rtol)
    found, energy, explained = code_block(rows, products)
    expected, same_energy, same_explained = code_block(rows, full)
    assert_array_equal(energy, same_energy)
    alike = (np.sort(found.indices, 1) == np.sort(expected.indices, 1)).all(axis=1)
    assert alike.mean() >= (0.999 if noise else 0.99)  # without noise, almost nothing may be left of a row
    assert np.all(np.abs(explained - same_explained) <= np.where(alike, 2e-6, 1e-4) * energy)
    dense = [reference.dense(codes, 900)[alike] for codes in (found, expected)]
    assert_allclose(*dense, atol=2e-5 * np.abs(dense[0]).max())


def test_atoms_that_rounding_cannot_tell_apart(way):
    rng = np.random.default_rng(0)
    base = reference.unit_atoms(rng, 300, 200)
    close = base + 0.02 * reference.unit_atoms(rng, 300, 200)  # correlations differ by 2e-4
    atoms = np.concatenate([base, close]).astype(np.float32)
    atoms /= np.linalg.norm(atoms, axis=1, keepdims=True)
    rows = atoms[rng.permutation(600)] + 1e-3 * rng.standard_normal((600, 200)).astype(np.float32)
    products, full = both(atoms, way, 1)
    found, expected = (code_block(rows, which)[0].indices[:, 0] for which in (products, full))
    assert np.mean(found == expected) > 0.995
    # without a second look many of them would be taken for one another
    blind = products._replace(doubt=np.zeros_like(products.doubt))
    assert np.mean(code_block(rows, blind)[0].indices[:, 0] == expected) < 0.97


def test_a_last_positive_atom_is_found_where_rounding_hides_it(way):
    """All but one correlate negatively, and that one by less than rounding may be wrong."""
    rng = np.random.default_rng(7)
    atoms = np.linalg.qr(rng.standard_normal((64, 64)))[0].astype(np.float32)
    codes, last = -rng.uniform(1, 2, (400, 64)), rng.integers(0, 64, 400)
    codes[np.arange(400), last] = 2e-3
    rows = (codes @ atoms).astype(np.float32)
    found, *_ = code_block(rows, products_of(atoms, 5, nonnegative=True, how=way))
    assert_array_equal(found.indices[:, 0], last)
    assert_allclose(found.values[:, 0], 2e-3, rtol=1e-2)
    assert (found.indices[:, 1:] < 0).all()
