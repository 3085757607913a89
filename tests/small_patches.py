"""Small scenes, a store of their patches, and a result of it."""

import pathlib
from typing import NamedTuple

import daskksvd


class Patches(NamedTuple):
    """What is in a folder; codes lie beside the result."""

    scenes: daskksvd.datasets.Scenes
    store: daskksvd.Embeddings
    fitted: pathlib.Path


def make_patches(folder):
    scenes = daskksvd.datasets.make_scenes(60, random_state=3)
    store = daskksvd.embed(
        scenes, folder / "store", model="scenes", tokens="patches", layer=3, thumbnails=64, chunk_rows=32
    )
    fitted = folder / "words.zarr"
    result = daskksvd.fit(store.path, n_components=48, n_nonzero_coefs=3, max_passes=2, random_state=0)
    result.save(fitted)
    result.write_codes(store.path, folder / "words-codes.zarr")
    return Patches(scenes, store, fitted)
