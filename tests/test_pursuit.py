"""The coding kernels against scikit-learn and textbook loops."""

import itertools

import numpy as np
import pytest
import reference
import scipy.sparse
import sparse
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.testing import assert_allclose, assert_array_equal
from reference import products_of
from sklearn.linear_model import orthogonal_mp_gram

from daskksvd.coding import code_block, code_rows, codes_to_coo, iterate_blocks, reconstruct
from daskksvd.coding.rules import MP_STEPS_PER_COEF, PIVOT_MIN
from daskksvd.kernels.symmetric import mirror
from daskksvd.rows import Transform


def code(rows, atoms, k, rtol=0.0, pursuit="omp"):
    return code_block(rows, products_of(atoms, k, rtol, pursuit))


def supports(codes):
    return [[int(atom) for atom in support if atom >= 0] for support in codes.indices]


def residual_energy(rows, atoms, codes):
    left = rows.astype(np.float64) - reference.dense(codes, len(atoms)) @ atoms.astype(np.float64)
    return np.einsum("ij,ij->i", left, left)


@st.composite
def problems(draw, most_atoms=90):
    """Rows, atoms and k: over- and undercomplete, plain and coherent."""
    d = draw(st.integers(2, 40))
    m = draw(st.integers(1, most_atoms))
    k = draw(st.integers(1, min(m, d, 12)))
    n = draw(st.integers(1, 12))
    rng = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    atoms = reference.unit_atoms(rng, m, d, common=draw(st.sampled_from([0.0, 0.5, 1.0])))
    return rng.standard_normal((n, d)) * 10.0 ** draw(st.integers(-3, 3)), atoms, k


# --------------------------------------------------------- against references


@settings(max_examples=80)
@given(problems())
def test_omp_is_textbook_omp(problem):
    rows, atoms, k = problem
    codes, energy, explained = code(rows, atoms, k)
    for row, y in enumerate(rows):
        support, coefs = reference.omp(y, atoms, k)
        found = supports(codes)[row]
        if len(found) < len(support):  # stopped at a pivot: the rest must be nearly in the span
            nearest = atoms[support[len(found)]]
            basis = atoms[found].T
            off = nearest - basis @ np.linalg.lstsq(basis, nearest, rcond=None)[0]
            assert off @ off < PIVOT_MIN * 1.001
            support, coefs = reference.omp(y, atoms, len(found))
        assert found == support
        assert_allclose(codes.values[row, : len(coefs)], coefs, rtol=1e-6, atol=1e-9 * np.abs(y).max())
        assert (codes.values[row, len(coefs) :] == 0).all()
    assert_allclose(energy, (rows**2).sum(axis=1))
    assert_allclose(energy - explained, residual_energy(rows, atoms, codes), atol=1e-9 * energy.max())


@settings(max_examples=80)
@given(problems())
def test_mp_is_matching_pursuit_with_a_refit(problem):
    rows, atoms, k = problem
    codes, energy, explained = code(rows, atoms, k, pursuit="mp")
    for row, y in enumerate(rows):
        support, coefs = reference.mp(y, atoms, k)
        if np.linalg.svd(atoms[support], compute_uv=False)[-1] ** 2 < 2 * PIVOT_MIN:
            continue  # a dependent atom may drop out: see the test of that
        assert supports(codes)[row] == support
        assert_allclose(codes.values[row, : len(coefs)], coefs, rtol=1e-6, atol=1e-9 * np.abs(y).max())
        assert (codes.indices[row, len(coefs) :] == -1).all()
    assert_allclose(energy - explained, residual_energy(rows, atoms, codes), atol=1e-9 * energy.max())


