"""Where real data lie. They are no part of the repository: tests that need them are skipped without."""

import os
import pathlib

DATA = pathlib.Path(
    os.environ.get("DASKKSVD_TEST_DATA") or pathlib.Path(__file__).parents[2] / "shared" / "data"
)
FLICKR = DATA / "flickr8k"
FEATURES = FLICKR / "embeddings_f16.npy"
CAPTIONS = FLICKR / "captions.parquet"
PHOTOGRAPHS = FLICKR / "images_224.zip"
