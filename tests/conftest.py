"""Settings shared by all tests, and what tests of several modules look at.

Modules with helpers are imported where they are needed: most tests need none of them.
"""

import hypothesis
import pytest

hypothesis.settings.register_profile(
    "daskksvd",
    deadline=None,  # the first call of a kernel compiles it
    derandomize=True,
    max_examples=20,
    suppress_health_check=[hypothesis.HealthCheck.too_slow],
)
hypothesis.settings.load_profile("daskksvd")


@pytest.fixture
def photos(tmp_path):
    from small_sources import make_photos

    return make_photos(tmp_path / "photos")