@settings(max_examples=80)
@given(problems(), st.sampled_from(["omp", "mp"]), st.sampled_from([0.0, 0.2]))
def test_single_precision_makes_no_wrong_choice(problem, pursuit, rtol):
    rows, atoms, k = problem
    rows, atoms = rows.astype(np.float32), atoms.astype(np.float32)
    codes, energy, explained = code(rows, atoms, k, rtol, pursuit)
    assert codes.values.dtype == np.float32
    exact = atoms.astype(np.float64)
    for row, y in enumerate(rows.astype(np.float64)):
        found = supports(codes)[row]
        assert len(set(found)) == len(found)
        coefs = np.linalg.lstsq(exact[found].T, y, rcond=None)[0]
        smallest = np.linalg.svd(exact[found], compute_uv=False)[-1]
        tolerance = 2e-5 / smallest**2 * np.linalg.norm(y)
        assert_allclose(codes.values[row, : len(found)], coefs, atol=tolerance)
        if pursuit == "mp":
            continue
        residual = y
        for step, atom in enumerate(found):
            correlation = np.abs(exact @ residual)
            assert correlation[atom] >= correlation.max() - 1e-5 * np.linalg.norm(y)
            assert np.linalg.norm(residual) > rtol * np.linalg.norm(y) * (1 - 1e-3)
            chosen = exact[found[: step + 1]]
            residual = y - np.linalg.lstsq(chosen.T, y, rcond=None)[0] @ chosen
    # an atom nearly in the span of the others makes 1 / sqrt(PIVOT_MIN) of the rounding
    assert_allclose(energy - explained, residual_energy(rows, atoms, codes), atol=1e-4 * energy.max())


@pytest.mark.parametrize("k", [1, 2, 5, 9])
def test_omp_agrees_with_scikit_learn(k):
    rng = np.random.default_rng(k)
    atoms = reference.unit_atoms(rng, 70, 24)
    rows = rng.standard_normal((40, 24))
    codes, _, _ = code(rows, atoms, k)
    expected = orthogonal_mp_gram(atoms @ atoms.T, atoms @ rows.T, n_nonzero_coefs=k).T
    assert_allclose(reference.dense(codes, 70), expected, atol=1e-10)


@pytest.mark.parametrize("rtol", [0.05, 0.3, 0.7])
def test_rtol_agrees_with_scikit_learn(rtol):
    rng = np.random.default_rng(3)
    atoms = reference.unit_atoms(rng, 50, 16)
    rows = rng.standard_normal((30, 16)) * np.exp(rng.standard_normal((30, 1)))
    codes, _, _ = code(rows, atoms, 16, rtol)
    for row, y in enumerate(rows):
        expected = orthogonal_mp_gram(
            atoms @ atoms.T, atoms @ y, tol=rtol**2 * (y @ y), norms_squared=np.array([y @ y])
        )
        assert_allclose(reference.dense(codes, 50)[row], expected, atol=1e-9)


# ------------------------------------------------------------------- stopping


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("rtol", [0.01, 0.1, 0.5])
def test_rtol_stops_at_the_first_coefficient_that_suffices(rtol, dtype):
    rng = np.random.default_rng(0)
    atoms = reference.unit_atoms(rng, 60, 12).astype(dtype)
    rows = rng.standard_normal((50, 12)).astype(dtype)
    codes, energy, _ = code(rows, atoms, 12, rtol)
    left = np.sqrt(residual_energy(rows, atoms, codes) / energy)
    sizes = [len(support) for support in supports(codes)]
    expected = [len(reference.omp(y, atoms.astype(float), 12, rtol)[0]) for y in rows.astype(float)]
    assert sizes == expected
    assert (left <= rtol * 1.001).all()
    for row, y in enumerate(rows.astype(float)):
        support = supports(codes)[row][:-1]
        coefs = np.linalg.lstsq(atoms[support].T.astype(float), y, rcond=None)[0]
        assert np.linalg.norm(y - coefs @ atoms[support]) > rtol * np.linalg.norm(y)


@pytest.mark.parametrize("pursuit", ["omp", "mp"])
def test_rtol_and_k_together_stop_at_whichever_comes_first(pursuit):
    rng = np.random.default_rng(1)
    atoms = reference.unit_atoms(rng, 40, 10)
    rows = rng.standard_normal((60, 10))
    rows[:20] = 3 * atoms[:20]  # these need one coefficient only
    codes, energy, _ = code(rows, atoms, 4, 0.25, pursuit)
    sizes = np.array([len(support) for support in supports(codes)])
    assert (sizes[:20] == 1).all()
    assert sizes.max() == 4
    done = np.sqrt(residual_energy(rows, atoms, codes) / energy) <= 0.25
    assert (done | (sizes == 4)).all()
    assert done.any() and (~done).any()
    textbook = reference.omp if pursuit == "omp" else reference.mp
    for row, y in enumerate(rows):
        assert supports(codes)[row] == textbook(y, atoms, 4, 0.25)[0]


def test_a_row_in_the_span_of_two_atoms_takes_two_where_a_tolerance_is_set():
    rng = np.random.default_rng(2)
    atoms = np.linalg.qr(rng.standard_normal((16, 16)))[0].astype(np.float32)
    codes, _, _ = code((2 * atoms[3] - atoms[7])[None], atoms, 5, rtol=2e-3)
    assert codes.indices.tolist() == [[3, 7, -1, -1, -1]]
    assert_allclose(codes.values, [[2, -1, 0, 0, 0]], atol=1e-5)


