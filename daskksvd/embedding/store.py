"""The store of embeddings: its schema, and what is read of it.

OUT/embeddings.zarr                        a Zarr group, see `EMBEDDINGS`
OUT/captions/rows-<first>-<end>.parquet    captions, one a line, by rows of the group
OUT/rejects/rows-<first>-<end>.parquet     what was skipped, and why
OUT/progress.json, OUT/journal             what a run that was stopped goes on from
"""

from __future__ import annotations

import json
import os
from typing import TYPE_CHECKING, Any

import numpy as np

from ..cards import card, details
from ..stores import Store, StoredArray, Variable, read_part
from .layout import Layout, image_slice, read_layout, seen_box

if TYPE_CHECKING:
    from collections.abc import Sequence

    import dask.array as da
    import dask.dataframe as dd
    import pandas as pd
    import PIL.Image
    import zarr

CAPTIONS, REJECTS = "captions", "rejects"
PROGRESS, JOURNAL, LOCK = "progress.json", "journal", ".lock"

EMBEDDINGS = Store(
    kind="embeddings",
    format="daskksvd.embeddings",
    version=1,
    variables={
        "embeddings": Variable(
            ("sample", "feature"),
            ("float16", "float32"),
            "one vector an image, or one a token: rows of an image follow one another",
            dense=True,
        ),
        "sample": Variable(
            ("sample",), ("int64",), "place of the image in its source, from 0; stays the same"
        ),
        "source": Variable(
            ("sample",),
            ("string",),
            "where the image came from: path, URL, or shard and key",
            dense=True,
        ),
        "thumbnail": Variable(
            ("sample", "byte"),
            ("uint8",),
            "a small JPEG, filled up with zeros",
            optional=True,
            dense=True,
        ),
        "position": Variable(
            ("sample", "token"),
            ("int32",),
            "place in the grid of patches of every row of an image, row by row; -1 for the class token",
            optional=True,
            dense=True,
        ),
        "size": Variable(
            ("sample", "side"),
            ("int32",),
            "width and height of the image, where rows are tokens and images are cropped without resizing",
            optional=True,
            dense=True,
        ),
    },
    refusal="not of embeddings (its format is not 'daskksvd.embeddings')",
    by_codec=("embeddings",),
)

ATTRIBUTES = {
    "format": "always daskksvd.embeddings",
    "version": "of this schema",
    "complete": "whether the source was read to its end",
    "model": "library, name, revision, architecture, pooling, layer, precision, preprocessing",
    "data": "the source, as it was named, with a fingerprint of its listing where it has one",
    "dtype": "of the embeddings",
    "n_samples": "images",
    "n_rejected": "elements of the source that were skipped",
    "n_captions": "captions in all",
    "counts": "images and captions of the source: seen, and of these stored and rejected",
    "mean": "of every feature, over all rows",
    "scale": "standard deviation of every feature",
    "tokens": "where a row is a token: rows_per_image, grid, cls, n_patches, seed and frame, see `Layout`",
}
"""Attributes of the group and their meaning."""

LATER = {"counts", "tokens"}
"""Attributes that stores of earlier releases, or those with one row an image, do not have."""


def count(progress):
    """Images and captions seen, stored and rejected; None where an earlier release did not count."""
    stored, rejected = progress["captions"], progress.get("captions_rejected")
    seen = None if rejected is None else stored + rejected
    return {
        "images": {
            "seen": progress["begin"], "stored": progress["rows"], "rejected": progress["rejected"],
        },
        "captions": {"seen": seen, "stored": stored, "rejected": rejected},
    }  # fmt: skip


def _columns(block, start, stop):
    return block[:, start:stop]


