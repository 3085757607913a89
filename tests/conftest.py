"""Settings shared by all tests."""

import hypothesis

hypothesis.settings.register_profile(
    "daskksvd",
    deadline=None,  # the first call of a kernel compiles it
    derandomize=True,
    max_examples=20,
    suppress_health_check=[hypothesis.HealthCheck.too_slow],
)
hypothesis.settings.load_profile("daskksvd")
