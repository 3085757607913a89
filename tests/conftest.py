"""Settings shared by all tests, and what tests of several modules look at.

Modules with helpers are imported where they are needed: most tests need none of them.
"""

import os
import sys

import dask
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

# Threads that wait for work sleep: several processes of tests have more of them than there are cores, and
# those of PyTorch and BLAS that spin keep others from working. New processes read it, also those of xdist.
os.environ.setdefault("OMP_WAIT_POLICY", "passive")
os.environ.setdefault("OPENBLAS_THREAD_TIMEOUT", "4")

# notebooks, the README and commands, which are processes of their own, start workers as users do
dask.config.set({"distributed.worker.multiprocessing-method": "forkserver"})
IMPORTED = [
    "distributed",
    "dask.array",
    "numba",
    "pandas",
    "scipy.linalg",
    "scipy.sparse",
    "sparse",
    "xarray",
    "zarr",
]
"""What worker processes of tests have imported when they begin: half of what their start takes is saved."""

SLOWEST = (
    "notebooks", "docs", "cli", "dashboard", "token_gradient", "benchmarks", "lost_workers",
    "patch_views", "fill_values", "waits", "demo", "device", "scenes_encoder", "label_resume",
    "labels_real_data", "embed", "cluster", "counts", "planning", "patch_tokens", "patches", "blocks",
    "structure", "nonnegative", "embedding_models", "hub", "processes", "report", "checkpoint", "survey",
    "estimator", "joint", "scores", "extending", "resuming", "embed_counts", "damage", "real_data",
    "open_clip", "fit", "ksvd", "pursuit", "result",
)  # fmt: skip
"""Files that take longest, the slowest first; of the others it makes no difference."""


def pytest_collection_finish():
    if "distributed" in sys.modules:
        from distributed.utils import get_mp_context

        get_mp_context().set_forkserver_preload(IMPORTED)


def pytest_collection_modifyitems(config, items):
    """Where several processes run a file each, the slowest files first, so that all end together."""
    if hasattr(config, "workerinput"):
        ranks = {f"test_{name}": rank for rank, name in enumerate(SLOWEST)}
        items.sort(key=lambda item: ranks.get(item.path.stem, len(ranks)))


@pytest.fixture
def photos(tmp_path):
    from small_sources import make_photos

    return make_photos(tmp_path / "photos")


@pytest.fixture
def server():
    from small_server import serving

    with serving() as running:
        yield running


@pytest.fixture
def waits(monkeypatch):
    """The waits between attempts to fetch, none of which takes place."""
    from daskksvd.embedding import fetch

    found = []
    monkeypatch.setattr(fetch, "sleep", found.append)
    return found


@pytest.fixture(scope="session")
def paths(tmp_path_factory):
    """Where the result to look at lies; nobody writes there."""
    from small_view import make_world

    return make_world(tmp_path_factory.mktemp("view"))


@pytest.fixture(scope="session")
def view(paths):
    from small_view import scenes

    from daskksvd.view.data.opening import open_view

    return open_view(paths["result"], captions=paths["captions"], images=scenes())


@pytest.fixture(scope="session")
def dense(paths):
    """Its codes, not to be written to."""
    from small_view import dense_codes

    codes = dense_codes(paths["codes"])
    codes.flags.writeable = False
    return codes


@pytest.fixture(scope="session")
def patches(tmp_path_factory):
    """Images, a store of their patches and a result of it, with codes beside; nobody writes there."""
    from small_patches import make_patches

    return make_patches(tmp_path_factory.mktemp("patches"))


@pytest.fixture(scope="module")
def browser():
    import chromium

    if chromium.PATH is None:
        pytest.skip("no Chromium is installed")
    playwright = pytest.importorskip("playwright.sync_api", reason="Playwright drives the browser")
    with playwright.sync_playwright() as running:
        browser = chromium.launch(running)
        yield browser
        browser.close()
