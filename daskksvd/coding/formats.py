"""Fixed-width codes, sparse COO arrays and dense reconstructions."""

import dask
import dask.array as da
import numpy as np
import sparse


def codes_to_coo(codes, n_components):
    """Fixed-width codes as a sorted `sparse.COO` array (n, m) with zero fill.

    Coefficients that are exactly zero are left out.
    """
    # they are kept from here on; distributed is slow to import
    from ..machine import fill_values  # noqa: F401

    n = len(codes.indices)
    order = np.argsort(codes.indices, axis=1, kind="stable")
    indices = np.take_along_axis(codes.indices, order, axis=1)
    values = np.take_along_axis(codes.values, order, axis=1)
    used = (indices >= 0) & (values != 0)
    counts = used.sum(axis=1)
    coords = np.empty((2, int(counts.sum())), np.int64)
    coords[0] = np.repeat(np.arange(n), counts)
    coords[1] = indices[used]
    return sparse.COO(
        coords,
        values[used],
        shape=(n, n_components),
        has_duplicates=False,
        sorted=True,
        fill_value=values.dtype.type(0),
    )


def no_codes(dtype):
    """Codes of no rows, which say of what kind others are."""
    # in order as they are: to sort none, and to look at them, is compiled in every process
    coords, values = np.empty((2, 0), np.int64), np.empty(0, dtype)
    return sparse.COO(coords, values, shape=(0, 0), has_duplicates=False, sorted=True)


def reconstruct(codes, dictionary):
    """Dense product of codes (n, m), sparse or not, and a dictionary (m, d)."""
    if hasattr(codes, "tocsr"):  # sparse.COO, or SciPy's: CSR is the fast form
        codes = codes.tocsr()
    elif isinstance(codes, sparse.SparseArray):
        codes = codes.tocoo().tocsr()
    return np.asarray(codes @ dictionary)


def decode(codes, decoder, mean):
    """Samples (n, d) from codes (n, m): ``X @ decoder + mean``; lazy if codes are."""
    if not isinstance(codes, da.Array):
        return _decode_chunk(codes, decoder, mean)
    if codes.numblocks[1] > 1:
        codes = codes.rechunk({1: -1})
    return da.map_blocks(
        _decode_chunk,
        codes,
        decoder=dask.delayed(decoder, pure=True),
        mean=mean,
        chunks=(codes.chunks[0], (decoder.shape[1],)),
        dtype=decoder.dtype,
        meta=np.empty((0, 0), decoder.dtype),
    )


def _decode_chunk(codes, decoder, mean):
    samples = reconstruct(codes, decoder)
    return samples if mean is None else samples + mean.astype(samples.dtype)
