"""Rows of every dtype, in chunks of every size."""

import numpy as np
from hypothesis import strategies as st

DTYPES = ["float16", "float32", "float64", "int8", "int32", "int64", "uint8", "uint64", "bool"]
sizes = st.lists(st.integers(1, 60), min_size=1, max_size=20)


def values(n=40, d=6, dtype="float64", seed=0):
    return (np.random.default_rng(seed).standard_normal((n, d)) * 20).astype(dtype)
