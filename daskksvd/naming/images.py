"""Codes beside captions of images: which of their rows are of one image, and codes with a row an image."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any

import numpy as np

from ..coding.by_image import UsedBy, image_codes, least_rows, rows_per_image_of
from ..coding.store import open_codes
from ..embedding.opening import layout_in
from ..embedding.store import CAPTIONS
from ..machine.files import absolute

if TYPE_CHECKING:
    from ..coding.inputs import CodesLike
    from ..embedding.layout import Layout


def codes_of_images(
    codes: CodesLike,
    captions: Any = None,
    *,
    embeddings: Any = None,
    sample_ids: Any = None,
    name="codes",
    used_by: UsedBy = "any",
) -> CodesLike:
    """Codes with a row an image, of the strongest of its rows where rows are patches; others as they are.

    Parameters
    ----------
    codes, captions, embeddings, sample_ids : as for `rows_of_image`
    name : str
        What messages call the codes.
    used_by : {"any"} or float
        As for `image_codes`.

    Raises
    ------
    FileNotFoundError, ValueError
        As for `rows_of_image`, and if a share is asked for of codes whose rows are no patches.
    """
    least_rows(used_by, 1)
    each = rows_of_image(codes, captions, embeddings=embeddings, sample_ids=sample_ids, name=name)
    if each > 1:
        return image_codes(codes, each, used_by=used_by)
    if used_by != "any":
        raise ValueError(
            f"used_by={used_by!r} is for codes of patches; neither {name} nor what they are of tell of any"
        )
    return codes


def rows_of_image(
    codes: CodesLike, captions: Any = None, *, embeddings: Any = None, sample_ids: Any = None, name="codes"
) -> int:
    """Rows that an image has among codes; 1 where they are of images, or nothing tells of patches.

    Parameters
    ----------
    codes : path, dask.array.Array, sparse.COO, SciPy sparse or dense array
        n x m; a store of codes says itself what its rows are.
    captions : as for `daskksvd.label`, optional
        Those of a store of embeddings tell, as its folder, its captions in it, or their Dask frame.
    embeddings : Embeddings or sequence of str, optional
        What `daskksvd.embed` made; asked before captions.
    sample_ids : (n,) array of int, optional
        One for each image: as many as codes have rows, these are images.
    name : str
        What messages call the codes.

    Raises
    ------
    FileNotFoundError, ValueError
        If there are no codes, or they have neither a row an image nor one a patch.
    """
    each = rows_per_image_of(codes)
    if each is not None:
        return each
    if embeddings is not None:
        layout, n_images = getattr(embeddings, "layout", None), getattr(embeddings, "n_images", None)
    else:
        layout, n_images = _layout_of(captions)
    shape = open_codes(codes).shape if isinstance(codes, (str, os.PathLike)) else np.shape(codes)
    if layout is None or not shape:
        return 1
    n = shape[0]
    if np.ndim(sample_ids) == 1:
        n_images = len(sample_ids)
    each = layout.rows_per_image
    if n_images is not None and n not in (n_images, n_images * each):
        raise ValueError(
            f"{name} has {n:,} rows; there are {n_images:,} images of {each:,} rows: it must have "
            f"{n_images:,} or {n_images * each:,}"
        )
    return 1 if n == n_images else each


def _layout_of(captions) -> tuple[Layout | None, int | None]:
    """Layout and number of images of the store that captions are of; None where they are of none."""
    if isinstance(captions, (str, os.PathLike)):
        paths = [os.fspath(captions)]
    else:
        walk = getattr(getattr(captions, "expr", None), "walk", list)  # what a Dask frame is made of
        read = [getattr(node, "path", None) for node in walk()]
        paths = list(dict.fromkeys(path for path in read if isinstance(path, str)))
    for path in paths:
        folder, last = os.path.split(absolute(path))
        layout, n_images = layout_in(folder if last == CAPTIONS else path)
        if n_images is not None:
            return layout, n_images
    return None, None
