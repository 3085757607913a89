"""Real features: the dictionary is to be as good as that of textbook K-SVD, or better."""

import numpy as np
import pytest
from real import FEATURES

import daskksvd

TEXTBOOK = 0.4352
"""Relative error after ten iterations of exact K-SVD from the same start: centred, m=512, k=10."""


@pytest.mark.skipif(
    not FEATURES.exists(),
    reason=f"there is no {FEATURES.name} in {FEATURES.parent}; DASKKSVD_TEST_DATA may name its folder",
)
def test_image_features_are_represented_as_well_as_by_textbook_ksvd():
    features = np.load(FEATURES, mmap_mode="r")
    assert features.shape == (6057, 768) and features.dtype == np.float16
    result = daskksvd.fit(
        features, n_components=512, n_nonzero_coefs=10, center=True, random_state=0, n_threads=2
    )
    found = result.evaluate(features)
    assert found["n_samples"] == 6057 and found["mean_nonzeros"] == pytest.approx(10, abs=0.01)
    assert found["relative_error"] <= TEXTBOOK
    # and the error is what decoding gives
    some = features[:500].astype(np.float64)
    decoded = result.decode(result.encode(features[:500])).compute()
    centred = some - features.mean(axis=0, dtype=np.float64)
    error = np.linalg.norm(some - decoded) / np.linalg.norm(centred)
    assert error == pytest.approx(result.evaluate(features[:500])["relative_error"], rel=1e-3)