@pytest.mark.parametrize("pursuit", ["omp", "mp"])
def test_supports_are_as_chosen_and_padded_with_minus_one(pursuit):
    atoms = np.eye(8)
    rows = np.array([[0, 1.0, 0, -5, 0, 0, 3, 0], [0, 0, 2.0, 0, 0, 0, 0, 0]])
    codes, energy, explained = code(rows, atoms, 5, pursuit=pursuit)
    assert codes.indices.dtype == np.int32
    assert codes.indices.tolist() == [[3, 6, 1, -1, -1], [2, -1, -1, -1, -1]]
    assert codes.values.tolist() == [[-5, 3, 1, 0, 0], [2, 0, 0, 0, 0]]
    assert energy.tolist() == explained.tolist() == [35, 4]


@pytest.mark.parametrize("pursuit", ["omp", "mp"])
@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("rtol", [0.0, 0.1])
def test_zero_rows_use_no_atoms_and_disturb_no_others(pursuit, dtype, rtol):
    rng = np.random.default_rng(4)
    atoms = reference.unit_atoms(rng, 30, 9).astype(dtype)
    rows = rng.standard_normal((6, 9)).astype(dtype)
    rows[[0, 3]] = 0
    codes, energy, explained = code(rows, atoms, 4, rtol, pursuit)
    assert (codes.indices[[0, 3]] == -1).all() and (codes.values[[0, 3]] == 0).all()
    assert (energy[[0, 3]] == 0).all() and (explained[[0, 3]] == 0).all()
    for row in (1, 2, 4, 5):
        alone, _, _ = code(rows[row : row + 1], atoms, 4, rtol, pursuit)
        assert_array_equal(alone.indices[0], codes.indices[row])


# ----------------------------------------------------- ties and dependent atoms


@pytest.mark.parametrize("pursuit", ["omp", "mp"])
@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("m", [5, 64, 65, 130])
def test_exact_ties_go_to_the_first_atom(pursuit, dtype, m):
    rng = np.random.default_rng(m)
    rows = rng.choice([-1.0, 1.0], (4, m)).astype(dtype)  # all correlations are +-1
    codes, _, _ = code(rows, np.eye(m, dtype=dtype), 5, pursuit=pursuit)
    assert_array_equal(codes.indices, np.tile(np.arange(5), (4, 1)))
    assert_array_equal(codes.values, rows[:, :5])


@pytest.mark.parametrize("pursuit", ["omp", "mp"])
def test_of_equal_atoms_only_the_first_is_used(pursuit):
    rng = np.random.default_rng(5)
    atoms = reference.unit_atoms(rng, 6, 12)
    rows = rng.standard_normal((30, 12))
    once, _, once_explained = code(rows, atoms, 6, pursuit=pursuit)
    twice, _, explained = code(rows, np.concatenate([atoms, atoms, -atoms]), 6, pursuit=pursuit)
    assert_array_equal(twice.indices, once.indices)
    assert_allclose(twice.values, once.values, atol=1e-12)
    assert_allclose(explained, once_explained)


@pytest.mark.parametrize("sine", [1.5e-2, 0.5e-2])
def test_a_support_goes_on_with_an_atom_that_is_nearly_in_its_span(sine):
    atoms = np.array([[1.0, 0, 0], [np.sqrt(1 - sine**2), sine, 0]])
    row = np.array([[1.0, -0.9, 0]])  # nearest the first atom; the rest points along the second
    codes, energy, explained = code(row, atoms, 2)
    assert supports(codes) == [[0, 1]]
    assert_allclose(energy - explained, residual_energy(row, atoms, codes), atol=1e-9)
    assert_allclose(reference.dense(codes, 2) @ atoms, row, atol=1e-12)


def test_the_refit_of_mp_leaves_out_an_atom_that_depends_on_the_others():
    sine = 1e-9
    atoms = np.array([[1.0, 0, 0], [np.sqrt(1 - sine**2), sine, 0], [0, 0, 1.0]])
    row = np.array([[1.0, -0.9, 0.001]])
    codes, energy, explained = code(row, atoms, 3, pursuit="mp")
    assert 1 not in codes.indices or 0 not in codes.indices
    assert np.abs(codes.values).max() < 2
    assert_allclose(energy - explained, residual_energy(row, atoms, codes), atol=1e-9)


