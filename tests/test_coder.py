"""`SparseCoder`: the one value that all codes are made with."""

import pickle
import sys

import dask.array as da
import numpy as np
import pytest
import reference
from numpy.testing import assert_allclose, assert_array_equal

import daskksvd
from daskksvd.coding import SparseCoder, SparsityTarget
from daskksvd.rows import Transform

D, M, K = 12, 20, 3


@pytest.fixture(params=["plain", "centred", "scaled", "whitened"])
def coder(request):
    rng = np.random.default_rng(0)
    mean, scale = rng.standard_normal(D), rng.uniform(0.5, 2, D)
    basis = np.linalg.qr(rng.standard_normal((D, D)))[0]
    transform = {
        "plain": Transform(),
        "centred": Transform(mean),
        "scaled": Transform(mean, None, scale),
        "whitened": Transform(mean, basis, scale),
    }[request.param]
    atoms = reference.unit_atoms(rng, M, D).astype(np.float64)
    return SparseCoder.of_atoms(atoms, transform, SparsityTarget(K))


@pytest.fixture
def rows():
    return np.random.default_rng(1).standard_normal((70, D))


def test_codes_and_residuals_are_those_of_algebra(coder, rows):
    codes = coder.encode(rows)
    assert codes.shape == (70, M) and (np.bincount(codes.coords[0]) <= K).all()
    left = coder.transform.apply(rows, np.dtype(float)) - codes.todense() @ coder.dictionary
    assert_allclose(coder.transformed(rows), coder.transform.apply(rows, np.dtype(float)))
    assert_allclose(coder.transform._replace(mean=None).undo(left), coder.residual(rows), atol=1e-12)
    assert_allclose(rows - coder.decode(codes), coder.residual(rows), atol=1e-12)


def test_dask_arrays_are_coded_lazily(coder, rows):
    lazy = da.from_array(rows, chunks=(30, 5))
    codes = coder.encode(lazy)
    assert codes.chunks == ((30, 30, 10), (M,))
    assert codes.name == coder.encode(lazy).name  # the same call is the same array
    assert_allclose(codes.compute().todense(), coder.encode(rows).todense(), atol=1e-12)
    assert_allclose(coder.decode(codes).compute(), coder.decode(coder.encode(rows)), atol=1e-12)


def test_products_do_not_travel(coder, rows):
    small = len(pickle.dumps(coder))
    codes = coder.encode(rows)
    there = pickle.loads(pickle.dumps(coder))
    assert len(pickle.dumps(coder)) == small
    assert sys.getsizeof(coder) > coder.dictionary.nbytes  # what Dask asks of
    assert_array_equal(there.encode(rows).todense(), codes.todense())


def test_it_never_changes(coder, rows):
    other = coder.with_dictionary(coder.dictionary[::-1].copy())
    assert other.transform is coder.transform and other.target is coder.target
    assert_allclose(other.encode(rows).todense()[:, ::-1], coder.encode(rows).todense(), atol=1e-12)
    with pytest.raises(AttributeError):
        coder.target = SparsityTarget(1)


@pytest.mark.parametrize("shape", [(D,), (5, D + 1), (5, D, 1)])
def test_rows_of_another_shape_are_refused(coder, shape):
    with pytest.raises(ValueError, match=f"must be n x {D}"):
        coder.encode(np.ones(shape))


def test_a_result_codes_with_it(rows):
    result = daskksvd.fit(rows, n_components=M, n_nonzero_coefs=K, max_passes=2, random_state=0, whiten=0.25)
    assert isinstance(result.coder, daskksvd.SparseCoder)
    assert result.coder.target == SparsityTarget(K)
    assert_array_equal(result.coder.encode(rows).todense(), result.encode(rows).compute().todense())
    assert_allclose(result.coder.atoms, result.dictionary.values, atol=1e-6)
    assert result.coder.cost.row_flops > 2 * M * D and result.coder.cost.process_bytes > 4 * M * M
