"""A result to look at: scenes whose concepts are planted as atoms, with captions, some of them hostile."""

import numpy as np
import pandas as pd

import daskksvd
from daskksvd.datasets import make_scenes
from daskksvd.naming.store import save_labels

N, D, M, K = 1_500, 40, 48, 5
HOSTILE = '<img src=x onerror="window.hacked=1"> a fish & <script>window.hacked=1</script> \'"></q>'


def scenes():
    """What the samples are drawn from."""
    return make_scenes(N, random_state=3)


def scene_captions():
    """Captions of every sample but the hostile one."""
    drawn = scenes()
    return [drawn.captions(row) for row in range(N)]


def make_world(folder):
    """Save a result with codes, labels and captions in a folder; returns the paths by name."""
    truth = scenes().truth().astype(np.float32)
    rng = np.random.default_rng(0)
    atoms = rng.standard_normal((truth.shape[1], D))
    atoms /= np.linalg.norm(atoms, axis=1, keepdims=True)
    samples = (truth * rng.uniform(0.5, 1.5, truth.shape)) @ atoms
    samples = (samples + 0.02 * rng.standard_normal(samples.shape)).astype(np.float32)
    result = daskksvd.fit(
        samples, n_components=M, n_nonzero_coefs=K, center=True, max_passes=4, random_state=0, n_threads=1
    )
    paths = {name: str(folder / f"fit{end}") for name, end in (
        ("result", ".zarr"), ("codes", "-codes.zarr"), ("labels", "-labels.zarr"), ("captions", ".parquet")
    )}  # fmt: skip
    captions = scene_captions()
    with_hostile = [[HOSTILE, *texts] for texts in captions]
    pd.DataFrame({"row": np.arange(N), "captions": with_hostile}).to_parquet(paths["captions"])
    paths["samples"] = str(folder / "samples.npy")
    np.save(paths["samples"], samples)
    result.save(paths["result"])
    result.write_codes(samples, paths["codes"])
    labels = daskksvd.label(paths["codes"], captions, top=3)
    save_labels(labels, paths["labels"])
    return paths


def dense_codes(path):
    """Codes as a dense array."""
    return daskksvd.open_codes(path).compute(scheduler="synchronous").todense()