class Embeddings:
    """A store of embeddings with its captions, as `daskksvd.embed` leaves it.

    Attributes
    ----------
    path : str
        Folder.
    attrs : dict
        See `ATTRIBUTES`: model, source, counts, mean and scale.
    group : zarr.Group
        What is read from it is compared with its checksums.
    """

    def __init__(self, path: str, group: zarr.Group) -> None:
        self.path = path
        self.attrs: dict[str, Any] = dict(group.attrs)
        self.group: Any = group
        self._thumbnails = group.get("thumbnail")

    def __len__(self) -> int:
        return self.group["embeddings"].shape[0]

    @property
    def layout(self) -> Layout | None:
        """Which tokens of an image are rows; None where an image is one row."""
        return read_layout(self.attrs.get("tokens"))

    @property
    def n_images(self) -> int:
        """Images, each of `Layout.rows_per_image` rows, or of one."""
        return int(self.attrs["n_samples"])

    def image_rows(self, image: int) -> slice:
        """Rows of an image, counted from 0 in the order of the store."""
        return image_slice(self.layout, image)

    def positions(self, image: int) -> np.ndarray:
        """Places of an image's rows in the grid of patches, (rows,) int32, -1 for the class token.

        Raises
        ------
        ValueError
            If a row is a whole image.
        """
        if self.layout is None:
            raise ValueError(f"path={self.path!r} has one row an image, which has no place in it")
        return read_part(self.group["position"], image)

    def seen(self, image: int, width: int, height: int) -> tuple[float, float, float, float]:
        """What the model saw of an image: left, upper, right and lower edge as shares of its sides.

        Edges outside 0 to 1 are of a margin that was added.

        Parameters
        ----------
        image : int
            Counted from 0 in the order of the store.
        width, height : int
            Of a copy of it, which may be of another size.
        """
        frame = None if self.layout is None else self.layout.frame
        if "size" not in self.group:
            return seen_box(frame, width, height)
        return seen_box(frame, *map(int, read_part(self.group["size"], image)), copied=False)

    @property
    def layers(self) -> list[int | None]:
        """Layers of the model whose vectors stand side by side."""
        layer = self.attrs["model"].get("layer")
        return list(layer) if isinstance(layer, list) else [layer]

    def layer(self, layer: int) -> da.Array:
        """The vectors of one of several layers, n x d of it, a lazy Dask array.

        Parameters
        ----------
        layer : int
            As it was named to `daskksvd.embed`.

        Raises
        ------
        ValueError
            If the store does not have it.
        """
        if layer not in self.layers:
            raise ValueError(f"layer={layer!r}; the store has {', '.join(map(str, self.layers))}")
        d = self.group["embeddings"].shape[1] // len(self.layers)
        place = self.layers.index(layer)
        array = self.array.rechunk({1: -1})
        # block by block, so that rows are seen to be in order: those of an image follow one another
        return array.map_blocks(
            _columns, place * d, (place + 1) * d, chunks=(array.chunks[0], (d,)), dtype=array.dtype
        )

    def __repr__(self) -> str:
        n, d = self.group["embeddings"].shape
        left = f", {self.attrs['n_rejected']:,} rejected" if self.attrs.get("n_rejected") else ""
        stopped = "" if self.attrs.get("complete") else ", not complete"
        if self.layout is not None:
            n = f"{self.n_images:,} images x {self.layout.rows_per_image} tokens"
            return f"<daskksvd.Embeddings: {n} x {d} {self.group['embeddings'].dtype}{left}{stopped}>"
        return f"<daskksvd.Embeddings: {n:,} x {d} {self.group['embeddings'].dtype}{left}{stopped}>"

    def _repr_html_(self) -> str:
        n, d = self.group["embeddings"].shape
        attrs, images = self.attrs, self.counts["images"]
        source = {name: value for name, value in attrs["data"].items() if value is not None}
        facts = {
            "vectors": f"{n:,} x {d:,} {self.group['embeddings'].dtype}",
            "captions": f"{attrs['n_captions']:,}",
            "images": ", ".join(
                f"{number:,} {name}" for name, number in images.items() if number is not None
            ),
            "thumbnails": "none" if self._thumbnails is None else "one each",
            "model": attrs["model"].get("name"),
            "complete": "yes" if attrs.get("complete") else "no; the same call to embed goes on",
            "path": self.path,
        }
        more = details("model", attrs["model"]), details("source", source)
        return card("daskksvd.Embeddings", facts, *more, fallback=repr(self))

    @property
    def counts(self) -> dict[str, dict[str, int | None]]:
        """What became of the source: ``{"images": ..., "captions": ...}``, each seen, stored and rejected.

        What was seen is stored or rejected. An element without an image counts as one that was rejected;
        a caption is rejected with its image, or as it is blank or cannot be read. None is what a
        release that did not count these has left.
        """
        attrs = self.attrs
        if "counts" in attrs:
            return attrs["counts"]
        rows, rejected = attrs["n_samples"], attrs["n_rejected"]
        return count(
            {"begin": rows + rejected, "rows": rows, "rejected": rejected, "captions": attrs["n_captions"]}
        )

    @property
    def array(self) -> da.Array:
        """The vectors, n x d, a lazy Dask array; `daskksvd.fit` takes it."""
        import dask.array as da

        array = StoredArray(self.group["embeddings"])
        return da.from_array(array, chunks=array.chunks, inline_array=True)

    @property
    def sample(self) -> np.ndarray:
        """Stable ids of the images, (n,) int64."""
        return read_part(self.group["sample"], slice(None))

    @property
    def source(self) -> np.ndarray:
        """Where the images came from, (n,) of str."""
        return read_part(self.group["source"], slice(None))

    @property
    def captions(self) -> dd.DataFrame:
        """A `dask.dataframe.DataFrame` (sample, row, caption), one partition a range of rows."""
        import dask.dataframe as dd

        return dd.read_parquet(os.path.join(self.path, CAPTIONS))

    @property
    def rejects(self) -> pd.DataFrame:
        """What was skipped: a `pandas.DataFrame` (sample, source, reason)."""
        return read_rejects(self.path)

    def thumbnail(self, row: int) -> PIL.Image.Image | None:
        """The thumbnail of an image, a `PIL.Image.Image`, or None where none are kept."""
        import io

        from PIL import Image

        if self._thumbnails is None:
            return None
        return Image.open(io.BytesIO(read_part(self._thumbnails, row).tobytes()))

    def thumbnail_files(self, rows: Sequence[int]) -> list[bytes] | None:
        """The JPEG files of several thumbnails; None where none are kept. No chunk is read twice."""
        if self._thumbnails is None:
            return None
        wanted, stored = np.asarray(rows, np.int64), self.group["thumbnail"]
        files: list[bytes] = [b""] * len(wanted)
        chunks = wanted // stored.chunks[0]
        for chunk in np.unique(chunks):
            places = np.flatnonzero(chunks == chunk)
            first = int(wanted[places].min())
            part = read_part(stored, slice(first, int(wanted[places].max()) + 1))
            for place in places:
                files[place] = part[wanted[place] - first].tobytes()
        return files


def read_rejects(path):
    """All that was skipped, by place in the source."""
    import pandas as pd

    folder = os.path.join(path, REJECTS)
    names = sorted(os.listdir(folder)) if os.path.isdir(folder) else []
    parts = [pd.read_parquet(os.path.join(folder, name)) for name in names if name.endswith(".parquet")]
    if not parts:
        return pd.DataFrame({"sample": np.empty(0, np.int64), "source": [], "reason": []})
    return pd.concat(parts, ignore_index=True)


def read_progress(path):
    """What a run left to go on from, or None."""
    try:
        with open(os.path.join(path, PROGRESS)) as file:
            return json.load(file)
    except FileNotFoundError:
        return None
    except ValueError as error:
        raise ValueError(
            f"out={path!r}: its {PROGRESS} cannot be read ({error}); pass overwrite=True"
        ) from error