def test_mp_gives_up_after_a_number_of_steps():
    # two atoms at a small angle: plain matching pursuit goes to and fro between them
    atoms = np.array([[1.0, 0, 0, 0], [0.9, np.sqrt(1 - 0.81), 0, 0], [0, 0, 1.0, 0], [0, 0, 0, 1.0]])
    row = np.array([[1.0, -2.0, 1e-9, 1e-10]])
    codes, _, _ = code(row, atoms, 3, pursuit="mp")
    support, coefs = reference.mp(row[0], atoms, 3, most_steps=3 * MP_STEPS_PER_COEF)
    assert supports(codes) == [support] and len(support) == 2
    assert_allclose(codes.values[0, :2], coefs)


@pytest.mark.parametrize("m", [1, 63, 64, 65])
def test_the_padding_is_never_used(m):
    rng = np.random.default_rng(m)
    atoms = reference.unit_atoms(rng, m, 70).astype(np.float32)
    products = products_of(atoms, min(m, 20))
    assert len(products.dictionary) % 64 == 0 and products.n_components == m
    codes, _, _ = code_block(rng.standard_normal((20, 70)).astype(np.float32), products)
    assert codes.indices.max() < m and codes.indices.min() >= 0


# ------------------------------------------------------------ values not finite


@pytest.mark.parametrize("pursuit", ["omp", "mp"])
@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
def test_values_that_are_not_finite_are_seen(pursuit, dtype, bad):
    rng = np.random.default_rng(6)
    atoms = reference.unit_atoms(rng, 80, 16).astype(dtype)
    rows = rng.standard_normal((300, 16)).astype(dtype)
    clean, *_ = code(rows, atoms, 3, pursuit=pursuit)
    rows[217, 5] = bad
    with np.errstate(invalid="ignore"):
        codes, energy, _ = code(rows, atoms, 3, pursuit=pursuit)
    assert_array_equal(np.flatnonzero(~np.isfinite(energy)), [217])
    others = np.arange(300) != 217
    assert_array_equal(codes.indices[others], clean.indices[others])
    products = products_of(atoms, 3, 0.0, pursuit)
    with np.errstate(invalid="ignore"), pytest.raises(ValueError, match=r"row 1217\).*must be finite"):
        code_rows(rows, products, offset=1000)


def test_values_that_overflow_single_precision_are_refused():
    products = products_of(np.eye(4, dtype=np.float32), 2)
    with np.errstate(all="ignore"), pytest.raises(ValueError, match="too large"):
        code_rows(np.full((2, 4), 1e300), products)


# ------------------------------------------------------------ blocks and formats


@given(st.integers(1, 5000), st.integers(1, 3000))
def test_blocks_cover_all_rows_once(n, m):
    products = products_of(np.zeros((m, 1), np.float32), 1)
    blocks = list(iterate_blocks(n, products))
    assert_array_equal(np.concatenate([np.arange(n)[block] for block in blocks]), np.arange(n))
    assert max(block.stop - block.start for block in blocks) <= 1024


@given(problems(), st.sampled_from([np.float32, np.float64]))
def test_coo_has_the_values_of_the_codes(problem, dtype):
    rows, atoms, k = problem
    rows[0] = 0
    codes, _, _ = code(rows.astype(dtype), atoms.astype(dtype), k, 0.3)
    expected = reference.dense(codes, len(atoms)).astype(dtype)
    coo = codes_to_coo(codes, len(atoms))
    assert isinstance(coo, sparse.COO) and coo.dtype == dtype and coo.fill_value == 0
    assert_array_equal(coo.todense(), expected)
    assert coo.nnz == (expected != 0).sum()
    assert (np.diff(np.ravel_multi_index(coo.coords, coo.shape)) > 0).all()  # sorted, none twice
    product = expected @ atoms.astype(dtype)
    for form in (coo, sparse.GCXS(coo), scipy.sparse.csr_matrix(expected), expected):
        assert_allclose(
            reconstruct(form, atoms.astype(dtype)), product, rtol=1e-4, atol=1e-5 * abs(rows).max()
        )


def test_coefficients_that_are_zero_are_left_out_of_coo():
    from daskksvd.coding import Codes

    codes = Codes(np.array([[2, 0, -1]], np.int32), np.array([[0.0, 1.5, 0.0]]))
    coo = codes_to_coo(codes, 3)
    assert coo.nnz == 1 and coo.todense().tolist() == [[1.5, 0, 0]]


