"""`open_activations`: what other tools have written, as rows."""

from __future__ import annotations

import math
import os
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from ..embedding.layout import TOKENS, Layout, image_slice, seen_box
from ..machine.files import absolute
from .arrays import open_arrays, open_tables
from .files import in_order, inside, whole
from .parts import Rows
from .saev import is_saev, open_shards

if TYPE_CHECKING:
    import dask.array as da
    import numpy.typing as npt
    import PIL.Image

    from ..embedding.layout import Tokens

ACTIVATION_CHUNK_BYTES = 16 * 2**20
"""Size of the chunks that rows are read in, about."""


class Activations:
    """Rows that another tool has written, with what is known of their images.

    It stands where `Embeddings` does: `daskksvd.fit` and `Result.write_codes` take it, `label` and
    `open_view` take it as ``embeddings``.

    Attributes
    ----------
    path : str
    array : dask.array.Array
        n x d, lazy.
    layout : Layout or None
        Which tokens of an image are rows; None where a row is an image.
    n_images : int
    sample : (n_images,) int64 array
        Stable ids of the images.
    source : (n_images,) array of str
        Names of the images; their numbers where none were given.
    attrs : dict
        ``model``, as far as the files tell, and ``n_captions``, which is 0.
    """

    def __init__(
        self,
        path: str,
        array: da.Array,
        layout: Layout | None,
        sample: np.ndarray,
        source: np.ndarray,
        model: dict[str, Any],
    ) -> None:
        self.path, self.array, self.layout = path, array, layout
        self.sample, self.source = sample, source
        self.n_images = len(sample)
        self.attrs: dict[str, Any] = {"model": model, "n_captions": 0, "n_samples": self.n_images}

    def __len__(self) -> int:
        return self.array.shape[0]

    def __repr__(self) -> str:
        n, d = self.array.shape
        rows = (
            f"{n:,}"
            if self.layout is None
            else f"{self.n_images:,} images x {self.layout.rows_per_image} tokens"
        )
        return f"<daskksvd.Activations: {rows} x {d} {self.array.dtype}>"

    def image_rows(self, image: int) -> slice:
        """Rows of an image, counted from 0."""
        return image_slice(self.layout, image)

    def positions(self, image: int) -> np.ndarray:
        """Places of an image's rows in the grid of patches, -1 for the class token.

        Raises
        ------
        ValueError
            If a row is a whole image.
        """
        if self.layout is None:
            raise ValueError(f"path={self.path!r} has one row an image, which has no place in it")
        return self.layout.positions(image)

    def seen(self, image: int, width: int, height: int) -> tuple[float, float, float, float]:
        """What the model saw of an image, as shares of its sides; all of it where nothing tells."""
        return seen_box(None if self.layout is None else self.layout.frame, width, height)

    def thumbnail(self, row: int) -> PIL.Image.Image | None:
        """None: there are no thumbnails. Images are looked for by name, see ``images`` of `open_view`."""
        return None


def open_activations(
    path: str | os.PathLike[str],
    *,
    layer: int | None = None,
    tokens: Tokens | None = None,
    key: str | None = None,
    rows_per_image: int | None = None,
    cls_token: bool = False,
    grid: tuple[int, int] | None = None,
    ids: npt.ArrayLike | None = None,
    images: Sequence[str] | None = None,
) -> Activations:
    """Rows of activations that another tool has written, read where and when they are needed.

    A folder of saev's shards (``metadata.json``, ``shards.json``, ``acts*.bin``); a folder of .npy or
    of .safetensors files, each rows x features or images x tokens x features, in the order of their
    names (part2 before part10); or a Parquet file, or folder of them, with a column of vectors. Nothing
    in them is run or unpickled, and no file outside the folder is read.

    Parameters
    ----------
    path : str or path
        A folder, or a Parquet file.
    layer : int, optional
        Of shards of several layers.
    tokens : {"patches", "cls", "cls+patches"}, optional
        Which tokens become rows, where images have several; ``"patches"`` by default.
    key : str, optional
        Name of the tensor or column of vectors, where there are several.
    rows_per_image : int, optional
        Where rows of two-dimensional arrays and tables are tokens: how many an image has, one after the
        other.
    cls_token : bool
        Whether the first token of an image is its class token; shards say it themselves.
    grid : (int, int), optional
        Rows and columns of patches; by default they form a square.
    ids : (n_images,) array of int, optional
        Stable ids of the images, which captions may go by; by default their numbers from 0.
    images : sequence of str, optional
        Names of the images.

    Returns
    -------
    Activations

    Raises
    ------
    FileNotFoundError, TypeError, ValueError
        If there is nothing of the kind, files contradict each other or themselves, lead out of the folder
        or hold Python objects, or an argument does not fit: one sentence says what.
    """
    folder = absolute(path)
    if "://" in folder:
        raise ValueError(
            f"path={folder!r} is a URL; it must be a folder or file of a local or mounted file system"
        )
    if not os.path.exists(folder):
        raise FileNotFoundError(f"path={folder!r}: there is no such folder or file")
    if key is not None and not isinstance(key, str):
        raise TypeError(f"key is {key!r}; it must be the name of a tensor or column")
    if tokens is not None and tokens not in TOKENS:
        raise ValueError(f"tokens={tokens!r}; it must be one of {', '.join(map(repr, TOKENS))}")
    if not isinstance(cls_token, bool):
        raise TypeError(f"cls_token is {cls_token!r}; it must be True or False")
    model: dict[str, Any] = {"library": "files", "name": os.path.basename(folder)}
    if os.path.isdir(folder) and is_saev(folder):
        shards = open_shards(folder)
        layer = _layer(layer, shards.layers, folder)
        parts, each, d, dtype = shards.parts(layer), shards.tokens, shards.d, np.dtype(np.float32)
        cls_token, model = shards.cls, {**shards.model, "layer": layer}
    elif layer is not None:
        raise ValueError(f"layer={layer} goes with shards of saev; path={folder!r} has none")
    else:
        parts, each, d, dtype = _files(folder, key)
    each = _rows_per_image(rows_per_image, each, sum(part.n for part in parts), folder)
    layout, kept = _kept(tokens, each, cls_token, grid, folder)
    rows = Rows(parts, d, dtype, each, kept)
    n_images = rows.shape[0] // (kept[1] - kept[0])
    return Activations(
        folder,
        _lazy(rows, kept[1] - kept[0]),
        layout,
        _ids(ids, n_images),
        _names(images, n_images),
        model,
    )


