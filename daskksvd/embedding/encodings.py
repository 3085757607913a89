"""Encodings of captions by a text encoder: one vector a row, on disk beside the embeddings of its image."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from ..cards import card, details
from ..stores import Store, StoredArray, Variable, read_part

if TYPE_CHECKING:
    import os

    import dask.array as da
    import numpy as np
    import zarr

ENCODINGS = Store(
    kind="encodings",
    format="daskksvd.encodings",
    version=1,
    variables={
        "encodings": Variable(
            ("sample", "feature"),
            ("float16",),
            "mean over the captions of a row of their encodings, each of unit norm; zeros where it has none",
            dense=True,
        ),
        "n_captions": Variable(("sample",), ("int64",), "captions of the row that are not blank", dense=True),
    },
    refusal="not one of encodings of captions",
    suffix="-encodings",
    by_codec=("encodings",),
    marked_last=True,
)

ENCODING_ATTRIBUTES = {
    "format": "always daskksvd.encodings",
    "version": "of this schema",
    "complete": "true in what is whole",
    "model": "library, name, revision, architecture, precision",
    "n_samples": "rows",
    "n_captioned": "rows with a caption that is not blank",
    "counts": "captions: seen, and of these encoded, blank or missing, and unknown, which are of no row",
}
"""Attributes of the group and their meaning."""


class Encodings:
    """A store of encodings of captions, as `embed_captions` leaves it.

    Attributes
    ----------
    path : str
    attrs : dict
        See `ENCODING_ATTRIBUTES`.
    """

    def __init__(self, path: str, arrays: dict[str, zarr.Array], attrs: dict[str, Any]) -> None:
        self.path = path
        self.attrs = attrs
        self._arrays: dict[str, Any] = arrays

    def __len__(self) -> int:
        return self._arrays["encodings"].shape[0]

    def __repr__(self) -> str:
        n, e = self._arrays["encodings"].shape
        return f"<daskksvd.Encodings: {n:,} x {e} float16 of {self.counts['captions']['encoded']:,} captions>"

    def _repr_html_(self) -> str:
        n, e = self._arrays["encodings"].shape
        captions = self.counts["captions"]
        facts = {
            "vectors": f"{n:,} x {e:,} float16, means of captions",
            "captions": ", ".join(f"{number:,} {name}" for name, number in captions.items()),
            "rows with captions": f"{self.attrs['n_captioned']:,}",
            "model": self.model.get("name"),
            "path": self.path,
        }
        return card("daskksvd.Encodings", facts, details("model", self.model), fallback=repr(self))

    @property
    def array(self) -> da.Array:
        """Mean encodings of captions, (n, e) float16, a lazy Dask array; zeros where a row has no caption."""
        import dask.array as da

        array = StoredArray(self._arrays["encodings"])
        return da.from_array(array, chunks=array.chunks, inline_array=True)

    @property
    def n_captions(self) -> np.ndarray:
        """Captions of every row that are not blank, (n,) int64."""
        return read_part(self._arrays["n_captions"], slice(None))

    @property
    def model(self) -> dict[str, Any]:
        """What the encoder was: library, name, revision and so on."""
        return self.attrs["model"]

    @property
    def counts(self) -> dict[str, dict[str, int]]:
        """What became of the captions: ``{"captions": ...}``, seen, encoded, blank, and unknown.

        What was seen is encoded, or blank, or unknown: of no row.
        """
        return self.attrs["counts"]


def open_encodings(path: str | os.PathLike[str]) -> Encodings:
    """Open what `embed_captions` wrote.

    Parameters
    ----------
    path : str or path

    Returns
    -------
    Encodings

    Raises
    ------
    FileNotFoundError, ValueError
        If there is no complete store of encodings.
    DamagedStore
        If a file is missing or is not what was written, now or when values are read.
    """
    opened = ENCODINGS.open_whole(path)
    return Encodings(opened.path, opened.arrays(), opened.attrs)