# ------------------------------------------------- what large dictionaries use


@pytest.mark.parametrize("rtol", [0.0, 0.4])
@pytest.mark.parametrize("dtype", ["f4", "f8"])
def test_rounded_inner_products_only_choose_atoms(monkeypatch, dtype, rtol):
    rng = np.random.default_rng(3)
    atoms = reference.unit_atoms(rng, 150, 24).astype(dtype)
    X = np.where(rng.random((400, 150)) < 0.03, rng.standard_normal((400, 150)), 0)
    Y = (X @ atoms + 0.02 * rng.standard_normal((400, 24))).astype(dtype)
    exact, _, explained = code_block(Y, products_of(atoms, 6, rtol))
    monkeypatch.setattr("daskksvd.coding.products.FLOAT_GRAM_ATOMS", 100)
    monkeypatch.setattr("daskksvd.coding.products.GRAM_ROWS", (64, 64))
    monkeypatch.setattr("daskksvd.coding.products.THREADED_PRODUCT", 0)  # cut into three, the last of 64 rows
    products = products_of(atoms, 6, rtol)
    assert products.gram.dtype == np.int16
    assert_allclose(products.gram[:150, :150] * products.scale, atoms @ atoms.T, atol=2.0**-15 + 1e-6)
    found, _, explained_by_rounded = code_block(Y, products)
    same = (found.indices == exact.indices).all(axis=1)
    assert same.mean() > 0.98
    tolerance = 1e-4 if dtype == "f4" else 1e-9
    assert_allclose(found.values[same], exact.values[same], atol=tolerance)
    assert_allclose(explained_by_rounded[same], explained[same], rtol=tolerance)
    # coefficients are those of least squares on whatever support was chosen
    for y, support, values in zip(Y, found.indices, found.values, strict=True):
        used = support[support >= 0]
        expected = np.linalg.lstsq(atoms[used].T.astype("f8"), y.astype("f8"), rcond=None)[0]
        assert_allclose(values[: len(used)], expected, atol=20 * tolerance)
    # matching pursuit moves along inner products, so it keeps them exact
    assert products_of(atoms, 6, rtol, "mp").gram.dtype == dtype


@pytest.mark.parametrize("most_in_full", [0, 2048])
@pytest.mark.parametrize("pursuit", ["omp", "mp"])
def test_threads_share_a_gram_matrix_and_change_no_bit_of_it(monkeypatch, most_in_full, pursuit):
    monkeypatch.setattr("daskksvd.coding.products.FLOAT_GRAM_ATOMS", most_in_full)
    atoms = reference.unit_atoms(np.random.default_rng(4), 1000, 300).astype(np.float32)
    one, three = (products_of(atoms, 5, 0.0, pursuit, n_threads=n_threads) for n_threads in (1, 3))
    assert_array_equal(one.gram, three.gram)
    assert_array_equal(one.inner, three.inner)
    products = np.zeros((1024, 1024))
    products[:1000, :1000] = atoms.astype(np.float64) @ atoms.T
    assert_allclose(one.gram * one.scale, products, atol=one.scale / 2 + 1e-6 if one.scale < 1 else 1e-6)
    assert_array_equal(one.gram, one.gram.T)
    if one.inner.size:
        assert_allclose(one.inner, products, atol=1e-6)


@pytest.mark.parametrize("bounds", [(0, 1), (0, 15, 17), (0, 16, 33), (0, 100), (0, 20, 39, 100)])
def test_what_is_below_the_diagonal_is_mirrored(bounds):
    matrix = np.random.default_rng(0).standard_normal((bounds[-1], bounds[-1]))
    expected = np.tril(matrix) + np.tril(matrix, -1).T
    for start, stop in itertools.pairwise(bounds):
        mirror(matrix, start, stop)
    assert_array_equal(matrix, expected)


def test_half_precision_is_widened_exactly():
    every = np.arange(2**16, dtype=np.uint16).view(np.float16).reshape(64, -1)
    found = Transform().apply(every, np.dtype("f4"))
    assert found.dtype == np.float32
    assert_array_equal(found, every.astype("f4"))  # NaN where NaN, infinite where infinite
    assert_array_equal(Transform().apply(every.T, np.dtype("f4")), every.T.astype("f4"))
    swapped = every.astype(">f2")
    assert_array_equal(Transform().apply(swapped, np.dtype("f4")), every.astype("f4"))