def _files(folder, key):
    """Parts, rows of an image, features and dtype of what lies at a path."""
    if os.path.isfile(folder):
        endings, names = {os.path.splitext(folder)[1]}, [folder]
    else:
        names = in_order(os.listdir(folder))
        endings = {os.path.splitext(name)[1] for name in names}
    known = sorted(endings & {".npy", ".safetensors", ".parquet"})
    if len(known) != 1 or (os.path.isfile(folder) and known != [".parquet"]):
        said = f"files of several kinds ({', '.join(known)})" if len(known) > 1 else "nothing of the kind"
        raise ValueError(
            f"path={folder!r} has {said}; it must be a folder of saev's shards, of .npy or of .safetensors "
            "files, or Parquet"
        )
    if known == [".parquet"]:
        tables = [name for name in names if name.endswith(".parquet")]
        if not os.path.isfile(folder):
            tables = [inside(folder, name, repr(folder)) for name in tables]
        parts, d, dtype = open_tables(tables, key)
        return parts, 1, d, dtype
    if known == [".npy"] and key is not None:
        raise ValueError(f"key={key!r} goes with safetensors and Parquet; a .npy file has one array")
    parts, each, d = open_arrays(folder, known[0], key)
    return (
        parts,
        each,
        d,
        np.dtype("f4" if parts[0].dtype == "bfloat16" else parts[0].dtype).newbyteorder("="),
    )


def _layer(layer, layers, folder):
    said = ", ".join(map(str, layers))
    if layer is None and len(layers) > 1:
        raise ValueError(f"layer is needed: path={folder!r} has the layers {said}")
    if layer is not None and layer not in layers:
        raise ValueError(f"layer={layer!r}; path={folder!r} has the layers {said}")
    return layers[0] if layer is None else int(layer)


def _rows_per_image(asked, each, n, folder):
    """Stored rows of an image."""
    if asked is None:
        return each
    asked = whole(asked, "rows_per_image")
    if each > 1 and asked != each:
        raise ValueError(f"rows_per_image={asked}, but path={folder!r} has {each} tokens an image")
    if n % asked:
        raise ValueError(f"rows_per_image={asked}, but path={folder!r} has {n:,} rows, which is no multiple")
    return asked


def _kept(tokens, each, cls, grid, folder):
    """The layout, and first and last + 1 of the stored tokens that are rows."""
    if each == 1:
        if tokens not in (None, "cls") or grid is not None:
            what = f"tokens={tokens!r}" if tokens not in (None, "cls") else f"grid={grid!r}"
            raise ValueError(f"{what}, but path={folder!r} has one row an image; pass rows_per_image if not")
        return None, (0, 1)
    if tokens in ("cls", "cls+patches") and not cls:
        raise ValueError(
            f"tokens={tokens!r}, but path={folder!r} has no class token; pass cls_token=True if it does"
        )
    if tokens == "cls":
        return None, (0, 1)
    n_patches = each - cls
    if grid is None:
        side = math.isqrt(n_patches)
        if side * side != n_patches:
            raise ValueError(
                f"grid is needed: the {n_patches} patches of an image in path={folder!r} form no square"
            )
        grid = side, side
    if np.shape(grid) != (2,):
        raise ValueError(f"grid={grid!r}; it must be two numbers, rows and columns of patches")
    if whole(grid[0], "grid") * whole(grid[1], "grid") != n_patches:
        raise ValueError(f"grid={grid!r}, but images in path={folder!r} have {n_patches} patches")
    with_cls = tokens == "cls+patches"
    return Layout(tuple(map(int, grid)), n_patches, with_cls), (0 if with_cls else int(cls), each)


def _lazy(rows, each):
    """A Dask array in chunks of whole images, marked with their rows."""
    import dask.array as da

    row_bytes = rows.shape[1] * rows.dtype.itemsize
    step = each * max(1, ACTIVATION_CHUNK_BYTES // (each * row_bytes))
    return da.from_array(rows, chunks=(min(step, rows.shape[0]), rows.shape[1]), inline_array=True)


def _ids(ids, n):
    if ids is None:
        return np.arange(n)
    found = np.asarray(ids)
    if found.shape != (n,) or found.dtype.kind not in "iu" or len(np.unique(found)) < n:
        raise ValueError(
            f"ids has shape {found.shape} and dtype {found.dtype}; it must be {n} different integers"
        )
    return found.astype(np.int64)


def _names(images, n):
    if images is None:
        return np.arange(n).astype(str).astype(object)
    if isinstance(images, str) or len(images) != n or not all(isinstance(name, str) for name in images):
        raise ValueError(f"images must be {n} names, one an image")
    return np.array([*images, None], object)[:-1]
